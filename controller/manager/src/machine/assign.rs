//! Which closure a machine should run: the release's, once its Cluster's rollout admits it, and
//! until then what it was given before.

use cim_crds::cluster::release::{Release, ReleaseMachine};
use cim_crds::machine::system::Target;
use cim_crds::{Cluster, Machine};
use kube::ResourceExt;

/// What a machine should run, and what it waits for beyond that.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Assignment {
    /// What it should run; `None` while it was never given anything.
    pub(super) target: Option<Target>,
    /// What ran before the target, to which a revoked release goes back.
    pub(super) previous: Option<Target>,
    /// Why it does not run the release yet.
    pub(super) waits: Option<Waits>,
    /// What it is to run when its turn comes, as far as that is built.
    pub(super) next: Option<Target>,
    /// Whether it may be changed whatever the windows say: it is taken back.
    pub(super) taken_back: bool,
    /// Whether the Cluster lets it reboot now.
    pub(super) may_reboot: bool,
    /// The Cluster's release.
    pub(super) release: Option<String>,
    /// The attempt of its rollout, which tells an old failure from a new one.
    pub(super) attempt: u32,
}

/// Why a machine does not run the release yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Waits {
    /// There is no release for it.
    Release(String),
    /// There is no closure for it in the release.
    Closure(String),
    /// Its turn has not come; what the rollout says.
    Turn(String),
    /// The release was revoked or given up.
    Aborted(String),
}

/// Reads the Cluster's word for `machine`, as [`cim_nixos::rollout::State::directive`] gives it.
///
/// A release that a machine has taken stays its target when the rollout's list is lost or a newer
/// release comes: only being admitted to another one, or being taken back, changes it.
pub(super) fn assign(machine: &Machine, cluster: &Cluster) -> Assignment {
    let status = machine.status.as_ref();
    let target = status.and_then(|status| status.target.clone());
    let previous = status.and_then(|status| status.previous.clone());
    let keep = Assignment { target, previous, ..Assignment::default() };
    let name = machine.name_any();
    let of = cluster.name_any();
    let status = cluster.status.as_ref();
    let Some(release) = status.and_then(|status| status.release.as_ref()) else {
        return keep.waiting(Waits::Release(format!("Cluster {of} has no release yet")));
    };
    let Some(entry) = release.machines.iter().find(|entry| entry.name == name) else {
        return keep.waiting(Waits::Release(format!("Cluster {of} has not evaluated it yet")));
    };
    if let Some(error) = &entry.error {
        return keep.waiting(Waits::Closure(error.clone()));
    }
    let rollout = status.and_then(|status| status.rollout.as_ref());
    let Some(rollout) = rollout.filter(|rollout| rollout.release == release.digest) else {
        let message = "the rollout of the release has not begun".to_owned();
        return keep.waiting(Waits::Turn(message));
    };
    let mine = rollout.means(&name, machine.metadata.uid.as_deref());
    let is_in = |list: &[String]| mine && list.contains(&name);
    let keep = Assignment {
        may_reboot: is_in(&rollout.rebooting),
        release: release.digest.clone(),
        attempt: rollout.attempt,
        ..keep
    };
    let wanted = target_of(release, entry);
    let has_it = keep.target.as_ref().is_some_and(|target| target.out_path == wanted.out_path);
    if is_in(&rollout.revoked) {
        let target = if has_it { keep.previous.clone() } else { keep.target.clone() };
        let back = Assignment { target, taken_back: true, ..keep };
        return back.waiting(Waits::Aborted(rollout.message.clone()));
    }
    if has_it {
        // What the release says of it may have grown: its hash, its signatures.
        return Assignment { target: Some(wanted), ..keep };
    }
    if is_in(&rollout.admitted) && !rollout.held {
        // A release that was left half done is no place to go back to.
        let was_complete =
            |target: &Target| rollout.previous.is_some() && target.release == rollout.previous;
        let previous = keep.target.filter(was_complete).or(keep.previous);
        return Assignment { previous, target: Some(wanted), ..keep };
    }
    let message = rollout.message.clone();
    let next = (!rollout.aborted && wanted.nar_hash.is_some()).then_some(wanted);
    let keep = Assignment { next, ..keep };
    keep.waiting(if rollout.aborted { Waits::Aborted(message) } else { Waits::Turn(message) })
}

impl Assignment {
    fn waiting(self, waits: Waits) -> Self {
        Self { waits: Some(waits), ..self }
    }
}

