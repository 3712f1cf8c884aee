//! Changes as UPDATE messages (RFC 2136).
//!
//! Each change of a record set carries what was observed as a prerequisite: a record that somebody
//! changed since then makes the message fail instead of being overwritten.

use std::ops::Range;

use hickory_proto::{
    op::{Message, OpCode, Query, UpdateMessage},
    rr::{self, DNSClass, Record},
};

use crate::{Change, Edit, Name, RecordType, RrSet, Zone};

/// The largest message that is made of several changes, in bytes. A message has 64 KiB.
const MAX_BYTES: usize = 48 << 10;
/// The largest number of records in the update section of such a message.
const MAX_RECORDS: usize = 500;
/// Type, class, TTL and length of a record on the wire, in bytes.
const RECORD_OVERHEAD: usize = 10;
/// Every type of data that somebody may keep at a name, but CNAME. What a new CNAME must not meet.
const DATA: [u16; 31] = [
    // A NS PTR HINFO MX TXT RP AFSDB AAAA LOC SRV NAPTR KX CERT DNAME APL
    1, 2, 12, 13, 15, 16, 17, 18, 28, 29, 33, 35, 36, 37, 39, 42,
    // DS SSHFP IPSECKEY DHCID TLSA SMIMEA HIP OPENPGPKEY CSYNC SVCB HTTPS SPF EUI48 URI CAA
    43, 44, 45, 49, 52, 53, 55, 61, 62, 64, 65, 99, 108, 256, 257,
];

/// Cuts changes into messages: as many as fit in each, in order. A change is never cut, because a
/// message is applied as a whole.
pub(crate) fn batches(changes: &[Change]) -> Vec<Range<usize>> {
    let mut batches = Vec::new();
    let (mut start, mut bytes, mut records) = (0, 0, 0);
    for (index, change) in changes.iter().enumerate() {
        let size = size(change);
        let full = bytes + size.bytes > MAX_BYTES || records + size.records > MAX_RECORDS;
        if full && index > start {
            batches.push(start..index);
            (start, bytes, records) = (index, 0, 0);
        }
        bytes += size.bytes;
        records += size.records;
    }
    if start < changes.len() {
        batches.push(start..changes.len());
    }
    batches
}

/// One message that makes all of `changes`, or none when a prerequisite of one does not hold.
pub(crate) fn message(zone: &Zone, changes: &[Change]) -> Message {
    let mut message = Message::query();
    message.metadata.op_code = OpCode::Update;
    message.metadata.recursion_desired = false;
    message.add_zone(Query::query(zone.name().to_wire(), rr::RecordType::SOA));
    for change in changes {
        message.add_pre_requisites(prerequisites(change));
        message.add_updates(updates(change));
    }
    message
}

/// What must still be so (RFC 2136 section 2.4).
pub(crate) fn prerequisites(change: &Change) -> Vec<Record> {
    let name = &change.name;
    if change.vacant {
        // "Name is not in use" covers each type at once.
        return vec![bare(name, rr::RecordType::ANY, DNSClass::NONE)];
    }
    let mut records = Vec::new();
    for edit in &change.edits {
        match &edit.before {
            Some(before) => records.extend(values(name, 0, before)),
            None => records.push(absent(name, edit.kind)),
        }
    }
    records.extend(never_met(change).map(|kind| absent(name, kind)));
    records
}

/// Types that must not have appeared at the name since: a server silently ignores what would stand
/// beside a CNAME, and leaves the name without any record.
fn never_met(change: &Change) -> impl Iterator<Item = RecordType> {
    let edited: Vec<RecordType> = change.edits.iter().map(|edit| edit.kind).collect();
    let kinds: &[u16] = if creates_cname(change) {
        &DATA
    } else if change.edits.iter().any(creates) {
        &[RecordType::CNAME.0]
    } else {
        &[]
    };
    kinds.iter().copied().map(RecordType).filter(move |kind| !edited.contains(kind))
}

fn creates(edit: &Edit) -> bool {
    edit.before.is_none() && edit.after.is_some()
}

fn creates_cname(change: &Change) -> bool {
    change.edits.iter().any(|edit| creates(edit) && edit.kind == RecordType::CNAME)
}

/// What is done, removals first (RFC 2136 section 2.5).
pub(crate) fn updates(change: &Change) -> Vec<Record> {
    let set = change.edits.iter().filter_map(|edit| edit.after.as_ref());
    let additions = set.flat_map(|after| values(&change.name, after.ttl, after));
    removals(change).into_iter().chain(additions).collect()
}

fn removals(change: &Change) -> Vec<Record> {
    let remove = |kind: rr::RecordType| bare(&change.name, kind, DNSClass::ANY);
    if change.vacant {
        return Vec::new();
    }
    if creates_cname(change) {
        // In a signed zone the name also has RRSIG and NSEC. Knot counts them as other data, keeps
        // them until it has signed again, and would ignore the CNAME; so the whole name goes. The
        // prerequisites make sure that there is nothing but what we take away.
        return vec![remove(rr::RecordType::ANY)];
    }
    let removed = change.edits.iter().filter(|edit| edit.before.is_some());
    removed.map(|edit| remove(rr::RecordType::from(edit.kind.0))).collect()
}

