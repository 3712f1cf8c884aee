//! From a result to text.

use jiff::Timestamp;
use serde::Serialize;

use crate::{args::Format, error::Error};

/// What a command found: text for people, data for programs.
pub(crate) trait Report: Serialize {
    /// The tables.
    fn table(&self, colour: bool) -> String;

    /// Remarks that are not part of the result; they go to standard error, one a line.
    fn remarks(&self) -> Vec<String> {
        Vec::new()
    }
}

/// The report in the wanted format, ended by a newline.
pub(crate) fn render(report: &impl Report, format: Format, colour: bool) -> Result<String, Error> {
    Ok(match format {
        Format::Table => report.table(colour),
        Format::Json => serde_json::to_string_pretty(report)? + "\n",
        Format::Yaml => {
            let yaml = serde_saphyr::to_string(report);
            yaml.map_err(|error| Error::Yaml(error.to_string()))?
        }
    })
}

/// A long text cut to `width` characters.
pub(crate) fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

/// A span of time in one unit, as in kubectl.
pub(crate) fn age(now: Timestamp, since: Timestamp) -> String {
    match now.duration_since(since).as_secs().max(0) {
        seconds @ 0..120 => format!("{seconds}s"),
        seconds @ 120..7_200 => format!("{}m", seconds / 60),
        seconds @ 7_200..172_800 => format!("{}h", seconds / 3_600),
        seconds => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_short() {
        let since = |seconds: i64| {
            let now = Timestamp::from_second(1_000_000).unwrap();
            age(now, Timestamp::from_second(1_000_000 - seconds).unwrap())
        };
        assert_eq!(
            [since(-5), since(119), since(3600), since(86_400), since(999_000)],
            ["0s", "119s", "60m", "24h", "11d"]
        );
    }
}
