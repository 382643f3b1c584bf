//! Who may send: users with passwords and bearers of tokens, known by digests of what they show.
//!
//! Asked before anything of a body is read. Secrets are followed (`crate::reload`), and an unknown one is a reason to look
//! whether it is new. Not here: certificates of clients (`crate::tls`), and what is answered.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use engine_config::{SecretRef, SecretString};
use http::header::{self, HeaderMap, HeaderValue};
use sha2::{Digest as _, Sha256};
use subtle::{Choice, ConstantTimeEq as _};

use crate::reload::{Complaint, Material, Reloading};
use crate::secret;

/// Unknown credentials have the files looked at no more often than this, so that a flood of them reads no files.
const LOOK_AFTER_REFUSAL: Duration = Duration::from_secs(1);

/// Whom a server takes requests from: anybody whose `Authorization` is one of these.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuthOptions {
    /// Names of users and their passwords. A secret of several lines is several passwords.
    pub users: Vec<(String, SecretRef)>,
    /// Tokens. A secret of several lines is several tokens.
    pub tokens: Vec<SecretRef>,
}

/// Knows the clients of a server. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Auth {
    known: Arc<Reloading<Clients>>,
    challenge: HeaderValue,
}

/// Why the secrets of clients cannot be used. Never says one.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// A secret cannot be read.
    #[error("cannot read {reference}: {source}")]
    Unreadable {
        /// Where the secret should be.
        reference: SecretRef,
        /// The system's answer.
        source: std::io::Error,
    },
    /// No client could ever show it.
    #[error("{reference}: a token has characters that no token has: visible ASCII without spaces is expected")]
    NoToken {
        /// Where the token is.
        reference: SecretRef,
    },
    /// A name with a colon would end there.
    #[error("`{name}` is not the name of a user: it holds a colon or nothing")]
    Name {
        /// The name.
        name: String,
    },
    /// Nothing to know anybody by.
    #[error("nobody could send: there is neither a user nor a token")]
    Nobody,
}

/// Why a request is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    /// No `Authorization`, or several, or of a scheme that is not asked for.
    Missing,
    /// Credentials that nobody has.
    Unknown,
}

/// What the secrets hold.
#[derive(Clone, PartialEq, Eq)]
struct Clients {
    users: Vec<(String, Held)>,
    tokens: Vec<Held>,
}

#[derive(Clone, PartialEq, Eq)]
struct Held {
    reference: SecretRef,
    text: SecretString,
}

/// Digests of all that is accepted: nothing of a secret, whatever the time that comparing takes.
struct Known {
    users: Vec<[u8; 32]>,
    tokens: Vec<[u8; 32]>,
}

/// What a request shows.
enum Shown {
    User([u8; 32]),
    Token([u8; 32]),
}

impl Auth {
    /// Reads the secrets.
    ///
    /// # Errors
    ///
    /// When one cannot be read, or is nothing that a client could show.
    pub fn new(options: &AuthOptions) -> Result<Self, AuthError> {
        let clients = Clients::read(options)?;
        let challenge = match (options.users.is_empty(), options.tokens.is_empty()) {
            (true, true) => return Err(AuthError::Nobody),
            (true, false) => "Bearer",
            (false, true) => "Basic realm=\"otlp\", charset=\"UTF-8\"",
            (false, false) => "Bearer, Basic realm=\"otlp\", charset=\"UTF-8\"",
        };
        Ok(Self { known: Arc::new(Reloading::new(clients)?), challenge: HeaderValue::from_static(challenge) })
    }

    /// Has `ear` hear what is wrong with the secrets now and later. The first one stays.
    pub fn report_to(&self, ear: impl Fn(Complaint) + Send + Sync + 'static) {
        self.known.report_to(ear);
    }

    /// What a client is asked for: the value of `WWW-Authenticate`.
    pub fn challenge(&self) -> HeaderValue {
        self.challenge.clone()
    }

    /// Whether a request with these headers is taken.
    ///
    /// # Errors
    ///
    /// When it shows no credentials, or none that are known.
    pub async fn admit(&self, headers: &HeaderMap) -> Result<(), Denied> {
        let mut values = headers.get_all(header::AUTHORIZATION).iter();
        let (Some(value), None) = (values.next(), values.next()) else { return Err(Denied::Missing) };
        let shown = Shown::read(value).ok_or(Denied::Missing)?;
        let known = self.known.current().await;
        if known.has(&shown) || self.known.newer_than(&known, LOOK_AFTER_REFUSAL).await.has(&shown) {
            return Ok(());
        }
        Err(Denied::Unknown)
    }
}

