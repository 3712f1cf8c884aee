//! `confirm`: releases the plan that the controller holds for an object.

use std::{collections::BTreeMap, fmt::Write as _};

use cim_crds::{
    Cluster, Domain, Kind, Machine, Mode, ObjectReplica, Service, annotations::CONFIRM,
    machine::install::InstallDisk,
};
use kube::ResourceExt;
use serde::Serialize;

use super::one;
use crate::{
    Console,
    access::Access,
    args::{Consent, Format, Global},
    error::Error,
    kinds::KindArg,
    output::Report,
    style::Tone,
    table::{Cell, Table},
    target::One,
};

/// A plan, and what became of it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Confirmed {
    kind: &'static str,
    namespace: String,
    name: String,
    /// The plan's hash, which the annotation holds.
    plan: String,
    changes: Vec<String>,
    /// The machine's disks, where the plan is a first installation.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    disks: Vec<InstallDisk>,
    /// Whether the annotation was written now; false when it was there already, or with --dry-run.
    written: bool,
    dry_run: bool,
}

pub(crate) async fn run(
    access: &Access,
    console: &mut Console<'_>,
    global: &Global,
    target: &One,
    consent: Consent,
) -> Result<Confirmed, Error> {
    access.one_namespace("confirm")?;
    let (kind, name) = one(access, target).await?;
    let how = How { global, consent };
    match kind {
        KindArg::Machine => {
            let disks = |machine: &Machine| {
                let install = machine.status.as_ref().and_then(|it| it.install.as_ref());
                install.map(|install| install.disks.clone()).unwrap_or_default()
            };
            confirm(access, console, how, &name, disks).await
        }
        KindArg::Cluster => confirm::<Cluster>(access, console, how, &name, |_| vec![]).await,
        KindArg::Domain => confirm::<Domain>(access, console, how, &name, |_| vec![]).await,
        KindArg::Service => confirm::<Service>(access, console, how, &name, |_| vec![]).await,
        KindArg::ObjectReplica => {
            confirm::<ObjectReplica>(access, console, how, &name, |_| vec![]).await
        }
    }
}

#[derive(Clone, Copy)]
struct How<'g> {
    global: &'g Global,
    consent: Consent,
}

async fn confirm<K: Kind>(
    access: &Access,
    console: &mut Console<'_>,
    How { global, consent }: How<'_>,
    name: &str,
    disks: impl FnOnce(&K) -> Vec<InstallDisk>,
) -> Result<Confirmed, Error> {
    let namespace = access.one_namespace("confirm")?;
    let Some(object) = access.get::<K>(namespace, name).await? else {
        let (objects, _) = access.list::<K>().await?;
        let known = objects.iter().map(ResourceExt::name_any).collect();
        let (kind, name, namespace) = (K::KIND, name.to_owned(), namespace.to_owned());
        return Err(Error::NoSuchObject { kind, name, namespace, known });
    };
    let plan = held(&object)?;
    let mut confirmed = Confirmed {
        kind: K::KIND,
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        changes: plan.changes,
        disks: disks(&object),
        written: object.annotations().get(CONFIRM) != Some(&plan.hash),
        plan: plan.hash,
        dry_run: consent.dry_run,
    };
    if !confirmed.written {
        return Ok(confirmed);
    }
    if global.output == Format::Table {
        let colour = global.colour(console.err_terminal);
        console.err.write_all(confirmed.plan_table(colour).as_bytes())?;
    }
    if consent.dry_run {
        confirmed.written = false;
        return Ok(confirmed);
    }
    if !consent.yes {
        console.confirm(
            "confirm",
            &format!("Confirm plan {} of {}.", confirmed.plan, title(&confirmed)),
        )?;
    }
    let annotations = BTreeMap::from([(CONFIRM, confirmed.plan.as_str())]);
    match access.annotate::<K>(namespace, name, &annotations).await? {
        Some(_) => Ok(confirmed),
        None => Err(Error::Gone { object: title(&confirmed) }),
    }
}

struct Held {
    hash: String,
    changes: Vec<String>,
}

/// The plan that waits for somebody.
fn held<K: Kind>(object: &K) -> Result<Held, Error> {
    let title =
        || format!("{} {}/{}", K::KIND, object.namespace().unwrap_or_default(), object.name_any());
    if object.mode() != Mode::Correct {
        return Err(Error::Usage(format!(
            "{} is in mode {:?}, in which nothing is carried out; set spec.mode to Correct first",
            title(),
            object.mode()
        )));
    }
    let plan = object.status_common().and_then(|status| status.plan.clone());
    let hash = plan.as_ref().and_then(|plan| plan.hash.clone());
    match (plan, hash) {
        (Some(plan), Some(hash)) => Ok(Held { hash, changes: plan.changes }),
        _ => Err(Error::NothingHeld { object: title() }),
    }
}

