//! `kubectl cim`: the same program as a plugin.

use std::process::ExitCode;

fn main() -> ExitCode {
    cim_cli::main(cim_cli::Program::KubectlPlugin)
}
