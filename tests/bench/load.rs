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
    let turn = Turn {
        warms_up: true,
        seconds,
        connections,
        headers: &["HX-Request: true"],
        script: Some(script),
    };
    wrk_as(site, url, turn).await
}

/// One of wrk's runs.
pub(crate) struct Turn<'a> {
    /// For a second before.
    pub(crate) warms_up: bool,
    pub(crate) seconds: u32,
    pub(crate) connections: u32,
    pub(crate) headers: &'a [&'a str],
    pub(crate) script: Option<&'a Path>,
}

/// Requests to one address, as fast as they are answered.
pub(crate) async fn wrk_as(site: &'static str, url: &str, turn: Turn<'_>) -> Load {
    let connections = turn.connections;
    let run = async |seconds: u32| {
        let mut command = Command::new("wrk");
        command.args(["-t1", "--latency", "--timeout", "60s"]);
        command.args([format!("-d{seconds}s"), format!("-c{connections}")]);
        for header in turn.headers {
            command.args(["-H", header]);
        }
        if let Some(script) = turn.script {
            command.arg("-s").arg(script);
        }
        let output = command.arg(url).kill_on_drop(true).output().await;
        let output = output.expect("wrk is installed");
        assert!(output.status.success(), "wrk: {}", output.status);
        String::from_utf8(output.stdout).unwrap()
    };
    if turn.warms_up {
        run(1).await;
    }
    let said = run(turn.seconds).await;
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
        // None in all that time counts as one, so that there is something to divide by.
        per_second: after("Requests/sec:")
            .parse::<f64>()
            .unwrap()
            .max(1.0 / f64::from(turn.seconds)),
        p50_ms: milliseconds(after("50%")),
        p99_ms: milliseconds(after("99%")),
    }
}

/// `712.00us`, `1.04ms`, `1.20s`, `1.05m`
fn milliseconds(time: &str) -> f64 {
    let units = [("us", 1e-3), ("ms", 1.0), ("s", 1e3), ("m", 6e4)];
    units
        .iter()
        .find_map(|(unit, factor)| Some(time.strip_suffix(unit)?.parse::<f64>().ok()? * factor))
        .unwrap_or_else(|| panic!("{time:?} is no time"))
}
