//! What happens when a server, or the way to it, fails in the middle.
//!
//! The peer here is no DNS server: it plays a script of messages, cuts and silence that no real
//! server can be made to send on demand. The real servers are in the lab.

#![expect(clippy::unwrap_used, reason = "a broken assumption of a test is a failed test")]

use std::{net::SocketAddr, sync::Arc, time::Duration};

use cim_dns::{
    Change, Desired, Error, Ledger, Limits, Name, Observed, Outcome, Primary, Rcode, Rdata, Report,
    Rules, TsigFailure, TsigKey, Zone, plan,
};
use cim_plan::Plan;
use hickory_proto::{
    op::{Message, OpCode, ResponseCode},
    rr::{self, RData, Record, rdata},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

const SECRET: &str = "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LTMyYnl0ZXM=";

/// What the peer does in answer to one request.
enum Act {
    /// Sends a message.
    Say(Message),
    /// Sends the first bytes of a message.
    SayHalf(Message),
    /// Sends nothing more, and keeps the connection.
    Hang,
    /// Closes the connection.
    Close,
}

/// Plays `script` to each request of one connection.
async fn play(script: impl Fn(&Message) -> Vec<Act> + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        while let Some(request) = read(&mut stream).await {
            for act in script(&request) {
                match act {
                    Act::Say(message) => write(&mut stream, &request, message, usize::MAX).await,
                    Act::SayHalf(message) => write(&mut stream, &request, message, 30).await,
                    Act::Hang => std::future::pending().await,
                    Act::Close => return,
                }
            }
        }
    });
    address
}

async fn read(stream: &mut TcpStream) -> Option<Message> {
    let length = stream.read_u16().await.ok()?;
    let mut bytes = vec![0; length.into()];
    stream.read_exact(&mut bytes).await.ok()?;
    Message::from_vec(&bytes).ok()
}

async fn write(stream: &mut TcpStream, request: &Message, mut message: Message, most: usize) {
    message.metadata.op_code = request.metadata.op_code;
    // A script that wants a wrong id sets one.
    message.metadata.id = message.metadata.id.wrapping_add(request.metadata.id);
    let bytes = message.to_vec().unwrap();
    let frame = [&u16::try_from(bytes.len()).unwrap().to_be_bytes()[..], &bytes].concat();
    // The other side may have hung up already, which is what some scripts provoke.
    stream.write_all(&frame[..most.min(frame.len())]).await.ok();
}

fn answer(records: Vec<Record>) -> Message {
    let mut message = Message::response(0, OpCode::Query);
    message.metadata.authoritative = true;
    message.insert_answers(records);
    message
}

fn refusal(code: ResponseCode) -> Message {
    Message::error_msg(0, OpCode::Query, code)
}

fn wire(name: &str) -> rr::Name {
    rr::Name::from_ascii(name).unwrap()
}

fn soa(serial: u32) -> Record {
    let soa = rdata::SOA::new(wire("ns."), wire("admin."), serial, 1, 1, 1, 1);
    Record::from_rdata(wire("example.com."), 300, RData::SOA(soa))
}

fn a(name: &str, last: u8) -> Record {
    Record::from_rdata(wire(name), 300, RData::A(rdata::A::new(10, 0, 0, last)))
}

fn host(n: u8) -> Record {
    a(&format!("host{n}.example.com."), n)
}

fn zone() -> Zone {
    "example.com".parse().unwrap()
}

fn primary(address: SocketAddr, key: Option<TsigKey>) -> Primary {
    let wait = Duration::from_millis(300);
    let limits = Limits { answer: wait, max_records: 50, ..Limits::default() };
    Primary::new(address.to_string().parse().unwrap(), key, limits)
}

async fn observe(
    script: impl Fn(&Message) -> Vec<Act> + Send + 'static,
) -> Result<Arc<Observed>, Error> {
    primary(play(script).await, None).observe(&zone(), None).await
}

/// Ten hosts in five messages, the closing SOA in the last.
fn transfer() -> Vec<Message> {
    (0..5)
        .map(|n| {
            let mut records = vec![host(2 * n), host(2 * n + 1)];
            if n == 0 {
                records.insert(0, soa(7));
            }
            if n == 4 {
                records.push(soa(7));
            }
            answer(records)
        })
        .collect()
}

