//! The claim by which an exporter lets one importer in.

use serde::{Deserialize, Serialize};

use super::account::ExportKind;
use super::claims::Body;
use crate::keys::{Account, AccountKey};

/// Leave for the subject account to import from the issuer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActivationBody {
    /// What may be imported; may be narrower than the export.
    pub subject: String,
    /// Stream or service.
    pub kind: ExportKind,
    /// The exporter, if a signing key of it has signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer_account: Option<AccountKey>,
}

impl Body for ActivationBody {
    const TYPE: &'static str = "activation";
    type Subject = Account;
    const ISSUERS: &'static [char] = &['A', 'O'];
}
