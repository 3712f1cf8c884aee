//! Zone transfer (AXFR, RFC 5936): complete, or an error.
//!
//! The library's own transfer loses records silently when messages come faster than they are
//! taken, so the messages are read and put together here. A zone that lacks records looks like a
//! zone from which they were deleted; therefore there is no partial result.

use std::collections::BTreeMap;

use hickory_proto::{
    op::{Message, Query},
    rr,
};
use tokio::time::{Instant, timeout_at};

use crate::{
    Error, Limits, Observed, RecordKey, RecordType, RrSet, Zone,
    connection::{Connection, Sent},
    wire::{RawRecord, Reply},
};

const WHAT: &str = "the zone transfer";
/// The class of the Internet.
const CLASS_IN: u16 = 1;

/// Reads the whole zone.
pub(crate) async fn transfer(
    connection: &mut Connection,
    zone: &Zone,
    limits: &Limits,
) -> Result<Observed, Error> {
    let deadline = Instant::now() + limits.transfer;
    let mut sent = connection.send(query(zone, rr::RecordType::AXFR), WHAT).await?;
    let mut assembly = Assembly::new(zone.clone(), *limits);
    let whole = read_to_the_end(connection, &mut sent, &mut assembly);
    let result = match timeout_at(deadline, whole).await {
        Ok(result) => result,
        Err(_) => Err(Fault::Incomplete(format!(
            "it was not finished within {} s",
            limits.transfer.as_secs()
        ))),
    };
    let server = connection.server().clone();
    match result {
        Ok(()) => Ok(assembly.into_observed()),
        Err(Fault::Failed(error)) => Err(error),
        Err(Fault::Incomplete(why)) => {
            Err(Error::Incomplete { server, zone: zone.clone(), records: assembly.records, why })
        }
    }
}

/// A query for records of the apex.
pub(crate) fn query(zone: &Zone, kind: rr::RecordType) -> Message {
    let mut message = Message::query();
    message.metadata.recursion_desired = false;
    message.add_query(Query::query(zone.name().to_wire(), kind));
    message
}

enum Fault {
    /// The server or the connection said no.
    Failed(Error),
    /// What came was no whole zone.
    Incomplete(String),
}

async fn read_to_the_end(
    connection: &mut Connection,
    sent: &mut Sent,
    assembly: &mut Assembly,
) -> Result<(), Fault> {
    loop {
        let reply = connection.receive(sent).await.map_err(|error| assembly.broken(error))?;
        if assembly.records == 0 {
            connection.check_rcode(&reply, &assembly.zone, WHAT).map_err(Fault::Failed)?;
        }
        if assembly.take(&reply).map_err(Fault::Incomplete)? {
            return Ok(());
        }
    }
}

/// What has arrived of a zone so far.
struct Assembly {
    zone: Zone,
    limits: Limits,
    sets: BTreeMap<RecordKey, RrSet>,
    /// The serial of the first record, which the last one must repeat.
    serial: Option<u32>,
    records: usize,
    bytes: usize,
}

impl Assembly {
    fn new(zone: Zone, limits: Limits) -> Self {
        Self { zone, limits, sets: BTreeMap::new(), serial: None, records: 0, bytes: 0 }
    }

    /// An error in the middle of a transfer tells how far it came; before the first record it is
    /// told as it is.
    fn broken(&self, error: Error) -> Fault {
        match error {
            Error::Tsig { .. } => Fault::Failed(error),
            _ if self.records == 0 => Fault::Failed(error),
            _ => Fault::Incomplete(error.to_string()),
        }
    }

    /// Takes one message; true when it was the last.
    fn take(&mut self, reply: &Reply) -> Result<bool, String> {
        if reply.rcode() != crate::Rcode::NOERROR {
            return Err(format!("the server gave up with {}", reply.rcode()));
        }
        if let Some((name, kind)) = reply.question()
            && (name != self.zone.name() || *kind != RecordType(rr::RecordType::AXFR.into()))
        {
            return Err(format!("an answer is about {name} {kind}"));
        }
        self.bytes += reply.bytes().len();
        if self.bytes > self.limits.max_bytes {
            return Err(format!("it is larger than {} bytes", self.limits.max_bytes));
        }
        if reply.answers().is_empty() {
            return Err("a message has no records".to_owned());
        }
        let mut ended = false;
        for record in reply.answers() {
            if ended {
                return Err("records come after its end".to_owned());
            }
            ended = self.take_record(reply, record)?;
        }
        Ok(ended)
    }

    /// Takes one record; true when it was the closing SOA.
    fn take_record(&mut self, reply: &Reply, record: &RawRecord) -> Result<bool, String> {
        if record.class != CLASS_IN || !self.zone.contains(&record.name) {
            return Err(format!("{} is not of this zone", record.name));
        }
        if record.kind == RecordType::SOA {
            let at_apex = record.name == *self.zone.name();
            let serial =
                reply.serial(record).filter(|_| at_apex).ok_or("an SOA record is wrong")?;
            match self.serial {
                Some(first) if first == serial => return Ok(true),
                Some(first) => {
                    return Err(format!("it begins with serial {first} and ends with {serial}"));
                }
                None => self.serial = Some(serial),
            }
        }
        if self.serial.is_none() {
            return Err("it does not begin with an SOA record".to_owned());
        }
        self.records += 1;
        if self.records > self.limits.max_records {
            return Err(format!("it has more than {} records", self.limits.max_records));
        }
        let key = RecordKey::new(record.name.clone(), record.kind);
        let value = reply.value(record);
        // Where a server gives the records of one set different TTLs, RFC 2181 section 5.2 has the
        // lowest one hold.
        let set = self.sets.entry(key).or_insert_with(|| RrSet::new(record.ttl, []));
        set.ttl = set.ttl.min(record.ttl);
        set.values.insert(value);
        Ok(false)
    }

    fn into_observed(self) -> Observed {
        // Only a finished assembly comes here, and that has a serial.
        Observed::new(self.zone, self.serial.unwrap_or_default(), self.sets)
    }
}
