//! What `node_exporter` tells of a machine. What it leaves out, as it does on other systems than Linux, stays unknown.

use std::collections::{HashMap, HashSet};

use super::exposition::{Sample, samples};
use crate::assets::facts::{Disk, Facts, Usage};
use crate::assets::outcome::{Reason, detail};

const MOST_DISKS: usize = 10;

/// File systems that hold no files of their own, or that are full by nature.
const NO_DISKS: [&str; 19] = [
    "autofs",
    "binfmt_misc",
    "cgroup",
    "cgroup2",
    "devfs",
    "devtmpfs",
    "efivarfs",
    "erofs",
    "fuse.lxcfs",
    "iso9660",
    "nsfs",
    "overlay",
    "proc",
    "ramfs",
    "rootfs",
    "squashfs",
    "sysfs",
    "tmpfs",
    "udf",
];

/// The facts in an answer.
///
/// # Errors
/// [`Reason::Unexpected`] when nothing in it is from `node_exporter`.
pub fn facts(answer: &str, last_ticks: Option<[f64; 2]>) -> Result<Facts, Reason> {
    let mut told = Told::default();
    for sample in samples(answer).filter(|sample| sample.name.starts_with("node_")) {
        told.take(&sample);
    }
    match told.any {
        true => Ok(told.facts(last_ticks)),
        false => Err(Reason::Unexpected {
            detail: detail(answer.trim_start()),
        }),
    }
}

/// What was read so far.
#[derive(Debug, Default)]
struct Told<'a> {
    any: bool,
    facts: Facts,
    /// Seconds of all cores, idle and in all.
    ticks: [f64; 2],
    cores: HashSet<std::borrow::Cow<'a, str>>,
    memory_total: f64,
    memory_available: Option<f64>,
    load: [Option<f64>; 3],
    now: f64,
    started: f64,
    /// By device and mount point.
    disks: HashMap<(String, String), Space>,
}

/// Bytes of a file system.
#[derive(Debug, Clone, Copy, Default)]
struct Space {
    size: f64,
    /// For everybody.
    available: Option<f64>,
    /// With what is kept back for the system.
    free: Option<f64>,
}

impl<'a> Told<'a> {
    fn take(&mut self, sample: &Sample<'a>) {
        self.any = true;
        let value = sample.value;
        match sample.name {
            "node_cpu_seconds_total" => {
                self.cores.insert(sample.label("cpu"));
                // Waiting for a disk is no work.
                if matches!(&*sample.label("mode"), "idle" | "iowait") {
                    self.ticks[0] += value;
                }
                self.ticks[1] += value;
            }
            "node_memory_MemTotal_bytes" => self.memory_total = value,
            "node_memory_MemAvailable_bytes" => self.memory_available = Some(value),
            "node_load1" => self.load[0] = Some(value),
            "node_load5" => self.load[1] = Some(value),
            "node_load15" => self.load[2] = Some(value),
            "node_time_seconds" => self.now = value,
            "node_boot_time_seconds" => self.started = value,
            "node_filesystem_size_bytes" => self.space(sample, |space| space.size = value),
            "node_filesystem_avail_bytes" => self.space(sample, |space| space.available = Some(value)),
            "node_filesystem_free_bytes" => self.space(sample, |space| space.free = Some(value)),
            "node_uname_info" => {
                self.facts.host_name = detail(sample.label("nodename"));
                self.facts.kernel = detail(sample.label("release"));
            }
            "node_os_info" => self.facts.os = detail(sample.label("pretty_name")),
            "node_exporter_build_info" => {
                self.facts.software = detail(format_args!("node_exporter {}", sample.label("version")));
            }
            _ => {}
        }
    }

    fn space(&mut self, sample: &Sample<'_>, set: impl FnOnce(&mut Space)) {
        if NO_DISKS.contains(&&*sample.label("fstype")) {
            return;
        }
        let place = (
            sample.label("device").into_owned(),
            sample.label("mountpoint").into_owned(),
        );
        set(self.disks.entry(place).or_default());
    }

