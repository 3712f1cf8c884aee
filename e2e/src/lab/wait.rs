//! Waiting for a state, with a deadline and with the last state seen in the error.

use std::{
    fmt::Display,
    time::{Duration, Instant},
};

use tokio::time::{sleep, timeout};

use super::error::{LabError, Result};

const PAUSE: Duration = Duration::from_millis(100);

/// Calls `probe` until it returns `Ok`; its `Err` is the state that is not yet the wanted one.
///
/// The deadline also ends a probe that hangs.
pub async fn wait_until<T, E: Display>(
    what: &str,
    deadline: Duration,
    mut probe: impl AsyncFnMut() -> std::result::Result<T, E>,
) -> Result<T> {
    let started = Instant::now();
    let mut last = "nothing".to_owned();
    loop {
        match timeout(deadline.saturating_sub(started.elapsed()), probe()).await {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(state)) => last = state.to_string(),
            Err(_) => last = format!("{last}; then a look that did not end"),
        }
        if started.elapsed() + PAUSE >= deadline {
            return Err(LabError::Deadline { what: what.to_owned(), after: deadline, last });
        }
        sleep(PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_error_tells_the_last_state() {
        let mut looks = 0;
        let result: Result<()> = wait_until("the moon", Duration::from_millis(250), async || {
            looks += 1;
            Err(format!("look {looks}"))
        })
        .await;
        let text = result.unwrap_err().to_string();
        assert!(
            text.starts_with("the moon: not within 0.2s")
                || text.starts_with("the moon: not within 0.3s"),
            "{text}"
        );
        assert!(text.contains("last seen: look "), "{text}");
    }

    #[tokio::test]
    async fn a_probe_that_hangs_is_ended() {
        let result: Result<()> = wait_until("a reply", Duration::from_millis(150), async || {
            std::future::pending::<std::result::Result<(), String>>().await
        })
        .await;
        assert!(result.unwrap_err().to_string().contains("did not end"));
    }
}
