//! The metadata of a NATS object (ADR-20 `ObjectInfo`), as all clients write it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::list::Chunks;
use crate::store::{Entry, Version};
use crate::{Attributes, Cid, meta_key};

/// Chunks that only their place in the stream tells apart have no digest of their own; this one
/// covers all of them together.
const DIGEST: &str = "SHA-256=";

/// `ObjectInfo`. Fields that we do not use are kept as they are when metadata is written again.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Meta {
    pub(super) name: String,
    pub(super) bucket: String,
    pub(super) nuid: String,
    pub(super) size: u64,
    pub(super) chunks: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) digest: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) deleted: bool,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "or_empty")]
    pub(super) metadata: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) options: Option<Options>,
    #[serde(flatten)]
    pub(super) rest: BTreeMap<String, serde_json::Value>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Options {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) max_chunk_size: Option<u64>,
    #[serde(flatten)]
    pub(super) rest: BTreeMap<String, serde_json::Value>,
}

/// Some clients write `"metadata": null`.
fn or_empty<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, String>, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

impl Meta {
    pub(super) fn decode(payload: &[u8]) -> Result<Self, String> {
        serde_json::from_slice(payload).map_err(|error| error.to_string())
    }

    pub(super) fn set_sha256(&mut self, sha256: [u8; 32]) {
        self.digest = Some(format!("{DIGEST}{}", data_encoding::BASE64URL.encode(&sha256)));
    }

    /// Padded or not: clients differ.
    fn sha256(&self) -> Option<[u8; 32]> {
        let encoded = self.digest.as_deref()?.strip_prefix(DIGEST)?.trim_end_matches('=');
        data_encoding::BASE64URL_NOPAD.decode(encoded.as_bytes()).ok()?.try_into().ok()
    }

    fn is_link(&self) -> bool {
        // Some clients write `"link": null`.
        let link = self.options.as_ref().and_then(|options| options.rest.get("link"));
        link.is_some_and(|link| !link.is_null())
    }
}

/// The metadata message under a name.
pub(super) struct Stored {
    /// Unreadable metadata is damage to a copy, not a failure of the store.
    pub(super) meta: Result<Meta, String>,
    pub(super) sequence: u64,
}

impl Stored {
    pub(super) fn is_deleted(&self) -> bool {
        self.meta.as_ref().is_ok_and(|meta| meta.deleted)
    }

    pub(super) fn nuid(&self) -> Option<&str> {
        self.meta.as_ref().ok().map(|meta| meta.nuid.as_str())
    }

    /// The copy that this describes, given the chunks that are really there.
    pub(super) fn into_entry(self, cid: Cid, chunks: Option<&Chunks>) -> Entry {
        let parts = chunks.map_or(0, |chunks| chunks.count);
        let flaw = match &self.meta {
            Err(why) => Some(format!("its metadata is unreadable: {why}")),
            Ok(meta) if meta.is_link() => Some("it is a link, not an object".to_owned()),
            Ok(meta) if meta.chunks != parts => {
                Some(format!("{parts} of its {} chunks are there", meta.chunks))
            }
            Ok(_) => None,
        };
        let sha256 = self.meta.as_ref().ok().and_then(Meta::sha256);
        let meta = self.meta.unwrap_or_default();
        let mut attributes = Attributes(meta.metadata);
        attributes.0.remove(meta_key::RAW_CID);
        Entry {
            cid,
            size: meta.size,
            version: Version {
                id: meta.nuid,
                head: self.sequence,
                tail: chunks.map_or(0, |chunks| chunks.last),
                parts,
            },
            attributes,
            sha256,
            flaw,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_of_other_clients_is_read_and_kept() {
        // As nats.go writes it: with mtime, without padding rules of its own, metadata null.
        let go = r#"{"name":"x","description":"d","options":{"max_chunk_size":131072},"bucket":"B",
            "nuid":"N","size":5,"mtime":"0001-01-01T00:00:00Z","chunks":1,"metadata":null,
            "digest":"SHA-256=LPJNul-wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ="}"#;
        let meta = Meta::decode(go.as_bytes()).expect("readable");
        assert_eq!((meta.size, meta.chunks, meta.deleted), (5, 1, false));
        assert_eq!(meta.sha256().expect("digest")[..2], [0x2c, 0xf2]);
        let again = serde_json::to_string(&meta).expect("json");
        assert!(again.contains("\"mtime\"") && again.contains("\"description\""), "{again}");
    }

    #[test]
    fn a_flaw_is_what_shows_without_reading() {
        let cid = Cid::raw([0; 32]);
        let meta = Meta { nuid: "N".to_owned(), chunks: 2, ..Meta::default() };
        let flaw = |meta: Result<Meta, String>, count| {
            let chunks = Chunks { count, last: 7, ..Chunks::default() };
            Stored { meta, sequence: 9 }.into_entry(cid, Some(&chunks)).flaw
        };
        assert_eq!(flaw(Ok(meta.clone()), 2), None);
        assert_eq!(flaw(Ok(meta), 1).expect("flaw"), "1 of its 2 chunks are there");
        assert!(flaw(Err("eof".to_owned()), 2).expect("flaw").contains("unreadable: eof"));
    }
}
