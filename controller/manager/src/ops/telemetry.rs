//! Logs: one line per event, JSON for collectors or text for people.

use std::error::Error;
use std::fmt::Write as _;
use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

use crate::args::{LogFormat, TelemetryArgs};

/// The log filter cannot be read.
#[derive(Debug, thiserror::Error)]
#[error(
    "--log `{filter}` is no filter; write a level (info) or target=level pairs (info,kube=debug)"
)]
pub struct FilterError {
    filter: String,
    #[source]
    source: ParseError,
}

/// Sends the process's logs to standard error, as `args` say.
///
/// Later calls have no effect: the first one has claimed the process.
pub fn init(args: &TelemetryArgs) -> Result<(), FilterError> {
    let filter = EnvFilter::builder()
        .parse(&args.log)
        .map_err(|source| FilterError { filter: args.log.clone(), source })?;
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    let claimed = match args.log_format {
        LogFormat::Json => {
            logs.json().flatten_event(true).with_current_span(true).with_span_list(false).try_init()
        }
        LogFormat::Text => logs.try_init(),
    };
    if claimed.is_err() {
        tracing::debug!("logs were set up before");
    }
    Ok(())
}

/// An error and everything that caused it, in one line, without repeating itself.
///
/// Many libraries print their source inside their own message and name it as source as well.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut line = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let text = cause.to_string();
        if !line.contains(&text) {
            // Writing to a String cannot fail.
            let _ = write!(line, ": {text}");
        }
        next = cause.source();
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot open the door")]
    struct Outer(#[source] Inner);

    #[derive(Debug, thiserror::Error)]
    #[error("the key is missing")]
    struct Inner;

    #[test]
    fn an_error_is_told_with_its_causes() {
        assert_eq!(chain(&Outer(Inner)), "cannot open the door: the key is missing");
    }

    #[test]
    fn a_bad_filter_is_refused_by_name() {
        let args = TelemetryArgs { log_format: LogFormat::Text, log: "a=b=c".into() };
        let error = init(&args).expect_err("no such filter");
        assert!(error.to_string().contains("a=b=c"), "{error}");
    }
}