impl Denied {
    /// The words for the client.
    pub fn message(self) -> &'static str {
        match self {
            Self::Missing => "credentials are needed: send them in `authorization`",
            Self::Unknown => "the credentials are not known here",
        }
    }
}

impl Clients {
    fn read(options: &AuthOptions) -> Result<Self, AuthError> {
        let user = |(name, reference): &(String, SecretRef)| Ok((name.clone(), Held::read(reference)?));
        Ok(Self {
            users: options.users.iter().map(user).collect::<Result<_, _>>()?,
            tokens: options.tokens.iter().map(Held::read).collect::<Result<_, _>>()?,
        })
    }
}

impl Material for Clients {
    type Made = Known;
    type Error = AuthError;
    const NAME: &'static str = "secrets of clients";

    fn is_on_disk(&self) -> bool {
        let passwords = self.users.iter().map(|(_, password)| password);
        passwords.chain(&self.tokens).any(|held| matches!(held.reference, SecretRef::File(_)))
    }

    fn read_again(&self) -> Result<Self, AuthError> {
        Self::read(&AuthOptions {
            users: self.users.iter().map(|(name, password)| (name.clone(), password.reference.clone())).collect(),
            tokens: self.tokens.iter().map(|token| token.reference.clone()).collect(),
        })
    }

    fn make(&self) -> Result<Known, AuthError> {
        let mut known = Known { users: Vec::new(), tokens: Vec::new() };
        for (name, passwords) in &self.users {
            if name.is_empty() || name.contains(':') {
                return Err(AuthError::Name { name: name.clone() });
            }
            known.users.extend(passwords.lines().map(|password| digest([name.as_bytes(), b":", password.as_bytes()])));
        }
        for tokens in &self.tokens {
            if tokens.lines().any(|token| !token.bytes().all(|byte| byte.is_ascii_graphic())) {
                return Err(AuthError::NoToken { reference: tokens.reference.clone() });
            }
            known.tokens.extend(tokens.lines().map(|token| digest([token.as_bytes()])));
        }
        Ok(known)
    }
}

impl Held {
    fn read(reference: &SecretRef) -> Result<Self, AuthError> {
        match secret::read(reference) {
            Ok(text) => Ok(Self { reference: reference.clone(), text }),
            Err(source) => Err(AuthError::Unreadable { reference: reference.clone(), source }),
        }
    }

    /// The secrets in it. Lines without anything are how people set them apart, and never a password.
    fn lines(&self) -> impl Iterator<Item = &str> {
        self.text.expose().lines().filter(|line| !line.is_empty())
    }
}

impl Shown {
    /// Reads `Basic` and `Bearer` credentials (RFC 7617, RFC 6750); names of schemes have no case.
    fn read(value: &HeaderValue) -> Option<Self> {
        let text = value.as_bytes();
        let (scheme, rest) = text.split_at(text.iter().position(|byte| *byte == b' ')?);
        let credentials = rest.trim_ascii();
        if scheme.eq_ignore_ascii_case(b"bearer") {
            return Some(Self::Token(digest([credentials])));
        }
        if !scheme.eq_ignore_ascii_case(b"basic") {
            return None;
        }
        let name_and_password = BASE64_STANDARD.decode(credentials).ok()?;
        Some(Self::User(digest([name_and_password.as_slice()])))
    }
}

impl Known {
    /// Looks at every digest, so that the time tells nothing.
    fn has(&self, shown: &Shown) -> bool {
        let (known, digest) = match shown {
            Shown::User(digest) => (&self.users, digest),
            Shown::Token(digest) => (&self.tokens, digest),
        };
        known.iter().fold(Choice::from(0), |found, one| found | one.ct_eq(digest)).into()
    }
}

