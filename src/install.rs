//! The data directory: who this install is (`INSTALL.json`) and the lock that keeps a second process out.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::config::file::replace;
use crate::error::{Error, Result};
use crate::i18n::{Text, detail};

pub const FILE_NAME: &str = "INSTALL.json";
const LOCK_NAME: &str = "muster.lock";
const BOOT_NAME: &str = "muster.boot";
/// Jpom's sentence, so that its servers and people recognise the file.
const DESCRIPTION: &str = "请勿删除此文件,服务端安装id和插件端互通关联";

/// `INSTALL.json` as Jpom writes it; other keys and any `desc` are accepted and left alone.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct InstallFile {
    #[serde(default)]
    install_time: Option<String>,
    install_id: Option<String>,
    #[serde(default)]
    desc: Option<String>,
}

/// An open data directory. The lock lasts as long as this value.
#[derive(Debug)]
pub struct Install {
    pub data: PathBuf,
    /// 32 lower-case hex digits; the key of this server's row in the database.
    pub id: String,
    /// Whether `INSTALL.json` was made just now.
    pub fresh: bool,
    /// Names this directory on this running machine. Whoever holds the lock and finds this mark in the database, with
    /// the boot id noted here, knows that the process that wrote it is gone. A copied directory has another mark; a
    /// machine copied while it ran has the same one, until either of the two notices and takes a new boot id.
    pub mark: String,
    /// The boot id that the process before us noted here; empty when there was none.
    pub former_boot: String,
    boot_id: RwLock<String>,
    _lock: File,
}

impl Install {
    /// Opens the data directory: makes it if it is missing, locks it, reads or writes `INSTALL.json`.
    ///
    /// # Errors
    /// [`Error::Invalid`] with the path, the reason and the remedy: not writable, in use, or a broken file.
    pub fn open(data: &Path) -> Result<Install> {
        let lock = lock(data)?;
        let former_boot = fs::read_to_string(data.join(BOOT_NAME)).unwrap_or_default();
        let (id, fresh) = match data.join(FILE_NAME).try_exists() {
            Ok(false) => (write_new(data)?, true),
            _ => (read(data)?, false),
        };
        Ok(Install {
            data: data.to_owned(),
            id,
            fresh,
            mark: mark(data),
            former_boot: former_boot.trim().to_owned(),
            boot_id: RwLock::new(new_boot_id()),
            _lock: lock,
        })
    }

    /// Names this start of this server; fences it from any other process with the same install id.
    pub fn boot_id(&self) -> String {
        self.boot_id.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes a new boot id, when another process turned out to use the same one (a machine copied while running).
    pub fn renew_boot_id(&self) -> String {
        let id = new_boot_id();
        self.boot_id
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .clone_from(&id);
        id
    }

    /// Notes under which boot id this process works, for the one after it. Where this fails, that one waits until the
    /// row is past its limit.
    pub fn note_boot(&self) {
        let path = self.data.join(BOOT_NAME);
        if let Err(cause) = fs::write(&path, self.boot_id()) {
            tracing::warn!(path = %path.display(), "cannot note the boot id: {cause}");
        }
    }
}

fn new_boot_id() -> String {
    Uuid::new_v4().simple().to_string()
}

/// The install id of a data directory that has one.
///
/// # Errors
/// [`Error::Invalid`] with the path, the reason and the remedy.
pub fn read(data: &Path) -> Result<String> {
    let path = data.join(FILE_NAME);
    match fs::read(&path) {
        Ok(bytes) => read_id(&path, &bytes),
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => Err(Error::NotFound(
            Text::new("install.never_started").with("path", data.display()),
        )),
        Err(cause) => Err(broken(&path, Text::new("install.unreadable").with("cause", cause))),
    }
}

/// Gives `INSTALL.json` a second, free name beside it and returns that name: an install id is never thrown away, and
/// until [`write`] replaces it the directory is never without one. None when there is no file yet.
///
/// # Errors
/// [`Error::Invalid`] when the directory cannot be written.
pub fn keep_aside(data: &Path) -> Result<Option<PathBuf>> {
    let from = data.join(FILE_NAME);
    let free = |number: &u32| !data.join(format!("{FILE_NAME}.old-{number}")).exists();
    let number = (1..).find(free).unwrap_or(u32::MAX);
    let to = data.join(format!("{FILE_NAME}.old-{number}"));
    match fs::hard_link(&from, &to).or_else(|_| fs::copy(&from, &to).map(drop)) {
        Ok(()) => Ok(Some(to)),
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(cause) => Err(Error::Invalid(
            Text::new("install.unwritable")
                .with("path", from.display())
                .with("cause", cause),
        )),
    }
}

/// Makes the directory if it is missing and locks it; the lock goes with the process, however it ends.
///
/// # Errors
/// [`Error::Conflict`] when another process has it, [`Error::Invalid`] when it cannot be written.
pub fn lock(data: &Path) -> Result<File> {
    let unwritable = |cause: std::io::Error| {
        Error::Invalid(
            Text::new("install.unwritable")
                .with("path", data.display())
                .with("cause", cause),
        )
    };
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(data)
        .map_err(unwritable)?;
    let path = data.join(LOCK_NAME);
    let mut file = File::options()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .mode(0o600)
        .open(&path)
        .map_err(unwritable)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(fs::TryLockError::WouldBlock) => {
            let holder = fs::read_to_string(&path).unwrap_or_default();
            let text = Text::new("install.in_use")
                .with("path", data.display())
                .with("pid", holder.trim());
            return Err(Error::Conflict(text));
        }
        Err(fs::TryLockError::Error(cause)) => return Err(unwritable(cause)),
    }
    file.set_len(0)
        .and_then(|()| writeln!(file, "{}", std::process::id()))
        .map_err(unwritable)?;
    Ok(file)
}

