//! Pods that come and go a hundred times a second and hand on their addresses, with a watch that lags behind: whatever is
//! attributed is attributed to the pod that sent it.

use std::collections::VecDeque;

use super::*;

/// How long the simulated cluster runs.
const LASTS: Duration = Duration::from_secs(20);
/// A pod is replaced so often.
const STEP: Duration = Duration::from_millis(10);
/// Addresses that pods have in turn.
const ADDRESSES: u32 = 1000;

/// The watch tells at most so late, in milliseconds. Beyond the time in which addresses settle nobody could be sure.
const LAG: u64 = 400;

/// A simple generator of numbers that look random, the same in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

/// What the watch tells, later.
enum News {
    Comes(u32, String),
    Goes(u32),
}

/// No record is attributed to a pod that did not send it, though every tenth pod is in its node's network, addresses go on at
/// once, the watch tells up to 400 ms late, and connections are as short as pods. Nearly all of it is attributed.
#[tokio::test(start_paused = true)]
async fn nobody_is_taken_for_another() {
    let metadata = cluster();
    let transform = transform(&metadata, &Options::default());
    let mut run = companion(&transform);
    let mut output = run.outputs.pop().unwrap();
    let checking = tokio::spawn(async move {
        while let Some(batch) = output.next().await {
            check(&batch);
        }
    });
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
    let mut holders: Vec<Option<(u32, Arc<Peer>)>> = vec![None; ADDRESSES as usize];
    let mut news: VecDeque<(Instant, News)> = VecDeque::new();
    let mut receipts = Vec::new();
    let (mut sent, mut pods) = (0u64, 0u32);
    let began = Instant::now();
    let mut told = began;
    while began.elapsed() < LASTS {
        let now = Instant::now();
        while news.front().is_some_and(|(at, _)| *at <= now) {
            match news.pop_front().unwrap().1 {
                News::Comes(number, address) => metadata.put(churned(number, &address)),
                News::Goes(number) => metadata.remove_pod(Uid::parse(&uid(number)).unwrap()),
            }
        }
        // One pod goes and another one has its address at once; the watch tells of both in order, late.
        let place = numbers.below(u64::from(ADDRESSES)) as u32;
        let address = format!("10.0.{}.{}", place / 250, place % 250);
        told = told.max(now + Duration::from_millis(numbers.below(LAG)));
        if let Some((gone, _)) = holders[place as usize].take() {
            news.push_back((told, News::Goes(gone)));
        }
        pods += 1;
        news.push_back((told, News::Comes(pods, address.clone())));
        holders[place as usize] = Some((pods, peer(&address, Duration::ZERO)));
        // Some that are there send: by connection, by the address they say, and a node that says nothing.
        for _ in 0..3 {
            let place = numbers.below(u64::from(ADDRESSES)) as usize;
            let Some((number, connection)) = &holders[place] else { continue };
            let (number, connection) = (*number, Arc::clone(connection));
            let (truth, address) = (number.to_string(), format!("10.0.{}.{}", place / 250, place % 250));
            let is_in_host_network = number.is_multiple_of(10);
            let (attributes, connection) = match numbers.below(4) {
                0 => (vec![("truth", truth.as_str()), ("k8s.pod.ip", &address)], peer("192.0.2.7", SECOND)),
                1 => (vec![("truth", "node"), ("host.name", "node-1")], peer("192.0.2.7", 10 * SECOND)),
                _ => (vec![("truth", truth.as_str())], connection),
            };
            if is_in_host_network {
                continue;
            }
            sent += u64::from(truth == attributes[0].1);
            let (batch, receipt) = Batch::new(logs(&attributes, 0..1));
            let Applied { emitted, handed_over, .. } = apply(&transform, batch.sent_by(connection));
            emitted.iter().for_each(|(_, batch)| check(batch));
            for waiting in handed_over {
                run.feed.send(waiting).await;
            }
            receipts.push(receipt);
        }
        pass(STEP).await;
    }
    run.draining.cancel();
    drop(run.feed);
    checking.await.unwrap();
    let matched = count(&transform, "records_matched_by_connection") + count(&transform, "records_matched_by_pod_ip");
    assert!(pods > 1900 && sent > 2000, "{pods} pods, {sent} records");
    assert!(matched * 100 > sent * 85, "{matched} of {sent}: {:?}", transform.0.counts.read());
}

/// Every tenth is in its node's network, and says the node's address to be its own.
fn churned(number: u32, address: &str) -> serde_json::Value {
    let mut object = pod(number, address);
    object["spec"]["hostNetwork"] = json!(number.is_multiple_of(10));
    object
}

fn check(batch: &Batch) {
    let Some(name) = value(batch, "k8s.pod.name") else { return };
    assert_eq!(name, format!("web-{}", value(batch, "truth").unwrap()));
}
