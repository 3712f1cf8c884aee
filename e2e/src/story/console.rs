//! The story as people see it: each fact when it becomes one, and all of them in a table at the end.

use std::{
    io::IsTerminal,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};

use super::Fact;
use crate::lab::{Result, error::humantime};

const TICK: Duration = Duration::from_millis(120);
/// The longest text in a cell; more would break the lines of most terminals.
const CELL: usize = 76;

/// Prints to standard output; a spinner turns on standard error if that is a terminal.
#[derive(Debug, Default)]
pub struct Console {
    bar: Mutex<Option<ProgressBar>>,
    rows: Mutex<Vec<Vec<String>>>,
}

impl Console {
    /// Shows what a step is about while `work` is under way; facts appear below it. A failure is
    /// printed, not returned to be printed again.
    pub async fn step<T>(
        &self,
        name: &str,
        shows: &str,
        work: impl Future<Output = Result<T>>,
    ) -> Option<T> {
        println!("{name}: {shows}");
        *lock(&self.bar) = std::io::stderr().is_terminal().then(|| spinner(name));
        let first = lock(&self.rows).len();
        let started = Instant::now();
        let result = work.await;
        if let Some(bar) = lock(&self.bar).take() {
            bar.finish_and_clear();
        }
        let mut rows = lock(&self.rows);
        match result {
            Ok(value) => {
                if rows.len() == first {
                    println!("  ✓ {}", humantime(started.elapsed()));
                    rows.push(row(shows, None, Some(started.elapsed())));
                }
                rows[first].insert(0, name.to_owned());
                rows[first + 1..].iter_mut().for_each(|row| row.insert(0, String::new()));
                Some(value)
            }
            Err(error) => {
                rows.truncate(first);
                println!("  ✗ after {}: {error}", humantime(started.elapsed()));
                None
            }
        }
    }

    /// Shows a fact at once, and keeps it for the table.
    pub fn fact(&self, fact: &Fact) {
        let times = [("seen", fact.seen), ("true", fact.holds)]
            .into_iter()
            .filter_map(|(word, time)| Some(format!("{word} after {}", humantime(time?))));
        let times = times.collect::<Vec<_>>().join(", ");
        let times = if times.is_empty() { times } else { format!(" ({times})") };
        let print = || println!("  ✓ {}{times}", fact.what);
        match &*lock(&self.bar) {
            Some(bar) => bar.suspend(print),
            None => print(),
        }
        lock(&self.rows).push(row(&fact.what, fact.seen, fact.holds));
    }

    /// All that was seen to hold.
    pub fn table(&self) -> String {
        table(["STEP", "WHAT WAS SEEN", "SEEN AFTER", "TRUE AFTER"], &lock(&self.rows))
    }
}

fn row(what: &str, seen: Option<Duration>, holds: Option<Duration>) -> Vec<String> {
    let time = |time: Option<Duration>| time.map(humantime).unwrap_or_default();
    vec![what.to_owned(), time(seen), time(holds)]
}

/// Cells in columns: those of the last two to the right, the others to the left.
pub fn table<const N: usize>(header: [&str; N], rows: &[Vec<String>]) -> String {
    let header: Vec<_> = header.map(str::to_owned).into();
    let rows: Vec<Vec<String>> = std::iter::once(&header)
        .chain(rows)
        .map(|row| row.iter().map(|cell| cut(cell)).collect())
        .collect();
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max()
    };
    let widths: Vec<_> = (0..N).map(|column| width(column).unwrap_or_default()).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, width))| {
            if column + 2 < N { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    };
    rows.iter().map(line).collect()
}

fn cut(text: &str) -> String {
    if text.chars().count() <= CELL {
        return text.to_owned();
    }
    text.chars().take(CELL - 1).chain(['…']).collect()
}

fn spinner(name: &str) -> ProgressBar {
    let style = ProgressStyle::with_template("  {spinner} {prefix} {elapsed}");
    let bar = ProgressBar::new_spinner()
        .with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()))
        .with_prefix(name.to_owned());
    bar.enable_steady_tick(TICK);
    bar
}

/// What is printed stays right whatever happened to somebody who printed before.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_bounded() {
        let rows = [
            vec!["names".to_owned(), "x".repeat(80), String::new(), "1.5s".into()],
            vec![String::new(), "short".into(), "0.2s".into(), "10s".into()],
        ];
        let text = table(["STEP", "WHAT", "SEEN AFTER", "TRUE AFTER"], &rows);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 3);
        assert!(
            lines.iter().all(|line| line.chars().count() == lines[0].chars().count()),
            "{text}"
        );
        assert!(lines[1].contains("x…"), "{text}");
    }
}
