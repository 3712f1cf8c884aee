//! Somebody in the account who answers requests: well, with an error, or not at all.

use std::sync::Arc;

use async_nats::{Client, HeaderMap, Message};
use cim_e2e::home::Home;
use futures::StreamExt;
use tokio::task::JoinSet;

use super::Try;

/// Answered with what was sent, and that it is well.
pub(super) const SERVICE: &str = "qry.checks.health";
/// Heard, and never answered.
pub(super) const SILENT: &str = "qry.checks.silent";
/// Answered with the error of a service.
pub(super) const FAILS: &str = "qry.checks.fails";
/// Answered with what the website of host1 says at that moment.
pub(super) const HEALTH: &str = "qry.host1.health";

/// It answers until it ends.
pub(super) struct Answering(JoinSet<()>);

impl Answering {
    pub(super) async fn begin(home: &Home) -> Try<Self> {
        let client = home.account().await?.client();
        let mut tasks = JoinSet::new();
        let hear = async |subject: &'static str| -> Try<_> {
            let heard = client.subscribe(subject).await?;
            client.flush().await?;
            Ok(heard)
        };
        let (mut well, mut silent, mut fails, mut website) =
            (hear(SERVICE).await?, hear(SILENT).await?, hear(FAILS).await?, hear(HEALTH).await?);
        let to = client.clone();
        tasks.spawn(async move {
            while let Some(request) = well.next().await {
                let said = [&request.payload[..], b" is well"].concat();
                answer(&to, &request, None, said).await;
            }
        });
        tasks.spawn(async move { while silent.next().await.is_some() {} });
        let to = client.clone();
        tasks.spawn(async move {
            while let Some(request) = fails.next().await {
                let mut headers = HeaderMap::new();
                headers.insert("Nats-Service-Error-Code", "500");
                headers.insert("Nats-Service-Error", "no database");
                answer(&to, &request, Some(headers), Vec::new()).await;
            }
        });
        let lab = Arc::clone(home.lab());
        tasks.spawn(async move {
            while let Some(request) = website.next().await {
                let said = async { lab.host(1)?.website().await }.await;
                let said = said.unwrap_or_else(|error| error.to_string());
                answer(&client, &request, None, said.into_bytes()).await;
            }
        });
        Ok(Self(tasks))
    }

    pub(super) fn end(self) {
        drop(self.0);
    }
}

async fn answer(client: &Client, request: &Message, headers: Option<HeaderMap>, said: Vec<u8>) {
    let Some(reply) = request.reply.clone() else { return };
    let headers = headers.unwrap_or_default();
    // Whoever asked is gone if this fails, and has seen that nobody answered.
    drop(client.publish_with_headers(reply, headers, said.into()).await);
}
