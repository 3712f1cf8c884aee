//! The chart, rendered as Helm does it, without the Deployment: the lab runs the controller itself.

use crate::lab::{Lab, Result};

use super::Estate;

const TEMPLATES: [&str; 4] = [
    "templates/crds.yaml",
    "templates/serviceaccount.yaml",
    "templates/rbac.yaml",
    "templates/approval.yaml",
];

/// The directory of the chart.
pub fn path() -> &'static str {
    concat!(env!("CARGO_MANIFEST_DIR"), "/../charts/cim-controller")
}

/// The definitions, the account and its rights, for a controller that watches one namespace.
pub(super) async fn render(lab: &Lab, estate: &Estate) -> Result<String> {
    let watch = format!("watchNamespaces={{{}}}", estate.namespace);
    let args = ["template", estate.release, path(), "--namespace", estate.system, "--set", &watch];
    let only = TEMPLATES.iter().flat_map(|template| ["--show-only", template]);
    lab.helm(&args.into_iter().chain(only).collect::<Vec<_>>()).await
}