/// Writes a file that only its owner may read, whole or not at all.
///
/// # Errors
/// [`Error::Invalid`] when the directory cannot be written.
pub fn write_private(path: &Path, content: &str) -> Result<()> {
    replace(path, content.as_bytes(), None).map_err(|cause| {
        Error::Invalid(
            Text::new("install.unwritable")
                .with("path", path.display())
                .with("cause", cause),
        )
    })
}

/// Whether files can be made in a directory.
///
/// # Errors
/// [`Error::Invalid`] with the path, the reason and the remedy.
pub fn is_writable(data: &Path) -> Result<()> {
    tempfile::NamedTempFile::new_in(data).map(drop).map_err(|cause| {
        Error::Invalid(
            Text::new("install.unwritable")
                .with("path", data.display())
                .with("cause", cause),
        )
    })
}

/// What may stand in `installId`: a uuid without dashes, in lower case.
pub fn is_install_id(id: &str) -> bool {
    id.len() == 32 && id.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

fn read_id(path: &Path, bytes: &[u8]) -> Result<String> {
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Err(broken(path, Text::new("install.empty")));
    }
    let file: InstallFile = serde_json::from_slice(bytes)
        .map_err(|cause| broken(path, Text::new("install.not_json").with("cause", detail(cause))))?;
    match file.install_id.as_deref() {
        Some(id) if is_install_id(id) => Ok(id.to_owned()),
        Some(id) => {
            let shown: String = id.chars().take(60).collect();
            Err(broken(path, Text::new("install.bad_id").with("id", shown)))
        }
        None => Err(broken(path, Text::new("install.no_id"))),
    }
}

fn broken(path: &Path, reason: Text) -> Error {
    Error::Invalid(
        Text::new("install.broken")
            .with("path", path.display())
            .with_text("reason", reason),
    )
}

/// Writes `INSTALL.json` with a new id and returns it.
///
/// # Errors
/// [`Error::Invalid`] when the directory cannot be written.
pub fn write_new(data: &Path) -> Result<String> {
    let id = Uuid::new_v4().simple().to_string();
    write(data, &id)?;
    Ok(id)
}

/// Writes `INSTALL.json` for `id` so that a crash leaves either the former file or the whole new one.
///
/// # Errors
/// [`Error::Invalid`] when the directory cannot be written.
pub fn write(data: &Path, id: &str) -> Result<()> {
    let path = data.join(FILE_NAME);
    let file = InstallFile {
        install_time: Some(local_time()),
        install_id: Some(id.to_owned()),
        desc: Some(DESCRIPTION.to_owned()),
    };
    let json = serde_json::to_string_pretty(&file).map_err(|cause| Error::Internal(cause.into()))?;
    write_private(&path, &format!("{json}\n"))
}

/// `yyyy-MM-dd HH:mm:ss` in the local zone, as Jpom writes it; only people read it.
fn local_time() -> String {
    #[expect(
        clippy::disallowed_methods,
        reason = "installTime is a note for people and decides nothing"
    )]
    let now = chrono::Local::now();
    now.format("%Y-%m-%d %H:%M:%S").to_string()
}

