//! Graphs that become other graphs while records flow: what goes on, what is replaced, what fails, what is counted.

use std::collections::BTreeMap;
use std::sync::Arc;

use engine::topology::{Changes, Happened, Refusal, Running};
use engine_core::outcome::Outcome;
use engine_core::receipt::Receipt;
use engine_core::sink::{SHUTDOWN, SinkHandle};
use engine_core::telemetry::HealthState;
use engine_core::test_kit::{logs, records_of, within};

use crate::fakes::Board;
use crate::{plan, run, services, state};

/// No component was added, replaced or removed.
const NOTHING: [Vec<&str>; 3] = [vec![], vec![], vec![]];

async fn reload(running: &mut Running, text: &str) -> Changes {
    running.reload(plan(text)).await.unwrap_or_else(|refusals| panic!("{refusals:?}\n{text}"))
}

fn ids(changes: &Changes) -> [Vec<&str>; 3] {
    [&changes.added, &changes.replaced, &changes.removed].map(|ids| ids.iter().map(|id| id.as_str()).collect())
}

fn sink(running: &Running, id: &str) -> Arc<SinkHandle> {
    let node = running.nodes().iter().find(|node| node.id.as_str() == id).unwrap();
    Arc::clone(node.sink.as_ref().unwrap())
}

/// Waits until everything that was replaced or removed has ended.
async fn all_retired(running: &mut Running, expected: usize) {
    for _ in 0..expected {
        assert_eq!(within("a component retires", running.next()).await, Happened::Retired);
    }
}

fn pair(board: &str, sink: &str) -> String {
    format!(
        "[sources.in]\ntype = \"push\"\nboard = \"{board}\"\n[sinks.out]\ntype = \"show\"\ninputs = [\"in\"]\n{sink}\n"
    )
}

/// Every graph in which records get from `in` to `out`, by one way: another source, transform, stage, companion or sink at
/// each position, and a second pipeline that comes and goes.
fn graphs(board: &str) -> Vec<String> {
    let source = |version: u64| format!("[sources.in]\ntype = \"push\"\nboard = \"{board}\"\nversion = {version}\n");
    let sink = |input: &str, version: u64| {
        format!("[sinks.out]\ntype = \"show\"\nboard = \"{board}\"\ninputs = [\"{input}\"]\nversion = {version}\n")
    };
    let other = "[sinks.other]\ntype = \"blackhole\"\ninputs = [\"in\"]\n";
    let edit = |value: &str| {
        format!("[transforms.edit]\ntype = \"resource\"\ninputs = [\"in\"]\nupsert = {{ \"team\" = \"{value}\" }}\n")
    };
    let stage = |kind: &str, input: &str| {
        format!("[transforms.mid]\ntype = \"{kind}\"\nmanner = \"pass\"\nboard = \"{board}\"\ninputs = [\"{input}\"]\n")
    };
    vec![
        source(0) + &sink("in", 0),
        source(1) + &sink("in", 1) + other,
        source(0) + &edit("a") + &sink("edit", 0),
        source(0) + &edit("b") + &sink("edit", 0) + other,
        source(0) + &stage("sort", "in") + &sink("mid", 1),
        source(1) + &stage("defer", "in") + &sink("mid", 1),
        source(1) + &edit("a") + &stage("sort", "edit") + &sink("mid", 0) + other,
        source(0) + &edit("b") + &stage("defer", "edit") + &sink("mid", 0),
    ]
}

/// The first record; some of smaller numbers make the fake stages panic.
const FIRST: u64 = 10_000;

/// Sends batches as fast as they are taken until it is dropped, and keeps their receipts.
async fn keep_sending(board: Board, receipts: tokio::sync::mpsc::Sender<Receipt>, mut numbers: u64) {
    loop {
        // Interrupted here it has sent nothing whose receipt it has not kept.
        let place = receipts.reserve().await.unwrap();
        place.send(board.push(logs(&[], [numbers, numbers + 1])));
        numbers += 2;
    }
}

