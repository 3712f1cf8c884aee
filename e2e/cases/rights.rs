//! The chart's rules, by what the API server saw of the controller in all cases before.

use std::collections::BTreeSet;

use cim_e2e::{
    home::{Home, chart},
    lab::servers::kubernetes::AuditEvent,
};
use serde_json::Value;

use crate::harness::Outcome;

/// One verb on one resource, as `patch cim.dev/machines/status`.
type Right = String;

pub(crate) async fn every_right_is_used_and_none_is_missing(home: &Home) -> Outcome {
    let requests = home.requests()?;
    let refused: BTreeSet<_> = requests
        .iter()
        .filter(|request| request.code == 403)
        .map(|request| format!("{} {}", request.verb, request.uri))
        .collect();
    assert!(refused.is_empty(), "the chart does not grant: {refused:#?}");

    let granted = granted(home).await?;
    assert!(granted.len() > 20, "the chart's Roles were not found: {granted:?}");
    let used: BTreeSet<Right> = requests.iter().map(right).collect();
    let unused: Vec<_> = granted.difference(&used).collect();
    assert!(
        unused.is_empty(),
        "the chart grants what no case needs (run with the cases home and home_refusals, which use \
         it): {unused:#?}"
    );
    Ok(())
}

pub(crate) async fn the_chart_is_clean(home: &Home) -> Outcome {
    let said = home.lab().helm(&["lint", "--strict", chart()]).await?;
    assert!(said.contains("0 chart(s) failed"), "{said}");
    Ok(())
}

/// What the chart's Roles grant. No ClusterRole is bound (there is one, for people), and there are no
/// wildcards.
async fn granted(home: &Home) -> Result<BTreeSet<Right>, Box<dyn std::error::Error + Send + Sync>> {
    let label = "--selector=app.kubernetes.io/instance=cim";
    let list = ["get", "roles,clusterrolebindings", "--all-namespaces", label, "--output=json"];
    let roles: Value = serde_json::from_str(&home.kubectl().run(&list).await?)?;
    let roles = roles["items"].as_array().cloned().unwrap_or_default();
    let mut granted = BTreeSet::new();
    for role in &roles {
        assert_eq!(role["kind"], "Role", "{role}");
        for rule in role["rules"].as_array().into_iter().flatten() {
            for group in words(&rule["apiGroups"]) {
                for resource in words(&rule["resources"]) {
                    granted.extend(
                        words(&rule["verbs"]).map(|verb| format!("{verb} {group}/{resource}")),
                    );
                }
            }
        }
    }
    assert!(granted.iter().all(|right| !right.contains('*')), "a wildcard: {granted:?}");
    Ok(granted)
}

fn words(list: &Value) -> impl Iterator<Item = &str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str)
}

fn right(request: &AuditEvent) -> Right {
    let AuditEvent { verb, group, resource, subresource, .. } = request;
    let slash = if subresource.is_empty() { "" } else { "/" };
    format!("{verb} {group}/{resource}{slash}{subresource}")
}
