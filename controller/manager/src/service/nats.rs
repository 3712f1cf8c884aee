//! The NATS part of a Service: users under its roles' keys, streams and buckets.

use cim_crds::service::nats::{self as spec, ServiceNats};
use cim_crds::{Domain, Service, names};
use cim_nats::account::{Access, AccountKeys};
use cim_nats::jetstream::{
    self, Discard, KeyValue, ObjectStore, Resource, Retention, Storage, Stream,
};
use cim_nats::keys::{AccountKey, AccountSeed};
use cim_nats::{Creds, Error, Login};

use super::ServiceFailure;
use super::gather::{Inputs, credentials_secret};
use crate::domain::{access, role_of, subject};
use crate::outcome::Wait;
use crate::secret::SecretData;

/// The key of a credentials Secret.
pub(super) const CREDENTIALS_KEY: &str = "user.creds";

/// What the Service wants in NATS.
pub(super) enum NatsWanted {
    /// The Domain has not made the account, or the roles' keys, yet.
    Wait(Wait),
    /// There is an account with keys for all roles.
    Account(Box<AccountWanted>),
}

/// What the Service wants in its account.
pub(super) struct AccountWanted {
    pub(super) name: String,
    pub(super) key: AccountKey,
    pub(super) servers: Vec<String>,
    /// Signs the short-lived user by which streams are looked after.
    pub(super) signing: AccountSeed,
    pub(super) roles: Vec<RoleWanted>,
    pub(super) streams: jetstream::Desired,
}

impl AccountWanted {
    /// Whether a login of the role's user shows what it should: our account, and the permissions
    /// that the role has.
    pub(super) fn admits(&self, role: &RoleWanted, login: &Login) -> bool {
        login.account == self.key && login.is(&role.access)
    }
}

/// One role's user.
pub(super) struct RoleWanted {
    pub(super) role: String,
    /// What the user is called.
    pub(super) user: String,
    pub(super) key: AccountSeed,
    pub(super) access: Access,
    pub(super) secret: String,
    pub(super) credentials: Credentials,
}

/// A role's credentials as they are.
pub(super) enum Credentials {
    /// There are none.
    Missing,
    /// They are there and no good, for the reason given.
    Stale(String),
    /// They are of the role's key.
    Good(Box<Creds>),
}

/// Reads the NATS part of the spec.
pub(super) fn nats_wanted(
    service: &Service,
    nats: &ServiceNats,
    inputs: &Inputs,
) -> Result<NatsWanted, ServiceFailure> {
    let domain = &inputs.domain;
    let domain_name = domain.metadata.name.clone().unwrap_or_default();
    let declared = declared(domain, &nats.account).ok_or_else(|| ServiceFailure::NoAccount {
        domain: domain_name.clone(),
        account: nats.account.clone(),
    })?;
    let pending = |what: &str| {
        let message =
            format!("waits for Domain {domain_name} to make {what} in account {}", nats.account);
        Ok(NatsWanted::Wait(Wait::new("AccountPending", message)))
    };
    let Some(secret) = &inputs.keys else { return pending("its keys") };
    let keys = AccountKeys::from_data(&secret.texts()?).map_err(|error| secret.invalid(error))?;
    let mut roles = Vec::new();
    for (role, found) in service.spec.roles.iter().zip(&inputs.credentials) {
        let name = role_of(&inputs.cluster, service, &role.name)?;
        let Some(key) = keys.role(&name) else { return pending(&format!("the key of {name}")) };
        roles.push(RoleWanted {
            role: role.name.clone(),
            user: name.to_string(),
            key: key.clone(),
            access: access(nats, role)?,
            secret: credentials_secret(
                service.metadata.name.as_deref().unwrap_or_default(),
                &role.name,
            ),
            credentials: credentials(found.as_ref(), &keys.account(), key),
        });
    }
    Ok(NatsWanted::Account(Box::new(AccountWanted {
        name: nats.account.clone(),
        key: keys.account(),
        servers: declared,
        signing: keys.signing().clone(),
        roles,
        streams: jetstream::Desired {
            owner: names::source(service).to_string(),
            resources: resources(nats)?,
            adopt: [].into(),
        },
    })))
}

/// The servers of the Domain, if it declares the account.
fn declared(domain: &Domain, account: &str) -> Option<Vec<String>> {
    let nats = domain.spec.nats.as_ref()?;
    nats.accounts.iter().any(|declared| declared.name == account).then(|| nats.servers.clone())
}

fn credentials(found: Option<&SecretData>, account: &AccountKey, key: &AccountSeed) -> Credentials {
    let Some(found) = found else { return Credentials::Missing };
    let read = found
        .text(CREDENTIALS_KEY)
        .map_err(|error| error.to_string())
        .and_then(|text| Creds::parse(text).map_err(|error| error.to_string()));
    let creds = match read {
        Ok(creds) => creds,
        Err(why) => return Credentials::Stale(why),
    };
    let claims = creds.user().claims();
    let by = claims.iss.as_ref().is_some_and(|issuer| issuer.is(&key.public()));
    if !by {
        return Credentials::Stale("signed by another key than the role's".to_owned());
    }
    if claims.nats.issuer_account.as_ref() != Some(account) {
        return Credentials::Stale("of another account".to_owned());
    }
    Credentials::Good(Box::new(creds))
}

fn resources(nats: &ServiceNats) -> Result<Vec<Resource>, Error> {
    let streams = nats.streams.iter().map(|wanted| stream(wanted).map(Resource::Stream));
    let key_value = nats.key_value.iter().map(|wanted| {
        Ok(Resource::KeyValue(KeyValue {
            name: wanted.name.parse()?,
            history: wanted.history,
            ttl: wanted.ttl.map(Into::into),
            storage: storage(wanted.storage),
            replicas: wanted.replicas,
            max_bytes: wanted.max_bytes,
        }))
    });
    let object_stores = nats.object_stores.iter().map(|wanted| {
        Ok(Resource::ObjectStore(ObjectStore {
            name: wanted.name.parse()?,
            ttl: wanted.ttl.map(Into::into),
            storage: storage(wanted.storage),
            replicas: wanted.replicas,
            max_bytes: wanted.max_bytes,
        }))
    });
    streams.chain(key_value).chain(object_stores).collect()
}

fn stream(wanted: &spec::Stream) -> Result<Stream, Error> {
    Ok(Stream {
        name: wanted.name.parse()?,
        subjects: wanted.subjects.iter().map(|text| subject(text)).collect::<Result<_, _>>()?,
        retention: match wanted.retention {
            spec::Retention::Limits => Retention::Limits,
            spec::Retention::Interest => Retention::Interest,
            spec::Retention::WorkQueue => Retention::WorkQueue,
        },
        discard: match wanted.discard {
            spec::Discard::Old => Discard::Old,
            spec::Discard::New => Discard::New,
        },
        storage: storage(wanted.storage),
        replicas: wanted.replicas,
        max_age: wanted.max_age.map(Into::into),
        max_bytes: wanted.max_bytes,
        max_messages: wanted.max_messages,
    })
}

fn storage(storage: spec::Storage) -> Storage {
    match storage {
        spec::Storage::File => Storage::File,
        spec::Storage::Memory => Storage::Memory,
    }
}
