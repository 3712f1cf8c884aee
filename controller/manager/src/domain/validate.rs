//! What a Domain should be, in the capability crates' own types. A mistake in one part leaves the
//! others as they are.

use std::collections::{BTreeMap, BTreeSet};

use cim_crds::Domain;
use cim_crds::domain::nats::DomainNats;
use cim_names::{DesiredSet, Fqdn, Hierarchy, Kind, Role, Source, desired_records};
use cim_nats::account::{Account, AccountKeys, compile};
use cim_nats::keys::AccountKey;
use cim_nats::sync;
use cim_nats::{OperatorBundle, RoleName, UnixTime};

use super::access::{account_secret, roles};
use super::account::{account, default_permissions};
use super::failure::DomainFailure;
use super::gather::{Inputs, NatsInputs};
use super::zone::{ZoneWanted, problem_text, zone_wanted};
use super::{Reconciler, Shared};

/// What a Domain should be.
pub struct Desired {
    /// How many of each kind it holds.
    pub(super) counts: Counts,
    /// Names that more than one element claims.
    pub(super) conflicts: BTreeSet<String>,
    /// What is wrong with the names.
    pub(super) names: Option<Shared>,
    /// Each zone of the spec.
    pub(super) zones: Vec<(String, Result<ZoneWanted, Shared>)>,
    /// The accounts, if the spec has any.
    pub(super) nats: Option<Result<NatsWanted, Shared>>,
}

/// How many of each kind there are.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub(super) clusters: u32,
    pub(super) machines: u32,
    pub(super) services: u32,
}

/// The NATS part as it should be.
pub(super) enum NatsWanted {
    /// There is no operator yet, and it may be made.
    Operator {
        /// The Secret that it goes to.
        secret: String,
        /// What the operator is called.
        name: String,
    },
    /// There is one.
    Accounts(Box<AccountsWanted>),
}

/// The accounts as they should be.
pub(super) struct AccountsWanted {
    pub(super) bundle: OperatorBundle,
    pub(super) servers: Vec<String>,
    /// By name; absent where the Secret has no keys yet.
    pub(super) keys: BTreeMap<String, AccountKeys>,
    /// Secrets that must be written before anything can be compiled.
    pub(super) keys_to_make: Vec<KeysToMake>,
    /// What the servers should have; empty while keys are to be made.
    pub(super) desired: sync::Desired,
    /// Accounts, and roles, that cannot be compiled, each with the reason.
    pub(super) problems: Vec<String>,
}

/// The keys of one account that are to be made or dropped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct KeysToMake {
    pub(super) account: String,
    pub(super) secret: String,
    pub(super) roles: BTreeSet<RoleName>,
    pub(super) new: bool,
}

pub(super) fn validate(reconciler: &Reconciler, domain: &Domain, inputs: Inputs) -> Desired {
    let hierarchy = Hierarchy::build(&inputs.inventory);
    let unpublished = unpublished(&inputs.services, &hierarchy);
    let records =
        desired_records(&hierarchy, &[], |role, _member| !unpublished.contains(&role.name));
    let specs = domain.spec.dns.iter().flat_map(|dns| &dns.zones);
    let zones = specs
        .zip(inputs.zones)
        .map(|(spec, inputs)| {
            let wanted = inputs.and_then(|inputs| {
                zone_wanted(domain, spec, inputs, &records, reconciler.limits).map_err(Shared::new)
            });
            (spec.name.clone(), wanted)
        })
        .collect();
    let nats = domain.spec.nats.as_ref().zip(inputs.nats).map(|(spec, gathered)| {
        let services = &inputs.services;
        gathered.and_then(|gathered| {
            nats_wanted(reconciler, domain, spec, &gathered, services, inputs.now)
                .map_err(Shared::new)
        })
    });
    Desired {
        counts: counts(&hierarchy),
        conflicts: conflicts(&hierarchy),
        names: names(&hierarchy, &records),
        zones,
        nats,
    }
}

/// Roles that serve the public and may not yet: nobody finds what was not seen to work.
fn unpublished(services: &super::gather::Services, hierarchy: &Hierarchy) -> BTreeSet<Fqdn> {
    let waiting = services.iter().map(|(_, service)| service).filter(|service| {
        service.status.as_ref().is_none_or(|status| status.published_since.is_none())
    });
    let public: BTreeSet<(Source, &str)> = waiting
        .flat_map(|service| {
            let endpoints = service.spec.endpoints.iter().filter(|endpoint| endpoint.public);
            endpoints.map(|endpoint| (cim_crds::names::source(&**service), endpoint.role.as_str()))
        })
        .collect();
    let is_public = |role: &&Role| {
        let label = role.name.as_str().split('.').next().unwrap_or_default();
        public.contains(&(role.source.clone(), label))
    };
    hierarchy.roles().filter(is_public).map(|role| role.name.clone()).collect()
}

fn counts(hierarchy: &Hierarchy) -> Counts {
    let count = |kind| {
        let elements = hierarchy.elements().filter(|element| element.kind == kind);
        u32::try_from(elements.count()).unwrap_or(u32::MAX)
    };
    Counts {
        clusters: count(Kind::Cluster),
        machines: count(Kind::Machine),
        services: count(Kind::Service),
    }
}

