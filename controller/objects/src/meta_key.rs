//! The words that we write into other people's systems. Changing one orphans what was written.

/// Metadata key of a bucket that we created.
pub(crate) const MANAGED_BY: &str = "cim.dev/managed-by";
/// The value of [`MANAGED_BY`].
pub(crate) const US: &str = "cim-controller";
/// Metadata key: the CID of the plain bytes as one raw block, beside a dag-pb name.
pub(crate) const RAW_CID: &str = "raw-cid";
/// Metadata key of a quarantined copy: when and why it was moved aside.
pub(crate) const QUARANTINED: &str = "cim.dev/quarantined";
/// Metadata keys of a lock.
pub(crate) const LOCK_HOLDER: &str = "cim.dev/lock-holder";
/// When a lock ends, RFC 3339.
pub(crate) const LOCK_UNTIL: &str = "cim.dev/lock-until";
/// Header of each chunk of ours: the object it belongs to.
pub(crate) const CHUNK_OF: &str = "CIM-Object";
/// Where in a bucket our own names are.
pub(crate) const QUARANTINE: &str = ".cim/quarantine/";
/// Where in a bucket locks are.
pub(crate) const LOCK: &str = ".cim/lock/";
