//! Reading answers: the frame of a message and its records, one by one.
//!
//! The library decodes whole messages and fails as a whole; here a record that it cannot decode is
//! kept as opaque bytes, so that somebody else's odd record does not stop a zone.

use std::ops::Range;

use data_encoding::HEXLOWER;
use hickory_proto::{
    op::Header,
    rr::{self, RData, rdata::tsig::TSIG},
    serialize::binary::{BinDecodable, BinDecoder, DecodeError, Restrict},
};

use crate::{Name, Rcode, Rdata, RecordType};

/// Where the count of additional records stands in the header.
const ARCOUNT: Range<usize> = 10..12;
const TYPE_TSIG: u16 = 250;
const CLASS_ANY: u16 = 255;

/// One answer of a server, taken apart into records.
pub(crate) struct Reply {
    bytes: Vec<u8>,
    header: Header,
    question: Option<(Name, RecordType)>,
    answers: Vec<RawRecord>,
    signature: Option<Signature>,
}

/// A record within a [`Reply`], its value still on the wire.
#[derive(Clone)]
pub(crate) struct RawRecord {
    pub(crate) name: Name,
    pub(crate) kind: RecordType,
    pub(crate) class: u16,
    pub(crate) ttl: u32,
    value: Range<usize>,
}

/// The TSIG record at the end of a message.
pub(crate) struct Signature {
    pub(crate) key: Name,
    pub(crate) tsig: TSIG,
    start: usize,
}

impl Reply {
    /// Takes a message apart. The reason of an error is for people.
    pub(crate) fn parse(bytes: Vec<u8>) -> Result<Self, String> {
        let mut decoder = BinDecoder::new(&bytes);
        let header = Header::read(&mut decoder).map_err(|e| e.to_string())?;
        let mut question = None;
        for _ in 0..header.counts.queries {
            question = Some(read_question(&mut decoder)?);
        }
        let mut answers = Vec::with_capacity(header.counts.answers.into());
        for _ in 0..header.counts.answers {
            answers.push(read_record(&mut decoder)?);
        }
        let rest = u32::from(header.counts.authorities) + u32::from(header.counts.additionals);
        let mut signature = None;
        for index in 1..=rest {
            let start = decoder.index();
            let record = read_record(&mut decoder)?;
            if record.kind.0 == TYPE_TSIG {
                if index != rest {
                    return Err("a TSIG record is not the last one".to_owned());
                }
                signature = Some(read_signature(&bytes, start, record)?);
            }
        }
        if !decoder.is_empty() {
            return Err(format!("{} bytes behind its end", decoder.len()));
        }
        Ok(Self { bytes, header, question, answers, signature })
    }

    pub(crate) fn header(&self) -> &Header {
        &self.header
    }

    pub(crate) fn rcode(&self) -> Rcode {
        Rcode(self.header.metadata.response_code.into())
    }

    pub(crate) fn question(&self) -> Option<&(Name, RecordType)> {
        self.question.as_ref()
    }

    pub(crate) fn answers(&self) -> &[RawRecord] {
        &self.answers
    }

