//! What is said of a configuration that is wrong beside a secret, or in one.

use crate::canary::CANARY;
use crate::configuration::{Addresses, Configuration};
use crate::program::{Said, command};

/// Judges a text in both forms, which must both refuse it. A start draws what `validate` draws.
fn refused(configuration: &Configuration, what: &str, text: &str) {
    configuration.write(text);
    let path = configuration.path().display().to_string();
    let ways: [&[&str]; 2] = [&["validate"], &["validate", "--format", "json"]];
    for arguments in ways {
        let Said { code, output } = command(&[arguments, &["--config", &path]].concat());
        assert_eq!(code, 1, "{what}: {arguments:?}\n{text}\n{output}");
        configuration.canary.is_not_in(&format!("{what}: {}", arguments.join(" ")), &output);
    }
}

/// The configuration once for each of its lines, with that line changed by `change`, if it does change it.
fn by_line(text: &str, change: impl Fn(&str) -> Option<String>) -> Vec<(String, String)> {
    let lines: Vec<&str> = text.lines().collect();
    let changed = |(index, line): (usize, &&str)| {
        let mut all: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
        all[index] = change(line)?;
        Some((format!("line {}, `{}`", index + 1, line.split('=').next().unwrap()), all.join("\n")))
    };
    lines.iter().enumerate().filter_map(changed).collect()
}

/// A mistake in the line before or behind, so that the secret is part of what is drawn.
#[test]
fn mistakes_beside_secrets() {
    let configuration = Configuration::new(Addresses::nobody());
    for (what, text) in by_line(&configuration.text, |line| {
        line.contains(CANARY).then(|| format!("nonsense.one = 1\n{line}\nnonsense.two = 2"))
    }) {
        refused(&configuration, &what, &text);
    }
}

/// The secret itself in place of the reference to it, as a text, in a list, and as something that is no text.
#[test]
fn secrets_in_place_of_references() {
    let configuration = Configuration::new(Addresses::nobody());
    let pasted = |value: &str| {
        by_line(&configuration.text, |line| {
            let reference = line
                .split('"')
                .find(|text| ["file:", "env:", "directory:"].iter().any(|scheme| text.starts_with(scheme)))?;
            Some(line.replace(&format!("\"{reference}\""), value))
        })
    };
    let quoted = format!("\"{CANARY}\"");
    let values = [
        quoted.clone(),
        format!("[{quoted}]"),
        format!("{{ value = {quoted} }}"),
        format!("'''\n{CANARY}\n'''"),
        format!("\"Bearer {CANARY}\""),
    ];
    for value in values {
        let texts = pasted(&value);
        assert!(texts.len() >= 8);
        for (what, text) in texts {
            refused(&configuration, &what, &text);
        }
    }
}

/// A secret under a misspelt key, in a component of a misspelt type, and where a table is due.
#[test]
fn secrets_under_wrong_names() {
    let configuration = Configuration::new(Addresses::nobody());
    let sink = "version = 1\n[sources.made]\ntype = \"generate\"\n[sinks.out]\ninputs = [\"made\"]\n";
    for lines in [
        "type = \"otlp\"\nendpoint = \"http://a:1\"\nauth.bearer.tokn = \"{}\"",
        "type = \"otlp\"\nendpoint = \"http://a:1\"\npassword = \"{}\"",
        "type = \"otlp\"\nendpoint = \"http://a:1\"\nauth = \"{}\"",
        "type = \"otlp\"\nendpoint = \"http://a:1\"\nauth.bearer = \"{}\"",
        "type = \"otlp\"\nendpoint = \"http://a:1\"\nheaders = [\"authorization\", \"{}\"]",
        "type = \"otlp\"\nendpoint = \"http://user:{}@a:1\"",
        "type = \"otlpp\"\nendpoint = \"http://a:1\"\nauth.bearer.token = \"{}\"",
        "endpoint = \"http://a:1\"\nauth.bearer.token = \"{}\"",
    ] {
        refused(&configuration, lines, &format!("{sink}{}\n", lines.replace("{}", CANARY)));
        let path = configuration.path().display().to_string();
        let Said { code, output } = command(&["run", "--config", &path]);
        assert_eq!(code, 1, "{output}");
        configuration.canary.is_not_in(lines, &output);
    }
}

/// A slip of syntax in the line of the secret, and in the lines around.
#[test]
fn slips_beside_secrets() {
    let configuration = Configuration::new(Addresses::nobody());
    let slips: [fn(&str) -> String; 5] = [
        |line| line.strip_suffix('"').unwrap_or("= =").to_owned(),
        |line| line.replace('"', ""),
        |line| line.replacen('=', "", 1),
        |line| format!("x = [\n{line}"),
        |line| format!("{line}\n{line}"),
    ];
    for slip in slips {
        let texts = by_line(&configuration.text, |line| line.contains(CANARY).then(|| slip(line)));
        assert!(texts.len() >= 2);
        for (what, text) in texts {
            refused(&configuration, &what, &text);
        }
    }
}
