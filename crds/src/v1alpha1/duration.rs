//! Durations as people write them: `30s`, `5m`, `1h30m`, `30d`.

use std::{fmt, str::FromStr, time::Duration as StdDuration};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

const UNITS: [(char, u64); 4] = [('d', 86_400), ('h', 3_600), ('m', 60), ('s', 1)];

/// A span of time in whole seconds, written as days, hours, minutes and seconds in this order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Duration(StdDuration);

/// Why a text is no [`Duration`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseDurationError(String);

impl fmt::Display for ParseDurationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} is no duration: want whole numbers with d, h, m or s in this order, such as 30s, 5m, 1h30m or 30d",
            self.0
        )
    }
}

impl std::error::Error for ParseDurationError {}

impl Duration {
    /// A duration of `seconds`.
    pub const fn from_secs(seconds: u64) -> Self {
        Self(StdDuration::from_secs(seconds))
    }

    /// A duration of `minutes`.
    pub const fn from_mins(minutes: u64) -> Self {
        Self::from_secs(minutes * 60)
    }

    /// A duration of `days` of 24 hours.
    pub const fn from_days(days: u64) -> Self {
        Self::from_secs(days * 86_400)
    }

    /// The same span for the standard library.
    pub const fn as_std(self) -> StdDuration {
        self.0
    }
}

impl From<Duration> for StdDuration {
    fn from(duration: Duration) -> Self {
        duration.0
    }
}

impl FromStr for Duration {
    type Err = ParseDurationError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || ParseDurationError(text.to_owned());
        let mut rest = text;
        let mut seconds = 0_u64;
        for (unit, factor) in UNITS {
            let Some((digits, tail)) = rest.split_once(unit) else { continue };
            if digits.is_empty() || digits.len() > 6 || !digits.bytes().all(|b| b.is_ascii_digit())
            {
                return Err(error());
            }
            seconds += digits.parse::<u64>().map_err(|_| error())? * factor;
            rest = tail;
        }
        if text.is_empty() || !rest.is_empty() {
            Err(error())
        } else {
            Ok(Self::from_secs(seconds))
        }
    }
}

impl fmt::Display for Duration {
    /// The shortest form with these units: `1h30m`, not `90m`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0.as_secs();
        if rest == 0 {
            return f.write_str("0s");
        }
        for (unit, factor) in UNITS {
            if rest >= factor {
                write!(f, "{}{unit}", rest / factor)?;
                rest %= factor;
            }
        }
        Ok(())
    }
}

impl Serialize for Duration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Duration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for Duration {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let mut schema = json_schema!({"type": "string"});
        crate::schema::duration(&mut schema);
        schema
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        for (text, seconds, canonical) in [
            ("5m", 300, "5m"),
            ("90m", 5_400, "1h30m"),
            ("1h30m", 5_400, "1h30m"),
            ("30d", 2_592_000, "30d"),
            ("0s", 0, "0s"),
            ("1d1h1m1s", 90_061, "1d1h1m1s"),
        ] {
            let parsed: Duration = text.parse().unwrap();
            assert_eq!(parsed, Duration::from_secs(seconds), "{text}");
            assert_eq!(parsed.to_string(), canonical);
        }
    }

    #[test]
    fn what_the_pattern_refuses_is_refused() {
        for text in ["", "5", "m", "5 m", "1m1h", "1m1m", "-1s", "1.5h", "1w", "1234567s", "+5m"] {
            let error = text.parse::<Duration>().unwrap_err();
            assert!(error.to_string().contains("1h30m"), "{text}: {error}");
        }
    }
}
