//! What the first installations of a Cluster's machines take: evaluated and built with the release,
//! from the same revision and inventory, as long as they wait for it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use cim_crds::Machine;
use cim_crds::cluster::release::{BuildOutput, Release, ReleaseInstall, ReleaseMachine};
use cim_nixos::{Attribute, FlakeOutput, InstallParts, Installs, Toplevel};
use kube::ResourceExt;

use super::failure::ClusterFailure;

/// Names of Machines that wait for their first system, each with the output that is its installer.
pub(super) type Wanted = BTreeMap<String, Option<FlakeOutput>>;

/// The machines that wait for their first system.
pub(super) fn wanted(machines: &[Arc<Machine>]) -> Result<Wanted, ClusterFailure> {
    let waiting = machines.iter().filter(|machine| machine.awaits_install());
    waiting
        .map(|machine| {
            let name = machine.name_any();
            let kexec = machine.spec.install.as_ref().and_then(|install| install.kexec.as_ref());
            let output = kexec.and_then(|kexec| kexec.output.as_deref());
            let output =
                output.map(str::parse).transpose().map_err(|why: cim_nixos::ParseError| {
                    let field = format!("spec.install.kexec.output of Machine {name}");
                    ClusterFailure::Invalid { field, why: why.to_string() }
                })?;
            Ok((name, output))
        })
        .collect()
}

/// The same by configuration. Machines that share one share the installer.
pub(super) fn by_configuration(
    wanted: &Wanted,
    machines: &BTreeMap<String, Attribute>,
) -> Installs {
    let mut installs = Installs::new();
    for (name, output) in wanted {
        let Some(attribute) = machines.get(name) else { continue };
        let entry = installs.entry(attribute.clone()).or_default();
        *entry = entry.take().or_else(|| output.clone());
    }
    installs
}

/// Whether `release` holds what is wanted.
pub(super) fn is_for(release: &Release, wanted: &Wanted) -> bool {
    wanted.iter().all(|(name, output)| {
        let entry = release.machines.iter().find(|machine| machine.name == *name);
        entry
            .and_then(|entry| entry.install.as_ref())
            .is_some_and(|install| install.kexec_output == output.as_ref().map(ToString::to_string))
    })
}

/// Lets go of what nobody waits for any more: a release of many machines has little room.
pub(super) fn strip(release: &mut Release, wanted: &Wanted) {
    for machine in &mut release.machines {
        if !wanted.contains_key(&machine.name) {
            machine.install = None;
        }
    }
}

/// As the release holds it.
pub(super) fn told(parts: &InstallParts, output: Option<&FlakeOutput>) -> ReleaseInstall {
    const DEVICES: usize = 32;
    let of = |built: &Toplevel| BuildOutput {
        drv_path: Some(built.derivation.to_string()),
        out_path: built.closure.to_string(),
    };
    ReleaseInstall {
        layout: parts.layout.as_ref().map(of),
        devices: parts.disks.iter().take(DEVICES).cloned().collect(),
        kexec_output: output.map(ToString::to_string),
        kexec: parts.kexec.as_ref().filter(|_| output.is_some()).map(of),
        built: false,
    }
}

/// What is to be built for the installation of `machine`.
pub(super) fn parts(machine: &ReleaseMachine) -> impl Iterator<Item = &BuildOutput> {
    let install = machine.install.iter();
    install.flat_map(|install| [install.layout.as_ref(), install.kexec.as_ref()]).flatten()
}

/// Notes what of that is there.
pub(super) fn look(machine: &mut ReleaseMachine) {
    let built = parts(machine).all(|part| Path::new(&part.out_path).exists());
    if let Some(install) = &mut machine.install {
        install.built = built;
    }
}

/// What of that is not there.
pub(super) fn missing(machine: &ReleaseMachine) -> Vec<Toplevel> {
    if machine.install.as_ref().is_none_or(|install| install.built) {
        return vec![];
    }
    let parse = |part: &BuildOutput| {
        let derivation = part.drv_path.as_ref()?.parse().ok()?;
        Some(Toplevel { derivation, closure: part.out_path.parse().ok()? })
    };
    parts(machine).filter_map(parse).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn machine(name: &str, install: &Value, status: &Value) -> Arc<Machine> {
        let machine = serde_json::from_value(json!({
            "apiVersion": "cim.dev/v1alpha1", "kind": "Machine", "metadata": {"name": name},
            "spec": {"cluster": "core", "provider": {"metal": {}}, "install": install},
            "status": status,
        }));
        Arc::new(machine.expect("a machine"))
    }

    fn release(install: &Value) -> Release {
        let machines = json!([{"name": "host1", "configuration": "host1", "install": install}]);
        serde_json::from_value(json!({"rev": "r", "narHash": "h", "machines": machines}))
            .expect("a release")
    }

    #[test]
    fn only_who_waits_for_a_system_is_evaluated_for() {
        let kexec = json!({"kexec": {"output": "packages.x.kexec"}});
        let machines = [
            machine("host1", &kexec, &Value::Null),
            machine("host2", &json!({}), &Value::Null),
            machine("host3", &Value::Null, &Value::Null),
            machine("host4", &kexec, &json!({"install": {"phase": "Complete"}})),
        ];
        let wanted = wanted(&machines).expect("wanted");
        assert_eq!(wanted.keys().collect::<Vec<_>>(), ["host1", "host2"]);

        assert!(!is_for(&release(&Value::Null), &wanted));
        let mut held = release(&json!({"kexecOutput": "packages.x.kexec"}));
        assert!(!is_for(&held, &wanted), "host2 is missing");
        let only = Wanted::from([("host1".to_owned(), wanted["host1"].clone())]);
        assert!(is_for(&held, &only));
        assert!(!is_for(&held, &Wanted::from([("host1".to_owned(), None)])));
        strip(&mut held, &Wanted::new());
        assert_eq!(held.machines[0].install, None);
    }

    #[test]
    fn what_is_not_built_is_missing_until_it_is() {
        let part = |name: &str| {
            let path = format!("/nix/store/r7b3by83ir2s7fd6dqhwi0npkdhn3a94-{name}");
            json!({"drvPath": format!("{path}.drv"), "outPath": path})
        };
        let both = json!({"layout": part("disko"), "kexec": part("kexec")});
        let mut held = release(&both);
        assert_eq!(missing(&held.machines[0]).len(), 2);
        look(&mut held.machines[0]);
        assert_eq!(held.machines[0].install.as_ref().map(|it| it.built), Some(false));
        let mut nothing = release(&json!({}));
        look(&mut nothing.machines[0]);
        assert!(missing(&nothing.machines[0]).is_empty());
    }
}