    fn facts(mut self, last_ticks: Option<[f64; 2]>) -> Facts {
        self.facts.set_cpu(self.ticks, last_ticks);
        self.facts.cores = u32::try_from(self.cores.len()).ok().filter(|cores| *cores > 0);
        if let [Some(one), Some(five), Some(fifteen)] = self.load {
            self.facts.load = Some([one, five, fifteen]).filter(|load| load.iter().all(|value| value.is_finite()));
        }
        if let Some(available) = self.memory_available.filter(|_| self.memory_total > 0.0) {
            self.facts.memory = Some(Usage {
                used: (self.memory_total - available) as u64,
                total: self.memory_total as u64,
            });
        }
        if self.started > 0.0 && self.now >= self.started {
            self.facts.uptime_s = Some((self.now - self.started) as u64);
        }
        self.facts.disks = disks(self.disks);
        self.facts
    }
}

/// One for each device, where it is mounted nearest to the root; the fullest first.
fn disks(found: HashMap<(String, String), Space>) -> Vec<Disk> {
    let mut nearest: HashMap<String, Disk> = HashMap::new();
    for ((device, mount), space) in found {
        let Some(usage) = space.usage() else { continue };
        let disk = Disk {
            mount: detail(mount),
            usage,
        };
        let known = nearest.entry(device).or_insert_with(|| disk.clone());
        if (disk.mount.len(), &disk.mount) < (known.mount.len(), &known.mount) {
            *known = disk;
        }
    }
    let mut disks: Vec<Disk> = nearest.into_values().collect();
    disks.sort_by(|a, b| {
        let fuller = b.usage.percent().total_cmp(&a.usage.percent());
        fuller.then_with(|| a.mount.cmp(&b.mount))
    });
    disks.truncate(MOST_DISKS);
    disks
}

