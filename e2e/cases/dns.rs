//! The DNS client against Knot: each case in a zone of its own.

use std::{
    collections::BTreeSet,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};

use cim_dns::{
    Answer, ConflictReason, Desired, Error, HoldReason, Ledger, Limits, Name, Observed,
    Outcome as Made, Planned, Primary, Rcode, Rdata, RecordType, Release, RrSet, Rules,
    ServerAddress, TsigFailure, TsigKey, Zone, plan,
};
use cim_e2e::lab::{
    Lab, network,
    servers::dns::{KEY_ALGORITHM, KEY_NAME},
};
use cim_plan::DriftClass;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy},
    net::{TcpListener, TcpStream},
};

use crate::harness::Outcome;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// One zone on the lab's server, and what its owner keeps: the wish and the ledger.
struct Scene {
    zone: Zone,
    primary: Primary,
    desired: Desired,
    ledger: Ledger,
    rules: Rules,
}

impl Scene {
    /// A new zone with nothing but SOA and NS.
    async fn new(lab: &Lab, zone: &str) -> Result<Self> {
        let path = lab.scratch("dns")?.join(format!("{zone}.zone"));
        let apex = "@ 300 SOA ns.example.net. admin.example.net. 1 3600 600 86400 5\n\
                    @ 300 NS ns.example.net.\n";
        std::fs::write(&path, format!("$ORIGIN {zone}.\n{apex}"))?;
        let knot = lab.dns()?;
        let key = format!("zone[{zone}]");
        knot.knotc(&["conf-begin"]).await?;
        knot.knotc(&["conf-set", &key]).await?;
        knot.knotc(&["conf-set", &format!("{key}.file"), &path.to_string_lossy()]).await?;
        knot.knotc(&["conf-commit"]).await?;
        knot.knotc(&["--blocking", "zone-reload", zone]).await?;
        let zone: Zone = zone.parse()?;
        Ok(Self {
            primary: primary(server(), Some(key_with(KEY_NAME, knot.secret())?)),
            desired: Desired::new(zone.clone()),
            ledger: Ledger::new(zone.clone()),
            rules: Rules::default(),
            zone,
        })
    }

    fn want(&mut self, records: &[&str]) -> Result<()> {
        self.desired = Desired::new(self.zone.clone());
        for record in records {
            let [name, kind, value] = record.splitn(3, ' ').collect::<Vec<_>>()[..] else {
                return Err(format!("{record:?} is not NAME TYPE VALUE").into());
            };
            let value = Rdata::parse(kind.parse()?, value)?;
            self.desired.add(self.zone.absolute(name)?, 300, value)?;
        }
        Ok(())
    }

    async fn observe(&self) -> Result<Arc<Observed>> {
        Ok(self.primary.observe(&self.zone, None).await?)
    }

    /// Observes and plans, and stores the ledger as its owner would.
    async fn plan(&mut self) -> Result<Planned> {
        let planned = plan(&self.desired, &*self.observe().await?, &self.ledger, &self.rules)?;
        // Through its stored form, as it survives a restart.
        self.ledger = serde_json::from_str(&serde_json::to_string(&planned.ledger)?)?;
        Ok(planned)
    }

    /// Makes the zone as it is wanted; what still differs then.
    async fn correct(&mut self) -> Result<Vec<String>> {
        let planned = self.plan().await?;
        let report = self.primary.apply(&self.zone, &planned.plan).await;
        assert!(report.all_accepted(), "{report:?}");
        let after = self.plan().await?;
        assert!(after.plan.is_empty(), "not made:\n{}", after.plan);
        let settled = after.counts.in_sync + after.conflicts.len();
        assert_eq!(settled, self.desired.records().len());
        Ok(findings(&after))
    }

    /// Somebody else changes the zone: lines of nsupdate, names relative to the zone.
    async fn meddle(&self, lab: &Lab, lines: &[&str]) -> Outcome {
        let zone = self.zone.to_string();
        let lines: Vec<String> = lines.iter().map(|line| line.replace('@', &zone)).collect();
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        Ok(lab.dns()?.nsupdate(zone.trim_end_matches('.'), &lines).await?)
    }

