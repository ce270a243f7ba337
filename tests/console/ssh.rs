//! SSH hosts: a real OpenSSH server, logged into and only greeted.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use muster::assets::facts::{Facts, Limits};
use muster::assets::outcome::{Outcome, Reason, Report};
use muster::assets::ssh::gather::{SCRIPT, read};
use muster::assets::ssh::seen::Seen;
use muster::assets::ssh::session::open;
use muster::assets::ssh::{Login, Settings, check};
use muster::assets::target::{Secret, Target};
use muster::clusters::address::Reach;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::peers::{Key, Sshd, busybox, me, until};
use crate::ssh_server::{Does, PASSWORD, Server, USER, Way};

/// A host on this machine, of which nothing is too full.
pub(crate) fn settings(port: u16, login: Login) -> Settings {
    let limits = Limits {
        cpu: 0,
        memory: 0,
        disk: 0,
    };
    let host = "127.0.0.1".to_owned();
    Settings {
        host,
        port,
        login,
        limits,
        ..Settings::default()
    }
}

pub(crate) fn target(secret: Secret) -> Target {
    Target {
        secret,
        reach: Reach::All,
        timeout: Duration::from_secs(20),
        pin: String::new(),
        last_ticks: None,
    }
}

fn by_key(key: &Key, passphrase: &str) -> Secret {
    Secret {
        user: me(),
        private_key: key.text.clone(),
        passphrase: passphrase.to_owned(),
        ..Secret::default()
    }
}

fn by_password(password: &str) -> Secret {
    Secret {
        user: USER.to_owned(),
        password: password.to_owned(),
        ..Secret::default()
    }
}

async fn key_login(sshd: &Sshd, key: &Key) -> Report {
    check(&settings(sshd.port, Login::Key), &target(by_key(key, ""))).await
}

fn denied(user: &str) -> Outcome {
    Outcome::Down(Reason::Denied { user: user.to_owned() })
}

#[tokio::test]
async fn every_kind_of_key_logs_in() {
    let sshd = Sshd::start(&["ed25519"]);
    for (kind, format, passphrase) in [
        ("ed25519", "RFC4716", ""),
        ("ed25519", "RFC4716", "open sesame"),
        ("rsa", "RFC4716", ""),
        ("rsa", "RFC4716", "open sesame"),
        ("rsa", "PEM", ""),
        ("rsa", "PEM", "open sesame"),
        ("rsa", "PKCS8", ""),
        ("rsa", "PKCS8", "open sesame"),
        ("ecdsa", "RFC4716", ""),
        ("ecdsa", "PKCS8", "open sesame"),
    ] {
        let key = Key::new(kind, format, passphrase);
        sshd.authorize(&key, "");
        let report = check(&settings(sshd.port, Login::Key), &target(by_key(&key, passphrase))).await;
        assert_eq!(report.outcome, Outcome::Up, "{kind} {format} {passphrase:?}");
        assert!(!report.facts.host_name.is_empty());
    }
}

#[tokio::test]
async fn a_key_that_does_not_fit_is_told_apart_from_one_that_cannot_be_used() {
    let sshd = Sshd::start(&["ed25519"]);
    let (known, stranger) = (
        Key::new("ed25519", "RFC4716", "open sesame"),
        Key::new("ed25519", "RFC4716", ""),
    );
    sshd.authorize(&known, "");
    let report = key_login(&sshd, &stranger).await;
    assert_eq!(report.outcome, denied(&me()));
    assert!(report.latency.is_some() && report.facts.software.starts_with("OpenSSH"));
    let text = stranger.text.clone();
    let (damaged, public) = (
        text.replace("b3BlbnNzaC1rZXk", "c3BlbnNzaC1rZXk"),
        "ssh-ed25519 AAAA".to_owned(),
    );
    for (private_key, passphrase) in [
        (known.text.clone(), ""),
        (known.text.clone(), "wrong"),
        (damaged, ""),
        (public, ""),
        (text[..text.len() / 2].to_owned(), ""),
        (String::new(), ""),
        (format!("{text}{}", " ".repeat(100_000)), ""),
    ] {
        let secret = Secret {
            private_key,
            ..by_key(&known, passphrase)
        };
        let report = check(&settings(sshd.port, Login::Key), &target(secret.clone())).await;
        let Outcome::Down(Reason::BadKey { detail }) = &report.outcome else {
            panic!("{:?}", report.outcome);
        };
        assert!(!detail.is_empty() && detail.len() < 60, "{detail:?}");
        assert!(!detail.contains("wrong") || passphrase != "wrong", "{detail}");
        assert!(!format!("{:?}", target(secret)).contains("PRIVATE KEY"));
    }
}

