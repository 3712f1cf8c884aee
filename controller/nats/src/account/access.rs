//! What the users of one role may do, and the permissions that stock clients need for it.

use std::fmt::{self, Display};
use std::str::FromStr;

use crate::error::Error;
use crate::jwt::{Permission, Permissions, ResponsePermission, Template};
use crate::name::StreamName;
use crate::subject::Subject;

/// By this a client learns what the server thinks that it may; about itself only.
pub(crate) const USER_INFO: &str = "$SYS.REQ.USER.INFO";

/// What the users of one role may do. Nothing is allowed that is not listed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// Subjects to publish to, requests included.
    pub publish: Vec<Subject>,
    /// Subjects to subscribe to.
    pub subscribe: Vec<Listen>,
    /// Where replies to requests arrive.
    pub inbox: Inbox,
    /// Answers to requests; by default one per request.
    pub responses: Responses,
    /// Streams to read: consumers of one's own, direct gets, acknowledgements. To publish into a
    /// stream its subjects must be listed too.
    pub streams: Vec<StreamName>,
    /// Key-value buckets to read and write.
    pub key_value: Vec<StreamName>,
    /// Object buckets to read and write.
    pub object_stores: Vec<StreamName>,
}

/// Where replies to requests arrive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Inbox {
    /// `_INBOX.>`: every client library works without being told anything. The users of an account
    /// could read each other's replies, so accounts, not roles, keep those apart who must not.
    #[default]
    Shared,
    /// `_INBOX.<user key>.>`: nobody else can read the replies. The client must be told the prefix,
    /// see [`Inbox::prefix`]; JetStream and object stores work too then. Excludes subscriptions that
    /// are for one queue group only.
    Private,
}

impl Inbox {
    /// The inbox prefix that a client of `user` must be configured with, if any.
    pub fn prefix(self, user: &crate::keys::UserKey) -> Option<String> {
        match self {
            Self::Shared => None,
            Self::Private => Some(format!("_INBOX.{user}")),
        }
    }

    const fn subscription(self) -> &'static str {
        match self {
            Self::Shared => "_INBOX.>",
            Self::Private => "_INBOX.{{subject()}}.>",
        }
    }
}

/// Leave to answer requests on the reply subject they carry, whatever that is. Holds only for what
/// arrived by a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Responses {
    /// Answers to one request; -1 is unlimited.
    pub max: i64,
    /// Seconds within which they must come. The server remembers each unanswered request so long.
    pub within: u32,
}

impl Default for Responses {
    /// One answer within two minutes: the server's own defaults.
    fn default() -> Self {
        Self { max: 1, within: 120 }
    }
}

/// A subject to subscribe to, perhaps as member of one queue group only.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Listen {
    /// The subject.
    pub subject: Subject,
    /// The queue group; absent: any, or none.
    pub queue: Option<Subject>,
}

impl FromStr for Listen {
    type Err = Error;

    /// `subject` or `subject queue`.
    fn from_str(text: &str) -> Result<Self, Error> {
        let parse = |part: &str| {
            part.parse().map_err(|error: crate::subject::InvalidSubject| Error::Desired {
                field: "subscription".into(),
                why: error.to_string(),
            })
        };
        match text.split_once(' ') {
            Some((subject, queue)) => {
                Ok(Self { subject: parse(subject)?, queue: Some(parse(queue)?) })
            }
            None => Ok(Self { subject: parse(text)?, queue: None }),
        }
    }
}

impl From<Subject> for Listen {
    fn from(subject: Subject) -> Self {
        Self { subject, queue: None }
    }
}

impl Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.queue {
            Some(queue) => write!(f, "{} {queue}", self.subject),
            None => self.subject.fmt(f),
        }
    }
}

impl Access {
    /// The scope of the role's signing key.
    pub fn template(&self) -> Template {
        let mut publish: Vec<String> = self.publish.iter().map(ToString::to_string).collect();
        publish.push(USER_INFO.into());
        for stream in &self.streams {
            publish.extend(read_stream(stream.as_str()));
        }
        for bucket in &self.key_value {
            publish.push(format!("$KV.{bucket}.>"));
            publish.extend(write_bucket(&format!("KV_{bucket}")));
        }
        for bucket in &self.object_stores {
            publish.push(format!("$O.{bucket}.>"));
            publish.extend(write_bucket(&format!("OBJ_{bucket}")));
        }
        publish.sort_unstable();
        publish.dedup();
        let mut subscribe: Vec<String> = self.subscribe.iter().map(ToString::to_string).collect();
        subscribe.push(self.inbox.subscription().into());
        subscribe.sort_unstable();
        subscribe.dedup();
        Template::unlimited(Permissions {
            // Neither list is ever empty, which would allow everything.
            r#pub: Permission { allow: publish, deny: Vec::new() },
            sub: Permission { allow: subscribe, deny: Vec::new() },
            resp: (!self.subscribe.is_empty()).then_some(ResponsePermission {
                max: self.responses.max,
                ttl: i64::from(self.responses.within) * 1_000_000_000,
            }),
        })
    }
}

/// Subjects of the JetStream API by which a client reads one stream.
fn read_stream(stream: &str) -> Vec<String> {
    [
        // Clients that are given a subject only ask which stream has it.
        "$JS.API.INFO",
        "$JS.API.STREAM.NAMES",
    ]
    .into_iter()
    .map(str::to_owned)
    .chain([
        format!("$JS.API.STREAM.INFO.{stream}"),
        format!("$JS.API.STREAM.MSG.GET.{stream}"),
        format!("$JS.API.DIRECT.GET.{stream}"),
        format!("$JS.API.DIRECT.GET.{stream}.>"),
        format!("$JS.API.CONSUMER.CREATE.{stream}"),
        format!("$JS.API.CONSUMER.CREATE.{stream}.>"),
        format!("$JS.API.CONSUMER.DURABLE.CREATE.{stream}.*"),
        format!("$JS.API.CONSUMER.INFO.{stream}.*"),
        format!("$JS.API.CONSUMER.LIST.{stream}"),
        format!("$JS.API.CONSUMER.NAMES.{stream}"),
        format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.*"),
        format!("$JS.API.CONSUMER.DELETE.{stream}.*"),
        // Acknowledgements and flow control; with a domain and an account hash since ADR-15 v2.
        format!("$JS.ACK.{stream}.>"),
        format!("$JS.ACK.*.*.{stream}.>"),
        format!("$JS.FC.{stream}.>"),
    ])
    .collect()
}

/// The same, and the purge by which clients remove old revisions and chunks.
fn write_bucket(stream: &str) -> Vec<String> {
    let mut subjects = read_stream(stream);
    subjects.push(format!("$JS.API.STREAM.PURGE.{stream}"));
    subjects
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_listed_is_nothing_allowed() {
        let template = Access::default().template();
        assert_eq!(template.permissions.r#pub.allow, [USER_INFO]);
        assert_eq!(template.permissions.sub.allow, ["_INBOX.>"]);
        assert_eq!(template.permissions.resp, None);
    }

    #[test]
    fn a_listener_may_answer() {
        let access =
            Access { subscribe: vec!["cmd.vault.> workers".parse().unwrap()], ..Access::default() };
        let permissions = access.template().permissions;
        assert_eq!(permissions.sub.allow, ["_INBOX.>", "cmd.vault.> workers"]);
        assert_eq!(permissions.resp, Some(ResponsePermission { max: 1, ttl: 120_000_000_000 }));
    }

    #[test]
    fn two_spaces_are_no_queue() {
        assert!("a b c".parse::<Listen>().is_err());
        assert!("a ".parse::<Listen>().is_err());
    }
}