impl Space {
    /// As `df` counts: what is kept back for the system is neither used nor there.
    fn usage(self) -> Option<Usage> {
        let (free, available) = (self.free.or(self.available)?, self.available.or(self.free)?);
        let used = (self.size - free).max(0.0);
        let total = used + available;
        (self.size > 0.0 && total.is_finite()).then_some(Usage {
            used: used as u64,
            total: total as u64,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINUX: &str = r#"# TYPE node_cpu_seconds_total counter
node_cpu_seconds_total{cpu="0",mode="idle"} 60
node_cpu_seconds_total{cpu="0",mode="iowait"} 10
node_cpu_seconds_total{cpu="0",mode="user"} 20
node_cpu_seconds_total{cpu="1",mode="idle"} 70
node_cpu_seconds_total{cpu="1",mode="system"} 40
node_cpu_guest_seconds_total{cpu="0",mode="user"} 15
node_memory_MemTotal_bytes 8e+09
node_memory_MemAvailable_bytes 6e+09
node_load1 0.5
node_load5 0.25
node_load15 0.125
node_time_seconds 1.70000360025e+09
node_boot_time_seconds 1.7e+09
node_uname_info{domainname="(none)",machine="x86_64",nodename="db1",release="6.1.0",sysname="Linux"} 1
node_os_info{id="debian",pretty_name="Debian GNU/Linux 12 (bookworm)"} 1
node_exporter_build_info{branch="x",version="1.5.0"} 1
node_filesystem_size_bytes{device="/dev/sda1",fstype="ext4",mountpoint="/"} 1000
node_filesystem_avail_bytes{device="/dev/sda1",fstype="ext4",mountpoint="/"} 450
node_filesystem_free_bytes{device="/dev/sda1",fstype="ext4",mountpoint="/"} 550
node_filesystem_size_bytes{device="/dev/sda1",fstype="ext4",mountpoint="/var/bind"} 1000
node_filesystem_avail_bytes{device="/dev/sda1",fstype="ext4",mountpoint="/var/bind"} 450
node_filesystem_free_bytes{device="/dev/sda1",fstype="ext4",mountpoint="/var/bind"} 550
node_filesystem_size_bytes{device="/dev/sdb1",fstype="xfs",mountpoint="/srv"} 1000
node_filesystem_avail_bytes{device="/dev/sdb1",fstype="xfs",mountpoint="/srv"} 100
node_filesystem_free_bytes{device="/dev/sdb1",fstype="xfs",mountpoint="/srv"} 100
node_filesystem_size_bytes{device="/dev/sr0",fstype="iso9660",mountpoint="/media"} 1000
node_filesystem_avail_bytes{device="/dev/sr0",fstype="iso9660",mountpoint="/media"} 0
node_filesystem_size_bytes{device="tmpfs",fstype="tmpfs",mountpoint="/run"} 1000
node_filesystem_avail_bytes{device="tmpfs",fstype="tmpfs",mountpoint="/run"} 1
"#;

    #[test]
    fn linux_tells_everything() {
        for text in [LINUX.to_owned(), LINUX.replace('\n', "\r\n")] {
            let facts = facts(&text, None).unwrap();
            assert_eq!((facts.cores, facts.cpu), (Some(2), Some(30.0)));
            assert_eq!(facts.cpu_ticks, Some([140.0, 200.0]));
            assert_eq!(facts.memory.unwrap().percent(), 25.0);
            assert_eq!(facts.load, Some([0.5, 0.25, 0.125]));
            assert_eq!(facts.uptime_s, Some(3600));
            let words = [&facts.host_name, &facts.kernel, &facts.os, &facts.software];
            let expected = ["db1", "6.1.0", "Debian GNU/Linux 12 (bookworm)", "node_exporter 1.5.0"];
            assert_eq!(words, expected);
            let disks: Vec<_> = facts
                .disks
                .iter()
                .map(|disk| (&*disk.mount, disk.usage.percent()))
                .collect();
            assert_eq!(disks, [("/srv", 90.0), ("/", 50.0)]);
        }
        let since = facts(LINUX, Some([130.0, 180.0])).unwrap();
        assert_eq!(since.cpu, Some(50.0));
    }

    #[test]
    fn another_system_tells_less_and_nonsense_is_no_number() {
        let none = facts("node_exporter_build_info{version=\"1.8.0\"} 1", None).unwrap();
        let expected = Facts {
            software: "node_exporter 1.8.0".to_owned(),
            ..Facts::default()
        };
        assert_eq!(none, expected);
        let odd = LINUX
            .replace("8e+09", "NaN")
            .replace("0.25", "+Inf")
            .replace("} 1000", "} NaN");
        let odd = facts(&odd.replace("mode=\"user\"} 20", "mode=\"user\"} NaN"), None).unwrap();
        assert_eq!((odd.memory, odd.load, odd.cpu), (None, None, None));
        assert!(odd.disks.is_empty());
        let negative = "node_filesystem_size_bytes{device=\"a\"} 5\nnode_filesystem_avail_bytes{device=\"a\"} 9";
        let negative = facts(negative, None).unwrap();
        assert_eq!(negative.disks[0].usage, Usage { used: 0, total: 9 });
    }

    #[test]
    fn ten_disks_are_enough() {
        let mut text = String::new();
        for n in 0..1000 {
            let labels = format!("{{device=\"d{n}\",fstype=\"ext4\",mountpoint=\"/{n}\"}}");
            text += &format!("node_filesystem_size_bytes{labels} 1000\nnode_filesystem_avail_bytes{labels} {n}\n");
        }
        let disks = facts(&text, None).unwrap().disks;
        assert_eq!(disks.len(), 10);
        assert_eq!((disks[0].mount.as_str(), disks[9].mount.as_str()), ("/0", "/9"));
    }

    #[test]
    fn another_exporter_or_page_is_not_it() {
        for answer in [
            "",
            "go_goroutines 7\n",
            "<html>node_load1 3</html>",
            "{\"node_load1\": 3}",
        ] {
            assert!(
                matches!(facts(answer, None), Err(Reason::Unexpected { .. })),
                "{answer}"
            );
        }
    }
}
