//! What holds for every machine, whatever happens to it and to the controller meanwhile.

use cim_plan::testkit::assert_converges;
use proptest::prelude::*;

use super::model::{Machine, machine};
use super::*;

/// More passes than any delivery takes: somebody's end awaited, one given up, tested, confirmed,
/// rebooted, and one that sees that nothing is left.
const PASSES: usize = 8;

fn planned(desired: &Desired, health: &Health, machine: &Machine) -> Plan<Change> {
    plan(desired, &Observed::Reached(Box::new(machine.state.clone())), health)
}

/// Whole passes until nothing is left to do.
fn settle(desired: &Desired, health: &Health, machine: &mut Machine) {
    for _ in 0..PASSES {
        let plan = planned(desired, health, machine);
        if plan.is_empty() {
            return;
        }
        plan.changes.iter().for_each(|change| machine.apply(change));
    }
    let left = planned(desired, health, machine);
    assert!(left.is_empty(), "after {PASSES} passes there is still to do:\n{left}{machine:#?}");
}

/// What happens to a machine, in between and for itself.
#[derive(Clone, Debug)]
enum Event {
    /// A pass of a controller that dies after so many changes.
    Pass(Health, usize),
    TimeIsOver,
    PowerLoss,
}

fn health() -> impl Strategy<Value = Health> {
    prop_oneof![
        Just(Health::Unasked),
        Just(Health::Passing),
        Just(Health::Failing(vec!["no answer".into()])),
    ]
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => (health(), 0..5_usize).prop_map(|(health, until)| Event::Pass(health, until)),
        1 => Just(Event::TimeIsOver),
        1 => Just(Event::PowerLoss),
    ]
}

fn any_desired() -> impl Strategy<Value = Desired> {
    let attempts = vec![Attempt::First, Attempt::Again, Attempt::Refused];
    let actions = vec![Action::Switch, Action::Boot];
    (prop::sample::select(actions), any::<bool>(), prop::sample::select(attempts)).prop_map(
        |(action, may_reboot, attempt)| Desired { may_reboot, attempt, ..desired(action) },
    )
}

fn happen(desired: &Desired, events: &[Event], machine: &mut Machine) {
    for event in events {
        match event {
            Event::Pass(health, until) => {
                let plan = planned(desired, health, machine);
                plan.changes.iter().take(*until).for_each(|change| machine.apply(change));
            }
            Event::TimeIsOver => machine.time_is_over(),
            Event::PowerLoss => machine.reboot(),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn every_machine_settles_whatever_it_was_and_whatever_happened(
        mut machine in machine(),
        desired in any_desired(),
        events in prop::collection::vec(event(), 0..12),
        health in health(),
    ) {
        // Whoever asks again and again for what fails gets it again and again.
        let again = desired.attempt == Attempt::Again;
        happen(&desired, &events, &mut machine);
        let desired = Desired { attempt: if again { Attempt::First } else { desired.attempt }, ..desired };
        settle(&desired, &health, &mut machine);
    }

    #[test]
    fn a_test_ends_at_the_old_closure_or_the_new_one(
        exit in prop::sample::select(vec![0, 2, 4, 100]),
        desired in any_desired(),
        events in prop::collection::vec(event(), 0..12),
    ) {
        let mut machine = Machine::settled('b', exit);
        for event in &events {
            happen(&desired, std::slice::from_ref(event), &mut machine);
            let Machine { state, .. } = &machine;
            prop_assert!([&state.current, &state.profile].iter().all(|link| {
                link.is(&path('a')) || link.is(&path('b'))
            }), "{:?}", state);
            // What was not confirmed or staged is never what a reboot brings.
            prop_assert!(state.pending.is_none() || state.profile.is(&path('b')));
        }
        machine.reboot();
        prop_assert!(machine.runs('a') || machine.runs('b'), "{:?}", machine.state);
        if desired.attempt == Attempt::Refused {
            prop_assert!(machine.runs('b'), "it was refused");
        }
    }

    #[test]
    fn without_a_confirmation_it_goes_back(
        power_loss in any::<bool>(),
        health in prop_oneof![Just(Health::Unasked), Just(Health::Failing(vec![]))],
    ) {
        let mut machine = Machine::settled('b', 0);
        let desired = desired(Action::Switch);
        settle(&desired, &health, &mut machine);
        if power_loss { machine.reboot() } else { machine.time_is_over() }
        prop_assert!(machine.runs('b'), "{:?}", machine.state);
    }

    #[test]
    fn a_healthy_machine_gets_what_is_wanted(
        mut machine in machine().prop_map(Machine::mended),
        action in prop::sample::select(vec![Action::Switch, Action::Boot]),
    ) {
        let desired = Desired { may_reboot: true, attempt: Attempt::Again, ..desired(action) };
        settle(&desired, &Health::Passing, &mut machine);
        prop_assert!(machine.runs('a'), "{:?}", machine.state);
    }

    /// As far as one plan can foresee; a plan that ends with a test is followed by others.
    #[test]
    fn both_laws_of_a_plan_hold_where_nothing_has_to_be_awaited(
        mut machine in machine(), mut desired in any_desired(),
    ) {
        desired.may_reboot = false;
        desired.attempt = Attempt::First;
        machine.state.activation = None;
        machine.state.pending = None;
        machine.state.rolling_back = None;
        machine.state.switch_locked = false;
        assert_converges(
            &machine,
            |machine| planned(&desired, &Health::Unasked, machine),
            Machine::apply,
        );
    }

    #[test]
    fn findings_are_there_exactly_when_a_link_differs(machine in machine()) {
        let desired = desired(Action::Switch);
        let links = [&machine.state.current, &machine.state.profile];
        let expected = links.iter().filter(|link| !link.is(&desired.closure)).count();
        let found = planned(&desired, &Health::Unasked, &machine).findings;
        let of_links = found.iter().filter(|finding| finding.subject != BOOTED).count();
        prop_assert_eq!(of_links, expected);
    }
}
