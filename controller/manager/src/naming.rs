//! Names of what the controller makes, derived from the names of what it makes them for.

use sha2::{Digest, Sha256};

/// The longest name of a Kubernetes object (RFC 1123 subdomain).
const OBJECT_MAX: usize = 253;

/// A name for an object out of `parts`, joined by `-`. Parts that are no object names themselves, or
/// too long together, are spelled as far as they go, and a digest of all tells them apart.
pub fn object_name(parts: &[&str]) -> String {
    let plain = parts.join("-");
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '.' || c == '-';
    if plain.len() <= OBJECT_MAX && plain.chars().all(fits) && !plain.contains("..") {
        return plain;
    }
    let spelled: String =
        plain.to_lowercase().chars().map(|c| if fits(c) { c } else { '-' }).collect();
    distinct(&spelled.replace("..", "."), parts, OBJECT_MAX)
}

/// The name of a role's signing key within its account: `core.vault.api`, at most 63 characters.
pub fn role_name(cluster: &str, service: &str, role: &str) -> String {
    const MAX: usize = 63;
    let parts = [cluster, service, role];
    let plain = parts.join(".");
    if plain.len() <= MAX { plain } else { distinct(&plain, &parts, MAX) }
}

/// `text` cut to `max` characters, of which the last nine tell `parts` from others.
fn distinct(text: &str, parts: &[&str], max: usize) -> String {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update(part.as_bytes());
        hasher.update([0]);
    }
    let digest = hasher.finalize().iter().take(4).fold(0_u32, |n, byte| n << 8 | u32::from(*byte));
    let kept = text.floor_char_boundary(max - "-01234567".len());
    format!("{}-{digest:08x}", text[..kept].trim_end_matches(['-', '.']))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ordinary_names_are_left_as_they_are() {
        assert_eq!(object_name(&["example-com", "nats", "comms"]), "example-com-nats-comms");
        assert_eq!(role_name("core", "vault", "api"), "core.vault.api");
    }

    #[test]
    fn names_that_would_be_spelled_alike_differ() {
        assert_ne!(object_name(&["d", "COMMS"]), object_name(&["d", "comms"]));
        assert_ne!(object_name(&["d", "a_b"]), object_name(&["d", "a-b"]));
        let long = "x".repeat(63);
        assert_ne!(role_name(&long, "a", "b"), role_name(&long, "a", "c"));
    }

    proptest! {
        #[test]
        fn every_name_is_one_that_kubernetes_takes(parts in prop::collection::vec("[a-z][A-Za-z0-9_.-]{0,120}[a-z0-9]", 1..4)) {
            let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
            let name = object_name(&parts);
            prop_assert!(name.len() <= OBJECT_MAX && !name.is_empty());
            prop_assert!(name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.".contains(c)));
            prop_assert!(name.starts_with(|c: char| c.is_ascii_alphanumeric()));
            prop_assert!(name.ends_with(|c: char| c.is_ascii_alphanumeric()));
        }
    }
}
