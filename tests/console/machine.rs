//! Machines: a real `node_exporter`, a Jpom agent as its source says it answers, and what neither would do.

use std::time::{Duration, Instant};

use muster::assets::facts::Limits;
use muster::assets::machine::{Agent, Settings, check};
use muster::assets::outcome::{Outcome, Reason, Report};
use muster::assets::target::{Secret, Target};
use muster::clusters::address::Reach;
use tempfile::TempDir;

use crate::agents::{Authority, NodeExporter, relay, target};
use crate::hostile::{Hostile, Manner, http};
use crate::support::free_port;

const PASSWORD: &str = "open sesame";
/// Of [`PASSWORD`], as cheap as bcrypt gets.
const HASH: &str = "$2b$04$Yr19Pe9/ZUGQwqhkhDcCXeEf24hcw20MNjxpOpDBapc8av76rvZqu";

/// No limit, so that a busy or full machine that runs the tests is up.
const NO_LIMITS: Limits = Limits {
    cpu: 0,
    memory: 0,
    disk: 0,
};

fn at(address: impl Into<String>) -> Settings {
    Settings {
        address: address.into(),
        limits: NO_LIMITS,
        ..Settings::default()
    }
}

fn jpom(port: u16) -> Settings {
    Settings {
        agent: Agent::Jpom,
        ..at(format!("http://127.0.0.1:{port}"))
    }
}

fn signing_in(user: &str, password: &str) -> Target {
    let mut target = target();
    target.secret.user = user.to_owned();
    target.secret.password = password.to_owned();
    target
}

#[track_caller]
fn why(report: &Report) -> &Reason {
    match &report.outcome {
        Outcome::Down(reason) | Outcome::Degraded(reason) => reason,
        Outcome::Up => panic!("up: {report:?}"),
    }
}

/// The number that stands first behind a word in a file of this machine.
fn number(file: &str, word: &str) -> f64 {
    let text = std::fs::read_to_string(file).unwrap();
    let rest = text.split_once(word).unwrap().1;
    rest.split_whitespace().next().unwrap().parse().unwrap()
}

#[tokio::test]
async fn node_exporter_tells_what_this_machine_says_of_itself() {
    let exporter = NodeExporter::start(&[]).await;
    let settings = at(format!("http://127.0.0.1:{}", exporter.port));
    let report = check(&settings, &target()).await;
    assert_eq!(report.outcome, Outcome::Up, "{report:?}");
    assert!(report.latency.unwrap() < target().timeout);
    let facts = &report.facts;
    assert!(facts.software.starts_with("node_exporter 1."), "{}", facts.software);
    assert_eq!(facts.host_name, gethostname::gethostname().to_string_lossy());
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    assert_eq!(facts.kernel, kernel.trim());
    let os = std::fs::read_to_string("/etc/os-release").unwrap();
    assert!(
        !facts.os.is_empty() && os.contains(&format!("PRETTY_NAME=\"{}\"", facts.os)),
        "{}",
        facts.os
    );
    let cores = std::fs::read_to_string("/proc/stat").unwrap();
    let cores = cores
        .lines()
        .filter(|line| line.starts_with("cpu") && !line.starts_with("cpu "));
    assert_eq!(facts.cores.unwrap() as usize, cores.count());
    let memory = facts.memory.unwrap();
    assert_eq!(memory.total as f64, number("/proc/meminfo", "MemTotal:") * 1024.0);
    assert!(0 < memory.used && memory.used < memory.total, "{memory:?}");
    let uptime = number("/proc/uptime", "");
    assert!(
        (facts.uptime_s.unwrap() as f64 - uptime).abs() < 60.0,
        "{:?} {uptime}",
        facts.uptime_s
    );
    assert!(facts.load.unwrap().iter().all(|load| (0.0..10_000.0).contains(load)));
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    for disk in &facts.disks {
        assert!(mounts.contains(&format!(" {} ", disk.mount)), "{disk:?} is not mounted");
        assert!((0.0..=100.0).contains(&disk.usage.percent()), "{disk:?}");
    }
    assert!(facts.disks.is_sorted_by(|a, b| a.usage.percent() >= b.usage.percent()));

    // From the second check on it is the time in between that counts.
    let [idle, all] = facts.cpu_ticks.unwrap();
    assert!((facts.cpu.unwrap() - (100.0 - idle * 100.0 / all)).abs() < 0.001);
    let mut second = target();
    second.last_ticks = facts.cpu_ticks;
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        let facts = check(&settings, &second).await.facts;
        let [idle_now, all_now] = facts.cpu_ticks.unwrap();
        if let Some(cpu) = facts.cpu {
            let expected = (100.0 - (idle_now - idle) * 100.0 / (all_now - all)).clamp(0.0, 100.0);
            assert!((cpu - expected).abs() < 0.001, "{cpu} {expected}");
            break;
        }
        assert!(Instant::now() < end, "no time passes");
    }
    let limits = Limits { memory: 1, ..NO_LIMITS };
    let report = check(&Settings { limits, ..settings }, &target()).await;
    assert!(matches!(why(&report), Reason::Memory { limit: 1, .. }), "{report:?}");
}