    fn name(&self, relative: &str) -> Result<Name> {
        Ok(self.zone.absolute(relative)?)
    }
}

fn server() -> SocketAddr {
    (network::DNS, 53).into()
}

fn primary(address: SocketAddr, key: Option<TsigKey>) -> Primary {
    let address = ServerAddress { host: address.ip().to_string(), port: address.port() };
    Primary::new(address, key, Limits::default())
}

fn key_with(name: &str, secret: &str) -> Result<TsigKey> {
    Ok(TsigKey::new(name, KEY_ALGORITHM, secret)?)
}

fn address(n: usize) -> String {
    let [_, a, b, c] = u32::try_from(n).unwrap_or_default().to_be_bytes();
    Ipv4Addr::new(10, a, b, c).to_string()
}

fn findings(planned: &Planned) -> Vec<String> {
    planned.plan.findings.iter().map(|f| format!("{} {}", f.class, f.subject)).collect()
}

pub(crate) async fn records_are_made_repaired_and_foreign_ones_left_alone(lab: &Lab) -> Outcome {
    let mut scene = Scene::new(lab, "repair.test").await?;
    let mut reverse = Scene::new(lab, "2.0.10.in-addr.arpa").await?;
    scene.want(&["host1 A 10.0.2.1", "host2 A 10.0.2.2", "api CNAME host1.repair.test"])?;
    reverse.want(&["1 PTR host1.repair.test"])?;
    scene.correct().await?;
    reverse.correct().await?;
    let dns = lab.dns()?;
    assert_eq!(dns.dig(&["+short", "api.repair.test"]).await?, ["host1.repair.test.", "10.0.2.1"]);
    assert_eq!(dns.dig(&["+short", "-x", "10.0.2.1"]).await?, ["host1.repair.test."]);

    scene
        .meddle(
            lab,
            &[
                "delete host1.@ A",
                "add host1.@ 60 A 10.0.2.99",
                "delete host2.@ A",
                "add foreign.@ 60 TXT mine",
            ],
        )
        .await?;
    let drifted = scene.plan().await?;
    assert_eq!(
        findings(&drifted),
        [
            "missing host2.repair.test. A",
            "changed host1.repair.test. A",
            "unexpected foreign.repair.test. TXT",
        ]
    );
    let after = scene.correct().await?;
    assert_eq!(after, ["unexpected foreign.repair.test. TXT"]);
    assert_eq!(dns.dig(&["+short", "host1.repair.test"]).await?, ["10.0.2.1"]);
    assert_eq!(dns.dig(&["+short", "foreign.repair.test", "TXT"]).await?, ["\"mine\""]);

    // What is no longer wanted goes, and nothing else.
    scene.want(&["host1 A 10.0.2.1", "api CNAME host1.repair.test"])?;
    let after = scene.correct().await?;
    assert_eq!(after, ["unexpected foreign.repair.test. TXT"]);
    assert_eq!(scene.primary.lookup(&scene.name("host2")?, RecordType::A).await?, Answer::NoName);
    Ok(())
}

pub(crate) async fn a_name_changes_its_type_without_a_gap(lab: &Lab) -> Outcome {
    swap_under_a_prober(Scene::new(lab, "swap.test").await?).await
}

/// A signed zone has records at every name, which Knot counts as other data beside a CNAME.
pub(crate) async fn a_name_of_a_signed_zone_changes_its_type_without_a_gap(lab: &Lab) -> Outcome {
    let scene = Scene::new(lab, "signed.test").await?;
    let knot = lab.dns()?;
    knot.knotc(&["conf-begin"]).await?;
    knot.knotc(&["conf-set", "zone[signed.test].dnssec-signing", "on"]).await?;
    knot.knotc(&["conf-commit"]).await?;
    knot.knotc(&["--blocking", "zone-sign", "signed.test"]).await?;
    assert!(scene.observe().await?.records().keys().any(|key| key.kind.is_dnssec()));
    swap_under_a_prober(scene).await
}

