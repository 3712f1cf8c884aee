//! What may be done about a plan.

use cim_crds::Mode;

/// Why a plan must not be carried out without a person's word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// Why, CamelCase; the reason of the condition Ready.
    pub reason: &'static str,
    /// Why, for people.
    pub message: String,
}

/// What is done about a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Gate {
    /// There is nothing to do.
    Nothing,
    /// Report what differs.
    Observe,
    /// Also say what would be done.
    Show,
    /// Say what would be done, and wait for the annotation `cim.dev/confirm` with the plan's hash.
    Held(Hold),
    /// Do it.
    Open,
}

/// Decides from the object's `mode`, the plan's `hash` (`None`: empty), what speaks against it, and
/// what a person has confirmed.
pub(super) fn decide(
    mode: Mode,
    hash: Option<&str>,
    hold: Option<Hold>,
    confirmed: Option<&str>,
) -> Gate {
    match (mode, hash, hold) {
        (Mode::Observe, ..) => Gate::Observe,
        (Mode::Plan, ..) => Gate::Show,
        (Mode::Correct, None, _) => Gate::Nothing,
        (Mode::Correct, Some(hash), Some(hold)) if confirmed != Some(hash) => Gate::Held(Hold {
            message: format!(
                "{}; to release exactly this plan use cimctl confirm, or annotate the object with \
                 {}={hash}",
                hold.message,
                cim_crds::annotations::CONFIRM
            ),
            ..hold
        }),
        (Mode::Correct, Some(_), _) => Gate::Open,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hold() -> Hold {
        Hold { reason: "DeletionHeld", message: "40 of 50 records would go".into() }
    }

    #[test]
    fn only_correct_acts_and_only_on_an_unheld_or_confirmed_plan() {
        for confirmed in [None, Some("a"), Some("b")] {
            for hold in [None, Some(hold())] {
                for hash in [None, Some("a")] {
                    assert_eq!(decide(Mode::Observe, hash, hold.clone(), confirmed), Gate::Observe);
                    assert_eq!(decide(Mode::Plan, hash, hold.clone(), confirmed), Gate::Show);
                }
                assert_eq!(decide(Mode::Correct, None, hold, confirmed), Gate::Nothing);
            }
        }
        assert_eq!(decide(Mode::Correct, Some("a"), None, None), Gate::Open);
        assert_eq!(decide(Mode::Correct, Some("a"), Some(hold()), Some("a")), Gate::Open);
        // The confirmation of another plan does not count.
        for confirmed in [None, Some("b")] {
            let Gate::Held(held) = decide(Mode::Correct, Some("a"), Some(hold()), confirmed) else {
                panic!("not held")
            };
            assert!(held.message.ends_with("cim.dev/confirm=a"), "{}", held.message);
        }
    }
}
