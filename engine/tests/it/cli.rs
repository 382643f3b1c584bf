//! Commands that answer and end.

use engine_config::{Catalog, Kind};

use crate::harness::{Files, command};

const SMALL: &str = r#"version = 1

[sources.made]
type = "generate"
signals = ["logs"]

[transforms.shop]
type = "select"
inputs = ["made"]
keep = { "service.name" = ["shop"] }

[sinks.gone]
type = "blackhole"
inputs = ["shop"]
"#;

const BROKEN: &str = r#"version = 1

[sources.apps]
type = "otlp"
grpc.listn = "[::]:4317"

[transforms.shop]
type = "select"
inputs = ["aps"]
keep = { "k8s.namespace.name" = ["shop"] }

[sinks.backend]
type = "otlp"
inputs = ["shop"]
endpoint = "https://otlp.example.com:4317"
retry.initial_interval = 5
"#;

/// Everything that is wrong is drawn at once: place, expectation, advice, and a count.
#[test]
fn validate_draws_all_problems() {
    let files = Files::new(&[("engine.toml", BROKEN)]);
    let said = command(&["validate", "--config", &files.path("engine.toml")], &[]);
    assert_eq!((said.code, said.stdout.as_str()), (1, ""));
    insta::assert_snapshot!(files.without_directory(&said.stderr));
}

/// Scripts get the same as JSON, with stable codes.
#[test]
fn validate_answers_scripts() {
    let files = Files::new(&[("engine.toml", BROKEN), ("good.toml", SMALL)]);
    let said = command(&["validate", "--format", "json", "-c", &files.path("engine.toml")], &[]);
    let answer: serde_json::Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!((said.code, &answer["valid"]), (1, &false.into()));
    let codes: Vec<_> = answer["problems"].as_array().unwrap().iter().map(|problem| &problem["code"]).collect();
    assert_eq!(codes, ["unknown_key", "unknown_input", "wrong_type"]);
    let said = command(&["validate", "--format", "json", "-c", &files.path("good.toml")], &[]);
    let answer: serde_json::Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!((said.code, &answer["valid"]), (0, &true.into()));
}

/// A warning passes, unless it is denied.
#[test]
fn warnings_can_be_denied() {
    let text = format!("{SMALL}\n[sources.idle]\ntype = \"generate\"\n");
    let files = Files::new(&[("engine.toml", &text)]);
    let path = files.path("engine.toml");
    let said = command(&["validate", "-c", &path], &[]);
    assert_eq!(said.code, 0, "{}", said.stderr);
    assert!(said.stderr.contains("1 warning") && said.stdout.contains("valid"), "{said:?}");
    assert_eq!(command(&["validate", "--deny-warnings", "-c", &path], &[]).code, 1);
}

/// A secret that is not there is wrong here, and none of the business of a check that knows no machine.
#[test]
fn the_environment_counts_unless_told_otherwise() {
    let text = r#"version = 1
[sources.made]
type = "generate"
[sinks.backend]
type = "otlp"
inputs = ["made"]
endpoint = "https://otlp.example.com:4317"
headers.authorization = { secret = "env:TOKEN" }
"#;
    let files = Files::new(&[("engine.toml", text)]);
    let path = files.path("engine.toml");
    let said = command(&["validate", "-c", &path], &[]);
    assert!(said.code == 1 && said.stderr.contains("the variable is not set"), "{said:?}");
    assert_eq!(command(&["validate", "-c", &path], &[("TOKEN", "x")]).code, 0);
    assert_eq!(command(&["validate", "--no-environment", "-c", &path], &[]).code, 0);
}