async fn swap_under_a_prober(mut scene: Scene) -> Outcome {
    let ways = [
        vec!["to A 10.0.3.1".to_owned(), "it A 10.0.3.1".to_owned()],
        vec!["to A 10.0.3.1".to_owned(), format!("it CNAME to.{}", scene.zone)],
    ];
    let ways = ways.each_ref().map(|way| way.iter().map(String::as_str).collect::<Vec<_>>());
    scene.want(&ways[0])?;
    scene.correct().await?;
    let (primary, name) = (scene.primary.clone(), scene.name("it")?);
    let (stop, mut stopped) = tokio::sync::watch::channel(false);
    let prober = tokio::spawn(async move {
        let mut answers = Vec::new();
        while !*stopped.borrow_and_update() {
            answers.push(primary.lookup(&name, RecordType::A).await);
        }
        answers
    });
    for n in 1..20 {
        scene.want(&ways[n % 2])?;
        scene.correct().await?;
    }
    stop.send(true)?;
    let (mut direct, mut alias) = (0, 0);
    for answer in prober.await? {
        match answer? {
            Answer::Alias(_) => alias += 1,
            Answer::Records(_) => direct += 1,
            gap => return Err(format!("somebody was told {gap:?}").into()),
        }
    }
    assert!(direct > 0 && alias > 0, "{direct} direct, {alias} alias");
    Ok(())
}

pub(crate) async fn wrong_keys_are_told_apart(lab: &Lab) -> Outcome {
    let scene = Scene::new(lab, "keys.test").await?;
    let (secret, other) = (lab.dns()?.secret().to_owned(), "c29tZXRoaW5nIGVsc2U=");
    let failure = async |key: Option<TsigKey>| match primary(server(), key)
        .observe(&scene.zone, None)
        .await
    {
        Ok(_) => Err("the zone was given away".to_owned()),
        Err(error) if error.to_string().contains(&secret) => Err("a secret is told".to_owned()),
        Err(error) => Ok(error),
    };
    let tsig = |error: Error| match error {
        Error::Tsig { failure, .. } => Ok(failure),
        other => Err(other),
    };
    let wrong_secret = failure(Some(key_with(KEY_NAME, other)?)).await?;
    assert_eq!(tsig(wrong_secret)?, TsigFailure::BadSignature);
    // For a key that it does not have, this server gives the answer for a zone that it does not have.
    let wrong_name = key_with("nobody", &secret)?;
    let wrong_algorithm = TsigKey::new(KEY_NAME, "hmac-sha512", &secret)?;
    for key in [wrong_name, wrong_algorithm] {
        let error = failure(Some(key)).await?;
        assert!(matches!(error, Error::Refused { rcode: Rcode::NOTAUTH, .. }), "{error}");
        assert!(error.to_string().contains("key by this name"), "{error}");
    }
    let unsigned = failure(None).await?;
    assert!(matches!(unsigned, Error::Refused { rcode: Rcode::NOTAUTH, .. }), "{unsigned}");

    // An update with a wrong key does nothing and says why.
    let mut wanting =
        Scene { primary: primary(server(), Some(key_with(KEY_NAME, other)?)), ..scene };
    wanting.want(&["host1 A 10.0.4.1"])?;
    let nothing = Observed::new(wanting.zone.clone(), 1, <_>::default());
    let planned = plan(&wanting.desired, &nothing, &wanting.ledger, &wanting.rules)?;
    let report = wanting.primary.apply(&wanting.zone, &planned.plan).await;
    assert_eq!(report.outcomes, [Made::NotSent]);
    assert_eq!(tsig(report.stopped.ok_or("it went on")?)?, TsigFailure::BadSignature);
    Ok(())
}

