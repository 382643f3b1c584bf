//! Peers that refuse, and repeat what they were sent while they do.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

/// What a peer makes of the text of a request: everything after the status line of the answer but `content-length`.
type Answer = fn(&str) -> (&'static str, String);

/// A backend that refuses credentials and repeats all headers, as debugging middleware does.
pub(crate) fn backend() -> SocketAddr {
    start(|request| ("401 Unauthorized\r\ncontent-type: text/plain", format!("I do not know you:\n{request}")))
}

/// An authorization server that refuses the client and repeats the whole request.
pub(crate) fn issuer() -> SocketAddr {
    start(|request| {
        let told = serde_json::json!({ "error": "invalid_client", "error_description": request });
        ("401 Unauthorized\r\ncontent-type: application/json", told.to_string())
    })
}

/// A proxy that lets nobody through and repeats the whole request, also in its status line.
pub(crate) fn proxy() -> SocketAddr {
    start(|request| ("407 Proxy Authentication Required\r\ncontent-type: text/plain", request.to_owned()))
}

/// Serves until the process ends.
fn start(answer: Answer) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            std::thread::spawn(move || serve(stream.unwrap(), answer));
        }
    });
    address
}

/// Answers requests until the client goes or sends something that is none, such as a TLS handshake.
fn serve(stream: TcpStream, answer: Answer) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut writer = stream;
    loop {
        let mut request = String::new();
        let mut length = 0;
        loop {
            let start = request.len();
            if reader.read_line(&mut request).ok()? == 0 {
                return None;
            }
            let line = request[start..].trim_end().to_ascii_lowercase();
            if let Some(value) = line.strip_prefix("content-length: ") {
                length = value.parse().ok()?;
            }
            if line.is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        request.push_str(&String::from_utf8_lossy(&body));
        let (head, text) = answer(&request);
        write!(writer, "HTTP/1.1 {head}\r\ncontent-length: {}\r\n\r\n{text}", text.len()).ok()?;
    }
}
