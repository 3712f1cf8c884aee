//! Which release of the past is meant.

use cim_crds::{
    Cluster,
    cluster::release::{PastRelease, ReleaseResult},
};
use kube::ResourceExt;

use super::{refusal::Refusal, short_digest, short_rev};

/// The least that names a release.
const MIN: usize = 7;

/// The release that `wanted` names, by revision or digest; without it the last complete one before the
/// present.
pub(crate) fn find<'c>(
    cluster: &'c Cluster,
    wanted: Option<&str>,
) -> Result<&'c PastRelease, Refusal> {
    let status = cluster.status.as_ref();
    let history = status.map(|status| status.history.as_slice()).unwrap_or_default();
    let release = status.and_then(|status| status.release.as_ref());
    let present = release.and_then(|release| release.digest.as_deref());
    let name = cluster.name_any();
    let Some(wanted) = wanted else {
        let complete = |past: &&PastRelease| {
            past.result == ReleaseResult::Complete && Some(past.digest.as_str()) != present
        };
        let before = history.iter().find(complete);
        return before
            .ok_or_else(|| Refusal::NothingBefore { cluster: name, known: list(history) });
    };
    let mut found: Vec<&PastRelease> = Vec::new();
    for past in history.iter().filter(|past| is(&past.rev, &past.digest, wanted)) {
        // The same release may have been there several times.
        if Some(past.digest.as_str()) != present && found.iter().all(|it| it.digest != past.digest)
        {
            found.push(past);
        }
    }
    match found[..] {
        [past] => Ok(past),
        [] if release.is_some_and(|it| is(&it.rev, present.unwrap_or_default(), wanted)) => {
            Err(Refusal::Present { cluster: name, wanted: wanted.to_owned() })
        }
        [] => Err(Refusal::NoSuchRelease {
            cluster: name,
            wanted: wanted.to_owned(),
            known: list(history),
        }),
        _ => {
            let candidates = found.into_iter().map(title).collect();
            Err(Refusal::Ambiguous { wanted: wanted.to_owned(), candidates })
        }
    }
}

/// Whether `wanted` begins the revision or the digest, the latter with or without its `sha256-`.
fn is(rev: &str, digest: &str, wanted: &str) -> bool {
    let hash = digest.split_once('-').map_or(digest, |(_, hash)| hash);
    let bare = wanted.strip_prefix("sha256-").unwrap_or(wanted);
    bare.len() >= MIN && (rev.starts_with(wanted) || hash.starts_with(bare))
}

/// How a past release is called: `0123456789ab (sha256-abcdefghij)`.
pub(crate) fn title(past: &PastRelease) -> String {
    format!("{} ({})", short_rev(&past.rev), short_digest(&past.digest))
}

fn list(history: &[PastRelease]) -> Vec<String> {
    history.iter().map(title).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;

    fn cluster(name: &str) -> Cluster {
        fixtures::cluster(name)
    }

    fn found(cluster: &Cluster, wanted: Option<&str>) -> Result<String, String> {
        find(cluster, wanted).map(|it| it.rev[..4].to_owned()).map_err(|error| error.to_string())
    }

    #[test]
    fn by_default_it_is_the_last_complete_one_before_the_present() {
        // Aborted and superseded ones lie between.
        assert_eq!(found(&cluster("prod"), None), Ok("aaaa".to_owned()));
        let refused = found(&cluster("lost"), None).unwrap_err();
        assert!(refused.contains("its history is empty"), "{refused}");
    }

    #[test]
    fn it_is_found_by_the_beginning_of_its_revision_or_digest() {
        let prod = cluster("prod");
        assert_eq!(found(&prod, Some("bbbbbbb")), Ok("bbbb".to_owned()));
        assert_eq!(found(&prod, Some("sha256-AAAAAAA")), Ok("aaaa".to_owned()));
        assert_eq!(found(&prod, Some("AAAAAAA")), Ok("aaaa".to_owned()));
    }

    #[test]
    fn what_names_none_or_several_is_refused() {
        let prod = cluster("prod");
        for (wanted, why) in [
            ("bbbbbb", "there are cccccccccccc ("),
            ("0000000", "no past release of Cluster prod is 0000000"),
            ("cccccc0", "no past release"),
            ("ddddddd", "is the present release"),
            ("eeeeeee", "may be each of eeeeeeeeeeee"),
        ] {
            let said = found(&prod, Some(wanted)).unwrap_err();
            assert!(said.contains(why), "{why} is not in: {said}");
        }
    }
}
