//! One question to an authoritative server, as a resolver would ask it.

use std::collections::BTreeSet;

use hickory_proto::{
    op::{Edns, Message, Query},
    rr,
};
use tokio::{net::UdpSocket, time::timeout};

use crate::{
    Error, Name, Primary, Rcode, Rdata, RecordType, RrSet, connection::Connection, wire::Reply,
};

const WHAT: &str = "the query";
/// The largest answer over UDP that is not cut into fragments on its way (DNS flag day 2020).
const UDP_PAYLOAD: u16 = 1232;
/// UDP loses packets: a question is asked so often, each time with half of the wait left.
const ATTEMPTS: u32 = 3;

/// The answer of an authoritative server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The record set.
    Records(RrSet),
    /// The name is an alias of this one.
    Alias(Name),
    /// The name has no records of this type (NODATA).
    NoData,
    /// The name does not exist (NXDOMAIN).
    NoName,
}

impl Primary {
    /// Asks the server for the records of type `kind` at `name`: by UDP, and by TCP where the
    /// answer is too large. An answer that is not authoritative is an error, since a cache may
    /// tell what was true before.
    pub async fn lookup(&self, name: &Name, kind: RecordType) -> Result<Answer, Error> {
        let reply = match self.ask_by_udp(name, kind).await? {
            reply if reply.header().metadata.truncation => {
                Connection::open(self).await?.exchange(question(name, kind), WHAT).await?
            }
            reply => reply,
        };
        self.read(&reply, name, kind)
    }

    async fn ask_by_udp(&self, name: &Name, kind: RecordType) -> Result<Reply, Error> {
        let address = self.address.clone();
        let broken = |source| Error::Io { server: address.clone(), what: WHAT, source };
        let mut wait = self.limits.answer / 2;
        for _ in 0..ATTEMPTS {
            match timeout(wait, self.ask_once(name, kind)).await {
                Ok(reply) => return reply.map_err(broken),
                Err(_) => wait /= 2,
            }
        }
        Err(Error::Timeout { server: address, what: WHAT, after: self.limits.answer })
    }

    /// A fresh socket, and so a fresh port, for each question; connected, so that only the server
    /// can answer. What is not the answer (a late or forged one) is passed over.
    async fn ask_once(&self, name: &Name, kind: RecordType) -> std::io::Result<Reply> {
        let target = (self.address.host.as_str(), self.address.port);
        let server = tokio::net::lookup_host(target).await?.next().ok_or_else(|| {
            std::io::Error::new(std::io::ErrorKind::NotFound, "the host has no address")
        })?;
        let any = if server.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        let socket = UdpSocket::bind(any).await?;
        socket.connect(server).await?;
        let message = question(name, kind);
        socket.send(&message.to_vec().map_err(std::io::Error::other)?).await?;
        let mut buffer = vec![0; usize::from(u16::MAX)];
        loop {
            let length = socket.recv(&mut buffer).await?;
            let Ok(reply) = Reply::parse(buffer[..length].to_vec()) else { continue };
            let asked = reply.question().is_none_or(|asked| *asked == (name.clone(), kind));
            if reply.header().metadata.id == message.metadata.id && asked {
                return Ok(reply);
            }
        }
    }

    fn read(&self, reply: &Reply, name: &Name, kind: RecordType) -> Result<Answer, Error> {
        let rcode = reply.rcode();
        let known = rcode == Rcode::NOERROR || rcode == Rcode::NXDOMAIN;
        if !known || !reply.header().metadata.authoritative {
            return Err(Error::NotAuthoritative {
                server: self.address.clone(),
                name: name.clone(),
            });
        }
        let records = reply.answers().iter().filter(|r| r.name == *name && r.kind == kind);
        let values: BTreeSet<Rdata> = records.clone().map(|r| reply.value(r)).collect();
        if let Some(ttl) = records.map(|r| r.ttl).min() {
            return Ok(Answer::Records(RrSet { ttl, values }));
        }
        let mut at_name = reply.answers().iter().filter(|r| r.name == *name);
        if let Some(alias) = at_name.find(|r| r.kind == RecordType::CNAME)
            && let Rdata::Cname(target) = reply.value(alias)
        {
            return Ok(Answer::Alias(target));
        }
        Ok(if rcode == Rcode::NXDOMAIN { Answer::NoName } else { Answer::NoData })
    }
}

fn question(name: &Name, kind: RecordType) -> Message {
    let mut message = Message::query();
    message.metadata.recursion_desired = false;
    message.add_query(Query::query(name.to_wire(), rr::RecordType::from(kind.0)));
    let mut edns = Edns::new();
    edns.set_max_payload(UDP_PAYLOAD);
    message.set_edns(edns);
    message
}
