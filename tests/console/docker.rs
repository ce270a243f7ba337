//! Docker hosts: the real API of Podman over a socket, a port and TLS, and what no engine would do.

use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use muster::assets::docker::{self, Settings, check};
use muster::assets::facts::Containers;
use muster::assets::outcome::{Outcome, Reason, Report};
use muster::assets::target::{Secret, Target};
use muster::clusters::address::Reach;
use tempfile::TempDir;
use tokio::net::UnixStream;

use crate::agents::{Authority, Podman, relay, target};
use crate::hostile::{Hostile, Manner, http};
use crate::support::free_port;

fn at(address: impl Into<String>) -> Settings {
    Settings {
        address: address.into(),
        ..Settings::default()
    }
}

fn tls(host: &str, port: u16) -> Settings {
    Settings {
        tls: true,
        ..at(format!("tcp://{host}:{port}"))
    }
}

#[track_caller]
fn why(report: &Report) -> &Reason {
    match &report.outcome {
        Outcome::Down(reason) | Outcome::Degraded(reason) => reason,
        Outcome::Up => panic!("up: {report:?}"),
    }
}

#[track_caller]
fn is_this_machine(report: &Report) {
    assert_eq!(report.outcome, Outcome::Up, "{report:?}");
    assert!(report.latency.unwrap() < target().timeout);
    let facts = &report.facts;
    assert!(facts.software.starts_with("Podman Engine "), "{}", facts.software);
    assert_eq!(facts.host_name, gethostname::gethostname().to_string_lossy());
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    assert_eq!(facts.kernel, kernel.trim());
    assert!(!facts.os.is_empty());
    assert_eq!(
        facts.cores.unwrap() as usize,
        std::thread::available_parallelism().unwrap().get()
    );
    assert_eq!((facts.containers, facts.images), (Some(Containers::default()), Some(0)));
    assert_eq!((facts.swarm.as_str(), facts.memory, facts.disks.len()), ("", None, 0));
}

#[tokio::test]
async fn an_engine_answers_over_its_socket_and_over_what_somebody_else_opened() {
    let podman = Podman::on_socket().await;
    is_this_machine(&check(&at(podman.address()), &target()).await);
    let stream = UnixStream::connect(podman.socket()).await.unwrap();
    is_this_machine(&docker::over(stream, "docker", Instant::now()).await.unwrap());
}

#[tokio::test]
async fn an_engine_answers_over_a_port() {
    let podman = Podman::on_port().await;
    is_this_machine(&check(&at(podman.address()), &target()).await);
    let public = Target {
        reach: Reach::Public,
        ..target()
    };
    let forbidden = check(&at(podman.address()), &public).await;
    assert!(matches!(why(&forbidden), Reason::Forbidden { .. }), "{forbidden:?}");
    let crossed = Settings {
        tls: true,
        ..at(podman.address())
    };
    let crossed = check(&crossed, &target()).await;
    assert!(matches!(why(&crossed), Reason::Tls { .. }), "{crossed:?}");
}