    pub(crate) fn signature(&self) -> Option<&Signature> {
        self.signature.as_ref()
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The message as it was before it was signed (RFC 8945 section 4.3.1): with the id of the
    /// request, without the TSIG record. `None` when there is no signature.
    pub(crate) fn bytes_without_signature(&self, id: u16) -> Option<Vec<u8>> {
        let mut bytes = self.bytes[..self.signature.as_ref()?.start].to_vec();
        bytes[..2].copy_from_slice(&id.to_be_bytes());
        let count = self.header.counts.additionals.checked_sub(1)?;
        bytes[ARCOUNT].copy_from_slice(&count.to_be_bytes());
        Some(bytes)
    }

    /// The value of a record of this message; opaque where the library cannot decode it.
    pub(crate) fn value(&self, record: &RawRecord) -> Rdata {
        let opaque = || Rdata::Opaque { kind: record.kind, text: self.generic(record) };
        match self.decode(record) {
            Ok(RData::Unknown { .. } | RData::NULL(_)) | Err(_) => opaque(),
            Ok(data) => Rdata::from_wire(&data).unwrap_or_else(|_| opaque()),
        }
    }

    /// The serial of an SOA record of this message.
    pub(crate) fn serial(&self, record: &RawRecord) -> Option<u32> {
        match self.decode(record) {
            Ok(RData::SOA(soa)) => Some(soa.serial),
            _ => None,
        }
    }

    fn decode(&self, record: &RawRecord) -> Result<RData, DecodeError> {
        // Names within a value may point back to anywhere in the message, so the decoder stands
        // in the whole message. A message is at most 64 KiB, so the conversions hold.
        let start = u16::try_from(record.value.start).unwrap_or(u16::MAX);
        let length = u16::try_from(record.value.len()).unwrap_or(u16::MAX);
        let mut decoder = BinDecoder::new(&self.bytes).clone(start);
        RData::read(&mut decoder, rr::RecordType::from(record.kind.0), Restrict::new(length))
    }

    /// The presentation format of a value of any type (RFC 3597 section 5).
    fn generic(&self, record: &RawRecord) -> String {
        let value = &self.bytes[record.value.clone()];
        format!("\\# {} {}", value.len(), HEXLOWER.encode(value)).trim_end().to_owned()
    }
}

fn read_name(decoder: &mut BinDecoder<'_>) -> Result<Name, String> {
    let name = rr::Name::read(decoder).map_err(|e| e.to_string())?;
    Name::from_wire(&name).map_err(|why| format!("a name in it is wrong: {why}"))
}

fn read_question(decoder: &mut BinDecoder<'_>) -> Result<(Name, RecordType), String> {
    let name = read_name(decoder)?;
    let kind = RecordType(read_u16(decoder)?);
    read_u16(decoder)?;
    Ok((name, kind))
}

fn read_record(decoder: &mut BinDecoder<'_>) -> Result<RawRecord, String> {
    let name = read_name(decoder)?;
    let kind = RecordType(read_u16(decoder)?);
    let class = read_u16(decoder)?;
    let ttl = decoder.read_u32().map_err(|e| e.to_string())?.unverified();
    let length = usize::from(read_u16(decoder)?);
    let start = decoder.index();
    decoder.read_slice(length).map_err(|e| e.to_string())?;
    Ok(RawRecord { name, kind, class, ttl, value: start..start + length })
}

fn read_u16(decoder: &mut BinDecoder<'_>) -> Result<u16, String> {
    Ok(decoder.read_u16().map_err(|e| e.to_string())?.unverified())
}

fn read_signature(bytes: &[u8], start: usize, record: RawRecord) -> Result<Signature, String> {
    let at = u16::try_from(record.value.start).map_err(|e| e.to_string())?;
    let length = u16::try_from(record.value.len()).map_err(|e| e.to_string())?;
    let mut decoder = BinDecoder::new(bytes).clone(at);
    match RData::read(&mut decoder, rr::RecordType::TSIG, Restrict::new(length)) {
        // RFC 8945 section 4.2 fixes both, and the MAC covers only what they should be.
        Ok(RData::TSIG(tsig)) if record.class == CLASS_ANY && record.ttl == 0 => {
            Ok(Signature { key: record.name, tsig, start })
        }
        Ok(_) => Err("its TSIG record is wrong".to_owned()),
        Err(error) => Err(format!("its TSIG record is wrong: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A message with one record of type `kind` and the given value, written by hand.
    fn message(kind: u16, value: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0, 7, 0x84, 0, 0, 0, 0, 1, 0, 0, 0, 0];
        bytes.extend(b"\x01a\x00");
        bytes.extend(kind.to_be_bytes());
        bytes.extend([0, 1, 0, 0, 1, 44]);
        bytes.extend(u16::try_from(value.len()).unwrap().to_be_bytes());
        bytes.extend(value);
        bytes
    }

    fn only_value(kind: u16, value: &[u8]) -> Rdata {
        let reply = Reply::parse(message(kind, value)).unwrap();
        reply.value(&reply.answers()[0])
    }

    #[test]
    fn known_types_are_typed_and_others_kept_as_bytes() {
        assert_eq!(only_value(1, &[10, 0, 0, 1]).to_string(), "10.0.0.1");
        assert_eq!(only_value(65_280, &[1, 0xab]).to_string(), "\\# 2 01ab");
        assert_eq!(only_value(42, &[]).to_string(), "\\# 0");
        // A CAA record which the library refuses to decode: its flags without a tag.
        assert_eq!(only_value(257, &[0]).to_string(), "\\# 1 00");
        // An OPT record, which the library decodes and cannot print.
        assert_eq!(only_value(41, &[]).to_string(), "\\# 0");
        // A value of the wrong length for its type.
        assert_eq!(only_value(1, &[10, 0, 0]).to_string(), "\\# 3 0a0000");
    }

    #[test]
    fn a_cut_message_is_an_error() {
        let whole = message(1, &[10, 0, 0, 1]);
        for end in 0..whole.len() {
            assert!(Reply::parse(whole[..end].to_vec()).is_err(), "cut at {end}");
        }
        assert!(Reply::parse([whole, vec![0]].concat()).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(reply) = Reply::parse(bytes) {
                reply.answers().iter().for_each(|record| { reply.value(record); });
            }
        }

        #[test]
        fn any_value_of_any_type_is_read_without_panic(kind in 0_u16..300, value in prop::collection::vec(any::<u8>(), 0..64)) {
            only_value(kind, &value);
        }
    }
}
