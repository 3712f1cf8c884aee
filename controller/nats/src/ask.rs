//! One request in an account, as a user that may do nothing else: does anybody answer?

use std::time::{Duration, SystemTime};

use async_nats::client::Request;
use async_nats::connection::State;
use async_nats::{Message, RequestErrorKind};
use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use crate::error::{Error, Result};
use crate::jwt::{Permission, Permissions};
use crate::keys::{AccountKey, AccountSeed, UserSeed};
use crate::subject::Subject;
use crate::system::{Deadlines, connect_heard};
use crate::time::UnixTime;
use crate::user::plain_user;

/// How the user is called in the servers' lists of connections.
const NAME: &str = "cim-check";
/// How much longer than the request takes the user is good for: as far as clocks may differ.
const LEEWAY: Duration = Duration::from_mins(1);
/// Set by a service that cannot do what it is asked (ADR-32 of NATS).
const SERVICE_ERROR: &str = "Nats-Service-Error";
const SERVICE_ERROR_CODE: &str = "Nats-Service-Error-Code";

/// What became of one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Somebody replied.
    Reply(Reply),
    /// Nobody listens on the subject: the server says so at once (status 503).
    NoResponders,
    /// Somebody listens, and did not reply in time.
    Silence,
    /// The server does not let a user of this account ask there; in its own words.
    NotPermitted(String),
}

/// A reply.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reply {
    /// The status and its description, if it carries one: of a server rather than of a service.
    pub status: Option<String>,
    /// The code and description of the error, if a service says that it is one.
    pub error: Option<String>,
    /// The rest.
    pub payload: Bytes,
}

/// An account in which something is asked.
#[derive(Clone, Debug)]
pub struct Asker {
    /// URLs of the servers, any of which will do.
    pub servers: Vec<String>,
    /// The account.
    pub account: AccountKey,
    /// An unscoped signing key of it.
    pub signing: AccountSeed,
}

impl Asker {
    /// Connects, asks once, and leaves; all of it within `within`.
    ///
    /// It does so as a user made for this one request, which may publish to `subject`, hear its own
    /// inbox, and is good for a minute more than `within`.
    ///
    /// # Errors
    /// [`Error::Unreachable`] if no server admits the user in time, or the connection is lost: then
    /// nothing was asked.
    pub async fn ask(&self, subject: &Subject, payload: Bytes, within: Duration) -> Result<Answer> {
        let ends = Instant::now() + within;
        let user = UserSeed::generate()?;
        let inbox = format!("_INBOX.{}.>", user.public());
        let only = |allowed: String| Permission { allow: vec![allowed], deny: Vec::new() };
        let permissions = Permissions {
            r#pub: only(subject.to_string()),
            sub: only(inbox),
            ..Permissions::default()
        };
        let now = UnixTime::from(SystemTime::now());
        let expires = Some(now.plus(within + LEEWAY));
        let creds =
            plain_user(&self.account, &self.signing, NAME, user, permissions, now, expires)?;
        let deadlines = Deadlines { connect: within, request: within, ..Deadlines::default() };
        // More than the few that say why nothing comes back would be repetition.
        let (heard, mut refusals) = mpsc::channel(8);
        let client = connect_heard(&self.servers, &creds, NAME, deadlines, heard).await?;
        let lost = |why: String| Error::Unreachable { servers: self.servers.join(", "), why };
        // The deadline is ours, and counts from before the connection.
        let request = Request::new().payload(payload).timeout(None);
        let asking = client.send_request(subject.to_string(), request);
        let refused = async {
            loop {
                match refusals.recv().await {
                    Some(said) if said.to_lowercase().contains("permissions violation") => {
                        return said;
                    }
                    Some(_) => {}
                    None => return std::future::pending().await,
                }
            }
        };
        let answered = timeout_at(ends, async {
            tokio::select! {
                said = refused => Ok(Answer::NotPermitted(said)),
                reply = asking => match reply {
                    Ok(message) => Ok(Answer::Reply(Reply::from(message))),
                    Err(error) if error.kind() == RequestErrorKind::NoResponders => {
                        Ok(Answer::NoResponders)
                    }
                    Err(error) => Err(lost(error.to_string())),
                },
            }
        });
        match answered.await {
            Ok(answer) => answer,
            Err(_) if client.connection_state() == State::Connected => Ok(Answer::Silence),
            Err(_) => Err(lost("the connection was lost before a reply came".to_owned())),
        }
    }
}

impl From<Message> for Reply {
    fn from(message: Message) -> Self {
        let headers = message.headers.as_ref();
        let header = |name: &str| headers.and_then(|all| all.get(name)).map(ToString::to_string);
        let code = header(SERVICE_ERROR_CODE);
        let error = code.map(|code| joined(&code, header(SERVICE_ERROR).as_deref()));
        let status = message
            .status
            .map(|status| joined(&status.as_u16().to_string(), message.description.as_deref()));
        Self { status, error, payload: message.payload }
    }
}

fn joined(code: &str, words: Option<&str>) -> String {
    match words {
        Some(words) if !words.is_empty() => format!("{code} {words}"),
        _ => code.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use async_nats::{HeaderMap, StatusCode};

    use super::*;

    fn message(headers: HeaderMap, status: Option<StatusCode>) -> Message {
        Message {
            subject: "_INBOX.x".into(),
            reply: None,
            payload: Bytes::from_static(b"ok"),
            headers: Some(headers),
            status,
            description: status.map(|_| "Bad Request".into()),
            length: 0,
        }
    }

    #[test]
    fn an_error_of_a_service_is_told_from_a_reply() {
        let mut headers = HeaderMap::new();
        let reply = Reply::from(message(headers.clone(), None));
        assert_eq!(reply, Reply { payload: Bytes::from_static(b"ok"), ..Reply::default() });
        headers.insert(SERVICE_ERROR_CODE, "500");
        headers.insert(SERVICE_ERROR, "no database");
        let reply = Reply::from(message(headers, StatusCode::from_u16(400).ok()));
        assert_eq!(reply.error.as_deref(), Some("500 no database"));
        assert_eq!(reply.status.as_deref(), Some("400 Bad Request"));
    }
}
