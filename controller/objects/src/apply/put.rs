//! New objects: bytes in, a name out.

use bytes::Bytes;
use futures::stream;

use crate::limits::OnProgress;
use crate::store::{ByteStream, Over, Put};
use crate::{Attributes, Entry, Error, Hasher, Limits, Profile, Store, Verdict, verify};

/// Stores the bytes that `open` gives under the CID that they have (profile `unixfs-v1-2025`), and
/// reads them back. Storing the same bytes again changes nothing, except that a corrupt copy is
/// replaced; for that `open` is called a second time.
///
/// # Errors
/// Those of the store and of `open`. The store then has no new object, unless only reading back failed.
pub async fn put_object(
    store: &dyn Store,
    attributes: &Attributes,
    open: impl FnMut() -> Result<ByteStream, Error>,
    limits: &Limits,
    progress: OnProgress<'_>,
) -> Result<Entry, Error> {
    let put = Put { cid: None, attributes: attributes.clone(), over: Over::Nothing };
    write(store, put, open, limits, progress).await
}

/// As [`put_object`], for bytes in memory. They are named before they are sent, so that none are
/// sent if the object is there, and that what an interruption leaves is known to be ours.
pub async fn put_bytes(
    store: &dyn Store,
    attributes: &Attributes,
    bytes: Bytes,
    limits: &Limits,
) -> Result<Entry, Error> {
    let mut hasher = Hasher::new(Profile::V1_2025);
    hasher.update(&bytes);
    let cid = Some(hasher.finish().cid);
    let put = Put { cid, attributes: attributes.clone(), over: Over::Nothing };
    let open = || Ok(Box::pin(stream::iter([Ok(bytes.clone())])) as ByteStream);
    write(store, put, open, limits, &|_| {}).await
}

async fn write(
    store: &dyn Store,
    mut put: Put,
    mut open: impl FnMut() -> Result<ByteStream, Error>,
    limits: &Limits,
    progress: OnProgress<'_>,
) -> Result<Entry, Error> {
    let mut replaced = false;
    loop {
        let written = tokio::time::timeout(limits.job, store.put(&put, open()?)).await;
        let written = written.unwrap_or_else(|_| {
            let after = limits.job;
            Err(Error::Deadline { store: store.id().clone(), action: "put an object", after })
        })?;
        match verify(store, &written.cid, limits, progress).await {
            Verdict::Verified(entry) => return Ok(entry),
            Verdict::Corrupt { entry, .. } if !replaced => {
                put.cid = Some(entry.cid);
                put.over = Over::Corrupt(Box::new(entry));
                replaced = true;
            }
            Verdict::Corrupt { why, .. } => {
                return Err(Error::store(store.id(), "read back the object", &why));
            }
            Verdict::Missing => {
                return Err(Error::Absent { store: store.id().clone(), cid: written.cid });
            }
            Verdict::Unknown(error) => return Err(error),
        }
    }
}
