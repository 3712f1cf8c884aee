//! The roles of Services in an account, and what they may do: named and read in one place, since the
//! Domain makes their keys and the Services use them.

use std::collections::BTreeMap;
use std::sync::Arc;

use cim_crds::service::Role;
use cim_crds::service::nats::ServiceNats;
use cim_crds::{Cluster, Service};
use cim_nats::account::{Access, Listen};
use cim_nats::{Error, RoleName, StreamName, Subject};

use crate::naming::{object_name, role_name};

/// The name of the Secret with the keys of an account. It is the only copy of the account's identity.
pub fn account_secret(domain: &str, account: &str) -> String {
    object_name(&[domain, "nats", account])
}

/// The name of a role's signing key in its account: `core.vault.api`.
pub fn role_of(cluster: &Cluster, service: &Service, role: &str) -> Result<RoleName, Error> {
    role_name(cluster.label(), service.label(), role).parse()
}

/// The roles of all `services` in each account, with what they may do; and what is wrong with
/// others.
pub(super) fn roles(
    services: &[(Arc<Cluster>, Arc<Service>)],
) -> (BTreeMap<String, BTreeMap<RoleName, Access>>, Vec<String>) {
    let mut accounts: BTreeMap<String, BTreeMap<RoleName, Access>> = BTreeMap::new();
    let mut problems = Vec::new();
    for (cluster, service) in services {
        let Some(nats) = &service.spec.nats else { continue };
        let roles = accounts.entry(nats.account.clone()).or_default();
        for role in &service.spec.roles {
            let named = role_of(cluster, service, &role.name);
            match named.and_then(|name| Ok((name, access(nats, role)?))) {
                Ok((name, access)) => {
                    roles.insert(name, access);
                }
                Err(error) => {
                    let source = cim_crds::names::source(&**service);
                    problems.push(format!("{source} role {}: {error}", role.name));
                }
            }
        }
    }
    (accounts, problems)
}

/// What a role may do: what its service may, and what is its own.
pub fn access(service: &ServiceNats, role: &Role) -> Result<Access, Error> {
    let own = role.nats.clone().unwrap_or_default();
    let publish = service.publish.iter().chain(&own.publish).map(|text| subject(text));
    let subscribe = service.subscribe.iter().chain(&own.subscribe);
    let subscribe = subscribe.map(|text| text.parse::<Listen>());
    let names = |names: Vec<&String>| -> Result<Vec<StreamName>, Error> {
        names.into_iter().map(|name| name.parse()).collect()
    };
    Ok(Access {
        publish: publish.collect::<Result<_, _>>()?,
        subscribe: subscribe.collect::<Result<_, _>>()?,
        streams: names(service.streams.iter().map(|stream| &stream.name).collect())?,
        key_value: names(service.key_value.iter().map(|bucket| &bucket.name).collect())?,
        object_stores: names(service.object_stores.iter().map(|bucket| &bucket.name).collect())?,
        ..Access::default()
    })
}

/// Reads a subject of a spec.
pub fn subject(text: &str) -> Result<Subject, Error> {
    text.parse().map_err(|error: cim_nats::InvalidSubject| Error::Desired {
        field: "subject".to_owned(),
        why: error.to_string(),
    })
}
