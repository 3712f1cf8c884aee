//! When machines may be changed: windows, as cron expressions in a time zone.

use std::fmt;
use std::time::Duration;

use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use jiff::tz::{TimeZone, TimeZoneDatabase};
use jiff::{SignedDuration, Timestamp, Zoned};

use crate::error::ParseError;

/// How many edges of windows one question looks at; it bounds the cost where windows leave no gap.
const MAX_STEPS: usize = 1024;
/// A window that is open for longer than a year needs no window.
const MAX_OPEN: Duration = Duration::from_hours(366 * 24);

/// The effect of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WindowKind {
    /// Changes only within it, or within another `Allow`.
    Allow,
    /// No changes within it, whatever else allows them.
    Deny,
}

/// A span of time that comes again and again: it opens by a cron expression and stays open for a
/// fixed time on the clock of the world, whatever clocks on walls do meanwhile.
#[derive(Clone)]
pub struct Window {
    cron: Cron,
    open: SignedDuration,
    zone: TimeZone,
    kind: WindowKind,
}

impl fmt::Debug for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cron, open, zone, kind } = self;
        let zone = zone.iana_name().unwrap_or("?");
        write!(f, "{kind:?} {:?} {zone} for {open:#}", cron.as_str())
    }
}

impl Window {
    /// Reads a window.
    ///
    /// `cron` has five fields (minute, hour, day of month, month, day of week) in the syntax of
    /// crontab(5), with `L`, `W` and `#`. `open` is 1 s to 366 days. `zone` is a name of the IANA time
    /// zone database, as compiled in. A time that the clocks skip opens when they have skipped it; one
    /// that they repeat opens the first time, unless the hour or minute is a wildcard.
    ///
    /// # Errors
    ///
    /// [`ParseError`] if a part is not of this form, or if the expression names a day that never
    /// comes, such as 30 February.
    pub fn parse(
        cron: &str,
        open: Duration,
        zone: &str,
        kind: WindowKind,
    ) -> Result<Self, ParseError> {
        const FIELDS: &str = "five fields: minute, hour, day of month, month, day of week, such as 0 2 * * * for every night at two";
        let refuse = |wants| ParseError::new("cron of a window", cron, wants);
        // Nicknames such as @daily are another syntax; the API admits none.
        if cron.split_ascii_whitespace().count() != 5 {
            return Err(refuse(FIELDS));
        }
        let expression = CronParser::builder()
            .seconds(Seconds::Disallowed)
            .year(Year::Disallowed)
            .build()
            .parse(cron)
            .map_err(|_| refuse(FIELDS))?;
        if open.is_zero() || open > MAX_OPEN {
            let got = format!("{}s", open.as_secs());
            return Err(ParseError::new("duration of a window", &got, "1s to 366d"));
        }
        let zone = TimeZoneDatabase::bundled().get(zone).map_err(|_| {
            let wants = "a name of the IANA time zone database, such as UTC or Europe/Brussels";
            ParseError::new("time zone of a window", zone, wants)
        })?;
        let open = SignedDuration::from_secs(open.as_secs().cast_signed());
        let window = Self { cron: expression, open, zone, kind };
        if window.starts_after(Timestamp::UNIX_EPOCH).is_none() {
            return Err(refuse("a day that exists: this one never comes"));
        }
        Ok(window)
    }

    /// When the window closes that is open at `now`, if one is.
    fn closes(&self, now: Timestamp) -> Option<Timestamp> {
        let start = self.cron.find_previous_occurrence(&self.local(now)?, true).ok()?.timestamp();
        start.checked_add(self.open).ok().filter(|end| *end > now)
    }

    /// When it opens next, later than `now`.
    fn starts_after(&self, now: Timestamp) -> Option<Timestamp> {
        Some(self.cron.find_next_occurrence(&self.local(now)?, false).ok()?.timestamp())
    }

    /// Windows open on whole minutes: what is below a second is in the way of the search only.
    fn local(&self, now: Timestamp) -> Option<Zoned> {
        let second =
            Timestamp::from_second(now.as_nanosecond().div_euclid(1_000_000_000).try_into().ok()?)
                .ok()?;
        Some(second.to_zoned(self.zone.clone()))
    }
}

/// All windows of a Cluster. `Deny` wins. Without an `Allow` it is open except within `Deny`.
#[derive(Clone, Debug, Default)]
pub struct Calendar {
    allow: Vec<Window>,
    deny: Vec<Window>,
}

/// Whether changes may begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    /// They may.
    Open {
        /// When that ends; `None` if it never does.
        until: Option<Timestamp>,
    },
    /// They may not.
    Closed {
        /// When they may again; `None` if no such time was found: every `Allow` is within a `Deny`.
        next: Option<Timestamp>,
    },
}

impl Opening {
    /// Whether changes may begin.
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Open { .. })
    }
}

impl FromIterator<Window> for Calendar {
    fn from_iter<I: IntoIterator<Item = Window>>(windows: I) -> Self {
        let (allow, deny) =
            windows.into_iter().partition(|window| window.kind == WindowKind::Allow);
        Self { allow, deny }
    }
}

impl Calendar {
    /// Whether changes may begin at `now`, and until when that answer holds.
    ///
    /// The cost is bounded: 1024 edges of windows are looked at. Where windows touch each other for
    /// longer, `until` is the last edge that was looked at (it is open at least so long), and `next`
    /// is `None`.
    pub fn at(&self, now: Timestamp) -> Opening {
        if self.may(now) {
            Opening::Open { until: self.until(now) }
        } else {
            Opening::Closed { next: self.next(now) }
        }
    }

    fn may(&self, now: Timestamp) -> bool {
        self.denied(now).is_none() && (self.allow.is_empty() || self.allowed(now).is_some())
    }

    /// When the last `Deny` closes that is open at `now`.
    fn denied(&self, now: Timestamp) -> Option<Timestamp> {
        self.deny.iter().filter_map(|window| window.closes(now)).max()
    }

    /// When the last `Allow` closes that is open at `now`.
    fn allowed(&self, now: Timestamp) -> Option<Timestamp> {
        self.allow.iter().filter_map(|window| window.closes(now)).max()
    }

    fn next(&self, now: Timestamp) -> Option<Timestamp> {
        let mut at = now;
        for _ in 0..MAX_STEPS {
            if let Some(end) = self.denied(at) {
                at = end;
            } else if self.allow.is_empty() || self.allowed(at).is_some() {
                return Some(at);
            } else {
                at = first_start(&self.allow, at)?;
            }
        }
        None
    }

    fn until(&self, now: Timestamp) -> Option<Timestamp> {
        let mut at = now;
        for _ in 0..MAX_STEPS {
            if at > now && !self.may(at) {
                break;
            }
            let edges = [self.allowed(at), first_start(&self.deny, at)];
            at = edges.into_iter().flatten().min()?;
        }
        Some(at)
    }
}

fn first_start(windows: &[Window], after: Timestamp) -> Option<Timestamp> {
    windows.iter().filter_map(|window| window.starts_after(after)).min()
}

#[cfg(test)]
mod tests;
