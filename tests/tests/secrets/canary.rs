//! The secret text that must not come out, in the forms in which it could.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Part of every secret in these tests. Letters and digits only, so that no escaping changes it.
pub(crate) const CANARY: &str = "cAnArY7Q2xZ9";

/// A text that no output may hold.
#[derive(Clone, Debug)]
struct Needle {
    form: String,
    text: String,
}

/// What must not come out.
#[derive(Clone, Debug)]
pub(crate) struct Canary(Vec<Needle>);

impl Canary {
    /// All forms of [`CANARY`].
    pub(crate) fn new() -> Self {
        let mut canary = Self(Vec::new());
        canary.add("the text", CANARY);
        for (skipped, form) in base64_forms(CANARY).into_iter().enumerate() {
            canary.add(&format!("base64 from byte {skipped}"), &form);
        }
        let decimal: Vec<String> = CANARY.bytes().map(|byte| byte.to_string()).collect();
        canary.add("a list of bytes", &decimal.join(", "));
        let hex: String = CANARY.bytes().map(|byte| format!("{byte:02x}")).collect();
        canary.add("hexadecimal", &hex);
        canary
    }

    /// The lines of a private key in PEM are secret too, and so are their bytes.
    pub(crate) fn add_key(&mut self, pem: &str) {
        let body: Vec<&str> = pem.lines().filter(|line| !line.starts_with("-----") && line.len() >= 32).collect();
        assert!(!body.is_empty(), "a key of at least one whole line");
        for line in body {
            self.add("a key", line);
            let decimal: Vec<String> = line.bytes().map(|byte| byte.to_string()).collect();
            self.add("the bytes of a key", &decimal.join(", "));
        }
    }

    fn add(&mut self, form: &str, text: &str) {
        self.0.push(Needle { form: form.to_owned(), text: text.to_owned() });
    }

    /// Fails when `output` holds any form.
    pub(crate) fn is_not_in(&self, what: &str, output: &str) {
        for Needle { form, text } in &self.0 {
            if let Some(place) = output.find(text) {
                let mut start = place.saturating_sub(400);
                while !output.is_char_boundary(start) {
                    start -= 1;
                }
                panic!("{what}: {form} comes out:\n{}", &output[start..place + text.len()]);
            }
        }
    }
}

/// The part that does not depend on what stands around, for each of the three ways to be aligned.
fn base64_forms(text: &str) -> [String; 3] {
    [0, 1, 2].map(|before| {
        let encoded = STANDARD.encode([&vec![0; before], text.as_bytes()].concat());
        let first = (before * 8).div_ceil(6);
        let last = (before + text.len()) * 8 / 6;
        encoded[first..last].to_owned()
    })
}

/// Every way to encode the canary is found, wherever it stands.
#[test]
fn finds_every_form() {
    let canary = Canary::new();
    let is_found = |output: &str| std::panic::catch_unwind(|| canary.is_not_in("here", output)).is_err();
    assert!(!is_found("nothing, or a part: cAnArY"));
    for before in ["", "x", "xy", "xyz", "user:"] {
        let secret = format!("{before}{CANARY} and more");
        assert!(is_found(&STANDARD.encode(&secret)), "{before:?}");
        assert!(is_found(&format!("{:?}", secret.as_bytes())), "{before:?}");
    }
}
