//! What `df` says of a host's disks.

use std::collections::{HashMap, HashSet};

use super::super::facts::{Disk, Usage};
use super::super::outcome::detail;

const MOST: usize = 10;

/// The fullest first; each device once, where it is mounted first.
pub fn read(df: &str, mounts: &str) -> Vec<Disk> {
    // The last one mounted there is the one that is seen.
    let kinds: HashMap<String, &str> = mounts.lines().filter_map(mount).collect();
    let mut known = HashSet::new();
    let mut disks: Vec<Disk> = df
        .lines()
        .filter_map(disk)
        .filter(|(device, disk)| {
            let kind = kinds.get(&disk.mount).copied();
            is_disk(device, disk, kind) && known.insert(device.clone())
        })
        .map(|(_, disk)| disk)
        .collect();
    disks.sort_by(|one, other| other.usage.percent().total_cmp(&one.usage.percent()));
    disks.truncate(MOST);
    disks
}

/// Where something is mounted and of which kind it is; the kernel writes a space there as `\040`.
fn mount(line: &str) -> Option<(String, &str)> {
    let mut words = line.split(' ');
    let (at, kind) = (words.nth(1)?, words.next()?);
    let at = at.replace("\\040", " ").replace("\\011", "\t").replace("\\134", "\\");
    Some((detail(at), kind))
}

/// A line of `df -kP`. Names may contain spaces, numbers do not. As `df` counts its percent, what is kept back for the
/// system is neither used nor there.
fn disk(line: &str) -> Option<(String, Disk)> {
    let words: Vec<&str> = line.split(' ').filter(|word| !word.is_empty()).collect();
    let is_number = |word: &&str| word.bytes().all(|byte| byte.is_ascii_digit());
    let at = (1..words.len().checked_sub(4)?).find(|at| {
        let [total, used, available] = [words[*at], words[at + 1], words[at + 2]];
        let share = words[at + 3];
        let ends = share == "-" || share.ends_with('%');
        is_number(&total)
            && is_number(&used.trim_start_matches('-'))
            && is_number(&available.trim_start_matches('-'))
            && ends
    })?;
    let bytes = |word: &str| {
        word.parse::<i64>()
            .unwrap_or_default()
            .max(0)
            .unsigned_abs()
            .saturating_mul(1024)
    };
    let used = bytes(words[at + 1]);
    let total = used.saturating_add(bytes(words[at + 2]));
    // Mount points with two spaces in a row are not worth more.
    let mount = detail(words[at + 4..].join(" "));
    Some((
        words[..at].join(" "),
        Disk {
            mount,
            usage: Usage { used, total },
        },
    ))
}

/// Whether it is a place where the machine keeps data of its own.
fn is_disk(device: &str, disk: &Disk, kind: Option<&str>) -> bool {
    // Full by nature.
    const READ_ONLY: [&str; 5] = ["squashfs", "iso9660", "udf", "erofs", "cramfs"];
    // In memory, of containers, or of somebody else.
    const OTHER: [&str; 9] = [
        "tmpfs",
        "devtmpfs",
        "ramfs",
        "rootfs",
        "overlay",
        "overlayfs",
        "aufs",
        "9p",
        "virtiofs",
    ];
    let is_remote = device.contains(":/") && !device.starts_with("overlay") || device.starts_with("//");
    let is_real = match kind {
        // What a program in user space shows is a disk only when a device lies below it.
        Some(kind) => !OTHER.contains(&kind) && (device.starts_with('/') || !kind.starts_with("fuse")),
        None => device.contains('/'),
    };
    // The root of a container or a router is a layer over something else, and is what it has.
    let is_root = disk.mount == "/" && !kind.is_some_and(|kind| OTHER[..4].contains(&kind));
    // Where the kind is not known, a package is known by being full on a loop device.
    let is_read_only = kind.is_some_and(|kind| READ_ONLY.contains(&kind))
        || device.starts_with("/dev/loop") && disk.usage.used == disk.usage.total;
    disk.usage.total > 0 && !is_remote && !is_read_only && (is_real || is_root)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_is_read_and_its_neighbours_are_not() {
        let df = "overlay 100 40 60 40% /\noverlay 100 40 60 40% /var/lib/docker/overlay2/a/merged\n\
                  tmpfs 64 0 64 0% /dev\nshm 64 0 64 0% /dev/shm\n/dev/vda1 100 40 60 40% /etc/hosts\n";
        let mounts = "overlay / overlay\noverlay /var/lib/docker/overlay2/a/merged overlay\ntmpfs /dev tmpfs\n\
                      shm /dev/shm tmpfs\n/dev/vda1 /etc/hosts ext4\n";
        let mounts_of = |mounts| read(df, mounts).into_iter().map(|disk| disk.mount).collect::<Vec<_>>();
        assert_eq!(mounts_of(mounts), ["/", "/etc/hosts"]);
        assert_eq!(mounts_of(""), ["/", "/etc/hosts"], "also where the kinds are not known");
    }

    #[test]
    fn of_very_many_the_fullest_are_kept() {
        let many: String = (0..50_000)
            .map(|n| format!("/dev/{n} 100 {0} {1} 5% /{n}\n", n % 100, 100 - n % 100))
            .collect();
        let kept = read(&many, "");
        assert_eq!(kept.len(), MOST);
        assert!(kept.iter().all(|disk| disk.usage.percent() == 99.0));
    }
}