#[tokio::test]
async fn a_key_file_of_this_server_is_used_and_its_absence_is_told() {
    let (sshd, key) = (Sshd::start(&["ed25519"]), Key::new("ed25519", "RFC4716", "open sesame"));
    sshd.authorize(&key, "");
    let secret = Secret {
        private_key: String::new(),
        ..by_key(&key, "open sesame")
    };
    let look = async |path: &str| {
        let settings = Settings {
            key_file: path.to_owned(),
            ..settings(sshd.port, Login::KeyFile)
        };
        check(&settings, &target(secret.clone())).await.outcome
    };
    assert_eq!(look(key.file.to_str().unwrap()).await, Outcome::Up);
    let missing = key.file.with_extension("gone");
    for path in [
        missing.to_str().unwrap(),
        "id_ed25519",
        "",
        "/dev/zero",
        sshd.dir.path().to_str().unwrap(),
    ] {
        let outcome = look(path).await;
        let Outcome::Down(Reason::NoFile { path: told, detail }) = &outcome else {
            panic!("{path}: {outcome:?}");
        };
        assert!(told == path && !detail.is_empty());
    }
    let other = sshd.dir.path().join("sshd_config");
    let outcome = look(other.to_str().unwrap()).await;
    let Outcome::Down(Reason::BadKey { detail }) = &outcome else {
        panic!("{outcome:?}");
    };
    assert!(!detail.contains("Listen"), "no file is read out to anybody: {detail}");
}

#[tokio::test]
async fn the_host_key_is_pinned_at_first_use_and_another_one_stops_the_login() {
    let (sshd, key) = (Sshd::start(&["ed25519"]), Key::new("ed25519", "RFC4716", ""));
    sshd.authorize(&key, "");
    let pin = sshd.host_key("ed25519");
    let first = key_login(&sshd, &key).await;
    assert_eq!((first.outcome, first.pin.as_ref()), (Outcome::Up, Some(&pin)));

    let known = Target {
        pin: pin.clone(),
        ..target(by_key(&key, ""))
    };
    let again = check(&settings(sshd.port, Login::Key), &known).await;
    assert_eq!((again.outcome, again.pin), (Outcome::Up, None));

    let other = Sshd::start(&["ed25519"]);
    other.authorize(&key, "");
    let changed = check(&settings(other.port, Login::Key), &known).await;
    let shown = other.host_key("ed25519");
    let reason = Reason::KeyChanged {
        known: pin,
        shown: shown.clone(),
    };
    assert_eq!((changed.outcome, changed.pin), (Outcome::Down(reason), Some(shown)));
    assert_eq!(changed.facts.host_name, "");
    assert!(!other.log().contains("Accepted"), "{}", other.log());
}

#[tokio::test]
async fn nobody_is_named_to_a_host_with_another_key() {
    let server = Server::start(Way::Password, Does::Tell).await;
    let known = Target {
        pin: "ssh-ed25519 SHA256:bm90IHRoaXMgb25l".to_owned(),
        ..target(by_password(PASSWORD))
    };
    let report = check(&settings(server.port, Login::Password), &known).await;
    assert!(
        matches!(report.outcome, Outcome::Down(Reason::KeyChanged { .. })),
        "{report:?}"
    );
    assert_eq!(server.tries(), Vec::<String>::new());
    assert_eq!(*server.names.lock().unwrap(), Vec::<String>::new());
    let accepted = Target {
        pin: report.pin.unwrap(),
        ..known
    };
    let report = check(&settings(server.port, Login::Password), &accepted).await;
    assert_eq!(report.outcome, Outcome::Up);
    assert_eq!(*server.names.lock().unwrap(), [USER]);
}

#[tokio::test]
async fn of_several_host_keys_the_pinned_one_is_asked_for() {
    let kinds = ["rsa", "ecdsa", "ed25519"];
    let (sshd, key) = (Sshd::start(&kinds), Key::new("ed25519", "RFC4716", ""));
    sshd.authorize(&key, "");
    for kind in kinds {
        let known = Target {
            pin: sshd.host_key(kind),
            ..target(by_key(&key, ""))
        };
        let report = check(&settings(sshd.port, Login::Key), &known).await;
        assert_eq!(report.outcome, Outcome::Up, "{kind}");
    }
}

