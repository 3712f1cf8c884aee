//! One replica acts: leader election on a `coordination.k8s.io/v1` Lease.
//!
//! Every write carries the resourceVersion that was read (an update, never a patch), so of two
//! processes that want the same term the API server lets one through. Expiry is judged by our own
//! clock from the moment at which we saw the last renewal, as client-go does: clocks of different
//! nodes are never compared. Whoever cannot renew in time stops acting before the term can end
//! elsewhere (`renew_deadline < duration`).
//!
//! Why not a library: docs/decisions/0008-leader-lease.md.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::args::LeaseArgs;
use crate::ops::telemetry::chain;

/// The terms of the lease.
#[derive(Clone, Debug)]
pub struct Terms {
    name: String,
    namespace: String,
    identity: String,
    duration: Duration,
    renew_deadline: Duration,
    retry: Duration,
}

/// The terms contradict each other.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum TermsError {
    /// A Lease counts whole seconds.
    #[error("--lease-duration is {0:?}, want at least 2s")]
    TooShort(Duration),
    /// A holder that gives up late may act beside its successor.
    #[error(
        "--lease-renew-deadline is {renew_deadline:?}, want less than --lease-duration ({duration:?})"
    )]
    DeadlineAfterEnd {
        /// As given.
        renew_deadline: Duration,
        /// As given.
        duration: Duration,
    },
    /// One slow answer would lose the lease.
    #[error(
        "--lease-retry is {retry:?}, want at most 5/6 of --lease-renew-deadline ({renew_deadline:?})"
    )]
    RetryTooLong {
        /// As given.
        retry: Duration,
        /// As given.
        renew_deadline: Duration,
    },
}

impl Terms {
    /// Checks `duration > renew_deadline ≥ 1.2 · retry`.
    pub fn new(args: &LeaseArgs, namespace: String, identity: String) -> Result<Self, TermsError> {
        let &LeaseArgs { duration, renew_deadline, retry, .. } = args;
        if duration < Duration::from_secs(2) {
            return Err(TermsError::TooShort(duration));
        }
        if renew_deadline >= duration {
            return Err(TermsError::DeadlineAfterEnd { renew_deadline, duration });
        }
        if retry * 6 > renew_deadline * 5 {
            return Err(TermsError::RetryTooLong { retry, renew_deadline });
        }
        Ok(Self { name: args.name.clone(), namespace, identity, duration, renew_deadline, retry })
    }

    fn seconds(&self) -> i32 {
        i32::try_from(self.duration.as_secs()).unwrap_or(i32::MAX)
    }
}

/// What was read last, and when by our clock.
#[derive(Clone, Debug)]
struct Sighting {
    lease: Lease,
    at: Instant,
}

/// What may be done about a lease as it was seen.
#[derive(Clone, Debug, PartialEq)]
enum Step {
    /// Nobody has created it yet.
    Create(LeaseSpec),
    /// It is free, expired or ours: write this.
    Take(LeaseSpec),
    /// Somebody else holds it.
    Yield,
}

/// Pure decision: what `terms.identity` may do with the lease that it `saw`.
fn evaluate(terms: &Terms, saw: Option<&Sighting>, now: Instant, wall: Timestamp) -> Step {
    let fresh = |transitions| LeaseSpec {
        holder_identity: Some(terms.identity.clone()),
        lease_duration_seconds: Some(terms.seconds()),
        acquire_time: Some(MicroTime(wall)),
        renew_time: Some(MicroTime(wall)),
        lease_transitions: Some(transitions),
        ..LeaseSpec::default()
    };
    let Some(saw) = saw else { return Step::Create(fresh(0)) };
    let Some(spec) = &saw.lease.spec else { return Step::Take(fresh(0)) };
    let transitions = spec.lease_transitions.unwrap_or(0);
    match spec.holder_identity.as_deref().filter(|holder| !holder.is_empty()) {
        Some(holder) if holder == terms.identity => Step::Take(LeaseSpec {
            acquire_time: spec.acquire_time.clone().or(Some(MicroTime(wall))),
            ..fresh(transitions)
        }),
        Some(_) => {
            let term = spec.lease_duration_seconds.and_then(|s| u64::try_from(s).ok());
            let term = term.map_or(terms.duration, Duration::from_secs);
            if now.duration_since(saw.at) > term {
                Step::Take(fresh(transitions.saturating_add(1)))
            } else {
                Step::Yield
            }
        }
        None => Step::Take(fresh(transitions.saturating_add(1))),
    }
}

/// A candidate for the lease.
pub struct Candidate {
    api: Api<Lease>,
    terms: Terms,
    saw: Option<Sighting>,
}

/// The lease, held.
#[must_use = "a lease that nobody renews is lost"]
pub struct Leader {
    candidate: Candidate,
    /// When the last successful renewal was *sent*: the answer may have been slow.
    renewed: Instant,
}

