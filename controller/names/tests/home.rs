//! One small Domain, written out: what its names mean, and which records it wants.

#![allow(clippy::unwrap_used)] // helpers of tests are tests, too

use cim_names::{
    Error, ExtraRecord, Fqdn, Hierarchy, Inventory, RecordType, RecordValue, Source,
    desired_records,
};
use serde_json::json;

fn inventory() -> Inventory {
    serde_json::from_value(json!({
        "domain": {"source": "Domain/home/example-com", "suffix": "example.com", "zones": [
            {"name": "example.com", "ttl": 300}, {"name": "0.0.10.in-addr.arpa", "ttl": 3600},
            {"name": "0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa", "ttl": 300}]},
        "clusters": [
            {"source": "Cluster/home/core", "label": "core"},
            {"source": "Cluster/home/edge", "label": "edge"}],
        "machines": [
            {"source": "Machine/home/host1", "cluster": "Cluster/home/core", "label": "host1",
             "labels": {"canary": "yes"},
             "interfaces": [
                {"name": "eno1", "mac": "52:54:00:00:00:01", "addresses": ["10.0.0.11/24", "fd00::11/64"]},
                {"name": "eno1.100", "addresses": ["10.0.1.11/24"]}],
             "virtualHosts": [{"name": "vm1", "addresses": ["10.0.0.21"]}]},
            {"source": "Machine/home/host2", "cluster": "Cluster/home/core", "label": "host2",
             "interfaces": [{"name": "eno1", "addresses": ["10.0.0.12/24"]}]},
            {"source": "Machine/home/gw", "cluster": "Cluster/home/edge", "label": "gw",
             "interfaces": [{"name": "wan", "addresses": ["192.0.2.1/24"]}, {"name": "eno1", "addresses": ["10.0.0.1/24"]}],
             "primaryInterface": "eno1"}],
        "services": [
            {"source": "Service/home/vault", "cluster": "Cluster/home/core", "label": "vault", "roles": [
                {"name": "api", "selectors": ["host1.core.example.com", "host2"], "cardinality": {"min": 1, "max": 2},
                 "ports": [{"name": "http", "port": 8200}]},
                {"name": "backup", "selectors": ["vm1", "gw.edge"], "cardinality": {"min": 2, "max": 2}}]},
            {"source": "Service/home/proxy", "cluster": "Cluster/home/edge", "label": "proxy", "roles": [
                {"name": "front", "selectors": ["cluster/edge", "role/api.vault.core"], "cardinality": {"min": 0},
                 "ports": [{"name": "http", "port": 80}, {"name": "quic", "port": 443, "protocol": "udp"}]}]}]
    }))
    .unwrap()
}

/// The inventory with one thing replaced, by JSON pointer.
fn with(pointer: &str, value: serde_json::Value) -> Inventory {
    let mut json = serde_json::to_value(inventory()).unwrap();
    *json.pointer_mut(pointer).unwrap() = value;
    serde_json::from_value(json).unwrap()
}

fn problems(inventory: &Inventory) -> String {
    Hierarchy::strict(inventory).unwrap_err().to_string()
}

fn name(written: &str) -> Fqdn {
    Fqdn::parse(written).unwrap()
}

fn zone_file(set: &cim_names::DesiredSet) -> String {
    set.records
        .iter()
        .flat_map(|((name, record), records)| {
            records
                .values
                .iter()
                .map(move |value| format!("{name}. {} {record} {value}\n", records.ttl))
        })
        .collect()
}

#[test]
fn the_canonical_form_is_one_sorted_line() {
    let written = json!({
        "services": [],
        "machines": [{"label": "Bücher", "source": "Machine/b", "cluster": "Cluster/c"}],
        "domain": {"suffix": "Example.com.", "source": "Domain/d", "zones": []},
        "clusters": [{"source": "Cluster/c", "label": "Core"}],
    });
    let inventory: Inventory = serde_json::from_value(written).unwrap();
    assert_eq!(
        inventory.canonical_json(),
        r#"{"clusters":[{"label":"core","source":"Cluster/c"}],"domain":{"source":"Domain/d","suffix":"example.com","zones":[]},"machines":[{"cluster":"Cluster/c","host":null,"interfaces":[],"label":"xn--bcher-kva","labels":{},"primaryInterface":null,"source":"Machine/b","virtualHosts":[]}],"services":[]}"#
    );
}

