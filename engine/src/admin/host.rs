//! Whom the server answers: requests whose Host header a page from elsewhere cannot have.
//!
//! A web page can point a name of its own at a loopback or cluster address and have the browser read what is there (DNS
//! rebinding). Such a request carries the page's name in Host. One that carries an address, or a loopback name, comes
//! from somebody who knows this server.

use std::net::IpAddr;

/// Whether a Host header names this server in a way that no foreign page can.
pub(super) fn is_own(host: &str) -> bool {
    let Some(name) = without_port(host) else { return false };
    let name = name.trim_end_matches('.');
    if name.eq_ignore_ascii_case("localhost") {
        return true;
    }
    name.parse::<IpAddr>().is_ok()
}

/// The host without port and brackets; `None` when it is not of that form.
fn without_port(host: &str) -> Option<&str> {
    if let Some(rest) = host.strip_prefix('[') {
        let (address, port) = rest.split_once(']')?;
        return (port.is_empty() || is_port(port.strip_prefix(':')?)).then_some(address);
    }
    match host.split_once(':') {
        Some((name, port)) => is_port(port).then_some(name),
        None => Some(host),
    }
}

fn is_port(text: &str) -> bool {
    text.parse::<u16>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Addresses and loopback names are answered, names of pages are not, whatever they look like.
    #[test]
    fn names_of_pages_are_refused() {
        for own in ["localhost", "localhost:13133", "LOCALHOST.", "127.0.0.1:80", "[::1]:13133", "[::1]", "10.1.2.3"] {
            assert!(is_own(own), "{own}");
        }
        let foreign = [
            "evil.example",
            "evil.example:13133",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "localhost@evil.example",
            "",
            ":13133",
            "localhost:evil",
            "[::1]evil",
            "[evil.example]",
        ];
        for name in foreign {
            assert!(!is_own(name), "{name}");
        }
    }
}
