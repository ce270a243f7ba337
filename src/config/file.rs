//! The settings file on disk: written whole or not at all, with what it was before kept beside the data.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::SystemTime;

use sha2::{Digest, Sha256};

/// In the data directory.
const KEPT: &str = "application.yml.versions";
/// How many former texts are kept.
const MOST_KEPT: usize = 10;

/// A former text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    pub number: u32,
    /// When it was replaced.
    pub until: SystemTime,
}

/// Tells one text from another, in this process only: pages carry it, and a plain hash would let their readers guess at the
/// secrets in the text.
pub fn fingerprint(text: &str) -> String {
    static SALT: LazyLock<String> = LazyLock::new(|| uuid::Uuid::new_v4().simple().to_string());
    let digest = Sha256::new()
        .chain_update(SALT.as_bytes())
        .chain_update(text)
        .finalize();
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// How a save ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Saved {
    Done,
    /// Somebody else changed the file meanwhile; it is as they left it.
    Changed,
}

/// Keeps what the file is now and puts `text` in its place, if it still is what `expected` tells: a crash leaves the one or the
/// other, never half of it.
///
/// # Errors
/// The directory or the disk does not take it; the file is as it was then.
pub fn save(path: &Path, data: &Path, text: &str, expected: &str) -> io::Result<Saved> {
    // A link, as of a file that is mounted, goes on pointing where it does.
    let path = &fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let before = match fs::read(path) {
        Ok(before) => Some(before),
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => None,
        Err(cause) => return Err(cause),
    };
    if fingerprint(&String::from_utf8_lossy(before.as_deref().unwrap_or_default())) != expected {
        return Ok(Saved::Changed);
    }
    let kept = match &before {
        Some(before) => keep(&data.join(KEPT), before)?,
        None => None,
    };
    let former = fs::metadata(path).ok();
    if let Err(cause) = replace(path, text.as_bytes(), former.as_ref()) {
        if let Some(kept) = kept {
            let _ = fs::remove_file(kept);
        }
        return Err(cause);
    }
    Ok(Saved::Done)
}

/// A file that only its owner may read, whole or not at all; with the owner and rights of the one it replaces.
///
/// # Errors
/// The directory or the disk does not take it.
pub fn replace(path: &Path, content: &[u8], former: Option<&fs::Metadata>) -> io::Result<()> {
    let directory = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    // Under a name that nobody can know before.
    let mut file = tempfile::NamedTempFile::new_in(directory)?;
    file.write_all(content)?;
    if let Some(former) = former {
        // Only root may give a file away; the one who may not is its owner anyway.
        let _ = fchown(file.as_file(), Some(former.uid()), Some(former.gid()));
        file.as_file()
            .set_permissions(fs::Permissions::from_mode(former.mode() & 0o777))?;
    }
    file.as_file().sync_all()?;
    file.persist(path).map_err(|failed| failed.error)?;
    File::open(directory)?.sync_all()
}

/// Adds a version and drops the oldest ones; none when the last one is the same.
fn keep(directory: &Path, content: &[u8]) -> io::Result<Option<PathBuf>> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    let known = numbers(directory)?;
    let last = known.last().copied().unwrap_or(0);
    let is_same = last > 0 && fs::read(version_path(directory, last)).is_ok_and(|kept| kept == content);
    if !is_same {
        replace(&version_path(directory, last + 1), content, None)?;
    }
    let surplus = (known.len() + usize::from(!is_same)).saturating_sub(MOST_KEPT);
    for number in known.into_iter().take(surplus) {
        fs::remove_file(version_path(directory, number))?;
    }
    Ok((!is_same).then(|| version_path(directory, last + 1)))
}

/// The former texts, newest first.
///
/// # Errors
/// The directory cannot be read.
pub fn versions(data: &Path) -> io::Result<Vec<Version>> {
    let directory = data.join(KEPT);
    let version = |number: u32| {
        let until = fs::metadata(version_path(&directory, number))?.modified()?;
        Ok(Version { number, until })
    };
    numbers(&directory)?.into_iter().rev().map(version).collect()
}

/// One of them; none when there is no such number.
///
/// # Errors
/// It cannot be read.
pub fn version(data: &Path, number: u32) -> io::Result<Option<String>> {
    match fs::read(version_path(&data.join(KEPT), number)) {
        Ok(text) => Ok(Some(String::from_utf8_lossy(&text).into_owned())),
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(cause) => Err(cause),
    }
}

fn version_path(directory: &Path, number: u32) -> PathBuf {
    directory.join(format!("{number:06}.yml"))
}

/// In rising order.
fn numbers(directory: &Path) -> io::Result<Vec<u32>> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(cause) => return Err(cause),
    };
    let number = |entry: fs::DirEntry| entry.file_name().to_str()?.strip_suffix(".yml")?.parse().ok();
    let mut numbers: Vec<u32> = entries.filter_map(|entry| number(entry.ok()?)).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_ten_texts_are_kept_and_the_files_rights_stay() {
        let data = tempfile::tempdir().unwrap();
        let path = data.path().join("application.yml");
        fs::write(&path, "0").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        for text in 1..=12 {
            let before = fingerprint(&fs::read_to_string(&path).unwrap());
            assert_eq!(
                save(&path, data.path(), &text.to_string(), &before).unwrap(),
                Saved::Done
            );
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), "12");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o640);
        let kept = versions(data.path()).unwrap();
        let texts: Vec<String> = kept
            .iter()
            .map(|kept| version(data.path(), kept.number).unwrap().unwrap())
            .collect();
        assert_eq!(texts, ["11", "10", "9", "8", "7", "6", "5", "4", "3", "2"]);
        let mode = fs::metadata(version_path(&data.path().join(KEPT), kept[0].number))
            .unwrap()
            .mode();
        assert_eq!(mode & 0o777, 0o600, "passwords stand in it");
        let left: Vec<_> = fs::read_dir(data.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(left.len(), 2, "nothing else is left behind: {left:?}");
    }

    #[test]
    fn a_link_stays_a_link_and_a_directory_that_cannot_be_written_leaves_the_file() {
        let data = tempfile::tempdir().unwrap();
        let (real, link) = (data.path().join("real.yml"), data.path().join("application.yml"));
        fs::write(&real, "old").unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        assert_eq!(
            save(&link, data.path(), "new", &fingerprint("other")).unwrap(),
            Saved::Changed
        );
        assert_eq!(fs::read_to_string(&real).unwrap(), "old");
        save(&link, data.path(), "new", &fingerprint("old")).unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_to_string(&real).unwrap(), "new");
        // The place of the versions is taken by a file: nothing can be kept, so nothing is replaced.
        fs::remove_dir_all(data.path().join(KEPT)).unwrap();
        fs::write(data.path().join(KEPT), "").unwrap();
        assert!(save(&link, data.path(), "lost", &fingerprint("new")).is_err());
        assert_eq!(fs::read_to_string(&real).unwrap(), "new");
    }
}
