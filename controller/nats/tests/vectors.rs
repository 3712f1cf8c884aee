//! Tokens of the official Go library, read here; tokens of ours, as that library accepted them.
//!
//! `vectors/go.json` was written by github.com/nats-io/jwt/v2; its seeds are for tests alone. The
//! tokens in `snapshots/` are ours, and that library has decoded and validated them without an issue.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::BTreeMap;

use cim_nats::account::{
    Access, Account, AccountExport, AccountImport, AccountKeys, Exporter, Importers, compile,
};
use cim_nats::jwt::{
    AccountBody, AccountLimits, ActivationBody, Body, Claims, DeleteBody, ExportKind,
    JetStreamLimits, OperatorBody, Permissions, Sampling, SigningKey, Token, UserBody, canonical,
};
use cim_nats::keys::{OperatorSeed, UserSeed};
use cim_nats::{Creds, UnixTime, plain_user, scoped_user};
use serde::Deserialize;

#[derive(Deserialize)]
struct Vectors {
    tokens: Vec<Vector>,
    seeds: BTreeMap<String, String>,
    creds: String,
}

#[derive(Deserialize)]
struct Vector {
    name: String,
    r#type: String,
    token: String,
}

fn vectors() -> Vectors {
    serde_json::from_str(include_str!("vectors/go.json")).unwrap()
}

fn token<B: Body>(name: &str) -> Token<B> {
    let vectors = vectors();
    let vector = vectors.tokens.iter().find(|vector| vector.name == name).unwrap();
    Token::decode(&vector.token).unwrap()
}

/// Every field that Go wrote survives our types: decoding loses nothing.
fn nothing_is_lost<B: Body>(text: &str) {
    let token: Token<B> = Token::decode(text).unwrap();
    let ours = canonical::of_claims(token.claims()).unwrap();
    assert_eq!(ours.differences(&canonical::of_token(&token).unwrap()), []);
}

#[test]
fn tokens_of_the_go_library_are_read_without_loss() {
    for Vector { name, r#type, token } in vectors().tokens {
        println!("{name}");
        match r#type.as_str() {
            "operator" => nothing_is_lost::<OperatorBody>(&token),
            "account" => nothing_is_lost::<AccountBody>(&token),
            "user" => nothing_is_lost::<UserBody>(&token),
            "activation" => nothing_is_lost::<ActivationBody>(&token),
            "generic" => nothing_is_lost::<DeleteBody>(&token),
            other => panic!("{name}: type {other}"),
        }
    }
}

#[test]
fn what_the_go_library_leaves_out_is_read_as_it_means_it() {
    let full = token::<AccountBody>("account with everything");
    let body = &full.claims().nats;
    assert_eq!((body.limits.subs, body.limits.conn, body.limits.leaf), (0, 10, -1));
    let scope = body.signing_keys.iter().find_map(|key| match key {
        SigningKey::Scoped(scope) => Some(scope),
        SigningKey::Plain(_) => None,
    });
    let scope = scope.unwrap();
    assert_eq!((scope.template.subs, scope.template.payload), (7, -1));
    let latency = |subject: &str| {
        let export = body.exports.iter().find(|export| export.subject == subject).unwrap();
        export.service_latency.as_ref().unwrap().sampling
    };
    assert_eq!(latency("svc.get"), Sampling::Headers);
    assert_eq!(latency("svc.put"), Sampling::Percent(25));
    assert_eq!(token::<UserBody>("scoped user").claims().nats.own, None);
    let limited = token::<UserBody>("limited user");
    let own = limited.claims().nats.own.as_ref().unwrap();
    assert_eq!((own.subs, own.payload, own.bearer_token), (-1, 1024, true));
}

#[test]
fn creds_of_the_go_library_are_read() {
    let creds = Creds::parse(&vectors().creds).unwrap();
    assert_eq!(creds.seed().reveal(), vectors().seeds["user"]);
    assert_eq!(Creds::parse(&creds.reveal()).unwrap().reveal(), creds.reveal());
}

#[test]
fn a_damaged_token_is_refused() {
    let vectors = vectors();
    let text = &vectors.tokens[1].token;
    let (signed, signature) = text.rsplit_once('.').unwrap();
    let (header, payload) = signed.split_once('.').unwrap();
    let other = vectors.tokens[2].token.split('.').nth(1).unwrap();
    for (damaged, why) in [
        (format!("{header}.{other}.{signature}"), "signature is not of"),
        (format!("{header}.{payload}"), "three parts"),
        (format!("{header}.{payload}.AAAA"), "signature is not of"),
        (format!("{payload}.{payload}.{signature}"), "algorithm"),
        (format!("{header}.!!!.{signature}"), "claims"),
        (String::new(), "three parts"),
    ] {
        let error = Token::<AccountBody>::decode(&damaged).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }
    let error = Token::<UserBody>::decode(text).unwrap_err().to_string();
    assert!(error.contains("\"account\"") && error.contains("\"user\""), "{error}");
}

