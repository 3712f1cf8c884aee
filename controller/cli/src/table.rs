//! Aligned columns.

use unicode_width::UnicodeWidthStr;

use crate::style::Tone;

/// How far apart columns stand, as in kubectl.
const GAP: usize = 3;

/// One field: text in a tone, after an optional prefix that is structure.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cell {
    prefix: String,
    text: String,
    tone: Tone,
}

impl Cell {
    pub(crate) fn toned(text: &(impl ToString + ?Sized), tone: Tone) -> Self {
        Self { prefix: String::new(), text: one_line(&text.to_string()), tone }
    }

    pub(crate) fn branch(prefix: &str, text: &str) -> Self {
        Self { prefix: prefix.to_owned(), text: one_line(text), tone: Tone::Plain }
    }

    /// The text alone, safe to print.
    pub(crate) fn plain(&self) -> &str {
        &self.text
    }

    fn width(&self) -> usize {
        self.prefix.width() + self.text.width()
    }
}

impl<T: ToString> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::toned(&text, Tone::Plain)
    }
}

/// Whatever the cluster says may hold control characters; they must not reach the terminal.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Rows under a heading.
#[derive(Debug)]
pub(crate) struct Table<const N: usize> {
    rows: Vec<[Cell; N]>,
}

impl<const N: usize> Table<N> {
    pub(crate) fn new(heading: [&str; N]) -> Self {
        Self { rows: vec![heading.map(|title| Cell::toned(title, Tone::Heading))] }
    }

    pub(crate) fn push(&mut self, row: [Cell; N]) {
        self.rows.push(row);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows.len() == 1
    }

    /// The table, each row ended by a newline; nothing stands behind the last field of a row.
    pub(crate) fn render(&self, colour: bool) -> String {
        let width = |column: usize| {
            self.rows.iter().map(|row| row[column].width()).max().unwrap_or_default()
        };
        let widths: [usize; N] = std::array::from_fn(width);
        let mut out = String::new();
        for row in &self.rows {
            let last = row.iter().rposition(|cell| cell.width() > 0).unwrap_or(0);
            for (column, cell) in row.iter().enumerate().take(last + 1) {
                out.push_str(&Tone::Faint.paint(&cell.prefix, colour));
                out.push_str(&cell.tone.paint(&cell.text, colour));
                if column < last {
                    out.push_str(&" ".repeat(widths[column] - cell.width() + GAP));
                }
            }
            out.push('\n');
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_align_whatever_the_bytes_and_colours() {
        let mut table = Table::new(["NAME", "STATE", "WHY"]);
        table.push([Cell::branch("└─ ", "a"), Cell::toned("Ready", Tone::Good), "".into()]);
        table.push(["lång".into(), "x".into(), "two\nlines\u{1b}[31m".into()]);
        assert_eq!(
            table.render(false),
            "NAME   STATE   WHY\n└─ a   Ready\nlång   x       two lines [31m\n"
        );
        let coloured = table.render(true);
        assert!(
            coloured.contains("\u{1b}[2m└─ \u{1b}[0ma   \u{1b}[32mReady\u{1b}[0m\n"),
            "{coloured:?}"
        );
    }
}
