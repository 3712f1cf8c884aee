//! What the controller's store holds, and for how long.

use cim_e2e::{home::Home, story::complete};
use serde_json::json;

use super::{
    Try,
    shop::{Dev1, Prod1, Prod2, Shop},
};
use crate::harness::Outcome;

pub(crate) async fn what_is_held_goes_with_its_cluster(home: &Home) -> Outcome {
    let shop = Shop::open(home).await?;
    let released =
        [shop.running(Dev1).await?, shop.running(Prod1).await?, shop.running(Prod2).await?];
    let spare = json!({
        "apiVersion": "cim.dev/v1alpha1", "kind": "Cluster",
        "metadata": {"name": "spare", "namespace": home.estate().namespace},
        "spec": {"domain": "example-org", "environment": "spare"},
    });
    home.kubectl().apply(&spare.to_string()).await?;
    home.reconcile("clusters", "spare").await?;
    // As builds leave them: of one that is there, one that went while nobody looked, and one of a
    // namespace that is another controller's.
    let owners = ["shop_spare", "shop_gone", "elsewhere_gone"];
    for owner in owners {
        let hold = format!("mkdir -p roots/{owner}; ln -sfn {} roots/{owner}/x.root", released[0]);
        home.controller().exec(&hold).await?;
    }
    let namespace = home.estate().namespace;
    let words = ["delete", "cluster.cim.dev", "spare", "--namespace", namespace];
    home.kubectl().run(&words).await?;
    are_held(&shop, &["elsewhere_gone", "shop_dev", "shop_gone", "shop_prod"]).await?;
    home.controller().stop().await?;
    home.start_controller().await?;
    are_held(&shop, &["elsewhere_gone", "shop_dev", "shop_prod"]).await?;

    // What machines run, and would go back to, is held; also what was let go and is wanted again.
    home.controller().exec("rm roots/shop_dev/*.root").await?;
    home.reconcile("clusters", "dev").await?;
    home.controller().exec("nix --extra-experimental-features nix-command store gc").await?;
    for closure in &released {
        home.controller().exec(&format!("test -e {closure}")).await?;
    }
    home.controller().exec("rm -r roots/elsewhere_gone").await?;
    complete(home, "dev", &home.repository().head()?).await?;
    Ok(())
}

/// Waits until exactly these have roots.
async fn are_held(shop: &Shop<'_>, wanted: &[&str]) -> Try<()> {
    shop.until(&format!("roots of {wanted:?}"), async || {
        let found = shop.home.controller().exec("ls roots").await?;
        let found: Vec<_> = found.split_whitespace().collect();
        Ok(if found == wanted { Ok(()) } else { Err(format!("{found:?}")) })
    })
    .await
}
