//! Bringing the next release to a machine before its turn: a copy changes nothing of what runs, and a
//! window is short.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use cim_crds::machine::system::Preview;
use cim_nixos::{DryActivation, Host, Limits, StorePath, preview};

/// How many units of a kind are listed, as the schema bounds it.
const LISTED: usize = 50;

/// What was brought to which machine. A restarted controller asks once more, which costs a question.
#[derive(Default)]
pub(super) struct Ahead {
    brought: Mutex<HashMap<String, Brought>>,
}

#[derive(Clone)]
struct Brought {
    closure: StorePath,
    preview: Option<Preview>,
}

impl Ahead {
    /// Whether `closure` was brought to the machine.
    pub(super) fn has(&self, machine: &str, closure: &StorePath) -> bool {
        let brought = self.brought.lock().unwrap_or_else(PoisonError::into_inner);
        brought.get(machine).is_some_and(|it| it.closure == *closure)
    }

    /// What its activation would do there, as far as it could be asked.
    pub(super) fn preview(&self, machine: &str, closure: &StorePath) -> Option<Preview> {
        let brought = self.brought.lock().unwrap_or_else(PoisonError::into_inner);
        let it = brought.get(machine).filter(|it| it.closure == *closure)?;
        it.preview.clone()
    }

    /// Remembers that `closure` was brought, and asks it what its activation would do.
    pub(super) async fn note(
        &self,
        machine: &str,
        host: &Host,
        closure: &StorePath,
        limits: &Limits,
    ) {
        let asked = match preview(host, closure, limits).await {
            Ok(told) => Some(listed(closure, told)),
            Err(error) => {
                tracing::debug!(%error, machine, "the closure does not tell what it would do");
                None
            }
        };
        let it = Brought { closure: closure.clone(), preview: asked };
        let mut brought = self.brought.lock().unwrap_or_else(PoisonError::into_inner);
        brought.insert(machine.to_owned(), it);
    }

    /// Forgets the machine.
    pub(super) fn forget(&self, machine: &str) {
        self.brought.lock().unwrap_or_else(PoisonError::into_inner).remove(machine);
    }
}

fn listed(closure: &StorePath, told: DryActivation) -> Preview {
    let first = |mut units: Vec<String>| {
        units.truncate(LISTED);
        units
    };
    Preview {
        out_path: closure.to_string(),
        stop: first(told.stop),
        restart: first(told.restart),
        reload: first(told.reload),
        start: first(told.start),
    }
}
