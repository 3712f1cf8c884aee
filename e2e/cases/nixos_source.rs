//! From a repository to closures that stay, by the crate that the controller uses.

mod building;
mod evaluating;
mod fetching;

use std::path::PathBuf;

use cim_e2e::lab::{Lab, servers::git::Repository};
use cim_nixos::{
    Attribute, AttributeError, Configuration, Evaluation, Limits, LockedSource, Nix, PrivateDir,
    Source, Toplevel,
};

use crate::nixos::{Try, toolbox, tools};

pub(crate) use building::{
    a_builder_that_dies_is_named_and_used_again, a_copy_tells_how_many_bytes_it_has_brought,
    a_failed_build_leaves_its_log, a_path_tells_its_content_and_its_signers,
    what_has_a_root_stays_until_it_is_let_go,
};
pub(crate) use evaluating::{
    a_configuration_that_eats_memory_stands_alone, a_configuration_that_never_ends_stands_alone,
    a_flake_makes_its_configurations_from_the_inventory,
};
pub(crate) use fetching::{
    HTTP as FORGE_PORT, PASSWORD as FORGE_PASSWORD,
    a_repository_is_read_with_a_key_by_a_known_host, a_repository_is_read_with_a_password,
    a_tag_that_moves_is_seen_and_moves_no_release, a_working_tree_with_changes_is_refused, forge,
    what_was_evaluated_stays_usable_without_its_repository,
};

/// What it takes to make closures, on the lab's tools.
struct Workbench<'lab> {
    lab: &'lab Lab,
    nix: Nix,
    scratch: PathBuf,
    dir: PrivateDir,
}

impl<'lab> Workbench<'lab> {
    async fn new(lab: &'lab Lab, name: &str, limits: Limits) -> Try<Self> {
        let scratch = lab.scratch(name)?;
        let nix = Nix::detect(tools(lab, &scratch)?, limits).await?;
        let dir = PrivateDir::open(scratch.join("p"))?;
        Ok(Self { lab, nix, scratch, dir })
    }

    async fn lock(&self, repository: &Repository) -> Try<LockedSource> {
        Ok(self.nix.resolve(&on_main(&repository.url())?).await?)
    }

    async fn evaluate(&self, source: &LockedSource, names: &[&str]) -> Try<Evaluation> {
        Ok(self.nix.evaluate(source, None, &attributes(names)?).await?)
    }

    /// Locks and evaluates one configuration of what the repository says now.
    async fn toplevel(&self, repository: &Repository, name: &str) -> Try<Toplevel> {
        let evaluation = self.evaluate(&self.lock(repository).await?, &[name]).await?;
        Ok(configuration(&evaluation, name)?.toplevel.clone())
    }

    /// Runs `nix` as a person would, in the store that the crate uses.
    fn by_hand(&self, args: &[&str]) -> Try<String> {
        let features = ["--extra-experimental-features", "nix-command flakes"];
        Ok(self.lab.tool("nix", &[&features[..], args].concat())?)
    }

    fn is_valid(&self, path: &str) -> bool {
        self.by_hand(&["path-info", "--offline", path]).is_ok()
    }
}

fn on_main(url: &str) -> Try<Source> {
    Ok(Source::parse(url, Some("main"), None)?)
}

fn attributes(names: &[&str]) -> Try<Vec<Attribute>> {
    Ok(names.iter().map(|name| name.parse()).collect::<Result<_, _>>()?)
}

fn result<'a>(
    evaluation: &'a Evaluation,
    name: &str,
) -> Try<&'a Result<Configuration, AttributeError>> {
    Ok(evaluation.configurations.get(&name.parse()?).ok_or("not evaluated")?)
}

fn configuration<'a>(evaluation: &'a Evaluation, name: &str) -> Try<&'a Configuration> {
    Ok(result(evaluation, name)?.as_ref().map_err(Clone::clone)?)
}

/// Replaces `old` in the repository's `flake.nix`, which must have it, and publishes that.
async fn change_flake(repository: &Repository, old: &str, new: &str) -> Try<String> {
    let flake = repository.read("flake.nix")?;
    let changed = flake.replace(old, new);
    assert_ne!(flake, changed, "{old} is not in it");
    Ok(repository.commit("Another flake", &[("flake.nix", &changed)]).await?)
}
