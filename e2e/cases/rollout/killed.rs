//! The controller dies right after each kind of effect, and is started again.

use cim_e2e::{
    home::Home,
    story::{complete, phase},
};

use super::shop::{Dev1, Moment, Prod1, Prod2, Shop};
use crate::harness::Outcome;

pub(crate) async fn killed_after_every_effect(home: &Home) -> Outcome {
    let shop = Shop::open(home).await?;
    let mark = shop.mark().await?;
    let before = [shop.running(Prod1).await?, shop.running(Prod2).await?];

    let first = shop.commit(&[]).await?;
    for moment in [Moment::Evaluated, Moment::Written("dev"), Moment::Copied(Dev1)] {
        shop.killed(&mark, moment, &first).await?;
    }
    complete(home, "dev", &first).await?;
    let [prod1, prod2] = [shop.running(Prod1).await?, shop.running(Prod2).await?];
    if [prod1, prod2] != before {
        return Err("prod runs what nobody approved".into());
    }
    shop.approve().await?;
    for moment in [Moment::Written("prod"), Moment::Tested(Prod1), Moment::BetweenWaves] {
        shop.killed(&mark, moment, &first).await?;
    }
    complete(home, "prod", &first).await?;
    let firsts =
        [shop.running(Dev1).await?, shop.running(Prod1).await?, shop.running(Prod2).await?];

    let middle = shop.mark().await?;
    let second = shop.commit(&[]).await?;
    for moment in
        [Moment::Built, Moment::Admitted(Dev1), Moment::Tested(Dev1), Moment::Confirmed(Dev1)]
    {
        shop.killed(&middle, moment, &second).await?;
    }
    complete(home, "dev", &second).await?;
    shop.approve().await?;
    for moment in [
        Moment::Admitted(Prod1),
        Moment::Copied(Prod1),
        Moment::Confirmed(Prod1),
        Moment::Tested(Prod2),
    ] {
        shop.killed(&middle, moment, &second).await?;
    }
    complete(home, "prod", &second).await?;
    let seconds =
        [shop.running(Dev1).await?, shop.running(Prod1).await?, shop.running(Prod2).await?];
    let [dev, one, two] =
        [0, 1, 2].map(|machine| vec![firsts[machine].clone(), seconds[machine].clone()]);
    shop.activated(&mark, [&dev, &one, &two]).await?;

    // It fails on the second machine of prod, so that the first one is taken back.
    let mark = shop.mark().await?;
    let bad = shop.release(&[("broken", "prod2\n")]).await?;
    let dev = [shop.running(Dev1).await?];
    shop.approve().await?;
    for moment in [Moment::Aborted, Moment::Revoked(Prod1), Moment::GoingBack(Prod1)] {
        shop.killed(&mark, moment, &bad).await?;
    }
    phase(home, "prod", "Aborted").await?;
    let one = [shop.wanted(Prod1).await?, seconds[1].clone()];
    let two = [shop.wanted(Prod2).await?];
    shop.until("both to run what they ran before", async || {
        let runs = [shop.running(Prod1).await?, shop.running(Prod2).await?];
        Ok(if runs == seconds[1..] { Ok(()) } else { Err(format!("{runs:?}")) })
    })
    .await?;
    shop.jane.cimctl(home, &["rollback", "prod", "--yes"]).await?;
    complete(home, "prod", &second).await?;
    shop.activated(&mark, [&dev, &one, &two]).await?;
    shop.release(&[("broken", "nobody\n")]).await?;
    shop.approve().await?;
    complete(home, "prod", &home.repository().head()?).await?;
    Ok(())
}
