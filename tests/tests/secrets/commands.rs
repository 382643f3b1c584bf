//! What commands say of a configuration that is right.

use crate::configuration::{Addresses, Configuration};
use crate::program::{Program, command};

/// Every command that reads a configuration, in every form.
#[test]
fn commands_say_no_secret() {
    let configuration = Configuration::new(Addresses::nobody());
    let path = configuration.path().display().to_string();
    let of_file: [&[&str]; 6] = [
        &["validate"],
        &["validate", "--format", "json"],
        &["validate", "--no-environment"],
        &["config", "show"],
        &["graph"],
        &["graph", "--format", "mermaid"],
    ];
    for arguments in of_file {
        let said = command(&[arguments, &["--config", &path]].concat());
        assert_eq!(said.code, 0, "{arguments:?}:\n{}", said.output);
        assert!(!said.output.is_empty(), "{arguments:?}");
        configuration.canary.is_not_in(&arguments.join(" "), &said.output);
    }
    for arguments in [&["schema"][..], &["list"], &["list", "otlp"], &["list", "otlp", "--format", "json"]] {
        let said = command(arguments);
        assert_eq!(said.code, 0, "{arguments:?}");
        configuration.canary.is_not_in(&arguments.join(" "), &said.output);
    }
}

/// The same of the real process, whose variables are its own.
#[test]
fn processes_say_no_secret() {
    let configuration = Configuration::new(Addresses::nobody());
    let path = configuration.path().display().to_string();
    for arguments in [&["validate", "--config", &path][..], &["config", "show", "--config", &path]] {
        let mut program = Program::start(arguments);
        assert!(program.ended().success(), "{}", program.output());
        configuration.canary.is_not_in(&arguments.join(" "), &program.output());
    }
}