#[tokio::test]
async fn a_password_lets_in_also_as_the_answer_to_a_question() {
    const QUESTION: &[(&str, bool)] = &[("Password: ", false)];
    for way in [Way::Password, Way::Questions(QUESTION)] {
        let server = Server::start(way, Does::Tell).await;
        let look =
            async |password| check(&settings(server.port, Login::Password), &target(by_password(password))).await;
        let report = look(PASSWORD).await;
        assert_eq!(report.outcome, Outcome::Up, "{way:?}");
        assert!(report.facts.memory.is_some());
        assert_eq!(look("wrong").await.outcome, denied(USER), "{way:?}");
        assert_eq!(
            server.tries().len(),
            2,
            "a wrong password is tried once: {:?}",
            server.tries()
        );
    }
}

#[tokio::test]
async fn questions_that_a_check_cannot_answer_end_the_login() {
    const SEEN: &[(&str, bool)] = &[("Favourite colour: ", true)];
    const TWO: &[(&str, bool)] = &[("Password: ", false), ("Code: ", false)];
    for way in [Way::Questions(SEEN), Way::Questions(TWO), Way::Silence] {
        let server = Server::start(way, Does::Tell).await;
        let report = check(&settings(server.port, Login::Password), &target(by_password(PASSWORD))).await;
        assert_eq!(report.outcome, denied(USER), "{way:?}");
        assert_eq!(server.tries(), Vec::<String>::new(), "{way:?}");
    }
}

#[tokio::test]
async fn the_facts_are_those_of_the_machine() {
    let (sshd, key) = (Sshd::start(&["ed25519"]), Key::new("ed25519", "RFC4716", ""));
    sshd.authorize(&key, "");
    let report = key_login(&sshd, &key).await;
    plausible(&report.facts);
    assert!(
        report.facts.software.starts_with("OpenSSH_"),
        "{:?}",
        report.facts.software
    );
    let latency = report.latency.unwrap();
    assert!(
        latency > Duration::ZERO && latency < Duration::from_secs(10),
        "{latency:?}"
    );

    let again = Target {
        last_ticks: report.facts.cpu_ticks,
        ..target(by_key(&key, ""))
    };
    let again = check(&settings(sshd.port, Login::Key), &again).await.facts;
    let ([idle, all], [idle_before, all_before]) = (again.cpu_ticks.unwrap(), report.facts.cpu_ticks.unwrap());
    let busy = 100.0 - (idle - idle_before) * 100.0 / (all - all_before);
    assert!((again.cpu.unwrap() - busy.clamp(0.0, 100.0)).abs() < 0.01, "{again:?}");
}

/// Against what the kernel tells this process.
fn plausible(facts: &Facts) {
    let proc = |file: &str| std::fs::read_to_string(format!("/proc/{file}")).unwrap();
    assert_eq!(facts.host_name, proc("sys/kernel/hostname").trim());
    assert_eq!(facts.kernel, proc("sys/kernel/osrelease").trim());
    assert!(!facts.os.is_empty() && !facts.os.contains('"'));
    let cores = proc("stat").lines().filter(|line| line.starts_with("cpu")).count() - 1;
    assert_eq!(facts.cores, u32::try_from(cores).ok());
    let cpu = facts.cpu.unwrap();
    assert!((0.0..=100.0).contains(&cpu) && facts.load.unwrap()[0] >= 0.0);
    let memory = facts.memory.unwrap();
    let total: u64 = proc("meminfo").split_whitespace().nth(1).unwrap().parse().unwrap();
    assert_eq!(memory.total, total * 1024);
    assert!(memory.used > 0 && memory.used < memory.total);
    let uptime: f64 = proc("uptime").split(' ').next().unwrap().parse().unwrap();
    assert!(facts.uptime_s.unwrap().abs_diff(uptime as u64) < 60);
    let root = facts.disks.iter().find(|disk| disk.mount == "/").unwrap();
    assert!(root.usage.used > 0 && root.usage.used < root.usage.total);
    assert!(
        facts.disks.iter().all(|disk| !disk.mount.starts_with("/dev")),
        "{:?}",
        facts.disks
    );
}

