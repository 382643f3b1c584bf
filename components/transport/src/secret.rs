//! Secrets, read from where a reference says.
//!
//! Not here: references to the directory of secrets, which a plan turns into files, and following what changes
//! (`crate::reload`).

use std::env::VarError;
use std::io;

use engine_config::{SecretRef, SecretString};
use zeroize::Zeroizing;

/// The text of a secret without the line end behind it.
///
/// # Errors
///
/// When it cannot be read or is empty. The error never says the text.
pub fn read(reference: &SecretRef) -> io::Result<SecretString> {
    let text = match reference {
        SecretRef::File(path) => Zeroizing::new(std::fs::read_to_string(path)?),
        SecretRef::Directory(_) => return Err(io::Error::other("a plan did not resolve it")),
        SecretRef::Env(variable) => Zeroizing::new(std::env::var(variable).map_err(unreadable)?),
    };
    match text.trim_end_matches(['\r', '\n']) {
        // Also what is seen of a file that is being written.
        "" => Err(io::Error::new(io::ErrorKind::InvalidData, "it is empty")),
        secret => Ok(SecretString::new(secret)),
    }
}

/// Why a variable cannot be read. The standard library's text of one that is not UTF-8 would say its value.
fn unreadable(error: VarError) -> io::Error {
    match error {
        VarError::NotPresent => io::Error::new(io::ErrorKind::NotFound, "it is not set"),
        VarError::NotUnicode(_) => io::Error::new(io::ErrorKind::InvalidData, "it is not valid UTF-8"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a secret's variable holds is never part of an error, whatever it is.
    #[test]
    fn errors_do_not_say_secrets() {
        let error = unreadable(VarError::NotUnicode("canary".into()));
        assert!(!format!("{error} {error:?}").contains("canary"));
    }
}
