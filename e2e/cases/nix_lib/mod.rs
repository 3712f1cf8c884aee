//! The Nix library: that it says of names what the controller says, and that what it makes of an
//! inventory can be delivered.

mod library;
mod names;
mod nats;
mod question;

use std::{collections::BTreeSet, path::Path};

use cim_e2e::lab::Lab;
use cim_names::Inventory;
use cim_nixos::{Attribute, InventoryJson, Limits, Nix, Source};
use library::{Library, copy};
pub(crate) use names::names_mean_the_same_as_to_the_controller;
pub(crate) use nats::localhost_leads_into_the_domain;
use serde_json::{Value, json};

use crate::{harness::Outcome, nixos::tools};

type Try<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// The value of an expression that sees the library, the stand-in for nixpkgs and the fixtures.
pub(crate) fn evaluate(lab: &Lab, name: &str, expression: &str) -> Try<Value> {
    Library::new(lab, name)?.evaluate(expression)
}

/// The configurations that can be had, and the reasons why others cannot.
fn standing(domain: &Value) -> (Vec<&str>, BTreeSet<&str>) {
    let known = domain["known"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let problems = domain["problems"].as_array().into_iter().flatten();
    (known.collect(), problems.filter_map(|problem| problem["reason"].as_str()).collect())
}

pub(crate) async fn an_inventory_becomes_configurations(lab: &Lab) -> Outcome {
    let library = Library::new(lab, "nix-lib-domain")?;
    let domain =
        library.evaluate("import ./nix-lib/domain.nix { cim = ./cim; nixpkgs = ./nixpkgs; }")?;

    // The second pass sees what the first found on the other machines, and each cluster its own.
    for (machine, network) in [("host1-dev", "10.0.0"), ("host1-prod", "10.0.1")] {
        let api = &domain["etc"][machine]["api.json"];
        assert_eq!(
            api["peers"]["api"],
            json!([[format!("{network}.11")], [format!("{network}.12")]])
        );
        assert_eq!(api["peers"]["backup"], json!([[format!("{network}.12")]]));
        assert_eq!(
            api["backups"],
            json!(["host2"]),
            "the selector is looked up in its own cluster"
        );
        assert_eq!(api["peerHostName"], json!(["host2"]), "{api}");
        assert_eq!(api["config"], json!({"port": 8200}));
    }
    let backup = &domain["etc"]["host2-dev"]["backup.json"];
    assert_eq!(
        backup["config"],
        json!({"port": 8200, "every": "1d"}),
        "a role's own configuration"
    );

    // Dev and prod differ as machines and run the same closures.
    let (closures, toplevels) = (&domain["closures"], &domain["toplevels"]);
    assert!(closures["host1-dev"]["vault"].is_string(), "{closures}");
    assert_eq!(closures["host1-dev"], closures["host1-prod"]);
    assert_ne!(toplevels["host1-dev"], toplevels["host1-prod"]);

    let resolver = &domain["resolver"];
    assert_eq!(resolver["addresses"], json!(["10.0.1.11", "10.0.1.12"]));
    assert_eq!(resolver["hosts"], json!(["host1.dev.example.com", "host2.dev.example.com"]));
    assert_eq!(
        resolver["configurations"],
        json!(["host1", "host2"]),
        "names lead to configurations"
    );

    assert_eq!(domain["outputs"]["names"], json!(["cimConfigurations", "cimProblems"]));
    assert_eq!(domain["outputs"]["configurations"], json!(ALL), "{}", domain["outputs"]);
    Ok(())
}

/// The machines of `domain.nix`.
const ALL: [&str; 5] = ["alone", "host1-dev", "host1-prod", "host2-dev", "host2-prod"];

pub(crate) async fn what_is_not_known_is_refused_and_nothing_else(lab: &Lab) -> Outcome {
    let library = Library::new(lab, "nix-lib-refusals")?;
    let domain =
        library.evaluate("import ./nix-lib/domain.nix { cim = ./cim; nixpkgs = ./nixpkgs; }")?;
    let dev = ["host1-dev", "host2-dev"];
    let cases: [(&str, &[&str], &[&str]); 14] = [
        ("sound", &ALL, &[]),
        ("accepted", &ALL, &[]),
        ("onlyInProd", &ALL, &[]),
        // Only the members are uncertain: they are all known.
        ("wrongCount", &["alone", "host1-dev", "host2-dev"], &["Cardinality"]),
        // Anybody in the cluster may have been meant.
        ("unknownSelector", &dev, &["UnknownSelector"]),
        ("namelessRole", &dev, &["BadLabel"]),
        // The machine itself, and whoever looks at the address that was lost.
        ("badAddress", &["alone", "host1-prod", "host2-prod"], &["BadAddress"]),
        // Those who play the role.
        ("badPort", &["alone", "host1-dev", "host2-dev"], &["BadPort"]),
        ("misspelt", &ALL, &["UnknownField"]),
        ("strict", &[], &["Cardinality"]),
        // Whoever would run what nobody vouches for.
        ("unpinned", &["alone"], &["NoHash"]),
        ("otherHash", &["alone"], &["HashMismatch"]),
        ("nobodySaid", &["alone"], &["NoDefinition"]),
        ("outputs", &[], &[]),
    ];
    for (case, known, reasons) in cases {
        let found = standing(&domain[case]);
        assert_eq!(found.0, known, "{case}: {}", domain[case]);
        assert_eq!(found.1, reasons.iter().copied().collect(), "{case}");
    }
    // Why can be read beside a configuration, without evaluating it.
    assert_eq!(domain["wrongCount"]["refused"]["host1-prod"], json!(["Cardinality"]));
    assert_eq!(domain["wrongCount"]["refused"]["host1-dev"], json!([]));
    assert_eq!(domain["badAddress"]["refused"]["host2-dev"], json!(["BadAddress"]));
    Ok(())
}

pub(crate) async fn a_service_of_another_repository_is_an_input(lab: &Lab) -> Outcome {
    let library = Library::new(lab, "nix-lib-input")?;
    let flake = format!("path:{}/nix-lib/consumer", library.dir.display());
    let service = format!("path:{}/nix-lib/service", library.dir.display());
    let greetings = library.nix(
        &["eval", "--json", &format!("{flake}#nixosConfigurations")],
        &[
            "--override-input",
            "greeter",
            &service,
            "--apply",
            "builtins.mapAttrs (_: machine: machine.config.environment.etc.greeting.text)",
        ],
    )?;
    let greetings: Value = serde_json::from_str(&greetings)?;
    assert_eq!(greetings, json!({"host1": "good morning", "host2": "good morning"}));
    Ok(())
}

pub(crate) async fn the_template_passes_flake_check(lab: &Lab) -> Outcome {
    let library = Library::new(lab, "nix-lib-template")?;
    let flake = format!("path:{}/cim/nix/template", library.dir.display());
    let nix = |arguments: &[&str]| library.nix(arguments, &[]);
    nix(&["flake", "check", &flake])?;

    // The machine in front knows the others' addresses.
    let servers = "host1.config.services.nginx.upstreams.pages.servers";
    let written = nix(&[
        "eval",
        "--json",
        &format!("{flake}#nixosConfigurations"),
        "--apply",
        &format!("machines: builtins.attrNames machines.{servers}"),
    ])?;
    assert_eq!(serde_json::from_str::<Value>(&written)?, json!(["10.0.0.12:80", "10.0.0.13:80"]));

    // A controller gives its own inventory: here the same one, in which host2 has moved.
    let mut inventory: Inventory = serde_json::from_value(library.evaluate(
        "((import ./cim/nix/lib).names.build (import ./cim/nix/template/inventory.nix)).inventory",
    )?)?;
    inventory.machines[1].interfaces[0].addresses = vec!["10.0.0.99/24".to_owned()];
    let given = nix(&[
        "eval",
        "--json",
        &format!("{flake}#cimConfigurations"),
        "--apply",
        &format!(
            "of: builtins.attrNames (of (builtins.fromJSON ''{}'')).{servers}",
            inventory.canonical_json()
        ),
    ])?;
    assert_eq!(serde_json::from_str::<Value>(&given)?, json!(["10.0.0.13:80", "10.0.0.99:80"]));
    Ok(())
}

pub(crate) async fn the_controllers_evaluator_gives_it_the_inventory(lab: &Lab) -> Outcome {
    let library = Library::new(lab, "nix-lib-evaluated")?;
    let flake = library.dir.join("flake");
    copy(&library.dir.join("nix-lib/evaluated"), &flake)?;
    copy(&library.dir.join("cim"), &flake.join("cim"))?;
    copy(&library.dir.join("nixpkgs"), &flake.join("nixpkgs"))?;
    let repository = lab.git()?.create("nix-lib-evaluated", &flake, &[]).await?;

    let nix = Nix::detect(tools(lab, &lab.scratch("nix-lib-nix")?)?, Limits::default()).await?;
    let source = nix.resolve(&Source::parse(&repository.url(), Some("main"), None)?).await?;
    let names = ["dev1", "prod1", "prod2"];
    let names = names.iter().map(|name| name.parse()).collect::<Result<Vec<Attribute>, _>>()?;
    let evaluate = async |members: u32| -> Try<_> {
        let canonical = evaluated_inventory(members)?.canonical_json();
        let given: InventoryJson = canonical.parse()?;
        assert_eq!(given.as_str(), canonical, "both spell an inventory alike");
        let evaluation = nix.evaluate(&source, Some(&given), &names).await?;
        assert_eq!(evaluation.inventory.as_ref(), Some(given.hash()), "the flake takes it");
        Ok(evaluation.configurations)
    };

    let sound = evaluate(2).await?;
    let configuration = |name: usize| {
        let found = sound.get(&names[name]).and_then(|found| found.as_ref().ok());
        found.ok_or_else(|| format!("{} was not evaluated: {sound:?}", names[name]))
    };
    let (dev1, prod1, prod2) = (configuration(0)?, configuration(1)?, configuration(2)?);
    assert_eq!(dev1.services, prod1.services, "what was approved in dev is what prod gets");
    assert_eq!(dev1.services.len(), 1);
    assert_ne!(dev1.toplevel.closure, prod1.toplevel.closure);
    assert_ne!(prod1.toplevel.closure, prod2.toplevel.closure);

    // Three are wanted in prod, and two are there: nobody plays the role, and dev goes on.
    let broken = evaluate(3).await?;
    assert_eq!(broken[&names[0]].as_ref(), Ok(dev1), "{broken:?}");
    for name in &names[1..] {
        let why = broken[name].as_ref().err().map(ToString::to_string).unwrap_or_default();
        assert!(why.contains("has 2 members where exactly 3 are wanted"), "{name}: {why}");
    }
    Ok(())
}

/// A cluster `dev` with one machine and a cluster `prod` with two, each with the service `api` on all
/// its machines, of which `prod` wants so many.
fn evaluated_inventory(members: u32) -> Try<Inventory> {
    let machine = |cluster: &str, label: &str, address: &str| {
        json!({
            "source": format!("Machine/t/{label}"), "label": label,
            "cluster": format!("Cluster/t/{cluster}"),
            "interfaces": [{"name": "eno1", "addresses": [address]}],
        })
    };
    let service = |cluster: &str, count: u32| {
        json!({
            "source": format!("Service/t/api-{cluster}"), "label": "api",
            "cluster": format!("Cluster/t/{cluster}"),
            "roles": [{
                "name": "server", "selectors": [format!("cluster/{cluster}")],
                "cardinality": {"min": count, "max": count},
            }],
        })
    };
    Ok(serde_json::from_value(json!({
        "domain": {"source": "Domain/t/d", "suffix": "example.com", "zones": []},
        "clusters": [
            {"source": "Cluster/t/dev", "label": "dev"}, {"source": "Cluster/t/prod", "label": "prod"},
        ],
        "machines": [
            machine("dev", "dev1", "10.0.0.11/24"),
            machine("prod", "prod1", "10.0.1.11/24"),
            machine("prod", "prod2", "10.0.1.12/24"),
        ],
        "services": [service("dev", 1), service("prod", members)],
    }))?)
}

/// Names a copy of nix-community/nixpkgs.lib; the lab itself has none.
const NIXPKGS_LIB: &str = "CIM_NIXPKGS_LIB";

pub(crate) async fn the_modules_fit_the_real_lib(lab: &Lab) -> Outcome {
    let Some(given) = std::env::var_os(NIXPKGS_LIB) else {
        println!("skipped: {NIXPKGS_LIB} names no copy of nix-community/nixpkgs.lib");
        return Ok(());
    };
    let library = Library::new(lab, "nix-lib-modules")?;
    copy(Path::new(&given), &library.dir.join("nixpkgs-lib"))?;
    let seen = library.evaluate(
        "import ./nix-lib/modules.nix { nixpkgsLib = ./nixpkgs-lib; cim = ./cim; nixpkgs = ./nixpkgs; }",
    )?;
    for nothing in ["problems", "undocumented", "failed"] {
        assert_eq!(seen[nothing], json!([]), "{nothing}");
    }
    let refused = json!({
        "nothing": false, "misspelt": true, "mistyped": true, "trustedDeployer": true,
    });
    assert_eq!(seen["refused"], refused);
    assert_eq!(seen["hostName"], "host1");
    assert_eq!(seen["closures"], json!({"web": "darkhttpd"}));
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (hub, leaf) = (text(&seen["natsConf"]["hub"]), text(&seen["natsConf"]["leaf"]));
    let include = "include '../../run/credentials/cim-nats.service/resolver.conf'";
    assert!(hub.contains(include), "{hub}");
    assert!(leaf.contains("listen: \"127.0.0.1:4222\"") && !leaf.contains("include"), "{leaf}");
    assert!(leaf.contains("nats-leaf://10.0.0.11:7422"), "{leaf}");
    assert_eq!(seen["natsUnit"], json!(["leaf-0.creds:/run/secrets/leaf.creds"]));
    assert_eq!(seen["knot"]["acl"]["cim"]["action"], json!(["update", "transfer"]));
    assert_eq!(seen["knot"]["server"]["listen"], json!(["10.0.0.11@53"]), "the machine's own");
    assert_eq!(seen["unbound"]["stub-zone"][1]["stub-addr"], json!(["10.0.0.11"]));
    assert_eq!(seen["deliveryKeys"], "cim-1:key=\n");
    let rule = &seen["sudo"]["extraRules"][0]["commands"];
    let helper = json!([{
        "command": "/run/current-system/sw/bin/cim-activate", "options": ["NOPASSWD"],
    }]);
    assert_eq!(*rule, helper);
    Ok(())
}
