//! The program: arguments in, an exit code out.

use std::process::ExitCode;

fn main() -> ExitCode {
    qgis_secrets::cli::main(std::env::args_os())
}
