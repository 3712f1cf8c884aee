//! What tools write, for people.

use std::collections::VecDeque;

/// The last lines of a stream, up to a number of bytes with their ends.
pub(crate) struct Tail {
    lines: VecDeque<String>,
    bytes: usize,
    max_bytes: usize,
}

impl Tail {
    pub(crate) fn new(max_bytes: usize) -> Self {
        Self { lines: VecDeque::new(), bytes: 0, max_bytes }
    }

    pub(crate) fn push(&mut self, line: &str) {
        let mut line = line.to_owned();
        if line.len() > self.max_bytes {
            let cut = (0..=self.max_bytes).rev().find(|at| line.is_char_boundary(*at)).unwrap_or(0);
            line.truncate(cut);
        }
        self.bytes += line.len() + 1;
        self.lines.push_back(line);
        while self.bytes > self.max_bytes {
            let Some(dropped) = self.lines.pop_front() else { break };
            self.bytes -= dropped.len() + 1;
        }
    }

    pub(crate) fn into_string(self) -> String {
        Vec::from(self.lines).join("\n")
    }
}

/// `text` without ANSI escape sequences, which Nix writes into its messages even when nobody sees
/// a terminal.
pub(crate) fn strip_ansi(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        if c != '\u{1b}' {
            plain.push(c);
        } else if rest.next() == Some('[') {
            // CSI: parameters up to a final byte in @..~ (ECMA-48 §5.4).
            rest.find(|c| ('@'..='~').contains(c));
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escape_sequences_go_and_text_stays() {
        assert_eq!(strip_ansi("\u{1b}[31;1merror:\u{1b}[0m no"), "error: no");
        assert_eq!(strip_ansi("plain é"), "plain é");
        assert_eq!(strip_ansi("\u{1b}"), "");
    }
}
