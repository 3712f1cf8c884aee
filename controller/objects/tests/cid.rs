//! CIDs against published vectors.
//!
//! The long ones are IPIP-0499's and kubo's (`test/cli/cid_profiles_test.go`): a ChaCha20 keystream
//! under the key SHA-256(seed) and a zero nonce.

#![allow(clippy::expect_used, reason = "a test's helper fails like the test itself")]

use chacha20::ChaCha20;
use chacha20::cipher::{KeyIvInit, StreamCipher};
use cim_objects::{Cid, Error, Hashed, Hasher, Profile, Verifier};
use proptest::prelude::*;
use sha2::{Digest, Sha256};

fn keystream(bytes: usize, seed: &str, mut take: impl FnMut(&[u8])) {
    let key: [u8; 32] = Sha256::digest(seed).into();
    let mut cipher = ChaCha20::new(&key.into(), &[0; 12].into());
    let mut buffer = vec![0; 1 << 20];
    let mut left = bytes;
    while left > 0 {
        let piece = &mut buffer[..left.min(1 << 20)];
        piece.fill(0);
        cipher.apply_keystream(piece);
        take(piece);
        left -= piece.len();
    }
}

fn hash(profile: Profile, bytes: usize, seed: &str) -> Hashed {
    let mut hasher = Hasher::new(profile);
    keystream(bytes, seed, |piece| hasher.update(piece));
    hasher.finish()
}

fn check(profile: Profile, bytes: usize, seed: &str, cid: &str) {
    assert_eq!(hash(profile, bytes, seed).cid.to_string(), cid, "{bytes} bytes of {seed}");
    let mut verifier = Verifier::new(&cid.parse().expect("a CID")).expect("supported");
    keystream(bytes, seed, |piece| verifier.update(piece));
    assert_eq!(verifier.finish().expect("verified").size, bytes as u64);
}

fn of(profile: Profile, bytes: &[u8]) -> String {
    let mut hasher = Hasher::new(profile);
    hasher.update(bytes);
    hasher.finish().cid.to_string()
}

#[test]
fn short_vectors() {
    let (v1, v0) = (Profile::V1_2025, Profile::V0_2015);
    let hello = b"hello world";
    assert_eq!(of(v1, hello), "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e");
    assert_eq!(of(v0, hello), "Qmf412jQZiuVUtdgnB36FXFX7xg5V6KEbSJ4dpQuhkLyfD");
    assert_eq!(of(v1, b""), "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku");
    assert_eq!(of(v0, b""), "QmbFMke1KXqnYyBBWxB74N4c5SBnJMVAiMNRcGu6x1AwQH");
}

#[test]
fn v1_vectors_around_one_chunk() {
    let seed = "chunk-v1-seed";
    check(
        Profile::V1_2025,
        1 << 20,
        seed,
        "bafkreiacndfy443ter6qr2tmbbdhadvxxheowwf75s6zehscklu6ezxmta",
    );
    check(
        Profile::V1_2025,
        (1 << 20) + 1,
        seed,
        "bafybeigmix7t42i6jacydtquhet7srwvgpizfg7gjbq7627d35mjomtu64",
    );
}

#[test]
fn v0_vectors_around_one_chunk() {
    let (profile, seed) = (Profile::V0_2015, "chunk-v0-seed");
    check(profile, 262_144, seed, "QmWmRj3dFDZdb6ABvbmKhEL6TmPbAfBZ1t5BxsEyJrcZhE");
    check(profile, 262_145, seed, "QmYyLxtzZyW22zpoVAtKANLRHpDjZtNeDjQdJrcQNWoRkJ");
}

/// Generating the bytes takes two seconds with optimisation and minutes without.
#[test]
#[cfg_attr(debug_assertions, ignore = "run it with --release")]
fn v1_vectors_around_one_full_node() {
    let around = [
        "bafybeihmf37wcuvtx4hpu7he5zl5qaf2ineo2lqlfrapokkm5zzw7zyhvm",
        "bafybeibdsi225ugbkmpbdohnxioyab6jsqrmkts3twhpvfnzp77xtzpyhe",
    ];
    assert_eq!(with_one_byte_more(Profile::V1_2025, 1 << 30, "v1-2025-seed"), around);
}

/// As above.
#[test]
#[cfg_attr(debug_assertions, ignore = "run it with --release")]
fn v0_vectors_around_one_full_node() {
    let around = [
        "QmUbBALi174SnogsUzLpYbD4xPiBSFANF4iztWCsHbMKh2",
        "QmV81WL765sC8DXsRhE5fJv2rwhS4icHRaf3J9Zk5FdRnW",
    ];
    assert_eq!(with_one_byte_more(Profile::V0_2015, 45_613_056, "v0-seed"), around);
}