/// Every graph becomes every other one while records flow. Each record arrives once, no sender is told to come again, and the
/// ledger of the sink counts all of them, whichever instance took them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_graph_becomes_every_other() {
    let (board, texts) = (Board::named("every"), graphs("every"));
    let mut running = run(&texts[0]);
    let (receipts, mut received) = tokio::sync::mpsc::channel(64);
    let sender = tokio::spawn(keep_sending(board.clone(), receipts, FIRST));
    let mut answered = 0_u64;
    for from in &texts {
        for to in &texts {
            for text in [from, to] {
                reload(&mut running, text).await;
                // Some get through before the next graph, and others are on their way.
                for _ in 0..4 {
                    let receipt = within("a batch is sent", received.recv()).await.unwrap();
                    assert_eq!(within("it is answered", receipt).await, Outcome::Delivered, "{from}\n-->\n{to}");
                    answered += 1;
                }
            }
        }
    }
    sender.abort();
    drop(sender.await);
    while let Some(receipt) = within("what was sent", received.recv()).await {
        assert_eq!(within("it is answered", receipt).await, Outcome::Delivered);
        answered += 1;
    }
    let out = sink(&running, "out");
    let report = within("the graph drains", running.drain()).await;
    assert!(report.unfinished.is_empty() && report.dropped.is_empty(), "{report:?}");
    let mut shown: Vec<u64> = board.shown().iter().flat_map(records_of).collect();
    shown.sort_unstable();
    assert_eq!(shown.len() as u64, 2 * answered);
    assert!(shown.iter().copied().eq(FIRST..FIRST + 2 * answered), "each record once");
    let line = out.line();
    line.check().unwrap();
    assert_eq!((line.counts.accepted, line.counts.delivered), (2 * answered, 2 * answered));
}

/// What differs is replaced, what is new is added, what is gone is removed; whoever only has other neighbours goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_what_differs_is_replaced() {
    let texts = graphs("differs");
    let mut running = run(&texts[0]);
    let first = sink(&running, "out");
    assert_eq!(ids(&reload(&mut running, &texts[0]).await), NOTHING);
    assert_eq!(ids(&reload(&mut running, &texts[2]).await), [vec!["edit"], vec![], vec![]]);
    assert!(Arc::ptr_eq(&first, &sink(&running, "out")));
    assert_eq!(ids(&reload(&mut running, &texts[3]).await), [vec!["other"], vec!["edit"], vec![]]);
    assert!(Arc::ptr_eq(&first, &sink(&running, "out")), "a second pipeline changes nothing about the first");
    assert_eq!(ids(&reload(&mut running, &texts[4]).await), [vec!["mid"], vec!["out"], vec!["edit", "other"]]);
    assert_eq!(ids(&reload(&mut running, &texts[5]).await), [vec![], vec!["in", "mid"], vec![]]);
    within("the graph drains", running.drain()).await;
}

/// A buffer that gets another size, or another answer when it is full, is the same buffer. One that shrinks below what it
/// holds loses nothing, and takes nothing until it is below.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shares_adapt() {
    let board = Board::named("shares");
    board.answer(false);
    let text = |size: &str| pair("shares", &format!("board = \"shares\"\nbuffer.max_size = \"{size}\""));
    let mut running = run(&text("1MiB"));
    let large = || logs(&[], 0..2000);
    assert_eq!(within("it is taken", board.push(large())).await, Outcome::Delivered);
    assert_eq!(within("it is taken", board.push(large())).await, Outcome::Delivered);
    let (out, admission) = (sink(&running, "out"), running.admission().limit());
    let held = out.buffered_bytes();
    assert!(held > 64 * 1024);
    assert_eq!(ids(&reload(&mut running, &text("64KiB")).await), NOTHING);
    assert!(running.admission().limit() > admission, "what the buffer gave up is for requests");
    assert_eq!((out.max_buffer(), out.buffered_bytes()), (64 * 1024, held));
    let refused = within("it is answered", board.push(logs(&[], 0..1))).await;
    assert!(matches!(refused, Outcome::Retry { .. }), "{refused:?}");
    reload(&mut running, &text("2MiB")).await;
    assert_eq!(within("it is taken", board.push(logs(&[], 0..1))).await, Outcome::Delivered);
    board.answer(true);
    let report = within("the graph drains", running.drain()).await;
    assert!(report.dropped.is_empty(), "{report:?}");
    assert_eq!(out.line().counts.delivered, 4001);
}

