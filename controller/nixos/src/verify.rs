//! Whether what a machine's store holds still is what was delivered.

use std::time::Duration;

use serde::Serialize;

use crate::error::Error;
use crate::ssh::{Host, Script};
use crate::store_path::StorePath;

/// All contents are hashed, but only of the closures themselves is a signature wanted: it covers the
/// names of everything that they refer to.
const VERIFY: &str = "\
seconds=$1
shift
verify() {
    timeout \"$seconds\" nix --extra-experimental-features nix-command store verify \"$@\" >&2
    printf '=cim= %s\\n' $?
}
verify --recursive --no-trust -- \"$@\"
verify --no-contents --sigs-needed 1 \\
    --option trusted-public-keys \"$(cat /etc/cim/delivery-keys 2>/dev/null)\" -- \"$@\"
";
/// For logging in and for the second, quick part.
const MARGIN: Duration = Duration::from_secs(30);
/// The bits of the exit status (NixOS/nix, `src/nix/verify.cc`).
const CORRUPTED: i32 = 1;
const UNTRUSTED: i32 = 2;
const FAILED: i32 = 4;

/// What verifying closures says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Integrity {
    /// Every file is as it was delivered, and a delivery key signed the closures.
    Intact,
    /// Files were changed or lost behind Nix's back.
    Corrupt {
        /// The paths concerned, as far as Nix named them.
        paths: Vec<StorePath>,
    },
    /// The contents are as registered, but no delivery key signed these closures.
    Untrusted {
        /// The closures concerned.
        paths: Vec<StorePath>,
    },
    /// Not all of it is in the store, or Nix could not read it; the text says what.
    Unverified {
        /// What Nix said.
        why: String,
    },
}

/// Has the machine hash `paths` and all that they refer to, against what its Nix registered when they
/// were delivered, and ask whether they are signed. Reads everything: minutes on a real machine. The
/// registration itself lies on the same disk: whoever is root there can change both.
///
/// # Errors
/// Those of SSH; [`Error::HostTimeout`] when it does not end within `deadline`.
pub async fn verify(
    host: &Host,
    paths: &[StorePath],
    deadline: Duration,
) -> Result<Integrity, Error> {
    if paths.is_empty() {
        return Ok(Integrity::Intact);
    }
    let seconds = deadline.as_secs().max(1).to_string();
    let args: Vec<&str> =
        [seconds.as_str()].into_iter().chain(paths.iter().map(StorePath::as_str)).collect();
    let script = Script { what: "nix store verify", text: VERIFY, args: &args };
    let output = host.run_any(script, deadline + MARGIN).await?;
    let statuses: Vec<i32> = output
        .stdout
        .lines()
        .filter_map(|line| line.strip_prefix("=cim= ")?.parse().ok())
        .collect();
    match statuses[..] {
        [TIMED_OUT, _] => Err(Error::HostTimeout {
            host: host.name().to_owned(),
            command: "nix store verify".to_owned(),
            after: deadline,
        }),
        [contents, trust] => Ok(integrity(contents, trust, paths, &output.stderr)),
        _ => Err(host.failure("nix store verify", &output, false)),
    }
}

const TIMED_OUT: i32 = 124;

fn integrity(contents: i32, trust: i32, paths: &[StorePath], said: &str) -> Integrity {
    let mask = CORRUPTED | UNTRUSTED | FAILED;
    let is = |status: i32, bit: i32| status & !mask == 0 && status & bit != 0;
    let named = || named(said, paths);
    // 1 is also how Nix ends when it could not even begin, with a path that it does not know.
    if is(contents, CORRUPTED) && said.contains("was modified") {
        return Integrity::Corrupt { paths: named() };
    }
    // A file that is gone makes Nix fail to read it; what it does not know is another matter.
    if is(contents, FAILED)
        && matches!(trust, 0 | UNTRUSTED)
        && said.contains("No such file or directory")
    {
        return Integrity::Corrupt { paths: named() };
    }
    match (contents, trust) {
        (0, 0) => Integrity::Intact,
        (0, UNTRUSTED) => Integrity::Untrusted { paths: named() },
        _ => Integrity::Unverified { why: crate::process::strip_ansi(said.trim()) },
    }
}

/// The store paths in Nix's complaints; all that were asked about if it named none.
fn named(said: &str, asked: &[StorePath]) -> Vec<StorePath> {
    let complaint = |line: &&str| {
        ["was modified", "untrusted", "No such file", "error:"].iter().any(|it| line.contains(it))
    };
    let plain = crate::process::strip_ansi(said);
    let mut paths: Vec<StorePath> =
        plain.lines().filter(complaint).flat_map(|line| line.split('\'')).filter_map(top).collect();
    paths.sort();
    paths.dedup();
    if paths.is_empty() { asked.to_vec() } else { paths }
}

/// The store path of which `text` is a part.
fn top(text: &str) -> Option<StorePath> {
    let rest = text.strip_prefix("/nix/store/")?;
    format!("/nix/store/{}", rest.split('/').next()?).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "/nix/store/r7b3by83ir2s7fd6dqhwi0npkdhn3a94-nixos-system-host1";
    const B: &str = "/nix/store/zdicy5xa3sm4x3ry8sm23sf6ablhv2w7-site";

    fn judged(contents: i32, trust: i32, said: &str) -> Integrity {
        integrity(contents, trust, &[A.parse().unwrap()], said)
    }

    #[test]
    fn the_bits_of_both_answers_are_told_apart() {
        let paths = |path: &str| vec![path.parse().unwrap()];
        assert_eq!(judged(0, 0, ""), Integrity::Intact);
        let modified = format!("path '\u{1b}[35;1m{B}\u{1b}[0m' was modified! expected hash 'a'");
        assert_eq!(judged(1, 0, &modified), Integrity::Corrupt { paths: paths(B) });
        let lost = format!("error: opening file '{B}/index.html': No such file or directory");
        assert_eq!(judged(4, 0, &lost), Integrity::Corrupt { paths: paths(B) });
        let untrusted = format!("path '{A}' is untrusted");
        assert_eq!(judged(0, 2, &untrusted), Integrity::Untrusted { paths: paths(A) });
        let unknown = format!("error: opening '{A}': No such file or directory");
        assert!(matches!(judged(4, 4, &unknown), Integrity::Unverified { .. }));
        let unknown = format!("error: path '{A}' is not valid");
        assert!(matches!(judged(1, 1, &unknown), Integrity::Unverified { .. }));
        assert!(matches!(judged(127, 127, "nix: not found"), Integrity::Unverified { .. }));
    }
}