/// Secrets of a directory are looked at by name, and no command says what is in them.
#[test]
fn a_directory_of_secrets() {
    let secrets = Files::new(&[("shop-token", "canary-7f3a"), ("ca.crt", "canary-7f3a")]);
    let config = |name: &str| {
        format!(
            r#"version = 1
secrets.directory = "{}"
[sources.made]
type = "generate"
[sinks.backend]
type = "otlp"
inputs = ["made"]
endpoint = "https://otlp.example.com:4317"
headers.authorization = {{ secret = "directory:{name}" }}
"#,
            secrets.path("").trim_end_matches('/')
        )
    };
    let files = Files::new(&[("good.toml", &config("shop-token")), ("wrong.toml", &config("shop-tokn"))]);
    let (good, wrong) = (files.path("good.toml"), files.path("wrong.toml"));
    let said = command(&["validate", "-c", &wrong], &[]);
    assert_eq!(said.code, 1);
    for part in ["sinks.backend", "shop-tokn", "did you mean `shop-token`?", "the directory has `ca.crt`, `shop-token`"]
    {
        assert!(said.stderr.contains(part), "{part}: {}", said.stderr);
    }
    assert!(said.stderr.contains(secrets.path("").trim_end_matches('/')), "{}", said.stderr);
    let shown = command(&["config", "show", "-c", &good], &[]);
    assert!(shown.stdout.contains("directory:shop-token") && shown.stdout.contains("[secrets]"), "{shown:?}");
    assert_eq!(command(&["validate", "-c", &good], &[]).code, 0);
    assert_eq!(command(&["validate", "--no-environment", "-c", &wrong], &[]).code, 0);
    assert!(![said, shown].iter().any(|said| format!("{said:?}").contains("canary-7f3a")));
}

/// Variables are replaced only when that is allowed.
#[test]
fn variables_need_leave() {
    let files = Files::new(&[(
        "engine.toml",
        &SMALL.replace("keep = { \"service.name\" = [\"shop\"] }", "keep = { \"service.name\" = [\"${SHOP}\"] }"),
    )]);
    let path = files.path("engine.toml");
    let variables = [("SHOP", "expanded")];
    let plain = command(&["config", "show", "-c", &path], &variables);
    assert!(plain.stdout.contains("${SHOP}") && !plain.stdout.contains("expanded"), "{plain:?}");
    let expanded = command(&["config", "show", "--expand-environment", "-c", &path], &variables);
    assert!(expanded.stdout.contains("expanded"), "{expanded:?}");
}

/// No command shows a sensitive value, whether the configuration is right or wrong.
#[test]
fn no_command_shows_secrets() {
    let canary = "canary-7f3a";
    let good = format!(
        r#"version = 1
[sources.made]
type = "generate"
[sinks.backend]
type = "otlp"
inputs = ["made"]
endpoint = "https://otlp.example.com:4317"
headers.x-key = "{canary}"
headers.authorization = {{ secret = "env:TOKEN", prefix = "Bearer" }}
"#
    );
    let wrong = good.replace("inputs = [\"made\"]", "inputs = [\"mad\"]");
    let files = Files::new(&[("good.toml", &good), ("wrong.toml", &wrong)]);
    let variables = [("TOKEN", canary)];
    for words in [&["config", "show"][..], &["graph"], &["validate", "--format", "json"]] {
        for file in ["good.toml", "wrong.toml"] {
            let path = files.path(file);
            let said = command(&[words, &["-c", path.as_str()]].concat(), &variables);
            assert!(!said.stdout.contains(canary) && !said.stderr.contains(canary), "{words:?} {file}: {said:?}");
        }
    }
    let shown = command(&["config", "show", "-c", &files.path("good.toml")], &variables).stdout;
    assert!(shown.contains("[redacted]") && shown.contains("env:TOKEN"), "{shown}");
}

/// What `config show` prints is a configuration, and showing it again changes nothing.
#[test]
fn a_shown_configuration_is_one() {
    let files = Files::new(&[("engine.toml", SMALL)]);
    let first = command(&["config", "show", "-c", &files.path("engine.toml")], &[]);
    let shown = Files::new(&[("shown.toml", &first.stdout)]);
    assert_eq!(command(&["config", "show", "-c", &shown.path("shown.toml")], &[]).stdout, first.stdout);
}

/// Files of a directory and single files add up.
#[test]
fn files_are_merged() {
    let (head, tail) = SMALL.split_once("[sinks.gone]").unwrap();
    let sink = format!("version = 1\n[sinks.gone]{tail}");
    let directory = Files::new(&[("a.toml", head)]);
    let other = Files::new(&[("sink.toml", &sink)]);
    let said = command(&["validate", "-c", &directory.path(""), "-c", &other.path("sink.toml")], &[]);
    assert!(said.code == 0 && said.stdout.contains("3 components"), "{said:?}");
}