#[tokio::test]
async fn node_exporter_with_tls_and_a_password_wants_both() {
    let (authority, files) = (Authority::new(), TempDir::new().unwrap());
    let (certificate, key) = authority.signed("localhost");
    let file = |name: &str| files.path().join(name).display().to_string();
    std::fs::write(file("cert.pem"), certificate).unwrap();
    std::fs::write(file("key.pem"), key).unwrap();
    let config = format!(
        "tls_server_config:\n  cert_file: {}\n  key_file: {}\nbasic_auth_users:\n  ann: {HASH}\n",
        file("cert.pem"),
        file("key.pem")
    );
    std::fs::write(file("web.yml"), config).unwrap();
    let exporter = NodeExporter::start(&[format!("--web.config.file={}", file("web.yml"))]).await;
    let settings = at(format!("https://localhost:{}/", exporter.port));
    let mut trusting = signing_in("ann", PASSWORD);
    trusting.secret.authority = authority.pem.clone();
    let report = check(&settings, &trusting).await;
    assert_eq!(report.outcome, Outcome::Up, "{report:?}");

    let mut wrong = trusting.clone();
    wrong.secret.password = "open barley".to_owned();
    let denied = |user: &str| Outcome::Down(Reason::Denied { user: user.to_owned() });
    assert_eq!(check(&settings, &wrong).await.outcome, denied("ann"));
    wrong.secret.user = String::new();
    assert_eq!(check(&settings, &wrong).await.outcome, denied(""));

    // The system does not know this authority.
    let strict = check(&settings, &signing_in("ann", PASSWORD)).await;
    assert!(matches!(why(&strict), Reason::Tls { .. }), "{strict:?}");
    let lenient = Settings {
        verify: false,
        ..settings.clone()
    };
    assert_eq!(check(&lenient, &signing_in("ann", PASSWORD)).await.outcome, Outcome::Up);
    let plain = at(format!("http://localhost:{}", exporter.port));
    let plain = check(&plain, &trusting).await;
    assert_eq!(why(&plain), &Reason::Status { status: 400 }, "{plain:?}");
    let mut broken = trusting.clone();
    broken.secret.authority = "-----BEGIN CERTIFICATE-----\nsecret\n-----END CERTIFICATE-----".to_owned();
    let broken = check(&settings, &broken).await;
    assert_eq!(
        why(&broken),
        &Reason::BadKey {
            detail: "PEM: authority".to_owned()
        }
    );
}

#[tokio::test]
async fn a_certificate_must_be_for_the_name_and_of_today() {
    let authority = Authority::new();
    let exporter = NodeExporter::start(&[]).await;
    let behind = format!("127.0.0.1:{}", exporter.port);
    let mut trusting = target();
    trusting.secret.authority = authority.pem.clone();
    for (own, is_good) in [
        (authority.signed("127.0.0.1"), true),
        (authority.signed("other.example"), false),
        (authority.expired("127.0.0.1"), false),
        (Authority::new().signed("127.0.0.1"), false),
    ] {
        let settings = at(format!("https://127.0.0.1:{}", relay(&own, None, &behind).await));
        let report = check(&settings, &trusting).await;
        match is_good {
            true => assert_eq!(report.outcome, Outcome::Up),
            false => assert!(matches!(why(&report), Reason::Tls { .. }), "{report:?}"),
        }
        let lenient = Settings {
            verify: false,
            ..settings
        };
        assert_eq!(check(&lenient, &trusting).await.outcome, Outcome::Up);
    }
    // A machine may want to see a certificate too.
    let clients = Authority::new();
    let port = relay(&authority.signed("127.0.0.1"), Some(&clients), &behind).await;
    let settings = at(format!("https://127.0.0.1:{port}"));
    let denied = Outcome::Down(Reason::Denied { user: String::new() });
    assert_eq!(check(&settings, &trusting).await.outcome, denied);
    let (certificate, private_key) = clients.signed("muster.example");
    trusting.secret = Secret {
        certificate,
        private_key,
        ..trusting.secret
    };
    assert_eq!(check(&settings, &trusting).await.outcome, Outcome::Up);
}