fn conflicts(hierarchy: &Hierarchy) -> BTreeSet<String> {
    let names = hierarchy.problems().iter().filter_map(|problem| match &problem.error {
        cim_names::Error::DuplicateName { name, .. } => Some(name.to_string()),
        _ => None,
    });
    names.collect()
}

fn names(hierarchy: &Hierarchy, records: &DesiredSet) -> Option<Shared> {
    let problems: Vec<_> = hierarchy.problems().iter().chain(&records.problems).collect();
    let reason = problems.first()?.error.reason();
    let problems = problems.into_iter().map(problem_text).collect();
    Some(Shared::new(DomainFailure::Names { reason, problems }))
}

fn nats_wanted(
    reconciler: &Reconciler,
    domain: &Domain,
    spec: &DomainNats,
    inputs: &NatsInputs,
    services: &super::gather::Services,
    now: UnixTime,
) -> Result<NatsWanted, DomainFailure> {
    let secret = &spec.operator_secret_ref.name;
    let Some(operator) = &inputs.operator else {
        if spec.generate {
            let (secret, name) = (secret.clone(), domain.spec.suffix.clone());
            return Ok(NatsWanted::Operator { secret, name });
        }
        return Err(crate::secret::SecretError::NotFound {
            field: "spec.nats.operatorSecretRef".to_owned(),
            name: secret.clone(),
        }
        .into());
    };
    let bundle =
        OperatorBundle::from_data(&operator.texts()?).map_err(|error| operator.invalid(error))?;
    let (mut roles, mut problems) = roles(services);
    let domain_name = domain.metadata.name.as_deref().unwrap_or_default();
    let mut keys = BTreeMap::new();
    let mut keys_to_make = Vec::new();
    let mut accounts: Vec<Account> = Vec::new();
    for (wanted, stored) in spec.accounts.iter().zip(&inputs.accounts) {
        let roles = roles.remove(&wanted.name).unwrap_or_default();
        let names: BTreeSet<RoleName> = roles.keys().cloned().collect();
        let stored = stored.as_ref().map(stored_keys).transpose()?;
        let complete = match &stored {
            // A clone, so that keys which are made here are forgotten: plans do not draw lots.
            Some(stored) => !stored.clone().set_roles(&names)?,
            None => false,
        };
        if !complete {
            keys_to_make.push(KeysToMake {
                account: wanted.name.clone(),
                secret: account_secret(domain_name, &wanted.name),
                roles: names,
                new: stored.is_none(),
            });
        }
        keys.extend(stored.map(|stored| (wanted.name.clone(), stored)));
        match account(wanted, &spec.accounts, roles) {
            Ok(account) => accounts.push(account),
            Err(error) => problems.push(format!("account {}: {error}", wanted.name)),
        }
    }
    for (account, roles) in roles {
        let roles: Vec<String> = roles.keys().map(ToString::to_string).collect();
        problems.push(format!(
            "the roles {} are in the account {account}, which spec.nats.accounts does not have",
            roles.join(", ")
        ));
    }
    let mut desired = sync::Desired {
        signer: bundle.signing().public(),
        servers: spec.servers.len(),
        accounts: BTreeMap::new(),
        delete: BTreeMap::new(),
        issued: reconciler.memory.issued(&super::id(domain)),
        now,
    };
    if keys_to_make.is_empty() {
        problems.extend(fill(&mut desired, spec, &accounts, &keys));
    }
    let servers = spec.servers.clone();
    Ok(NatsWanted::Accounts(Box::new(AccountsWanted {
        bundle,
        servers,
        keys,
        keys_to_make,
        desired,
        problems,
    })))
}

fn stored_keys(stored: &crate::secret::SecretData) -> Result<AccountKeys, DomainFailure> {
    Ok(AccountKeys::from_data(&stored.texts()?).map_err(|error| stored.invalid(error))?)
}

/// Compiles all accounts; gives back what is wrong with some.
fn fill(
    desired: &mut sync::Desired,
    spec: &DomainNats,
    accounts: &[Account],
    keys: &BTreeMap<String, AccountKeys>,
) -> Vec<String> {
    let both: Vec<(&Account, &AccountKeys)> = accounts
        .iter()
        .filter_map(|account| Some((account, keys.get(account.name.as_str())?)))
        .collect();
    let mut problems = Vec::new();
    for (name, compiled) in compile(&both) {
        match compiled {
            Ok(mut claims) => {
                let wanted = spec.accounts.iter().find(|wanted| wanted.name == name.as_str());
                if let Some(wanted) = wanted {
                    claims.nats.default_permissions = default_permissions(wanted);
                }
                desired.accounts.insert(claims.sub.clone(), claims);
            }
            Err(error) => problems.push(error.to_string()),
        }
    }
    problems
}

impl AccountsWanted {
    /// The keys of all accounts that are ours, those that could not be compiled too: such an account
    /// is not unknown, it stays as it is.
    pub(super) fn ours(&self) -> BTreeSet<AccountKey> {
        self.keys.values().map(AccountKeys::account).collect()
    }
}
