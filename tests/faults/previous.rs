//! The program as it was before: servers of two versions meet during an upgrade. Built from git, once.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Stands for the release before, until there is one: the last commit with fewer migrations.
const STAND_IN: &str = "c4a15b38ab02e238e44f262827ed9b6c3f7556dc";
/// Longest that its building may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20 * 60);

/// The program of the newest release that is not this very commit; why there is none, in words.
pub(crate) fn program() -> Result<PathBuf, String> {
    let commit = commit()?;
    let folder = crate::folder().join("previous").join(&commit);
    let program = folder.join("muster");
    if !program.exists() {
        build(&commit, &folder)?;
    }
    Ok(program)
}

fn commit() -> Result<String, String> {
    let prefix = git(&["rev-parse", "--show-prefix"])?;
    if !prefix.is_empty() {
        return Err("this is not a checkout with git history".to_owned());
    }
    let head = git(&["rev-parse", "HEAD"])?;
    let tags = git(&[
        "tag",
        "--merged",
        "HEAD",
        "--sort=-version:refname",
        "--list",
        "v[0-9]*",
    ])?;
    for tag in tags.lines() {
        let at = git(&["rev-parse", &format!("{tag}^{{commit}}")])?;
        if at != head {
            return Ok(at);
        }
    }
    let exists = git(&["cat-file", "-e", &format!("{STAND_IN}^{{commit}}")]);
    exists
        .map_err(|_| format!("no release before, and {STAND_IN} is not in the history: a shallow clone or a copy"))?;
    Ok(STAND_IN.to_owned())
}

fn git(words: &[&str]) -> Result<String, String> {
    let here = ["-C", env!("CARGO_MANIFEST_DIR")];
    let done = Command::new("git").args(here).args(words).output();
    let done = done.map_err(|error| format!("git does not run: {error}"))?;
    match done.status.success() {
        true => Ok(String::from_utf8_lossy(&done.stdout).trim().to_owned()),
        false => Err(format!(
            "git {words:?}: {}",
            String::from_utf8_lossy(&done.stderr).trim()
        )),
    }
}

/// The program stays, and its sources, since a program that was not built for release reads its static files there.
fn build(commit: &str, folder: &Path) -> Result<(), String> {
    println!("building {commit} as the release before, once: some minutes");
    let (source, target) = (folder.join("source"), folder.join("target"));
    let said = |error: std::io::Error| error.to_string();
    fs::create_dir_all(&source).map_err(said)?;
    let mut archive = Command::new("git")
        .args(["-C", env!("CARGO_MANIFEST_DIR"), "archive", commit])
        .stdout(Stdio::piped())
        .spawn()
        .map_err(said)?;
    let unpacked = Command::new("tar")
        .args(["-x", "-C"])
        .arg(&source)
        .stdin(archive.stdout.take().unwrap())
        .status()
        .map_err(said)?;
    if !archive.wait().map_err(said)?.success() || !unpacked.success() {
        return Err(format!("the sources of {commit} cannot be taken out of git"));
    }
    // By name: rustup then builds all of it with one and the same Rust, whatever a crate asks for in its own folder.
    let mut cargo = Command::new("cargo")
        .args(["build", "--quiet", "--locked", "--bin", "muster", "--target-dir"])
        .arg(&target)
        .env("CARGO_INCREMENTAL", "0")
        .env("CARGO_PROFILE_DEV_DEBUG", "0")
        .current_dir(&source)
        .stdin(Stdio::null())
        .spawn()
        .map_err(said)?;
    let end = Instant::now() + PATIENCE;
    let status = loop {
        if let Some(status) = cargo.try_wait().map_err(said)? {
            break status;
        }
        if Instant::now() > end {
            let _ = cargo.kill();
            let _ = cargo.wait();
            return Err(format!("building {commit} takes more than {PATIENCE:?}"));
        }
        sleep(Duration::from_millis(500));
    };
    if !status.success() {
        return Err(format!("{commit} cannot be built"));
    }
    fs::rename(target.join("debug/muster"), folder.join("muster")).map_err(said)?;
    fs::remove_dir_all(&target).map_err(said)
}
