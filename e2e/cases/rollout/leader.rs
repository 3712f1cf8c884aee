//! Two controllers, one lease.

use cim_e2e::{home::Home, story::complete};

use super::{
    DEADLINE,
    shop::{Dev1, Moment, Prod1, Prod2, Shop},
};
use crate::harness::Outcome;

pub(crate) async fn two_controllers_act_as_one(home: &Home) -> Outcome {
    let shop = Shop::open(home).await?;
    let mark = shop.mark().await?;
    let standby = home.replica(2)?;
    home.lab().start_controller(&standby).await?;
    standby.ready(DEADLINE).await?;
    let address = standby.address().to_string();
    let revision = shop.release(&[]).await?;
    // Who only stands by asks for the lease, and changes nothing.
    if home.has_audit()? {
        let wrote: Vec<_> = home
            .requests()?
            .into_iter()
            .filter(|it| it.source == address && it.is_write() && it.resource != "leases")
            .collect();
        if !wrote.is_empty() {
            return Err(format!("who stands by wrote: {wrote:#?}").into());
        }
    }

    // The leader is gone in the middle of the rollout; the other one has an empty store.
    shop.approve().await?;
    shop.come(&mark, Moment::Tested(Prod1), &revision).await?;
    home.controller().kill().await?;
    let ended = async {
        complete(home, "prod", &revision).await?;
        home.all_ready(DEADLINE).await
    };
    let ended = ended.await;
    // The first one is back, and takes over what the second one lets go.
    home.start_controller().await?;
    let stopped = standby.stop().await;
    ended?;
    if stopped? != 0 {
        return Err("the second one did not end as it should".into());
    }
    let last = shop.release(&[]).await?;
    shop.approve().await?;
    complete(home, "prod", &last).await?;
    let mut wanted = Vec::new();
    for machine in [Dev1, Prod1, Prod2] {
        wanted.push(shop.generations(machine, 2).await?);
    }
    shop.activated(&mark, [&wanted[0], &wanted[1], &wanted[2]]).await
}
