//! Store paths in a table: as short as they can be and still told apart.

use std::collections::BTreeSet;

/// How much of the hash is shown when that is enough.
const SHORT: usize = 8;

/// Shows store paths.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Paths {
    /// Characters of the hash; `None` for the whole path.
    hash: Option<usize>,
}

impl Paths {
    /// Whole, if `wide`; else with so much of the hash that no two of `paths` look alike.
    pub(crate) fn of<'p>(paths: impl IntoIterator<Item = &'p str>, wide: bool) -> Self {
        if wide {
            return Self { hash: None };
        }
        let paths: BTreeSet<&str> = paths.into_iter().collect();
        let longest = paths.iter().map(|path| path.len()).max().unwrap_or(SHORT);
        let distinct = |length: usize| {
            let shown: BTreeSet<_> = paths.iter().map(|path| short(path, length)).collect();
            shown.len() == paths.len()
        };
        Self { hash: (SHORT..longest.max(SHORT)).find(|length| distinct(*length)) }
    }

    /// The path as it is shown: `name (hash)`.
    pub(crate) fn show(self, path: &str) -> String {
        self.hash.map_or_else(|| path.to_owned(), |length| short(path, length))
    }

    /// The same, and a dash for nothing.
    pub(crate) fn show_or_dash(self, path: Option<&str>) -> String {
        path.map_or_else(|| "-".to_owned(), |path| self.show(path))
    }
}

fn short(path: &str, length: usize) -> String {
    let base = path.rsplit('/').next().unwrap_or(path);
    match base.split_once('-') {
        Some((hash, name)) => format!("{name} ({})", hash.get(..length).unwrap_or(hash)),
        None => path.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_its_name_and_the_beginning_of_its_hash() {
        let path = "/nix/store/0123456789abcdfghijklmnpqrsvwxyz-nixos-system-host1-25.05";
        let paths = Paths::of([path], false);
        assert_eq!(paths.show(path), "nixos-system-host1-25.05 (01234567)");
        assert_eq!(paths.show("odd"), "odd");
        assert_eq!(Paths::of([path], true).show(path), path);
        assert_eq!(paths.show_or_dash(None), "-");
    }

    #[test]
    fn two_paths_never_look_alike() {
        let two = ["/nix/store/012345678a-x", "/nix/store/012345678b-x"];
        let paths = Paths::of(two, false);
        assert_eq!(two.map(|path| paths.show(path)), ["x (012345678a)", "x (012345678b)"]);
    }
}
