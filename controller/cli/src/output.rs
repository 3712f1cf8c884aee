//! From a result to text.

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
