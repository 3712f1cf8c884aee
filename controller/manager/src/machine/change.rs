//! What may be done to a machine.

use std::fmt::{self, Display};

use cim_nixos::install::Step;
use serde::Serialize;

/// One change to a machine: a step of a delivery, or of its first installation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Change {
    /// To one that takes deliveries.
    Deliver(cim_nixos::Change),
    /// To one that is bare.
    Install(Step),
}

impl Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Deliver(change) => change.fmt(f),
            Self::Install(step) => step.fmt(f),
        }
    }
}
