//! Command-line tools from the base root, run beside the servers: dig, nsupdate, ssh-keygen, git.

use std::path::{Path, PathBuf};

use super::{
    Inside, command,
    error::{During, Result},
    root::Root,
};

/// A furnished root in which a command sees the lab's network and its files under the same paths.
#[derive(Clone, Debug)]
pub(crate) struct Toolbox(Root);

impl Toolbox {
    pub(crate) fn new(inside: &Inside) -> Result<Self> {
        let root = Root::mount(inside, "toolbox")?;
        root.furnish(inside)?;
        Ok(Self(root))
    }

    /// Where it lies.
    pub(crate) fn root(&self) -> PathBuf {
        self.0.path("/")
    }

    /// A command that will run `program` in the toolbox.
    pub(crate) fn command(&self, program: &str) -> std::process::Command {
        self.0.command(program)
    }

    /// Runs a program to its end; its standard output.
    pub(crate) fn run(&self, program: &str, args: &[&str]) -> Result<String> {
        self.run_with_input(program, args, "")
    }

    /// Runs a program with `input` to its end; its standard output.
    pub(crate) fn run_with_input(
        &self,
        program: &str,
        args: &[&str],
        input: &str,
    ) -> Result<String> {
        let mut command = self.command(program);
        command.args(args);
        let output = command::run_with_input(command, input.as_bytes())?;
        Ok(String::from_utf8_lossy(&output).into_owned())
    }

    /// Copies a file of the base root to `to`.
    pub(crate) fn copy_out(&self, inner: &str, to: &Path) -> Result<()> {
        std::fs::copy(self.0.path(inner), to).during("copy to", to).map(drop)
    }
}
