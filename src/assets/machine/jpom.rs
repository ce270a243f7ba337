//! What a Jpom agent tells of a machine. Names and units are those of Jpom agent 2.11: `IndexController.getDirectTop`,
//! `OshiUtils.getSimpleInfo`, `OshiUtils.getSystemInfo`, `AuthorizeInterceptor`.

use std::time::Duration;

use serde::Deserialize;
use sha1::{Digest, Sha1};

use crate::assets::facts::{Disk, Facts, Limits, Usage};
use crate::assets::outcome::{Outcome, Reason, Report, detail};
use crate::assets::target::Secret;

/// Who asks, as the agent wants to hear it.
pub const HEADER: &str = "Jpom-Agent-Authorize";

/// The code of an agent that turned our user and password away (`Const.AUTHORIZE_ERROR`).
const DENIED: i64 = 900;

/// The value of [`HEADER`] (`AgentAuthorize.init`).
pub fn authorization(secret: &Secret) -> String {
    let hash = Sha1::digest(format!("{}@{}", secret.user, secret.password));
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The agent's frame around every answer (`JsonMessage`).
#[derive(Debug, Deserialize)]
struct Message {
    code: i64,
    #[serde(default)]
    msg: Option<String>,
    #[serde(default)]
    data: Option<Data>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Data {
    simple_status: Option<SimpleStatus>,
    system_info: Option<SystemInfo>,
    jpom_info: Option<JpomInfo>,
    /// Milliseconds that the agent spent on counting, which are no latency.
    system_sleep: Option<u64>,
    oshi_error: Option<String>,
}

/// Percents.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct SimpleStatus {
    cpu: Option<f64>,
    memory: Option<f64>,
    disk: Option<f64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct SystemInfo {
    /// Seconds.
    system_uptime: Option<u64>,
    os_version: Option<String>,
    host_name: Option<String>,
    os_cpu_cores: Option<u32>,
    /// Bytes. The spelling is Jpom's.
    os_money_total: Option<u64>,
    os_load_average: Option<Vec<f64>>,
    /// Bytes of all file systems together.
    os_file_store_total: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct JpomInfo {
    jpom_manifest: Option<JpomManifest>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct JpomManifest {
    version: Option<String>,
}

/// What an answer means. In the words of Jpom's `MachineNodeServer`: 1 up, 2 denied, 3 another code, 4 `oshiError`; its 0
/// is no answer at all.
///
/// # Errors
/// Why the asset is down.
pub fn report(answer: &[u8], user: &str, limits: Limits, took: Duration) -> Result<Report, Reason> {
    let message: Message = serde_json::from_slice(answer).map_err(|_| Reason::Unexpected {
        detail: detail(String::from_utf8_lossy(answer)),
    })?;
    let told = message.msg.unwrap_or_default();
    match message.code {
        200 => {}
        DENIED => return Err(Reason::Denied { user: user.to_owned() }),
        code => {
            let detail = detail(format_args!("{code} {told}"));
            return Err(Reason::Agent { detail });
        }
    }
    let data = message.data.unwrap_or_default();
    // Its own facts are in every answer of an agent, whatever it could measure.
    let manifest = data.jpom_info.as_ref().and_then(|info| info.jpom_manifest.as_ref());
    let Some(manifest) = manifest else {
        return Err(Reason::Unexpected { detail: detail(told) });
    };
    let latency = took.saturating_sub(Duration::from_millis(data.system_sleep.unwrap_or_default()));
    let mut report = Report::of(facts(&data, manifest), limits, latency);
    // An exception without a message leaves no error behind, but no facts either.
    let incomplete = data.simple_status.is_none() || data.system_info.is_none();
    match data.oshi_error.filter(|error| !error.is_empty()) {
        Some(error) => report.outcome = Outcome::Degraded(Reason::Agent { detail: detail(error) }),
        None if incomplete => {
            let detail = "oshi".to_owned();
            report.outcome = Outcome::Degraded(Reason::Agent { detail });
        }
        None => {}
    }
    Ok(report)
}

fn facts(data: &Data, manifest: &JpomManifest) -> Facts {
    let mut facts = Facts {
        software: format!("Jpom {}", manifest.version.as_deref().unwrap_or_default()),
        ..Facts::default()
    };
    facts.software = detail(&facts.software);
    let none = SystemInfo::default();
    let system = data.system_info.as_ref().unwrap_or(&none);
    facts.host_name = detail(system.host_name.as_deref().unwrap_or_default());
    facts.os = detail(system.os_version.as_deref().unwrap_or_default());
    facts.cores = system.os_cpu_cores;
    facts.uptime_s = system.system_uptime;
    if let Some([one, five, fifteen]) = system.os_load_average.as_deref() {
        // Windows has none: -1.
        facts.load = Some([*one, *five, *fifteen]).filter(|load| load.iter().all(|value| *value >= 0.0));
    }
    let Some(status) = &data.simple_status else {
        return facts;
    };
    facts.cpu = status.cpu.filter(|percent| (0.0..=100.0).contains(percent));
    facts.memory = usage(status.memory, system.os_money_total);
    // All file systems together are all it tells.
    facts.disks = usage(status.disk, system.os_file_store_total)
        .map(|usage| Disk {
            mount: "*".to_owned(),
            usage,
        })
        .into_iter()
        .collect();
    facts
}

fn usage(percent: Option<f64>, total: Option<u64>) -> Option<Usage> {
    let (percent, total) = (percent.filter(|percent| (0.0..=100.0).contains(percent))?, total?);
    // Beyond 2^53 bytes the product may round up.
    let used = ((total as f64 * percent / 100.0).round() as u64).min(total);
    Some(Usage { used, total })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;
    use crate::odd;

    #[test]
    fn the_header_is_the_hash_of_user_and_password() {
        let secret = Secret {
            user: "jpomAgent".to_owned(),
            password: "secret".to_owned(),
            ..Secret::default()
        };
        // printf 'jpomAgent@secret' | sha1sum
        assert_eq!(authorization(&secret), "c2d8f3612fc387d5c439a54ee70abd7508b5f552");
    }

    const SAMPLES: [&str; 3] = [
        r#"{"code":200,"msg":"ok","data":{"simpleStatus":{"cpu":12.5,"memory":40.0,"disk":70},"systemInfo":{"systemUptime":99,"osVersion":"Linux","hostName":"h","osCpuCores":4,"osMoneyTotal":8000000000,"osLoadAverage":[0.1,0.2,0.3],"osFileStoreTotal":9007199254740995},"jpomInfo":{"jpomManifest":{"version":"2.11.9"}},"systemSleep":1000}}"#,
        r#"{"code":200,"data":{"jpomInfo":{"jpomManifest":{"version":null}},"oshiError":"no"}}"#,
        r#"{"code":900,"msg":"x"}"#,
    ];

    proptest! {
        #![proptest_config(odd::config())]

        #[test]
        fn whatever_is_answered_the_facts_are_possible_and_short(
            answer in odd::bytes(&SAMPLES),
            number in select(&["-1", "100.1", "1e308", "null", "\"x\"", "100", "0"][..]),
            word in odd::junk(),
        ) {
            let answer = String::from_utf8_lossy(&answer);
            let answer = answer.replace("12.5", number).replace("70", number).replace("\"h\"", &serde_json::Value::from(word).to_string());
            match report(answer.as_bytes(), "u", Limits::default(), Duration::from_secs(1)) {
                Ok(report) => {
                    let facts = report.facts;
                    for text in [&facts.host_name, &facts.os, &facts.software] {
                        prop_assert_eq!(&detail(text), text);
                    }
                    prop_assert!(facts.cpu.is_none_or(|cpu| (0.0..=100.0).contains(&cpu)));
                    let usages = facts.memory.into_iter().chain(facts.disks.iter().map(|disk| disk.usage));
                    for usage in usages {
                        prop_assert!(usage.used <= usage.total, "{:?}", usage);
                    }
                    prop_assert!(report.latency.is_none_or(|latency| latency <= Duration::from_secs(1)));
                }
                Err(Reason::Unexpected { detail: said } | Reason::Agent { detail: said }) => {
                    prop_assert_eq!(detail(&said), said);
                }
                Err(reason) => prop_assert!(matches!(reason, Reason::Denied { .. }), "{:?}", reason),
            }
        }

        #[test]
        fn no_more_is_used_than_there_is(
            percent in prop_oneof![Just(100.0), 0.0..=100.0],
            total in prop_oneof![any::<u64>(), (0..64_u32).prop_map(|bits| (1 << bits) - 1)],
        ) {
            let usage = usage(Some(percent), Some(total)).unwrap();
            prop_assert!(usage.used <= usage.total, "{:?}", usage);
        }
    }
}