#[test]
fn the_records_of_a_domain() {
    let hierarchy = Hierarchy::strict(&inventory()).unwrap();
    let set = desired_records(&hierarchy, &[], |_, _| true);
    insta::assert_snapshot!(zone_file(&set));
    let unmanaged: Vec<_> = set.unmanaged.keys().map(Fqdn::as_str).collect();
    assert_eq!(unmanaged, ["1.2.0.192.in-addr.arpa", "11.1.0.10.in-addr.arpa"]);
    assert!(set.held.is_empty());
}

#[test]
fn names_mean_what_people_expect() {
    let hierarchy = Hierarchy::build(&inventory());
    for (query, scope, answer) in [
        ("host1", "example.com", "host1.core.example.com"),
        ("host1.core", "example.com", "host1.core.example.com"),
        ("HOST1.core.example.com.", "example.com", "host1.core.example.com"),
        ("eno1", "host2.core.example.com", "eno1.host2.core.example.com"),
        ("eno1-100", "example.com", "eno1-100.host1.core.example.com"),
        ("vm1", "api.vault.core.example.com", "vm1.host1.core.example.com"),
        ("api", "vault.core.example.com", "api.vault.core.example.com"),
        ("gw", "vault.core.example.com", "gw.edge.example.com"),
        ("cluster/core", "gw.edge.example.com", "core.example.com"),
        ("example.com", "gw.edge.example.com", "example.com"),
        ("label/canary", "example.com", "host1.core.example.com"),
    ] {
        let found = hierarchy.resolve(query, &name(scope)).unwrap();
        let names: Vec<_> = found.elements.iter().map(|element| element.name.as_str()).collect();
        assert_eq!(names, [answer], "{query} from {scope}");
    }
    for nobody in ["label/canary=no", "10.9.9.9"] {
        assert!(hierarchy.resolve(nobody, &name("example.com")).unwrap().elements.is_empty());
    }
    assert!(
        hierarchy.resolve("label/canary", &name("edge.example.com")).unwrap().elements.is_empty()
    );
}

#[test]
fn an_address_has_all_its_names_the_nearest_first() {
    let hierarchy = Hierarchy::build(&inventory());
    let names = |query: &str| -> Vec<String> {
        let found = hierarchy.resolve(query, &name("example.com")).unwrap();
        found
            .elements
            .iter()
            .map(|element| hierarchy.short_name(&element.name).to_owned())
            .collect()
    };
    let of_host1 = [
        "eno1.host1.core",
        "host1.core",
        "api.vault.core",
        "front.proxy.edge",
        "proxy.edge",
        "vault.core",
    ];
    assert_eq!(names("10.0.0.11"), of_host1);
    assert_eq!(names("fd00::11"), of_host1);
    assert_eq!(names("11.0.0.10.in-addr.arpa"), of_host1);
    assert_eq!(names("10.0.1.11"), ["eno1-100.host1.core"]);
}

#[test]
fn what_is_not_ready_leaves_the_service_and_keeps_its_own_name() {
    let hierarchy = Hierarchy::build(&inventory());
    let ready = desired_records(&hierarchy, &[], |role, member| {
        !(role.name.first_label() == "api" && member.source.as_str() == "Machine/home/host1")
    });
    let values = |written: &str| {
        let records = ready.records.get(&(name(written), RecordType::A));
        records.map(|set| set.values.iter().map(ToString::to_string).collect::<Vec<_>>())
    };
    assert_eq!(values("api.vault.core.example.com"), Some(vec!["10.0.0.12".into()]));
    assert_eq!(values("host1.core.example.com"), Some(vec!["10.0.0.11".into()]));
    let srv = &ready.records[&(name("_http._tcp.vault.core.example.com"), RecordType::Srv)];
    assert_eq!(srv.values.len(), 1);
}

#[test]
fn errors_name_the_culprits_and_the_remedy() {
    let texts = [
        with("/services/0/roles/0/selectors/1", json!("eno1")),
        with("/services/0/roles/0/selectors/1", json!("hots2")),
        with("/services/0/roles/0/selectors/1", json!("machine/vault")),
        with("/services/0/roles/0/selectors/0", json!("front.proxy.edge")),
        with("/services/0/roles/0/cardinality/max", json!(1)),
        with("/machines/1/label", json!("host1")),
        with("/machines/1/interfaces/0/addresses/0", json!("10.0.0.11/16")),
        with("/machines/1/interfaces/0/mac", json!("52-54-00-00-00-01")),
        with("/machines/0/interfaces/1/name", json!("ENO1")),
        with("/machines/2/primaryInterface", json!("eth0")),
        with("/machines/2/cluster", json!("Cluster/home/none")),
        with("/clusters/1/label", json!("the edge")),
        with("/domain/zones/1/name", json!("example.com")),
        with("/services/1/dependsOn", json!(["Service/home/proxy", "Service/home/none"])),
    ]
    .map(|inventory| problems(&inventory));
    insta::assert_snapshot!(texts.join("\n--\n"));
}

