//! The first system of a machine that is bare: the steps of a visit to one.
//!
//! ```text
//! candidate   what would be installed: what a person confirmed, else what the release holds
//! gather      how root logs in, files from Secrets
//! validate    the same in the types of cim-nixos
//! observe     as root, where deliveries do not reach it
//! stand       what speaks against it, or which steps are left: held until somebody confirms them
//! apply       writes down what was confirmed, then goes through the phases
//! report      how far it is
//! ```
//!
//! A machine that takes deliveries, or ever did, comes to none of this.

mod apply;
mod candidate;
mod gather;
mod observe;
mod report;
mod stand;
mod validate;

pub(super) use apply::apply;
pub(super) use gather::{Inputs, gather};
pub(super) use observe::{Bare, as_root, look};
pub(super) use report::{complete, report};
pub(super) use stand::{hold, plan};
pub(super) use validate::{Wanted, validate};
