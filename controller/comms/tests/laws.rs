//! Laws of the envelope: what is sent is what is read, and causes lead to one beginning.

#![allow(clippy::expect_used, reason = "a test's helper fails like the test itself")]

use cim_comms::{
    About, Envelope, Error, Kind, MessageId, Payload, Route, Stamp, Subject, Token, decode, encode,
    header,
};
use proptest::prelude::*;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Opened {
    text: String,
    count: i64,
    list: Vec<Option<bool>>,
}

impl Payload for Opened {
    const KIND: Kind = Kind::Event;
    const TYPE: &'static str = "VaultOpened";
    const SCHEMA: u32 = 3;
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Open(String);

impl Payload for Open {
    const KIND: Kind = Kind::Command;
    const TYPE: &'static str = "OpenVault";
    const SCHEMA: u32 = 1;
}

fn token() -> impl Strategy<Value = Token> {
    "[A-Za-z0-9_-]{1,64}".prop_map(|text| text.parse().expect("a token"))
}

prop_compose! {
    fn about()(domain in token(), aggregate in token(), id in token(), owner in token(), source in token())
        -> About {
        About { route: Route { domain, aggregate, id }, owner, source }
    }
}

prop_compose! {
    fn opened()(text in any::<String>(), count in any::<i64>(), list in any::<Vec<Option<bool>>>()) -> Opened {
        Opened { text, count, list }
    }
}

proptest! {
    #[test]
    fn what_is_encoded_is_decoded(about in about(), content in opened(), with_headers in any::<bool>()) {
        let envelope = Envelope::root(Stamp::now(), about, content);
        let wire = encode(&envelope, None).expect("encoded");
        let headers = with_headers.then_some(&wire.headers);
        let received = decode(&wire.subject.to_string(), headers, &wire.body).expect("decoded");
        prop_assert_eq!(received.into_envelope::<Opened>(None).expect("opened"), envelope);
    }

    #[test]
    fn subjects_are_read_back(about in about()) {
        let subject = Envelope::root(Stamp::now(), about, Open(String::new())).subject().expect("one");
        prop_assert_eq!(subject.to_string().parse::<Subject>().expect("parses"), subject);
    }

    /// Any tree of messages, each caused by an earlier one: all share the root's transaction, each
    /// names its own cause, and from each the causes lead to the root.
    #[test]
    fn causes_lead_to_one_beginning(about in about(), parents in prop::collection::vec(any::<prop::sample::Index>(), 0..30)) {
        let root = Envelope::root(Stamp::now(), about.clone(), Open("0".to_owned()));
        prop_assert!(root.is_root());
        prop_assert_eq!(root.correlation.root(), root.stamp.id);
        let mut tree = vec![root.clone()];
        for parent in parents {
            let parent = parent.get(&tree).clone();
            let child = parent.cause(Stamp::now(), about.clone(), Open("n".to_owned()));
            prop_assert_eq!(child.causation, parent.stamp.id);
            prop_assert!(!child.is_root() && child.stamp.id > root.stamp.id);
            tree.push(child);
        }
        for message in &tree {
            prop_assert_eq!(message.correlation, root.correlation);
            let mut at = message;
            for _ in 0..tree.len() {
                at = tree.iter().find(|other| other.stamp.id == at.causation).expect("a cause");
            }
            prop_assert_eq!(at, &root);
        }
    }

    #[test]
    fn a_header_that_contradicts_the_body_is_refused(about in about(), which in 0..5_usize) {
        let envelope = Envelope::root(Stamp::now(), about, Open("x".to_owned()));
        let mut wire = encode(&envelope, None).expect("encoded");
        let names = [header::ID, header::CORRELATION, header::CAUSATION, header::TYPE, header::OWNER];
        wire.headers.insert(names[which], "another");
        let error = decode(&wire.subject.to_string(), Some(&wire.headers), &wire.body);
        let error = error.expect_err("refused").to_string();
        prop_assert!(error.contains(names[which]), "{}", error);
    }

    #[test]
    fn no_bytes_make_it_panic(subject in any::<String>(), body in any::<Vec<u8>>()) {
        prop_assert!(decode(&subject, None, &body).is_err());
    }
}

fn command() -> Envelope<Open> {
    let token = |text: &str| text.parse().expect("a token");
    let route = Route { domain: token("home"), aggregate: token("vault"), id: token("7") };
    let about = About { route, owner: token("home"), source: token("cli") };
    Envelope::root(Stamp::now(), about, Open("front".to_owned()))
}

#[test]
fn the_wire_form_is_as_documented() {
    let envelope = command();
    let wire = encode(&envelope, None).expect("encoded");
    assert_eq!(wire.subject.to_string(), "cmd.home.vault.7.OpenVault");
    assert_eq!(Subject::history(&wire.subject.route), "evt.home.vault.7.*");
    let body: serde_json::Value = serde_json::from_slice(&wire.body).expect("json");
    let id = envelope.stamp.id.to_string();
    assert_eq!(body["id"], id.as_str());
    assert_eq!(body["metadata"]["correlation"], id.as_str());
    assert_eq!(body["metadata"]["causation"], id.as_str());
    assert_eq!(body["metadata"]["type"], "OpenVault");
    assert_eq!(body["content"], serde_json::json!({ "command": "front" }));
    assert_eq!(wire.headers.get(header::ID).expect("a header").as_str(), id);
}

#[test]
fn another_type_or_version_than_asked_for_is_told_apart() {
    let envelope = command();
    let wire = encode(&envelope, None).expect("encoded");
    let received = decode(&wire.subject.to_string(), None, &wire.body).expect("decoded");
    let error = received.into_envelope::<Opened>(None).expect_err("refused");
    assert!(matches!(error, Error::Unexpected { .. }));
    let error = error.to_string();
    assert!(
        error.contains("OpenVault version 1") && error.contains("VaultOpened version 3"),
        "{error}"
    );
}

#[test]
fn a_message_that_lies_about_its_beginning_is_refused() {
    let mut orphan = command();
    orphan.correlation = MessageId::new().as_root();
    let mut false_root = command();
    false_root.causation = MessageId::new();
    for lie in [orphan, false_root] {
        let wire = encode(&lie, None).expect("encoded");
        let error = decode(&wire.subject.to_string(), Some(&wire.headers), &wire.body);
        assert!(error.expect_err("refused").to_string().contains("its own cause"));
    }
}

#[test]
fn a_message_moved_to_another_subject_is_refused() {
    let wire = encode(&command(), None).expect("encoded");
    let error = decode("cmd.home.vault.8.OpenVault", None, &wire.body).expect_err("refused");
    assert!(error.to_string().contains("cmd.home.vault.7.OpenVault"), "{error}");
}
