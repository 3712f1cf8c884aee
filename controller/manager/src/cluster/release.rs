//! The release: which revision the source names now, and what it evaluates to for each machine.

use std::collections::BTreeMap;

use cim_crds::cluster::release::{Release, ReleaseMachine};
use cim_crds::{Cluster, Source};
use cim_nixos::{Attribute, AttributeError, Configuration, LockedSource, Nix};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::failure::ClusterFailure;

/// The longest message of one machine, as the schema bounds it.
const ERROR_MAX: usize = 1000;

/// Where the release comes from, and for whom it is.
pub struct Wanted {
    pub(super) source: cim_nixos::Source,
    /// As the spec writes them.
    pub(super) spec: Source,
    /// Names of Machines and the configurations that they run.
    pub(super) machines: BTreeMap<String, Attribute>,
    /// What the status holds: an evaluation of the same revision for the same machines is not
    /// repeated, also not after a restart.
    pub(super) present: Option<Release>,
}

/// Reads the source and the machines' configurations; `None` for a Cluster that delivers nothing.
pub(super) fn wanted(
    cluster: &Cluster,
    machines: &[(String, String)],
) -> Result<Option<Wanted>, ClusterFailure> {
    if cluster.spec.promotion.is_some() {
        return Err(ClusterFailure::Unsupported {
            field: "spec.promotion",
            why: "promotion is not carried out by this version; set source.ref or source.rev",
        });
    }
    let Some(spec) = cluster.spec.source.clone() else { return Ok(None) };
    if spec.credentials_secret_ref.is_some() {
        return Err(ClusterFailure::Unsupported {
            field: "spec.source.credentialsSecretRef",
            why: "fetching with credentials is not carried out by this version",
        });
    }
    let invalid = |field: &str, why: cim_nixos::ParseError| ClusterFailure::Invalid {
        field: field.to_owned(),
        why: why.to_string(),
    };
    let source = cim_nixos::Source::parse(&spec.flake, spec.ref_.as_deref(), spec.rev.as_deref())
        .map_err(|why| invalid("spec.source", why))?;
    let machines = machines
        .iter()
        .map(|(name, configuration)| {
            let attribute = configuration.parse();
            let attribute =
                attribute.map_err(|why| invalid("spec.configuration of a Machine", why))?;
            Ok((name.clone(), attribute))
        })
        .collect::<Result<_, ClusterFailure>>()?;
    let present = cluster.status.as_ref().and_then(|status| status.release.clone());
    Ok(Some(Wanted { source, spec, machines, present }))
}

/// Looks which revision the source names now. Evaluates it once, for all machines, unless the status
/// holds the result already.
pub(super) async fn resolve(
    nix: &Nix,
    wanted: &Wanted,
    now: &Time,
) -> Result<Release, ClusterFailure> {
    let rev = nix.current_rev(&wanted.source).await?;
    if let Some(present) = &wanted.present
        && present.rev == rev.as_str()
        && present.flake == wanted.spec.flake
        && is_for(present, &wanted.machines)
    {
        return Ok(present.clone());
    }
    let locked = nix.resolve(&wanted.source).await?;
    if let Some(pinned) = &wanted.spec.nar_hash
        && pinned != locked.nar_hash.as_str()
    {
        let found = locked.nar_hash.to_string();
        return Err(ClusterFailure::HashMismatch { wanted: pinned.clone(), found });
    }
    let attributes: Vec<Attribute> = wanted.machines.values().cloned().collect();
    let evaluation = nix.evaluate(&locked, None, &attributes).await?.configurations;
    let machines = wanted
        .machines
        .iter()
        .map(|(name, attribute)| machine(name, attribute, evaluation.get(attribute)))
        .collect();
    let since = wanted.present.as_ref().filter(|present| present.rev == locked.rev.as_str());
    let since = since.and_then(|present| present.since.clone()).unwrap_or_else(|| now.clone());
    Ok(release(&wanted.spec, &locked, since, machines))
}

