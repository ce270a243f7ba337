//! Peers at the port of an SSH host that hang, drip, flood, talk of something else, or go away.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use muster::assets::outcome::{Outcome, Reason, Report};
use muster::assets::ssh::{Login, check};
use muster::assets::target::{Secret, Target};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::peers::{peer, until};
use crate::ssh::{settings, target};
use crate::ssh_server::{Does, PASSWORD, Server, USER, Way};

const TIMEOUT: Duration = Duration::from_millis(1200);

/// Both kinds of look at a peer, each within the time limit.
async fn look(port: u16) -> [Report; 2] {
    let secret = Secret {
        user: USER.to_owned(),
        password: PASSWORD.to_owned(),
        ..Secret::default()
    };
    let target = Target {
        timeout: TIMEOUT,
        ..target(secret)
    };
    let began = Instant::now();
    let (full, short) = (settings(port, Login::Password), settings(port, Login::Banner));
    let (full, short) = tokio::join!(check(&full, &target), check(&short, &target));
    assert!(
        began.elapsed() < TIMEOUT + Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );
    [full, short]
}

#[track_caller]
fn down(reports: &[Report], reason: &Reason) {
    for report in reports {
        assert_eq!(report.outcome, Outcome::Down(reason.clone()));
        assert_eq!((report.latency, report.pin.as_ref()), (None, None));
    }
}

fn unexpected(detail: &str) -> Reason {
    Reason::Unexpected {
        detail: detail.to_owned(),
    }
}

/// Reads until the other side is gone.
async fn drain(mut stream: TcpStream) {
    let mut buffer = [0; 1024];
    while let Ok(1..) = stream.read(&mut buffer).await {}
}

/// Sends the same until the other side is gone.
async fn flood(mut stream: TcpStream, piece: &[u8]) {
    while stream.write_all(piece).await.is_ok() {}
}

#[tokio::test]
async fn a_host_that_says_nothing_or_a_byte_at_a_time_is_given_up_in_time() {
    let silent = peer(drain).await;
    down(&look(silent).await, &Reason::TimedOut { seconds: 2 });
    let dripping = peer(async |mut stream| {
        let mut beat = tokio::time::interval(Duration::from_millis(300));
        for byte in b"SSH-2.0-OpenSSH_9.2p1 Debian\r\n" {
            if stream.write_all(&[*byte]).await.is_err() {
                return;
            }
            beat.tick().await;
        }
    });
    down(&look(dripping.await).await, &Reason::TimedOut { seconds: 2 });
}

#[tokio::test]
async fn a_host_that_does_not_even_take_the_connection_is_given_up_in_time() {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let full = socket.listen(1).unwrap();
    let address = full.local_addr().unwrap();
    let mut waiting = Vec::new();
    while let Ok(Ok(one)) = timeout(Duration::from_millis(500), TcpStream::connect(address)).await {
        waiting.push(one);
    }
    down(&look(address.port()).await, &Reason::TimedOut { seconds: 2 });
}

#[tokio::test]
async fn nobody_there_and_somebody_who_hangs_up_are_told_apart() {
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let free = taken.local_addr().unwrap().port();
    drop(taken);
    down(&look(free).await, &Reason::Refused);
    let closing = peer(async |stream| drop(stream)).await;
    down(&look(closing).await, &Reason::Closed);
    let reset = peer(async |stream: TcpStream| stream.set_zero_linger().unwrap()).await;
    down(&look(reset).await, &Reason::Closed);
    let halfway = peer(async |mut stream| stream.write_all(b"SSH-2.0-Open").await.unwrap()).await;
    down(&look(halfway).await, &Reason::Closed);
}

#[tokio::test]
async fn another_service_is_named_by_what_it_says() {
    let web = peer(async |mut stream| stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap());
    down(&look(web.await).await, &unexpected("HTTP/1.1 400 Bad Request"));
    let mail = peer(async |mut stream| {
        stream.write_all(b"220 mail.example ESMTP\r\n").await.unwrap();
        drain(stream).await;
    });
    down(&look(mail.await).await, &unexpected("220 mail.example ESMTP"));
    let junk = peer(async |mut stream| stream.write_all(b"\x00\x16\x03\x01 junk").await.unwrap());
    down(&look(junk.await).await, &unexpected("junk"));
    let old = peer(async |mut stream| stream.write_all(b"SSH-1.5-old\r\n").await.unwrap());
    for report in look(old.await).await {
        assert_eq!(report.outcome, Outcome::Down(unexpected("SSH-1.5-old")));
    }
}

