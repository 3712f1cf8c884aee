//! Progress: bars on a terminal, a line for each change elsewhere.

use std::{
    collections::BTreeMap,
    io::{self, Write},
};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::judge::Row;

/// How many bars stand at a time; a terminal has no more lines than that to spare.
const MAX_BARS: usize = 16;

/// Shows rows as they change.
pub(super) enum Show {
    Bars(Bars),
    Lines(BTreeMap<String, String>),
}

/// Bars by the name of their row.
pub(super) struct Bars {
    all: MultiProgress,
    shown: BTreeMap<String, ProgressBar>,
}

impl Show {
    pub(super) fn new(terminal: bool) -> Self {
        if !terminal {
            return Self::Lines(BTreeMap::new());
        }
        let all = MultiProgress::with_draw_target(ProgressDrawTarget::stderr());
        Self::Bars(Bars { all, shown: BTreeMap::new() })
    }

    /// Brings what is shown up to date.
    pub(super) fn update(&mut self, rows: &[Row], out: &mut dyn Write) -> io::Result<()> {
        match self {
            Self::Bars(bars) => {
                bars.update(rows);
                Ok(())
            }
            Self::Lines(told) => lines(told, rows, out),
        }
    }
}

impl Bars {
    fn update(&mut self, rows: &[Row]) {
        for row in rows {
            if !self.shown.contains_key(&row.name) {
                // A machine that had nothing to do needs no bar.
                if self.shown.len() >= MAX_BARS || (row.finished && row.name.contains('/')) {
                    continue;
                }
                let bar = self.all.add(ProgressBar::new(row.expected));
                bar.set_style(style());
                bar.set_prefix(row.name.clone());
                self.shown.insert(row.name.clone(), bar);
            }
            let Some(bar) = self.shown.get(&row.name) else { continue };
            bar.set_length(row.expected);
            bar.set_position(row.done.min(row.expected));
            bar.set_message(printable(&row.state));
            if row.finished {
                bar.abandon();
            }
        }
    }
}

/// A line for each row that is not as it was told last. Counts of bytes move all the time: they are
/// told in tenths.
fn lines(told: &mut BTreeMap<String, String>, rows: &[Row], out: &mut dyn Write) -> io::Result<()> {
    for row in rows {
        let line = match row.done.saturating_mul(10).checked_div(row.expected) {
            Some(tenths) if row.expected > 100 => format!("{} {}%", row.state, tenths * 10),
            Some(_) if row.expected > 1 => format!("{} {}/{}", row.state, row.done, row.expected),
            _ => row.state.clone(),
        };
        let line = printable(&line);
        if told.get(&row.name) != Some(&line) {
            writeln!(out, "{}: {line}", row.name)?;
            told.insert(row.name.clone(), line);
        }
    }
    Ok(())
}

/// Without control characters, which must not reach the terminal.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn style() -> ProgressStyle {
    // Checked by a test: the template is a constant.
    ProgressStyle::with_template(TEMPLATE).unwrap_or_else(|_| ProgressStyle::default_bar())
}

const TEMPLATE: &str = "{prefix:24!} {bar:24} {percent:>3}% {wide_msg}";

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str, done: u64, expected: u64, state: &str) -> Row {
        let (name, state) = (name.to_owned(), state.to_owned());
        Row { name, done, expected, state, finished: false }
    }

    #[test]
    fn without_a_terminal_each_change_is_one_line() {
        let (mut show, mut out) = (Show::new(false), Vec::new());
        for rows in [
            [row("prod", 0, 3, "Progressing"), row("prod/host1", 0, 1000, "Copying")],
            [row("prod", 0, 3, "Progressing"), row("prod/host1", 99, 1000, "Copying")],
            [row("prod", 1, 3, "Soaking\u{1b}[31m"), row("prod/host1", 1, 1, "Complete")],
        ] {
            show.update(&rows, &mut out).unwrap();
        }
        insta::assert_snapshot!(String::from_utf8(out).unwrap());
    }

    #[test]
    fn on_a_terminal_there_are_bars_for_what_moves() {
        assert!(ProgressStyle::with_template(TEMPLATE).is_ok());
        let all = MultiProgress::with_draw_target(ProgressDrawTarget::hidden());
        let mut bars = Bars { all, shown: BTreeMap::new() };
        let done = Row { finished: true, ..row("prod/host2", 1, 1, "Complete") };
        bars.update(&[row("prod", 1, 3, "Progressing"), row("prod/host1", 3, 9, "Copying"), done]);
        assert_eq!(bars.shown.keys().collect::<Vec<_>>(), ["prod", "prod/host1"]);
        let finished = Row { finished: true, ..row("prod/host1", 9, 9, "Complete") };
        bars.update(&[finished]);
        let bar = &bars.shown["prod/host1"];
        assert!(bar.is_finished() && bar.position() == 9 && bar.message() == "Complete");
    }
}
