//! Values of Secrets: read when they are needed, shown to nobody.

use std::collections::BTreeMap;
use std::fmt;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;

use crate::kube::{ApiError, Kube};
use crate::outcome::{Class, Failure};

/// The data of one Secret. `Debug` shows the names of its keys only.
#[derive(Clone)]
pub struct SecretData {
    name: String,
    data: BTreeMap<String, ByteString>,
}

/// Why a value is not to be had.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// There is no such Secret.
    #[error("{field}: there is no Secret {name}")]
    NotFound {
        /// The field that names it.
        field: String,
        /// Its name.
        name: String,
    },
    /// It lacks a key.
    #[error("Secret {name} has no key {key:?}; it has: {has}")]
    NoKey {
        /// Its name.
        name: String,
        /// The key.
        key: String,
        /// The keys that it has.
        has: String,
    },
    /// A value is no text.
    #[error("Secret {name}, key {key:?}: the value is not UTF-8 text")]
    NotText {
        /// Its name.
        name: String,
        /// The key.
        key: String,
    },
    /// A value is not what it should be.
    #[error("Secret {name}: {why}")]
    Invalid {
        /// Its name.
        name: String,
        /// What is wrong; never the value.
        why: String,
    },
    /// It could not be read.
    #[error(transparent)]
    Api(#[from] ApiError),
}

impl Failure for SecretError {
    fn reason(&self) -> &'static str {
        match self {
            Self::NotFound { .. } | Self::NoKey { .. } => {
                cim_crds::conditions::reasons::SECRET_NOT_FOUND
            }
            Self::NotText { .. } | Self::Invalid { .. } => "InvalidSecret",
            Self::Api(error) => error.reason(),
        }
    }

    fn class(&self) -> Class {
        match self {
            // It may be on its way: applied after the object, or made by another controller.
            Self::NotFound { .. } | Self::NoKey { .. } => Class::Retry,
            Self::NotText { .. } | Self::Invalid { .. } => Class::Stalled,
            Self::Api(error) => error.class(),
        }
    }
}

impl SecretData {
    /// Reads the Secret `name`, which `field` of a spec names; `None` when there is none.
    pub async fn find(kube: &Kube, namespace: &str, name: &str) -> Result<Option<Self>, ApiError> {
        Ok(kube.secret(namespace, name).await?.map(Self::from))
    }

    /// Reads the Secret `name`, which `field` of a spec names and which must be there.
    pub async fn require(
        kube: &Kube,
        namespace: &str,
        name: &str,
        field: &str,
    ) -> Result<Self, SecretError> {
        Self::find(kube, namespace, name)
            .await?
            .ok_or_else(|| SecretError::NotFound { field: field.to_owned(), name: name.to_owned() })
    }

    /// Whether there is such a key.
    pub fn has(&self, key: &str) -> bool {
        self.data.contains_key(key)
    }

    /// One value, as text.
    pub fn text(&self, key: &str) -> Result<&str, SecretError> {
        std::str::from_utf8(self.bytes(key)?)
            .map_err(|_| SecretError::NotText { name: self.name.clone(), key: key.to_owned() })
    }

    /// One value, as it is.
    pub fn bytes(&self, key: &str) -> Result<&[u8], SecretError> {
        self.data.get(key).map(|value| value.0.as_slice()).ok_or_else(|| self.no_key(key))
    }

    fn no_key(&self, key: &str) -> SecretError {
        let has: Vec<&str> = self.data.keys().map(String::as_str).collect();
        let has = if has.is_empty() { "none".to_owned() } else { has.join(", ") };
        SecretError::NoKey { name: self.name.clone(), key: key.to_owned(), has }
    }

    /// All values, as text.
    pub fn texts(&self) -> Result<BTreeMap<String, String>, SecretError> {
        self.data
            .iter()
            .map(|(key, value)| {
                let text = String::from_utf8(value.0.clone()).map_err(|_| {
                    SecretError::NotText { name: self.name.clone(), key: key.clone() }
                })?;
                Ok((key.clone(), text))
            })
            .collect()
    }

    /// The error for a value that is not what it should be.
    pub fn invalid(&self, why: impl fmt::Display) -> SecretError {
        SecretError::Invalid { name: self.name.clone(), why: why.to_string() }
    }
}

impl From<Secret> for SecretData {
    fn from(secret: Secret) -> Self {
        Self {
            name: secret.metadata.name.unwrap_or_default(),
            data: secret.data.unwrap_or_default(),
        }
    }
}

impl fmt::Debug for SecretData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys: Vec<&String> = self.data.keys().collect();
        f.debug_struct("SecretData").field("name", &self.name).field("keys", &keys).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data() -> SecretData {
        let data = [("secret", b"hunter2".to_vec()), ("binary", vec![0xff])];
        SecretData {
            name: "tsig".into(),
            data: data.map(|(key, value)| (key.to_owned(), ByteString(value))).into(),
        }
    }

    #[test]
    fn neither_debug_nor_errors_show_a_value() {
        let shown = [
            format!("{:?}", data()),
            data().text("algorithm").expect_err("missing").to_string(),
            data().text("binary").expect_err("binary").to_string(),
            data().texts().expect_err("binary").to_string(),
        ];
        for shown in shown {
            assert!(!shown.contains("hunter2") && shown.contains("tsig"), "{shown}");
        }
    }
}
