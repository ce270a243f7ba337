//! One command that tells everything about an SSH host, and what its answer means.

use russh::ChannelMsg;

use super::super::facts::{Facts, Usage};
use super::super::outcome::{Reason, detail};
use super::disks;
use super::session::Session;

/// Whatever the user's shell is, this one understands us. The script comes on its standard input, since shells differ
/// in how they read a long argument.
const SHELL: &str = "exec /bin/sh -s";
/// For any POSIX shell, also BusyBox; it writes nothing. What a login greets with stands before the first mark.
/// Of disks only the machine's own are asked, where `df` knows the difference: one of a server that is gone would hang.
/// All of it stands in one command: a shell reads that before it does anything, and what comes behind it is not read.
pub const SCRIPT: &str = r#"{
LC_ALL=C; export LC_ALL
PATH=$PATH:/usr/sbin:/usr/bin:/sbin:/bin
line() { read -r said <"$1" && echo "$said"; }
echo '==muster== begin'
uname -snr
echo '==muster== os'
cat /etc/os-release || cat /usr/lib/os-release
echo '==muster== cpu'
grep '^cpu' /proc/stat
echo '==muster== load'
line /proc/loadavg
echo '==muster== uptime'
line /proc/uptime
echo '==muster== memory'
cat /proc/meminfo
echo '==muster== mounts'
cut -d ' ' -f 1-3 /proc/mounts | grep -v -e '^tmpfs ' -e '^overlay /.' -e '^shm ' -e '^cgroup' -e '^nsfs '
echo '==muster== disks'
{ df -klP || df -kP; } | grep -v -e '^tmpfs ' -e '^overlay .* /.' -e '^shm '
echo '==muster== end'
exit 0
} </dev/null 2>/dev/null
"#;
const MARK: &str = "==muster== ";
const BEGIN: &str = "==muster== begin\n";
const END: &str = "==muster== end";
/// Longest answer, in bytes. A thousand mounted file systems have 100 KiB.
const LONGEST: usize = 256 * 1024;
/// How much of what the host grumbles may be the reason why it tells nothing.
const LONGEST_GRUMBLE: usize = 1024;

/// Asks the host.
///
/// # Errors
/// [`Reason::NoFacts`] when something else is said; [`Reason::TooLong`].
pub async fn facts(session: &Session, last_ticks: Option<[f64; 2]>) -> Result<Facts, Reason> {
    let mut channel = session.run(SHELL).await?;
    // A command that does not read us may be gone by now; what it said tells more than that.
    let _ = channel.data(SCRIPT.as_bytes()).await;
    let _ = channel.eof().await;
    let (mut said, mut grumbled, mut ended) = (Vec::new(), Vec::new(), "no output".to_owned());
    while let Some(message) = channel.wait().await {
        match message {
            ChannelMsg::Data { data } if said.len() + data.len() > LONGEST => return Err(Reason::TooLong),
            ChannelMsg::Data { data } => said.extend_from_slice(&data),
            ChannelMsg::ExtendedData { data, .. } if grumbled.len() < LONGEST_GRUMBLE => {
                grumbled.extend_from_slice(&data);
            }
            ChannelMsg::ExitStatus { exit_status } => ended = format!("exit status {exit_status}"),
            ChannelMsg::Close => break,
            _ => {}
        }
        // Whatever the login still does then is not waited for.
        let end = said.len().saturating_sub(2 * END.len());
        if said[end..].windows(END.len()).any(|part| part == END.as_bytes()) {
            break;
        }
    }
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    read(&text(&said), last_ticks).ok_or_else(|| {
        let told = [text(&said), text(&grumbled), ended];
        let detail = told.into_iter().find(|told| !told.is_empty()).map(detail);
        Reason::NoFacts {
            detail: detail.unwrap_or_default(),
        }
    })
}

/// What the answer says; none when it is not the answer to our question.
pub fn read(said: &str, last_ticks: Option<[f64; 2]>) -> Option<Facts> {
    let (_, said) = said.split_once(BEGIN)?;
    let (said, _) = said.split_once(END)?;
    let part = |name: &str| {
        let parts = said.split(MARK).skip(1);
        parts
            .filter_map(|part| part.split_once('\n'))
            .find(|(mark, _)| *mark == name)
            .map_or("", |(_, part)| part)
    };
    let mut names = said.lines().next()?.split_whitespace();
    let (system, host, release) = (names.next()?, names.next()?, names.next()?);
    let mut facts = Facts {
        host_name: detail(host),
        os: os(part("os")).unwrap_or_else(|| detail(format!("{system} {release}"))),
        kernel: detail(release),
        cores: cores(part("cpu")),
        load: load(part("load")),
        memory: memory(part("memory")),
        disks: disks::read(part("disks"), part("mounts")),
        uptime_s: numbers(part("uptime")).first().map(|seconds| *seconds as u64),
        ..Facts::default()
    };
    if let Some(ticks) = ticks(part("cpu")) {
        facts.set_cpu(ticks, last_ticks);
    }
    Some(facts)
}