fn title(confirmed: &Confirmed) -> String {
    let Confirmed { kind, namespace, name, .. } = confirmed;
    format!("{kind} {namespace}/{name}")
}

impl Confirmed {
    /// What would be done, and on which disks.
    fn plan_table(&self, colour: bool) -> String {
        let mut out = Tone::Heading.paint(&title(self), colour);
        out.push_str(&Tone::Faint.paint(&format!(" ({})", self.plan), colour));
        out.push('\n');
        for change in &self.changes {
            // Writing to a string cannot fail.
            let _ = writeln!(out, "  {}", Cell::from(change).plain());
        }
        if self.disks.is_empty() {
            return out;
        }
        let mut table = Table::new(["DISK", "SIZE", "NAMES", "MODEL", "WHAT IS ON IT"]);
        for disk in &self.disks {
            let fate = if disk.used {
                Cell::toned("IS DESTROYED", Tone::Bad)
            } else {
                Cell::from("stays")
            };
            table.push([
                Cell::from(&disk.device),
                Cell::from(size(disk.size_bytes)),
                Cell::from(disk.names.iter().take(2).cloned().collect::<Vec<_>>().join(", ")),
                Cell::from(disk.model.clone().unwrap_or_default()),
                fate,
            ]);
        }
        out.push('\n');
        out.push_str(&table.render(colour));
        out
    }
}

/// In the units of its maker.
fn size(bytes: u64) -> String {
    let units = [(1_000_000_000_000, "TB"), (1_000_000_000, "GB"), (1_000_000, "MB")];
    let (unit, name) = units.into_iter().find(|(unit, _)| bytes >= *unit).unwrap_or((1_000, "kB"));
    let tenths = bytes / (unit / 10);
    format!("{}.{} {name}", tenths / 10, tenths % 10)
}

impl Report for Confirmed {
    fn table(&self, _: bool) -> String {
        let title = title(self);
        match (self.written, self.dry_run) {
            (true, _) => format!("{title}: confirmed plan {}\n", self.plan),
            (false, true) => format!("{title}: would confirm plan {}\n", self.plan),
            (false, false) => format!("{title}: plan {} was confirmed already\n", self.plan),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn machine(mode: &str, plan: &Value) -> Machine {
        serde_json::from_value(json!({
            "apiVersion": "cim.dev/v1alpha1", "kind": "Machine",
            "metadata": {"name": "host1", "namespace": "home"},
            "spec": {"cluster": "core", "provider": {"metal": {}}, "mode": mode},
            "status": {"observedGeneration": 1, "plan": plan},
        }))
        .unwrap()
    }

    #[test]
    fn only_what_is_held_can_be_confirmed() {
        let plan = json!({"changes": ["x"], "hash": "0123456789abcdef"});
        assert_eq!(held(&machine("Correct", &plan)).unwrap().hash, "0123456789abcdef");
        let error = held(&machine("Plan", &plan)).err().unwrap().to_string();
        assert!(error.contains("set spec.mode to Correct"), "{error}");
        let error = held(&machine("Correct", &Value::Null)).err().unwrap().to_string();
        assert!(error.contains("Machine home/host1 holds no plan"), "{error}");
    }

    #[test]
    fn the_disks_that_are_lost_stand_out() {
        let disk = |device: &str, size_bytes, names: &[&str], used| InstallDisk {
            device: device.to_owned(),
            size_bytes,
            model: None,
            names: names.iter().map(ToString::to_string).collect(),
            used,
        };
        let confirmed = Confirmed {
            kind: "Machine",
            namespace: "home".to_owned(),
            name: "host1".to_owned(),
            plan: "0123456789abcdef".to_owned(),
            changes: vec!["boot the installer (boot 1)".to_owned(), "DESTROY all".to_owned()],
            disks: vec![
                disk("/dev/sda", 500_107_862_016, &["S5Y1NJ0R904561", "ata-Samsung_SSD"], true),
                disk("/dev/sdb", 4_000_787_030_016, &["WX11"], false),
            ],
            written: true,
            dry_run: false,
        };
        insta::assert_snapshot!(confirmed.plan_table(false) + &confirmed.table(false));
    }
}
