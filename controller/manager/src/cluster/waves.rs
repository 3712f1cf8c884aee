//! Which machines each wave of a rollout selects.

use std::collections::BTreeSet;

use cim_crds::cluster::rollout::Rollout;
use cim_crds::{Cluster, names};
use cim_names::{Error, Hierarchy, Kind, Selector, Source};

use super::failure::ClusterFailure;

/// The names of the Machines that each wave selects, in the order of the spec.
pub(super) fn waves(
    cluster: &Cluster,
    rollout: &Rollout,
    hierarchy: &Hierarchy,
) -> Result<Vec<BTreeSet<String>>, ClusterFailure> {
    let invalid = |index: usize, why: String| ClusterFailure::Invalid {
        field: format!("spec.rollout.waves[{index}].selector"),
        why,
    };
    let source = names::source(cluster);
    let scope = hierarchy
        .elements()
        .find(|element| element.kind == Kind::Cluster && element.source == source);
    let mut waves = Vec::with_capacity(rollout.waves.len());
    for (index, wave) in rollout.waves.iter().enumerate() {
        let Some(scope) = scope else {
            let why = "the Cluster itself has no name; see its Domain's condition NamesPublished";
            return Err(invalid(index, why.to_owned()));
        };
        let selector: Selector =
            wave.selector.parse().map_err(|why: Error| invalid(index, why.to_string()))?;
        let found = match hierarchy.find(&selector, &scope.name) {
            // A bare word that names nothing is a label: `canary`.
            Err(Error::UnknownSelector { .. }) if is_bare(&selector) => {
                let label = Selector::Label { key: wave.selector.clone(), value: None };
                hierarchy.find(&label, &scope.name)
            }
            found => found,
        };
        let found = found.map_err(|why| invalid(index, why.to_string()))?;
        let machines = found.into_iter().flat_map(|element| hierarchy.members(element));
        waves.push(machines.map(|member| object(&member.source)).collect());
    }
    Ok(waves)
}

fn is_bare(selector: &Selector) -> bool {
    matches!(selector, Selector::Name { kind: None, name, absolute: false } if !name.contains('.'))
}

/// The name of the object: `host1` of `Machine/home/host1`.
fn object(source: &Source) -> String {
    source.as_str().rsplit('/').next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use cim_crds::{Domain, Machine, Service};
    use serde_json::{Value, json};

    use super::*;

    fn object<K: serde::de::DeserializeOwned>(kind: &str, name: &str, spec: &Value) -> K {
        serde_json::from_value(json!({
            "apiVersion": "cim.dev/v1alpha1", "kind": kind,
            "metadata": {"name": name, "namespace": "home"}, "spec": spec,
        }))
        .expect("an object")
    }

    fn selected(selectors: &[&str]) -> Result<Vec<BTreeSet<String>>, String> {
        let waves: Vec<Value> =
            selectors.iter().map(|selector| json!({"selector": selector})).collect();
        let domain: Domain = object("Domain", "d", &json!({"suffix": "example.com"}));
        let cluster: Cluster =
            object("Cluster", "core", &json!({"domain": "d", "rollout": {"waves": waves}}));
        let machine = |name: &str, tags: Value| -> Machine {
            let spec = json!({"cluster": "core", "provider": {"metal": {}}, "delivery": "None",
                "tags": tags, "interfaces": [{"name": "e", "addresses": []}]});
            object("Machine", name, &spec)
        };
        let machines =
            [machine("a", json!(["canary"])), machine("b", json!([])), machine("c", json!([]))];
        let web: Service = object(
            "Service",
            "web",
            &json!({"cluster": "core", "roles": [
            {"name": "site", "selectors": ["b", "c"]}]}),
        );
        let inventory = names::inventory(&domain, [&cluster], &machines, [&web]);
        let hierarchy = Hierarchy::build(&inventory);
        waves_of(&cluster, &hierarchy)
    }

    fn waves_of(cluster: &Cluster, hierarchy: &Hierarchy) -> Result<Vec<BTreeSet<String>>, String> {
        waves(cluster, &cluster.spec.rollout, hierarchy).map_err(|error| error.to_string())
    }

    #[test]
    fn waves_are_selected_by_label_name_and_role() {
        let set = |names: &[&str]| names.iter().map(ToString::to_string).collect::<BTreeSet<_>>();
        assert_eq!(
            selected(&["canary", "label/canary", "machine/b", "role/site.web", "c"]),
            Ok(vec![set(&["a"]), set(&["a"]), set(&["b"]), set(&["b", "c"]), set(&["c"])])
        );
    }

    #[test]
    fn a_name_that_is_none_is_refused_and_a_label_that_nobody_has_is_empty() {
        let why = selected(&["machine/x"]).expect_err("no such machine");
        assert!(why.starts_with("spec.rollout.waves[0].selector: "), "{why}");
        assert_eq!(selected(&["label/x"]), Ok(vec![BTreeSet::new()]));
    }
}
