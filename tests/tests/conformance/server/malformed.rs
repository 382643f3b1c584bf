//! Bodies that cannot be read: protobuf, JSON, compression, framing.

use std::io::Write as _;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::harness::{Bench, Coding, Data, Export, Signal, Transport, Verdict, within};

/// Protobuf that is garbage, cut off, or has a text that is not UTF-8 is refused for good, with the field at fault.
#[tokio::test]
async fn s09_malformed_protobuf() {
    let bench = Bench::start().await;
    for transport in Transport::BINARY {
        for signal in Signal::ALL {
            let good = Data::of(signal, 1).encode();
            let cut_off = good[..good.len() - 1].to_vec();
            let at = good.windows(4).position(|window| window == b"shop").unwrap();
            let mut not_text = good.clone();
            not_text[at] = 0xff;
            // The entry holds a field that none of its kind has as a message.
            let garbage = vec![0xff; 40];
            let wrong_type = vec![0x08, 0x01];
            let entries = match signal {
                Signal::Logs => "resource_logs",
                Signal::Metrics => "resource_metrics",
                Signal::Traces => "resource_spans",
            };
            let attribute = format!("{entries}[0].resource.attributes[0].value.string_value");
            for (body, field) in
                [(garbage, "request"), (wrong_type, entries), (cut_off, entries), (not_text, attribute.as_str())]
            {
                let refusal = Export::raw(transport, signal, body).send(&bench.engine).await.refused(Verdict::Invalid);
                let named = refusal.field.unwrap();
                assert!(named.starts_with(field), "{transport:?} {signal:?}: {named}, expected {field}");
            }
        }
    }
    assert!(bench.backend.received().is_empty());
}

/// JSON that is none, has a key twice or goes on after its end is refused for good.
#[tokio::test]
async fn s10_malformed_json() {
    let bench = Bench::start().await;
    for signal in Signal::ALL {
        let good = String::from_utf8(Data::of(signal, 1).to_json()).unwrap();
        let entries = good.split('"').nth(1).unwrap();
        let cases = [
            "{".to_owned(),
            "not json".to_owned(),
            "[]".to_owned(),
            "null".to_owned(),
            "{\"a\":}".to_owned(),
            good[..good.len() - 1].to_owned(),
            format!("{good}x"),
            format!("{good}{good}"),
            format!("{{\"{entries}\":[],\"{entries}\":[]}}"),
            format!("{{\"{entries}\":{{}}}}"),
            format!("{{\"{entries}\":[1]}}"),
        ];
        for text in cases {
            let answer = Export::json(signal, text.clone()).send(&bench.engine).await;
            assert_eq!(answer.status.as_u16(), 400, "{signal:?}: {text}");
            answer.refused(Verdict::Invalid);
        }
    }
    let text = b"{\"resourceLogs\":[{\"schemaUrl\":\"\xff\"}]}".to_vec();
    Export::raw(Transport::Json, Signal::Logs, text).send(&bench.engine).await.refused(Verdict::Invalid);
    assert!(bench.backend.received().is_empty());
}

/// The body of an error has the encoding of its request, whatever went wrong.
#[tokio::test]
async fn s11_error_encoding_follows_the_request() {
    let bench = Bench::start().await;
    for transport in Transport::HTTP {
        for signal in Signal::ALL {
            // What is refused is in the encoding of the request, and `refused` reads it in that.
            let broken = Export::raw(transport, signal, "\u{1}");
            broken.send(&bench.engine).await.refused(Verdict::Invalid);
            let unknown = Export::new(transport, &Data::of(signal, 1)).path("/v1/unknown");
            unknown.send(&bench.engine).await.refused(Verdict::Unknown);
            let coded = Export::new(transport, &Data::of(signal, 1)).labelled("br");
            coded.send(&bench.engine).await.refused(Verdict::Unsupported);
        }
    }
}

/// gzip, identity and no word about compression are taken over HTTP.
#[tokio::test]
async fn s12_http_gzip() {
    let bench = Bench::start().await;
    for transport in Transport::HTTP {
        for signal in Signal::ALL {
            let data = Data::of(signal, 3);
            let plain = Export::new(transport, &data);
            let identity = plain.clone().header("content-encoding", "identity");
            for export in [plain.clone().compressed(Coding::Gzip), plain, identity] {
                bench.passes(export).await.assert_same(&data);
            }
        }
    }
}

/// gzip, identity and no word about compression are taken over gRPC, also where a message is not compressed though the
/// call could be.
#[tokio::test]
async fn s13_grpc_gzip() {
    let bench = Bench::start().await;
    for signal in Signal::ALL {
        let data = Data::of(signal, 3);
        let plain = Export::new(Transport::Grpc, &data);
        let identity = plain.clone().header("grpc-encoding", "identity");
        let unused = plain.clone().header("grpc-encoding", "gzip");
        for export in [plain.clone().compressed(Coding::Gzip), plain, identity, unused] {
            bench.passes(export).await.assert_same(&data);
        }
    }
}

/// zstd is taken everywhere, but not with a window of more than 8 MiB.
#[tokio::test]
async fn s14_zstd() {
    let bench = Bench::start().await;
    for transport in Transport::ALL {
        for signal in Signal::ALL {
            let data = Data::of(signal, 3);
            bench.passes(Export::new(transport, &data).compressed(Coding::Zstd)).await.assert_same(&data);
            for (window_log, is_taken) in [(23, true), (24, false), (27, false)] {
                let body = zstd_with_window(&transport.encode(&data), window_log);
                let answer = Export::raw(transport, signal, body).labelled("zstd").send(&bench.engine).await;
                if is_taken {
                    answer.took_all();
                } else {
                    let refusal = answer.refused(Verdict::Invalid);
                    assert!(refusal.message.contains("window"), "{}", refusal.message);
                }
            }
        }
    }
}

