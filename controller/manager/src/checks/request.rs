//! A NATS request: somebody answers, and says what is expected.

use std::fmt;
use std::time::Duration;

use cim_nats::{Answer, Asker, Subject};

use super::Verdict;
use crate::domain::nats_reason;

/// How much of a reply is told, in characters.
const SHOWN: usize = 100;

/// One request in an account.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(super) account: String,
    pub(super) asker: Asker,
    pub(super) subject: Subject,
    pub(super) payload: String,
    pub(super) expected: Expected,
    /// For the connection and the reply together.
    pub(super) timeout: Duration,
}

/// What a reply must say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Expected {
    /// Anything.
    Any,
    /// This, among other things.
    Contains(String),
    /// This, white space at both ends aside.
    Equals(String),
}

impl Request {
    /// Asks once, as a user made for it.
    pub(super) async fn run(&self) -> Verdict {
        let payload = self.payload.clone().into_bytes().into();
        match self.asker.ask(&self.subject, payload, self.timeout).await {
            Ok(answer) => self.judge(answer),
            Err(error) => self.unasked(&error),
        }
    }

    fn judge(&self, answer: Answer) -> Verdict {
        let failing = |why: String| Verdict::Failing(format!("{self}: {why}"));
        let reply = match answer {
            Answer::NoResponders => return failing("no responders: nobody listens there".into()),
            Answer::Silence => {
                return failing(format!(
                    "no reply within {:?}, though somebody listens there",
                    self.timeout
                ));
            }
            Answer::NotPermitted(said) => {
                let why = format!("account {} may not ask this: {said}", self.account);
                return Verdict::Unknown(format!("{self}: {why}"));
            }
            Answer::Reply(reply) => reply,
        };
        if let Some(status) = reply.status {
            return failing(format!("status {status}"));
        }
        if let Some(error) = reply.error {
            return failing(format!("the service replied with error {error}"));
        }
        let text = String::from_utf8_lossy(&reply.payload);
        let wanted = match &self.expected {
            Expected::Any => return Verdict::Passing,
            Expected::Contains(part) if text.contains(part.as_str()) => return Verdict::Passing,
            Expected::Equals(all) if text.trim() == all.trim() => return Verdict::Passing,
            Expected::Contains(part) => format!("does not contain {part:?}"),
            Expected::Equals(all) => format!("is not {all:?}"),
        };
        let more = if text.chars().nth(SHOWN).is_some() { "…" } else { "" };
        let shown: String = text.chars().take(SHOWN).collect();
        failing(format!("the reply {shown:?}{more} {wanted}"))
    }

    /// Nothing was asked, so nothing is known of who would answer.
    fn unasked(&self, error: &cim_nats::Error) -> Verdict {
        let refused = nats_reason(error) == cim_crds::conditions::reasons::AUTHENTICATION_FAILED;
        let hint = if refused {
            format!("; no server admits account {} as its Domain has made it", self.account)
        } else {
            String::new()
        };
        Verdict::Unknown(format!("{self}: {error}{hint}"))
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NATS request {}", self.subject)
    }
}

#[cfg(test)]
mod tests {
    use cim_nats::Reply;
    use cim_nats::keys::AccountSeed;

    use super::*;

    fn request(expected: Expected) -> Request {
        let signing = AccountSeed::generate().expect("a seed");
        Request {
            account: "comms".into(),
            asker: Asker {
                servers: vec!["nats://127.0.0.1:1".into()],
                account: signing.public(),
                signing,
            },
            subject: "qry.web.health".parse().expect("a subject"),
            payload: String::new(),
            expected,
            timeout: Duration::from_millis(300),
        }
    }

    fn replied(text: &str) -> Answer {
        Answer::Reply(Reply { payload: text.to_owned().into(), ..Reply::default() })
    }

    fn failing(expected: Expected, answer: Answer) -> String {
        match request(expected).judge(answer) {
            Verdict::Failing(message) => message,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_reply_is_judged_by_what_is_expected() {
        let passes = |expected, text| {
            let verdict = request(expected).judge(replied(text));
            assert_eq!(verdict, Verdict::Passing);
        };
        passes(Expected::Any, "");
        passes(Expected::Contains("ok".into()), "it is ok");
        passes(Expected::Equals("ok".into()), "ok\n");
        assert_eq!(
            failing(Expected::Equals("ok".into()), replied("not ok")),
            "NATS request qry.web.health: the reply \"not ok\" is not \"ok\""
        );
        let long = failing(Expected::Contains("ok".into()), replied(&"x".repeat(5000)));
        assert!(long.len() < 250 && long.contains("x\"… does not contain \"ok\""), "{long}");
    }

    #[test]
    fn an_error_is_no_reply() {
        let reply = |status: Option<&str>, error: Option<&str>| {
            Answer::Reply(Reply {
                status: status.map(str::to_owned),
                error: error.map(str::to_owned),
                payload: "ok".into(),
            })
        };
        let said = failing(Expected::Any, reply(Some("408 Request Timeout"), None));
        assert!(said.ends_with("status 408 Request Timeout"), "{said}");
        let said = failing(Expected::Contains("ok".into()), reply(None, Some("500 no database")));
        assert!(said.ends_with("the service replied with error 500 no database"), "{said}");
    }

    #[test]
    fn nobody_there_silence_and_refusal_are_told_apart() {
        let nobody = failing(Expected::Any, Answer::NoResponders);
        assert!(nobody.contains("no responders"), "{nobody}");
        let silence = failing(Expected::Any, Answer::Silence);
        assert!(silence.contains("no reply within 300ms"), "{silence}");
        let said = "Permissions Violation for Publish to \"qry.web.health\"";
        match request(Expected::Any).judge(Answer::NotPermitted(said.into())) {
            Verdict::Unknown(message) => assert!(message.contains(said), "{message}"),
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn a_server_that_is_away_says_nothing_of_the_service() {
        match request(Expected::Any).run().await {
            Verdict::Unknown(message) => {
                assert!(message.contains("cannot reach NATS at nats://127.0.0.1:1"), "{message}");
            }
            other => panic!("{other:?}"),
        }
    }
}