#[tokio::test]
async fn whatever_else_answers_is_named_in_time() {
    let elsewhere = Hostile::answering(http("200 OK", "", "node_load1 1\n")).await;
    let location = format!("Location: http://127.0.0.1:{}/metrics\r\n", elsewhere.port);
    let head = b"HTTP/1.1 200 OK\r\nContent-Length: 10000000000\r\n\r\n";
    let endless = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffff\r\n";
    let timed_out = Reason::TimedOut { seconds: 1 };
    let cases = [
        (Manner::Hang, timed_out.clone()),
        (Manner::Drip(head.to_vec()), timed_out.clone()),
        (Manner::Drip(b"HTTP/1.1 200 OK\r\nX-".to_vec()), timed_out),
        (Manner::Close, Reason::Closed),
        (Manner::Reset, Reason::Closed),
        (Manner::Answer(head.to_vec()), Reason::Closed),
        (Manner::Flood(head.to_vec()), Reason::TooLong),
        (Manner::Flood(endless.to_vec()), Reason::TooLong),
        (
            Manner::Answer(http("302 Found", &location, "")),
            Reason::Status { status: 302 },
        ),
        (
            Manner::Answer(http("503 Busy", "", "x")),
            Reason::Status { status: 503 },
        ),
        (
            Manner::Answer(http("403 No", "", "")),
            Reason::Denied { user: "ann".to_owned() },
        ),
    ];
    for (manner, expected) in cases {
        let hostile = Hostile::start(manner.clone()).await;
        let mut target = signing_in("ann", PASSWORD);
        if matches!(expected, Reason::TimedOut { .. }) {
            target.timeout = Duration::from_millis(500);
        }
        let report = check(&at(format!("http://127.0.0.1:{}", hostile.port)), &target).await;
        assert_eq!(report, Report::down(expected), "{manner:?}");
        assert!(hostile.sent() < 16 * 1024 * 1024, "{manner:?} sent {}", hostile.sent());
    }
    assert!(elsewhere.asked().is_empty(), "a redirect was followed");
    let closed = at(format!("http://127.0.0.1:{}", free_port()));
    assert_eq!(check(&closed, &target()).await, Report::down(Reason::Refused));
}

#[tokio::test]
async fn what_is_no_node_exporter_is_unexpected_and_old_http_will_do() {
    for junk in [
        &b"SSH-2.0-OpenSSH_9.2p1\r\n"[..],
        b"node_load1 1\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n<html>node_load1 1 <",
        b"HTTP/1.1 200 OK\r\nContent-Length: 16\r\n\r\nother_metric 1.0",
        b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n\xff\xfe\x00\x01",
    ] {
        let hostile = Hostile::answering(junk).await;
        let report = check(&at(format!("http://127.0.0.1:{}", hostile.port)), &target()).await;
        assert!(matches!(why(&report), Reason::Unexpected { .. }), "{report:?}");
        let report = check(&at(format!("https://127.0.0.1:{}", hostile.port)), &target()).await;
        assert!(
            matches!(why(&report), Reason::Tls { .. } | Reason::Closed),
            "{report:?}"
        );
    }
    let old = Hostile::answering("HTTP/1.0 200 OK\r\n\r\nnode_load1 1\n").await;
    let report = check(&at(format!("http://127.0.0.1:{}", old.port)), &target()).await;
    assert_eq!(report.outcome, Outcome::Up, "HTTP/1.0 will do");
}

