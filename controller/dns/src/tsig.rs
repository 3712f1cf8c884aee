//! TSIG (RFC 8945): the key, and the check of answers.
//!
//! The library signs requests. Answers are checked here, because its verifier decodes every record
//! first, fails on one that it cannot decode, and loses the error codes of the server.

use std::{fmt, str::FromStr};

use data_encoding::BASE64;
use hickory_proto::{
    rr::{
        TSigner,
        rdata::tsig::{TSIG, TsigAlgorithm as WireAlgorithm, TsigError},
    },
    serialize::binary::BinEncoder,
};

use crate::{Error, Name, TsigFailure, wire::Reply};

/// By how many seconds the two clocks may differ (RFC 8945 section 10 recommends 300).
const FUDGE: u16 = 300;
/// `NOERROR` in the error field of a TSIG record.
const NO_ERROR: u16 = 0;

/// An algorithm of a TSIG key. The older ones (HMAC-MD5, HMAC-SHA1) are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TsigAlgorithm {
    /// HMAC-SHA256, the recommended one.
    HmacSha256,
    /// HMAC-SHA384.
    HmacSha384,
    /// HMAC-SHA512.
    HmacSha512,
}

impl TsigAlgorithm {
    /// The name as in server configurations.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::HmacSha256 => "hmac-sha256",
            Self::HmacSha384 => "hmac-sha384",
            Self::HmacSha512 => "hmac-sha512",
        }
    }

    fn wire(self) -> WireAlgorithm {
        match self {
            Self::HmacSha256 => WireAlgorithm::HmacSha256,
            Self::HmacSha384 => WireAlgorithm::HmacSha384,
            Self::HmacSha512 => WireAlgorithm::HmacSha512,
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let text = text.trim().trim_end_matches('.').to_ascii_lowercase();
        [Self::HmacSha256, Self::HmacSha384, Self::HmacSha512]
            .into_iter()
            .find(|algorithm| algorithm.as_str() == text)
    }
}

impl fmt::Display for TsigAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A key shared with a DNS server. Its secret is in no output of `Debug` or `Display`.
#[derive(Clone)]
pub struct TsigKey {
    name: Name,
    algorithm: TsigAlgorithm,
    signer: TSigner,
}

impl TsigKey {
    /// A key from three texts: the name which the server knows it by, the algorithm
    /// (`hmac-sha256`, `hmac-sha384` or `hmac-sha512`) and the secret in base64.
    pub fn new(name: &str, algorithm: &str, secret: &str) -> Result<Self, Error> {
        let wrong = |why: String| Error::Key { name: name.to_owned(), why };
        let parsed: Name = name.trim().parse().map_err(|error: Error| wrong(error.to_string()))?;
        let algorithm = TsigAlgorithm::parse(algorithm).ok_or_else(|| {
            wrong(format!(
                "the algorithm {algorithm:?} is not supported; use hmac-sha256, hmac-sha384 or hmac-sha512"
            ))
        })?;
        // Files wrap long secrets, and end with a line break.
        let secret: String = secret.chars().filter(|c| !c.is_ascii_whitespace()).collect();
        // The decoder's error would quote a byte of the secret: only its position is told.
        let bytes = BASE64.decode(secret.as_bytes()).map_err(|error| {
            wrong(format!("the secret is not base64 (at position {})", error.position))
        })?;
        if bytes.is_empty() {
            return Err(wrong("the secret is empty".to_owned()));
        }
        let signer = TSigner::new(bytes, algorithm.wire(), parsed.to_wire(), FUDGE)
            .map_err(|error| wrong(error.to_string()))?;
        Ok(Self { name: parsed, algorithm, signer })
    }

    /// The name of the key.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// The algorithm of the key.
    pub fn algorithm(&self) -> TsigAlgorithm {
        self.algorithm
    }

    pub(crate) fn signer(&self) -> &TSigner {
        &self.signer
    }
}

impl FromStr for TsigKey {
    type Err = Error;

