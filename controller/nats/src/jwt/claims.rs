//! The envelope that all claims share.

use std::fmt::{self, Debug, Display};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};

use crate::error::{Error, Result};
use crate::keys::{PublicKey, Role};
use crate::time::UnixTime;

/// What is special to one type of claim: the object under `nats`, less its fields `type` and
/// `version`, which [`Token`](super::Token) adds and checks.
pub trait Body: Serialize + DeserializeOwned + Clone + Debug {
    /// The value of `nats.type`.
    const TYPE: &'static str;
    /// Whom the claim is about.
    type Subject: Role;
    /// Prefix letters of the keys that may sign it.
    const ISSUERS: &'static [char];
}

/// Claims of one type. `jti`, `iat` and `iss` are set by signing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(bound = "")]
pub struct Claims<B: Body> {
    /// Audience; no use in the claims of this crate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aud: Option<String>,
    /// Expiry; absent: never. Only a user's is enforced while it is connected.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub exp: Option<UnixTime>,
    /// Hash of the other claims: differs whenever any of them does.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub jti: String,
    /// Issued at. Of two account JWTs a resolver that synchronises keeps the later.
    #[serde(default)]
    pub iat: UnixTime,
    /// Who signed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iss: Option<Issuer>,
    /// Name for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Not valid before.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub nbf: Option<UnixTime>,
    /// Whom the claims are about.
    pub sub: PublicKey<B::Subject>,
    /// The claims themselves.
    pub nats: B,
}

#[expect(clippy::ref_option, reason = "the signature that serde calls")]
fn is_zero(time: &Option<UnixTime>) -> bool {
    time.is_none_or(|UnixTime(seconds)| seconds == 0)
}

impl<B: Body> Claims<B> {
    /// Claims about `sub`, not yet signed, without expiry.
    pub fn new(name: impl Into<String>, sub: PublicKey<B::Subject>, nats: B) -> Self {
        let (jti, name) = (String::new(), name.into());
        Self { aud: None, exp: None, jti, iat: UnixTime(0), iss: None, name, nbf: None, sub, nats }
    }
}

/// The public key that signed a token; which roles may is a matter of the claim's type.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Issuer(Box<str>);

impl Issuer {
    /// The encoded key.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is this key.
    pub fn is<R: Role>(&self, key: &PublicKey<R>) -> bool {
        self.as_str() == key.as_str()
    }

    /// The key, if it is one of the role `R`.
    pub fn key<R: Role>(&self) -> Option<PublicKey<R>> {
        self.0.parse().ok()
    }
}

impl<R: Role> From<PublicKey<R>> for Issuer {
    fn from(key: PublicKey<R>) -> Self {
        Self(key.as_str().into())
    }
}

impl TryFrom<&str> for Issuer {
    type Error = Error;

    fn try_from(text: &str) -> Result<Self> {
        nkeys::from_public_key(text)
            .map_err(|error| Error::Key { wanted: "issuer", why: error.to_string() })?;
        Ok(Self(text.into()))
    }
}

impl<'de> Deserialize<'de> for Issuer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::try_from(text.as_str()).map_err(serde::de::Error::custom)
    }
}

impl Display for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl Debug for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
