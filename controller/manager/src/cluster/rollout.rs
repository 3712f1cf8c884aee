//! How far the release has come: from the objects to the rollout's own types, and back into the
//! status.

use std::collections::BTreeSet;
use std::time::Duration;

use cim_crds::cluster::release::{Release, ReleaseMachine};
use cim_crds::cluster::rollout::{self as spec, OnAbort, WindowKind};
use cim_crds::cluster::rollout_status::{RolloutMachine, RolloutPhase, RolloutStatus};
use cim_crds::conditions::{ConditionType, find, is_true, reasons};
use cim_crds::machine::activation::RebootPolicy;
use cim_crds::machine::system::{SystemState, Target};
use cim_crds::{Cluster, Kind, Machine, MachineStatus, Mode, annotations, machine};
use cim_nixos::rollout::{
    Calendar, Decision, Fleet, Machine as Member, OnAbort as Abort, Opening, Phase, Policy,
    Standing, State, Window, decide,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;

use super::failure::ClusterFailure;

/// How many Services a message names.
const SERVICES_NAMED: usize = 3;
/// The longest message, as the schema bounds it.
const MESSAGE_MAX: usize = 1000;

/// The windows of `cluster`.
pub(crate) fn calendar(cluster: &Cluster) -> Result<Calendar, ClusterFailure> {
    let windows = cluster.spec.windows.iter().enumerate().map(|(index, window)| {
        let kind = match window.kind {
            WindowKind::Allow => cim_nixos::rollout::WindowKind::Allow,
            WindowKind::Deny => cim_nixos::rollout::WindowKind::Deny,
        };
        Window::parse(&window.cron, window.duration.as_std(), &window.timezone, kind).map_err(
            |why| ClusterFailure::Invalid {
                field: format!("spec.windows[{index}]"),
                why: why.to_string(),
            },
        )
    });
    windows.collect()
}

/// What the rollout of `release` is to do next, and how it stands. `waves` are names of Machines.
pub(super) fn advance(
    cluster: &Cluster,
    release: &Release,
    waves: Vec<BTreeSet<String>>,
    machines: &[&Machine],
    opening: Opening,
    now: &Time,
) -> (RolloutStatus, Option<Duration>) {
    let before = cluster.status.as_ref().and_then(|status| status.rollout.clone());
    let before = before.unwrap_or_default();
    let state = state(&before, machines);
    let members = machines.iter().map(|machine| (machine.name_any(), member(machine, release)));
    let fleet = Fleet {
        release: release.digest.clone().unwrap_or_default(),
        waves,
        machines: members.collect(),
    };
    let policy = policy(&cluster.spec.rollout, cluster);
    let mut decision = decide(&policy, &fleet, &state, opening, now.0);
    if decision.phase == Phase::Progressing
        && let Some(told) = not_serving(machines, release)
    {
        decision.message = format!("{}; {told}", decision.message);
    }
    let begins = decision.state.attempt != state.attempt;
    let started = if begins { Some(now.clone()) } else { before.started };
    let recheck = decision.recheck;
    let next = status(decision);
    let is_settled = matches!(next.phase, RolloutPhase::Complete | RolloutPhase::Aborted);
    let same = !begins && next.phase == before.phase;
    let since = before.settled.filter(|_| same).unwrap_or_else(|| now.clone());
    let settled = is_settled.then_some(since);
    (RolloutStatus { started, settled, machines: named(&next, machines), ..next }, recheck)
}

/// The machines that the lists name.
fn named(status: &RolloutStatus, machines: &[&Machine]) -> Vec<RolloutMachine> {
    let RolloutStatus { admitted, rebooting, failed, revoked, .. } = status;
    let listed: BTreeSet<&String> =
        [admitted, rebooting, failed, revoked].into_iter().flatten().collect();
    let uid = |name: &String| {
        let machine = machines.iter().find(|machine| machine.name_any() == *name)?;
        machine.uid()
    };
    let machine = |name: &String| Some(RolloutMachine { uid: uid(name)?, name: name.clone() });
    listed.into_iter().filter_map(machine).collect()
}

fn policy(rollout: &spec::Rollout, cluster: &Cluster) -> Policy {
    Policy {
        max_unavailable: rollout.max_unavailable,
        soak: rollout.soak.as_std(),
        abort_after: rollout.abort_after,
        on_abort: match rollout.on_abort {
            OnAbort::Revoke => Abort::Revoke,
            OnAbort::Hold => Abort::Hold,
        },
        parallelism: rollout.parallelism,
        // Who only looks, or plans, begins nothing.
        paused: rollout.paused || cluster.mode() != Mode::Correct,
        retry: cluster.annotations().get(annotations::RETRY).cloned(),
    }
}

/// What was decided before, but for machines that were made anew under their old names.
fn state(before: &RolloutStatus, machines: &[&Machine]) -> State {
    let is_another =
        |machine: &&&Machine| !before.means(&machine.name_any(), machine.metadata.uid.as_deref());
    let others: BTreeSet<String> =
        machines.iter().filter(is_another).map(|machine| machine.name_any()).collect();
    let set = |names: &[String]| {
        names.iter().filter(|name| !others.contains(*name)).cloned().collect::<BTreeSet<_>>()
    };
    State {
        release: before.release.clone().unwrap_or_default(),
        previous: before.previous.clone(),
        attempt: before.attempt,
        retry: before.retry.clone(),
        wave: usize::try_from(before.wave).unwrap_or(usize::MAX),
        soaking_since: before.soaking_since.as_ref().map(|since| since.0),
        held: before.held,
        admitted: set(&before.admitted),
        rebooting: set(&before.rebooting),
        failed: set(&before.failed),
        revoked: set(&before.revoked),
        completed: before.completed,
        aborted: before.aborted,
    }
}

fn status(decision: Decision) -> RolloutStatus {
    let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    let list = |names: BTreeSet<String>| names.into_iter().collect::<Vec<_>>();
    let Decision { state, phase, mut message, waves, updated, total, next_window, .. } = decision;
    message.truncate(message.floor_char_boundary(MESSAGE_MAX));
    RolloutStatus {
        release: Some(state.release).filter(|release| !release.is_empty()),
        phase: match phase {
            Phase::Pending => RolloutPhase::Pending,
            Phase::Progressing => RolloutPhase::Progressing,
            Phase::Soaking => RolloutPhase::Soaking,
            Phase::WaitingForWindow => RolloutPhase::WaitingForWindow,
            Phase::Paused => RolloutPhase::Paused,
            Phase::Complete => RolloutPhase::Complete,
            Phase::Revoking => RolloutPhase::Revoking,
            Phase::Aborted => RolloutPhase::Aborted,
        },
        message,
        wave: count(state.wave),
        waves: count(waves),
        updated: count(updated),
        total: count(total),
        admitted: list(state.admitted),
        revoked: list(state.revoked),
        rebooting: list(state.rebooting),
        failed: list(state.failed),
        held: state.held,
        attempt: state.attempt,
        completed: state.completed,
        aborted: state.aborted,
        retry: state.retry,
        previous: state.previous,
        started: None,
        settled: None,
        machines: Vec::new(),
        soaking_since: state.soaking_since.map(Time),
        next_window: next_window.map(Time),
    }
}

/// How `machine` stands towards `release`, as it says itself.
fn member(machine: &Machine, release: &Release) -> Member {
    let name = machine.name_any();
    let entry = release.machines.iter().find(|entry| entry.name == name);
    let status = machine.status.as_ref();
    let standing = standing(machine, entry, release);
    let wanted = entry.and_then(|entry| entry.out_path.as_ref());
    let system = status.and_then(|status| status.system.as_ref());
    let has = system.is_some_and(|system| {
        wanted.is_some() && (system.current.as_ref() == wanted || system.profile.as_ref() == wanted)
    });
    let before = status.and_then(|status| status.previous.as_ref());
    let differs = before.is_none_or(|before| before.out_path.as_ref() != wanted);
    Member { standing, took: has && differs, reboot: status.and_then(|it| reboot(machine, it)) }
}

/// A debt that a reboot did not settle is not owed again for the same closure.
fn reboot(machine: &Machine, status: &MachineStatus) -> Option<cim_nixos::rollout::RebootPolicy> {
    let owed = is_true(&status.common.conditions, ConditionType::RebootRequired);
    let target = status.target.as_ref().and_then(|target| target.out_path.as_ref());
    let tried = target.is_some() && status.rebooted_for.as_ref() == target;
    (owed && !tried).then_some(match machine.spec.activation.reboot {
        RebootPolicy::Never => cim_nixos::rollout::RebootPolicy::Never,
        RebootPolicy::InWindow => cim_nixos::rollout::RebootPolicy::InWindow,
        RebootPolicy::Immediately => cim_nixos::rollout::RebootPolicy::Immediately,
    })
}

fn standing(machine: &Machine, entry: Option<&ReleaseMachine>, release: &Release) -> Standing {
    let watched = machine.mode() != Mode::Correct
        || machine.suspend()
        || machine.annotations().contains_key(annotations::PAUSED)
        || machine.spec.delivery != machine::Delivery::Push
        // It joins once its first system runs.
        || machine.awaits_install();
    if watched || machine.metadata.deletion_timestamp.is_some() {
        return Standing::Exempt;
    }
    let Some(status) = &machine.status else { return Standing::Unknown };
    let conditions = &status.common.conditions;
    if status.common.observed_generation < 0 {
        return Standing::Unknown;
    }
    if find(conditions, ConditionType::Reachable).is_some_and(|it| it.status == "False") {
        return Standing::Unreachable;
    }
    let digest = release.digest.as_ref();
    if let Some(failed) = &status.failed
        && failed.release.as_ref() == digest
    {
        let healthy = healthy(status);
        return Standing::Failed { attempt: failed.attempt, healthy };
    }
    let Some(wanted) = entry.filter(|entry| is_built(entry)).and_then(|it| it.out_path.as_ref())
    else {
        return if healthy(status) { Standing::Blocked } else { Standing::Unhealthy };
    };
    let given = |target: &Option<Target>| {
        target.as_ref().is_some_and(|target| target.out_path.as_ref() == Some(wanted))
    };
    let in_sync = is_true(conditions, ConditionType::InSync);
    let ready = is_true(conditions, ConditionType::Ready);
    match (given(&status.target), &status.state) {
        (_, Some(SystemState::Unreachable)) => Standing::Unreachable,
        (true, _) if in_sync && healthy(status) && serves(status) => Standing::Updated,
        (true, Some(SystemState::Staged)) if owes_only_a_reboot(status) => Standing::Staged,
        (false, Some(SystemState::Staged))
            if owes_only_a_reboot(status) && runs(status, wanted) =>
        {
            Standing::StagedBack
        }
        _ if is_working(status) => Standing::Updating,
        (false, Some(SystemState::Unknown) | None) if status.target.is_none() => Standing::Outdated,
        (false, _) if ready || healthy(status) => Standing::Outdated,
        _ => Standing::Unhealthy,
    }
}

/// Whether the closure is there to be delivered.
pub(super) fn is_built(entry: &ReleaseMachine) -> bool {
    entry.error.is_none() && entry.out_path.is_some() && entry.nar_hash.is_some()
}

/// Whether it answers, its checks hold, and nobody is working on it. What it runs is another matter.
fn healthy(status: &MachineStatus) -> bool {
    is_true(&status.common.conditions, ConditionType::Healthy) && !is_working(status)
}

/// Whether the checks of the Services on it hold. They were made on the visit that found the closure,
/// so they are of it; before the machine has the release they count for nothing, since it may be the
/// release that brings them.
fn serves(status: &MachineStatus) -> bool {
    status.services.iter().all(|service| service.troubles.is_empty())
}

/// The Services for which machines with the release are waited for.
fn not_serving(machines: &[&Machine], release: &Release) -> Option<String> {
    let mut told = Vec::new();
    for machine in machines {
        let (name, Some(status)) = (machine.name_any(), &machine.status) else { continue };
        let entry = release.machines.iter().find(|entry| entry.name == name);
        let held = standing(machine, entry, release) == Standing::Unhealthy && healthy(status);
        let services = status.services.iter().filter(|service| !service.troubles.is_empty());
        told.extend(services.filter(|_| held).map(|service| format!("{} on {name}", service.name)));
    }
    (!told.is_empty()).then(|| {
        told.truncate(SERVICES_NAMED);
        format!("the checks of Services do not hold: {}", told.join(", "))
    })
}

fn runs(status: &MachineStatus, wanted: &String) -> bool {
    status.system.as_ref().is_some_and(|system| system.current.as_ref() == Some(wanted))
}

fn owes_only_a_reboot(status: &MachineStatus) -> bool {
    is_true(&status.common.conditions, ConditionType::RebootRequired)
}

/// Whether something is being done with it: between the first effect of a delivery and its end.
fn is_working(status: &MachineStatus) -> bool {
    use cim_crds::machine::system::DeliveryPhase as Phase;
    matches!(
        status.delivery_phase,
        Some(
            Phase::Building
                | Phase::Copying
                | Phase::Activating
                | Phase::Confirming
                | Phase::Rebooting
        )
    )
}

/// The reason under which a Cluster waits in this phase.
pub(super) const fn reason(phase: RolloutPhase) -> &'static str {
    match phase {
        RolloutPhase::Pending => "RolloutPending",
        RolloutPhase::Building => "Building",
        RolloutPhase::Progressing => reasons::PROGRESSING,
        RolloutPhase::Soaking => "Soaking",
        RolloutPhase::WaitingForWindow => "WaitingForWindow",
        RolloutPhase::WaitingForApproval => "WaitingForApproval",
        RolloutPhase::Paused => "RolloutPaused",
        RolloutPhase::Complete => reasons::SUCCEEDED,
        RolloutPhase::Revoking => "Revoking",
        RolloutPhase::Aborted => "RolloutAborted",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const CLOSURE: &str = "/nix/store/00000000000000000000000000000000-nixos-system-a";

    fn machine(target: &str, is_serving: bool) -> Machine {
        let condition = |name: &str| {
            json!({"type": name, "status": "True", "reason": "Succeeded", "message": "",
                "lastTransitionTime": "2026-01-01T00:00:00Z"})
        };
        let trouble =
            json!({"check": 0, "result": "Unknown", "message": "TCP port 80: no address"});
        let troubles = if is_serving { json!([]) } else { json!([trouble]) };
        let machine = json!({
            "apiVersion": "cim.dev/v1alpha1", "kind": "Machine",
            "metadata": {"name": "a", "namespace": "home"},
            "spec": {"cluster": "core", "provider": {"metal": {}}},
            "status": {
                "observedGeneration": 1, "state": "InSync", "target": {"rev": "0", "outPath": target},
                "conditions": [condition("Reachable"), condition("Healthy"), condition("InSync")],
                "services": [{"name": "web", "generation": 1, "troubles": troubles}],
            },
        });
        serde_json::from_value(machine).expect("a machine")
    }

    #[test]
    fn a_machine_made_anew_under_its_name_is_another_one() {
        let mut machine = machine(CLOSURE, true);
        machine.metadata.uid = Some("u2".to_owned());
        let before = |uid: Option<&str>| {
            let known = uid.map(|uid| RolloutMachine { name: "a".into(), uid: uid.into() });
            RolloutStatus {
                admitted: vec!["a".into(), "b".into()],
                rebooting: vec!["a".into()],
                failed: vec!["a".into()],
                revoked: vec!["a".into()],
                machines: known.into_iter().collect(),
                ..RolloutStatus::default()
            }
        };
        let lists = |state: State| {
            let State { admitted, rebooting, failed, revoked, .. } = state;
            [admitted, rebooting, failed, revoked].map(|it| it.contains("a"))
        };
        let kept = |uid| lists(state(&before(uid), &[&machine]));
        assert_eq!(kept(Some("u2")), [true; 4]);
        assert_eq!(kept(Some("u1")), [false; 4]);
        // As an earlier version wrote it.
        assert_eq!(kept(None), [true; 4]);
        assert!(state(&before(Some("u1")), &[&machine]).admitted.contains("b"));
        // And only those that the lists name are kept.
        let wanted = vec![RolloutMachine { name: "a".into(), uid: "u2".into() }];
        assert_eq!(named(&before(None), &[&machine]), wanted);
        assert_eq!(named(&RolloutStatus::default(), &[&machine]), []);
    }

    #[test]
    fn services_count_once_the_machine_has_the_release() {
        let entry =
            json!({"name": "a", "configuration": "a", "outPath": CLOSURE, "narHash": "sha256-x"});
        let entry: ReleaseMachine = serde_json::from_value(entry).expect("an entry");
        let release = Release { machines: vec![entry.clone()], ..Release::default() };
        let stands = |machine: &Machine| standing(machine, Some(&entry), &release);
        assert_eq!(stands(&machine(CLOSURE, true)), Standing::Updated);
        let held = machine(CLOSURE, false);
        assert_eq!(stands(&held), Standing::Unhealthy);
        let told = not_serving(&[&held], &release).expect("it is told");
        assert!(told.ends_with("web on a"), "{told}");
        // The release may be what brings the Service.
        let before = machine("/nix/store/another", false);
        assert_eq!(stands(&before), Standing::Outdated);
        assert_eq!(not_serving(&[&before], &release), None);
    }
}
