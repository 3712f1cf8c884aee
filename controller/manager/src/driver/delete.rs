//! Deletion: it always ends, and it never removes what was not ours to remove.

use cim_crds::{DeletionPolicy, Kind, Mode};
use tokio::time::timeout;

use super::{Driver, Ended, Reconciler, Seen, Trouble, Visit, ended, has_finalizer, paused, phase};
use crate::outcome::Outcome;
use crate::result::Ending;

impl<R: Reconciler> Driver<R> {
    /// Removes what the object made outside, if its policy and mode say so and nobody has suspended
    /// it, then lets it go.
    ///
    /// A deletion that hangs on a dead outside ends when a person sets `deletionPolicy: Orphan`.
    pub(super) async fn delete(&self, visit: &Visit<'_, R::Kind>) -> Ended<R::Failure> {
        let object = visit.object();
        if !has_finalizer(object) {
            return Ended::new(Ending::Released);
        }
        let clean = object.deletion_policy() == DeletionPolicy::Delete
            && object.mode() == Mode::Correct
            && paused(object).is_none();
        let outcome = if clean { self.clean(visit).await } else { Ok(Outcome::done("")) };
        if let Ok(Outcome::Done { .. }) = outcome {
            return match self.kube.set_finalizer(object, false).await {
                Ok(()) => Ended::new(if clean { Ending::Deleted } else { Ending::Orphaned }),
                Err(error) => Ended::troubled(error),
            };
        }
        let written = visit.write(visit.current().await, phase(&outcome), &Seen::nothing()).await;
        match (outcome, written) {
            (Err(trouble), _) => Ended::troubled(trouble),
            (Ok(_), Err(error)) => Ended::troubled(error),
            (Ok(Outcome::Wait(wait)), Ok(())) => {
                Ended { requeue: Some(wait.after), ..Ended::new(Ending::Wait) }
            }
            (Ok(_), Ok(())) => {
                Ended { requeue: Some(std::time::Duration::ZERO), ..Ended::new(Ending::Transition) }
            }
        }
    }

    async fn clean(&self, visit: &Visit<'_, R::Kind>) -> Result<Outcome, Trouble<R::Failure>> {
        match timeout(self.deadline, self.reconciler.cleanup(visit)).await {
            Ok(Ok(outcome)) => Ok(outcome),
            Ok(Err(stop)) => ended(stop),
            Err(_) => Err(Trouble::Deadline(self.deadline)),
        }
    }
}
