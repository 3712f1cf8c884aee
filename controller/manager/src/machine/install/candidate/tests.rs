use serde_json::{Value, json};

use super::*;

fn path(name: &str) -> String {
    format!("/nix/store/{}-{name}", "0".repeat(32))
}

fn part(name: &str) -> Value {
    json!({"drvPath": path(&format!("{name}.drv")), "outPath": path(name)})
}

fn machine(status: &Value) -> Machine {
    serde_json::from_value(json!({
        "apiVersion": "cim.dev/v1alpha1", "kind": "Machine", "metadata": {"name": "host1"},
        "spec": {
            "cluster": "core", "provider": {"metal": {}},
            "install": {"disks": ["S1"], "kexec": {"output": "kexec"}},
        },
        "status": status,
    }))
    .expect("a machine")
}

/// A Cluster whose release `n` holds everything for host1, but for what `change` takes away.
fn cluster(n: u8, change: impl FnOnce(&mut Value, &mut Value)) -> Cluster {
    let install = json!({
        "layout": part(&format!("disko{n}")), "devices": ["/dev/sda"], "kexecOutput": "kexec",
        "kexec": part("kexec"), "built": true,
    });
    let mut entry = json!({
        "name": "host1", "configuration": "host1", "narHash": "h", "install": install,
        "drvPath": path(&format!("{n}.drv")), "outPath": path(&n.to_string()),
    });
    let mut rollout = json!({"release": format!("d{n}"), "phase": "Progressing"});
    change(&mut entry, &mut rollout);
    let release = json!({
        "rev": format!("r{n}"), "narHash": "h", "digest": format!("d{n}"), "machines": [entry],
    });
    serde_json::from_value(json!({
        "apiVersion": "cim.dev/v1alpha1", "kind": "Cluster", "metadata": {"name": "core"},
        "spec": {"domain": "d"}, "status": {"release": release, "rollout": rollout},
    }))
    .expect("a cluster")
}

fn whole(n: u8) -> Cluster {
    cluster(n, |_, _| ())
}

fn confirmed(n: u8, failed: &Value) -> Machine {
    machine(&json!({
        "target": {"rev": "r", "outPath": path(&n.to_string()), "drvPath": path(&format!("{n}.drv"))},
        "install": {
            "phase": "Disko", "failed": failed,
            "confirmed": {
                "plan": "p", "outPath": path(&n.to_string()), "layout": part(&format!("disko{n}")),
                "devices": ["/dev/sda"], "kexec": part("kexec"), "disks": ["S1"],
            },
        },
    }))
}

fn what(machine: &Machine, cluster: &Cluster) -> (String, bool) {
    let found = candidate(machine, cluster, |_| true).expect("a candidate");
    (found.target.out_path.expect("a path"), found.confirmed)
}

#[test]
fn each_thing_that_is_missing_is_named() {
    let reason = |change: &dyn Fn(&mut Value, &mut Value)| match candidate(
        &machine(&Value::Null),
        &cluster(1, change),
        |_| true,
    ) {
        Err(NotYet::Waits { reason, .. } | NotYet::Lacks { reason, .. }) => reason,
        Ok(_) => "ready",
    };
    assert_eq!(reason(&|_, _| ()), "ready");
    assert_eq!(reason(&|entry, _| entry["name"] = json!("host2")), "ReleasePending");
    assert_eq!(reason(&|entry, _| entry["error"] = json!("throws")), "NoClosure");
    assert_eq!(reason(&|_, rollout| rollout["aborted"] = json!(true)), "RolloutAborted");
    assert_eq!(reason(&|entry, _| entry["install"] = Value::Null), "ReleasePending");
    assert_eq!(reason(&|entry, _| entry["install"]["layout"] = Value::Null), "NoDiskLayout");
    assert_eq!(reason(&|entry, _| entry["install"]["kexec"] = Value::Null), "NoSuchOutput");
    assert_eq!(reason(&|entry, _| entry["install"]["built"] = json!(false)), "Building");
    assert_eq!(reason(&|entry, _| entry["narHash"] = Value::Null), "Building");
}

#[test]
fn what_was_confirmed_is_carried_out_whatever_is_released_meanwhile() {
    let begun = confirmed(1, &Value::Null);
    assert_eq!(what(&begun, &whole(1)), (path("1"), true));
    assert_eq!(what(&begun, &whole(2)), (path("1"), true));
    assert_eq!(
        what(&begun, &cluster(2, |entry, _| entry["error"] = json!("x"))),
        (path("1"), true)
    );
    // Unless nobody has it any more.
    let lost = candidate(&begun, &whole(2), |_| false).expect("a candidate");
    assert_eq!((lost.target.out_path, lost.confirmed), (Some(path("2")), false));
}

#[test]
fn after_a_failure_another_release_has_to_be_confirmed_anew() {
    let failed = confirmed(1, &json!({"phase": "Disko", "message": "no"}));
    assert_eq!(what(&failed, &whole(1)), (path("1"), true));
    assert_eq!(what(&failed, &whole(2)), (path("2"), false));
}

#[test]
fn other_disks_are_another_installation() {
    let mut begun = confirmed(1, &Value::Null);
    let install = begun.spec.install.as_mut().expect("an installation");
    install.disks = vec!["S2".to_owned()];
    assert_eq!(what(&begun, &whole(1)), (path("1"), false));
}