/// A replaced sink delivers what it holds while the next one is at work already; the ledger of the component counts both.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replaced_sink_delivers_what_it_holds() {
    let (slow, fast) = (Board::named("slow"), Board::named("fast"));
    slow.answer(false);
    let mut running = run(&pair("slow", "board = \"slow\""));
    assert_eq!(within("it is taken", slow.push(logs(&[], 0..3))).await, Outcome::Delivered);
    let changes = reload(&mut running, &pair("slow", "board = \"fast\"")).await;
    assert_eq!(ids(&changes), [vec![], vec!["out"], vec![]]);
    assert_eq!(within("it is taken", slow.push(logs(&[], 3..5))).await, Outcome::Delivered);
    let out = sink(&running, "out");
    within("the next one delivers", async {
        while out.line().counts.delivered < 2 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let line = out.line();
    assert_eq!((line.counts.accepted, line.held.total()), (5, 3), "{line:?}");
    line.check().unwrap();
    slow.answer(true);
    all_retired(&mut running, 1).await;
    let line = out.line();
    line.check().unwrap();
    assert_eq!((line.counts.accepted, line.counts.delivered, line.held.total()), (5, 5, 0));
    assert_eq!(slow.shown().iter().chain(&fast.shown()).flat_map(records_of).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
    within("the graph drains", running.drain()).await;
}

/// What a removed sink cannot deliver in the time that it has for that is counted as dropped by its end; what a replaced one cannot
/// goes to the one in its place. Nobody else waits for them, and a removed one is listed until then.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_dead_backend_does_not_take_is_counted() {
    let (dead, live) = (Board::named("dead"), Board::named("live"));
    dead.answer(false);
    let gone = "[sinks.gone]\ntype = \"show\"\ninputs = [\"in\"]\nboard = \"dead\"\nbuffer.drain_timeout = \"1s\"\n";
    let mut running = run(&(pair("dead", "board = \"dead\"") + gone));
    assert_eq!(within("it is taken", dead.push(logs(&[], 0..3))).await, Outcome::Delivered);
    let removed = sink(&running, "gone");
    reload(&mut running, &pair("dead", "board = \"live\"")).await;
    assert_eq!(state(&running, "gone"), HealthState::Draining);
    assert_eq!(within("it is taken", dead.push(logs(&[], 3..5))).await, Outcome::Delivered);
    all_retired(&mut running, 2).await;
    assert!(running.nodes().iter().all(|node| node.id.as_str() != "gone"));
    let line = removed.line();
    line.check().unwrap();
    assert_eq!((line.counts.dropped[SHUTDOWN], line.counts.delivered, line.held.total()), (3, 0, 0));
    assert_eq!(state(&running, "out"), HealthState::Ok);
    let out = sink(&running, "out");
    let report = within("the graph drains", running.drain()).await;
    assert!(report.dropped.is_empty(), "what was lost before is not lost by the end: {report:?}");
    let line = out.line();
    line.check().unwrap();
    assert_eq!((line.counts.accepted, line.counts.delivered, line.counts.dropped.len()), (5, 5, 0), "{line:?}");
    let mut shown: Vec<u64> = live.shown().iter().flat_map(records_of).collect();
    shown.sort_unstable();
    assert_eq!(shown, [0, 1, 2, 3, 4]);
}

/// A sink that is taken away and comes again while it still delivers hands over what is left, in memory and on disk, as often as
/// that happens: under its id its ledger goes on, under another one with its identity each ledger balances. A reload that is
/// refused in between leaves it where it is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sink_that_comes_again_gets_what_is_left() {
    for kind in ["memory", "disk"] {
        let scratch = tempfile::tempdir().unwrap();
        let [dead, live] = ["dead", "live"].map(|name| format!("again-{kind}-{name}"));
        let (backlog, board) = (Board::named(&dead), Board::named(&live));
        backlog.answer(false);
        let text = |sinks: &str| {
            format!(
                "[state]\ndirectory = \"{}\"\n[sources.in]\ntype = \"push\"\nboard = \"{dead}\"\n[sinks.other]\n\
                 type = \"blackhole\"\ninputs = [\"in\"]\n{sinks}",
                scratch.path().display()
            )
        };
        let out = |id: &str, board: &str| {
            format!(
                "[sinks.{id}]\ntype = \"show\"\nboard = \"{board}\"\ninputs = [\"in\"]\n\
                 retry = {{ initial_interval = \"1ms\", max_interval = \"5ms\" }}\n\
                 buffer = {{ type = \"{kind}\", identity = \"shop\", drain_timeout = \"1h\" }}\n"
            )
        };
        let mut running = run(&text(&out("out", &dead)));
        assert_eq!(within("it is taken", backlog.push(logs(&[], 0..3))).await, Outcome::Delivered);
        let first = sink(&running, "out");
        reload(&mut running, &text("")).await;
        assert_eq!(state(&running, "out"), HealthState::Draining);
        let bad = "[sinks.bad]\ntype = \"file\"\npath = \"/nowhere/at/all\"\ninputs = [\"in\"]\n";
        running.reload(plan(&text(&(out("out", &live) + bad)))).await.unwrap_err();
        assert_eq!(state(&running, "out"), HealthState::Draining, "it goes on as before");

        // Again, away, and again once more, before anybody has handed over anything.
        assert_eq!(ids(&reload(&mut running, &text(&out("out", &dead))).await), [vec!["out"], vec![], vec![]]);
        assert_eq!(state(&running, "out"), HealthState::Ok);
        assert_eq!(within("it is taken", backlog.push(logs(&[], 3..5))).await, Outcome::Delivered);
        reload(&mut running, &text("")).await;
        assert_eq!(running.nodes().iter().filter(|node| node.id.as_str() == "out").count(), 1);
        reload(&mut running, &text(&out("out", &dead))).await;
        let second = sink(&running, "out");
        let (line, of_first) = (second.line(), first.line());
        assert_eq!((line.counts.accepted, line.held.total(), line.counts.recovered), (5, 5, 0), "{kind}: {line:?}");
        assert_eq!(line, of_first, "it is one ledger");
        line.check().unwrap();

        // Under another id: it is another ledger, of which the old one knows.
        reload(&mut running, &text("")).await;
        reload(&mut running, &text(&out("next", &live))).await;
        let next = sink(&running, "next");
        all_retired(&mut running, 3).await;
        assert!(running.nodes().iter().all(|node| node.id.as_str() != "out"));
        within("everything arrives", next.emptied(tokio::time::Instant::now() + std::time::Duration::from_secs(60)))
            .await;
        let (old, new) = (second.line(), next.line());
        old.check().unwrap();
        new.check().unwrap();
        assert_eq!((old.counts.accepted, old.counts.returned, old.held.total()), (5, 5, 0), "{kind}: {old:?}");
        assert_eq!((new.counts.recovered, new.counts.delivered, new.counts.accepted), (5, 5, 0), "{kind}: {new:?}");
        let report = within("the graph drains", running.drain()).await;
        assert!(report.dropped.is_empty() && report.unfinished.is_empty(), "{report:?}");
        let mut shown: Vec<u64> = board.shown().iter().flat_map(records_of).collect();
        shown.sort_unstable();
        assert_eq!(shown, [0, 1, 2, 3, 4], "{kind}: each once");
    }
}

