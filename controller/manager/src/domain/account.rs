//! One account: from the spec to the NATS crate's own types.

use std::collections::{BTreeMap, BTreeSet};

use cim_crds::domain::nats as spec;
use cim_nats::account::{Access, Account, AccountExport, AccountImport, Exporter, Importers};
use cim_nats::jwt::{
    AccountLimits, ExportKind, JetStreamLimits, NO_LIMIT, Permission, Permissions, ResponseType,
};
use cim_nats::{AccountName, Error, RoleName};

use super::access::subject;

/// Reads one account of the spec; `all` are those of the same Domain.
pub(super) fn account(
    wanted: &spec::Account,
    all: &[spec::Account],
    roles: BTreeMap<RoleName, Access>,
) -> Result<Account, Error> {
    let name: AccountName = wanted.name.parse()?;
    Ok(Account {
        description: wanted.description.clone().unwrap_or_default(),
        exports: wanted
            .exports
            .iter()
            .map(|export| self::export(&wanted.name, export, all))
            .collect::<Result<_, _>>()?,
        imports: wanted.imports.iter().map(import).collect::<Result<_, _>>()?,
        roles,
        ..Account::new(name, limits(wanted))
    })
}

/// What users may do where their role says nothing.
pub(super) fn default_permissions(wanted: &spec::Account) -> Permissions {
    let rules = |rules: Option<&spec::SubjectRules>| Permission {
        allow: rules.map(|rules| rules.allow.clone()).unwrap_or_default(),
        deny: rules.map(|rules| rules.deny.clone()).unwrap_or_default(),
    };
    let wanted = wanted.default_permissions.as_ref();
    Permissions {
        r#pub: rules(wanted.and_then(|wanted| wanted.publish.as_ref())),
        sub: rules(wanted.and_then(|wanted| wanted.subscribe.as_ref())),
        resp: None,
    }
}

fn limits(wanted: &spec::Account) -> AccountLimits {
    let limits = wanted.limits.clone().unwrap_or_default();
    AccountLimits {
        subs: count(limits.subscriptions),
        data: bytes(limits.data_bytes),
        payload: bytes(limits.payload_bytes),
        imports: count(limits.imports),
        exports: count(limits.exports),
        wildcards: limits.wildcards.unwrap_or(true),
        conn: count(limits.connections),
        leaf: count(limits.leaf_nodes),
        jetstream: wanted.jetstream.as_ref().map(jetstream).unwrap_or_default(),
        ..AccountLimits::unlimited()
    }
}

fn jetstream(wanted: &spec::JetStreamLimits) -> JetStreamLimits {
    JetStreamLimits {
        memory: bytes(wanted.memory_bytes),
        disk: bytes(wanted.disk_bytes),
        streams: count(wanted.streams),
        consumers: count(wanted.consumers),
        // Here it is 0 that means unlimited.
        max_ack_pending: wanted.max_ack_pending.map_or(0, i64::from),
        ..JetStreamLimits::unlimited()
    }
}

fn count(limit: Option<u32>) -> i64 {
    limit.map_or(NO_LIMIT, i64::from)
}

fn bytes(limit: Option<u64>) -> i64 {
    limit.map_or(NO_LIMIT, |limit| i64::try_from(limit).unwrap_or(i64::MAX))
}

fn kind(kind: spec::ShareType) -> ExportKind {
    match kind {
        spec::ShareType::Stream => ExportKind::Stream,
        spec::ShareType::Service => ExportKind::Service,
    }
}

fn export(
    exporter: &str,
    wanted: &spec::Export,
    all: &[spec::Account],
) -> Result<AccountExport, Error> {
    // Whoever describes the Domain consents by describing the import beside the export.
    let importers = || -> Result<BTreeSet<AccountName>, Error> {
        all.iter()
            .filter(|other| other.imports.iter().any(|import| import.account == exporter))
            .map(|other| other.name.parse())
            .collect()
    };
    Ok(AccountExport {
        name: wanted.name.clone(),
        subject: subject(&wanted.subject)?,
        kind: kind(wanted.type_),
        response: wanted.response_type.map(|response| match response {
            spec::ResponseType::Singleton => ResponseType::Singleton,
            spec::ResponseType::Stream => ResponseType::Stream,
            spec::ResponseType::Chunked => ResponseType::Chunked,
        }),
        account_token_position: wanted.account_token_position,
        importers: if wanted.token_required {
            Importers::Only(importers()?)
        } else {
            Importers::Any
        },
    })
}

fn import(wanted: &spec::Import) -> Result<AccountImport, Error> {
    Ok(AccountImport {
        name: wanted.name.clone(),
        from: exporter(&wanted.account)?,
        subject: subject(&wanted.subject)?,
        local_subject: wanted.local_subject.as_deref().map(subject).transpose()?,
        kind: kind(wanted.type_),
        share: wanted.share,
    })
}

/// An account of the Domain by its name, or somebody else's by its public key.
fn exporter(account: &str) -> Result<Exporter, Error> {
    match account.parse() {
        Ok(key) => Ok(Exporter::Foreign(key)),
        Err(_) => Ok(Exporter::Named(account.parse()?)),
    }
}
