//! Model test of receipts: any tree of splits and answers against a plain computation of the worst.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use futures::FutureExt;
use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Act {
    Split(usize),
    Answer(usize, Said),
}

#[derive(Clone, Copy, Debug)]
enum Said {
    Delivered(u64),
    Partial(u64, u64),
    Rejected(u64),
    Retry(Option<u64>),
    Unkept,
    Dropped,
}

fn said() -> impl Strategy<Value = Said> {
    prop_oneof![
        4 => (1..50u64).prop_map(Said::Delivered),
        1 => (1..50u64, 0..60u64).prop_map(|(records, rejected)| Said::Partial(records, rejected)),
        1 => (1..50u64).prop_map(Said::Rejected),
        1 => proptest::option::of(0..9u64).prop_map(Said::Retry),
        2 => Just(Said::Unkept),
        1 => Just(Said::Dropped),
    ]
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        any::<usize>().prop_map(Act::Split),
        (any::<usize>(), said()).prop_map(|(index, said)| Act::Answer(index, said)),
    ];
    proptest::collection::vec(act, 0..40)
}

fn say(share: Share, said: Said) {
    match said {
        Said::Delivered(records) => share.answer(&Outcome::Delivered, records),
        Said::Partial(records, rejected) => {
            share.answer(&Outcome::Partial { rejected, message: "part".to_owned() }, records);
        }
        Said::Rejected(records) => share.answer(&Outcome::rejected(RejectionKind::Invalid, "bad"), records),
        Said::Retry(after) => {
            let after = after.map(Duration::from_secs);
            share.answer(&Outcome::Retry { after, reason: "later".to_owned() }, 7);
        }
        Said::Unkept => share.answer_unkept(Some(Duration::from_secs(3)), "full"),
        Said::Dropped => drop(share),
    }
}

fn model(all: &[Said]) -> (Severity, u64, u64, Option<u64>) {
    let mut worst = Severity::Delivered;
    let (mut delivered, mut rejected, mut wait) = (0, 0, None);
    for said in all {
        match *said {
            Said::Delivered(records) => delivered += records,
            Said::Partial(records, refused) => {
                rejected += refused.min(records);
                delivered += records - refused.min(records);
            }
            Said::Rejected(records) => {
                rejected += records;
                worst = worst.max(Severity::Rejected);
            }
            Said::Retry(after) => {
                worst = Severity::Retry;
                wait = wait.max(after);
            }
            Said::Dropped => worst = Severity::Retry,
            Said::Unkept => {}
        }
    }
    if delivered == 0 && worst != Severity::Retry && all.iter().any(|said| matches!(said, Said::Unkept)) {
        (worst, wait) = (Severity::Retry, Some(3));
    }
    (worst, delivered, rejected, wait)
}

proptest! {
    /// The receipt resolves exactly when the last share is answered, with the worst answer and every count.
    #[test]
    fn agrees_with_the_model(acts in acts(), rest in said()) {
        let (mut waiting, first) = receipt();
        let mut open = vec![first];
        let mut answered = Vec::new();
        for act in acts {
            if open.is_empty() {
                break;
            }
            prop_assert!((&mut waiting).now_or_never().is_none());
            match act {
                Act::Split(index) => {
                    let other = open[index % open.len()].split();
                    open.push(other);
                }
                Act::Answer(index, said) => {
                    say(open.swap_remove(index % open.len()), said);
                    answered.push(said);
                }
            }
        }
        for share in open {
            say(share, rest);
            answered.push(rest);
        }
        let outcome = waiting.now_or_never().expect("every share was answered");
        let (worst, delivered, rejected, wait) = model(&answered);
        match (worst, outcome) {
            (Severity::Retry, Outcome::Retry { after, .. }) => prop_assert_eq!(after, wait.map(Duration::from_secs)),
            (Severity::Rejected, Outcome::Rejected(_)) => prop_assert_eq!(delivered, 0),
            (Severity::Rejected | Severity::Delivered, Outcome::Partial { rejected: counted, .. }) => {
                prop_assert_eq!(counted, rejected);
            }
            // Without a rejection a partial answer is a warning, and is passed on as well.
            (Severity::Delivered, Outcome::Delivered) => {
                prop_assert!(!answered.iter().any(|said| matches!(said, Said::Partial(..))));
            }
            (expected, outcome) => prop_assert!(false, "{expected:?} expected, got {outcome:?}"),
        }
    }
}

/// A panic while a share is held answers Retry, never Delivered.
#[test]
fn a_panic_never_acknowledges() {
    let (waiting, share) = receipt();
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
        let _held = share;
        std::panic::resume_unwind(Box::new("a component's panic"));
    }));
    assert!(panicked.is_err());
    assert!(matches!(waiting.now_or_never(), Some(Outcome::Retry { .. })));
}

/// A waiter registered before the last answer is woken by it, from another thread.
#[tokio::test]
async fn wakes_the_waiter() {
    let (waiting, share) = receipt();
    let waiter = tokio::spawn(waiting);
    std::thread::spawn(move || share.answer(&Outcome::Delivered, 1)).join().unwrap();
    assert_eq!(waiter.await.unwrap(), Outcome::Delivered);
}
