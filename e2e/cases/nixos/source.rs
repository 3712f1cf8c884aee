//! From a commit to closures: what is refused before any machine is touched.

use cim_e2e::lab::{Lab, network};
use cim_nixos::{AttributeError, Configuration, Error, Source};

use super::{Site, Try, attribute};
use crate::harness::Outcome;

pub(crate) async fn a_broken_machine_does_not_stop_the_others(lab: &Lab) -> Outcome {
    let site = Site::new(lab, "n3").await?;
    let repository = lab.infra("broken").await?;
    let flake = repository.read("flake.nix")?;
    let broken = flake.replace(
        "host2 = host \"host2\";",
        "host2 = throw \"host2 lacks a disk\";
        host3.config.system.build.toplevel = 1 + \"x\";
        host4 = host \"host4\";",
    );
    assert_ne!(flake, broken);
    repository.commit("Two broken machines", &[("flake.nix", &broken)]).await?;
    let source = site.lock(&repository).await?;
    let evaluation = site.evaluate(&source, &["host1", "host2", "host3", "host4", "host9"]).await?;
    let of = |name: &str| -> Try<&Result<Configuration, AttributeError>> {
        Ok(evaluation.configurations.get(&attribute(name)?).ok_or("not evaluated")?)
    };
    assert!(of("host1")?.is_ok() && of("host4")?.is_ok(), "{evaluation:#?}");
    let message = |name: &str| -> Try<String> {
        Ok(of(name)?.as_ref().err().ok_or("it was evaluated")?.to_string())
    };
    assert!(message("host2")?.ends_with("host2 lacks a disk"), "{}", message("host2")?);
    assert!(message("host3")?.contains("cannot add a string to an integer"));
    assert!(message("host9")?.ends_with("it has host1, host2, host3, host4"));
    Ok(())
}

pub(crate) async fn a_flake_that_pins_nothing_is_refused(lab: &Lab) -> Outcome {
    let site = Site::new(lab, "n4").await?;
    let repository = lab.infra("unlocked").await?;
    let told = async |url: &str, branch: &str| -> Try<String> {
        let tell = |error: Error| format!("{}: {error}", error.reason());
        let locked = match site.nix.resolve(&Source::parse(url, Some(branch), None)?).await {
            Err(error) => return Ok(tell(error)),
            Ok(locked) => locked,
        };
        match site.nix.evaluate(&locked, None, &[attribute("host1")?]).await {
            Err(error) => Ok(tell(error)),
            Ok(evaluation) => {
                match evaluation.configurations.into_values().next().ok_or("not evaluated")? {
                    Err(error) => Ok(format!("{}: {error}", error.reason())),
                    Ok(_) => Ok("accepted".to_owned()),
                }
            }
        }
    };
    let expect = async |url: &str, branch: &str, wanted: &str| -> Try<()> {
        let told = told(url, branch).await?;
        assert!(told.starts_with(wanted), "{wanted} and not: {told}");
        Ok(())
    };
    let flake = repository.url();
    expect(&flake, "main", "accepted").await?;
    expect(&flake, "nowhere", "RefNotFound").await?;
    expect(&format!("{flake}-absent"), "main", "SourceUnreachable").await?;
    let nobody = format!("git://{}/x", network::host(99));
    expect(&nobody, "main", "SourceUnreachable").await?;

    let absent = "1".repeat(40);
    let pinned = async |url: &str| -> Try<&'static str> {
        let source = Source::parse(url, Some("main"), Some(&absent))?;
        Ok(site.nix.resolve(&source).await.map_or_else(|error| error.reason(), |_| "accepted"))
    };
    assert_eq!(pinned(&flake).await?, "RefNotFound");
    assert_eq!(pinned(&nobody).await?, "SourceUnreachable");

    let library = lab.infra("library").await?;
    let with_input = repository
        .read("flake.nix")?
        .replace(
            "  outputs =\n    { self }:",
            &format!(
                "  inputs.library.url = \"{}?ref=main\";\n  outputs =\n    {{ self, library }}:",
                library.url()
            ),
        )
        .replace("host1 = host \"host1\"", "host1 = library.nixosConfigurations.host1");
    repository.commit("An input", &[("flake.nix", &with_input)]).await?;
    expect(&flake, "main", "FlakeUnlocked").await?;

    // The true lock of the input but for its hash, then the true one.
    let features = ["--extra-experimental-features", "nix-command flakes"];
    let url = format!("{}?ref=main", library.url());
    let metadata =
        lab.tool("nix", &[&features[..], &["flake", "metadata", "--json", &url]].concat())?;
    let metadata: serde_json::Value = serde_json::from_str(&metadata)?;
    let nothing = format!("sha256-{}=", "A".repeat(43));
    let true_hash = metadata["locked"]["narHash"].as_str().ok_or("no hash")?;
    for (nar_hash, wanted) in [(nothing.as_str(), "LockMismatch"), (true_hash, "accepted")] {
        let mut locked = metadata["locked"].clone();
        locked.as_object_mut().ok_or("no object")?.remove("__final");
        locked["narHash"] = nar_hash.into();
        let lock = serde_json::json!({
            "nodes": {
                "library": { "locked": locked, "original": metadata["original"] },
                "root": { "inputs": { "library": "library" } },
            },
            "root": "root",
            "version": 7,
        });
        repository.commit("Another lock", &[("flake.lock", &lock.to_string())]).await?;
        expect(&flake, "main", wanted).await?;
    }

    // A locked input whose repository is gone is nobody's broken configuration.
    let gone = repository.read("flake.nix")?.replace(&library.url(), &nobody);
    let lock = repository.read("flake.lock")?.replace(&library.url(), &nobody);
    let lock = lock.replace(true_hash, &nothing);
    repository.commit("A lost input", &[("flake.nix", &gone), ("flake.lock", &lock)]).await?;
    expect(&flake, "main", "SourceUnreachable").await
}
