//! Load by wrk, and what it says of it.

use std::path::Path;

use tokio::process::Command;

use crate::sites::{SESSIONS, TOKEN_END};

/// What one site did under one load.
pub(crate) struct Load {
    pub(crate) site: &'static str,
    pub(crate) connections: u32,
    pub(crate) per_second: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
}

impl Load {
    /// Takes in another round, as the mean over all.
    pub(crate) fn join(&mut self, more: &Load, rounds_before: u32) {
        let n = f64::from(rounds_before);
        let mean = |known: f64, new: f64| (known * n + new) / (n + 1.0);
        self.per_second = mean(self.per_second, more.per_second);
        self.p50_ms = mean(self.p50_ms, more.p50_ms);
        self.p99_ms = mean(self.p99_ms, more.p99_ms);
    }
}

/// What wrk sends: each request from another of the signed-in browsers, and, with `own_lists`, for a list that no other
/// one asks for.
pub(crate) fn script(own_lists: bool) -> String {
    let list = if own_lists { " .. \"&n=\" .. n" } else { "" };
    format!(
        "local n = 0\n\
         request = function() n = n + 1\n\
         wrk.headers[\"Cookie\"] = string.format(\"muster_s_bench=%02x{TOKEN_END}\", n % {SESSIONS})\n\
         return wrk.format(nil, wrk.path{list}) end\n"
    )
}

/// As [`script`], from people who read: each pauses for a tenth of a second on average before it asks again.
pub(crate) fn unhurried() -> String {
    format!("{}delay = function() return math.random(50, 150) end\n", script(false))
}

/// Five seconds of requests as htmx sends them, after one to warm up.
pub(crate) async fn wrk(site: &'static str, url: &str, connections: u32, script: &Path) -> Load {
    wrk_for(5, site, url, connections, script).await
}

/// As [`wrk`], for so many seconds.
pub(crate) async fn wrk_for(seconds: u32, site: &'static str, url: &str, connections: u32, script: &Path) -> Load {
    let run = async |seconds: &str| {
        let output = Command::new("wrk")
            .args(["-t1", "-d", seconds, "--latency", "-H", "HX-Request: true"])
            .arg(format!("-c{connections}"))
            .arg("-s")
            .arg(script)
            .arg(url)
            .kill_on_drop(true)
            .output()
            .await
            .expect("wrk is installed");
        assert!(output.status.success(), "wrk: {}", output.status);
        String::from_utf8(output.stdout).unwrap()
    };
    run("1s").await;
    let said = run(&format!("{seconds}s")).await;
    let failed = ["Non-2xx", "Socket errors"].iter().any(|word| said.contains(word));
    assert!(!failed, "{site} failed under load:\n{said}");
    let after = |label: &str| {
        said.lines()
            .find_map(|line| line.trim().strip_prefix(label))
            .unwrap_or_else(|| panic!("no {label:?} in:\n{said}"))
            .trim()
    };
    Load {
        site,
        connections,
        per_second: after("Requests/sec:").parse().unwrap(),
        p50_ms: milliseconds(after("50%")),
        p99_ms: milliseconds(after("99%")),
    }
}

/// `712.00us`, `1.04ms`, `1.20s`
fn milliseconds(time: &str) -> f64 {
    let units = [("us", 1e-3), ("ms", 1.0), ("s", 1e3)];
    units
        .iter()
        .find_map(|(unit, factor)| Some(time.strip_suffix(unit)?.parse::<f64>().ok()? * factor))
        .unwrap_or_else(|| panic!("{time:?} is no time"))
}
