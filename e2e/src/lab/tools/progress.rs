//! Progress of what takes minutes: spinners on a terminal, plain lines elsewhere.

use std::{
    io::IsTerminal,
    time::{Duration, Instant},
};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::lab::error::humantime;

/// A set of jobs whose progress is shown together on standard error.
#[derive(Debug)]
pub struct Progress {
    bars: Option<MultiProgress>,
}

impl Default for Progress {
    fn default() -> Self {
        Self::new()
    }
}

impl Progress {
    /// Bars if standard error is a terminal, else lines.
    pub fn new() -> Self {
        Self { bars: std::io::stderr().is_terminal().then(MultiProgress::new) }
    }

    /// Says something once, above the bars.
    pub fn say(&self, line: &str) {
        match &self.bars {
            // Printing fails only when standard error is gone; there is nobody left to tell.
            Some(bars) => drop(bars.println(line)),
            None => eprintln!("{line}"),
        }
    }

    /// Shows that a job has begun and how long it is expected to take.
    pub fn begin(&self, name: &str, expected: Duration) -> Job {
        let about = humantime(expected);
        let bar = self.bars.as_ref().map(|bars| {
            let bar = bars.add(ProgressBar::new_spinner());
            let style = ProgressStyle::with_template(
                "{spinner} {prefix} {elapsed} of about {about}  {wide_msg:.dim}",
            );
            let style = style.unwrap_or_else(|_| ProgressStyle::default_spinner());
            bar.set_style(style.with_key("about", move |_: &_, w: &mut dyn std::fmt::Write| {
                let _ = w.write_str(&about);
            }));
            bar.set_prefix(name.to_owned());
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        if bar.is_none() {
            eprintln!("{name} … (about {})", humantime(expected));
        }
        Job { name: name.to_owned(), started: Instant::now(), bar }
    }
}

/// A job whose progress is shown. Dropped without [`Job::done`], it vanishes.
#[derive(Debug)]
pub struct Job {
    name: String,
    started: Instant,
    bar: Option<ProgressBar>,
}

impl Job {
    /// Replaces the line that says what the job does at the moment.
    pub fn now(&self, what: &str) {
        if let Some(bar) = &self.bar {
            bar.set_message(what.to_owned());
        }
    }

    /// Ends the job and says how long it took.
    pub fn done(mut self) {
        let line = format!("{}: done in {}", self.name, humantime(self.started.elapsed()));
        match self.bar.take() {
            Some(bar) => {
                bar.set_style(
                    ProgressStyle::with_template("✓ {msg}")
                        .unwrap_or_else(|_| ProgressStyle::default_spinner()),
                );
                bar.finish_with_message(line);
            }
            None => eprintln!("{line}"),
        }
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}
