//! A small lab that says when it is ready and waits; started by the cases about labs themselves.

use std::{path::Path, process::ExitCode};

use cim_e2e::lab::{
    self, Inside, Lab, LabError, Openings, network,
    servers::{dns::ZONES, kubernetes::RemoteCluster, nats::new_operator},
    tools::Tools,
};
use tokio::runtime::Runtime;

/// The door to the monitoring port of its NATS server.
pub(crate) const DOOR: &str = "nats";

/// What the lab says on its standard output, followed by the port of its door.
pub(crate) const READY: &str = "ready at ";

/// The window to a cluster outside.
pub(crate) const WINDOW: &str = "cluster";

/// What a lab needs from outside: a door, and a window to the cluster of `kubeconfig`.
pub(crate) fn openings(tools: &Tools, kubeconfig: Option<&Path>) -> lab::Result<Openings> {
    let mut openings = Openings::from(&[DOOR]);
    if let Some(file) = kubeconfig {
        let cluster = RemoteCluster::read(tools, file)?;
        openings.windows.push((WINDOW.into(), cluster.address()));
    }
    Ok(openings)
}

/// Starts NATS, Knot and one host, says so, and waits for the wish to stop. With a kubeconfig, a
/// controller's stand-in acts on that cluster too.
pub(crate) fn hold(inside: Inside, kubeconfig: Option<&Path>) -> lab::Result<ExitCode> {
    let runtime = Runtime::new()
        .map_err(|source| LabError::System { action: "start the runtime".into(), source })?;
    runtime.block_on(async {
        let mut stop = inside.stop_requested();
        let operator = new_operator("hold")?;
        let mut builder = Lab::builder().dns().hosts(1).nats(operator, 1);
        if let Some(file) = kubeconfig {
            let cluster = RemoteCluster::read(inside.tools(), file)?;
            builder = builder.kubernetes_outside(cluster, WINDOW);
        }
        let lab = builder.start(inside).await?;
        if kubeconfig.is_some() {
            act_on(&lab).await?;
        }
        // A lab that shares its addresses with another would see the other's record.
        let zone = ZONES[0];
        let before = lab.dns()?.transfer(zone).await?;
        lab.dns()?.nsupdate(zone, &[&format!("add mine.{zone} 60 TXT mine")]).await?;
        let after = lab.dns()?.transfer(zone).await?;
        if before.len() + 1 != after.len() {
            return Err(LabError::Unexpected {
                what: "the zone of a new lab".into(),
                why: format!("{before:?} became {after:?}"),
            });
        }
        let port = lab.inside().open_door(DOOR, (network::NATS[0], 8222).into())?;
        println!("{READY}{port}");
        let _ = stop.wait_for(|stop| *stop).await;
        Ok(ExitCode::SUCCESS)
    })
}

/// Leaves in the cluster outside who the controller's container is there.
async fn act_on(lab: &Lab) -> lab::Result<()> {
    let kubectl = lab.kubernetes()?.kubectl();
    kubectl.run(&["create", "namespace", "from-a-lab"]).await?;
    kubectl.run(&["create", "serviceaccount", "visitor", "--namespace=from-a-lab"]).await?;
    let visitor = lab.kubernetes()?.kubeconfig_of("from-a-lab", "visitor").await?;
    let whoami = ["auth", "whoami", "--output=jsonpath={.status.userInfo.username}"];
    let whoami = kubectl.with_kubeconfig(visitor).run(&whoami).await?;
    let visitor = format!("--from-literal=visitor={whoami}");
    kubectl.run(&["create", "configmap", "seen", "--namespace=from-a-lab", &visitor]).await?;
    Ok(())
}
