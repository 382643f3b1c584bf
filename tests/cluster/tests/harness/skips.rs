//! Where a cluster cannot be had: a test of this program, run again on a machine that lacks everything.

use std::process::{Command, Output};

/// Runs one test of this program as if nothing were installed.
fn poor_machine(test: &str, ci: &str, list: &std::path::Path) -> Output {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test])
        .env("PATH", "/nothing")
        .env("CI", ci)
        .env("TESTS_SKIPPED", list)
        .env_remove("KUBECONFIG")
        .output()
        .unwrap()
}

/// Outside CI the test passes and says on its error stream, past the capture, what is missing; a line is counted.
#[test]
fn outside_ci_a_skip_is_loud_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let list = folder.path().join("skipped");
    for test in ["objects::objects_are_judged_and_kept", "nodes::logs_are_on_the_node_of_their_pod"] {
        let output = poor_machine(test, "", &list);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{errors}");
        assert!(errors.contains(&format!("SKIPPED {test}: missing: ")), "{errors}");
        assert!(errors.contains("setpriv (Debian package util-linux)"), "{errors}");
        assert!(errors.contains("1 skipped so far"), "{errors}");
    }
    let lines = std::fs::read_to_string(&list).unwrap();
    assert_eq!(lines.lines().count(), 2, "{lines}");
    assert!(lines.contains("containerd (Debian package containerd)"), "nodes need more: {lines}");
}

/// In CI the same is a failure.
#[test]
fn in_ci_a_skip_fails() {
    let folder = tempfile::tempdir().unwrap();
    let output = poor_machine("objects::objects_are_judged_and_kept", "true", &folder.path().join("skipped"));
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(!output.status.success());
    assert!(text.contains("CI must not skip a test. missing: "), "{text}");
}
