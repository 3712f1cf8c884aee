//! From the spec and the declared stores, to what `cim-objects` takes.

use cim_crds::object_replica::{Select as SpecSelect, SpreadKey as SpecSpread};
use cim_crds::{DeletionPolicy, ObjectReplica, Replicas as SpecReplicas};
use cim_nats::Creds;
use cim_nats::account::AccountKeys;
use cim_objects::store::jetstream::Bucket;
use cim_objects::{Cid, Policy, Replicas, Select, SpreadKey, StoreId, StoreSpec};

use super::failure::ReplicaFailure;
use super::gather::{Credentials, Inputs, StoreInput};

const CREDENTIALS: &str = "user.creds";

/// What copies there should be, and how the stores are entered.
pub struct Desired {
    pub(super) objects: cim_objects::Desired,
    pub(super) stores: Vec<StoreAccess>,
}

/// One store, and how it is entered.
pub(super) struct StoreAccess {
    pub(super) id: StoreId,
    pub(super) bucket: Bucket,
    pub(super) jetstream_domain: Option<String>,
    pub(super) servers: Vec<String>,
    pub(super) right: Right,
}

/// By which right a store is entered.
pub(super) enum Right {
    /// As a user that the controller issues itself.
    Account(Box<AccountKeys>),
    /// As the user of a credentials file.
    User(Box<Creds>),
}

pub(super) fn validate(object: &ObjectReplica, inputs: Inputs) -> Result<Desired, ReplicaFailure> {
    supported(object)?;
    let Inputs { stores, replicas, others } = inputs;
    let replicas = object.spec.replicas.or(replicas).ok_or_else(|| ReplicaFailure::Invalid {
        field: "spec.replicas".to_owned(),
        why: "absent, and no Domain gives spec.objects.replicas; set one of them".to_owned(),
    })?;
    let mut policy = Policy::new(numbers(replicas)?);
    policy.spread = object.spec.placement.spread.iter().map(|key| spread(*key)).collect();
    policy.max_age = object.spec.verify.max_age.as_std();
    let mut specs = Vec::new();
    let mut accesses = Vec::new();
    for input in stores {
        let (spec, access) = store(input)?;
        specs.push(spec);
        accesses.push(access);
    }
    let others = others
        .iter()
        .filter_map(|other| Some((select(&other.spec.select).ok()?, other.spec.replicas?)))
        .filter_map(|(select, replicas)| Some((select, numbers(replicas).ok()?)))
        .collect();
    let select = select(&object.spec.select)?;
    let objects = cim_objects::Desired { policy, select, stores: specs, others };
    Ok(Desired { objects, stores: accesses })
}

/// What the schema admits and this version does not do is refused in words, never left undone.
fn supported(object: &ObjectReplica) -> Result<(), ReplicaFailure> {
    if object.spec.deletion_policy == DeletionPolicy::Delete {
        return Err(ReplicaFailure::Unsupported {
            field: "spec.deletionPolicy",
            why: "Delete is not carried out by this version: use Orphan, which leaves the copies",
        });
    }
    if !object.spec.placement.near.is_empty() {
        return Err(ReplicaFailure::Unsupported {
            field: "spec.placement.near",
            why: "nearness is not carried out by this version: use spread",
        });
    }
    Ok(())
}

fn numbers(replicas: SpecReplicas) -> Result<Replicas, ReplicaFailure> {
    Replicas::new(replicas.min, replicas.desired, replicas.max())
        .map_err(|why| invalid("spec.replicas", &why))
}

fn spread(key: SpecSpread) -> SpreadKey {
    match key {
        SpecSpread::Region => SpreadKey::Region,
        SpecSpread::Zone => SpreadKey::Zone,
        SpecSpread::Provider => SpreadKey::Provider,
    }
}

fn select(select: &SpecSelect) -> Result<Select, ReplicaFailure> {
    match select {
        SpecSelect::All(_) => Ok(Select::All),
        SpecSelect::Cids(cids) => {
            let cids = cids.iter().map(|cid| cid.parse::<Cid>());
            let cids = cids.collect::<Result<_, _>>();
            Ok(Select::Cids(cids.map_err(|why| invalid("spec.select.cids", &why))?))
        }
        SpecSelect::Names(names) if names.iter().any(|name| name.contains('*')) => {
            Err(ReplicaFailure::Unsupported {
                field: "spec.select.names",
                why: "patterns with * are not carried out by this version: list the names, or use labels",
            })
        }
        SpecSelect::Names(names) => Ok(Select::Names(names.iter().cloned().collect())),
        SpecSelect::Labels(labels) => Ok(Select::Labels(labels.clone())),
    }
}

fn store(input: StoreInput) -> Result<(StoreSpec, StoreAccess), ReplicaFailure> {
    let StoreInput { cluster, store, servers, credentials } = input;
    let field = || format!("spec.objectStores[{}] of Cluster {cluster}", store.name);
    let Some(nats) = store.nats.clone() else {
        return Err(ReplicaFailure::Invalid { field: field(), why: "has no engine".to_owned() });
    };
    let id: StoreId =
        format!("{cluster}-{}", store.name).parse().map_err(|why| invalid(&field(), &why))?;
    let domain = &store.failure_domain;
    let levels = [
        (SpreadKey::Region, domain.region.clone()),
        (SpreadKey::Zone, domain.zone.clone()),
        (SpreadKey::Provider, domain.provider.clone()),
        (SpreadKey::Cluster, Some(cluster.clone())),
    ];
    let spec = StoreSpec {
        id: id.clone(),
        domain: levels.into_iter().filter_map(|(key, value)| Some((key, value?))).collect(),
        weight: store.weight,
        writable: true,
    };
    let name = nats.bucket.parse().map_err(|why| invalid(&field(), &why))?;
    let bucket = Bucket {
        tags: nats.placement_tags,
        max_bytes: store.capacity_bytes,
        chunk: usize::try_from(nats.chunk_size_bytes).unwrap_or(usize::MAX),
        ..Bucket::new(name)
    };
    let right = match credentials {
        Credentials::Account(secret) => {
            let keys = AccountKeys::from_data(&secret.texts()?);
            Right::Account(Box::new(keys.map_err(|why| secret.invalid(why))?))
        }
        Credentials::File(secret) => {
            let creds = Creds::parse(secret.text(CREDENTIALS)?);
            Right::User(Box::new(creds.map_err(|why| secret.invalid(why))?))
        }
    };
    let jetstream_domain = nats.jetstream_domain;
    Ok((spec, StoreAccess { id, bucket, jetstream_domain, servers, right }))
}

fn invalid(field: &str, why: &dyn std::fmt::Display) -> ReplicaFailure {
    ReplicaFailure::Invalid { field: field.to_owned(), why: why.to_string() }
}
