//! A machine that obeys, exactly as far as `observe` can see it.

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
pub(super) struct Machine {
    pub(super) state: HostState,
    /// How the activation of `a` ends.
    test_exit: i32,
    /// Whether its boot loader takes the profile.
    boots_profile: bool,
    /// Whether `a` has another kernel than what was booted.
    new_kernel: bool,
}

impl Machine {
    pub(super) fn settled(letter: char, test_exit: i32) -> Self {
        let state = state(Some(letter), Some(letter));
        Self { state, test_exit, boots_profile: true, new_kernel: false }
    }

    pub(super) fn runs(&self, letter: char) -> bool {
        self.state.current.is(&path(letter)) && self.state.profile.is(&path(letter))
    }

    /// The same machine, on which nothing fails.
    pub(super) fn mended(self) -> Self {
        let test_exit = if self.test_exit == 100 { 100 } else { 0 };
        Self { test_exit, boots_profile: true, ..self }
    }

    pub(super) fn apply(&mut self, change: &Change) {
        let busy = self.state.running().is_some();
        match change {
            Change::Copy { .. } | Change::CopySignatures { .. } => {
                self.state.wanted = Some(Presence::Signed);
            }
            Change::Await { job: Some(job) } => self.finish(&job.clone()),
            Change::Await { job: None } => {
                self.state.switch_locked = false;
                self.state.activation = None;
            }
            Change::Activate { job, .. } => {
                assert_eq!(job.closure, path('a'), "activated what nobody wanted");
                assert_eq!(self.state.wanted, Some(Presence::Signed), "activated before delivered");
                assert!(!busy && self.state.pending.is_none(), "two activations at once");
                self.finish(job);
            }
            Change::Confirm { closure } => {
                assert_eq!(*closure, path('a'), "confirmed what nobody wanted");
                assert!(!busy, "confirmed while something runs");
                self.finish(&Job { step: Step::Confirm, closure: closure.clone() });
            }
            Change::Revert { closure, why } => {
                assert_eq!(self.state.pending.as_ref().map(|it| &it.closure), Some(closure));
                self.go_back(*why);
            }
            Change::Reboot { boot_id } if *boot_id == self.state.boot_id => {
                let closure = self.state.profile.closure().cloned();
                self.state.staged = closure.map(|closure| Staged {
                    closure,
                    boot_id: boot_id.clone(),
                    required: true,
                });
                self.reboot();
            }
            Change::Check { .. } | Change::Reboot { .. } => {}
        }
    }

    /// The dead-man's timer fires; what still runs is ended.
    pub(super) fn time_is_over(&mut self) {
        if self.state.pending.is_some() {
            self.state.activation = None;
            self.go_back(Some(RollbackReason::Unconfirmed));
        }
    }

    /// Also a loss of power: `/run` is gone, the profile and the records are not.
    pub(super) fn reboot(&mut self) {
        self.state.boot_id.push('+');
        let booted = if self.boots_profile { self.state.profile.clone() } else { Link::Missing };
        self.state.current = booted.clone();
        self.state.booted = booted;
        self.state.pending = None;
        self.state.rolling_back = None;
        self.state.activation = None;
        self.state.switch_locked = false;
        self.state.kernel_is_current = Some(true);
        self.state.inhibited = None;
    }

    fn finish(&mut self, job: &Job) {
        let outcome = match job.step {
            Step::Test => self.test(&job.closure),
            Step::Confirm => self.confirm(&job.closure),
            Step::Boot => {
                self.stage(&job.closure);
                Outcome::Succeeded
            }
            Step::Rollback => {
                self.go_back(Some(RollbackReason::Unconfirmed));
                return;
            }
        };
        self.state.activation = Some(Activation { job: Some(job.clone()), outcome: Some(outcome) });
    }

    fn test(&mut self, closure: &StorePath) -> Outcome {
        let old = self.state.current.closure().cloned();
        let known = self.state.pending.take().and_then(|pending| pending.old);
        let remaining = Duration::from_mins(1);
        self.state.rolled_back = None;
        self.state.staged = None;
        let exit = if *closure == path('a') { self.test_exit } else { 0 };
        if exit == 100 {
            self.stage(closure);
            return Outcome::RebootRequired;
        }
        self.state.current = Link::Closure(closure.clone());
        self.state.pending =
            Some(Pending { closure: closure.clone(), old: known.or(old), tested: true, remaining });
        if exit != 0 {
            self.go_back(Some(RollbackReason::Failed));
        } else if self.new_kernel {
            self.state.kernel_is_current = Some(false);
        }
        Outcome::from_status(exit)
    }