/// What a sink with another identity leaves on disk is held by nobody: its ledger, which goes on, says that it was left there, and
/// the sink that gets the identity later recovers as much. With the end of the process it is held for the next one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_left_on_disk_is_held_by_nobody() {
    let scratch = tempfile::tempdir().unwrap();
    let board = Board::named("left");
    board.answer(false);
    let text = |identity: &str| {
        let out = format!(
            "board = \"left\"\nbuffer = {{ type = \"disk\", identity = \"{identity}\", drain_timeout = \"0s\" }}\n\
             [state]\ndirectory = \"{}\"",
            scratch.path().display()
        );
        pair("left", &out)
    };
    let mut running = run(&text("shop"));
    assert_eq!(within("it is taken", board.push(logs(&[], 0..3))).await, Outcome::Delivered);
    reload(&mut running, &text("pay")).await;
    all_retired(&mut running, 1).await;
    let line = sink(&running, "out").line();
    line.check().unwrap();
    assert_eq!((line.counts.accepted, line.counts.left_on_disk, line.held.total()), (3, 3, 0), "{line:?}");
    assert_eq!(within("it is taken", board.push(logs(&[], 3..5))).await, Outcome::Delivered);
    reload(&mut running, &text("shop")).await;
    all_retired(&mut running, 1).await;
    let out = sink(&running, "out");
    let line = out.line();
    line.check().unwrap();
    assert_eq!((line.counts.recovered, line.counts.left_on_disk, line.held.total()), (3, 5, 3), "{line:?}");
    within("the graph drains", running.drain()).await;
    let line = out.line();
    line.check().unwrap();
    assert_eq!((line.counts.left_on_disk, line.held.stored), (5, 3), "{line:?}");
}