#[tokio::test]
async fn whoever_sends_without_an_end_is_cut_off() {
    for piece in [
        &b"x"[..],
        b"SSH-2.0-xxxxxxxxxxxxxxxx",
        b"welcome\r\n",
        b"\n",
        &[0; 65536],
    ] {
        let endless = peer(move |stream| flood(stream, Box::leak(piece.repeat(100).into_boxed_slice())));
        down(&look(endless.await).await, &Reason::TooLong);
    }
    let sent = Arc::new(AtomicUsize::new(0));
    let counted = sent.clone();
    let long = peer(move |mut stream: TcpStream| {
        let sent = counted.clone();
        async move {
            let line = [vec![b'x'; 1023], vec![b'\n']].concat();
            for _ in 0..10 * 1024 {
                if stream.write_all(&line).await.is_err() {
                    return;
                }
                sent.fetch_add(line.len(), Ordering::SeqCst);
            }
            let _ = stream.write_all(b"SSH-2.0-OpenSSH_9.2p1\r\n").await;
        }
    });
    down(&look(long.await).await, &Reason::TooLong);
    assert!(sent.load(Ordering::SeqCst) < 20 * 1024 * 1024);
}

#[tokio::test]
async fn some_lines_before_the_version_are_what_the_protocol_allows() {
    let polite = peer(async |mut stream| {
        stream
            .write_all(b"Property of nobody.\r\n\r\nSSH-2.0-polite_1 hello\r\n")
            .await
            .unwrap();
        drain(stream).await;
    });
    let [full, short] = look(polite.await).await;
    assert_eq!(
        (short.outcome, short.facts.software.as_str()),
        (Outcome::Up, "polite_1")
    );
    assert_eq!(full.outcome, Outcome::Down(Reason::TimedOut { seconds: 2 }));
}

#[tokio::test]
async fn a_host_that_goes_silent_after_the_version_is_given_up_and_let_go() {
    let gone = Arc::new(AtomicUsize::new(0));
    let counted = gone.clone();
    let hanging = peer(move |mut stream: TcpStream| {
        let gone = counted.clone();
        async move {
            stream.write_all(b"SSH-2.0-hanging\r\n").await.unwrap();
            drain(stream).await;
            gone.fetch_add(1, Ordering::SeqCst);
        }
    });
    let [full, short] = look(hanging.await).await;
    assert_eq!(full.outcome, Outcome::Down(Reason::TimedOut { seconds: 2 }));
    assert!(full.latency.is_some() && full.facts.software == "hanging");
    assert_eq!(short.outcome, Outcome::Up);
    until(|| gone.load(Ordering::SeqCst) == 2).await;
}

#[tokio::test]
async fn what_comes_after_the_version_is_no_better_than_it_should_be() {
    let closing = peer(async |mut stream| {
        stream.write_all(b"SSH-2.0-closing\r\n").await.unwrap();
        stream.read_exact(&mut [0; 200]).await.unwrap();
    });
    let [full, short] = look(closing.await).await;
    assert_eq!(
        (full.outcome, short.outcome),
        (Outcome::Down(Reason::Closed), Outcome::Up)
    );
    for junk in [&[0xff; 4096][..], &[0; 4096], b"\x00\x00\x00\x0c\x0a"] {
        let port = peer(move |mut stream: TcpStream| async move {
            let _ = stream.write_all(b"SSH-2.0-junk\r\n").await;
            flood(stream, junk).await;
        });
        let [full, _] = look(port.await).await;
        let is_told = matches!(&full.outcome, Outcome::Down(Reason::Unexpected { .. } | Reason::Closed));
        assert!(is_told, "{:?}", full.outcome);
    }
}

#[tokio::test]
async fn a_host_that_lets_in_and_then_misbehaves_is_degraded_or_given_up() {
    for (does, expected) in [
        (Does::Flood, Outcome::Degraded(Reason::TooLong)),
        (Does::Hang, Outcome::Down(Reason::TimedOut { seconds: 2 })),
    ] {
        let server = Server::start(Way::Password, does).await;
        let [full, _] = look(server.port).await;
        assert_eq!(full.outcome, expected);
        assert!(full.pin.is_some());
    }
    let server = Server::start(Way::Password, Does::Refuse).await;
    let [full, _] = look(server.port).await;
    assert!(
        matches!(full.outcome, Outcome::Degraded(Reason::NoFacts { .. })),
        "{:?}",
        full.outcome
    );
}
