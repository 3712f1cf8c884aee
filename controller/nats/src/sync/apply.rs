//! Executes a plan.

use std::collections::{BTreeMap, BTreeSet};

use cim_plan::Plan;

use super::change::Change;
use super::plan::tombstone;
use crate::error::{Error, Result};
use crate::jwt::{AccountBody, Claims, DeleteBody, Token};
use crate::keys::{AccountKey, OperatorSeed};
use crate::system::{Ack, Server, SystemClient};
use crate::time::UnixTime;

/// What the servers answered. Whether it holds is said by the next observation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// When each account was issued; to be remembered as [`super::Desired::issued`].
    pub issued: BTreeMap<AccountKey, UnixTime>,
    /// Changes that not every server confirmed.
    pub failures: Vec<Failure>,
}

/// A change that not every server confirmed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The account.
    pub account: AccountKey,
    /// Its name.
    pub name: String,
    /// Which server said what, or that it said nothing.
    pub why: String,
}

/// Executes `plan` on `servers`, those that were observed; `signer` must be the key that the plan was
/// made for.
///
/// A failure stops what remains of the same account and nothing else. `Err`: the connection failed,
/// and it is not known how much was done; observe again.
pub async fn apply(
    client: &SystemClient,
    signer: &OperatorSeed,
    servers: &[Server],
    plan: &Plan<Change>,
) -> Result<Applied> {
    let mut run = Run { client, signer, servers, applied: Applied::default() };
    let (pushes, rest): (Vec<_>, Vec<_>) =
        plan.changes.iter().partition(|change| matches!(change, Change::PushAccount { .. }));
    run.push_all(&pushes).await?;
    for change in rest {
        if !run.failed(change.account()) {
            run.one(change).await?;
        }
    }
    Ok(run.applied)
}

struct Run<'a> {
    client: &'a SystemClient,
    signer: &'a OperatorSeed,
    servers: &'a [Server],
    applied: Applied,
}

impl Run<'_> {
    async fn push_all(&mut self, changes: &[&Change]) -> Result<()> {
        let (mut sent, mut tokens) = (Vec::new(), Vec::new());
        for change in changes {
            let Change::PushAccount { claims, iat, .. } = change else { continue };
            match self.sign(claims, *iat) {
                Ok(token) => {
                    sent.push((*change, *iat));
                    tokens.push(token);
                }
                Err(error) => self.fail(change, error.to_string()),
            }
        }
        let acks = self.client.push(&tokens, self.servers.len()).await?;
        for ((change, iat), acks) in sent.into_iter().zip(acks) {
            self.applied.issued.insert(change.account().clone(), iat);
            self.judge(change, &acks);
        }
        Ok(())
    }

    async fn one(&mut self, change: &Change) -> Result<()> {
        match change {
            Change::PushAccount { .. } => self.push_all(&[change]).await,
            Change::Tombstone { account, name, iat } => {
                let token = self.sign(&tombstone(account, name), *iat)?;
                let acks = self.client.push(&[token], self.servers.len()).await?;
                self.applied.issued.insert(account.clone(), *iat);
                self.judge(change, &acks.concat());
                Ok(())
            }
            Change::PurgeJetStream { account, .. } => {
                if let Err(error) = self.client.purge_jetstream(account).await {
                    self.fail(change, error.to_string());
                }
                Ok(())
            }
            Change::DeleteAccount { account, .. } => {
                let body = DeleteBody { accounts: vec![account.clone()] };
                let claims = Claims::new("", self.signer.public(), body);
                // Servers look at the signature alone.
                let token = Token::sign(claims, UnixTime(1), self.signer)?;
                let acks = self.client.delete(&token, self.servers.len()).await?;
                self.judge(change, &acks);
                Ok(())
            }
        }
    }

    fn sign(&self, claims: &Claims<AccountBody>, iat: UnixTime) -> Result<Token<AccountBody>> {
        let token = Token::sign(claims.clone(), iat, self.signer)?;
        let length = token.as_str().len();
        match self.servers.iter().find(|server| length > server.max_payload) {
            None => Ok(token),
            Some(Server { name, max_payload, .. }) => {
                let why = format!(
                    "its JWT has {length} bytes, server {name} takes at most {max_payload} \
                     (max_payload); replace single revocations by one of \"*\", or raise max_payload"
                );
                Err(Error::Desired { field: format!("account {}", claims.name), why })
            }
        }
    }

    /// Every server that was there must have said yes.
    fn judge(&mut self, change: &Change, acks: &[Ack]) {
        let refusals = acks.iter().filter_map(|ack| {
            ack.outcome.as_ref().err().map(|why| format!("{}: {why}", ack.server))
        });
        let answered: BTreeSet<_> = acks.iter().map(|ack| ack.server.as_str()).collect();
        let silent = self
            .servers
            .iter()
            .filter(|server| !answered.contains(server.name.as_str()))
            .map(|server| format!("{}: no answer", server.name));
        let why: Vec<_> = refusals.chain(silent).collect();
        if !why.is_empty() {
            self.fail(change, why.join("; "));
        }
    }

    fn fail(&mut self, change: &Change, why: String) {
        let (account, name) = (change.account().clone(), change.name().to_owned());
        self.applied.failures.push(Failure { account, name, why });
    }

    fn failed(&self, account: &AccountKey) -> bool {
        self.applied.failures.iter().any(|failure| failure.account == *account)
    }
}
