//! Backends that are silent, down, or close in the middle; and the end of the engine with data in its hands.

use std::time::Duration;

use tokio::net::TcpListener;

use super::{QUICKLY, WAYS, options};
use crate::harness::frames::{DATA, END_HEADERS, END_STREAM, Frame, HEADERS, Wire};
use crate::harness::{Backend, Bench, Data, Engine, Export, Say, Signal, Transport, Verdict};

/// An attempt that gets no answer ends with its time and is made again; another destination notices nothing.
#[tokio::test]
async fn k14_silent_backend() {
    for way in WAYS {
        let (silent, other) = (Backend::start().await, Backend::start().await);
        silent.otherwise(Say::Silence);
        let engine = two_sinks(way, (&silent, "timeout = \"300ms\"\n"), (&other, "")).await;
        for (number, signal) in (1..).zip(Signal::ALL) {
            Export::new(Transport::Grpc, &Data::of(signal, 2)).send(&engine).await.took_all();
            other.requests(number).await;
        }
        let attempts = silent.requests(4).await;
        // Attempts of one request at a time: the sink asks a backend that does not answer once and again.
        assert!(attempts[3].at - attempts[0].at >= Duration::from_millis(300));
        assert_eq!(engine.settled("second").await.delivered, 6);
        assert_eq!(engine.ledger("first").await.delivered, 0);
        silent.otherwise(Say::Success);
        assert_eq!(engine.settled("first").await.delivered, 6);
    }
}

/// Of two destinations each has its own queue and ledger: one that is down holds up nobody, and gets everything later.
#[tokio::test]
async fn k16_two_destinations() {
    for way in WAYS {
        let other = Backend::start().await;
        let down = Backend::start().await;
        down.otherwise(Say::HangUp);
        let engine = two_sinks(way, (&down, ""), (&other, "")).await;
        for (number, signal) in (1..).zip(Signal::ALL) {
            Export::new(Transport::Grpc, &Data::of(signal, 2)).send(&engine).await.took_all();
            other.requests(number).await[number - 1].data.assert_same(&Data::of(signal, 2));
        }
        let (first, second) = (engine.ledger("first").await, engine.settled("second").await);
        assert_eq!((first.accepted, first.delivered, first.dropped.len()), (6, 0, 0));
        assert_eq!((second.accepted, second.delivered), (6, 6));
        down.otherwise(Say::Success);
        assert_eq!(engine.settled("first").await.delivered, 6);
        assert_eq!(other.received().len(), 3, "what was late for one is not sent to the other again");
    }
}

/// GOAWAY while a request is under way: one that the server did not look at is sent once more elsewhere, one that it did
/// is answered on the old connection; nothing is lost.
#[tokio::test]
async fn k21_goaway() {
    for signal in Signal::ALL {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let engine = Engine::start(&format!(
            "[sources.apps]\ntype = \"otlp\"\ngrpc.listen = \"127.0.0.1:0\"\n[sinks.out]\ntype = \"otlp\"\n\
             inputs = [\"apps\"]\nendpoint = \"http://{address}\"\nacknowledge = \"delivered\"\n{QUICKLY}"
        ))
        .await;
        let call = tokio::spawn(Export::new(Transport::Grpc, &Data::of(signal, 3)).send_to(engine.grpc()));
        let mut first = Wire::accept(listener.accept().await.unwrap().0).await;
        let request = first.until(HEADERS).await.unwrap();
        first.send(Frame::go_away(0)).await;
        let mut second = Wire::accept(listener.accept().await.unwrap().0).await;
        let again = second.until(HEADERS).await.unwrap();
        assert_eq!((request.stream, again.stream), (1, 1));
        while second.until(DATA).await.unwrap().flags & END_STREAM == 0 {}
        // The answer comes after the word that no more requests are wanted.
        second.send(Frame::go_away(1)).await;
        let head = Frame::request(1, &[(":status", "200"), ("content-type", "application/grpc")]);
        second.send(head).await;
        second.send(Frame::new(DATA, 0, 1, [0; 5])).await;
        let trailers = Frame::request(1, &[("grpc-status", "0")]);
        second.send(Frame { flags: END_HEADERS | END_STREAM, ..trailers }).await;
        call.await.unwrap().took_all();
        drop((first, second));
        // The next one comes on a third connection.
        let backend = Backend::on(listener);
        Export::new(Transport::Grpc, &Data::of(signal, 3)).send(&engine).await.took_all();
        assert_eq!(backend.received().len(), 1);
        let ledger = engine.settled("out").await;
        assert_eq!((ledger.delivered, ledger.dropped.len(), ledger.returned), (6, 0, 0));
    }
}

