//! What is said of secrets that cannot be used: files with other content than they should have.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::canary::CANARY;
use crate::configuration::{Addresses, Configuration};
use crate::program::{Program, command};

/// The files that hold secrets.
const SECRETS: [&str; 5] = ["password", "token", "directory/token", "directory/secret", "directory/password"];

/// Starts the engine, waits until it runs or has refused to, and judges all that it said. Also whether it did refuse.
fn start(configuration: &Configuration, what: &str) -> bool {
    let path = configuration.path().display().to_string();
    let log = ["--log-level", "trace", "--log-format", "json"];
    let mut program = Program::start(&[&["run", "--config", &path][..], &log].concat());
    let runs = program.says("\"message\":\"running\"");
    configuration.canary.is_not_in(what, &program.output());
    !runs
}

/// Secrets of several lines, with characters that no header can carry, and that are no text.
#[test]
fn unfit_secrets_are_not_said() {
    for name in SECRETS {
        let contents: [&[u8]; 3] = [b"\x01\n", b"\nsecond line\n", b"\xff\xfe\n"];
        let mut refusals = 0;
        for content in contents {
            let configuration = Configuration::new(Addresses::nobody());
            fs::write(configuration.folder().join(name), [CANARY.as_bytes(), content].concat()).unwrap();
            refusals += usize::from(start(&configuration, name));
        }
        assert!(refusals >= 1, "{name} can hold anything");
    }
}

/// Private keys whose line ends were lost, as happens to values of variables, that were cut off, or are something else.
#[test]
fn unfit_keys_are_not_said() {
    let unfit: [fn(&str) -> String; 5] = [
        |pem| pem.replace('\n', ""),
        |pem| pem.replace('\n', " "),
        |pem| pem.replace('\n', "\\n"),
        |pem| pem.lines().take(2).collect::<Vec<_>>().join("\n"),
        |pem| pem.replacen("-----\n", &format!("-----\n{CANARY}!"), 1),
    ];
    for (number, change) in unfit.into_iter().enumerate() {
        let configuration = Configuration::new(Addresses::nobody());
        let file = configuration.folder().join("server.key");
        fs::write(&file, change(&fs::read_to_string(&file).unwrap())).unwrap();
        assert!(start(&configuration, &format!("unfit key {number}")), "{number}: such a key is of no use");
    }
}

/// Files that this user may not read, where the user is one to whom that applies.
#[test]
fn unreadable_secrets_are_not_said() {
    let configuration = Configuration::new(Addresses::nobody());
    let file = configuration.folder().join("password");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o000)).unwrap();
    let is_refused = fs::read(&file).is_err();
    let path = configuration.path().display().to_string();
    let said = command(&["validate", "--config", &path]);
    assert_eq!(said.code, u8::from(is_refused), "{}", said.output);
    assert_eq!(said.output.contains(&name_of(&file)), is_refused, "{}", said.output);
    configuration.canary.is_not_in("validate", &said.output);
}

fn name_of(file: &Path) -> String {
    file.display().to_string()
}
