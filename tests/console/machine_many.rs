//! Many machines at once whose answers are long and never end.

use std::time::Duration;

use muster::assets::facts::Limits;
use muster::assets::machine::{Settings, check};
use muster::assets::outcome::{Outcome, Reason};
use tokio::task::JoinSet;

use crate::agents::target;
use crate::hostile::{Hostile, Manner, http};

/// Just below what one answer may be.
const LONG: usize = 4 * 1024 * 1024 - 64 * 1024;
const MANY: usize = 24;

fn at(port: u16) -> Settings {
    Settings {
        address: format!("http://127.0.0.1:{port}"),
        limits: Limits {
            cpu: 0,
            memory: 0,
            disk: 0,
        },
        ..Settings::default()
    }
}

/// Holds what it was sent until its time is over, unless it is given up before.
async fn held(port: u16) -> Outcome {
    let mut target = target();
    target.timeout = Duration::from_secs(5);
    check(&at(port), &target).await.outcome
}

#[tokio::test]
async fn answers_that_never_end_are_given_up_together_and_keep_no_good_one_waiting() {
    let mut long = b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n".to_vec();
    long.resize(LONG, b'#');
    let hostile = Hostile::start(Manner::Drip(long)).await;
    let comment = "# comment\n".repeat(30_000);
    let good = http(
        "200 OK",
        "",
        &format!("{comment}node_boot_time_seconds 1\nnode_time_seconds 9\n"),
    );
    let good = Hostile::answering(good).await;
    let mut checks = JoinSet::new();
    for _ in 0..MANY {
        checks.spawn(held(hostile.port));
    }
    let (mut given_up, mut timed_out) = (0, 0);
    while let Some(outcome) = checks.join_next().await {
        match outcome.unwrap() {
            Outcome::Down(Reason::TooLong) => given_up += 1,
            Outcome::Down(Reason::TimedOut { .. }) => timed_out += 1,
            other => panic!("{other:?}"),
        }
        // While the others are still held.
        let mut target = target();
        target.timeout = Duration::from_secs(3);
        let report = check(&at(good.port), &target).await;
        assert_eq!(
            report.outcome,
            Outcome::Up,
            "{given_up} given up, {timed_out} timed out"
        );
    }
    // 64 MiB are room for sixteen.
    assert!(timed_out <= 17 && given_up >= MANY - 17, "{given_up} {timed_out}");
    assert!(timed_out >= 1, "not all of them have to go");
}
