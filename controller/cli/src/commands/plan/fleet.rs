//! The machines of a Cluster beside its release: what runs where, what would change, and when.

use cim_crds::{
    Cluster, Domain, Machine, Progress,
    cluster::rollout_status::{RolloutPhase, RolloutStatus},
    conditions::{self, ConditionType},
    machine::system::{DeliveryPhase, SystemState},
    names::source,
};
use cim_names::Hierarchy;
use jiff::Timestamp;
use kube::ResourceExt;
use serde::Serialize;

use crate::{
    output::{age, cut},
    release::{path::Paths, short_digest, short_rev},
    style::Tone,
    table::{Cell, Table},
    world::World,
};

/// How a Cluster is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Named {
    Briefly,
    WithNamespace,
}

/// How much of an error a table shows.
const MAX_ERROR: usize = 60;

/// A Cluster with its machines.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Fleet {
    namespace: String,
    cluster: String,
    /// The release that is wanted; absent while there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    release: Option<Wanted>,
    /// As in its status.
    #[serde(skip_serializing_if = "Option::is_none")]
    rollout: Option<RolloutStatus>,
    waves: Vec<Wave>,
    machines: Vec<Row>,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Wanted {
    rev: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<Timestamp>,
}

/// A wave and whom it falls on; the last one has no selector.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Wave {
    #[serde(skip_serializing_if = "Option::is_none")]
    selector: Option<String>,
    machines: Vec<String>,
    /// Why the selector means nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

/// A machine.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    machine: String,
    /// Counted from 1.
    wave: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<SystemState>,
    /// What runs; absent when not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    now: Option<String>,
    /// What should; absent without a release, or without a closure in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    then: Option<String>,
    /// Whether these differ; absent when one is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    changes: Option<bool>,
    /// Whether it may take the release.
    admitted: bool,
    failed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    delivery: Option<DeliveryPhase>,
    #[serde(skip_serializing_if = "Option::is_none")]
    progress: Option<Progress>,
    /// Why it has no closure, or why its delivery failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    /// Whether a reboot is owed; absent when not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    reboot_required: Option<bool>,
}

/// The Clusters of `world` that have a release or a source to get one from, with their machines.
pub(crate) fn fleets(world: &World) -> Vec<Fleet> {
    let delivers = |cluster: &&Cluster| cluster.spec.source.is_some() || wanted(cluster).is_some();
    world.clusters.iter().filter(delivers).map(|cluster| fleet(world, cluster)).collect()
}

impl Fleet {
    /// Leaves only some machines; whether any is left.
    pub(crate) fn keep(&mut self, machine: impl Fn(&str, &str) -> bool) -> bool {
        self.machines.retain(|row| machine(&self.namespace, &row.machine));
        !self.machines.is_empty()
    }

    /// Where it is.
    pub(crate) fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Whether the Cluster, by namespace and name, is one of those.
    pub(crate) fn is_one_of(&self, those: impl Fn(&str, &str) -> bool) -> bool {
        those(&self.namespace, &self.cluster)
    }

    /// All store paths in it.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &str> {
        self.machines.iter().flat_map(|row| row.now.iter().chain(&row.then)).map(String::as_str)
    }

    /// A heading, what the rollout does, and a row for each machine.
    pub(crate) fn table(
        &self,
        (paths, named): (Paths, Named),
        now: Timestamp,
        colour: bool,
    ) -> String {
        let namespace = match named {
            Named::Briefly => String::new(),
            Named::WithNamespace => format!("{}/", self.namespace),
        };
        let title = format!("Cluster/{namespace}{}", self.cluster);
        let mut out = Tone::Heading.paint(&title, colour);
        out.extend([": ", &self.headline(now), "\n"]);
        if let Some(rollout) = &self.rollout {
            out.push_str(&details(rollout));
        }
        for (number, wave) in (1..).zip(&self.waves) {
            if let Some(problem) = &wave.problem {
                let text = format!("  wave {number}: {}\n", Cell::from(problem).plain());
                out.push_str(&Tone::Bad.paint(&text, colour));
            }
        }
        let heading = ["MACHINE", "WAVE", "STATE", "NOW", "THEN", "DELIVERY", "REBOOT"];
        let mut table = Table::new(heading);
        for row in &self.machines {
            table.push(row.cells(paths));
        }
        if !table.is_empty() {
            out.push_str(&table.render(colour));
        }
        out
    }

    fn headline(&self, now: Timestamp) -> String {
        let Some(release) = &self.release else { return "no release yet".to_owned() };
        let digest = release.digest.as_deref().map(short_digest);
        let digest = digest.map(|digest| format!(" ({digest})")).unwrap_or_default();
        let since = release.since.map(|since| format!(", {} old", age(now, since)));
        let since = since.unwrap_or_default();
        let rollout = self.rollout.as_ref().map(how_far).unwrap_or_default();
        format!("release {}{digest}{since}{rollout}", short_rev(&release.rev))
    }
}

