//! Sources that not everybody may read.

use cim_e2e::{
    home::Home,
    lab::{network, servers::host::DEPLOY_USER},
    story::complete,
};
use serde_json::{Value, json};

use super::{
    Try,
    shop::{Prod2, Shop},
};
use crate::{
    harness::Outcome,
    nixos_source::{FORGE_PASSWORD, FORGE_PORT, forge},
};

/// The Secret by which the source is read.
const SECRET: &str = "source";

pub(crate) async fn a_source_is_read_with_the_right_credentials_only(home: &Home) -> Outcome {
    let shop = Shop::open(home).await?;
    let usual = shop.cluster("dev").await?.spec()["source"].clone();
    let told = async {
        with_a_key(&shop).await?;
        with_a_password(&shop).await
    };
    let told: Try<()> = told.await;
    // Absent fields of the usual source are to be absent again.
    let source = json!({"flake": usual["flake"], "ref": "main", "credentialsSecretRef": null});
    shop.patch("clusters", "dev", &json!({"spec": {"source": source}})).await?;
    told?;
    let revision = shop.release(&[]).await?;
    shop.approve().await?;
    complete(home, "prod", &revision).await?;
    Ok(())
}

async fn with_a_key(shop: &Shop<'_>) -> Try<()> {
    let home = shop.home;
    let (host, repository) = (shop.host(Prod2), home.repository());
    let serve = format!(
        "rm -rf /srv/shop; git clone --quiet --bare {} /srv/shop
         git -C /srv/shop config uploadpack.allowAnySHA1InWant true
         chown -R {DEPLOY_USER}: /srv/shop",
        repository.url()
    );
    let revision = shop.commit(&[]).await?;
    host.exec(&serve).await?;
    let known = |key: &str| format!("{} {key}\n", host.address());
    let (right, strange) = (known(host.host_key()), known(home.hosts()[0].host_key()));
    let stranger = home.lab().scratch("stranger")?.join("key");
    let generate = ["-q", "-t", "ed25519", "-N", "", "-f", &stranger.to_string_lossy()];
    home.lab().tool("ssh-keygen", &generate)?;
    let stranger = std::fs::read_to_string(stranger)?;
    let ours = home.lab().deploy_key().private.clone();

    forget(shop).await?;
    let flake = format!("git+ssh://{DEPLOY_USER}@{}/srv/shop", host.address());
    read_from(shop, &flake).await?;
    refused(shop, "SecretNotFound", SECRET).await?;
    let key = |key: &str, known: &str| json!({"ssh-privatekey": key, "known_hosts": known});
    provide(shop, &json!({"ssh-privatekey": ours})).await?;
    refused(shop, "SecretNotFound", "known_hosts").await?;
    provide(shop, &key(&stranger, &right)).await?;
    refused(shop, "SourceDenied", &host.address().to_string()).await?;
    provide(shop, &key(&ours, &strange)).await?;
    refused(shop, "SourceKeyMismatch", &host.address().to_string()).await?;
    provide(shop, &key(&ours, &right)).await?;
    complete(home, "dev", &revision).await?;
    Ok(())
}

async fn with_a_password(shop: &Shop<'_>) -> Try<()> {
    let home = shop.home;
    let forge = forge(home.lab(), &home.lab().scratch("forge")?.join("www")).await?;
    let told = async {
        forget(shop).await?;
        let flake = format!("git+http://{}:{FORGE_PORT}/cgi-bin/git/shop", network::GATEWAY);
        let revision = shop.commit(&[]).await?;
        read_from(shop, &flake).await?;
        let password = |password: &str| json!({"username": "ci", "password": password});
        provide(shop, &password("a guess")).await?;
        refused(shop, "SourceDenied", &network::GATEWAY.to_string()).await?;
        provide(shop, &password(FORGE_PASSWORD)).await?;
        complete(home, "dev", &revision).await?;
        let told = shop.cluster("dev").await?.status().to_string();
        let log = std::fs::read_to_string(home.controller().log())?;
        if told.contains(FORGE_PASSWORD) || log.contains(FORGE_PASSWORD) {
            return Err("the password is told".into());
        }
        Ok(())
    };
    let told: Try<()> = told.await;
    forge.kill().await?;
    told
}

/// Has dev read its flake from there, by the Secret.
async fn read_from(shop: &Shop<'_>, flake: &str) -> Try<()> {
    let source = json!({"flake": flake, "ref": "main", "credentialsSecretRef": {"name": SECRET}});
    shop.patch("clusters", "dev", &json!({"spec": {"source": source}})).await
}

async fn forget(shop: &Shop<'_>) -> Try<()> {
    let namespace = shop.home.estate().namespace;
    let words = ["delete", "secret", SECRET, "--ignore-not-found", "--namespace", namespace];
    shop.home.kubectl().run(&words).await?;
    Ok(())
}

/// Replaces the Secret.
async fn provide(shop: &Shop<'_>, data: &Value) -> Try<()> {
    let namespace = shop.home.estate().namespace;
    forget(shop).await?;
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "stringData": data,
        "metadata": {"name": SECRET, "namespace": namespace}});
    shop.home.kubectl().apply(&secret.to_string()).await?;
    shop.home.reconcile("clusters", "dev").await?;
    Ok(())
}

/// dev says so and why; what it runs goes on.
async fn refused(shop: &Shop<'_>, reason: &str, named: &str) -> Try<()> {
    shop.until(&format!("dev to be refused its source: {reason}"), async || {
        let dev = shop.cluster("dev").await?;
        Ok(match dev.condition("Ready") {
            Some(("False", found, message)) if found == reason && message.contains(named) => Ok(()),
            other => Err(format!("{other:?}")),
        })
    })
    .await
}