#[tokio::test]
async fn a_whole_transfer_is_read() {
    let observed = observe(|_| transfer().into_iter().map(Act::Say).collect()).await.unwrap();
    assert_eq!(observed.serial(), 7);
    assert_eq!(observed.records().len(), 11);
}

#[tokio::test]
async fn a_transfer_that_ends_early_is_an_error_wherever_it_is_cut() {
    for kept in 0..5 {
        for end in [|| Act::Close, || Act::Hang] {
            let script = move |_: &Message| {
                let whole = transfer().into_iter().take(kept).map(Act::Say);
                whole.chain([Act::SayHalf(transfer().remove(kept)), end()]).collect()
            };
            let error = observe(script).await.unwrap_err();
            match kept {
                0 => assert_eq!(error.reason(), "ServerUnreachable", "{error}"),
                _ => assert_eq!(error.reason(), "TransferIncomplete", "{error}"),
            }
        }
    }
}

#[tokio::test]
async fn a_transfer_that_is_no_zone_is_an_error() {
    let cases: Vec<(&str, Vec<Message>)> = vec![
        ("begin", vec![answer(vec![host(1), soa(7)])]),
        ("ends with 8", vec![answer(vec![soa(7), host(1), soa(8)])]),
        ("after its end", vec![answer(vec![soa(7), soa(7), host(1)])]),
        ("not of this zone", vec![answer(vec![soa(7), a("host.example.org.", 1), soa(7)])]),
        ("not of this zone", vec![answer(vec![soa(7), a("badexample.com.", 1), soa(7)])]),
        ("no records", vec![answer(vec![soa(7), host(1)]), answer(vec![])]),
        ("SERVFAIL", vec![answer(vec![soa(7), host(1)]), refusal(ResponseCode::ServFail)]),
        (
            "more than 50",
            vec![answer((0..60).map(host).fold(vec![soa(7)], |mut all, host| {
                all.push(host);
                all
            }))],
        ),
    ];
    for (expected, messages) in cases {
        let count = std::sync::Mutex::new(Some(messages));
        let script = move |_: &Message| {
            count.lock().unwrap().take().unwrap().into_iter().map(Act::Say).collect()
        };
        let error = observe(script).await.unwrap_err();
        assert_eq!(error.reason(), "TransferIncomplete", "{error}");
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[tokio::test]
async fn an_answer_to_another_request_is_an_error() {
    let error = observe(|_| {
        let mut message = answer(vec![soa(7), soa(7)]);
        message.metadata.id = 1;
        vec![Act::Say(message)]
    });
    assert_eq!(error.await.unwrap_err().reason(), "MalformedAnswer");
}

#[tokio::test]
async fn an_unsigned_zone_is_not_believed_but_an_unsigned_refusal_is_told() {
    let key = || Some(TsigKey::new("upd", "hmac-sha256", SECRET).unwrap());
    let address = play(|_| vec![Act::Say(answer(vec![soa(7), soa(7)]))]).await;
    let error = primary(address, key()).observe(&zone(), None).await.unwrap_err();
    assert!(matches!(error, Error::Tsig { failure: TsigFailure::Unsigned, .. }), "{error}");

    let address = play(|_| vec![Act::Say(refusal(ResponseCode::Refused))]).await;
    let error = primary(address, key()).observe(&zone(), None).await.unwrap_err();
    assert!(matches!(error, Error::Refused { rcode: Rcode::REFUSED, .. }), "{error}");
    assert!(!error.to_string().contains(SECRET));
}

#[tokio::test]
async fn an_unchanged_serial_costs_one_query_and_a_changed_one_a_transfer() {
    let script = |serial: u32| {
        move |request: &Message| {
            let axfr = request.queries[0].query_type() == rr::RecordType::AXFR;
            let records =
                if axfr { vec![soa(serial), host(1), soa(serial)] } else { vec![soa(serial)] };
            vec![Act::Say(answer(records))]
        }
    };
    let known = observe(script(7)).await.unwrap();
    let again = primary(play(script(7)).await, None).observe(&zone(), Some(known.clone())).await;
    assert!(Arc::ptr_eq(&known, &again.unwrap()));
    let changed = primary(play(script(8)).await, None).observe(&zone(), Some(known)).await;
    assert_eq!(changed.unwrap().serial(), 8);
}

/// A plan that creates `count` names.
fn creations(count: usize) -> Plan<Change> {
    let mut desired = Desired::new(zone());
    for n in 0..count {
        let name: Name = format!("host{n:04}.example.com").parse().unwrap();
        // Two of these fill more than half a message, so that each has its own.
        for half in 0..2 {
            desired
                .add(name.clone(), 300, Rdata::txt(&format!("{half}{}", "x".repeat(10_000))))
                .unwrap();
        }
    }
    let observed = Observed::new(zone(), 1, <_>::default());
    plan(&desired, &observed, &Ledger::new(zone()), &Rules::default()).unwrap().plan
}

async fn apply(
    plan: &Plan<Change>,
    script: impl Fn(&Message) -> Vec<Act> + Send + 'static,
) -> Report {
    primary(play(script).await, None).apply(&zone(), plan).await
}

fn updates(request: &Message, name: &str) -> bool {
    request.authorities.iter().any(|record| record.name == wire(&format!("{name}.example.com.")))
}

#[tokio::test]
async fn an_apply_that_is_cut_says_what_was_made_what_not_and_what_is_in_doubt() {
    let plan = creations(8);
    for end in [|| Act::Close, || Act::Hang] {
        let report = apply(&plan, move |request| {
            if updates(request, "host0004") { vec![end()] } else { vec![Act::Say(answer(vec![]))] }
        })
        .await;
        let (accepted, not_sent) = ([Outcome::Accepted; 2], [Outcome::NotSent; 2]);
        assert_eq!(report.outcomes[..4], [accepted, accepted].concat());
        assert_eq!(report.outcomes[4..6], [Outcome::Unknown; 2]);
        assert_eq!(report.outcomes[6..], not_sent);
        assert_eq!(report.stopped.unwrap().reason(), "ServerUnreachable");
    }
}

#[tokio::test]
async fn one_bad_record_harms_only_itself_and_good_ones_go_first() {
    let plan = creations(8);
    let report = apply(&plan, |request| {
        let bad = updates(request, "host0003");
        vec![Act::Say(if bad { refusal(ResponseCode::ServFail) } else { answer(vec![]) })]
    })
    .await;
    for (index, outcome) in report.outcomes.iter().enumerate() {
        let bad = index == 3;
        assert_eq!(
            *outcome,
            if bad { Outcome::Refused(Rcode::SERVFAIL) } else { Outcome::Accepted }
        );
    }
    let sent: Vec<_> = report.messages.iter().map(|message| message.changes.clone()).collect();
    assert_eq!(sent, [0..2, 2..4, 4..6, 6..8, 2..3, 3..4]);
    assert!(report.stopped.is_none());
}

#[tokio::test]
async fn a_record_that_changed_meanwhile_is_told_apart_from_a_refusal() {
    let report = apply(&creations(1), |_| vec![Act::Say(refusal(ResponseCode::YXDomain))]).await;
    assert_eq!(report.outcomes, [Outcome::Overtaken(Rcode::YXDOMAIN)]);
}

#[tokio::test]
async fn a_server_that_accepts_nothing_is_not_asked_for_ever() {
    let report = apply(&creations(100), |_| vec![Act::Say(refusal(ResponseCode::Refused))]).await;
    assert!(matches!(report.stopped, Some(Error::Refused { rcode: Rcode::REFUSED, .. })));
    assert!(report.messages.len() < 100, "{} messages", report.messages.len());
    assert!(report.outcomes.contains(&Outcome::NotSent));
}

#[tokio::test]
async fn nobody_listening_is_an_error_that_names_the_server() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let report = primary(free, None).apply(&zone(), &creations(1)).await;
    assert_eq!(report.outcomes, [Outcome::NotSent]);
    assert!(report.stopped.unwrap().to_string().contains(&free.to_string()));
}