fn how_far(rollout: &RolloutStatus) -> String {
    let RolloutStatus { phase, wave, waves, updated, total, .. } = rollout;
    let waves = *waves.max(&1);
    let wave = match phase {
        RolloutPhase::Complete => String::new(),
        _ => format!(", wave {} of {waves}", wave.saturating_add(1).min(waves)),
    };
    format!("; {phase:?}{wave}, {updated} of {total} machines run it")
}

fn details(rollout: &RolloutStatus) -> String {
    let mut out = String::new();
    if !rollout.message.is_empty() {
        out.extend(["  ", Cell::from(&rollout.message).plain(), "\n"]);
    }
    if let Some(window) = &rollout.next_window {
        out.extend(["  next window: ", &window.0.to_string(), "\n"]);
    }
    out
}

impl Row {
    fn cells(&self, paths: Paths) -> [Cell; 7] {
        let (state, tone) = match self.state {
            None => ("-".to_owned(), Tone::Plain),
            Some(state) => (format!("{state:?}"), tone(state)),
        };
        let then = match (&self.then, self.changes) {
            (_, Some(false)) => Cell::toned("same", Tone::Faint),
            (then, _) => paths.show_or_dash(then.as_deref()).into(),
        };
        let reboot = match self.reboot_required {
            Some(true) => Cell::toned("owed", Tone::Doubtful),
            Some(false) => "".into(),
            None => "?".into(),
        };
        [
            (&self.machine).into(),
            self.wave.into(),
            Cell::toned(&state, tone),
            paths.show_or_dash(self.now.as_deref()).into(),
            then,
            self.delivery_cell(),
            reboot,
        ]
    }

    fn delivery_cell(&self) -> Cell {
        if let Some(error) = &self.error {
            return Cell::toned(&cut(&format!("Failed: {error}"), MAX_ERROR), Tone::Bad);
        }
        if self.failed {
            return Cell::toned("Failed", Tone::Bad);
        }
        let percent = self.progress.as_ref().and_then(percent);
        let percent = percent.map(|percent| format!(" {percent}%")).unwrap_or_default();
        match self.delivery {
            Some(DeliveryPhase::Complete) => "".into(),
            Some(phase) => format!("{phase:?}{percent}").into(),
            None if self.changes == Some(true) && !self.admitted => "Waiting".into(),
            None => percent.trim_start().into(),
        }
    }
}

/// How much of a work is done, in percent.
pub(crate) fn percent(progress: &Progress) -> Option<u64> {
    let done = progress.done.min(progress.expected);
    done.saturating_mul(100).checked_div(progress.expected)
}

fn tone(state: SystemState) -> Tone {
    match state {
        SystemState::InSync => Tone::Good,
        SystemState::Drifted | SystemState::Corrupt | SystemState::Unreachable => Tone::Bad,
        SystemState::Staged
        | SystemState::TestOnly
        | SystemState::OutOfDate
        | SystemState::RebootRequired
        | SystemState::Bare
        | SystemState::Installing
        | SystemState::Unknown => Tone::Doubtful,
    }
}

fn wanted(cluster: &Cluster) -> Option<&cim_crds::cluster::release::Release> {
    cluster.status.as_ref()?.release.as_ref()
}

fn fleet(world: &World, cluster: &Cluster) -> Fleet {
    let (namespace, name) = (cluster.namespace().unwrap_or_default(), cluster.name_any());
    let ours = |machine: &&Machine| {
        machine.namespace() == cluster.namespace() && machine.spec.cluster == name
    };
    let machines: Vec<&Machine> = world.machines.iter().filter(ours).collect();
    let domain = |domain: &&Domain| {
        domain.namespace() == cluster.namespace() && domain.name_any() == cluster.spec.domain
    };
    let hierarchy = world.domains.iter().find(domain).map(|domain| world.hierarchy(domain));
    let waves = waves(hierarchy.as_ref(), cluster, &machines);
    let rollout = cluster.status.as_ref().and_then(|status| status.rollout.clone());
    let mut rows: Vec<Row> =
        machines.iter().map(|machine| row(cluster, &waves, rollout.as_ref(), machine)).collect();
    rows.sort_by(|a, b| (a.wave, &a.machine).cmp(&(b.wave, &b.machine)));
    let release = wanted(cluster).map(|release| Wanted {
        rev: release.rev.clone(),
        digest: release.digest.clone(),
        since: release.since.as_ref().map(|since| since.0),
    });
    Fleet { namespace, cluster: name, release, rollout, waves, machines: rows }
}

