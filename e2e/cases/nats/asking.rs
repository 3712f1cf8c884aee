//! A request as a check makes it: what became of it, and what its user may do.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use cim_e2e::lab::{Lab, http_get, wait_until};
use cim_nats::{Answer, Asker, Subject, keys::AccountSeed};
use futures::{StreamExt, future::join};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::{Result, SOON, Scene, connect};
use crate::harness::Outcome;

const ASKED: &str = "qry.asked";
const SILENT: &str = "qry.silent";
const NOBODY: &str = "qry.nobody";
const LONG: Duration = Duration::from_secs(10);
const SHORT: Duration = Duration::from_secs(3);

pub(crate) async fn a_request_tells_nobody_from_silence_and_may_do_nothing_else(
    lab: &Lab,
) -> Outcome {
    let scene = Scene::pushed(lab, "asking").await?;
    let (owner, _events) = connect(lab, &scene.control()?).await?;
    let mut heard = owner.subscribe(ASKED).await?;
    let _silent = owner.subscribe(SILENT).await?;
    owner.flush().await?;
    let mut answering = JoinSet::new();
    answering.spawn(async move {
        while let Some(request) = heard.next().await {
            if let Some(reply) = request.reply {
                drop(owner.publish(reply, request.payload).await);
            }
        }
    });
    let servers = lab.nats()?.urls();
    let (account, signing) = (scene.key(), scene.keys.signing().clone());
    let asker = Asker { servers: servers.clone(), account: account.clone(), signing };
    let ask = async |subject: &str, within| -> Result<Answer> {
        let subject: Subject = subject.parse()?;
        Ok(asker.ask(&subject, "hello".into(), within).await?)
    };
    // Servers tell each other a moment later who listens.
    let reply = wait_until("a reply", SOON, async || match ask(ASKED, LONG).await {
        Ok(Answer::Reply(reply)) => Ok(reply),
        Ok(other) => Err(format!("{other:?}")),
        Err(error) => Err(error.to_string()),
    });
    assert_eq!(&reply.await?.payload[..], b"hello");
    assert_eq!(ask(NOBODY, LONG).await?, Answer::NoResponders);
    let (silence, user) = join(ask(SILENT, SHORT), user_of_a_check(lab)).await;
    assert_eq!(silence?, Answer::Silence);
    let user = user?;
    let rights = &user["nats"];
    assert_eq!(rights["pub"], json!({"allow": [SILENT]}), "{user}");
    let inbox = format!("_INBOX.{}.>", user["sub"].as_str().unwrap_or_default());
    assert_eq!(rights["sub"], json!({"allow": [inbox]}), "{user}");
    assert_eq!(rights["resp"], Value::Null, "{user}");
    let life = user["exp"].as_i64().zip(user["iat"].as_i64()).map(|(exp, iat)| exp - iat);
    assert!(life.is_some_and(|seconds| seconds <= 120), "{user}");

    // Signed by a key that the account does not have, as while its Domain has not pushed it.
    let signing = AccountSeed::generate()?;
    let stranger = Asker { servers, account, signing };
    let refused = stranger.ask(&ASKED.parse()?, "hello".into(), LONG).await;
    let said = refused.err().ok_or("it was admitted")?.to_string();
    assert!(said.contains("authorization violation"), "{said}");
    drop(answering);
    scene.remove().await
}

/// The claims of the user of a check that is connected now, as its server shows them.
async fn user_of_a_check(lab: &Lab) -> Result<Value> {
    loop {
        for server in lab.nats()?.servers() {
            let (_, text) = http_get(server.monitor(), "/connz?auth=1").await?;
            let connections: Value = serde_json::from_str(&text)?;
            let connections = connections["connections"].as_array().cloned().unwrap_or_default();
            // Of other cases none has its user while this one waits: one runs after the other.
            let found = connections.iter().find(|it| it["name"] == "cim-check");
            if let Some(token) = found.and_then(|it| it["jwt"].as_str()) {
                let claims = token.split('.').nth(1).ok_or("no token")?;
                return Ok(serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims)?)?);
            }
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
