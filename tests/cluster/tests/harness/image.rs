//! Images: the same bytes every time, small, without what a program does not need, and as the Dockerfile says.

use std::path::{Path, PathBuf};
use std::process::Command;

use cluster::{Image, ImageOptions};

use crate::POD;

fn config_image() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config/image")
}

/// One file of an archive.
fn member(archive: &Path, name: &str) -> Vec<u8> {
    let output = Command::new("tar").arg("xOf").arg(archive).arg(name).output().unwrap();
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

fn json(archive: &Path, name: &str) -> serde_json::Value {
    serde_json::from_slice(&member(archive, name)).unwrap()
}

fn blob(descriptor: &serde_json::Value) -> String {
    format!("blobs/sha256/{}", descriptor["digest"].as_str().unwrap().strip_prefix("sha256:").unwrap())
}

/// The same program makes the same bytes, and the image holds it, its libraries, authorities and names, and nothing else.
#[tokio::test]
async fn an_image_is_reproducible_and_holds_what_it_must() {
    let folder = tempfile::tempdir().unwrap();
    let [first, second] = ["first.tar", "second.tar"].map(|name| folder.path().join(name));
    let options = ImageOptions::new("cluster.local/pod:1", Path::new(POD));
    for file in [&first, &second] {
        Image::build(file, options.clone()).await.unwrap();
    }
    assert!(std::fs::read(&first).unwrap() == std::fs::read(&second).unwrap(), "two images differ");

    let index = json(&first, "index.json");
    assert_eq!(index["manifests"][0]["annotations"]["io.containerd.image.name"], "cluster.local/pod:1");
    let manifest = json(&first, &blob(&index["manifests"][0]));
    let layer = folder.path().join("layer.tar");
    std::fs::write(&layer, member(&first, &blob(&manifest["layers"][0]))).unwrap();
    let listing = Command::new("tar").arg("tf").arg(&layer).output().unwrap();
    let listing = String::from_utf8(listing.stdout).unwrap();
    let (libraries, rest): (Vec<&str>, Vec<&str>) =
        listing.lines().filter(|name| !name.ends_with('/')).partition(|name| name.contains(".so"));
    assert!(libraries.iter().any(|name| name.contains("libc.so")), "{libraries:?}");
    let expected = ["etc/group", "etc/nsswitch.conf", "etc/passwd", "etc/ssl/certs/ca-certificates.crt", "pod"];
    assert_eq!(rest, expected);
    assert!(String::from_utf8(member(&layer, "etc/passwd")).unwrap().contains("nonroot:x:65532:65532:"));
    let stripped = folder.path().join("stripped");
    assert!(Command::new("objcopy").arg("--strip-debug").arg(POD).arg(&stripped).status().unwrap().success());
    let (program, stripped) = (member(&layer, "pod"), std::fs::read(&stripped).unwrap());
    assert!(program == stripped, "only debug information is left out");
    assert!(program.len() < std::fs::read(POD).unwrap().len());
}

/// The README's line makes an image, with its release build in place of ours.
#[test]
fn the_line_of_the_readme_makes_an_image() {
    let readme = std::fs::read_to_string(config_image().join("../../README.md")).unwrap();
    let line = readme.lines().find(|line| line.starts_with("config/image/build ")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("engine.tar");
    let words = line.split(' ').skip(1).map(|word| match word {
        "engine.tar" => file.as_os_str(),
        "target/release/telemetry-engine" => POD.as_ref(),
        _ => word.as_ref(),
    });
    let output = Command::new(config_image().join("build")).args(words).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let manifest = json(&file, &blob(&json(&file, "index.json")["manifests"][0]));
    assert_eq!(json(&file, &blob(&manifest["config"]))["config"]["Cmd"], serde_json::json!(["run"]));
}

/// What is too large is refused, with the largest file's name; so is what is no program for Linux.
#[tokio::test]
async fn unfit_programs_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("image.tar");
    let options = ImageOptions::new("cluster.local/pod:1", Path::new(POD));
    let error = Image::build(&file, ImageOptions { most_mebibytes: Some(1), ..options.clone() }).await.unwrap_err();
    assert!(error.to_string().contains("at most 1 MiB are allowed; the largest file is /"), "{error}");
    let text = config_image().join("Dockerfile");
    let error = Image::build(&file, ImageOptions { binary: &text, ..options.clone() }).await.unwrap_err();
    assert!(error.to_string().contains("expected an executable for Linux (ELF)"), "{error}");
    let error = Image::build(&file, ImageOptions { user: Some("nobody"), ..options }).await.unwrap_err();
    assert!(error.to_string().contains("expected numbers, UID:GID"), "{error}");
    assert!(!file.exists());
}

/// The Dockerfile's last stage says what the script's image says: user, entry point, arguments, environment, and files
/// from the same script.
#[tokio::test]
async fn the_dockerfile_says_the_same() {
    let dockerfile = std::fs::read_to_string(config_image().join("Dockerfile")).unwrap();
    let (build, last) = dockerfile.split_once("FROM scratch\n").unwrap();
    assert!(build.contains("config/image/build --directory /image target/release/telemetry-engine\n"));
    let said = |word: &str| {
        let mut lines = last.lines().filter_map(|line| line.strip_prefix(word)?.strip_prefix(' '));
        lines.next().unwrap_or_else(|| panic!("the Dockerfile has no {word}")).to_owned()
    };
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("telemetry-engine");
    std::fs::copy(POD, &program).unwrap();
    let file = folder.path().join("image.tar");
    let options =
        ImageOptions { arguments: &["run"], ..ImageOptions::new("cluster.local/telemetry-engine:1", &program) };
    Image::build(&file, options).await.unwrap();
    let manifest = json(&file, &blob(&json(&file, "index.json")["manifests"][0]));
    let config = json(&file, &blob(&manifest["config"]))["config"].clone();
    assert_eq!(config["User"], said("USER"));
    assert_eq!(config["WorkingDir"], said("WORKDIR"));
    assert_eq!(config["Env"][0], said("ENV"));
    let list = |text: String| serde_json::from_str::<serde_json::Value>(&text).unwrap();
    assert_eq!(config["Entrypoint"], list(said("ENTRYPOINT")));
    assert_eq!(config["Cmd"], list(said("CMD")));
    assert_eq!(said("COPY"), "--from=build /image/ /");
}