#[test]
fn what_is_uncertain_is_held_and_the_rest_goes_on() {
    let typo = with("/machines/0/interfaces/0/addresses/0", json!("10.0.0.300/24"));
    let hierarchy = Hierarchy::build(&typo);
    let set = desired_records(&hierarchy, &[], |_, _| true);
    let held: Vec<_> = set.held.iter().map(Fqdn::as_str).collect();
    assert_eq!(
        held,
        [
            "_http._tcp.proxy.edge.example.com",
            "_http._tcp.vault.core.example.com",
            "_quic._udp.proxy.edge.example.com",
            "api.vault.core.example.com",
            "eno1.host1.core.example.com",
            "front.proxy.edge.example.com",
            "host1.core.example.com",
            "proxy.edge.example.com",
            "vault.core.example.com",
        ]
    );
    // Its good address is still published, and so is everybody else.
    assert!(set.records.contains_key(&(name("eno1.host1.core.example.com"), RecordType::Aaaa)));
    assert!(set.records.contains_key(&(name("backup.vault.core.example.com"), RecordType::A)));
}

#[test]
fn extra_records_yield_to_the_hierarchy_and_to_those_before_them() {
    let hierarchy = Hierarchy::build(&inventory());
    let extra = |at: &str, value: RecordValue, source: &str| ExtraRecord {
        name: name(at),
        ttl: Some(60),
        value,
        source: Source::new(source),
        field: "records[0]".to_owned(),
    };
    let text = |text: &str| RecordValue::Txt(text.to_owned());
    let alias = || RecordValue::Cname(name("mail.provider.example"));
    let a = |last| RecordValue::A([10, 0, 0, last].into());
    let records = [
        extra("_dnslink.example.com", text("dnslink=/ipfs/bafy"), "Domain/home/example-com"),
        extra("host1.core.example.com", text("rack b2"), "Domain/home/example-com"),
        extra("mail.example.com", alias(), "Domain/home/example-com"),
        extra("www.example.com", a(80), "Domain/home/example-com"),
        extra("www.example.com", a(81), "Domain/home/example-com"),
        extra("other.example.org", a(80), "Domain/home/example-com"),
        // Refused from here on.
        extra("host1.core.example.com", a(99), "Service/home/x"),
        extra("vault.core.example.com", alias(), "Service/home/x"),
        extra("example.com", alias(), "Service/home/x"),
        extra("mail.example.com", text("x"), "Service/home/x"),
        extra("_dnslink.example.com", alias(), "Service/home/x"),
        extra("_dnslink.example.com", text("dnslink=/ipfs/other"), "Service/home/x"),
        extra("11.0.0.10.in-addr.arpa", RecordValue::Ptr(name("x.example.com")), "Service/home/x"),
    ];
    let set = desired_records(&hierarchy, &records, |_, _| true);
    assert_eq!(set.problems.len(), 7);
    assert!(set.problems.iter().all(|problem| {
        problem.source.as_str() == "Service/home/x"
            && matches!(problem.error, Error::RecordConflict { .. })
    }));
    assert_eq!(set.records[&(name("www.example.com"), RecordType::A)].values.len(), 2);
    assert_eq!(set.records[&(name("www.example.com"), RecordType::A)].ttl, 60);
    assert!(set.unmanaged.contains_key(&name("other.example.org")));
    let lines: Vec<_> = set.problems.iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn the_json_forms_are_stable() {
    let hierarchy = Hierarchy::build(&with("/services/0/roles/0/selectors/1", json!("eno1")));
    let set = desired_records(&hierarchy, &[], |_, _| true);
    insta::assert_json_snapshot!(json!({
        "resolution": hierarchy.resolve("vm1", &name("example.com")).unwrap(),
        "tree": hierarchy.tree(),
        "problems": hierarchy.problems(),
        "first record": serde_json::to_value(&set).unwrap()["records"][0],
    }));
}