pub(crate) async fn a_server_that_is_away_loses_nothing(lab: &Lab) -> Outcome {
    let mut scene = Scene::new(lab, "away.test").await?;
    scene.want(&["host1 A 10.0.5.1"])?;
    scene.correct().await?;
    let nobody = primary((network::DNS, 5353).into(), None);
    let error = nobody.observe(&scene.zone, None).await.err().ok_or("nobody answered")?;
    assert_eq!(error.reason(), "ServerUnreachable", "{error}");
    let no_zone: Zone = "elsewhere.test".parse()?;
    let error = scene.primary.observe(&no_zone, None).await.err().ok_or("no such zone")?;
    assert!(error.to_string().contains("elsewhere.test."), "{error}");

    // A plan that meets a dead server is not half believed.
    scene.want(&["host1 A 10.0.5.1", "host2 A 10.0.5.2"])?;
    let planned = scene.plan().await?;
    let report = nobody.apply(&scene.zone, &planned.plan).await;
    assert_eq!(report.outcomes, [Made::NotSent]);
    scene.correct().await?;
    Ok(())
}

pub(crate) async fn a_large_zone_is_read_whole_or_not_at_all(lab: &Lab) -> Outcome {
    const HOSTS: usize = 20_000;
    let mut scene = Scene::new(lab, "large.test").await?;
    let hosts: Vec<String> = (0..HOSTS).map(|n| format!("host{n} A {}", address(n))).collect();
    scene.want(&hosts.iter().map(String::as_str).collect::<Vec<_>>())?;
    scene.correct().await?;
    let whole = scene.observe().await?;
    assert_eq!(whole.records().len(), HOSTS + 2);
    let again = scene.primary.observe(&scene.zone, Some(whole.clone())).await?;
    assert!(Arc::ptr_eq(&whole, &again), "the same serial was transferred again");

    // The whole answer has several hundred kilobytes; cut it from its first byte to near its end.
    let key = || key_with(KEY_NAME, lab.dns()?.secret());
    for cut in [0, 1, 700, 70_000, 300_000, 450_000] {
        let proxy = cutting_proxy(cut).await?;
        let error = primary(proxy, Some(key()?)).observe(&scene.zone, None).await.err();
        let error = error.ok_or_else(|| format!("a zone was read from {cut} bytes"))?;
        let expected = if cut < 70_000 { "ServerUnreachable" } else { "TransferIncomplete" };
        assert_eq!(error.reason(), expected, "cut at {cut}: {error}");
    }
    let uncut = primary(cutting_proxy(usize::MAX).await?, Some(key()?));
    assert_eq!(uncut.observe(&scene.zone, None).await?, whole);
    Ok(())
}

/// A way to the server on which the answer is cut off after so many bytes.
async fn cutting_proxy(bytes: usize) -> Result<SocketAddr> {
    let listener = TcpListener::bind((network::GATEWAY, 0)).await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        let (client, _) = listener.accept().await?;
        let (from_server, mut to_server) = TcpStream::connect(server()).await?.into_split();
        let (mut from_client, mut to_client) = client.into_split();
        tokio::spawn(async move { copy(&mut from_client, &mut to_server).await });
        let limit = u64::try_from(bytes).unwrap_or(u64::MAX);
        copy(&mut from_server.take(limit), &mut to_client).await?;
        to_client.shutdown().await
    });
    Ok(address)
}

pub(crate) async fn a_record_that_changed_meanwhile_is_not_overwritten(lab: &Lab) -> Outcome {
    let mut scene = Scene::new(lab, "race.test").await?;
    let before: Vec<String> = (0..50).map(|n| format!("host{n} A {}", address(n))).collect();
    scene.want(&before.iter().map(String::as_str).collect::<Vec<_>>())?;
    scene.correct().await?;
    let after: Vec<String> = (0..50).map(|n| format!("host{n} A {}", address(n + 1000))).collect();
    scene.want(&after.iter().map(String::as_str).collect::<Vec<_>>())?;
    let planned = scene.plan().await?;
    scene.meddle(lab, &["add host7.@ 300 A 10.9.9.9"]).await?;
    let report = scene.primary.apply(&scene.zone, &planned.plan).await;
    let overtaken = report.count(|made| matches!(made, Made::Overtaken(_)));
    assert_eq!((overtaken, report.count(|made| made == Made::Accepted)), (1, 49));

    let seventh = scene.primary.lookup(&scene.name("host7")?, RecordType::A).await?;
    let kept = [address(7), "10.9.9.9".to_owned()];
    let kept: BTreeSet<Rdata> = kept
        .iter()
        .map(|a| Rdata::parse(RecordType::A, a))
        .collect::<std::result::Result<_, _>>()?;
    assert_eq!(seventh, Answer::Records(RrSet { ttl: 300, values: kept }));
    // It is ours, so the next pass repairs it.
    let next = scene.plan().await?;
    assert_eq!(findings(&next), ["changed host7.race.test. A"]);
    scene.correct().await?;
    Ok(())
}