fn os(release: &str) -> Option<String> {
    let name = release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="))?;
    let name = detail(name.trim().trim_matches(['"', '\'']));
    (!name.is_empty()).then_some(name)
}

fn cores(stat: &str) -> Option<u32> {
    let cores = stat
        .lines()
        .filter(|line| line.starts_with("cpu") && !line.starts_with("cpu "))
        .count();
    u32::try_from(cores).ok().filter(|cores| *cores > 0)
}

/// Idle and all. What guests used is also in what users used, so it stays out.
fn ticks(stat: &str) -> Option<[f64; 2]> {
    let all = numbers(stat.lines().find_map(|line| line.strip_prefix("cpu "))?);
    let idle = all.get(3)? + all.get(4).unwrap_or(&0.0);
    Some([idle, all.iter().take(8).sum()])
}

fn load(line: &str) -> Option<[f64; 3]> {
    let numbers = numbers(line);
    Some([*numbers.first()?, *numbers.get(1)?, *numbers.get(2)?])
}

/// The numbers at the start of a text.
fn numbers(text: &str) -> Vec<f64> {
    let numbers = text.split_whitespace().map_while(|word| word.parse().ok());
    numbers
        .take_while(|number: &f64| number.is_finite() && *number >= 0.0)
        .collect()
}

