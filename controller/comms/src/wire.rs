//! Envelope to headers and body, and back.
//!
//! Routers read headers only; the body repeats what must outlive them. When both are there they must
//! agree.

use async_nats::{HeaderMap, HeaderValue};
use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    About, Claim, CorrelationId, Envelope, Error, Kind, MessageId, Payload, Stamp, Subject, Token,
};

/// Names of headers.
pub mod header {
    /// The message's id; JetStream drops a second message with the same one.
    pub const ID: &str = "Nats-Msg-Id";
    /// The transaction.
    pub const CORRELATION: &str = "CIM-Correlation-Id";
    /// The cause.
    pub const CAUSATION: &str = "CIM-Causation-Id";
    /// The type of the content.
    pub const TYPE: &str = "CIM-Event-Type";
    /// The version of that type.
    pub const SCHEMA: &str = "CIM-Schema-Version";
    /// When the message was made, RFC 3339.
    pub const TIME: &str = "CIM-Timestamp";
    /// The service that sent it.
    pub const SOURCE: &str = "CIM-Source";
    /// Who owns what it says.
    pub const OWNER: &str = "CIM-Owner";
    /// The kind of aggregate.
    pub const AGGREGATE_TYPE: &str = "CIM-Aggregate-Type";
    /// Which aggregate.
    pub const AGGREGATE_ID: &str = "CIM-Aggregate-Id";
    /// The media type of the content.
    pub const CONTENT_TYPE: &str = "CIM-Content-Type";
    /// The object that the content is, when it is not in the body.
    pub const CONTENT_CID: &str = "CIM-Content-Cid";
}

/// The only media type of content that this crate writes.
const JSON: &str = "application/json";

/// A message as NATS carries it.
#[derive(Clone, Debug)]
pub struct Wire {
    /// Where it goes.
    pub subject: Subject,
    /// What routers read.
    pub headers: HeaderMap,
    /// JSON.
    pub body: Bytes,
}

/// The content of a message: there, or in an object store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Content {
    /// In an object store.
    Claim(Claim),
    /// In the body.
    Inline(Inline),
}

/// Content in the body, under the name of its kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Inline {
    /// Of a command.
    Command(Value),
    /// Of a query.
    Query(Value),
    /// Of an event.
    Event(Value),
}

impl Inline {
    fn of(kind: Kind, value: Value) -> Self {
        match kind {
            Kind::Command => Self::Command(value),
            Kind::Query => Self::Query(value),
            Kind::Event => Self::Event(value),
        }
    }

    fn into_parts(self) -> (Kind, Value) {
        match self {
            Self::Command(value) => (Kind::Command, value),
            Self::Query(value) => (Kind::Query, value),
            Self::Event(value) => (Kind::Event, value),
        }
    }
}

#[derive(Serialize, Deserialize)]
struct Body {
    id: MessageId,
    metadata: Metadata,
    content: Content,
}

#[derive(Serialize, Deserialize)]
struct Metadata {
    r#type: Token,
    schema: u32,
    subject: Subject,
    owner: Token,
    source: Token,
    correlation: CorrelationId,
    causation: MessageId,
    time: Timestamp,
    content_type: String,
    bytes: u64,
}

/// A message that was read, and whose content may still have to be fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// Where it came from.
    pub subject: Subject,
    /// The version of its type.
    pub schema: u32,
    /// Everything but the content, which follows in [`Envelope::content`].
    pub envelope: Envelope<Content>,
}

/// A message with its content in the body, or with the `claim` in its place.
pub fn encode<P: Payload>(envelope: &Envelope<P>, claim: Option<Claim>) -> Result<Wire, Error> {
    let subject = envelope.subject()?;
    let malformed = |error: serde_json::Error| Error::Malformed {
        subject: subject.to_string(),
        why: format!("it has no JSON form: {error}"),
    };
    let value = serde_json::to_value(&envelope.content).map_err(malformed)?;
    let bytes = match &claim {
        Some(claim) => claim.size,
        None => serde_json::to_vec(&value).map_err(malformed)?.len() as u64,
    };
    let headers = headers(envelope, &subject, claim.as_ref());
    let body = Body {
        id: envelope.stamp.id,
        metadata: Metadata {
            r#type: subject.message.clone(),
            schema: P::SCHEMA,
            subject: subject.clone(),
            owner: envelope.about.owner.clone(),
            source: envelope.about.source.clone(),
            correlation: envelope.correlation,
            causation: envelope.causation,
            time: envelope.stamp.time,
            content_type: JSON.to_owned(),
            bytes,
        },
        content: match claim {
            Some(claim) => Content::Claim(claim),
            None => Content::Inline(Inline::of(P::KIND, value)),
        },
    };
    let body = serde_json::to_vec(&body).map_err(malformed)?.into();
    Ok(Wire { subject, headers, body })
}

