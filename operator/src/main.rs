//! The program `telemetry-manager`. Everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    telemetry_manager::cli::main()
}