/// The lease was lost: another replica may be acting.
#[derive(Debug, thiserror::Error)]
#[error("lost the leader lease {namespace}/{name}: {why}")]
pub struct Lost {
    namespace: String,
    name: String,
    why: String,
}

/// One attempt failed.
#[derive(Debug, thiserror::Error)]
enum AttemptError {
    #[error("no answer within {0:?}")]
    Deadline(Duration),
    #[error(transparent)]
    Api(#[from] kube::Error),
}

impl Candidate {
    /// A candidate that has seen nothing yet.
    pub fn new(client: Client, terms: Terms) -> Self {
        Self { api: Api::namespaced(client, &terms.namespace), terms, saw: None }
    }

    /// Waits until the lease is ours; `None` when `stop` came first.
    pub async fn acquire(mut self, stop: &CancellationToken) -> Option<Leader> {
        let mut last_holder = None;
        loop {
            let sent = Instant::now();
            let attempt = tokio::select! {
                () = stop.cancelled() => return None,
                attempt = self.attempt(self.terms.renew_deadline) => attempt,
            };
            match attempt {
                Ok(true) => {
                    tracing::info!(identity = self.terms.identity, "holding the lease");
                    return Some(Leader { candidate: self, renewed: sent });
                }
                Ok(false) => {
                    let holder = self.holder();
                    if holder != last_holder {
                        tracing::info!(holder, "standing by");
                        last_holder = holder;
                    }
                }
                Err(error) => {
                    tracing::warn!(error = chain(&error), "cannot take the lease; trying again");
                }
            }
            tokio::select! {
                () = stop.cancelled() => return None,
                () = sleep(jittered(self.terms.retry)) => {}
            }
        }
    }

    /// Reads (unless the last write told the state) and takes the lease if that is allowed.
    async fn attempt(&mut self, deadline: Duration) -> Result<bool, AttemptError> {
        timeout(deadline, async {
            self.look().await?;
            self.take().await
        })
        .await
        .unwrap_or(Err(AttemptError::Deadline(deadline)))
    }

    async fn look(&mut self) -> Result<(), AttemptError> {
        let Some(lease) = self.api.get_opt(&self.terms.name).await? else {
            self.saw = None;
            return Ok(());
        };
        let unchanged = self.saw.as_ref().is_some_and(|saw| {
            saw.lease.metadata.resource_version == lease.metadata.resource_version
        });
        if !unchanged {
            self.saw = Some(Sighting { lease, at: Instant::now() });
        }
        Ok(())
    }

    /// Writes the step that is allowed now. `false`: somebody else holds it, or was faster.
    async fn take(&mut self) -> Result<bool, AttemptError> {
        let step = evaluate(&self.terms, self.saw.as_ref(), Instant::now(), Timestamp::now());
        let parameters = PostParams::default();
        let written = match (step, &self.saw) {
            (Step::Yield, _) => return Ok(false),
            (Step::Take(spec), Some(saw)) => {
                let lease = Lease { spec: Some(spec), ..saw.lease.clone() };
                self.api.replace(&self.terms.name, &parameters, &lease).await
            }
            (Step::Create(spec) | Step::Take(spec), _) => {
                let metadata =
                    ObjectMeta { name: Some(self.terms.name.clone()), ..ObjectMeta::default() };
                self.api.create(&parameters, &Lease { metadata, spec: Some(spec) }).await
            }
        };
        match written {
            Ok(lease) => {
                self.saw = Some(Sighting { lease, at: Instant::now() });
                Ok(true)
            }
            // Conflict or AlreadyExists: somebody wrote between our reading and our writing.
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn holder(&self) -> Option<String> {
        self.saw.as_ref()?.lease.spec.as_ref()?.holder_identity.clone()
    }
}

impl Leader {
    /// Renews until `stop` is cancelled; an error means that another replica may be acting by now,
    /// and that this process must end.
    pub async fn hold(&mut self, stop: &CancellationToken) -> Result<(), Lost> {
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = sleep(self.candidate.terms.retry.min(self.left())) => {}
            }
            let left = self.left();
            if left.is_zero() {
                return Err(self.lost("it could not be renewed in time"));
            }
            let sent = Instant::now();
            match self.renew(left).await {
                Ok(true) => self.renewed = sent,
                Ok(false) => return Err(self.lost("another replica has taken it")),
                Err(error) => {
                    tracing::warn!(error = chain(&error), left = ?self.left(), "cannot renew the lease");
                }
            }
        }
    }