#[tokio::test]
async fn over_tls_both_sides_have_to_be_who_they_say() {
    let podman = Podman::on_socket().await;
    let (engines, clients) = (Authority::new(), Authority::new());
    let port = relay(&engines.signed("localhost"), Some(&clients), &podman.socket()).await;
    let (certificate, private_key) = clients.signed("muster.example");
    let known = Target {
        secret: Secret {
            certificate,
            private_key,
            authority: engines.pem.clone(),
            ..Secret::default()
        },
        ..target()
    };
    is_this_machine(&check(&tls("localhost", port), &known).await);

    let denied = Outcome::Down(Reason::Denied { user: String::new() });
    let mut stranger = known.clone();
    (stranger.secret.certificate, stranger.secret.private_key) = Authority::new().signed("muster.example");
    assert_eq!(check(&tls("localhost", port), &stranger).await.outcome, denied);
    stranger.secret.certificate = String::new();
    assert_eq!(check(&tls("localhost", port), &stranger).await.outcome, denied);

    let other_name = check(&tls("127.0.0.1", port), &known).await;
    assert!(matches!(why(&other_name), Reason::Tls { .. }), "{other_name:?}");
    let mut trusting = known.clone();
    trusting.secret.authority = String::new();
    let unknown = check(&tls("localhost", port), &trusting).await;
    assert!(matches!(why(&unknown), Reason::Tls { .. }), "{unknown:?}");
    let lenient = Settings {
        verify: false,
        ..tls("127.0.0.1", port)
    };
    is_this_machine(&check(&lenient, &trusting).await);
    let old = relay(&engines.expired("localhost"), Some(&clients), &podman.socket()).await;
    let expired = check(&tls("localhost", old), &known).await;
    assert!(matches!(why(&expired), Reason::Tls { .. }), "{expired:?}");
    let plain = check(&at(format!("tcp://localhost:{port}")), &known).await;
    assert!(matches!(plain.outcome, Outcome::Down(_)), "{plain:?}");

    for (certificate, private_key, detail) in [
        (known.secret.certificate.as_str(), "", "PEM: private key"),
        ("secret", known.secret.private_key.as_str(), "PEM: certificate"),
    ] {
        let mut broken = known.clone();
        broken.secret.certificate = certificate.to_owned();
        broken.secret.private_key = private_key.to_owned();
        let report = check(&tls("localhost", port), &broken).await;
        assert_eq!(
            why(&report),
            &Reason::BadKey {
                detail: detail.to_owned()
            }
        );
    }
}

#[tokio::test]
async fn a_socket_that_is_not_there_is_named() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("docker.sock").display().to_string();
    let report = check(&at(format!("unix://{path}")), &target()).await;
    assert!(
        matches!(why(&report), Reason::NoFile { path: named, .. } if *named == path),
        "{report:?}"
    );
    // Whose server has ended.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let report = check(&at(format!("unix://{path}")), &target()).await;
    assert_eq!(why(&report), &Reason::Refused);
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o000)).unwrap();
    let report = check(&at(format!("unix://{path}")), &target()).await;
    // Root may do everything.
    assert!(
        matches!(why(&report), Reason::NoFile { .. } | Reason::Refused),
        "{report:?}"
    );
    let told = check(&at("http://ann:secret@db1:2375"), &target()).await;
    assert!(!format!("{told:?}").contains("secret"), "{told:?}");
    for address in ["", "ssh://db1", "db1:2375", "unix://x"] {
        let report = check(&at(address), &target()).await;
        assert!(
            matches!(why(&report), Reason::BadAddress { .. }),
            "{address} {report:?}"
        );
    }
}

