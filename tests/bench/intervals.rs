//! Whether each asset was checked in each of its intervals.

use std::collections::HashMap;
use std::time::Duration;

use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use tokio::time::sleep;

use crate::watch::{ASSETS, INTERVAL, WATCH};

/// How often what was checked is read; shorter than any interval.
const SAMPLES: Duration = Duration::from_secs(5);

/// What was found out about the checks.
pub(crate) struct Checks {
    /// Share of the assets' intervals in which they were checked.
    pub(crate) kept: f64,
    /// Seconds.
    pub(crate) longest_gap: f64,
}

/// Follows the checks for [`WATCH`] seconds by what they leave in the database.
pub(crate) async fn follow(conn: &mut Conn) -> Checks {
    let since = "timestampdiff(microsecond, '2026-01-01',";
    let now = format!("select {since} utc_timestamp(6))");
    let begin: u64 = conn.query_first(&now).await.unwrap().unwrap();
    let end = begin + u64::from(WATCH) * 1_000_000;
    let rows = format!("select asset_id, {since} due_at), {since} checked_at) from asset_watch");
    let mut seen: HashMap<u32, (u64, Vec<u64>)> = HashMap::new();
    loop {
        let sampled: u64 = conn.query_first(&now).await.unwrap().unwrap();
        let found: Vec<(u32, u64, u64)> = conn.query(&rows).await.unwrap();
        for (asset, due, checked) in found {
            let (_, times) = seen.entry(asset).or_insert((due, Vec::new()));
            if times.last() != Some(&checked) {
                times.push(checked);
            }
        }
        if sampled > end {
            break;
        }
        sleep(SAMPLES).await;
    }
    assert_eq!(seen.len() as u64, ASSETS);
    let interval = INTERVAL.as_micros() as u64;
    let (mut kept, mut all, mut longest) = (0_u64, 0_u64, 0);
    for (due, times) in seen.values() {
        // Its own intervals begin where it is due.
        let mut from = begin - (begin - due % interval) % interval + interval;
        while from + interval <= end {
            all += 1;
            kept += u64::from(times.iter().any(|time| (from..from + interval).contains(time)));
            from += interval;
        }
        let gaps = times.windows(2).map(|pair| pair[1] - pair[0]);
        longest = longest.max(gaps.max().unwrap_or(end - begin));
    }
    assert!(all >= 3 * ASSETS, "three intervals of each");
    Checks {
        kept: kept as f64 / all as f64,
        longest_gap: longest as f64 / 1e6,
    }
}
