//! The value of a TXT record: a list of byte strings, and their presentation format.

use std::fmt::{self, Write};

use crate::name::unescape;

/// The longest string within a TXT value, in bytes (RFC 1035 section 3.3.14).
const MAX_STRING: usize = 255;

/// The strings of a TXT record. `"ab"` and `"a" "b"` are different values (RFC 1035), so the cuts
/// are kept.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Text(Vec<Vec<u8>>);

impl Text {
    /// A text of any length, cut into strings of 255 bytes as a resolver's user expects them:
    /// joined without anything between.
    pub fn new(bytes: &[u8]) -> Self {
        if bytes.is_empty() {
            // A TXT record has at least one string; it may be empty.
            return Self(vec![Vec::new()]);
        }
        Self(bytes.chunks(MAX_STRING).map(<[u8]>::to_vec).collect())
    }

    /// The strings.
    pub fn strings(&self) -> impl Iterator<Item = &[u8]> {
        self.0.iter().map(Vec::as_slice)
    }

    /// All strings joined, as applications read them.
    pub fn joined(&self) -> Vec<u8> {
        self.0.concat()
    }

    pub(crate) fn from_strings<S: AsRef<[u8]>>(strings: &[S]) -> Self {
        Self(strings.iter().map(|string| string.as_ref().to_vec()).collect())
    }

    /// Reads `"a" "b"`, or a bare text without quotes as one string.
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        if !text.starts_with('"') {
            return Ok(Self::new(text.as_bytes()));
        }
        let mut strings = Vec::new();
        let mut rest = text.trim_start();
        while let Some(quoted) = rest.strip_prefix('"') {
            let mut string = Vec::new();
            let mut bytes = quoted.bytes();
            loop {
                match bytes.next().ok_or("a quote is not closed")? {
                    b'"' => break,
                    b'\\' => {
                        string.push(unescape(&mut bytes).ok_or("a backslash begins no escape")?);
                    }
                    byte => string.push(byte),
                }
            }
            if string.len() > MAX_STRING {
                return Err(
                    "a quoted string is longer than 255 bytes; split it or leave the quotes away",
                );
            }
            strings.push(string);
            rest = quoted[quoted.len() - bytes.len()..].trim_start();
        }
        if rest.is_empty() { Ok(Self(strings)) } else { Err("there is text outside of the quotes") }
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, string) in self.0.iter().enumerate() {
            f.write_str(if index > 0 { " \"" } else { "\"" })?;
            for byte in string {
                match byte {
                    b'"' | b'\\' => write!(f, "\\{}", char::from(*byte))?,
                    0x20..=0x7e => f.write_char(char::from(*byte))?,
                    _ => write!(f, "\\{byte:03}")?,
                }
            }
            f.write_char('"')?;
        }
        Ok(())
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