#[tokio::test]
async fn whatever_else_answers_is_named_in_time() {
    let elsewhere = Hostile::answering(http("200 OK", "", "OK")).await;
    let location = format!("Location: http://127.0.0.1:{}/_ping\r\n", elsewhere.port);
    let head = b"HTTP/1.1 200 OK\r\nContent-Length: 10000000000\r\n\r\n";
    let timed_out = Reason::TimedOut { seconds: 1 };
    let denied = Reason::Denied { user: String::new() };
    let wrong_scheme = b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n";
    let told = "HTTP 400: Client sent an HTTP request to an HTTPS server.".to_owned();
    for (manner, expected) in [
        (Manner::Hang, timed_out.clone()),
        (Manner::Drip(head.to_vec()), timed_out.clone()),
        (Manner::Drip(b"HTTP/1.1 200 OK\r\nX-".to_vec()), timed_out),
        (Manner::Close, Reason::Closed),
        (Manner::Reset, Reason::Closed),
        (Manner::Answer(head.to_vec()), Reason::Closed),
        (Manner::Flood(head.to_vec()), Reason::TooLong),
        (
            Manner::Answer(http("302 Found", &location, "")),
            Reason::Status { status: 302 },
        ),
        (
            Manner::Answer(http("500 No", "", r#"{"message":"x"}"#)),
            Reason::Status { status: 500 },
        ),
        (Manner::Answer(http("401 No", "", "")), denied.clone()),
        (Manner::Answer(http("403 No", "", "")), denied),
        (
            Manner::Answer(wrong_scheme.to_vec()),
            Reason::Unexpected { detail: told },
        ),
        (
            Manner::Answer(http("200 OK", "", "<html>")),
            Reason::Unexpected {
                detail: "<html>".to_owned(),
            },
        ),
        // It answers the first question and has gone at the second.
        (Manner::Answer(http("200 OK", "", "OK")), Reason::Closed),
    ] {
        let hostile = Hostile::start(manner.clone()).await;
        let mut target = target();
        if matches!(expected, Reason::TimedOut { .. }) {
            target.timeout = Duration::from_millis(500);
        }
        let report = check(&at(format!("tcp://127.0.0.1:{}", hostile.port)), &target).await;
        assert_eq!(report, Report::down(expected), "{manner:?}");
        assert!(hostile.sent() < 16 * 1024 * 1024, "{manner:?} sent {}", hostile.sent());
        let report = check(&tls("127.0.0.1", hostile.port), &target).await;
        assert!(matches!(report.outcome, Outcome::Down(_)), "{manner:?} {report:?}");
    }
    assert!(elsewhere.asked().is_empty(), "a redirect was followed");
    let closed = at(format!("tcp://127.0.0.1:{}", free_port()));
    assert_eq!(check(&closed, &target()).await, Report::down(Reason::Refused));
}

#[tokio::test]
async fn what_speaks_no_http_is_unexpected() {
    for junk in [
        &b"SSH-2.0-OpenSSH_9.2p1\r\n"[..],
        b"OK",
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\nOK",
    ] {
        let hostile = Hostile::answering(junk).await;
        let report = check(&at(format!("tcp://127.0.0.1:{}", hostile.port)), &target()).await;
        assert!(matches!(why(&report), Reason::Unexpected { .. }), "{report:?}");
    }
}

/// Docker's engine, by the three answers it gives over one connection.
async fn engine(info: &str) -> Hostile {
    let version = r#"{"Version":"28.2.2","Components":[{"Name":"Engine","Version":"28.2.2"}]}"#;
    let answers = ["OK", version, info].map(|answer| http("200 OK", "", answer));
    Hostile::start(Manner::Answers(answers.to_vec())).await
}

#[tokio::test]
async fn a_swarm_shows_its_role_and_what_is_wrong() {
    let told = r#"{"Name":"a\u0000b","NCPU":0,"Containers":-1,"ContainersRunning":3,"ContainersPaused":1,"ContainersStopped":2,
        "Images":7,"Swarm":{"LocalNodeState":"active","ControlAvailable":true}}"#;
    let server = engine(told).await;
    let report = check(&at(format!("tcp://127.0.0.1:{}", server.port)), &target()).await;
    assert_eq!(report.outcome, Outcome::Up, "{report:?}");
    let facts = report.facts;
    assert_eq!(
        (facts.software.as_str(), facts.swarm.as_str(), facts.host_name.as_str()),
        ("Docker 28.2.2", "manager", "a b")
    );
    let containers = Containers {
        running: 3,
        paused: 1,
        stopped: 2,
    };
    assert_eq!(
        (facts.containers, facts.images, facts.cores),
        (Some(containers), Some(7), None)
    );

    let locked = told.replace("active", "locked");
    let server = engine(&locked).await;
    let report = check(&at(format!("tcp://127.0.0.1:{}", server.port)), &target()).await;
    let trouble = Reason::Swarm {
        detail: "locked".to_owned(),
    };
    assert_eq!(report.outcome, Outcome::Degraded(trouble));
    let server = engine("{\"NCPU\":\"many\"}").await;
    let report = check(&at(format!("tcp://127.0.0.1:{}", server.port)), &target()).await;
    let Outcome::Degraded(Reason::NoFacts { .. }) = report.outcome else {
        panic!("{report:?}")
    };
    assert_eq!(report.facts.software, "Docker 28.2.2");
}