fn absent(name: &Name, kind: RecordType) -> Record {
    bare(name, rr::RecordType::from(kind.0), DNSClass::NONE)
}

/// A record without value, which says something about a whole record set.
fn bare(name: &Name, kind: rr::RecordType, class: DNSClass) -> Record {
    let mut record = Record::update0(name.to_wire(), 0, kind);
    record.dns_class = class;
    record
}

fn values(name: &Name, ttl: u32, set: &RrSet) -> impl Iterator<Item = Record> {
    let name = name.to_wire();
    let values = set.values.iter().filter_map(crate::Rdata::to_wire);
    values.map(move |value| Record::from_rdata(name.clone(), ttl, value))
}

struct Size {
    bytes: usize,
    records: usize,
}

/// An upper bound of what a change takes in a message: names are counted without compression.
fn size(change: &Change) -> Size {
    let overhead = change.name.wire_len() + RECORD_OVERHEAD;
    let bytes_of = |set: &RrSet| set.values.iter().map(|v| overhead + v.wire_len()).sum::<usize>();
    let absent = match change {
        _ if change.vacant => 1,
        _ if creates_cname(change) => DATA.len(),
        _ => change.edits.len() + 1,
    };
    let mut size = Size { bytes: absent * overhead, records: 0 };
    for Edit { before, after, .. } in &change.edits {
        if let Some(before) = before {
            size.bytes += bytes_of(before) + overhead;
            size.records += 1;
        }
        if let Some(after) = after {
            size.bytes += bytes_of(after);
            size.records += after.values.len();
        }
    }
    size
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Rdata;

    fn change(name: &str, edits: Vec<Edit>, vacant: bool) -> Change {
        Change { name: name.parse().unwrap(), edits, vacant }
    }

    fn texts(count: usize, length: usize) -> RrSet {
        let text = |n| Rdata::txt(&format!("{n:0length$}"));
        RrSet::new(300, (0..count).map(text))
    }

    fn edit(kind: RecordType, before: Option<RrSet>, after: Option<RrSet>) -> Edit {
        Edit { kind, before, after }
    }

    #[test]
    fn batches_keep_order_and_limits_and_lose_nothing() {
        let zone: Zone = "example.com".parse().unwrap();
        let sizes = [(1, 20), (40, 200), (600, 9), (1, 1), (100, 250)];
        let changes: Vec<Change> = (0..400)
            .map(|n| {
                let (count, length) = sizes[n % sizes.len()];
                let (before, after) = (texts(count / 2 + 1, length), texts(count, length));
                let edits = vec![
                    edit(RecordType::TXT, (n % 3 == 0).then_some(before), Some(after)),
                    edit(RecordType::CNAME, None, None),
                ];
                change(&format!("name{n}.example.com"), edits, n % 3 == 1)
            })
            .collect();
        let batches = batches(&changes);
        let covered: Vec<usize> = batches.iter().cloned().flatten().collect();
        assert_eq!(covered, (0..changes.len()).collect::<Vec<_>>());
        for batch in batches {
            let message = message(&zone, &changes[batch.clone()]);
            let (bytes, records) = (message.to_vec().unwrap().len(), message.authorities.len());
            assert!(
                batch.len() == 1 || (bytes <= MAX_BYTES && records <= MAX_RECORDS),
                "{batch:?}"
            );
        }
    }

    #[test]
    fn a_swap_guards_what_it_takes_and_what_would_be_silently_ignored() {
        let cname = RrSet::new(300, [Rdata::Cname("b.example.com".parse().unwrap())]);
        let a = RrSet::new(300, [Rdata::A([10, 0, 0, 1].into())]);
        let swap = change(
            "a.example.com",
            vec![edit(RecordType::A, Some(a), None), edit(RecordType::CNAME, None, Some(cname))],
            false,
        );
        let text = |record: &Record| format!("{} {}", record.dns_class, record.record_type());
        let required: Vec<String> = prerequisites(&swap).iter().map(text).collect();
        assert_eq!(required[..2], ["IN A", "NONE CNAME"]);
        for kind in ["NONE AAAA", "NONE TXT", "NONE SSHFP", "NONE NS"] {
            assert!(required.iter().any(|required| required == kind), "{kind}");
        }
        let done: Vec<String> = updates(&swap).iter().map(text).collect();
        assert_eq!(done, ["ANY ANY", "IN CNAME"]);
    }

    #[test]
    fn a_new_name_needs_one_prerequisite() {
        let a = RrSet::new(300, [Rdata::A([10, 0, 0, 1].into())]);
        let create = change("a.example.com", vec![edit(RecordType::A, None, Some(a))], true);
        assert_eq!(prerequisites(&create).len(), 1);
    }
}
