//! The library as a machine of the lab sees it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use cim_e2e::lab::Lab;
use serde_json::Value;

use super::Try;

/// A copy of it, since the repository is not visible there.
pub(super) struct Library<'lab> {
    lab: &'lab Lab,
    /// The library is in `cim`, the stand-in for nixpkgs in `nixpkgs`, the fixtures in `nix-lib`.
    pub(super) dir: PathBuf,
}

impl<'lab> Library<'lab> {
    pub(super) fn new(lab: &'lab Lab, name: &str) -> Try<Self> {
        let dir = lab.scratch(name)?;
        let repository = Lab::fixture("..").join("..");
        for (from, to) in [
            (repository.join("flake.nix"), "cim/flake.nix"),
            (repository.join("nix"), "cim/nix"),
            (repository.join("controller/nixos/host"), "cim/controller/nixos/host"),
            (Lab::fixture("nixpkgs"), "nixpkgs"),
            (Lab::fixture("nix-lib"), "nix-lib"),
        ] {
            copy(&from, &dir.join(to))?;
        }
        Ok(Self { lab, dir })
    }

    /// The value of an expression that sees the files of `dir` below `./`.
    pub(super) fn evaluate(&self, expression: &str) -> Try<Value> {
        let file = self.dir.join("expression.nix");
        fs::write(&file, expression)?;
        let file = file.display().to_string();
        let text = self.lab.tool("nix-instantiate", &["--eval", "--strict", "--json", &file])?;
        Ok(serde_json::from_str(&text)?)
    }

    /// Runs `nix` on a flake whose inputs `cim` and `nixpkgs` are the copy and the stand-in.
    pub(super) fn nix(&self, arguments: &[&str], more: &[&str]) -> Try<String> {
        let input = |name: &str| format!("path:{}/{name}", self.dir.display());
        let (cim, nixpkgs) = (input("cim"), input("nixpkgs"));
        let with = [
            "--extra-experimental-features",
            "nix-command flakes",
            "--no-write-lock-file",
            "--override-input",
            "cim",
            &cim,
            "--override-input",
            "nixpkgs",
            &nixpkgs,
        ];
        Ok(self.lab.tool("nix", &[arguments, &with, more].concat())?)
    }
}

/// Copies a tree.
pub(super) fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    if !from.is_dir() {
        if let Some(parent) = to.parent() {
            fs::create_dir_all(parent)?;
        }
        return fs::copy(from, to).map(drop);
    }
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        copy(&entry.path(), &to.join(entry.file_name()))?;
    }
    Ok(())
}
