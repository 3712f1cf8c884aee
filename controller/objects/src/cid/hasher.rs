//! Bytes to CID, in one pass and bounded memory.

use sha2::{Digest, Sha256};

use super::dagpb::{self, Link};
use super::{Cid, DAG_PB};

/// How a file is cut into blocks and tied together. Two profiles give one file two CIDs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Profile {
    /// Bytes per chunk.
    pub chunk: usize,
    /// Links per inner node.
    pub width: usize,
    /// What a leaf is.
    pub leaves: Leaves,
}

/// The form of a leaf block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leaves {
    /// The chunk itself (codec raw, CID version 1).
    Raw,
    /// The chunk wrapped in a UnixFS node (codec dag-pb, CID version 0).
    DagPb,
}

impl Profile {
    /// `unixfs-v1-2025` (IPIP-0499): chunks of 1 MiB, raw leaves, 1024 links, balanced. What this
    /// crate mints.
    pub const V1_2025: Self = Self { chunk: 1 << 20, width: 1024, leaves: Leaves::Raw };
    /// `unixfs-v0-2015` (IPIP-0499): chunks of 256 KiB, dag-pb leaves, 174 links, balanced.
    /// Verified, never minted.
    pub const V0_2015: Self = Self { chunk: 256 << 10, width: 174, leaves: Leaves::DagPb };
}

/// What a pass over the bytes of an object found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hashed {
    /// The name of these bytes under the profile.
    pub cid: Cid,
    /// SHA2-256 over the plain bytes: what a NATS client checks when it reads the object.
    pub sha256: [u8; 32],
    /// Their number.
    pub size: u64,
}

/// Computes a CID from bytes that arrive in pieces of any size.
///
/// Holds one open node per level of the tree (at most `width` links of about 60 bytes each) and,
/// for dag-pb leaves only, one chunk.
#[derive(Clone)]
pub struct Hasher {
    profile: Profile,
    flat: Sha256,
    /// The hash of the open leaf; unused while the first raw leaf is open, since `flat` is it.
    leaf: Sha256,
    /// The open leaf's bytes, kept for dag-pb leaves, whose length precedes them.
    held: Vec<u8>,
    leaf_len: usize,
    size: u64,
    leaves: u64,
    /// Open nodes, leaves' parents first.
    levels: Vec<Vec<Link>>,
}

impl Hasher {
    /// A hasher that has seen no bytes.
    pub fn new(profile: Profile) -> Self {
        Self {
            profile,
            flat: Sha256::new(),
            leaf: Sha256::new(),
            held: Vec::new(),
            leaf_len: 0,
            size: 0,
            leaves: 0,
            levels: Vec::new(),
        }
    }

    /// Takes the next bytes.
    pub fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            // A leaf is closed only when more follows: the last one may be the root itself.
            if self.leaf_len == self.profile.chunk {
                self.close_leaf();
            }
            let (now, later) = bytes.split_at(bytes.len().min(self.profile.chunk - self.leaf_len));
            self.flat.update(now);
            match self.profile.leaves {
                // The first raw leaf's hash is the flat hash so far: small objects hash once.
                Leaves::Raw if self.leaves > 0 => self.leaf.update(now),
                Leaves::Raw => {}
                Leaves::DagPb => self.held.extend_from_slice(now),
            }
            self.leaf_len += now.len();
            self.size += now.len() as u64;
            bytes = later;
        }
    }

    /// The CID of all bytes taken.
    pub fn finish(mut self) -> Hashed {
        self.close_leaf();
        let mut level = 0;
        let root = loop {
            let open = std::mem::take(&mut self.levels[level]);
            let top = level + 1 == self.levels.len();
            match <[Link; 1]>::try_from(open) {
                Ok([only]) if top => break only,
                Ok([only]) => self.close_node(level, &[only]),
                Err(open) if open.is_empty() => {}
                Err(open) => self.close_node(level, &open),
            }
            level += 1;
        };
        let mut digest = [0; 32];
        digest.copy_from_slice(&root.cid[root.cid.len() - 32..]);
        let cid = match (self.profile.leaves, self.leaves) {
            (Leaves::DagPb, _) => Cid::v0(digest),
            (Leaves::Raw, 1) => Cid::raw(digest),
            (Leaves::Raw, _) => Cid::v1(DAG_PB, digest),
        };
        Hashed { cid, sha256: self.flat.finalize().into(), size: self.size }
    }

    fn close_leaf(&mut self) {
        let file_size = self.leaf_len as u64;
        let (cid, tree_size) = match self.profile.leaves {
            Leaves::Raw if self.leaves == 0 => {
                (Cid::raw(self.flat.clone().finalize().into()), file_size)
            }
            Leaves::Raw => (Cid::raw(self.leaf.finalize_reset().into()), file_size),
            Leaves::DagPb => {
                let block = dagpb::leaf(&self.held);
                self.held.clear();
                (Cid::v0(Sha256::digest(&block).into()), block.len() as u64)
            }
        };
        self.leaf_len = 0;
        self.leaves += 1;
        self.push(0, Link { cid: cid.to_bytes(), file_size, tree_size });
    }

    /// Adds a child to the open node at `level`, and closes the node once it is full.
    fn push(&mut self, level: usize, link: Link) {
        if self.levels.len() == level {
            self.levels.push(Vec::new());
        }
        self.levels[level].push(link);
        if self.levels[level].len() == self.profile.width {
            let full = std::mem::take(&mut self.levels[level]);
            self.close_node(level, &full);
        }
    }

    fn close_node(&mut self, level: usize, links: &[Link]) {
        let block = dagpb::inner(links);
        let digest = Sha256::digest(&block).into();
        let cid = match self.profile.leaves {
            Leaves::Raw => Cid::v1(DAG_PB, digest),
            Leaves::DagPb => Cid::v0(digest),
        };
        let link = Link {
            cid: cid.to_bytes(),
            file_size: links.iter().map(|link| link.file_size).sum(),
            tree_size: block.len() as u64 + links.iter().map(|link| link.tree_size).sum::<u64>(),
        };
        self.push(level + 1, link);
    }
}
