//! What holds for every inventory, sound or not.

#![allow(clippy::unwrap_used)] // helpers of tests are tests, too

use std::collections::BTreeSet;

use cim_names::{
    DesiredSet, Error, Fqdn, Hierarchy, Inventory, Kind, RecordType, RecordValue, Selector,
    address_of_reverse_name, desired_records,
    inventory::{Cardinality, Cluster, Machine, Service, Source},
    reverse_name,
    testkit::{messy, selector, sound},
};
use proptest::prelude::*;

fn all_ready(hierarchy: &Hierarchy) -> DesiredSet {
    desired_records(hierarchy, &[], |_, _| true)
}

fn named(name: &Fqdn) -> Selector {
    format!("{name}.").parse().unwrap()
}

/// The same resources as somebody else lists them.
fn shuffled(inventory: Inventory) -> impl Strategy<Value = Inventory> {
    let Inventory { domain, clusters, machines, services } = inventory;
    (Just(clusters).prop_shuffle(), Just(machines).prop_shuffle(), Just(services).prop_shuffle())
        .prop_map(move |(clusters, machines, services)| Inventory {
            domain: domain.clone(),
            clusters,
            machines,
            services,
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn building_twice_gives_the_same(inventory in messy()) {
        let (first, second) = (Hierarchy::build(&inventory), Hierarchy::build(&inventory));
        prop_assert_eq!(&first, &second);
        prop_assert_eq!(all_ready(&first), all_ready(&second));
    }

    #[test]
    fn sound_inventories_build_strictly(inventory in sound()) {
        prop_assert!(Hierarchy::strict(&inventory).is_ok_and(|h| h.elements().all(|e| e.settled)));
    }

    #[test]
    fn without_contest_the_order_of_the_inventory_does_not_matter(inventory in sound()) {
        let mut reversed = inventory.clone();
        reversed.clusters.reverse();
        reversed.machines.reverse();
        reversed.services.reverse();
        prop_assert_eq!(Hierarchy::build(&inventory), Hierarchy::build(&reversed));
    }

    #[test]
    fn an_inventory_survives_its_json_form(inventory in messy()) {
        let json = serde_json::to_string(&inventory).unwrap();
        prop_assert_eq!(serde_json::from_str::<Inventory>(&json).unwrap(), inventory);
    }

    #[test]
    fn the_canonical_form_means_the_same(inventory in messy()) {
        let text = inventory.canonical_json();
        let read: Inventory = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(Hierarchy::build(&read), Hierarchy::build(&inventory));
        prop_assert_eq!(read.canonical_json(), text);
    }

    #[test]
    fn the_canonical_form_of_uncontested_names_knows_no_order(
        (inventory, shuffled) in sound().prop_flat_map(|inventory| (Just(inventory.clone()), shuffled(inventory)))
    ) {
        prop_assert_eq!(inventory.canonical_json(), shuffled.canonical_json());
    }

    #[test]
    fn the_canonical_form_tells_different_meanings_apart(
        (inventory, shuffled) in messy().prop_flat_map(|inventory| (Just(inventory.clone()), shuffled(inventory)))
    ) {
        let same = Hierarchy::build(&inventory) == Hierarchy::build(&shuffled);
        prop_assert!(same || inventory.canonical_json() != shuffled.canonical_json());
    }

    #[test]
    fn forward_and_reverse_agree(inventory in messy()) {
        let hierarchy = Hierarchy::build(&inventory);
        for element in hierarchy.elements() {
            for address in &element.addresses {
                prop_assert!(hierarchy.names_of(*address).any(|name| *name == element.name));
            }
        }
        for address in hierarchy.addresses() {
            for name in hierarchy.names_of(address) {
                prop_assert!(hierarchy.element(name).unwrap().addresses.contains(&address));
            }
            prop_assert_eq!(address_of_reverse_name(&reverse_name(address)), Some(address));
        }
    }

    #[test]
    fn names_compose_and_parents_list_their_children(inventory in messy()) {
        let hierarchy = Hierarchy::build(&inventory);
        let mut listed = 0;
        for element in hierarchy.elements() {
            for child in hierarchy.children(element) {
                listed += 1;
                prop_assert_eq!(child.parent.as_ref(), Some(&element.name));
                prop_assert!(!child.name.relative_to(&element.name).unwrap().contains('.'));
            }
        }
        prop_assert_eq!(listed + usize::from(hierarchy.domain().is_some()), hierarchy.elements().count());
    }

    #[test]
    fn short_and_long_forms_mean_the_same(inventory in messy()) {
        let hierarchy = Hierarchy::build(&inventory);
        for element in hierarchy.elements() {
            let from = element.parent.as_ref().unwrap_or(&element.name);
            let label = element.name.relative_to(from).filter(|label| !label.is_empty());
            let short = label.unwrap_or(element.name.as_str());
            let (long, qualified) = (named(&element.name), hierarchy.qualified(element));
            for written in [short, element.name.as_str(), &long.to_string(), &qualified] {
                let selector: Selector = written.parse().unwrap();
                let found = hierarchy.find(&selector, from).unwrap();
                // A label that is also the suffix of a one-label Domain is that Domain's full name.
                if written == short && hierarchy.domain().is_some_and(|d| d.name.as_str() == short) {
                    continue;
                }
                prop_assert_eq!(found, vec![element], "{} from {}", written, from);
            }
        }
    }

    #[test]
    fn a_complete_name_means_the_same_from_everywhere(inventory in messy()) {
        let hierarchy = Hierarchy::build(&inventory);
        for element in hierarchy.elements() {
            let selector: Selector = element.name.as_str().parse().unwrap();
            for scope in hierarchy.elements() {
                prop_assert_eq!(hierarchy.find(&selector, &scope.name), Ok(vec![element]));
            }
        }
    }

    #[test]
    fn ambiguity_is_symmetric(inventory in messy(), written in selector()) {
        let hierarchy = Hierarchy::build(&inventory);
        let Ok(selector) = written.parse::<Selector>() else { return Ok(()) };
        for scope in hierarchy.elements() {
            let Err(Error::AmbiguousSelector { candidates, .. }) = hierarchy.find(&selector, &scope.name)
            else { continue };
            prop_assert!(candidates.len() > 1);
            prop_assert!(candidates.is_sorted());
            for candidate in &candidates {
                // Each candidate as proposed is an answer, and each begins as was asked.
                let found = hierarchy.find(&candidate.parse().unwrap(), &scope.name).unwrap();
                prop_assert_eq!(&hierarchy.qualified(found[0]), candidate);
                let Selector::Name { name, .. } = &selector else { unreachable!() };
                let begins = format!("{name}.");
                prop_assert!(found[0].name.as_str().starts_with(&begins));
            }
        }
    }

    #[test]
    fn ambiguity_does_not_depend_on_the_order_of_the_inventory(inventory in sound(), written in selector()) {
        let mut reversed = inventory.clone();
        reversed.machines.reverse();
        reversed.services.reverse();
        let (one, other) = (Hierarchy::build(&inventory), Hierarchy::build(&reversed));
        let Ok(selector) = written.parse::<Selector>() else { return Ok(()) };
        for scope in one.elements() {
            prop_assert_eq!(one.find(&selector, &scope.name), other.find(&selector, &scope.name));
        }
    }

    #[test]
    fn a_newcomer_changes_nothing_that_was_there(inventory in messy(), newcomer in messy()) {
        let before = Hierarchy::build(&inventory);
        let mut grown = inventory;
        let renamed = |source: &Source| Source::new(format!("new/{source}"));
        grown.clusters.extend(newcomer.clusters.into_iter().map(|c| Cluster { source: renamed(&c.source), ..c }));
        grown.services.extend(newcomer.services.into_iter().map(|s| Service { source: renamed(&s.source), ..s }));
        // A new machine comes before every service, so it may take a service's name; a new one of
        // the other kinds may not take anything.
        let after = Hierarchy::build(&grown);
        for element in before.elements() {
            let again = after.element(&element.name);
            prop_assert_eq!(again.map(|e| (e.kind, &e.source)), Some((element.kind, &element.source)));
            if !matches!(element.kind, Kind::Role | Kind::Service) {
                prop_assert_eq!(&again.unwrap().addresses, &element.addresses);
            }
        }
    }

    #[test]
    fn new_machines_leave_complete_names_alone(inventory in sound(), newcomer in sound()) {
        let before = Hierarchy::build(&inventory);
        let mut grown = inventory;
        grown.machines.extend(newcomer.machines.into_iter().map(|machine| Machine {
            source: Source::new(format!("new/{}", machine.source)),
            ..machine
        }));
        let after = Hierarchy::build(&grown);
        for element in before.elements() {
            let selector = named(&element.name);
            let (old, new) = (before.find(&selector, &element.name), after.find(&selector, &element.name));
            prop_assert_eq!(old.unwrap()[0].addresses.clone(), new.unwrap()[0].addresses.clone());
        }
    }

    #[test]
    fn one_broken_element_harms_only_what_depends_on_it(inventory in sound(), victim in any::<prop::sample::Index>()) {
        let before = Hierarchy::build(&inventory);
        let mut broken = inventory;
        let index = victim.index(broken.machines.len());
        broken.machines[index].label = "no label".to_owned();
        let source = broken.machines[index].source.clone();
        let after = Hierarchy::build(&broken);
        prop_assert!(after.problems_of(&source).count() == 1);
        for element in before.elements().filter(|element| element.source != source) {
            let again = after.element(&element.name).unwrap();
            let depends = match element.kind {
                Kind::Role => before.members(element).iter().any(|member| member.source == source),
                Kind::Service => before.members(element).iter().any(|member| member.source == source),
                _ => false,
            };
            prop_assert_eq!(again.settled, !depends, "{}", element.name);
            if !depends {
                prop_assert_eq!(&again.addresses, &element.addresses);
            }
        }
    }

    #[test]
    fn whatever_is_not_settled_has_a_problem_behind_it(inventory in messy()) {
        let hierarchy = Hierarchy::build(&inventory);
        prop_assert_eq!(hierarchy.problems().is_empty(), Hierarchy::strict(&inventory).is_ok());
        prop_assert!(hierarchy.problems().is_sorted());
        if hierarchy.elements().any(|element| !element.settled) {
            prop_assert!(!hierarchy.problems().is_empty());
        }
        for role in hierarchy.roles().filter(|role| !role.placed) {
            let own = hierarchy.problems_of(&role.source)
                .any(|p| p.element.as_ref().is_some_and(|(_, name)| *name == role.name));
            prop_assert!(own, "{} is not placed and nobody says why", role.name);
        }
    }

    #[test]
    fn placed_roles_obey_their_cardinality_and_never_contain_themselves(inventory in messy()) {
        let hierarchy = Hierarchy::build(&inventory);
        for role in hierarchy.roles().filter(|role| role.placed) {
            let Cardinality { min, max } = role.cardinality;
            let count = u32::try_from(role.count()).unwrap();
            prop_assert!(min <= count && max.is_none_or(|max| count <= max));
            for member in role.members.values() {
                prop_assert!(matches!(member.kind, Kind::Machine | Kind::Interface | Kind::VirtualHost));
                prop_assert!(hierarchy.element(&member.machine).is_some());
            }
        }
    }

    #[test]
    fn every_record_has_a_source_a_value_and_a_zone(inventory in messy()) {
        let hierarchy = Hierarchy::build(&inventory);
        let sources: BTreeSet<_> = hierarchy.elements().map(|element| &element.source).collect();
        let set = all_ready(&hierarchy);
        for ((name, record), records) in &set.records {
            prop_assert!(!records.values.is_empty() && !records.sources.is_empty());
            prop_assert!(records.sources.iter().all(|source| sources.contains(source)));
            prop_assert!(records.values.iter().all(|value| value.record_type() == *record));
            prop_assert_eq!(Some(&records.zone), hierarchy.zone_of(name));
            // The longest: no other zone lies between.
            prop_assert!(!hierarchy.zones().any(|zone| zone != &records.zone
                && name.is_within(zone) && zone.is_within(&records.zone)));
        }
        for name in set.unmanaged.keys() {
            prop_assert!(!hierarchy.zones().any(|zone| name.is_within(zone)));
        }
        prop_assert!(set.problems.is_empty());
    }

    #[test]
    fn every_address_has_one_reverse_name_that_leads_back(inventory in messy()) {
        let hierarchy = Hierarchy::build(&inventory);
        let set = all_ready(&hierarchy);
        let mut pointers = 0;
        for ((_, record), records) in &set.records {
            if *record == RecordType::Ptr {
                pointers += 1;
                prop_assert_eq!(records.values.len(), 1);
                let Some(RecordValue::Ptr(target)) = records.values.first() else { unreachable!() };
                prop_assert!(!hierarchy.element(target).unwrap().addresses.is_empty());
            }
        }
        let left_out = set.unmanaged.keys().filter(|name| name.labels().next_back() == Some("arpa")).count();
        prop_assert_eq!(pointers + left_out, hierarchy.addresses().count());
    }

    #[test]
    fn records_say_what_the_resolver_says(inventory in messy()) {
        let hierarchy = Hierarchy::build(&inventory);
        let set = all_ready(&hierarchy);
        for element in hierarchy.elements() {
            let published: BTreeSet<RecordValue> = [RecordType::A, RecordType::Aaaa]
                .into_iter()
                .filter_map(|record| set.records.get(&(element.name.clone(), record)))
                .flat_map(|records| records.values.clone())
                .collect();
            let resolved: BTreeSet<RecordValue> =
                element.addresses.iter().map(|address| (*address).into()).collect();
            if hierarchy.zone_of(&element.name).is_some() {
                prop_assert_eq!(published, resolved);
            } else {
                prop_assert!(published.is_empty());
            }
        }
    }

    #[test]
    fn service_records_lead_to_hosts_with_addresses(inventory in messy()) {
        let hierarchy = Hierarchy::build(&inventory);
        for records in all_ready(&hierarchy).records.values() {
            for value in &records.values {
                if let RecordValue::Srv { target, .. } = value {
                    let element = hierarchy.element(target).unwrap();
                    prop_assert!(matches!(element.kind, Kind::Machine | Kind::Interface | Kind::VirtualHost));
                    prop_assert!(!element.addresses.is_empty());
                }
            }
        }
    }

    #[test]
    fn members_that_are_not_ready_leave_only_the_names_of_services(inventory in messy()) {
        let hierarchy = Hierarchy::build(&inventory);
        let all = all_ready(&hierarchy);
        let none = desired_records(&hierarchy, &[], |_, _| false);
        for (key, records) in &all.records {
            let of_service = key.1 == RecordType::Srv || hierarchy.element(&key.0)
                .is_some_and(|element| matches!(element.kind, Kind::Role | Kind::Service));
            prop_assert_eq!(none.records.get(key), (!of_service).then_some(records));
        }
        prop_assert_eq!(all.held, none.held);
    }
}

#[test]
fn the_generator_reaches_every_kind_of_trouble() {
    use proptest::{strategy::ValueTree, test_runner::TestRunner};
    let mut runner = TestRunner::deterministic();
    let mut seen = BTreeSet::new();
    for _ in 0..4000 {
        let inventory = messy().new_tree(&mut runner).unwrap().current();
        seen.extend(Hierarchy::build(&inventory).problems().iter().map(|p| p.error.reason()));
    }
    for reason in [
        "AmbiguousSelector",
        "BadAddress",
        "BadCardinality",
        "BadLabel",
        "BadPort",
        "BadSelector",
        "BrokenTarget",
        "Cardinality",
        "DuplicateAddress",
        "DuplicateMac",
        "DuplicateName",
        "NoCluster",
        "NoReference",
        "ReferenceCycle",
        "SelectorCycle",
        "UnknownInterface",
        "UnknownSelector",
    ] {
        assert!(seen.contains(reason), "{reason} never came up; seen: {seen:?}");
    }
}
