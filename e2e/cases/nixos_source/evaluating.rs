//! Evaluation: what it is a function of, and what it does with machines that are too much.

use std::time::Duration;

use cim_e2e::lab::Lab;
use cim_nixos::{AttributeError, Error, InventoryJson, Limits};

use super::{Workbench, attributes, change_flake, configuration, result};
use crate::harness::Outcome;

const HOSTS: &str = "host2 = host \"host2\";";

/// A function from the inventory to configurations, each with the closure of a service.
const FROM_INVENTORY: &str = r#"
      cimConfigurations =
        inventory:
        builtins.mapAttrs (
          name: machine:
          let
            web = derivation {
              name = "web-${name}";
              system = "x86_64-linux";
              builder = "${./bin}/busybox";
              args = [ "sh" "-c" "echo ${machine.motto} > $out" ];
            };
          in
          {
            config = {
              system.build.toplevel =
                (host "${name}-${machine.motto}").config.system.build.toplevel;
              cim.closures = {
                inherit web;
                same = web.outPath;
              };
            };
          }
        ) inventory.machines;
      nixosConfigurations = {"#;

pub(crate) async fn a_flake_makes_its_configurations_from_the_inventory(lab: &Lab) -> Outcome {
    let bench = Workbench::new(lab, "e1", Limits::default()).await?;
    let repository = lab.infra("inventory").await?;
    // As long as that of the largest Domain; too long for any command line.
    let padding = "x".repeat(600 << 10);
    let inventory = |motto: &str| {
        InventoryJson::new(&serde_json::json!({
            "machines": { "host1": { "motto": motto }, "host7": { "motto": motto } },
            "padding": padding,
        }))
    };
    let (first, second) = (inventory("one")?, inventory("two")?);
    let names = attributes(&["host1", "host7"])?;

    // A flake that takes no inventory is the same with any.
    let source = bench.lock(&repository).await?;
    let plain = bench.nix.evaluate(&source, None, &names).await?;
    let given = bench.nix.evaluate(&source, Some(&first), &names).await?;
    assert_eq!(plain.configurations, given.configurations);
    assert_eq!(given.inventory, None);
    let absent = result(&given, "host7")?.as_ref().err().ok_or("there is no host7")?;
    assert!(absent.to_string().ends_with("it has host1, host2"), "{absent}");

    change_flake(&repository, "      nixosConfigurations = {", FROM_INVENTORY).await?;
    let source = bench.lock(&repository).await?;
    let one = bench.nix.evaluate(&source, Some(&first), &names).await?;
    assert_eq!(one.inventory.as_ref(), Some(first.hash()));
    let host7 = configuration(&one, "host7")?;
    assert_eq!(host7.toplevel.closure.name(), "nixos-system-host7-one");
    assert_eq!(host7.services["web"].name(), "web-host7");
    assert_eq!(host7.services["web"], host7.services["same"]);
    assert_eq!(one.stats.runs, 1);
    assert!(one.stats.peak_memory > 1 << 20, "{:?}", one.stats);

    // Another inventory is another result; the first again is the first result again.
    let two = bench.nix.evaluate(&source, Some(&second), &names).await?;
    assert_eq!(configuration(&two, "host7")?.toplevel.closure.name(), "nixos-system-host7-two");
    let again = bench.nix.evaluate(&source, Some(&first), &names).await?;
    assert_eq!(again.configurations, one.configurations);

    // Without one it is a flake like any other.
    let without = bench.nix.evaluate(&source, None, &names).await?;
    assert_eq!(without.inventory, None);
    assert_eq!(configuration(&without, "host1")?.toplevel.closure.name(), "nixos-system-host1");

    // What the inventory lacks is that machine's fault, or that of the whole flake.
    let poor = InventoryJson::new(&serde_json::json!({
        "machines": { "host1": { "motto": "one" }, "host7": {} },
    }))?;
    let told = bench.nix.evaluate(&source, Some(&poor), &names).await?;
    assert!(result(&told, "host1")?.is_ok());
    let error = result(&told, "host7")?.as_ref().err().ok_or("host7 has no motto")?;
    assert!(error.to_string().contains("'motto' missing"), "{error}");
    let nothing: InventoryJson = "{}".parse()?;
    let error = bench.nix.evaluate(&source, Some(&nothing), &names).await.err();
    let error = error.ok_or("the inventory has no machines")?;
    assert_eq!(error.reason(), "FlakeBroken", "{error}");
    assert!(error.to_string().contains("'machines' missing"), "{error}");
    Ok(())
}

pub(crate) async fn a_configuration_that_eats_memory_stands_alone(lab: &Lab) -> Outcome {
    let limits = Limits {
        evaluate_memory: 400 << 20,
        evaluate_batch: 3,
        evaluate_workers: 2,
        ..Limits::default()
    };
    let bench = Workbench::new(lab, "e2", limits).await?;
    let repository = lab.infra("eater").await?;
    let eater = "host2 = host \"host2\";
        host3.config.system.build.toplevel =
          builtins.deepSeq (builtins.genList (n: [ n n ]) 50000000) (host \"host3\");
        host4 = host \"host4\";
        host5 = host \"host5\";";
    change_flake(&repository, HOSTS, eater).await?;
    let source = bench.lock(&repository).await?;
    let names = ["host1", "host2", "host3", "host4", "host5"];
    let evaluation = bench.evaluate(&source, &names).await?;
    for name in ["host1", "host2", "host4", "host5"] {
        assert!(result(&evaluation, name)?.is_ok(), "{evaluation:#?}");
    }
    let error = result(&evaluation, "host3")?.as_ref().err().ok_or("host3 fits")?;
    let AttributeError::TooLarge { limit, .. } = error else {
        return Err(format!("{error}").into());
    };
    assert_eq!((*limit, error.reason()), (400 << 20, "EvaluationTooLarge"));
    assert!(evaluation.stats.stopped >= 2, "{:?}", evaluation.stats);
    assert!(evaluation.stats.peak_memory > 400 << 20, "{:?}", evaluation.stats);
    // Nothing of a stopped run goes on.
    let left = lab.tool("sh", &["-c", "grep -l '/[e]ater' /proc/[0-9]*/cmdline || true"])?;
    assert_eq!(left, "");

    // A flake that is too much by itself is nobody's configuration.
    let whole = "nixosConfigurations =
        builtins.deepSeq (builtins.genList (n: [ n n ]) 50000000) {";
    change_flake(&repository, "nixosConfigurations = {", whole).await?;
    let source = bench.lock(&repository).await?;
    let error = bench.evaluate(&source, &names).await.err().ok_or("it fits")?;
    let error = error.downcast::<Error>()?;
    assert_eq!(error.reason(), "FlakeTooLarge", "{error}");
    Ok(())
}

pub(crate) async fn a_configuration_that_never_ends_stands_alone(lab: &Lab) -> Outcome {
    let limits = Limits { evaluate: Duration::from_secs(15), ..Limits::default() };
    let bench = Workbench::new(lab, "e3", limits).await?;
    let repository = lab.infra("endless").await?;
    let endless = "host2.config.system.build.toplevel =
          let
            many = builtins.genList (n: n) 100000;
            loop = f: builtins.foldl' (sum: _: sum + f sum) 0 many;
          in
          loop (_: loop (_: loop (_: 1)));";
    change_flake(&repository, HOSTS, endless).await?;
    let source = bench.lock(&repository).await?;
    let evaluation = bench.evaluate(&source, &["host1", "host2"]).await?;
    assert!(result(&evaluation, "host1")?.is_ok(), "{evaluation:#?}");
    let error = result(&evaluation, "host2")?.as_ref().err().ok_or("it ended")?;
    assert_eq!(error.reason(), "EvaluationTimeout", "{error}");
    Ok(())
}