#[tokio::test]
async fn where_no_machine_can_be_nothing_is_connected_to() {
    let hostile = Hostile::answering(http("200 OK", "", "node_load1 1\n")).await;
    let public = Target {
        reach: Reach::Public,
        ..signing_in("ann", PASSWORD)
    };
    for host in ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "0x7f.1"] {
        let report = check(&at(format!("http://{host}:{}", hostile.port)), &public).await;
        assert!(matches!(why(&report), Reason::Forbidden { .. }), "{host} {report:?}");
    }
    let metadata = check(&at("http://169.254.169.254"), &target()).await;
    assert!(matches!(why(&metadata), Reason::Forbidden { .. }), "{metadata:?}");
    let nobody = check(&at("http://nobody.invalid:9100"), &target()).await;
    assert!(matches!(why(&nobody), Reason::NoSuchName { .. }), "{nobody:?}");
    for address in ["", "127.0.0.1:9100", "ftp://127.0.0.1", "http://", "unix:///x"] {
        let report = check(&at(address), &target()).await;
        assert!(
            matches!(why(&report), Reason::BadAddress { .. }),
            "{address} {report:?}"
        );
    }
    assert!(hostile.asked().is_empty());
}

#[tokio::test]
async fn the_path_of_the_address_stays_and_a_password_goes_to_its_host_alone() {
    let hostile = Hostile::answering(http("200 OK", "", "node_load1 1\n")).await;
    let settings = at(format!("http://127.0.0.1:{}/a/b/", hostile.port));
    assert_eq!(
        check(&settings, &signing_in("ann", PASSWORD)).await.outcome,
        Outcome::Up
    );
    assert_eq!(check(&settings, &target()).await.outcome, Outcome::Up);
    let asked = hostile.asked();
    assert!(asked[0].starts_with("GET /a/b/metrics HTTP/1.1\r\n"), "{}", asked[0]);
    // printf 'ann:open sesame' | base64
    assert!(
        asked[0].contains("\r\nauthorization: Basic YW5uOm9wZW4gc2VzYW1l\r\n"),
        "{}",
        asked[0]
    );
    assert!(
        asked[0].contains(&format!("\r\nhost: 127.0.0.1:{}\r\n", hostile.port)),
        "{}",
        asked[0]
    );
    assert!(!asked[1].contains("authorization"), "{}", asked[1]);
}

/// As Jpom agent 2.11 answers: `JsonMessage` around `IndexController.getDirectTop`, with the values of
/// `OshiUtils.getSimpleInfo` and `OshiUtils.getSystemInfo`, shortened by what nobody reads.
const JPOM: &str = r#"{"code":200,"msg":"","data":{
"simpleStatus":{"time":1764042000000,"cpu":12.5,"cpuInfo":{"cpuNum":4,"used":12.5,"ticks":{"idle":350}},
"memory":75.0,"swapMemory":0.0,"virtualMemory":20.0,"disk":40.0,"netTxBytes":10,"netRxBytes":20,"monitorIfsNames":"eth0"},
"systemSleep":2000,
"systemInfo":{"systemUptime":3600,"osVersion":"GNU/Linux Debian GNU/Linux 12 (bookworm) build 6.1.0","hostName":"db1",
"hardwareVersion":"QEMU Standard PC","hostIpv4s":["10.0.0.1"],"osCpuIdentifierName":"x","osCpuCores":4,
"osMoneyTotal":8000000000,"osSwapTotal":0,"osVirtualMax":8000000000,"osLoadAverage":[0.5,0.25,0.125],
"osFileStoreTotal":1000000000},
"jpomInfo":{"javaVirtualCount":2,"jpomManifest":{"version":"2.11.12","installId":"x","osName":"Linux","port":2123},
"javaVersion":"1.8.0","totalMemory":1,"freeMemory":1,"projectCount":0,"scriptCount":0,"workspaceStat":{}}}}"#;