    /// `[ALGORITHM:]NAME:SECRET`, as `nsupdate -y` and `kdig -y` take it; the algorithm is
    /// `hmac-sha256` unless told.
    fn from_str(text: &str) -> Result<Self, Error> {
        match text.trim().split(':').collect::<Vec<_>>().as_slice() {
            [algorithm, name, secret] => Self::new(name, algorithm, secret),
            [name, secret] => Self::new(name, TsigAlgorithm::HmacSha256.as_str(), secret),
            // The text may hold the secret anywhere, so nothing of it is repeated.
            _ => Err(Error::Key {
                name: "(not told)".to_owned(),
                why: "expected [ALGORITHM:]NAME:SECRET".to_owned(),
            }),
        }
    }
}

impl fmt::Debug for TsigKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TsigKey({} {} <redacted>)", self.name, self.algorithm)
    }
}

/// Checks the answers to one signed request, in the order in which they arrive: each signature
/// covers the one before (RFC 8945 section 5.3.1). An unsigned message in between, which the RFC
/// allows, is refused: all servers sign each, and only so is every record known to be theirs.
pub(crate) struct Verifier {
    key: TsigKey,
    previous_mac: Vec<u8>,
    first: bool,
}

impl Verifier {
    pub(crate) fn new(key: TsigKey, request_mac: Vec<u8>) -> Self {
        Self { key, previous_mac: request_mac, first: true }
    }

    /// Checks one answer; `now` is in seconds since 1970.
    pub(crate) fn verify(&mut self, reply: &Reply, now: u64) -> Result<(), TsigFailure> {
        let Some(signature) = reply.signature() else { return Err(TsigFailure::Unsigned) };
        let tsig = &signature.tsig;
        // BADKEY and BADSIG come unsigned, so errors are read before anything is checked.
        server_error(tsig, now)?;
        if signature.key != self.key.name || tsig.algorithm != self.key.algorithm.wire() {
            return Err(TsigFailure::WrongKey);
        }
        let signed = self.signed_bytes(reply, tsig).ok_or(TsigFailure::Forged)?;
        self.key.signer.verify(&signed, &tsig.mac).map_err(|_| TsigFailure::Forged)?;
        let ahead = seconds_ahead(tsig.time, now);
        if ahead.unsigned_abs() > u64::from(tsig.fudge) {
            return Err(TsigFailure::Stale { ahead });
        }
        self.previous_mac.clone_from(&tsig.mac);
        self.first = false;
        Ok(())
    }

    /// What the server has put its MAC over (RFC 8945 section 4.3.3).
    fn signed_bytes(&self, reply: &Reply, tsig: &TSIG) -> Option<Vec<u8>> {
        let mut bytes = Vec::with_capacity(reply.bytes().len() + 256);
        bytes.extend(u16::try_from(self.previous_mac.len()).ok()?.to_be_bytes());
        bytes.extend(&self.previous_mac);
        bytes.extend(reply.bytes_without_signature(tsig.oid)?);
        if self.first {
            let mut variables = Vec::new();
            tsig.emit_tsig_for_mac(
                &mut BinEncoder::new(&mut variables),
                self.key.signer.signer_name(),
            )
            .ok()?;
            bytes.extend(variables);
        } else {
            // Later messages carry only the timers (RFC 8945 section 5.3.1): 48 bits and 16 bits.
            bytes.extend(&tsig.time.to_be_bytes()[2..]);
            bytes.extend(tsig.fudge.to_be_bytes());
        }
        Some(bytes)
    }
}

fn server_error(tsig: &TSIG, now: u64) -> Result<(), TsigFailure> {
    match tsig.error {
        None => Ok(()),
        Some(TsigError::BadSig) => Err(TsigFailure::BadSignature),
        Some(TsigError::BadKey) => Err(TsigFailure::BadKey),
        Some(TsigError::BadTime) => Err(TsigFailure::BadTime { ahead: server_clock(tsig, now) }),
        Some(error) => match u16::from(error) {
            NO_ERROR => Ok(()),
            code => Err(TsigFailure::Other(code)),
        },
    }
}

/// With BADTIME the server sends its clock as 48 bits (RFC 8945 section 5.2.3).
fn server_clock(tsig: &TSIG, now: u64) -> Option<i64> {
    let clock: [u8; 6] = tsig.other.as_slice().try_into().ok()?;
    let server = clock.iter().fold(0_u64, |time, byte| time << 8 | u64::from(*byte));
    Some(seconds_ahead(server, now))
}