fn digest<const N: usize>(parts: [&[u8]; N]) -> [u8; 32] {
    let hasher = parts.into_iter().fold(Sha256::new(), |hasher, part| hasher.chain_update(part));
    hasher.finalize().into()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use super::*;

    fn auth(tokens: &str, password: &str) -> (tempfile::TempDir, Auth) {
        let directory = tempfile::tempdir().unwrap();
        let secret = |name: &str, text: &str| {
            let path = directory.path().join(name);
            std::fs::write(&path, text).unwrap();
            SecretRef::File(path)
        };
        let options = AuthOptions {
            users: vec![("agent".to_owned(), secret("password", password))],
            tokens: vec![secret("tokens", tokens)],
        };
        let auth = Auth::new(&options).unwrap();
        (directory, auth)
    }

    async fn admit(auth: &Auth, value: &str) -> Result<(), Denied> {
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, HeaderValue::from_str(value).unwrap());
        auth.admit(&headers).await
    }

    fn basic(text: &str) -> String {
        format!("basic {}", BASE64_STANDARD.encode(text))
    }

    /// Every line is a secret of its own, names of schemes have no case, and nothing but the whole secret passes.
    #[tokio::test]
    async fn knows_secrets() {
        let (_directory, auth) = auth("old\n\nnew\r\n", "pass:word\nother");
        for value in ["Bearer old", "bearer  new", &basic("agent:pass:word"), &basic("agent:other")] {
            assert_eq!(admit(&auth, value).await, Ok(()), "{value}");
        }
        for value in
            ["Bearer ol", "Bearer old new", "Bearer ", &basic("agent:"), &basic("other:pass:word"), &basic("old")]
        {
            assert_eq!(admit(&auth, value).await, Err(Denied::Unknown), "{value}");
        }
        for value in ["old", "Digest old", "Basic %%%", ""] {
            assert_eq!(admit(&auth, value).await, Err(Denied::Missing), "{value}");
        }
        assert_eq!(auth.admit(&HeaderMap::new()).await, Err(Denied::Missing));
        let mut twice = HeaderMap::new();
        twice.append(header::AUTHORIZATION, HeaderValue::from_static("Bearer old"));
        twice.append(header::AUTHORIZATION, HeaderValue::from_static("Bearer old"));
        assert_eq!(auth.admit(&twice).await, Err(Denied::Missing));
    }

    /// A token that is new in its file is known with the first request that shows it, and the one before is not any more;
    /// a flood of wrong ones reads the file once a second; while the file is of no use the last tokens stay.
    #[tokio::test(start_paused = true)]
    async fn follows_files() {
        let (directory, auth) = auth("old", "x");
        let tokens = directory.path().join("tokens");
        tokio::time::advance(LOOK_AFTER_REFUSAL).await;
        std::fs::write(&tokens, "new").unwrap();
        assert_eq!(admit(&auth, "Bearer new").await, Ok(()));
        assert_eq!(admit(&auth, "Bearer old").await, Err(Denied::Unknown));
        std::fs::write(&tokens, "newest").unwrap();
        assert_eq!(admit(&auth, "Bearer newest").await, Err(Denied::Unknown), "looked a moment ago");
        for useless in ["", "t\u{f6}ken"] {
            std::fs::write(&tokens, useless).unwrap();
            tokio::time::advance(LOOK_AFTER_REFUSAL).await;
            assert_eq!(admit(&auth, "Bearer newest").await, Err(Denied::Unknown));
            assert_eq!(admit(&auth, "Bearer new").await, Ok(()), "the last good one stays");
        }
    }

    /// What cannot be used is refused with its place and without its text.
    #[test]
    fn names_useless_secrets() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        let reference = SecretRef::File(path.clone());
        let refusal = |options: &AuthOptions| Auth::new(options).unwrap_err().to_string();
        let token = AuthOptions { tokens: vec![reference.clone()], ..AuthOptions::default() };
        assert!(refusal(&token).starts_with(&format!("cannot read {reference}: ")));
        std::fs::write(&path, "canary \u{1}").unwrap();
        let text = refusal(&token);
        assert!(text.contains("characters") && !text.contains("canary"), "{text}");
        let user = AuthOptions { users: vec![("a:b".to_owned(), reference)], ..AuthOptions::default() };
        assert!(refusal(&user).contains("`a:b`"));
        assert!(matches!(Auth::new(&AuthOptions::default()), Err(AuthError::Nobody)));
    }
}
