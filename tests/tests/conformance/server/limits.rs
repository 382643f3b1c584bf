//! Sizes: of requests as they come and as they inflate, and of answers.

use crate::harness::{Bench, Coding, Data, Engine, Export, Say, Signal, Transport, Verdict};

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// A body of exactly the limit is taken, and one byte more is 413 or RESOURCE_EXHAUSTED.
#[tokio::test]
async fn s17_body_at_the_limit_and_one_over() {
    let limit = 64 * KIB;
    let bench = Bench::with("grpc.max_request_size = \"64KiB\"\nhttp.max_request_size = \"64KiB\"", "").await;
    for transport in Transport::ALL {
        for signal in Signal::ALL {
            let encode = |data: &Data| transport.encode(data);
            bench.passes_unchanged(transport, &Data::sized(signal, limit, encode)).await;
            let over = Data::sized(signal, limit + 1, encode);
            let refusal = Export::new(transport, &over).send(&bench.engine).await.refused(Verdict::TooLarge);
            assert!(refusal.message.contains("65536"), "{}", refusal.message);
        }
    }
}

/// A body that inflates to more than the limit is 413, and costs no more memory than two limits.
#[tokio::test]
async fn s18_bomb_over_http() {
    for transport in Transport::HTTP {
        bombs_are_refused(transport).await;
    }
}

/// The same over gRPC is RESOURCE_EXHAUSTED without RetryInfo, so that no client sends it again.
#[tokio::test]
async fn s19_bomb_over_grpc() {
    bombs_are_refused(Transport::Grpc).await;
}

/// One bomb an engine: how long the allocator keeps what was freed is not what a request costs.
async fn bombs_are_refused(transport: Transport) {
    let limit = 16 * MIB;
    let options = "grpc.max_request_size = \"16MiB\"\nhttp.max_request_size = \"16MiB\"";
    for coding in [Coding::Gzip, Coding::Zstd] {
        for signal in Signal::ALL {
            let bench = Bench::with(options, "[engine]\nlanes = 1").await;
            bench.takes(transport, &Data::of(Signal::Logs, 1)).await;
            let before = bench.engine.peak_memory();
            let export = Export::raw(transport, signal, bomb(coding)).labelled(coding.name());
            export.send(&bench.engine).await.refused(Verdict::TooLarge);
            let grown = bench.engine.peak_memory() - before;
            assert!(grown <= 2 * limit as u64, "{coding:?}, {signal}: {} KiB", grown / 1024);
        }
    }
}

/// Without a word about it a request may have 64 MiB, and not one byte more.
#[tokio::test]
async fn s20_default_limit() {
    let engine = Engine::start(
        "[memory]\nlimit = \"1GiB\"\n[sources.apps]\ntype = \"otlp\"\ngrpc.listen = \"127.0.0.1:0\"\n\
         http.listen = \"127.0.0.1:0\"\n[sinks.out]\ntype = \"blackhole\"\ninputs = [\"apps\"]\n",
    )
    .await;
    for transport in Transport::BINARY {
        for (size, is_taken) in [(64 * MIB, true), (64 * MIB + 1, false)] {
            let answer = Export::raw(transport, Signal::Traces, unknown_field(size)).send(&engine).await;
            if is_taken {
                answer.took_all();
            } else {
                answer.refused(Verdict::TooLarge);
            }
        }
    }
}

/// However much there is to say, an answer stays far below 4 MiB: what a request has wrong, and what a backend says.
#[tokio::test]
async fn s42_answers_are_short() {
    let bench = Bench::start().await;
    let long = "x".repeat(3 * MIB);
    for signal in Signal::ALL {
        let entries = match signal {
            Signal::Logs => "resourceLogs",
            Signal::Metrics => "resourceMetrics",
            Signal::Traces => "resourceSpans",
        };
        let wrong = format!("{{\"{entries}\":\"{long}\"}}");
        let answer = Export::json(signal, wrong).send(&bench.engine).await;
        answer.refused(Verdict::Invalid);
        assert!(answer.body.len() < 8 * KIB, "{} bytes", answer.body.len());
        for transport in Transport::ALL {
            bench.backend.say([Say::Partial(1, long.clone())]);
            let answer = Export::new(transport, &Data::of(signal, 2)).send(&bench.engine).await;
            let (rejected, message) = answer.partial();
            assert_eq!(rejected, 1);
            assert!(message.starts_with("xxx") && message.len() < 8 * KIB, "{} bytes", message.len());
        }
    }
}

/// A body of 256 MiB of zeros, small on the wire.
fn bomb(coding: Coding) -> Vec<u8> {
    // Members and frames may follow each other, so that one is made only.
    coding.compress(&vec![0; MIB]).repeat(256)
}

/// A request of a size that holds one field nobody knows.
fn unknown_field(size: usize) -> Vec<u8> {
    // Two bytes of key, four of length.
    let length = size - 6;
    let digits = [length & 0x7f | 0x80, length >> 7 & 0x7f | 0x80, length >> 14 & 0x7f | 0x80, length >> 21];
    let mut body = vec![0xa2, 0x06];
    body.extend(digits.map(|digit| u8::try_from(digit).unwrap()));
    body.resize(size, 0);
    body
}