fn seconds_ahead(server: u64, now: u64) -> i64 {
    i64::try_from(i128::from(server) - i128::from(now)).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LTMyYnl0ZXM=";

    #[test]
    fn keys_are_read_from_three_texts_or_one() {
        let key = TsigKey::new("Upd.", "HMAC-SHA512", &format!("{SECRET}\n")).unwrap();
        assert_eq!(key.name().as_str(), "upd.");
        assert_eq!(key.algorithm(), TsigAlgorithm::HmacSha512);
        let key: TsigKey = format!("upd:{SECRET}").parse().unwrap();
        assert_eq!(key.algorithm(), TsigAlgorithm::HmacSha256);
        assert!(format!("hmac-sha384:upd:{SECRET}").parse::<TsigKey>().is_ok());
    }

    #[test]
    fn bad_keys_are_refused_without_telling_the_secret() {
        let why = |name, algorithm, secret| {
            TsigKey::new(name, algorithm, secret).unwrap_err().to_string()
        };
        assert!(why("upd", "hmac-md5", SECRET).contains("hmac-sha256"));
        assert!(why("u..pd", "hmac-sha256", SECRET).contains("empty label"));
        assert!(why("upd", "hmac-sha256", "").contains("empty"));
        let broken = why("upd", "hmac-sha256", "hunter2!");
        assert!(broken.contains("base64") && !broken.contains("hunter2"), "{broken}");
        let one_part = "hunter2".parse::<TsigKey>().unwrap_err().to_string();
        assert!(!one_part.contains("hunter2"), "{one_part}");
    }

    #[test]
    fn a_key_shows_no_secret() {
        let key = TsigKey::new("upd", "hmac-sha256", SECRET).unwrap();
        assert_eq!(format!("{key:?}"), "TsigKey(upd. hmac-sha256 <redacted>)");
    }

    /// The MAC of a signed request, and the first answer to it, signed by the library as a server
    /// would.
    fn signed_answer(key: &TsigKey, now: u64) -> (Vec<u8>, Vec<u8>) {
        use hickory_proto::{
            op::{Message, OpCode},
            rr::TSigResponseContext,
        };
        let mut request = Message::query();
        request.finalize(key.signer(), now).unwrap();
        let (id, mac) = (request.metadata.id, request.signature().unwrap().data.mac.clone());
        let mut answer = Message::response(id, OpCode::Query);
        let signer = key.signer().clone();
        let context = TSigResponseContext::new(id, now, signer, mac.clone(), None);
        answer.set_signature(context.sign(&answer.to_vec().unwrap()).unwrap());
        (mac, answer.to_vec().unwrap())
    }

    #[test]
    fn a_signed_answer_is_believed_and_no_altered_one() {
        let key = TsigKey::new("upd", "hmac-sha256", SECRET).unwrap();
        let (mac, bytes) = signed_answer(&key, 1_000_000);
        let believed = |bytes: Vec<u8>| {
            let mut verifier = Verifier::new(key.clone(), mac.clone());
            Reply::parse(bytes).is_ok_and(|reply| verifier.verify(&reply, 1_000_000).is_ok())
        };
        assert!(believed(bytes.clone()));
        // The id in the header is not signed, but compared with the request's.
        for at in 2..bytes.len() {
            let mut altered = bytes.clone();
            altered[at] ^= 0x41;
            assert!(!believed(altered), "byte {at}");
        }
    }

    #[test]
    fn another_secret_key_or_time_is_told_apart() {
        let key = TsigKey::new("upd", "hmac-sha256", SECRET).unwrap();
        let (mac, bytes) = signed_answer(&key, 1_000_000);
        let reply = Reply::parse(bytes).unwrap();
        let verify =
            |key: &TsigKey, now| Verifier::new(key.clone(), mac.clone()).verify(&reply, now);
        let other_secret = TsigKey::new("upd", "hmac-sha256", "b3RoZXI=").unwrap();
        let other_name = TsigKey::new("other", "hmac-sha256", SECRET).unwrap();
        assert_eq!(verify(&other_secret, 1_000_000), Err(TsigFailure::Forged));
        assert_eq!(verify(&other_name, 1_000_000), Err(TsigFailure::WrongKey));
        assert_eq!(verify(&key, 1_000_301), Err(TsigFailure::Stale { ahead: -301 }));
        assert_eq!(verify(&key, 1_000_300), Ok(()));
    }
}
