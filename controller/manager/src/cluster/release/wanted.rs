//! Where a release comes from, and for whom it is.

use std::collections::BTreeMap;
use std::sync::Arc;

use cim_crds::cluster::promotion::Approval;
use cim_crds::cluster::release::Release;
use cim_crds::{Cluster, Source};
use cim_nixos::{Access, Attribute, InventoryJson};

use crate::cluster::failure::ClusterFailure;
use crate::cluster::install;

/// Where the release comes from, and for whom it is.
pub(in crate::cluster) struct Wanted {
    pub(in crate::cluster) source: cim_nixos::Source,
    pub(in crate::cluster) access: Option<Arc<Access>>,
    /// As the spec writes them.
    pub(in crate::cluster) flake: String,
    pub(in crate::cluster) branch: Option<String>,
    /// The hash that the tree must have, as the spec or the approval pins it.
    pub(in crate::cluster) nar_hash: Option<String>,
    /// The approval that it rests on, for a Cluster with promotion.
    pub(in crate::cluster) approval: Option<Approval>,
    /// Names of Machines and the configurations that they run.
    pub(in crate::cluster) machines: BTreeMap<String, Attribute>,
    /// Those of them that wait for their first system.
    pub(in crate::cluster) installs: install::Wanted,
    pub(in crate::cluster) inventory: InventoryJson,
    /// What the status holds: an evaluation of the same revision for the same machines is not
    /// repeated, also not after a restart.
    pub(in crate::cluster) present: Option<Release>,
}

/// A source and a revision of it, before they are parsed.
struct Origin {
    flake: String,
    branch: Option<String>,
    rev: Option<String>,
    nar_hash: Option<String>,
}

impl Wanted {
    /// Reads the source and the machines' configurations.
    pub(in crate::cluster) fn new(
        cluster: &Cluster,
        spec: &Source,
        approval: Option<Approval>,
        machines: &[(String, String)],
        inventory: InventoryJson,
        access: Option<Arc<Access>>,
    ) -> Result<Self, ClusterFailure> {
        let origin = match &approval {
            // Never a branch: it may have moved since.
            Some(Approval { approved, .. }) => Origin {
                flake: spec.flake.clone(),
                branch: spec.ref_.clone(),
                rev: Some(approved.rev.clone()),
                nar_hash: Some(approved.nar_hash.clone()),
            },
            None => Origin {
                flake: spec.flake.clone(),
                branch: spec.ref_.clone(),
                rev: spec.rev.clone(),
                nar_hash: spec.nar_hash.clone(),
            },
        };
        let Origin { flake, branch, rev, nar_hash } = origin;
        let source = cim_nixos::Source::parse(&flake, branch.as_deref(), rev.as_deref())
            .map_err(|why| invalid("spec.source", &why))?;
        let machines = machines
            .iter()
            .map(|(name, configuration)| {
                let attribute = configuration.parse();
                let field = format!("spec.configuration of Machine {name}");
                Ok((name.clone(), attribute.map_err(|why| invalid(&field, &why))?))
            })
            .collect::<Result<_, ClusterFailure>>()?;
        let present = cluster.status.as_ref().and_then(|status| status.release.clone());
        let installs = install::Wanted::new();
        Ok(Self {
            source,
            access,
            flake,
            branch,
            nar_hash,
            approval,
            machines,
            installs,
            inventory,
            present,
        })
    }

    /// The same, with what first installations take.
    pub(in crate::cluster) fn installing(self, installs: install::Wanted) -> Self {
        Self { installs, ..self }
    }
}

pub(super) fn invalid(field: &str, why: &cim_nixos::ParseError) -> ClusterFailure {
    ClusterFailure::Invalid { field: field.to_owned(), why: why.to_string() }
}
