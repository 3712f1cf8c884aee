//! Looking at a zone: its serial by one query, all of it by transfer.

use std::sync::Arc;

use hickory_proto::rr;

use crate::{
    Error, Observed, Primary, Rcode, RecordType, Zone,
    connection::Connection,
    transfer::{query, transfer},
    wire::Reply,
};

const SERIAL: &str = "the query for the SOA record";

impl Primary {
    /// The zone as it is now, all of it.
    ///
    /// With `known`, the result of an earlier call, the server is first asked for the zone's
    /// serial, and `known` is returned when that is the same: one small query for a zone in which
    /// nothing has happened. A server raises the serial with every update; call without `known` at
    /// times nevertheless, for a zone file that somebody edited without raising it.
    ///
    /// One connection; every wait has its bound in [`Limits`](crate::Limits).
    pub async fn observe(
        &self,
        zone: &Zone,
        known: Option<Arc<Observed>>,
    ) -> Result<Arc<Observed>, Error> {
        let mut connection = Connection::open(self).await?;
        if let Some(known) = known.filter(|known| known.zone() == zone)
            && serial(&mut connection, zone).await? == known.serial()
        {
            return Ok(known);
        }
        transfer(&mut connection, zone, &self.limits).await.map(Arc::new)
    }

    /// The serial of the zone (RFC 1035 section 3.3.13), by one query.
    pub async fn serial(&self, zone: &Zone) -> Result<u32, Error> {
        serial(&mut Connection::open(self).await?, zone).await
    }
}

async fn serial(connection: &mut Connection, zone: &Zone) -> Result<u32, Error> {
    let reply = connection.exchange(query(zone, rr::RecordType::SOA), SERIAL).await?;
    connection.check_rcode(&reply, zone, SERIAL)?;
    let soa = |reply: &Reply| {
        let mut answers = reply.answers().iter();
        let at_apex = answers.find(|r| r.kind == RecordType::SOA && r.name == *zone.name())?;
        reply.serial(at_apex)
    };
    match soa(&reply) {
        Some(serial) if reply.header().metadata.authoritative => Ok(serial),
        _ => Err(Error::NotAuthoritative {
            server: connection.server().clone(),
            name: zone.name().clone(),
        }),
    }
}

impl Connection {
    /// Turns a refusal of the whole request into the error that says what to do.
    pub(crate) fn check_rcode(
        &self,
        reply: &Reply,
        zone: &Zone,
        what: &'static str,
    ) -> Result<(), Error> {
        let (server, zone, rcode) = (self.server().clone(), zone.clone(), reply.rcode());
        match rcode {
            Rcode::NOERROR => Ok(()),
            Rcode::NOTAUTH => {
                let hint = "; is the zone configured and loaded there, and has the server our \
                            key by this name and algorithm?";
                Err(Error::Refused { server, what, zone, rcode, hint })
            }
            Rcode::REFUSED => {
                let hint = "; does it serve the zone, and may this key or address do that there \
                            (Knot: acl, BIND: allow-transfer, update-policy)?";
                Err(Error::Refused { server, what, zone, rcode, hint })
            }
            _ => Err(Error::Refused { server, what, zone, rcode, hint: "" }),
        }
    }
}