/// Whether `release` was evaluated for exactly these machines and configurations, and all have a
/// closure: what a configuration fetches may fail for a while, so a failure is tried again.
fn is_for(release: &Release, machines: &BTreeMap<String, Attribute>) -> bool {
    release.machines.len() == machines.len()
        && release.machines.iter().all(|machine| {
            machines
                .get(&machine.name)
                .is_some_and(|attribute| machine.configuration == attribute.as_str())
                && machine.error.is_none()
        })
}

fn release(
    spec: &Source,
    locked: &LockedSource,
    since: Time,
    machines: Vec<ReleaseMachine>,
) -> Release {
    Release {
        flake: spec.flake.clone(),
        ref_: spec.ref_.clone(),
        rev: locked.rev.to_string(),
        short_rev: locked.rev.as_str().chars().take(12).collect(),
        nar_hash: locked.nar_hash.to_string(),
        inventory_hash: None,
        digest: None,
        since: Some(since),
        machines,
        services: Vec::new(),
    }
}

fn machine(
    name: &str,
    attribute: &Attribute,
    evaluated: Option<&Result<Configuration, AttributeError>>,
) -> ReleaseMachine {
    let entry = ReleaseMachine {
        name: name.to_owned(),
        configuration: attribute.to_string(),
        ..ReleaseMachine::default()
    };
    match evaluated {
        Some(Ok(Configuration { toplevel, .. })) => ReleaseMachine {
            drv_path: Some(toplevel.derivation.to_string()),
            out_path: Some(toplevel.closure.to_string()),
            ..entry
        },
        Some(Err(error)) => ReleaseMachine { error: Some(short(&error.to_string())), ..entry },
        None => ReleaseMachine { error: Some("it was not evaluated".to_owned()), ..entry },
    }
}

fn short(text: &str) -> String {
    text[..text.floor_char_boundary(ERROR_MAX)].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attributes(names: &[(&str, &str)]) -> BTreeMap<String, Attribute> {
        let parse = |(name, attribute): &(&str, &str)| {
            ((*name).to_owned(), attribute.parse().expect("attribute"))
        };
        names.iter().map(parse).collect()
    }

    fn evaluated(names: &[(&str, &str)]) -> Release {
        let machines = attributes(names);
        let machines = machines.iter().map(|(name, attribute)| ReleaseMachine {
            error: None,
            ..machine(name, attribute, None)
        });
        Release { machines: machines.collect(), ..Release::default() }
    }

    #[test]
    fn an_evaluation_serves_only_the_machines_and_configurations_it_was_made_for() {
        let release = evaluated(&[("host1", "a"), ("host2", "b")]);
        assert!(is_for(&release, &attributes(&[("host2", "b"), ("host1", "a")])));
        assert!(!is_for(&release, &attributes(&[("host1", "a")])));
        assert!(!is_for(&release, &attributes(&[("host1", "a"), ("host3", "b")])));
        assert!(!is_for(&release, &attributes(&[("host1", "a"), ("host2", "c")])));
        assert!(is_for(&evaluated(&[]), &attributes(&[])));
        let mut failed = release.clone();
        failed.machines[1].error = Some("it throws".to_owned());
        assert!(!is_for(&failed, &attributes(&[("host1", "a"), ("host2", "b")])));
    }

    #[test]
    fn a_message_is_cut_between_characters_to_what_the_schema_admits() {
        let error = AttributeError::Failed {
            attribute: "host1".parse().expect("attribute"),
            message: "ü".repeat(2 * ERROR_MAX),
        };
        let entry = machine("host1", &"host1".parse().expect("attribute"), Some(&Err(error)));
        let length = entry.error.expect("an error").len();
        assert!((ERROR_MAX - 1..=ERROR_MAX).contains(&length), "{length}");
        assert_eq!(entry.out_path, None);
    }
}
