//! Whether a release is what was approved.

use std::collections::BTreeMap;

use cim_crds::cluster::promotion::Approval;
use cim_crds::cluster::release::{NamedPath, Release};
use cim_nixos::StorePath;
use cim_nixos::promotion::{Content, Difference, compare};

use super::wanted::{Wanted, invalid};
use crate::cluster::failure::ClusterFailure;

/// Refuses what was not approved.
pub(super) fn judge(wanted: &Wanted, release: &Release) -> Result<(), ClusterFailure> {
    let Some(Approval { approved, .. }) = &wanted.approval else { return Ok(()) };
    if approved.configurations.is_empty() && approved.services.is_empty() {
        // Going back: the very release that ran here before.
        return if release.digest.as_ref() == Some(&approved.digest) {
            Ok(())
        } else {
            let found = release.digest.clone().unwrap_or_default();
            let approved = approved.digest.clone();
            Err(ClusterFailure::NotThatRelease { approved, found })
        };
    }
    let approved = named(
        (&approved.rev, &approved.nar_hash),
        approved.configurations.iter().map(|it| (&it.name, &it.out_path)),
        &approved.services,
    )
    .map_err(|why| invalid("spec.promotion.approved", &why))?;
    let machines = release.machines.iter();
    let evaluated = named(
        (&release.rev, &release.nar_hash),
        machines.filter_map(|it| Some((&it.configuration, it.out_path.as_ref()?))),
        &release.services,
    )
    .map_err(|why| invalid("status.release", &why))?;
    let differences = compare(&approved, &evaluated);
    if differences.is_empty() {
        return Ok(());
    }
    let told: Vec<String> = differences.iter().map(Difference::to_string).collect();
    Err(ClusterFailure::NotApproved(told))
}

/// What the texts of an approval, or of a release, name.
fn named<'a>(
    (rev, nar_hash): (&str, &str),
    configurations: impl Iterator<Item = (&'a String, &'a String)>,
    services: &'a [NamedPath],
) -> Result<Content, cim_nixos::ParseError> {
    let services = services.iter().map(|it| (&it.name, &it.out_path));
    Ok(Content {
        rev: rev.parse()?,
        nar_hash: nar_hash.parse()?,
        configurations: paths(configurations)?,
        services: paths(services)?,
    })
}

fn paths<'a>(
    named: impl Iterator<Item = (&'a String, &'a String)>,
) -> Result<BTreeMap<String, StorePath>, cim_nixos::ParseError> {
    named.map(|(name, path)| Ok((name.clone(), path.parse()?))).collect()
}

#[cfg(test)]
mod tests {
    use super::super::tests::{evaluated, wanted};
    use super::*;

    #[test]
    fn what_is_at_hand_is_held_against_the_approval_of_today() {
        let path = |name: &str| format!("/nix/store/{}-{name}", "0".repeat(32));
        let mut release = evaluated(&[("host1", "a")]);
        release.rev = "1".repeat(40);
        release.nar_hash = format!("sha256-{}=", "A".repeat(43));
        release.machines[0].out_path = Some(path("a"));
        let judged = |approved: &str| {
            let approval = serde_json::json!({
                "from": "dev", "time": "2026-01-01T00:00:00Z", "by": "jane", "digest": "d",
                "rev": release.rev, "narHash": release.nar_hash,
                "configurations": [{"name": "a", "outPath": path(approved)}],
            });
            let approval = serde_json::from_value(approval).expect("an approval");
            let wanted = wanted(&[("host1", "a")]);
            judge(&Wanted { approval: Some(approval), ..wanted }, &release)
        };
        assert!(judged("a").is_ok());
        let told = judged("b").expect_err("another closure").to_string();
        assert!(told.contains(&path("a")) && told.contains(&path("b")), "{told}");
    }
}
