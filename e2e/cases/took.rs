//! How long cases took: where to begin when all of them take too long.

use std::{
    fmt::Write,
    sync::{Mutex, PoisonError},
    time::Duration,
};

/// Fewer cases are a choice, whose times nobody asks for.
const MANY: usize = 20;
const TOLD: usize = 12;

/// The times of the cases that ran.
#[derive(Default)]
pub(crate) struct Took(Mutex<Vec<(Duration, &'static str)>>);

impl Took {
    pub(crate) fn note(&self, case: &'static str, time: Duration) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push((time, case));
    }

    /// The slowest, a line each; nothing when few ran.
    pub(crate) fn slowest(&self) -> Option<String> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if all.len() < MANY {
            return None;
        }
        all.sort_unstable_by(|one, other| other.cmp(one));
        let mut text = String::from("slowest cases:\n");
        for (time, case) in all.iter().take(TOLD) {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{:>6.1}s  {case}", time.as_secs_f64());
        }
        Some(text)
    }
}
