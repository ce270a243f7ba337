//! What the program takes when nothing happens, how soon it is up, and how large it is.

use std::path::Path;
use std::time::Duration;

use muster::config::Database;

use crate::report::{Goal, Report};
use crate::{BINARY, process};

/// When it is asked for by name.
const LONG: Duration = Duration::from_secs(600);
/// As one part among others.
const SHORT: Duration = Duration::from_secs(60);

/// Fills the report; the database must know a thousand clusters.
pub(crate) async fn measure(database: &Database, is_long: bool, dir: &Path, report: &mut Report) {
    let data = dir.join("program");
    let (listening, ready_ms) = process::starts(database, &data).await;
    let idle = process::idle(database, &data, if is_long { LONG } else { SHORT }).await;
    report.figures.extend([
        ("start to the first list", ready_ms, "ms"),
        ("idle: watched for", idle.seconds, "s"),
        ("idle: to the database, a beat each 30 s", idle.sent / 1024.0, "KiB/min"),
        ("idle: from the database", idle.received / 1024.0, "KiB/min"),
        ("idle: statements", idle.statements, "/min"),
    ]);
    report.goals.extend([
        Goal::below("start to listening", listening, 100.0, "ms"),
        Goal::below("idle RSS", idle.rss_mib, 15.0, "MiB"),
        Goal::below("idle CPU", idle.cpu_percent, 0.2, "% of a core"),
        Goal::below("release binary", megabytes(Path::new(BINARY)), 15.0, "MB"),
    ]);
}

fn megabytes(path: &Path) -> f64 {
    std::fs::metadata(path).unwrap().len() as f64 / 1e6
}