    /// Gives the lease back, so that a successor need not wait for its end. Best effort.
    pub async fn release(self) {
        let terms = &self.candidate.terms;
        let Some(saw) = self.candidate.saw else { return };
        let mut lease = saw.lease;
        if let Some(spec) = &mut lease.spec {
            spec.holder_identity = None;
            spec.lease_duration_seconds = Some(1);
            spec.renew_time = Some(MicroTime(Timestamp::now()));
        }
        let parameters = PostParams::default();
        let write = self.candidate.api.replace(&terms.name, &parameters, &lease);
        match timeout(terms.retry, write).await {
            Ok(Ok(_)) => tracing::info!("released the lease"),
            Ok(Err(error)) => tracing::warn!(error = chain(&error), "cannot release the lease"),
            Err(_) => tracing::warn!("cannot release the lease: no answer"),
        }
    }

    async fn renew(&mut self, left: Duration) -> Result<bool, AttemptError> {
        timeout(left, async {
            if self.candidate.take().await? {
                return Ok(true);
            }
            // Somebody edited the object, perhaps only its labels: look again before giving up.
            self.candidate.look().await?;
            self.candidate.take().await
        })
        .await
        .unwrap_or(Err(AttemptError::Deadline(left)))
    }

    fn left(&self) -> Duration {
        self.candidate.terms.renew_deadline.saturating_sub(self.renewed.elapsed())
    }

    fn lost(&self, why: &str) -> Lost {
        let Terms { namespace, name, .. } = &self.candidate.terms;
        Lost { namespace: namespace.clone(), name: name.clone(), why: why.to_owned() }
    }
}

/// Standby replicas that started together should not knock together.
fn jittered(pause: Duration) -> Duration {
    pause.mul_f64(rand::random_range(1.0..1.2))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args() -> LeaseArgs {
        LeaseArgs {
            enabled: true,
            name: "cim-controller".into(),
            namespace: None,
            duration: Duration::from_secs(15),
            renew_deadline: Duration::from_secs(10),
            retry: Duration::from_secs(2),
        }
    }

    fn terms(identity: &str) -> Terms {
        Terms::new(&args(), "cim".into(), identity.into()).expect("terms")
    }

    fn sighting(holder: Option<&str>, seconds: Option<i32>, at: Instant) -> Sighting {
        let spec = LeaseSpec {
            holder_identity: holder.map(str::to_owned),
            lease_duration_seconds: seconds,
            lease_transitions: Some(4),
            acquire_time: Some(MicroTime(Timestamp::UNIX_EPOCH)),
            ..LeaseSpec::default()
        };
        Sighting { lease: Lease { spec: Some(spec), ..Lease::default() }, at }
    }

    fn step(saw: Option<&Sighting>, now: Instant) -> Step {
        evaluate(&terms("a"), saw, now, Timestamp::UNIX_EPOCH)
    }

    fn transitions(step: &Step) -> Option<i32> {
        match step {
            Step::Create(spec) | Step::Take(spec) => spec.lease_transitions,
            Step::Yield => None,
        }
    }

    #[test]
    fn terms_that_let_two_act_are_refused() {
        let refused = |change: fn(&mut LeaseArgs)| {
            let mut args = args();
            change(&mut args);
            Terms::new(&args, "cim".into(), "a".into()).expect_err("refused")
        };
        assert!(matches!(
            refused(|args| args.renew_deadline = args.duration),
            TermsError::DeadlineAfterEnd { .. }
        ));
        assert!(matches!(
            refused(|args| args.retry = args.renew_deadline),
            TermsError::RetryTooLong { .. }
        ));
        assert!(matches!(
            refused(|args| args.duration = Duration::from_millis(1500)),
            TermsError::TooShort(_)
        ));
    }

    #[tokio::test]
    async fn another_holder_is_left_alone_until_its_term_ends_by_our_clock() {
        let start = Instant::now();
        let saw = sighting(Some("b"), Some(15), start);
        let second = Duration::from_secs(1);
        assert_eq!(step(Some(&saw), start + 15 * second), Step::Yield);
        let taken = step(Some(&saw), start + 16 * second);
        assert_eq!(transitions(&taken), Some(5), "{taken:?}");
        // The term is the holder's, not ours.
        let saw = sighting(Some("b"), Some(60), start);
        assert_eq!(step(Some(&saw), start + 16 * second), Step::Yield);
    }

    #[tokio::test]
    async fn free_new_and_own_leases_are_taken_at_once() {
        let now = Instant::now();
        assert!(matches!(step(None, now), Step::Create(_)));
        assert_eq!(transitions(&step(Some(&sighting(None, Some(1), now)), now)), Some(5));
        assert_eq!(transitions(&step(Some(&sighting(Some(""), Some(1), now)), now)), Some(5));
        let Step::Take(own) = step(Some(&sighting(Some("a"), Some(15), now)), now) else {
            panic!("own lease not renewed")
        };
        // Renewing is no transition, and keeps the time at which the term began.
        assert_eq!(own.lease_transitions, Some(4));
        assert_eq!(own.acquire_time, Some(MicroTime(Timestamp::UNIX_EPOCH)));
    }
}