/// Boot of the kernel, device and inode of the directory.
fn mark(data: &Path) -> String {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let place = fs::metadata(data)
        .map(|meta| format!("{:x}:{:x}", meta.dev(), meta.ino()))
        .unwrap_or_default();
    match boot.trim() {
        "" => String::new(),
        boot => format!("{boot}:{place}"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::i18n::Lang;
    use crate::odd;

    /// What opening a directory with this INSTALL.json is refused with; the file must be left as it was.
    #[track_caller]
    fn refused(content: &str) -> String {
        let data = tempfile::tempdir().unwrap();
        let path = data.path().join(FILE_NAME);
        fs::write(&path, content).unwrap();
        let said = Install::open(data.path()).unwrap_err().text().say(Lang::En);
        assert_eq!(fs::read_to_string(&path).unwrap(), content);
        assert!(
            said.contains(&path.display().to_string()) && said.contains("identity"),
            "{said}"
        );
        said
    }

    #[test]
    fn a_new_directory_gets_an_id_that_stays() {
        let data = tempfile::tempdir().unwrap();
        let first = Install::open(data.path()).unwrap();
        assert!(first.fresh && is_install_id(&first.id));
        let written = fs::read_to_string(data.path().join(FILE_NAME)).unwrap();
        for part in ["installTime", "installId", "desc", DESCRIPTION] {
            assert!(written.contains(part), "{part} is not in {written}");
        }
        let id = first.id.clone();
        drop(first);
        let second = Install::open(data.path()).unwrap();
        assert!(!second.fresh);
        assert_eq!(second.id, id);
        assert_eq!(fs::read_to_string(data.path().join(FILE_NAME)).unwrap(), written);
    }

    #[test]
    fn jpoms_file_is_accepted_in_any_order_with_any_words() {
        let data = tempfile::tempdir().unwrap();
        let jpom = r#"{"extra":1,"desc":"删除后关联 id 将失效","installId":"91c653b3e17c4021b486416e33d014c8","installTime":"2021-03-16 17:05:32"}"#;
        fs::write(data.path().join(FILE_NAME), jpom).unwrap();
        assert_eq!(
            Install::open(data.path()).unwrap().id,
            "91c653b3e17c4021b486416e33d014c8"
        );
        assert_eq!(fs::read_to_string(data.path().join(FILE_NAME)).unwrap(), jpom);
    }

    #[test]
    fn a_broken_file_is_refused_with_place_and_remedy_and_kept() {
        refused("");
        refused("  \n");
        refused("{\"installId\":\"91c6");
        refused("{\"desc\":\"x\"}");
        refused("[]");
        assert!(refused(r#"{"installId":"not-an-id"}"#).contains("not-an-id"));
        refused(r#"{"installId":"91C653B3E17C4021B486416E33D014C8"}"#);
    }

    #[test]
    fn a_directory_in_use_is_refused_with_the_holders_pid() {
        let data = tempfile::tempdir().unwrap();
        let _first = Install::open(data.path()).unwrap();
        let error = Install::open(data.path()).unwrap_err();
        let said = error.text().say(Lang::En);
        assert!(matches!(error, Error::Conflict(_)));
        assert!(said.contains(&std::process::id().to_string()), "{said}");
    }

    #[test]
    fn a_directory_that_cannot_be_made_is_refused_with_its_path() {
        let data = tempfile::tempdir().unwrap();
        let file = data.path().join("file");
        fs::write(&file, "").unwrap();
        let said = Install::open(&file.join("data")).unwrap_err().text().say(Lang::En);
        assert!(said.contains(&file.display().to_string()), "{said}");
    }

    #[test]
    fn an_id_put_aside_is_kept() {
        let data = tempfile::tempdir().unwrap();
        assert_eq!(keep_aside(data.path()).unwrap(), None);
        let old = write_new(data.path()).unwrap();
        let kept = keep_aside(data.path()).unwrap().unwrap();
        assert_eq!(
            read(data.path()).unwrap(),
            old,
            "there is never a moment without a file"
        );
        let new = write_new(data.path()).unwrap();
        assert_eq!(read(data.path()).unwrap(), new);
        assert!(fs::read_to_string(kept).unwrap().contains(&old));
    }

    const JPOM: &str = r#"{"extra":[1],"desc":"请勿删除","installId":"91c653b3e17c4021b486416e33d014c8","installTime":"2021-03-16 17:05:32"}"#;

    proptest! {
        #![proptest_config(odd::config())]

        #[test]
        fn whatever_is_in_the_file_an_id_is_good_and_a_refusal_names_the_file(
            bytes in odd::bytes(&[JPOM, "\"long\"", "{\"installId\":null}", "[{}]"]),
        ) {
            let path = Path::new("/data/INSTALL.json");
            match read_id(path, &bytes) {
                Ok(id) => {
                    prop_assert!(is_install_id(&id));
                    prop_assert!(String::from_utf8_lossy(&bytes).contains(&id));
                }
                Err(error) => {
                    let said = error.text().say(Lang::En);
                    prop_assert!(said.contains("/data/INSTALL.json") && said.chars().count() < 800, "{}", said);
                    prop_assert!(!said.chars().any(char::is_control), "{:?}", said);
                }
            }
        }

        #[test]
        fn an_id_is_read_whatever_stands_beside_it(id in "[0-9a-f]{32}", name in odd::junk(), value in odd::junk()) {
            let known = ["installId", "installTime", "desc"];
            let mut file = serde_json::json!({ "installId": id, "desc": value });
            if !known.contains(&name.as_str()) {
                file[&name] = value.into();
            }
            prop_assert_eq!(read_id(Path::new("x"), file.to_string().as_bytes()).unwrap(), id);
        }
    }
}