/// The CIDs of so many bytes, and of one more.
fn with_one_byte_more(profile: Profile, bytes: usize, seed: &str) -> [String; 2] {
    let mut hasher = Hasher::new(profile);
    let mut whole = None;
    keystream(bytes + 1, seed, |piece| {
        let (most, last) = piece.split_at(piece.len() - 1);
        hasher.update(most);
        whole = Some(hasher.clone());
        hasher.update(last);
    });
    let whole = whole.expect("there is a last byte");
    [whole.finish().cid.to_string(), hasher.finish().cid.to_string()]
}

#[test]
fn a_flat_digest_comes_with_every_name() {
    let sha256: [u8; 32] = Sha256::digest(b"hello world").into();
    let mut hasher = Hasher::new(Profile::V1_2025);
    hasher.update(b"hello ");
    hasher.update(b"world");
    assert_eq!(
        hasher.finish(),
        Hashed { cid: Cid::raw(sha256), sha256, size: 11 },
        "a raw CID is the flat digest"
    );
    let big = hash(Profile::V1_2025, 3 << 20, "x");
    let mut flat = Sha256::new();
    keystream(3 << 20, "x", |piece| flat.update(piece));
    assert_eq!(big.sha256, <[u8; 32]>::from(flat.finalize()));
}

#[test]
fn what_cannot_be_verified_says_what_it_is() {
    // BLAKE3 raw, dag-cbor, and a CID with a 20-byte digest.
    for (cid, what) in [
        ("bafkr4ia", ""),
        ("bafkr4ihcokpuq3a6f6arcylwzyzwpggntyl3t6lckqnzzgb4fsgxbs4jty", "0x1e"),
        ("bafyreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku", "0x71"),
    ] {
        match cid.parse::<Cid>() {
            Err(error) => assert!(what.is_empty(), "{cid}: {error}"),
            Ok(parsed) => match Verifier::new(&parsed).err() {
                Some(error @ Error::Unsupported { .. }) => {
                    assert!(error.to_string().contains(what), "{error}");
                }
                other => panic!("{cid}: {other:?}"),
            },
        }
    }
}

#[test]
fn a_text_that_is_no_cid_is_refused_with_the_reason() {
    for bad in [
        "",
        "hello",
        "bafkrei",
        "/ipfs/bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku",
    ] {
        let error = bad.parse::<Cid>().expect_err("refused");
        assert!(matches!(error, Error::Cid { .. }) && error.to_string().contains("bafkrei"));
    }
}

proptest! {
    #[test]
    fn the_pieces_in_which_bytes_come_do_not_matter(
        bytes in prop::collection::vec(any::<u8>(), 0..5000),
        cuts in prop::collection::vec(0_usize..5000, 0..8),
        chunk in 1_usize..300,
        width in 2_usize..5,
        raw in any::<bool>(),
    ) {
        let leaves = if raw { cim_objects::Leaves::Raw } else { cim_objects::Leaves::DagPb };
        let profile = Profile { chunk, width, leaves };
        let mut whole = Hasher::new(profile);
        whole.update(&bytes);
        let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let mut pieces = Hasher::new(profile);
        cuts.windows(2).for_each(|cut| pieces.update(&bytes[cut[0]..cut[1]]));
        prop_assert_eq!(whole.finish(), pieces.finish());
    }

    #[test]
    fn one_changed_byte_is_a_mismatch(
        bytes in prop::collection::vec(any::<u8>(), 1..3000), at in any::<prop::sample::Index>(),
    ) {
        let mut hasher = Hasher::new(Profile::V1_2025);
        hasher.update(&bytes);
        let cid = hasher.finish().cid;
        let mut bad = bytes.clone();
        bad[at.index(bytes.len())] ^= 1;
        let mut verifier = Verifier::new(&cid).expect("supported");
        verifier.update(&bad);
        let mismatch = verifier.finish().expect_err("mismatch");
        prop_assert_eq!(mismatch.expected, cid);
        prop_assert_eq!(mismatch.found.size, bytes.len() as u64);
    }

    #[test]
    fn names_are_read_back_as_they_are_written(digest in any::<[u8; 32]>()) {
        let cid = Cid::raw(digest);
        prop_assert_eq!(cid.to_string().parse::<Cid>().expect("parses"), cid);
        let json = serde_json::to_string(&cid).expect("json");
        prop_assert_eq!(serde_json::from_str::<Cid>(&json).expect("json"), cid);
    }
}