/// A sink on disk that comes again at any moment of its end, also while it lets go of its buffer, is not refused and loses
/// nothing: what was taken is delivered once, by whichever instance.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sink_comes_and_goes_under_load() {
    let scratch = tempfile::tempdir().unwrap();
    let board = Board::named("comes");
    let text = |sinks: &str| {
        format!(
            "[state]\ndirectory = \"{}\"\n[sources.in]\ntype = \"push\"\nboard = \"comes\"\n[sinks.other]\n\
             type = \"blackhole\"\ninputs = [\"in\"]\n{sinks}",
            scratch.path().display()
        )
    };
    let out =
        text("[sinks.out]\ntype = \"show\"\nboard = \"comes\"\ninputs = [\"in\"]\nbuffer = { type = \"disk\" }\n");
    let mut running = run(&out);
    let (receipts, mut received) = tokio::sync::mpsc::channel(64);
    let sender = tokio::spawn(keep_sending(board.clone(), receipts, FIRST));
    let mut lines = vec![sink(&running, "out")];
    for _ in 0..40 {
        reload(&mut running, &text("")).await;
        for _ in 0..4 {
            let receipt = within("a batch is sent", received.recv()).await.unwrap();
            assert_eq!(within("it is answered", receipt).await, Outcome::Delivered);
        }
        reload(&mut running, &out).await;
        lines.push(sink(&running, "out"));
        for handle in &lines {
            handle.line().check().unwrap();
        }
    }
    sender.abort();
    drop(sender.await);
    while let Some(receipt) = within("what was sent", received.recv()).await {
        assert_eq!(within("it is answered", receipt).await, Outcome::Delivered);
    }
    let report = within("the graph drains", running.drain()).await;
    assert!(report.dropped.is_empty() && report.unfinished.is_empty(), "{report:?}");
    let mut shown: Vec<u64> = board.shown().iter().flat_map(records_of).collect();
    let count = shown.len();
    shown.sort_unstable();
    shown.dedup();
    assert_eq!(shown.len(), count, "each record once");
    let last = lines.last().unwrap().line();
    last.check().unwrap();
    assert_eq!(last.held.total(), 0);
}

/// A graph that cannot be built leaves everything as it is: the same instances, no listener more, no service more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_reload_changes_nothing() {
    let board = Board::named("failed");
    let mut running = run(&pair("failed", "board = \"failed\""));
    let out = sink(&running, "out");
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let text = pair("failed", "board = \"failed\"\nversion = 1")
        + &format!("[sources.new]\ntype = \"otlp\"\nhttp.listen = \"{free}\"\n")
        + "[sources.asks]\ntype = \"ask\"\nprobe = \"opened-for-nothing\"\n"
        + "[sinks.bad]\ntype = \"file\"\npath = \"/nowhere/at/all\"\ninputs = [\"in\", \"new\", \"asks\"]\n";
    let refusals = running.reload(plan(&text)).await.unwrap_err();
    let texts: Vec<String> = refusals.iter().map(ToString::to_string).collect();
    assert!(matches!(refusals[..], [Refusal::Build(_)]) && texts[0].starts_with("bad: "), "{texts:?}");
    assert!(std::net::TcpListener::bind(free).is_ok(), "the listener was given back");
    assert_eq!(services::events("opened-for-nothing"), ["opened-for-nothing: opened"], "and never ran");
    assert!(Arc::ptr_eq(&out, &sink(&running, "out")));
    assert_eq!(running.nodes().len(), 2);
    assert_eq!(within("it is taken", board.push(logs(&[], 0..1))).await, Outcome::Delivered);
    within("the graph drains", running.drain()).await;
}

/// What is fixed at the start of a process cannot be reloaded: every such key is named, and nothing changes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fixed_settings_are_named() {
    let mut running = run(&pair("fixed", "board = \"fixed\""));
    let settings = "[admin]\nlisten = \"127.0.0.1:1\"\n[memory]\nlimit = \"99MiB\"\n[state]\ndirectory = \"/var/x\"\n\
                    [kubernetes]\nnode = \"n\"\n";
    let mut other = plan(&(pair("fixed", "board = \"fixed\"\nversion = 1") + settings));
    other.settings.lanes += 1;
    other.settings.role = Some("gateway".into());
    let refusals = running.reload(other).await.unwrap_err();
    let texts: Vec<String> = refusals.iter().map(ToString::to_string).collect();
    let keys = ["admin.listen", "engine.lanes", "engine.role", "kubernetes", "memory.limit", "state.directory"];
    let expected = keys.map(|key| format!("`{key}` cannot change while the process runs: restart it"));
    assert_eq!(texts, expected);
    within("the graph drains", running.drain()).await;
}