/// As it arrives at a host: on standard input, and not in one piece.
fn told_by(shell: &mut Command, script: &str) -> Facts {
    let shell = shell.arg("-s").stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = shell.spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    for piece in script.as_bytes().chunks(100) {
        input.write_all(piece).unwrap();
        input.flush().unwrap();
    }
    drop(input);
    let said = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
    read(&said, None).unwrap_or_else(|| panic!("{said}"))
}

#[test]
fn every_shell_tells_the_same() {
    for shell in ["/bin/sh", "/bin/bash", "/bin/dash", "/bin/zsh", "/bin/ksh"] {
        if shell == "/bin/sh" || std::path::Path::new(shell).exists() {
            plausible(&told_by(&mut Command::new(shell), SCRIPT));
        }
    }
    let tools = busybox();
    let mut shell = Command::new(tools.path().join("sh"));
    shell.env_clear().env("PATH", tools.path()).env("LC_ALL", "de_DE.UTF-8");
    // The script itself also looks where programs usually are.
    let script = SCRIPT.replace("PATH=$PATH:/usr/sbin:/usr/bin:/sbin:/bin\n", "");
    assert_ne!(script, SCRIPT);
    plausible(&told_by(&mut shell, &script));
}

#[tokio::test]
async fn a_host_that_greets_is_understood_and_one_that_says_something_else_is_told_of() {
    let sshd = Sshd::start(&["ed25519"]);
    let greeted = Key::new("ed25519", "RFC4716", "");
    sshd.authorize(
        &greeted,
        r#"command="echo Welcome; echo; eval \"$SSH_ORIGINAL_COMMAND\"""#,
    );
    assert_eq!(key_login(&sshd, &greeted).await.outcome, Outcome::Up);

    for (forced, told) in [
        (
            "printf 'This account is\\nfor backups only.'",
            "This account is for backups only.",
        ),
        ("echo 'not for you' >&2", "not for you"),
        ("exit 3", "exit status 3"),
    ] {
        let key = Key::new("ed25519", "RFC4716", "");
        sshd.authorize(&key, &format!("command=\"{forced}\""));
        let report = key_login(&sshd, &key).await;
        let detail = told.to_owned();
        assert_eq!(report.outcome, Outcome::Degraded(Reason::NoFacts { detail }));
        assert!(report.latency.is_some() && report.pin.is_some());
    }
}

#[tokio::test]
async fn a_banner_is_read_without_a_login() {
    let sshd = Sshd::start(&["ed25519"]);
    let report = check(&settings(sshd.port, Login::Banner), &target(Secret::default())).await;
    assert_eq!((report.outcome, report.pin), (Outcome::Up, None));
    assert!(report.facts.software.starts_with("OpenSSH_"), "{:?}", report.facts);
    assert!(!report.facts.software.contains(' ') && report.latency.is_some());
    // Closed or reset, as it happens to notice; an error stands before that for whoever leaves without a word.
    until(|| sshd.log().contains("Connection ")).await;
    let lines = sshd.log();
    assert_eq!(lines.lines().count(), 2, "it listens, and one came and went: {lines}");
}

#[tokio::test]
async fn a_command_can_be_talked_with() {
    let (sshd, key) = (Sshd::start(&["ed25519"]), Key::new("ed25519", "RFC4716", ""));
    sshd.authorize(&key, "");
    let mut seen = Seen::default();
    let session = open(&settings(sshd.port, Login::Key), &target(by_key(&key, "")), &mut seen).await;
    let session = session.unwrap_or_else(|reason| panic!("{reason:?}"));
    assert_eq!(seen.key.get(), Some(&sshd.host_key("ed25519")));
    let mut stream = session
        .run("cat")
        .await
        .unwrap_or_else(|reason| panic!("{reason:?}"))
        .into_stream();
    let sent: Vec<u8> = (0..2_000_000_u32).map(|number| number as u8).collect();
    let (mut read, mut write) = tokio::io::split(&mut stream);
    let mut back = vec![0; sent.len()];
    let (wrote, got) = tokio::join!(write.write_all(&sent), read.read_exact(&mut back));
    wrote.and(got.map(drop)).unwrap();
    assert!(back == sent);
    drop(stream);
    session.close().await;
}