#[tokio::test]
async fn a_jpom_agent_tells_what_it_told_jpom() {
    let agent = Hostile::answering(http("200 OK", "Content-Type: application/json\r\n", JPOM)).await;
    let report = check(&jpom(agent.port), &signing_in("jpomAgent", "secret")).await;
    assert_eq!(report.outcome, Outcome::Up, "status 1: {report:?}");
    // What it slept to count is no latency, and this one did not even sleep.
    assert_eq!(report.latency, Some(Duration::ZERO));
    let facts = report.facts;
    let words = [&facts.host_name, &facts.os, &facts.software];
    let os = "GNU/Linux Debian GNU/Linux 12 (bookworm) build 6.1.0";
    assert_eq!(words, ["db1", os, "Jpom 2.11.12"]);
    assert_eq!(
        (facts.cores, facts.cpu, facts.uptime_s),
        (Some(4), Some(12.5), Some(3600))
    );
    assert_eq!(facts.load, Some([0.5, 0.25, 0.125]));
    assert_eq!(facts.memory.unwrap().used, 6_000_000_000);
    assert_eq!((facts.disks.len(), facts.disks[0].usage.used), (1, 400_000_000));
    let asked = agent.asked();
    assert!(asked[0].starts_with("POST /get-stat-info HTTP/1.1\r\n"), "{}", asked[0]);
    // printf 'jpomAgent@secret' | sha1sum
    let header = "jpom-agent-authorize: c2d8f3612fc387d5c439a54ee70abd7508b5f552\r\n";
    assert!(asked[0].contains(header), "{}", asked[0]);
    assert!(asked[0].contains("content-length: 0\r\n"), "{}", asked[0]);
    assert!(
        !asked[0].contains("authorization:") && !asked[0].contains("secret"),
        "{}",
        asked[0]
    );

    let limits = Limits {
        memory: 70,
        ..NO_LIMITS
    };
    let report = check(
        &Settings {
            limits,
            ..jpom(agent.port)
        },
        &target(),
    )
    .await;
    let memory = Reason::Memory { percent: 75, limit: 70 };
    assert_eq!(report.outcome, Outcome::Degraded(memory));
}

#[tokio::test]
async fn each_status_of_jpom_has_its_reason() {
    let refused = check(&jpom(free_port()), &target()).await;
    assert_eq!(refused.outcome, Outcome::Down(Reason::Refused), "status 0");
    let agent = |detail: &str| Reason::Agent {
        detail: detail.to_owned(),
    };
    // `getDirectTop` without what failed.
    let mute = r#"{"code":200,"msg":"","data":{"jpomInfo":{"jpomManifest":{"version":"2.11.12"}}}}"#;
    let failed = JPOM.replace("\"systemSleep\"", "\"oshiError\":\"no\\nsensor\",\"systemSleep\"");
    let denied = Reason::Denied { user: "ann".to_owned() };
    for (answer, expected) in [
        // `AuthorizeInterceptor.error`
        (r#"{"code":900,"msg":"授权信息错误"}"#, Outcome::Down(denied)),
        // `BaseExceptionHandler.defExceptionHandler`
        (
            r#"{"code":500,"msg":"服务异常：x"}"#,
            Outcome::Down(agent("500 服务异常：x")),
        ),
        (r#"{"code":404,"data":null,"msg":null}"#, Outcome::Down(agent("404"))),
        (&failed, Outcome::Degraded(agent("no sensor"))),
        (mute, Outcome::Degraded(agent("oshi"))),
    ] {
        let server = Hostile::answering(http("200 OK", "", answer)).await;
        let report = check(&jpom(server.port), &signing_in("ann", "x")).await;
        assert_eq!(report.outcome, expected, "{answer}");
    }
    for answer in [
        "Jpom-Agent,Can't access directly,Please configure it to JPOM server",
        "",
        "[]",
        "{}",
        r#"{"code":"200"}"#,
        r#"{"code":200,"data":{}}"#,
        r#"{"code":200,"data":[1]}"#,
        r#"{"code":200,"data":{"systemInfo":{"osCpuCores":-1}}}"#,
    ] {
        let server = Hostile::answering(http("200 OK", "", answer)).await;
        let report = check(&jpom(server.port), &target()).await;
        assert!(matches!(why(&report), Reason::Unexpected { .. }), "{answer} {report:?}");
    }
    let deep = format!("{{\"code\":{}", "[".repeat(1_000_000));
    let server = Hostile::answering(http("200 OK", "", &deep)).await;
    let report = check(&jpom(server.port), &target()).await;
    assert!(matches!(why(&report), Reason::Unexpected { .. }), "{report:?}");
}
