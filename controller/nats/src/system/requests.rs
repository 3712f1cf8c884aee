//! The requests themselves (nats-server `server/events.go`, `server/accounts.go`).

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use bytes::Bytes;
use serde::de::DeserializeOwned;

use super::connect::SystemClient;
use super::reply::{Ack, Changed, Envelope, Lookup, Server, Varz};
use crate::error::{Error, Result};
use crate::jwt::{AccountBody, DeleteBody, Token};
use crate::keys::AccountKey;

impl SystemClient {
    /// All servers that can be reached from the one connected to, by name.
    pub async fn servers(&self) -> Result<Vec<Server>> {
        let subject = "$SYS.REQ.SERVER.PING.VARZ";
        let replies = self.survey((subject.into(), Bytes::new())).await?;
        if replies.is_empty() {
            return Err(self.unreachable("no server answered on the system account"));
        }
        let mut servers: Vec<Server> = replies
            .iter()
            .map(|reply| self.parse::<Envelope<Varz>>(subject, reply))
            .filter_map(|reply| reply.map(Server::of).transpose())
            .collect::<Result<_>>()?;
        servers.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(servers)
    }

    /// The accounts that each server's resolver holds, by the server's id. `servers` is the number
    /// of replies to wait for.
    pub async fn accounts(&self, servers: usize) -> Result<BTreeMap<String, BTreeSet<AccountKey>>> {
        let subject = "$SYS.REQ.CLAIMS.LIST";
        let replies = self.gather_one((subject.into(), Bytes::new()), servers).await?;
        replies
            .iter()
            .map(|reply| {
                let reply: Envelope<Vec<AccountKey>> = self.parse(subject, reply)?;
                Ok((reply.server.id, reply.data.into_iter().flatten().collect()))
            })
            .collect()
    }

    /// What the servers have for each of `accounts`: up to `servers` answers in no order. Fewer
    /// means that a server kept silent until the deadline.
    pub async fn lookup(
        &self,
        accounts: &[AccountKey],
        servers: usize,
    ) -> Result<BTreeMap<AccountKey, Vec<Lookup>>> {
        let requests = accounts
            .iter()
            .map(|account| (format!("$SYS.REQ.ACCOUNT.{account}.CLAIMS.LOOKUP"), Bytes::new()))
            .collect();
        let replies = self.gather(requests, servers).await?;
        Ok(accounts
            .iter()
            .cloned()
            .zip(replies.iter().map(|replies| replies.iter().map(|r| Lookup::of(r)).collect()))
            .collect())
    }

    /// Stores account JWTs on all servers; for each, in order, up to `servers` answers.
    ///
    /// A server stores whatever an operator has signed, be it older than what it has, or by an
    /// operator whom it does not trust: check [`Server::trusts`] first.
    pub async fn push(
        &self,
        tokens: &[Token<AccountBody>],
        servers: usize,
    ) -> Result<Vec<Vec<Ack>>> {
        let subject = "$SYS.REQ.CLAIMS.UPDATE";
        let requests = tokens
            .iter()
            .map(|token| (subject.to_owned(), Bytes::copy_from_slice(token.as_str().as_bytes())))
            .collect();
        let replies = self.gather(requests, servers).await?;
        replies.iter().map(|replies| self.acks(subject, replies)).collect()
    }

    /// Deletes accounts from all servers' resolvers.
    ///
    /// A server that is down keeps them, and brings them back when it returns: have all of them hold
    /// a later JWT that admits nobody first.
    pub async fn delete(&self, delete: &Token<DeleteBody>, servers: usize) -> Result<Vec<Ack>> {
        let subject = "$SYS.REQ.CLAIMS.DELETE";
        let body = Bytes::copy_from_slice(delete.as_str().as_bytes());
        let replies = self.gather_one((subject.into(), body), servers).await?;
        self.acks(subject, &replies)
    }

    /// Removes all streams and consumers of an account, with their data. Without JetStream on any
    /// server there are none, and nothing happens.
    pub async fn purge_jetstream(&self, account: &AccountKey) -> Result<()> {
        let subject = format!("$JS.API.ACCOUNT.PURGE.{account}");
        // In a cluster only the leader answers.
        let replies = self.gather_one((subject.clone(), Bytes::new()), 1).await?;
        let Some(reply) = replies.first() else { return Ok(()) };
        let reply: serde_json::Value = self.parse(&subject, reply)?;
        if reply["initiated"] == true {
            return Ok(());
        }
        Err(self.unexpected(&subject, reply["error"]["description"].to_string()))
    }

    fn acks(&self, subject: &str, replies: &[Bytes]) -> Result<Vec<Ack>> {
        replies
            .iter()
            .map(|reply| {
                let reply: Envelope<Changed> = self.parse(subject, reply)?;
                let outcome = match (reply.data, reply.error) {
                    (_, Some(error)) => Err(error.description),
                    (Some(Changed { code: 200, .. }), None) => Ok(()),
                    (Some(Changed { code, message }), None) => Err(format!("{code} {message}")),
                    (None, None) => Err("neither data nor error in the reply".into()),
                };
                Ok(Ack { server: reply.server.name, outcome })
            })
            .collect()
    }

    fn parse<T: DeserializeOwned>(&self, subject: &str, reply: &[u8]) -> Result<T> {
        serde_json::from_slice(reply)
            .map_err(|error| self.unexpected(subject, format!("unexpected reply: {error}")))
    }

    fn unexpected(&self, subject: &str, why: String) -> Error {
        Error::Request { subject: subject.into(), why, waited: self.deadlines.request }
    }
}
