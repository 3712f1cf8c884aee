//! Names of accounts and roles.

use std::fmt::{self, Debug, Display};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::Error;

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $field:literal, $rule:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Box<str>);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = Error;

            fn from_str(text: &str) -> Result<Self, Error> {
                let rule: Rule = $rule;
                if rule.allows(text) {
                    return Ok(Self(text.into()));
                }
                let text: String = text.chars().take(70).collect();
                Err(Error::Desired { field: $field.into(), why: format!("{text:?} is not {rule}") })
            }
        }

        impl TryFrom<String> for $name {
            type Error = Error;

            fn try_from(text: String) -> Result<Self, Error> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0.into()
            }
        }

        impl Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                Debug::fmt(&self.0, f)
            }
        }
    };
}

name!(
    /// What people call an account; its identity is its key.
    ///
    /// 1 to 63 of `A-Z a-z 0-9 - _ .`, the first a letter or digit: fit for a key of a Secret's data.
    AccountName,
    "account name",
    Rule { max: 63, dots: true }
);
name!(
    /// What people call a set of users with the same permissions: `vault.api`.
    ///
    /// 1 to 63 of `A-Z a-z 0-9 - _ .`, the first a letter or digit: fit for a key of a Secret's data.
    RoleName,
    "role name",
    Rule { max: 63, dots: true }
);
name!(
    /// Name of a stream, or of a key-value or object bucket without its prefix.
    ///
    /// 1 to 128 of `A-Z a-z 0-9 - _`, the first a letter or digit: fit for a token of a subject.
    StreamName,
    "stream or bucket name",
    Rule { max: 128, dots: false }
);

/// What a name may consist of.
#[derive(Clone, Copy)]
struct Rule {
    max: usize,
    dots: bool,
}

impl Rule {
    fn allows(self, text: &str) -> bool {
        let allowed = |c: char| {
            c.is_ascii_alphanumeric() || matches!(c, '-' | '_') || (self.dots && c == '.')
        };
        (1..=self.max).contains(&text.len())
            && text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text.chars().all(allowed)
    }
}

impl Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (max, dot) = (self.max, if self.dots { " ." } else { "" });
        write!(f, "1 to {max} of A-Z a-z 0-9 - _{dot} beginning with a letter or digit")
    }
}
