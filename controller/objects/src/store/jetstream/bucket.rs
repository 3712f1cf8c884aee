//! The bucket itself: its name, its stream, its fingerprint.

use std::fmt::{self, Display};
use std::str::FromStr;

use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::context::{CreateStreamErrorKind, GetStreamErrorKind};
use async_nats::jetstream::stream::{Config, DiscardPolicy, Info, Placement, StorageType};

use super::JetStreamStore;
use crate::store::{Mark, Presence};
use crate::{Error, meta_key};

/// The name of an object store bucket: letters, digits, `_` and `-` (ADR-20).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BucketName(String);

impl BucketName {
    /// The stream behind the bucket.
    pub fn stream(&self) -> String {
        format!("OBJ_{}", self.0)
    }

    /// The subject of the metadata of the object `name`.
    pub(super) fn meta_subject(&self, name: &str) -> String {
        format!("$O.{}.M.{}", self.0, data_encoding::BASE64URL.encode(name.as_bytes()))
    }

    /// The subject of the chunks under `nuid`; `>` for all.
    pub(super) fn chunk_subject(&self, nuid: &str) -> String {
        format!("$O.{}.C.{nuid}", self.0)
    }

    /// The subjects of all metadata.
    pub(super) fn all_metas(&self) -> String {
        format!("$O.{}.M.>", self.0)
    }

    /// The object's name in the subject of its metadata.
    pub(super) fn name_in(&self, subject: &str) -> Option<String> {
        let encoded = subject.strip_prefix(&format!("$O.{}.M.", self.0))?;
        let name = data_encoding::BASE64URL.decode(encoded.as_bytes()).ok()?;
        String::from_utf8(name).ok()
    }

    /// The NUID in the subject of a chunk.
    pub(super) fn nuid_in<'a>(&self, subject: &'a str) -> Option<&'a str> {
        subject.strip_prefix(&format!("$O.{}.C.", self.0))
    }
}

impl FromStr for BucketName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        if (1..=64).contains(&text.len()) && text.chars().all(fits) {
            Ok(Self(text.to_owned()))
        } else {
            Err(Error::setting(
                "the name of a bucket",
                format!("{:?}", text.chars().take(80).collect::<String>()),
                "use 1 to 64 letters, digits, '_' and '-'",
            ))
        }
    }
}

impl Display for BucketName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// A bucket as it is to be created and written. An existing one keeps its own settings.
#[derive(Clone, Debug)]
pub struct Bucket {
    /// Its name, unique within the account.
    pub name: BucketName,
    /// The NATS cluster that shall hold it.
    pub cluster: Option<String>,
    /// Tags that the server which holds it must carry, such as `node:a`. One store is one failure
    /// domain, so the bucket has one replica and these pin it.
    pub tags: Vec<String>,
    /// Its limit in bytes.
    pub max_bytes: Option<u64>,
    /// Bytes per chunk that we write, at most the server's `max_payload`.
    pub chunk: usize,
    /// Chunks that we have in flight. `chunk * window` bounds what one writer holds in memory.
    pub window: usize,
}

impl Bucket {
    /// A bucket anywhere, without limit, written in 16 chunks of 512 KiB at a time.
    pub fn new(name: BucketName) -> Self {
        Self {
            name,
            cluster: None,
            tags: Vec::new(),
            max_bytes: None,
            chunk: 512 << 10,
            window: 16,
        }
    }

    fn stream_config(&self) -> Config {
        let placed = self.cluster.is_some() || !self.tags.is_empty();
        Config {
            name: self.name.stream(),
            description: Some("Objects named by their CID; see the key managed-by".to_owned()),
            subjects: vec![self.name.chunk_subject(">"), self.name.all_metas()],
            discard: DiscardPolicy::New,
            storage: StorageType::File,
            num_replicas: 1,
            max_bytes: self.max_bytes.and_then(|max| i64::try_from(max).ok()).unwrap_or(-1),
            allow_rollup: true,
            allow_direct: true,
            placement: placed
                .then(|| Placement { cluster: self.cluster.clone(), tags: self.tags.clone() }),
            metadata: [(meta_key::MANAGED_BY.to_owned(), meta_key::US.to_owned())].into(),
            ..Config::default()
        }
    }
}

impl JetStreamStore {
    pub(super) async fn bucket_presence(&self) -> Result<Presence, Error> {
        const ACTION: &str = "look at the bucket";
        let ask = async {
            match self.context.get_stream(self.bucket.name.stream()).await {
                Ok(stream) => Ok(Some(stream.cached_info().clone())),
                // Only this answer means that there is none; a bucket whose server is down has
                // other errors, and its copies are unknown, not missing.
                Err(error) => match error.kind() {
                    GetStreamErrorKind::JetStream(js)
                        if js.error_code() == ErrorCode::STREAM_NOT_FOUND =>
                    {
                        Ok(None)
                    }
                    _ => Err(error),
                },
            }
        };
        let Some(info) = self.within(ACTION, ask).await? else { return Ok(Presence::Absent) };
        self.check(&info).map_err(|why| self.error(ACTION, &why))?;
        let used = info.state.bytes;
        let free = u64::try_from(info.config.max_bytes).ok().filter(|max| *max > 0);
        Ok(Presence::Here {
            mark: mark(&info),
            used,
            free: free.map(|max| max.saturating_sub(used)),
        })
    }

    pub(super) async fn create_bucket(&self) -> Result<(), Error> {
        let ask = async {
            match self.context.create_stream(self.bucket.stream_config()).await {
                Ok(_) => Ok(()),
                // Somebody made it in between, with other settings perhaps: `check` looks at them.
                Err(error) => match error.kind() {
                    CreateStreamErrorKind::JetStream(js)
                        if js.error_code() == ErrorCode::STREAM_NAME_EXIST =>
                    {
                        Ok(())
                    }
                    _ => Err(error),
                },
            }
        };
        self.within("create the bucket", ask).await?;
        match self.bucket_presence().await? {
            Presence::Here { .. } => Ok(()),
            Presence::Absent => {
                Err(self.error("create the bucket", &"the server accepted it and does not have it"))
            }
        }
    }

    /// What must hold for our writes to be safe in a bucket that others made.
    fn check(&self, info: &Info) -> Result<(), String> {
        let config = &info.config;
        let stream = &config.name;
        for subject in [self.bucket.name.chunk_subject(">"), self.bucket.name.all_metas()] {
            if !config.subjects.contains(&subject) {
                return Err(format!(
                    "stream {stream} is not an object store: it lacks the subject {subject}"
                ));
            }
        }
        if !config.allow_rollup {
            return Err(format!("stream {stream} does not allow rollups; set allow_rollup_hdrs"));
        }
        if config.deny_delete || config.deny_purge {
            return Err(format!(
                "stream {stream} denies deletion or purging: nothing can be repaired"
            ));
        }
        if config.sealed {
            return Err(format!("stream {stream} is sealed: nothing can be written or repaired"));
        }
        Ok(())
    }
}

/// Everything in a stream's state that a write, a removal or a purge changes. Consumers come and go
/// with every listing and are left out.
fn mark(info: &Info) -> Mark {
    let state = &info.state;
    Mark(format!(
        "{}/{}/{}/{}/{}/{}/{}",
        info.created.unix_timestamp_nanos(),
        state.first_sequence,
        state.last_sequence,
        state.messages,
        state.bytes,
        state.subjects_count,
        state.deleted_count.unwrap_or_default(),
    ))
}
