//! A small lab that says when it is ready and waits; started by the cases about labs themselves.

use std::process::ExitCode;

use cim_e2e::lab::{
    self, Inside, Lab, LabError, network,
    servers::{dns::ZONES, nats::new_operator},
};
use tokio::runtime::Runtime;

/// The door to the monitoring port of its NATS server.
pub(crate) const DOOR: &str = "nats";

/// What the lab says on its standard output, followed by the port of its door.
pub(crate) const READY: &str = "ready at ";

/// Starts NATS, Knot and one host, says so, and waits for the wish to stop.
pub(crate) fn hold(inside: Inside) -> lab::Result<ExitCode> {
    let runtime = Runtime::new()
        .map_err(|source| LabError::System { action: "start the runtime".into(), source })?;
    runtime.block_on(async {
        let mut stop = inside.stop_requested();
        let operator = new_operator("hold")?;
        let lab = Lab::builder().dns().hosts(1).nats(operator, 1).start(inside).await?;
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
