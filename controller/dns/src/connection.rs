//! One TCP connection to a server: signed requests out, checked answers in, each with a deadline.

use std::{
    io,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use hickory_proto::op::{Message, MessageType, OpCode};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    time::timeout,
};

use crate::{
    Error, Limits, Primary, Rcode, ServerAddress, TsigFailure, TsigKey, tsig::Verifier, wire::Reply,
};

/// Transfers come in messages of up to 64 KiB; two of them in one read.
const READ_BUFFER: usize = 128 << 10;

/// A connection. After an error it must be dropped: an answer that comes late would be taken for
/// the answer to the next request.
pub(crate) struct Connection {
    server: ServerAddress,
    key: Option<TsigKey>,
    limits: Limits,
    stream: BufReader<TcpStream>,
}

/// A request as it is sent, and what is needed to check its answers.
pub(crate) struct Sent {
    id: u16,
    op_code: OpCode,
    bytes: Vec<u8>,
    what: &'static str,
    verifier: Option<Verifier>,
}

impl Connection {
    pub(crate) async fn open(primary: &Primary) -> Result<Self, Error> {
        let Primary { address, key, limits } = primary.clone();
        let target = (address.host.as_str(), address.port);
        let stream = timeout(limits.connect, TcpStream::connect(target))
            .await
            .map_err(|_| Error::Timeout {
                server: address.clone(),
                what: "the connection",
                after: limits.connect,
            })?
            .map_err(|source| Error::Connect { server: address.clone(), source })?;
        // One small request, one answer: waiting for more to send only costs time. A socket that
        // refuses the option still works.
        stream.set_nodelay(true).ok();
        Ok(Self {
            server: address,
            key,
            limits,
            stream: BufReader::with_capacity(READ_BUFFER, stream),
        })
    }

    /// Sends a request and waits for its one answer.
    pub(crate) async fn exchange(
        &mut self,
        message: Message,
        what: &'static str,
    ) -> Result<Reply, Error> {
        let mut sent = self.send(message, what).await?;
        self.receive(&mut sent).await
    }

    /// Signs and sends a request.
    pub(crate) async fn send(
        &mut self,
        message: Message,
        what: &'static str,
    ) -> Result<Sent, Error> {
        let sent = self.prepare(message, what)?;
        self.write(&sent).await?;
        Ok(sent)
    }

    /// Signs and encodes a request. Nothing has gone out when this fails.
    pub(crate) fn prepare(&self, mut message: Message, what: &'static str) -> Result<Sent, Error> {
        let verifier = match &self.key {
            Some(key) => Some(sign(&mut message, key, what)?),
            None => None,
        };
        let bytes = encode(&message, what)?;
        let metadata = &message.metadata;
        Ok(Sent { id: metadata.id, op_code: metadata.op_code, bytes, what, verifier })
    }

    /// Sends a request.
    pub(crate) async fn write(&mut self, sent: &Sent) -> Result<(), Error> {
        let write = async {
            self.stream.write_all(&sent.bytes).await?;
            self.stream.flush().await
        };
        match timeout(self.limits.answer, write).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(source)) => Err(self.broken(sent.what, source)),
            Err(_) => Err(self.late(sent.what)),
        }
    }

    /// Waits for the next answer to `sent`, and checks that it is one and who signed it.
    pub(crate) async fn receive(&mut self, sent: &mut Sent) -> Result<Reply, Error> {
        let bytes = match timeout(self.limits.answer, read_message(&mut self.stream)).await {
            Ok(Ok(bytes)) => bytes,
            Ok(Err(source)) => return Err(self.broken(sent.what, source)),
            Err(_) => return Err(self.late(sent.what)),
        };
        let malformed =
            |why: String| Error::Malformed { server: self.server.clone(), what: sent.what, why };
        let reply = Reply::parse(bytes).map_err(malformed)?;
        let header = &reply.header().metadata;
        if header.message_type != MessageType::Response || header.op_code != sent.op_code {
            return Err(malformed("it is no answer to the request".to_owned()));
        }
        if header.id != sent.id {
            return Err(malformed("it answers another request".to_owned()));
        }
        if header.truncation {
            return Err(malformed("it is truncated, although it came by TCP".to_owned()));
        }
        if let (Some(verifier), Some(key)) = (&mut sent.verifier, &self.key) {
            let checked = verifier.verify(&reply, unix_seconds());
            checked.or_else(|failure| explain(&reply, failure)).map_err(|failure| Error::Tsig {
                server: self.server.clone(),
                key: key.name().clone(),
                failure,
            })?;
        }
        Ok(reply)
    }

    pub(crate) fn server(&self) -> &ServerAddress {
        &self.server
    }

    fn broken(&self, what: &'static str, source: io::Error) -> Error {
        Error::Io { server: self.server.clone(), what, source }
    }

    fn late(&self, what: &'static str) -> Error {
        Error::Timeout { server: self.server.clone(), what, after: self.limits.answer }
    }
}

/// Some servers do not sign a refusal (FORMERR, REFUSED before the key is looked at, Knot's NOTAUTH
/// for a zone or a key that it does not have). It carries no data that could be believed, so it
/// passes as the refusal that it is.
fn explain(reply: &Reply, failure: TsigFailure) -> Result<(), TsigFailure> {
    let refused = reply.rcode() != Rcode::NOERROR && reply.answers().is_empty();
    if failure == TsigFailure::Unsigned && refused { Ok(()) } else { Err(failure) }
}

fn sign(message: &mut Message, key: &TsigKey, what: &'static str) -> Result<Verifier, Error> {
    message
        .finalize(key.signer(), unix_seconds())
        .map_err(|error| Error::Encode { what, why: error.to_string() })?;
    let mac = message.signature().map(|record| record.data.mac.clone()).unwrap_or_default();
    Ok(Verifier::new(key.clone(), mac))
}

/// The message behind its length, as it goes over TCP (RFC 1035 section 4.2.2).
fn encode(message: &Message, what: &'static str) -> Result<Vec<u8>, Error> {
    let failed = |why: String| Error::Encode { what, why };
    let bytes = message.to_vec().map_err(|error| failed(error.to_string()))?;
    // Beyond 64 KiB the library cuts the message and sets the truncation flag without an error.
    let truncated = bytes.get(2).is_none_or(|flags| flags & 0x02 != 0);
    match u16::try_from(bytes.len()) {
        Ok(length) if !truncated => Ok([&length.to_be_bytes()[..], &bytes].concat()),
        _ => Err(failed("it is larger than 64 KiB".to_owned())),
    }
}

async fn read_message(stream: &mut BufReader<TcpStream>) -> io::Result<Vec<u8>> {
    let length = stream.read_u16().await?;
    let mut bytes = vec![0; length.into()];
    stream.read_exact(&mut bytes).await?;
    Ok(bytes)
}

/// Seconds since 1970; a clock before that counts as 1970, and TSIG then says how wrong it is.
fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs()
}