pub(crate) async fn deletions_wait_for_a_person_and_strangers_are_safe(lab: &Lab) -> Outcome {
    let mut scene = Scene::new(lab, "held.test").await?;
    scene.meddle(lab, &["add theirs.@ 300 A 10.7.7.7", "add taken.@ 300 TXT x"]).await?;
    let hosts: Vec<String> = (0..20).map(|n| format!("host{n} A {}", address(n))).collect();
    scene.want(&hosts.iter().map(String::as_str).collect::<Vec<_>>())?;
    scene.correct().await?;

    scene.want(&[])?;
    let held = scene.plan().await?.held.ok_or("an empty wish would delete all")?;
    assert_eq!((held.reason, held.plan.changes.len()), (HoldReason::NothingDesired, 20));
    let without_ledger = Scene { ledger: Ledger::new(scene.zone.clone()), ..scene };
    let mut scene = without_ledger;
    let planned = scene.plan().await?;
    assert!(planned.held.is_none() && planned.plan.is_empty(), "{}", planned.plan);
    assert_eq!(planned.plan.count(DriftClass::Unexpected), 22);

    // Wanted and equal, they are ours again without a write; then the deletion is confirmed.
    scene.want(&hosts.iter().map(String::as_str).collect::<Vec<_>>())?;
    assert!(scene.plan().await?.plan.is_empty());
    scene.want(&[])?;
    scene.rules.release = Release::Confirmed(held.hash);
    let after = scene.correct().await?;
    assert_eq!(after, ["unexpected taken.held.test. TXT", "unexpected theirs.held.test. A"]);

    // A wanted record that meets a stranger's is a conflict, until the name is adopted.
    scene.want(&["theirs A 10.0.6.1", "taken CNAME theirs.held.test"])?;
    let planned = scene.plan().await?;
    assert!(planned.plan.is_empty(), "{}", planned.plan);
    let reasons: Vec<_> = planned.conflicts.into_iter().map(|conflict| conflict.reason).collect();
    let occupied = ConflictReason::Occupied { by: vec![RecordType::TXT] };
    assert_eq!(reasons, [occupied, ConflictReason::Foreign]);
    scene.rules.adopt.insert(scene.name("theirs")?);
    scene.correct().await?;
    let theirs = scene.primary.lookup(&scene.name("theirs")?, RecordType::A).await?;
    assert!(
        matches!(theirs, Answer::Records(set) if set.values.contains(&Rdata::A(Ipv4Addr::new(10, 0, 6, 1))))
    );
    Ok(())
}

pub(crate) async fn an_answer_too_large_for_udp_is_read_by_tcp(lab: &Lab) -> Outcome {
    const MANY: usize = 200;
    let mut scene = Scene::new(lab, "wide.test").await?;
    let values: Vec<String> = (0..MANY).map(|n| format!("all A {}", address(n))).collect();
    scene.want(&values.iter().map(String::as_str).collect::<Vec<_>>())?;
    scene.correct().await?;
    match scene.primary.lookup(&scene.name("all")?, RecordType::A).await? {
        Answer::Records(set) => assert_eq!(set.values.len(), MANY),
        other => return Err(format!("{other:?}").into()),
    }
    assert_eq!(scene.primary.lookup(&scene.name("all")?, RecordType::TXT).await?, Answer::NoData);
    Ok(())
}
