//! What holds for every fleet, whatever happens to it. [`World::decide`] checks each decision.

use proptest::prelude::*;
use proptest::sample::select;

use super::super::*;
use super::world::{End, Event, Host, World, soak};

fn policies() -> impl Strategy<Value = Policy> {
    (1..4_u32, 1..4_u32, 1..4_u32, any::<bool>(), select(vec![0_u64, 60, 120])).prop_map(
        |(max_unavailable, abort_after, parallelism, revokes, seconds)| Policy {
            max_unavailable,
            soak: soak(seconds),
            abort_after,
            on_abort: if revokes { OnAbort::Revoke } else { OnAbort::Hold },
            parallelism,
            paused: false,
            retry: None,
        },
    )
}

fn reboot_policies() -> impl Strategy<Value = RebootPolicy> {
    select(vec![RebootPolicy::Never, RebootPolicy::InWindow, RebootPolicy::Immediately])
}

fn hosts() -> impl Strategy<Value = Vec<Host>> {
    prop::collection::vec(host(1), 1..8)
}

/// A machine that runs that release.
fn host(runs: u32) -> impl Strategy<Value = Host> {
    let permitted = select(vec![RebootPolicy::InWindow, RebootPolicy::Immediately]);
    let host = (0..3_usize, prop::bool::weighted(0.1), prop::option::weighted(0.2, permitted));
    host.prop_map(move |(wave, unchanged, by_reboot)| Host {
        wave,
        unchanged,
        runs,
        staged: None,
        by_reboot,
        job: None,
        answers: true,
        well: true,
        suspended: false,
        failed: None,
        reboot: None,
    })
}

fn ends() -> impl Strategy<Value = End> {
    prop_oneof![
        10 => Just(End::Well),
        1 => Just(End::WentBack),
        1 => Just(End::Broken),
        1 => Just(End::Sick),
    ]
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let index = || 0..8_usize;
    let flag = || prop::bool::weighted(0.7);
    let event = prop_oneof![
        30 => prop::bool::weighted(0.2).prop_map(|dies| Event::Decide { dies }),
        40 => (index(), ends()).prop_map(|(host, end)| Event::Step { host, end }),
        10 => (1..90_i64).prop_map(|seconds| Event::Pass { seconds }),
        2 => (index(), flag()).prop_map(|(host, answers)| Event::Answers { host, answers }),
        2 => (index(), flag()).prop_map(|(host, well)| Event::Well { host, well }),
        1 => (index(), any::<bool>())
            .prop_map(|(host, suspended)| Event::Suspended { host, suspended }),
        2 => (index(), reboot_policies())
            .prop_map(|(host, policy)| Event::OwesReboot { host, policy }),
        2 => flag().prop_map(|open| Event::Window { open }),
        1 => any::<bool>().prop_map(|paused| Event::Paused { paused }),
        1 => Just(Event::Release),
        1 => (0..3_u8).prop_map(|token| Event::Retry { token }),
        2 => host(0).prop_map(|host| Event::Joins { host }),
        1 => index().prop_map(|host| Event::Leaves { host }),
    ];
    prop::collection::vec(event, 0..150)
}

/// All machines answer and are well, and nothing holds the rollout.
fn heal(world: &mut World) {
    for host in world.hosts.values_mut() {
        (host.answers, host.well, host.suspended) = (true, true, false);
    }
    (world.open, world.policy.paused) = (true, false);
}

/// A release goes well for some rounds, and then everybody who takes it fails.
fn fail(world: &mut World, rounds: u8, end: End) {
    heal(world);
    world.happen(&Event::Release);
    for round in 0..50 {
        if world.decide(false).state.aborted {
            return;
        }
        let end = if round < rounds { End::Well } else { end };
        for host in 0..world.hosts.len() {
            world.happen(&Event::Step { host, end });
        }
        world.happen(&Event::Pass { seconds: 40 });
    }
}

proptest! {
    #[test]
    fn whatever_happens_each_decision_is_lawful(
        policy in policies(), hosts in hosts(), events in events(),
    ) {
        let mut world = World::new(policy, hosts);
        world.happen_all(&events);
    }

    #[test]
    fn a_fleet_that_is_well_at_last_runs_the_release_at_last(
        policy in policies(), hosts in hosts(), events in events(),
    ) {
        let mut world = World::new(policy, hosts);
        world.happen_all(&events);
        heal(&mut world);
        world.policy.retry = Some("once more".to_owned());
        let decision = world.settle();
        prop_assert_eq!(decision.phase, Phase::Complete, "{:#?}", decision);
        prop_assert_eq!(decision.updated, decision.total);
    }

    #[test]
    fn a_revoked_release_runs_nowhere_in_the_end(
        policy in policies(), hosts in hosts(), events in events(),
        rounds in 0..6_u8, end in select(vec![End::WentBack, End::Broken]), silent in 0..16_usize,
    ) {
        let policy = Policy { on_abort: OnAbort::Revoke, abort_after: 1, ..policy };
        let mut world = World::new(policy, hosts);
        world.happen_all(&events);
        fail(&mut world, rounds, end);
        // Nothing fails where no closure changes.
        prop_assume!(revoke::applies(&world.policy, &world.state));
        heal(&mut world);
        world.policy.retry.clone_from(&world.state.retry);
        // A window does not delay it.
        world.open = false;
        let silent = format!("host{silent}");
        if let Some(host) = world.hosts.get_mut(&silent) {
            // The deadline of a reboot from which it did not come back has passed.
            (host.answers, host.reboot) = (false, None);
        }
        let decision = world.settle();
        prop_assert_eq!(decision.phase, Phase::Aborted, "{:#?}", decision);
        for (name, machine) in world.fleet().machines {
            prop_assert!(!machine.took || name == silent, "{} has it still", name);
        }
        heal(&mut world);
        let decision = world.settle();
        prop_assert!(world.fleet().machines.values().all(|machine| !machine.took), "{decision:#?}");
        prop_assert_eq!(decision.revoke, Some(std::collections::BTreeSet::new()));
    }
}