/// What `release` holds for the machine of `entry`.
pub(super) fn target_of(release: &Release, entry: &ReleaseMachine) -> Target {
    Target {
        rev: release.rev.clone(),
        short_rev: release.short_rev.clone(),
        release: release.digest.clone(),
        drv_path: entry.drv_path.clone(),
        out_path: entry.out_path.clone(),
        nar_hash: entry.nar_hash.clone(),
        signed_by: entry.signed_by.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn path(n: u8) -> String {
        format!("/nix/store/{n:032}-nixos-system-host1")
    }

    fn machine(status: &Value) -> Machine {
        serde_json::from_value(json!({
            "apiVersion": "cim.dev/v1alpha1", "kind": "Machine", "metadata": {"name": "host1"},
            "spec": {"cluster": "core", "provider": {"metal": {}}, "delivery": "None"},
            "status": status,
        }))
        .expect("a machine")
    }

    fn given(n: u8) -> Value {
        json!({"rev": "r", "release": format!("d{n}"), "outPath": path(n)})
    }

    /// A Cluster with release `d2`, of which host1 has closure 2.
    fn cluster(rollout: &Value) -> Cluster {
        serde_json::from_value(json!({
            "apiVersion": "cim.dev/v1alpha1", "kind": "Cluster", "metadata": {"name": "core"},
            "spec": {"domain": "d"},
            "status": {
                "release": {"rev": "r2", "narHash": "h", "digest": "d2", "machines": [
                    {"name": "host1", "outPath": path(2)}]},
                "rollout": rollout,
            },
        }))
        .expect("a cluster")
    }

    fn out_path(target: Option<&Target>) -> Option<String> {
        target.and_then(|target| target.out_path.clone())
    }

    #[test]
    fn a_machine_takes_a_release_only_when_it_is_admitted() {
        let machine = machine(&json!({"target": given(1)}));
        let waiting = json!({"release": "d2", "phase": "Progressing", "admitted": ["host2"],
            "message": "wave 1 of 2"});
        let assigned = assign(&machine, &cluster(&waiting));
        assert_eq!(out_path(assigned.target.as_ref()), Some(path(1)));
        assert_eq!(assigned.waits, Some(Waits::Turn("wave 1 of 2".to_owned())));

        let mut admitted = json!({"release": "d2", "phase": "Progressing", "admitted": ["host1"],
            "previous": "d1"});
        let assigned = assign(&machine, &cluster(&admitted));
        assert_eq!(out_path(assigned.target.as_ref()), Some(path(2)));
        assert_eq!(out_path(assigned.previous.as_ref()), Some(path(1)));
        assert_eq!(assigned.waits, None);

        // What is held begins nothing.
        admitted["held"] = json!(true);
        let assigned = assign(&machine, &cluster(&admitted));
        assert_eq!(out_path(assigned.target.as_ref()), Some(path(1)));
    }

    #[test]
    fn a_release_that_was_never_complete_is_no_place_to_go_back_to() {
        let half = machine(&json!({"target": given(1), "previous": given(0)}));
        let admitted = json!({"release": "d2", "phase": "Progressing", "admitted": ["host1"],
            "previous": "d0"});
        let assigned = assign(&half, &cluster(&admitted));
        assert_eq!(out_path(assigned.previous.as_ref()), Some(path(0)));
    }

    #[test]
    fn the_list_of_another_release_admits_nobody() {
        let machine = machine(&json!({"target": given(1)}));
        let stale = json!({"release": "d1", "phase": "Complete", "admitted": ["host1"]});
        let assigned = assign(&machine, &cluster(&stale));
        assert_eq!(out_path(assigned.target.as_ref()), Some(path(1)));
        let nothing = assign(&machine, &cluster(&Value::Null));
        assert_eq!(out_path(nothing.target.as_ref()), Some(path(1)));
    }

    #[test]
    fn what_was_decided_for_another_machine_of_its_name_does_not_count() {
        let mut machine = machine(&json!({"target": given(1), "previous": given(0)}));
        let rollout = |admitted: bool| {
            let list = |it: bool| if it { json!(["host1"]) } else { json!([]) };
            json!({"release": "d2", "phase": "Progressing", "admitted": list(admitted),
                "revoked": list(!admitted), "rebooting": ["host1"],
                "machines": [{"name": "host1", "uid": "u1"}]})
        };
        for (uid, admitted, wanted) in
            [("u1", true, 2), ("u2", true, 1), ("u1", false, 1), ("u2", false, 1)]
        {
            machine.metadata.uid = Some(uid.to_owned());
            let assigned = assign(&machine, &cluster(&rollout(admitted)));
            assert_eq!(out_path(assigned.target.as_ref()), Some(path(wanted)), "{uid} {admitted}");
            assert_eq!(assigned.may_reboot, uid == "u1");
            assert_eq!(assigned.taken_back, uid == "u1" && !admitted);
        }
    }

    #[test]
    fn a_revoked_release_goes_back_and_stays_back() {
        let mut had = machine(&json!({"target": given(2), "previous": given(1)}));
        for phase in ["Revoking", "Aborted"] {
            let rollout = json!({"release": "d2", "phase": phase, "aborted": true,
                "admitted": [], "revoked": ["host1"]});
            let assigned = assign(&had, &cluster(&rollout));
            assert_eq!(out_path(assigned.target.as_ref()), Some(path(1)), "{phase}");
            assert!(assigned.taken_back);
            let status = had.status.as_mut().expect("a status");
            (status.target, status.previous) = (assigned.target, assigned.previous);
        }
        // Another admission of the same release (somebody asked to try again) takes it once more.
        let again = json!({"release": "d2", "phase": "Progressing", "admitted": ["host1"]});
        let assigned = assign(&had, &cluster(&again));
        assert_eq!(out_path(assigned.target.as_ref()), Some(path(2)));
        assert_eq!(out_path(assigned.previous.as_ref()), Some(path(1)));
    }

    #[test]
    fn an_aborted_release_that_is_held_stays_where_it_is() {
        let had = machine(&json!({"target": given(2), "previous": given(1)}));
        let not = machine(&json!({"target": given(1)}));
        let rollout = json!({"release": "d2", "phase": "Aborted", "aborted": true,
            "message": "host1 failed"});
        let cluster = cluster(&rollout);
        assert_eq!(out_path(assign(&had, &cluster).target.as_ref()), Some(path(2)));
        let assigned = assign(&not, &cluster);
        assert_eq!(out_path(assigned.target.as_ref()), Some(path(1)));
        assert_eq!(assigned.waits, Some(Waits::Aborted("host1 failed".to_owned())));
    }

    #[test]
    fn a_machine_without_anything_waits() {
        let fresh = machine(&Value::Null);
        let assigned = assign(&fresh, &cluster(&Value::Null));
        assert_eq!(assigned.target, None);
        assert!(matches!(assigned.waits, Some(Waits::Turn(_))));
    }
}
