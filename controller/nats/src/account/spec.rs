//! An account as people describe it: other accounts by name, permissions by role.

use std::collections::{BTreeMap, BTreeSet};

use super::access::Access;
use crate::jwt::{AccountLimits, ExportKind, Permissions, ResponseType};
use crate::keys::{AccountKey, UserKey};
use crate::name::{AccountName, RoleName};
use crate::subject::Subject;
use crate::time::UnixTime;

/// One account.
#[derive(Clone, Debug, PartialEq)]
pub struct Account {
    /// Its name; unique among the accounts that are compiled together.
    pub name: AccountName,
    /// What it is for.
    pub description: String,
    /// Limits, JetStream's included.
    pub limits: AccountLimits,
    /// What others may import.
    pub exports: Vec<AccountExport>,
    /// What it imports from others.
    pub imports: Vec<AccountImport>,
    /// What the users of each role may do.
    pub roles: BTreeMap<RoleName, Access>,
    /// What users may do that carry no permissions and have no role.
    pub default_permissions: Permissions,
    /// Users issued at or before that time are cut off and refused.
    pub revocations: BTreeMap<UserKey, UnixTime>,
}

impl Account {
    /// An account with limits and nothing else.
    pub fn new(name: AccountName, limits: AccountLimits) -> Self {
        Self {
            name,
            description: String::new(),
            limits,
            exports: Vec::new(),
            imports: Vec::new(),
            roles: BTreeMap::new(),
            default_permissions: Permissions::default(),
            revocations: BTreeMap::new(),
        }
    }
}

/// Messages or a service that others may import.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountExport {
    /// Name for people.
    pub name: String,
    /// The subject in this account.
    pub subject: Subject,
    /// Stream or service.
    pub kind: ExportKind,
    /// Replies of a service; absent: one.
    pub response: Option<ResponseType>,
    /// Position, from 1, of the `*` that must be the importing account's key.
    pub account_token_position: Option<u32>,
    /// Who may import it.
    pub importers: Importers,
}

/// Who may import an export.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Importers {
    /// Every account of the operator.
    Any,
    /// The accounts that are compiled together with it, which get an activation signed by the
    /// exporter. Another account of the operator gets none.
    Together,
    /// Of those, these.
    Only(BTreeSet<AccountName>),
}

/// Messages or a service of another account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountImport {
    /// Name for people.
    pub name: String,
    /// The exporter.
    pub from: Exporter,
    /// The subject there; the export must contain it.
    pub subject: Subject,
    /// The subject here; absent: the same. `$1` stands for the first `*`.
    pub local_subject: Option<Subject>,
    /// Stream or service.
    pub kind: ExportKind,
    /// Whether the exporter of a service learns who asks.
    pub share: bool,
}

/// The account that exports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exporter {
    /// One that is compiled together with the importer.
    Named(AccountName),
    /// Somebody else's. Whether it exports what is imported is not known here, and an export that
    /// wants an activation gives none.
    Foreign(AccountKey),
}
