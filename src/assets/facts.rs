//! What a check learned about an asset; what it did not learn is absent.

use serde::{Deserialize, Serialize};

use super::kind::{self, Fields};
use crate::web::{Form, Mistakes};

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Facts {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub host_name: String,
    /// `Debian GNU/Linux 12 (bookworm)`
    #[serde(skip_serializing_if = "String::is_empty")]
    pub os: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub kernel: String,
    /// What answered, with its version: `node_exporter 1.5.0`, `OpenSSH_9.2p1`, `Docker 28.2.2`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub software: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cores: Option<u32>,
    /// Percent of all cores since the last check, or since the start of the machine at the first one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<f64>,
    /// One, five and fifteen minutes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load: Option<[f64; 3]>,
    /// Bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<Usage>,
    /// The fullest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub disks: Vec<Disk>,
    /// Seconds since the machine started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uptime_s: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub containers: Option<Containers>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub images: Option<u64>,
    /// `manager`, `worker`; empty outside of a swarm.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub swarm: String,
    /// Ticks of all cores since the start of the machine, idle and in all: from them the next check knows `cpu`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_ticks: Option<[f64; 2]>,
    /// Checks in a row, this one included, that found the CPU at its limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_over: Option<u32>,
}

impl Facts {
    /// CPU since the last check; since the machine started when there was none, or when the counters began anew.
    /// `ticks` are idle and all, of all cores together, in any unit.
    pub fn set_cpu(&mut self, ticks: [f64; 2], last: Option<[f64; 2]>) {
        let [idle, all] = ticks;
        if !(idle.is_finite() && all.is_finite() && idle >= 0.0 && all > 0.0) {
            return;
        }
        let [idle_before, all_before] = last.filter(|[_, before]| *before <= all).unwrap_or_default();
        let span = all - all_before;
        self.cpu = (span > 0.0).then(|| (100.0 - (idle - idle_before) * 100.0 / span).clamp(0.0, 100.0));
        self.cpu_ticks = Some(ticks);
    }
}

/// Bytes used and in all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Usage {
    pub used: u64,
    pub total: u64,
}

impl Usage {
    /// 0 to 100.
    pub fn percent(self) -> f64 {
        match self.total {
            0 => 0.0,
            total => self.used as f64 * 100.0 / total as f64,
        }
    }
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Disk {
    pub mount: String,
    #[serde(flatten)]
    pub usage: Usage,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Containers {
    pub running: u64,
    pub paused: u64,
    pub stopped: u64,
}

/// From how many percent on something is worth a warning; 0 for never.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    pub cpu: u8,
    pub memory: u8,
    pub disk: u8,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            cpu: 95,
            memory: 95,
            disk: 90,
        }
    }
}

impl Limits {
    pub fn fields(self) -> Fields {
        [
            ("cpu_limit", self.cpu),
            ("memory_limit", self.memory),
            ("disk_limit", self.disk),
        ]
        .map(|(field, limit)| (field, limit.to_string()))
        .to_vec()
    }

    /// What a form says; what is wrong with it is noted at its field.
    pub fn typed(form: &Form, mistakes: &mut Mistakes) -> Limits {
        Limits {
            cpu: kind::percent(form, "cpu_limit", mistakes),
            memory: kind::percent(form, "memory_limit", mistakes),
            disk: kind::percent(form, "disk_limit", mistakes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn cpu(ticks: [f64; 2], last: Option<[f64; 2]>) -> Option<f64> {
        let mut facts = Facts::default();
        facts.set_cpu(ticks, last);
        facts.cpu
    }

    #[test]
    fn cpu_is_counted_since_the_last_check() {
        assert_eq!(cpu([75.0, 100.0], None), Some(25.0), "since the start");
        assert_eq!(cpu([80.0, 110.0], Some([75.0, 100.0])), Some(50.0));
        assert_eq!(cpu([4.0, 5.0], Some([75.0, 100.0])), Some(20.0), "it started anew");
        // The idle counter of Linux may step back a little.
        assert_eq!(cpu([74.0, 110.0], Some([75.0, 100.0])), Some(100.0));
        assert_eq!(
            cpu([75.0, 100.0], Some([75.0, 100.0])),
            None,
            "nothing was counted in between"
        );
        assert_eq!(cpu([f64::NAN, 100.0], None), None);
        assert_eq!(cpu([0.0, f64::INFINITY], None), None);
        assert_eq!(cpu([1.0, 2.0], Some([f64::NAN, f64::NAN])), Some(50.0));
    }
}
