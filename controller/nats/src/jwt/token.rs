//! A signed token: text and claims together, so that neither can change without the other.

use std::fmt::{self, Debug};

use data_encoding::{BASE32_NOPAD, BASE64URL_NOPAD};
use serde_json::Value;
use sha2::{Digest, Sha512_256};

use super::claims::{Body, Claims, Issuer};
use crate::error::{Error, Result};
use crate::keys::{self, Role, Seed};
use crate::time::UnixTime;

/// Longest token that is looked at. The server's limit is its `max_payload`, by default 1 MiB.
pub const MAX_TOKEN_BYTES: usize = 8 << 20;

/// `{"typ":"JWT","alg":"ed25519-nkey"}`
const HEADER: &str = "eyJ0eXAiOiJKV1QiLCJhbGciOiJlZDI1NTE5LW5rZXkifQ";

/// The version of the claims that this crate writes and reads.
const VERSION: u64 = 2;

/// A token whose signature is that of the issuer it names. Whether that issuer may be trusted is
/// another question: see [`Claims::iss`].
#[derive(Clone, PartialEq)]
pub struct Token<B: Body> {
    text: Box<str>,
    claims: Claims<B>,
}

impl<B: Body> Token<B> {
    /// Signs `claims` as issued at `iat`.
    ///
    /// `jti` is the hash over **all** claims. (The Go library hashes the envelope alone, so that two
    /// versions of one second share a `jti`, and a resolver takes the second for the first.)
    pub fn sign<R: Role>(mut claims: Claims<B>, iat: UnixTime, seed: &Seed<R>) -> Result<Self> {
        let bad = |why: String| Error::Token { wanted: B::TYPE, why };
        let issuer = Issuer::from(seed.public());
        check_issuer::<B>(&issuer)?;
        claims.iss = Some(issuer);
        claims.iat = iat;
        claims.jti = String::new();
        let payload = to_json(&claims)?;
        claims.jti = BASE32_NOPAD.encode(&Sha512_256::digest(payload.to_string().as_bytes()));
        let payload = to_json(&claims)?.to_string();
        let signed = format!("{HEADER}.{}", BASE64URL_NOPAD.encode(payload.as_bytes()));
        let signature = BASE64URL_NOPAD.encode(&seed.sign(signed.as_bytes())?);
        let text = format!("{signed}.{signature}");
        if text.len() > MAX_TOKEN_BYTES {
            return Err(bad(format!("{} bytes, more than {MAX_TOKEN_BYTES}", text.len())));
        }
        Ok(Self { text: text.into(), claims })
    }

    /// Decodes a token and verifies its signature, type, version and the role of its issuer.
    pub fn decode(text: &str) -> Result<Self> {
        let bad = |why: String| Error::Token { wanted: B::TYPE, why };
        let payload = payload::<B>(text)?;
        let body = &payload["nats"];
        if body["type"] != B::TYPE || body["version"] != VERSION {
            let (kind, version) = (&body["type"], &body["version"]);
            return Err(bad(format!(
                "type {kind} version {version}, wanted \"{}\" version {VERSION}",
                B::TYPE
            )));
        }
        let claims: Claims<B> =
            serde_json::from_value(payload).map_err(|error| bad(error.to_string()))?;
        let Some(issuer) = &claims.iss else { return Err(bad("it names no issuer".into())) };
        check_issuer::<B>(issuer)?;
        let (signed, signature) =
            text.rsplit_once('.').ok_or_else(|| bad("it has no signature".into()))?;
        let signature = BASE64URL_NOPAD
            .decode(signature.as_bytes())
            .map_err(|error| bad(format!("signature: {error}")))?;
        if !keys::verify(issuer.as_str(), signed.as_bytes(), &signature) {
            return Err(bad(format!("the signature is not of {issuer}, which it names as issuer")));
        }
        Ok(Self { text: text.into(), claims })
    }

    /// The encoded token.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// What it claims.
    pub fn claims(&self) -> &Claims<B> {
        &self.claims
    }
}

impl<B: Body> Debug for Token<B> {
    /// The claims; not the text, which for a bearer or activation token is a credential.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Token").field(&self.claims).finish()
    }
}

/// The claims as JSON, with `type` and `version`, keys sorted.
pub(super) fn to_json<B: Body>(claims: &Claims<B>) -> Result<Value> {
    let mut json = serde_json::to_value(claims)
        .map_err(|error| Error::Token { wanted: B::TYPE, why: error.to_string() })?;
    json["nats"]["type"] = B::TYPE.into();
    json["nats"]["version"] = VERSION.into();
    Ok(json)
}

/// The claims of a token as JSON, signature unverified.
pub(super) fn payload<B: Body>(text: &str) -> Result<Value> {
    let bad = |why: String| Error::Token { wanted: B::TYPE, why };
    if text.len() > MAX_TOKEN_BYTES {
        return Err(bad(format!("{} bytes, more than {MAX_TOKEN_BYTES}", text.len())));
    }
    let mut parts = text.split('.');
    let (Some(header), Some(payload), Some(_), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(bad("it is not three parts separated by dots".into()));
    };
    let json = |what: &str, part: &str| -> Result<Value> {
        let bytes = BASE64URL_NOPAD
            .decode(part.as_bytes())
            .map_err(|error| bad(format!("{what}: {error}")))?;
        serde_json::from_slice(&bytes).map_err(|error| bad(format!("{what}: {error}")))
    };
    let algorithm = &json("header", header)?["alg"];
    if algorithm != "ed25519-nkey" {
        return Err(bad(format!("algorithm {algorithm}, wanted \"ed25519-nkey\"")));
    }
    json("claims", payload)
}

fn check_issuer<B: Body>(issuer: &Issuer) -> Result<()> {
    if issuer.as_str().starts_with(B::ISSUERS) {
        return Ok(());
    }
    let why = format!("issuer {issuer} does not begin with one of {:?}", B::ISSUERS);
    Err(Error::Token { wanted: B::TYPE, why })
}
