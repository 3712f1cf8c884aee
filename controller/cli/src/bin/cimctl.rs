//! `cimctl`.

use std::process::ExitCode;

fn main() -> ExitCode {
    cim_cli::main(cim_cli::Program::Cimctl)
}