/// A service runs before its first user and until after its last one, whichever graph they are of.
#[tokio::test]
async fn services_come_and_go_with_their_users() {
    let mut running = run(&services::graph("reload-a", "reload-shared"));
    reload(&mut running, &services::graph("reload-b", "reload-shared")).await;
    all_retired(&mut running, 1).await;
    assert_eq!(services::events("reload-a: stopped").len(), 1);
    let of_a = services::events("reload-a:");
    let position = |what: &str| of_a.iter().position(|event| event.ends_with(what)).unwrap();
    assert!(position("source ends") < position("stopped"), "{of_a:?}");
    let of_b = services::events("reload-b:");
    assert_eq!(&of_b[..2], ["reload-b: opened", "reload-b: runs"].map(str::to_owned).as_slice(), "{of_b:?}");
    assert_eq!(services::events("reload-shared: opened").len(), 1);
    assert!(services::events("reload-shared: stopped").is_empty());
    within("the graph drains", running.drain()).await;
}

/// A source whose other options change keeps its socket: who connects at any moment is served. One whose address changes, or
/// that is gone, gives it up; another one can have it at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sockets_stay_and_move() {
    let text = |id: &str, listen: &str, more: &str| {
        format!(
            "[sources.{id}]\ntype = \"otlp\"\nhttp.listen = \"{listen}\"\n{more}\n\
             [sinks.out]\ntype = \"blackhole\"\ninputs = [\"{id}\"]\n"
        )
    };
    let mut running = run(&text("in", "127.0.0.1:0", ""));
    let address = running.sockets().bound()[0].address;
    let connecting = tokio::spawn(async move {
        let mut count = 0_u64;
        loop {
            get(address).await;
            count += 1;
            if count > 200 {
                return;
            }
        }
    });
    let mut size = 1;
    while !connecting.is_finished() {
        size += 1;
        let changes =
            reload(&mut running, &text("in", "127.0.0.1:0", &format!("http.max_request_size = \"{size}MiB\""))).await;
        assert_eq!(ids(&changes), [vec![], vec!["in"], vec![]]);
        assert_eq!(running.sockets().bound()[0].address, address);
    }
    connecting.await.unwrap();
    // Under a number of its own it is another listener, and a source of another name takes it over.
    let fixed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for id in ["in", "out-of", "in", "again"] {
        reload(&mut running, &text(id, &fixed.to_string(), "")).await;
        get(fixed).await;
    }
    let refused = tokio::net::TcpStream::connect(address).await.unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    within("the graph drains", running.drain()).await;
}

/// A request that is answered, whatever with.
async fn get(address: std::net::SocketAddr) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    within("an answer", stream.read_to_end(&mut answer)).await.unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 4"), "{}", String::from_utf8_lossy(&answer));
}

/// Counters of a component that is replaced go on; one of another type under the same id starts its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counters_go_on() {
    let board = Board::named("counters");
    let mut running = run(&pair("counters", "board = \"counters\""));
    let sent = |running: &Running| {
        let nodes: BTreeMap<_, _> = running.nodes().iter().map(|node| (node.id.to_string(), node.clone())).collect();
        nodes["in"].telemetry.read().sent["default"]["logs"].records
    };
    assert_eq!(within("it is taken", board.push(logs(&[], 0..3))).await, Outcome::Delivered);
    reload(&mut running, &pair("counters", "board = \"counters\"").replacen("\"push\"", "\"push\"\nversion = 1", 1))
        .await;
    assert_eq!(within("it is taken", board.push(logs(&[], 3..5))).await, Outcome::Delivered);
    assert_eq!(sent(&running), 5);
    reload(&mut running, &pair("counters", "").replace("\"show\"", "\"blackhole\"")).await;
    assert_eq!(sink(&running, "out").line().counts.accepted, 0);
    within("the graph drains", running.drain()).await;
}