/// An encoding that is not known, or two at once, is 415; over gRPC it is UNIMPLEMENTED with those that are known.
#[tokio::test]
async fn s15_unknown_encoding() {
    let bench = Bench::start().await;
    for transport in Transport::ALL {
        for signal in Signal::ALL {
            for coding in ["br", "foo", "gzip, gzip", "gzip,br"] {
                let export = Export::new(transport, &Data::of(signal, 1)).labelled(coding);
                let answer = export.send(&bench.engine).await;
                if transport == Transport::Grpc {
                    answer.refused(Verdict::Unknown);
                    let known = answer.header("grpc-accept-encoding").unwrap();
                    assert!(known.starts_with("identity,gzip,zstd"), "{known}");
                } else {
                    answer.refused(Verdict::Unsupported);
                    assert!(answer.header("accept-encoding").unwrap().starts_with("gzip, zstd"));
                }
            }
        }
    }
    assert!(bench.backend.received().is_empty());
}

/// What says gzip and is none, or is cut off, is refused for good; several members are one body.
#[tokio::test]
async fn s16_gzip_framing() {
    let bench = Bench::start().await;
    for transport in Transport::ALL {
        for signal in Signal::ALL {
            let data = Data::of(signal, 3);
            let plain = transport.encode(&data);
            let whole = Coding::Gzip.compress(&plain);
            let mut damaged = whole.clone();
            // A bit of the checksum.
            let at = damaged.len() - 8;
            damaged[at] ^= 1;
            for body in [plain.clone(), whole[..whole.len() - 1].to_vec(), whole[..whole.len() / 2].to_vec(), damaged] {
                let export = Export::raw(transport, signal, body).labelled("gzip");
                export.send(&bench.engine).await.refused(Verdict::Invalid);
            }
            let (head, tail) = plain.split_at(plain.len() / 2);
            let members = [Coding::Gzip.compress(head), Coding::Gzip.compress(tail)].concat();
            bench.passes(Export::raw(transport, signal, members).labelled("gzip")).await.assert_same(&data);
        }
    }
}

/// A Content-Length that is too long ends in 408 or 400 and never in a hang; one that is too short leaves a second
/// request that is none; a chunked body needs no length.
#[tokio::test]
async fn s21_content_length() {
    let bench = Bench::with("http.request_timeout = \"300ms\"", "").await;
    let address = bench.engine.http();
    for (transport, signal) in
        Transport::HTTP.into_iter().flat_map(|transport| Signal::ALL.map(|signal| (transport, signal)))
    {
        let body = transport.encode(&Data::of(signal, 1));
        let head = format!(
            "POST /v1/{} HTTP/1.1\r\nhost: {address}\r\ncontent-type: {}\r\n",
            signal.as_str(),
            transport.content_type()
        );
        let with_length = |length: usize| format!("{head}content-length: {length}\r\n\r\n").into_bytes();
        let too_long = with_length(body.len() + 10);
        // The connection stays open, and nothing comes.
        let answer = exchange(address, &[&too_long[..], &body].concat(), Close::No).await;
        assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
        // The client is done, and nothing can come.
        let answer = exchange(address, &[&too_long[..], &body].concat(), Close::Yes).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400 "), "{answer}");
        // A part of the message is none, and what follows is no request.
        let head = format!("{head}connection: close\r\n");
        let with_length = |length: usize| format!("{head}content-length: {length}\r\n\r\n").into_bytes();
        let answer = exchange(address, &[&with_length(body.len() - 1)[..], &body].concat(), Close::No).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
        let before = bench.backend.received().len();
        let middle = body.len() / 2;
        let mut chunked = format!("{head}transfer-encoding: chunked\r\n\r\n").into_bytes();
        for chunk in [&body[..middle], &body[middle..], &[]] {
            write!(chunked, "{:x}\r\n", chunk.len()).unwrap();
            chunked.extend_from_slice(chunk);
            chunked.extend_from_slice(b"\r\n");
        }
        let answer = exchange(address, &chunked, Close::No).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        let received = bench.backend.received();
        assert_eq!(received.len(), before + 1);
        received[before].data.assert_same(&Data::of(signal, 1));
    }
    let served = bench.engine.component("apps").await.own["requests_accepted"];
    assert_eq!(served, 6, "only the chunked ones were taken");
}

/// Whether the client closes its half after it has written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Close {
    No,
    Yes,
}

/// Writes bytes to a new connection and returns everything that comes back until the server closes.
async fn exchange(address: SocketAddr, sent: &[u8], close: Close) -> String {
    let mut socket = TcpStream::connect(address).await.unwrap();
    socket.write_all(sent).await.unwrap();
    if close == Close::Yes {
        socket.shutdown().await.unwrap();
    }
    let mut received = Vec::new();
    // A reset is an end as well.
    drop(within("the server closes", socket.read_to_end(&mut received)).await);
    String::from_utf8_lossy(&received).into_owned()
}

/// A frame whose head asks for a window, because it does not say how much it holds.
fn zstd_with_window(content: &[u8], window_log: u32) -> Vec<u8> {
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    encoder.include_contentsize(false).unwrap();
    encoder.window_log(window_log).unwrap();
    encoder.write_all(content).unwrap();
    // Otherwise the encoder sees that this is all, and makes the window as small.
    encoder.flush().unwrap();
    encoder.finish().unwrap()
}