    fn confirm(&mut self, closure: &StorePath) -> Outcome {
        let Some(pending) = &self.state.pending else { return Outcome::Failed { status: 76 } };
        if pending.closure != *closure || !pending.tested || !self.state.current.is(closure) {
            return Outcome::Failed { status: 76 };
        }
        self.state.profile = Link::Closure(closure.clone());
        self.state.pending = None;
        Outcome::Succeeded
    }

    fn stage(&mut self, closure: &StorePath) {
        self.state.profile = Link::Closure(closure.clone());
        let boot_id = self.state.boot_id.clone();
        let required = self.test_exit == 100 || self.state.inhibited == Some(true);
        self.state.staged = (!self.state.current.is(closure)).then(|| Staged {
            closure: closure.clone(),
            boot_id,
            required,
        });
        self.state.rolled_back = None;
    }

    fn go_back(&mut self, why: Option<RollbackReason>) {
        self.state.rolling_back = None;
        let Some(pending) = self.state.pending.take() else { return };
        if let Some(old) = pending.old {
            self.state.current = Link::Closure(old.clone());
            if self.state.profile.is(&pending.closure) {
                self.state.profile = Link::Closure(old);
            }
        }
        if let Some(why) = why {
            let outcome = None;
            let at = String::new();
            let restored = Some(0);
            let closure = pending.closure;
            self.state.rolled_back = Some(RolledBack { closure, why, outcome, at, restored });
        }
    }
}

fn letter() -> impl Strategy<Value = char> {
    prop::sample::select(vec!['a', 'b', 'c'])
}

fn link() -> impl Strategy<Value = Link> {
    prop_oneof![
        Just(Link::Missing),
        Just(Link::Foreign("/srv/x".into())),
        letter().prop_map(|c| Link::Closure(path(c))),
    ]
}

fn any_job() -> impl Strategy<Value = Job> {
    (letter(), prop::sample::select(vec![Step::Test, Step::Confirm, Step::Boot]))
        .prop_map(|(c, step)| job(step, c))
}

fn outcome() -> impl Strategy<Value = Option<Outcome>> {
    prop_oneof![
        Just(None),
        Just(Some(Outcome::Interrupted)),
        prop::sample::select(vec![0, 1, 2, 4, 11, 73, 100, 5])
            .prop_map(|status| Some(Outcome::from_status(status))),
    ]
}

fn presence() -> impl Strategy<Value = Option<Presence>> {
    let all = vec![Presence::Absent, Presence::Unsigned, Presence::Signed];
    prop::option::of(prop::sample::select(all))
}

prop_compose! {
    fn any_state()(
        (current, profile) in (link(), link()),
        wanted in presence(),
        activation in prop::option::of((prop::option::of(any_job()), outcome())),
        pending in prop::option::of((letter(), any::<bool>())),
        rolled_back in prop::option::of(letter()),
        staged in prop::option::of((letter(), any::<bool>(), any::<bool>())),
        (rolls_back, locked) in (any::<bool>(), any::<bool>()),
        (inhibited, kernel) in (any::<Option<bool>>(), any::<Option<bool>>()),
    ) -> HostState {
        let pending = pending.map(|(c, tested)| super::pending(c, tested));
        HostState {
            current, profile, wanted, inhibited,
            activation: activation.map(|(job, outcome)| Activation { job, outcome }),
            rolling_back: pending.as_ref().filter(|_| rolls_back).map(|it| it.closure.clone()),
            rolled_back: rolled_back.map(record),
            staged: staged.map(|(c, same_boot, required)| Staged {
                closure: path(c), boot_id: if same_boot { "1" } else { "0" }.into(), required,
            }),
            switch_locked: locked,
            kernel_is_current: kernel,
            pending,
            ..state(None, None)
        }
    }
}

prop_compose! {
    /// A machine in any state whatever, also in those that nobody knows how to reach.
    pub(super) fn machine()(
        state in any_state(),
        test_exit in prop::sample::select(vec![0, 0, 2, 4, 100]),
        boots_profile in prop::bool::weighted(0.8),
        new_kernel in any::<bool>(),
    ) -> Machine {
        Machine { state, test_exit, boots_profile, new_kernel }
    }
}
