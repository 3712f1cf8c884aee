//! The few bytes of protobuf that a UnixFS file needs: its leaves and its inner nodes.
//!
//! Formats: dag-pb (ipld.io/specs/codecs/dag-pb) and UnixFS (specs.ipfs.tech/unixfs). Both are
//! frozen, canonical and small, and a hash depends on every byte; so they are written out here.

/// UnixFS type `File`, also of leaves and inner nodes of a balanced DAG.
const FILE: u64 = 2;

/// A child of an inner node.
#[derive(Clone)]
pub(super) struct Link {
    /// Binary CID of the child.
    pub(super) cid: Vec<u8>,
    /// Bytes of the file below the child.
    pub(super) file_size: u64,
    /// Bytes of all blocks below the child, itself included (`Tsize`).
    pub(super) tree_size: u64,
}

/// The dag-pb block of one chunk, for profiles whose leaves are not raw.
pub(super) fn leaf(chunk: &[u8]) -> Vec<u8> {
    let mut unixfs = Vec::with_capacity(chunk.len() + 16);
    varint_field(&mut unixfs, 1, FILE);
    if !chunk.is_empty() {
        bytes_field(&mut unixfs, 2, chunk);
    }
    varint_field(&mut unixfs, 3, chunk.len() as u64);
    let mut node = Vec::with_capacity(unixfs.len() + 8);
    bytes_field(&mut node, 1, &unixfs);
    node
}

/// The dag-pb block over `links`, in file order.
pub(super) fn inner(links: &[Link]) -> Vec<u8> {
    let mut node = Vec::with_capacity(links.len() * 64);
    // dag-pb puts the links (field 2) before the data (field 1).
    for link in links {
        let mut encoded = Vec::with_capacity(52);
        bytes_field(&mut encoded, 1, &link.cid);
        bytes_field(&mut encoded, 2, b"");
        varint_field(&mut encoded, 3, link.tree_size);
        bytes_field(&mut node, 2, &encoded);
    }
    let mut unixfs = Vec::with_capacity(links.len() * 6 + 12);
    varint_field(&mut unixfs, 1, FILE);
    varint_field(&mut unixfs, 3, links.iter().map(|link| link.file_size).sum());
    for link in links {
        varint_field(&mut unixfs, 4, link.file_size);
    }
    bytes_field(&mut node, 1, &unixfs);
    node
}

fn varint_field(out: &mut Vec<u8>, field: u8, value: u64) {
    out.push(field << 3);
    varint(out, value);
}

fn bytes_field(out: &mut Vec<u8>, field: u8, value: &[u8]) {
    out.push(field << 3 | 2);
    varint(out, value.len() as u64);
    out.extend_from_slice(value);
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "the low seven bits are what is meant"
        )]
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    #[expect(clippy::cast_possible_truncation, reason = "below 0x80 by the loop")]
    out.push(value as u8);
}