/// Our tokens of all types, from fixed seeds and times.
fn ours() -> BTreeMap<&'static str, String> {
    let seeds = vectors().seeds;
    let operator = OperatorSeed::parse(&seeds["operator"]).unwrap();
    let signing = OperatorSeed::parse(&seeds["operatorSigning"]).unwrap();
    let keys = |identity: &str| {
        AccountKeys::from_data(&BTreeMap::from([
            ("account.seed".into(), seeds[identity].clone()),
            ("signing.seed".into(), seeds["accountSigning"].clone()),
            ("role.vault.api.seed".into(), seeds["accountScoped"].clone()),
        ]))
        .unwrap()
    };
    let (comms_keys, web_keys) = (keys("account"), keys("other"));
    let (comms, web) = accounts();
    let compiled = compile(&[(&comms, &comms_keys), (&web, &web_keys)]);
    let iat = UnixTime(1_700_000_000);
    let account = |name: &str| {
        let claims = compiled[&name.parse().unwrap()].as_ref().unwrap().clone();
        Token::sign(claims, iat, &signing).unwrap().as_str().to_owned()
    };
    let body = OperatorBody {
        signing_keys: vec![signing.public()],
        system_account: Some(web_keys.account()),
        strict_signing_key_usage: true,
        ..OperatorBody::default()
    };
    let operator = Token::sign(Claims::new("ours", operator.public(), body), iat, &operator);
    let user = || UserSeed::parse(&seeds["user"]).unwrap();
    let role = comms_keys.role(&"vault.api".parse().unwrap()).unwrap();
    let scoped = scoped_user(&comms_keys.account(), role, "vault", user(), iat, None).unwrap();
    let permissions = Permissions::default();
    let account_key = comms_keys.account();
    let plain =
        plain_user(&account_key, comms_keys.signing(), "ctl", user(), permissions, iat, None);
    let delete = DeleteBody { accounts: vec![comms_keys.account()] };
    let delete = Token::sign(Claims::new("", signing.public(), delete), iat, &signing);
    BTreeMap::from([
        ("operator", operator.unwrap().as_str().to_owned()),
        ("account exporting", account("comms")),
        ("account importing", account("web")),
        ("user of a role", scoped.user().as_str().to_owned()),
        ("user with permissions", plain.unwrap().user().as_str().to_owned()),
        ("delete", delete.unwrap().as_str().to_owned()),
    ])
}

fn accounts() -> (Account, Account) {
    let limits =
        AccountLimits { jetstream: JetStreamLimits::unlimited(), ..AccountLimits::unlimited() };
    let mut comms = Account::new("comms".parse().unwrap(), limits);
    comms.exports.push(AccountExport {
        name: "events".into(),
        subject: "evt.>".parse().unwrap(),
        kind: ExportKind::Stream,
        response: None,
        account_token_position: None,
        importers: Importers::Together,
    });
    let access = Access {
        publish: vec!["evt.vault.>".parse().unwrap()],
        subscribe: vec!["cmd.vault.> workers".parse().unwrap()],
        streams: vec!["EVENTS".parse().unwrap()],
        ..Access::default()
    };
    comms.roles.insert("vault.api".parse().unwrap(), access);
    let user = UserSeed::parse(&vectors().seeds["user"]).unwrap().public();
    comms.revocations.insert(user, UnixTime(1_600_000_000));
    let mut web = Account::new("web".parse().unwrap(), AccountLimits::unlimited());
    web.imports.push(AccountImport {
        name: "events".into(),
        from: Exporter::Named("comms".parse().unwrap()),
        subject: "evt.vault.>".parse().unwrap(),
        local_subject: Some("comms.evt.vault.>".parse().unwrap()),
        kind: ExportKind::Stream,
        share: false,
    });
    (comms, web)
}

/// Signatures of ed25519 are deterministic, so the very text is what the Go library accepted. When it
/// has to change, have it accepted again.
#[test]
fn our_tokens_are_those_that_the_go_library_accepted() {
    insta::assert_snapshot!("ours", serde_json::to_string_pretty(&ours()).unwrap());
}
