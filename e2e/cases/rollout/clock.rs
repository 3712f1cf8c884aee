//! The clock of the controller is set while it works.

use std::time::Duration;

use cim_e2e::{home::Home, lab::servers::controller::Controller, story::complete};

use super::{
    DEADLINE, Try,
    shop::{Mark, Moment, Prod1, Shop},
};
use crate::harness::Outcome;

/// More than any deadline, soak or validity in the shop; two days, so that each window is crossed too.
const JUMP: Duration = Duration::from_hours(48);

pub(crate) async fn a_clock_that_jumps_harms_nothing(home: &Home) -> Outcome {
    let shop = Shop::open(home).await?;
    let mark = shop.mark().await?;
    let controller = home.replica_with_clock(3)?;
    home.controller().stop().await?;
    let jumped = async {
        home.lab().start_controller(&controller).await?;
        controller.ready(DEADLINE).await?;
        jump(&shop, &mark, &controller).await
    };
    let jumped = jumped.await;
    let stopped = controller.stop().await;
    home.start_controller().await?;
    jumped?;
    if stopped? != 0 {
        return Err("it did not end as it should".into());
    }
    home.all_ready(DEADLINE).await?;
    let mut wanted = Vec::new();
    for machine in super::shop::Machine::ALL {
        wanted.push(shop.generations(machine, 2).await?);
    }
    shop.activated(&mark, [&wanted[0], &wanted[1], &wanted[2]]).await
}

/// Forth while a closure awaits its confirmation, and back while a wave is watched.
async fn jump(shop: &Shop<'_>, mark: &Mark, controller: &Controller) -> Try<()> {
    let home = shop.home;
    let forth = shop.release(&[]).await?;
    shop.approve().await?;
    shop.come(mark, Moment::Tested(Prod1), &forth).await?;
    controller.set_clock(JUMP)?;
    complete(home, "prod", &forth).await?;
    // A signature of another day is refused, and the reason is said.
    shop.until("the Domain to name the clocks", async || {
        let domain = home.object("domains", "example-org").await?;
        let ready = domain.condition("Ready");
        let named = matches!(ready, Some(("False", "TsigFailed", why)) if why.contains("clocks"));
        Ok(if named { Ok(()) } else { Err(domain.to_string()) })
    })
    .await?;

    let back = shop.release(&[]).await?;
    shop.approve().await?;
    shop.come(mark, Moment::BetweenWaves, &back).await?;
    controller.set_clock(Duration::ZERO)?;
    complete(home, "prod", &back).await?;
    Ok(home.all_ready(DEADLINE).await?)
}