/// The configuration that runs without a file is a good one.
#[test]
fn the_embedded_default_is_valid() {
    let said = command(&["validate", "--deny-warnings"], &[]);
    assert_eq!(said.code, 0, "{}", said.stderr);
    let shown = command(&["config", "show"], &[]).stdout;
    assert!(shown.contains("type = \"console\"") && shown.contains("127.0.0.1:13133"), "{shown}");
}

/// Every option module has a component in this binary, and every component has an option module.
#[test]
fn what_can_be_written_can_run() {
    let can_run: Vec<_> =
        engine_core::registry::registered().iter().map(|found| (found.kind, found.type_name)).collect();
    let catalog = Catalog::builtin();
    let can_be_written: Vec<_> = catalog.entries().map(|entry| (entry.kind(), entry.type_name())).collect();
    assert_eq!(can_run, can_be_written);
}

/// The list has a line for every component, and a name gives its keys.
#[test]
fn list_tells_all_and_one() {
    let all = command(&["list"], &[]).stdout;
    assert_eq!(all.lines().count(), Catalog::builtin().entries().count());
    let one = command(&["list", "generate"], &[]).stdout;
    for word in ["source generate", "rate", "records_per_batch", "default 100", "Every source also takes"] {
        assert!(one.contains(word), "{word}: {one}");
    }
    assert!(one.lines().all(|line| line.chars().count() <= 120), "{one}");
    let otlp = command(&["list", "otlp"], &[]).stdout;
    assert!(otlp.contains("source otlp") && otlp.contains("sink otlp"), "one name, two kinds: {otlp}");
    assert_eq!(command(&["list", "nothing"], &[]).code, 1);
}

/// The JSON list is for scripts: kinds and schemas.
#[test]
fn list_answers_scripts() {
    let said = command(&["list", "select", "--format", "json"], &[]);
    let list: serde_json::Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!(list[0]["kind"], Kind::Transform.as_str());
    assert!(list[0]["schema"]["properties"]["keep"].is_object());
}

/// Both pictures show every component and what flows.
#[test]
fn graph_draws_the_plan() {
    let files = Files::new(&[("engine.toml", SMALL)]);
    let path = files.path("engine.toml");
    insta::assert_snapshot!("graph_dot", command(&["graph", "-c", &path], &[]).stdout);
    insta::assert_snapshot!("graph_mermaid", command(&["graph", "--format", "mermaid", "-c", &path], &[]).stdout);
}

/// Schema and completions are complete texts of their kind.
#[test]
fn schema_and_completions() {
    let schema: serde_json::Value = serde_json::from_str(&command(&["schema"], &[]).stdout).unwrap();
    assert_eq!(schema, engine_config::schema(&Catalog::builtin()));
    for shell in ["bash", "zsh", "fish"] {
        let said = command(&["completion", shell], &[]);
        assert!(said.code == 0 && said.stdout.contains("expand-environment"), "{shell}");
    }
}

/// Wrong words are answered on standard error with code 2, questions on standard output with 0.
#[test]
fn wrong_words_and_questions() {
    let said = command(&["rnu"], &[]);
    assert!(said.code == 2 && said.stderr.contains("rnu") && said.stdout.is_empty(), "{said:?}");
    let said = command(&["--version"], &[]);
    assert_eq!((said.code, said.stdout.trim()), (0, concat!("telemetry-engine ", env!("CARGO_PKG_VERSION"))));
    assert!(command(&["run", "--help"], &[]).stdout.contains("Exit codes"));
    let said = command(&["validate", "-c", "/nonexistent/engine.toml"], &[]);
    assert!(said.code == 1 && said.stderr.contains("/nonexistent/engine.toml"), "{said:?}");
}

/// Help begins with what the program is for.
#[test]
fn help_says_what_it_is_for() {
    let said = command(&["--help"], &[]);
    assert!(said.stdout.starts_with("Runs pipelines of logs, metrics and traces"), "{}", said.stdout);
}
