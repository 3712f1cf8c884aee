//! One zone: from the spec, the names and the stored ledger to the DNS crate's own types.

use std::collections::BTreeSet;

use cim_crds::annotations::{ADOPT, CONFIRM};
use cim_crds::domain::dns::{DnsProvider, Zone as ZoneSpec, ZonePolicy};
use cim_crds::{Domain, names};
use cim_dns::{
    Ignore, Ledger, Name, Policy, Primary, Rdata, Release, Rules, ServerAddress, TsigKey, Zone,
};
use cim_names::{DesiredSet, Fqdn, RecordValue};
use kube::ResourceExt;

use super::failure::DomainFailure;
use super::gather::ZoneInputs;
use crate::naming::object_name;

/// The key of a ledger's ConfigMap.
pub(super) const LEDGER_KEY: &str = "ledger.json";

/// The name of the ConfigMap with the ledger of a zone.
pub(super) fn ledger_name(domain: &str, zone: &str) -> String {
    object_name(&[domain, "dns", zone])
}

/// One zone as it should be.
pub(super) struct ZoneWanted {
    pub(super) zone: Zone,
    pub(super) primary: Primary,
    pub(super) desired: cim_dns::Desired,
    pub(super) rules: Rules,
    /// Names at which something may be missing from `desired`: there nothing is taken away.
    pub(super) held: BTreeSet<Name>,
    pub(super) ledger: Ledger,
    /// The ledger as it is stored, to see whether it must be stored again.
    pub(super) stored: Option<String>,
    /// Records that cannot be written, each with the reason.
    pub(super) problems: Vec<String>,
}

/// Reads one zone of the spec.
pub(super) fn zone_wanted(
    domain: &Domain,
    spec: &ZoneSpec,
    inputs: ZoneInputs,
    records: &DesiredSet,
    limits: cim_dns::Limits,
) -> Result<ZoneWanted, DomainFailure> {
    let wrong = |error: cim_dns::Error| DomainFailure::Zone {
        zone: spec.name.clone(),
        source: Box::new(error),
    };
    let zone: Zone = spec.name.parse().map_err(wrong)?;
    let ledger = match &inputs.ledger {
        None => Ledger::new(zone.clone()),
        Some(stored) => serde_json::from_str(stored).map_err(|error| DomainFailure::Ledger {
            name: ledger_name(&domain.name_any(), &spec.name),
            why: error.to_string(),
        })?,
    };
    let (desired, problems) = desired(&zone, spec, records);
    let held = records.held.iter().filter_map(|name| name.as_str().parse().ok());
    Ok(ZoneWanted {
        primary: primary(spec, &inputs, limits)?,
        rules: rules(domain, spec).map_err(wrong)?,
        held: held.filter(|name| zone.contains(name)).collect(),
        stored: inputs.ledger,
        zone,
        desired,
        ledger,
        problems,
    })
}

fn primary(
    spec: &ZoneSpec,
    inputs: &ZoneInputs,
    limits: cim_dns::Limits,
) -> Result<Primary, DomainFailure> {
    let DnsProvider::Rfc2136(server) = &spec.provider;
    let address: ServerAddress = server.server.parse().map_err(|error| DomainFailure::Zone {
        zone: spec.name.clone(),
        source: Box::new(error),
    })?;
    let tsig = &inputs.tsig;
    let key = TsigKey::new(tsig.text("name")?, tsig.text("algorithm")?, tsig.text("secret")?)
        .map_err(|error| tsig.invalid(error))?;
    Ok(Primary::new(address, Some(key), limits))
}

fn rules(domain: &Domain, spec: &ZoneSpec) -> Result<Rules, cim_dns::Error> {
    // In the spec `*` stands for any characters; here that is `**`.
    let ignore = |pattern: &String| pattern.replace('*', "**").parse::<Ignore>();
    let adopt = domain.annotations().get(ADOPT).map(String::as_str).unwrap_or_default();
    let adopt = adopt.split([',', ' ']).filter(|name| !name.is_empty()).map(str::parse::<Name>);
    Ok(Rules {
        policy: match spec.policy {
            ZonePolicy::Sync => Policy::Sync,
            ZonePolicy::UpsertOnly => Policy::UpsertOnly,
            ZonePolicy::CreateOnly => Policy::CreateOnly,
        },
        ignore: spec.ignore.iter().map(ignore).collect::<Result<_, _>>()?,
        adopt: adopt.collect::<Result<_, _>>()?,
        release: domain
            .annotations()
            .get(CONFIRM)
            .map_or(Release::Nothing, |hash| Release::Confirmed(hash.clone())),
    })
}

/// The records of the zone; one that cannot be written harms only itself.
fn desired(zone: &Zone, spec: &ZoneSpec, records: &DesiredSet) -> (cim_dns::Desired, Vec<String>) {
    let mut desired = cim_dns::Desired::new(zone.clone());
    let mut problems = Vec::new();
    let Ok(apex) = Fqdn::parse(&spec.name) else { return (desired, problems) };
    for ((name, _), set) in records.in_zone(&apex) {
        for value in &set.values {
            let added =
                record(name, value).and_then(|(name, rdata)| desired.add(name, set.ttl, rdata));
            if let Err(error) = added {
                let sources: Vec<&str> =
                    set.sources.iter().map(cim_names::Source::as_str).collect();
                problems.push(format!("{}: {error}", sources.join(", ")));
            }
        }
    }
    (desired, problems)
}

fn record(name: &Fqdn, value: &RecordValue) -> Result<(Name, Rdata), cim_dns::Error> {
    let parse = |name: &Fqdn| name.as_str().parse::<Name>();
    let rdata = match value {
        RecordValue::A(address) => Rdata::A(*address),
        RecordValue::Aaaa(address) => Rdata::Aaaa(*address),
        RecordValue::Cname(target) => Rdata::Cname(parse(target)?),
        RecordValue::Ptr(target) => Rdata::Ptr(parse(target)?),
        RecordValue::Srv { priority, weight, port, target } => {
            Rdata::Srv { priority: *priority, weight: *weight, port: *port, target: parse(target)? }
        }
        RecordValue::Txt(text) => Rdata::txt(text),
    };
    Ok((parse(name)?, rdata))
}

/// Problems of names as a person finds them: object, field of its manifest, remedy.
pub(super) fn problem_text(problem: &cim_names::Problem) -> String {
    let cim_names::Problem { source, field, error, .. } = problem;
    format!("{source} {}: {error}", names::spec_path(field))
}