fn headers<P: Payload>(
    envelope: &Envelope<P>,
    subject: &Subject,
    claim: Option<&Claim>,
) -> HeaderMap {
    let Envelope { stamp, correlation, causation, about, .. } = envelope;
    let mut headers = HeaderMap::new();
    for (name, value) in [
        (header::ID, stamp.id.to_string()),
        (header::CORRELATION, correlation.to_string()),
        (header::CAUSATION, causation.to_string()),
        (header::TYPE, subject.message.to_string()),
        (header::SCHEMA, P::SCHEMA.to_string()),
        (header::TIME, stamp.time.to_string()),
        (header::SOURCE, about.source.to_string()),
        (header::OWNER, about.owner.to_string()),
        (header::AGGREGATE_TYPE, about.route.aggregate.to_string()),
        (header::AGGREGATE_ID, about.route.id.to_string()),
        (header::CONTENT_TYPE, JSON.to_owned()),
    ] {
        headers.insert(name, value.as_str());
    }
    if let Some(claim) = claim {
        headers.insert(header::CONTENT_CID, claim.cid.to_string().as_str());
    }
    headers
}

/// Reads a message that came on `subject`. Headers may be missing (some bridges drop them); those
/// that are there must say what the body says.
///
/// # Errors
/// [`Error::Malformed`] with what contradicts what.
pub fn decode(subject: &str, headers: Option<&HeaderMap>, body: &[u8]) -> Result<Received, Error> {
    let malformed = |why: String| Error::Malformed { subject: subject.to_owned(), why };
    let Body { id, metadata, content } = serde_json::from_slice(body)
        .map_err(|error| malformed(format!("its body is not an envelope: {error}")))?;
    let told = |name: &'static str, said: &str| {
        let header = headers.and_then(|headers| headers.get(name)).map(HeaderValue::as_str);
        match header {
            Some(header) if header != said => {
                Err(malformed(format!("header {name} is {header:?} and the body says {said:?}")))
            }
            _ => Ok(()),
        }
    };
    told(header::ID, &id.to_string())?;
    told(header::CORRELATION, &metadata.correlation.to_string())?;
    told(header::CAUSATION, &metadata.causation.to_string())?;
    told(header::TYPE, metadata.r#type.as_str())?;
    told(header::OWNER, metadata.owner.as_str())?;
    if let Content::Claim(claim) = &content {
        told(header::CONTENT_CID, &claim.cid.to_string())?;
    }
    if metadata.subject.to_string() != subject {
        return Err(malformed(format!("its body says that it is for {}", metadata.subject)));
    }
    if metadata.r#type != metadata.subject.message {
        return Err(malformed(format!("its type is {}", metadata.r#type)));
    }
    if metadata.content_type != JSON {
        let got = metadata.content_type;
        return Err(malformed(format!("its content is {got:?}, and only {JSON} is read")));
    }
    let is_root = metadata.causation == id;
    if is_root != (metadata.correlation.root() == id) {
        let why = "a message that is its own cause begins its transaction, and no other does";
        return Err(malformed(why.to_owned()));
    }
    let about = About {
        route: metadata.subject.route.clone(),
        owner: metadata.owner,
        source: metadata.source,
    };
    Ok(Received {
        subject: metadata.subject,
        schema: metadata.schema,
        envelope: Envelope {
            stamp: Stamp { id, time: metadata.time },
            correlation: metadata.correlation,
            causation: metadata.causation,
            about,
            content,
        },
    })
}

impl Received {
    /// The object that the content is, if it is not in the body.
    pub fn claim(&self) -> Option<&Claim> {
        match &self.envelope.content {
            Content::Claim(claim) => Some(claim),
            Content::Inline(_) => None,
        }
    }

    /// The message as the type that the reader expects, given the bytes of its claim if it has one.
    ///
    /// # Errors
    /// [`Error::Unexpected`] if it is another type or version; [`Error::Malformed`] if its content is
    /// not of that type, or its claim was not fetched.
    pub fn into_envelope<P: Payload>(self, fetched: Option<&[u8]>) -> Result<Envelope<P>, Error> {
        let Self { subject, schema, envelope } = self;
        let malformed = |why: String| Error::Malformed { subject: subject.to_string(), why };
        if (subject.kind, subject.message.as_str(), schema) != (P::KIND, P::TYPE, P::SCHEMA) {
            return Err(Error::Unexpected {
                subject: subject.to_string(),
                got: format!("{:?} {} version {schema}", subject.kind, subject.message),
                want: format!("{:?} {} version {}", P::KIND, P::TYPE, P::SCHEMA),
            });
        }
        let Envelope { stamp, correlation, causation, about, content } = envelope;
        let content = match (content, fetched) {
            (Content::Inline(inline), _) => {
                let (kind, value) = inline.into_parts();
                if kind != P::KIND {
                    return Err(malformed(format!("its content is that of a {kind:?}")));
                }
                serde_json::from_value(value)
            }
            (Content::Claim(_), Some(bytes)) => serde_json::from_slice(bytes),
            (Content::Claim(claim), None) => {
                return Err(malformed(format!("its content {} was not fetched", claim.cid)));
            }
        };
        let content = content.map_err(|error| malformed(format!("its content: {error}")))?;
        Ok(Envelope { stamp, correlation, causation, about, content })
    }
}