fn memory(meminfo: &str) -> Option<Usage> {
    let bytes = |name: &str| {
        let line = meminfo
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        Some(
            line.split_whitespace()
                .next()?
                .parse::<u64>()
                .ok()?
                .saturating_mul(1024),
        )
    };
    let total = bytes("MemTotal")?;
    // Kernels before 3.14 do not say what is available.
    let old = || {
        Some(
            bytes("MemFree")?
                .saturating_add(bytes("Buffers")?)
                .saturating_add(bytes("Cached")?),
        )
    };
    let available = bytes("MemAvailable").or_else(old)?;
    let used = total.saturating_sub(available);
    Some(Usage { used, total })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::odd;

    const DEBIAN: &str = "\
Welcome to db1!
==muster== begin
Linux db1 6.1.0-18-amd64
==muster== os
PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"
NAME=\"Debian GNU/Linux\"
==muster== cpu
cpu  100 10 50 800 40 0 10 10 60 5
cpu0 50 5 25 400 20 0 5 5 30 5
cpu1 50 5 25 400 20 0 5 5 30 0
==muster== load
0.52 0.58 0.59 1/467 12345
==muster== uptime
350735.47 234388.90
==muster== memory
MemTotal:        8000000 kB
MemFree:          500000 kB
MemAvailable:    6000000 kB
Buffers:          100000 kB
Cached:          4000000 kB
==muster== mounts
sysfs /sys sysfs
udev /dev devtmpfs
/dev/mapper/vg-root / ext4
/dev/loop3 /snap/core/1 squashfs
/dev/sdb1 /srv/my\\040data xfs
lxcfs /var/lib/lxcfs fuse.lxcfs
tank /tank zfs
tank/home /tank/home zfs
db2:/export /mnt/export nfs4
==muster== disks
Filesystem          1024-blocks     Used Available Capacity Mounted on
udev                    4000000        0   4000000       0% /dev
/dev/mapper/vg-root     1000000   300000    600000      34% /
/dev/loop3               100000   100000         0     100% /snap/core/1
/dev/sdb1               2000000  1900000    100000      95% /srv/my data
/dev/sdb1               2000000  1900000    100000      95% /srv/again
lxcfs                         0        0         0        - /var/lib/lxcfs
tank                     500000   100000    400000      20% /tank
tank/home                500000   400000    100000      80% /tank/home
db2:/export              100000    99999         1     100% /mnt/export
==muster== end
logout
";

    /// An OpenWrt router: BusyBox, an old kernel, no processor lines for the cores.
    const ROUTER: &str = "\
==muster== begin
Linux OpenWrt 3.10.49
==muster== os
==muster== cpu
cpu  1 0 1 8 0 0 0
==muster== load
0.00 0.01 0.05 1/41 1234
==muster== uptime
59.00 55.00
==muster== memory
        total:    used:
MemTotal:          60000 kB
MemFree:           20000 kB
Buffers:            5000 kB
Cached:            10000 kB
==muster== mounts
rootfs / rootfs
/dev/root /rom squashfs
/dev/mtdblock3 /overlay jffs2
overlayfs:/overlay / overlay
==muster== disks
Filesystem           1024-blocks    Used Available Capacity Mounted on
/dev/root                 2304      2304         0 100% /rom
/dev/mtdblock3            4480       448      4032  10% /overlay
overlayfs:/overlay        4480       448      4032  10% /
==muster== end";

    fn names(facts: &Facts) -> Vec<&str> {
        facts.disks.iter().map(|disk| disk.mount.as_str()).collect()
    }

    #[test]
    fn a_server_is_read() {
        let facts = read(DEBIAN, None).unwrap();
        assert_eq!(
            (facts.host_name.as_str(), facts.kernel.as_str()),
            ("db1", "6.1.0-18-amd64")
        );
        assert_eq!(facts.os, "Debian GNU/Linux 12 (bookworm)");
        assert_eq!((facts.cores, facts.load), (Some(2), Some([0.52, 0.58, 0.59])));
        assert_eq!(facts.uptime_s, Some(350_735));
        assert_eq!(
            (facts.cpu_ticks, facts.cpu.map(f64::round)),
            (Some([840.0, 1020.0]), Some(18.0))
        );
        let kib = |used: u64, total: u64| Usage {
            used: used * 1024,
            total: total * 1024,
        };
        assert_eq!(facts.memory, Some(kib(2_000_000, 8_000_000)));
        assert_eq!(names(&facts), ["/srv/my data", "/tank/home", "/", "/tank"]);
        assert_eq!(
            facts.disks[2].usage,
            kib(300_000, 900_000),
            "what the system keeps for itself is left out"
        );
        let later = read(
            &DEBIAN.replace("cpu  100 10 50 800", "cpu  150 10 50 850"),
            facts.cpu_ticks,
        )
        .unwrap();
        assert_eq!(later.cpu, Some(50.0));
    }

    #[test]
    fn a_router_is_read() {
        let facts = read(ROUTER, None).unwrap();
        assert_eq!((facts.os.as_str(), facts.cores), ("Linux 3.10.49", None));
        assert_eq!(facts.memory.map(|memory| memory.used), Some(25_000 * 1024));
        assert_eq!(facts.cpu, Some(20.0));
        assert_eq!(names(&facts), ["/overlay", "/"]);
    }

    #[test]
    fn what_no_linux_tells_is_absent() {
        let bsd = "==muster== begin\nFreeBSD web 14.1-RELEASE\n==muster== os\n==muster== cpu\n==muster== disks\n\
                   zroot/ROOT/default 100 25 75 25% /\ndevfs 1 0 1 0% /dev\n==muster== end\n";
        let facts = read(bsd, None).unwrap();
        assert_eq!((facts.os.as_str(), names(&facts)), ("FreeBSD 14.1-RELEASE", vec!["/"]));
        assert_eq!(
            (facts.cpu, facts.memory, facts.uptime_s, facts.load),
            (None, None, None, None)
        );
    }

    #[test]
    fn nonsense_is_no_answer_and_nonsense_in_an_answer_harms_nobody() {
        for said in [
            "",
            "nologin",
            BEGIN,
            "==muster== begin\n==muster== end",
            &DEBIAN[..DEBIAN.len() - 30],
        ] {
            assert_eq!(read(said, None), None, "{said:?}");
        }
        let huge = "9".repeat(400);
        let wild = format!(
            "{BEGIN}Linux \u{1b}[31m{huge} 1\n{MARK}cpu\ncpu  1 {huge} NaN inf\ncpu\n{MARK}load\n-1 2 3\n\
             {MARK}uptime\n{huge}\n{MARK}memory\nMemTotal: {huge} kB\nMemFree:\n{MARK}disks\n/dev/a 1 {huge} {huge} 1% /a\n\
             /dev/b 10 -5 -5 150% /b\n% % % % %\n/dev/c 1 9223372036854775807 9223372036854775807 1% /c\n{MARK}end"
        );
        let facts = read(&wild, Some([f64::NAN, 1.0])).unwrap();
        assert!(facts.host_name.len() <= 200 && !facts.host_name.contains('\u{1b}'));
        assert_eq!(
            (facts.cpu, facts.load, facts.memory, facts.uptime_s),
            (None, None, None, None)
        );
        assert_eq!(names(&facts), ["/c"]);
        assert_eq!(facts.disks[0].usage.percent(), 100.0);
    }

    proptest! {
        #![proptest_config(odd::config())]

        #[test]
        fn whatever_a_host_says_the_facts_are_possible_and_short(
            said in odd::text(&[DEBIAN, ROUTER]),
            name in odd::text(&["db1"]),
            number in odd::text(&["800000", "18446744073709551615", "-1"]),
        ) {
            let said = said.replace("db1", &name.repeat(40)).replace("800000", &number);
            let Some(facts) = read(&said, Some([840.0, 1020.0])) else { return Ok(()) };
            let mounts = facts.disks.iter().map(|disk| &disk.mount);
            for text in [&facts.host_name, &facts.os, &facts.kernel].into_iter().chain(mounts) {
                prop_assert_eq!(&detail(text), text);
            }
            prop_assert!(facts.disks.len() <= 10);
            let usages = facts.memory.into_iter().chain(facts.disks.iter().map(|disk| disk.usage));
            for usage in usages {
                prop_assert!(usage.used <= usage.total, "{:?}", usage);
            }
            prop_assert!(facts.cpu.is_none_or(|cpu| (0.0..=100.0).contains(&cpu)));
            prop_assert!(facts.load.is_none_or(|load| load.iter().all(|value| value.is_finite() && *value >= 0.0)));
        }
    }
}