/// At the end of the program unanswered batches get their grace. What somebody waits for is given back to him, with the
/// word to come again: there is no buffer that outlives the program. What was answered from a memory buffer is counted and
/// logged as lost, and the exit code says so. A backend that answers within the grace loses nothing.
#[tokio::test]
async fn k24_shutdown_with_unanswered_batches() {
    let cases = WAYS.into_iter().flat_map(|way| Signal::ALL.map(|signal| (way, signal)));
    let all = cases.map(|(way, signal)| async move {
        let data = Data::of(signal, 4);
        let mut bench = ending(Say::Silence, way, "60s", "acknowledge = \"delivered\"").await;
        let call = tokio::spawn(Export::new(Transport::Grpc, &data).send_to(bench.engine.grpc()));
        bench.backend.requests(1).await;
        bench.engine.terminate();
        call.await.unwrap().refused(Verdict::Later);
        assert!(bench.engine.ended().await.success(), "nothing is lost");

        let mut bench = ending(Say::Silence, way, "300ms", "acknowledge = \"buffered\"").await;
        bench.send(&data).await;
        bench.backend.requests(1).await;
        bench.engine.terminate();
        assert_eq!(bench.engine.ended().await.code(), Some(3), "the exit code tells of the loss");
        let log = bench.engine.log();
        let lost = log.lines().find(|line| line.contains("lost by shutdown")).unwrap();
        let lost: serde_json::Value = serde_json::from_str(lost).unwrap();
        assert_eq!(lost["fields"]["records"].as_u64(), Some(4), "{lost}");

        let mut bench = ending(Say::Held, way, "60s", "acknowledge = \"buffered\"\nbatch.timeout = \"5s\"").await;
        bench.send(&data).await;
        bench.engine.terminate();
        bench.backend.requests(1).await[0].data.assert_same(&data);
        bench.backend.release(1);
        assert!(bench.engine.ended().await.success());
    });
    futures::future::join_all(all).await;
}

/// An engine with a grace, before a backend that says this.
async fn ending(say: Say, way: Transport, grace: &str, more: &str) -> Bench {
    let backend = Backend::start().await;
    backend.otherwise(say);
    let text = format!(
        "[shutdown]\ngrace = \"{grace}\"\n[sources.apps]\ntype = \"otlp\"\ngrpc.listen = \"127.0.0.1:0\"\n\
         [sinks.out]\ninputs = [\"apps\"]\n{}{more}\n",
        options(way, &backend)
    );
    Bench { engine: Engine::start(&text).await, backend }
}

/// An engine that sends everything to two backends, as the sinks `first` and `second`.
async fn two_sinks(way: Transport, first: (&Backend, &str), second: (&Backend, &str)) -> Engine {
    let sink = |id: &str, (backend, more): (&Backend, &str)| {
        format!("[sinks.{id}]\ninputs = [\"apps\"]\n{}{more}{QUICKLY}", options(way, backend))
    };
    Engine::start(&format!(
        "[sources.apps]\ntype = \"otlp\"\ngrpc.listen = \"127.0.0.1:0\"\n{}{}",
        sink("first", first),
        sink("second", second)
    ))
    .await
}