/// Who is in which wave: each machine in the first that selects it, the others in the last.
fn waves(hierarchy: Option<&Hierarchy>, cluster: &Cluster, machines: &[&Machine]) -> Vec<Wave> {
    let mut left: Vec<String> = machines.iter().map(|machine| machine.name_any()).collect();
    let mut waves = Vec::new();
    for wave in &cluster.spec.rollout.waves {
        let found = hierarchy.map(|hierarchy| selected(hierarchy, cluster, &wave.selector));
        let (found, problem) = match found {
            None => (vec![], Some(format!("there is no Domain {}", cluster.spec.domain))),
            Some(Err(problem)) => (vec![], Some(problem)),
            Some(Ok(found)) => (found, None),
        };
        let ours = |name: &&String| {
            let machine = machines.iter().find(|machine| machine.name_any() == **name);
            machine.is_some_and(|machine| found.contains(&source(*machine).as_str().to_owned()))
        };
        let members: Vec<String> = left.iter().filter(ours).cloned().collect();
        left.retain(|name| !members.contains(name));
        waves.push(Wave { selector: Some(wave.selector.clone()), machines: members, problem });
    }
    waves.push(Wave { selector: None, machines: left, problem: None });
    waves
}

/// The resources of the machines that a selector falls on, read where the Cluster is.
fn selected(
    hierarchy: &Hierarchy,
    cluster: &Cluster,
    selector: &str,
) -> Result<Vec<String>, String> {
    let (it, kind) = (source(cluster), cim_names::Kind::Cluster);
    let scope = hierarchy.elements().find(|element| element.source == it && element.kind == kind);
    let scope = scope.ok_or("the Cluster has no name")?;
    let found = hierarchy.resolve(selector, &scope.name).map_err(|error| error.to_string())?;
    Ok(found.members.into_iter().map(|member| member.source.as_str().to_owned()).collect())
}

fn row(
    cluster: &Cluster,
    waves: &[Wave],
    rollout: Option<&RolloutStatus>,
    machine: &Machine,
) -> Row {
    let name = machine.name_any();
    let status = machine.status.as_ref();
    let listed = |list: fn(&RolloutStatus) -> &Vec<String>| {
        rollout.is_some_and(|rollout| list(rollout).contains(&name))
    };
    let entry = wanted(cluster).and_then(|it| it.machines.iter().find(|it| it.name == name));
    let now = status.and_then(|status| status.system.as_ref()?.current.clone());
    let then = entry.and_then(|entry| entry.out_path.clone());
    // A failure of an earlier release says nothing about this one.
    let failure = status.and_then(|status| status.failed.as_ref());
    let failure = failure.filter(|failed| then.as_ref() == Some(&failed.out_path));
    let failure = failure.map(|failed| format!("{}: {}", failed.reason, failed.message));
    let conditions = status.map(|status| status.common.conditions.as_slice()).unwrap_or_default();
    let reboot = conditions::find(conditions, ConditionType::RebootRequired);
    let wave = waves.iter().position(|wave| wave.machines.contains(&name)).unwrap_or_default();
    Row {
        wave: wave + 1,
        state: status.and_then(|status| status.state),
        changes: now.as_ref().zip(then.as_ref()).map(|(now, then)| now != then),
        admitted: listed(|rollout| &rollout.admitted),
        failed: listed(|rollout| &rollout.failed),
        delivery: status.and_then(|status| status.delivery_phase),
        progress: status.and_then(|status| status.progress.clone()),
        error: entry.and_then(|entry| entry.error.clone()).or(failure),
        reboot_required: match reboot.map(|reboot| reboot.status.as_str()) {
            Some("True") => Some(true),
            Some("Unknown") => None,
            // The controller has it only where it applies.
            _ => status.map(|status| status.state == Some(SystemState::RebootRequired)),
        },
        now,
        then,
        machine: name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;

    #[test]
    fn what_runs_where_and_what_would_change() {
        let fleets = fleets(&fixtures::releases());
        let now = "2026-01-01T13:00:00Z".parse().unwrap();
        let paths = Paths::of(fleets.iter().flat_map(Fleet::paths), false);
        let told: String =
            fleets.iter().map(|fleet| fleet.table((paths, Named::Briefly), now, false)).collect();
        insta::assert_snapshot!(told);
    }

    #[test]
    fn the_form_for_programs_is_stable() {
        let mut fleets = fleets(&fixtures::releases());
        let prod = fleets.iter_mut().find(|it| it.is_one_of(|_, name| name == "prod")).unwrap();
        // As in the status, whose form is not ours.
        let rollout = prod.rollout.take().unwrap();
        assert_eq!((rollout.phase, rollout.wave), (RolloutPhase::WaitingForWindow, 1));
        insta::assert_yaml_snapshot!(prod);
    }

    #[test]
    fn a_wave_that_means_nothing_is_said() {
        let mut world = fixtures::releases();
        for cluster in &mut world.clusters {
            for wave in &mut cluster.spec.rollout.waves {
                wave.selector = "machine/nobody".to_owned();
            }
        }
        let fleets = fleets(&world);
        let prod = fleets.iter().find(|it| it.is_one_of(|_, name| name == "prod")).unwrap();
        let problem = prod.waves[0].problem.as_deref().unwrap();
        assert!(problem.contains("nobody"), "{problem}");
        assert!(prod.machines.iter().all(|row| row.wave == 2));
    }
}
