//! What happens to a server itself: killed, stopped, frozen, with a wrong clock, without space.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use muster::serve::allow_open_files;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::checker::LIMIT;
use crate::history::Turn;
use crate::world::{Start, World};

pub(crate) async fn killed() -> Vec<String> {
    let mut world = World::start(3).await;
    world.wait(12).await;
    world.kill(0);
    world.wait(LIMIT.as_secs() + 5).await;
    world.start_again(0).await;
    world.wait(15).await;
    world.judge().await
}

pub(crate) async fn ended() -> Vec<String> {
    let mut world = World::start(3).await;
    world.wait(12).await;
    for server in [0, 1] {
        world.end(server).await;
        world.wait(10).await;
        world.start_again(server).await;
        world.wait(15).await;
    }
    world.judge().await
}

async fn frozen_for(seconds: u64) -> Vec<String> {
    let world = World::start(3).await;
    world.wait(12).await;
    world.freeze(0);
    world.wait(seconds).await;
    world.wake(0);
    world.wait(20).await;
    world.judge().await
}

pub(crate) async fn frozen_for_half_the_limit() -> Vec<String> {
    frozen_for(LIMIT.as_secs() / 2).await
}

pub(crate) async fn frozen_for_the_limit() -> Vec<String> {
    frozen_for(LIMIT.as_secs()).await
}

pub(crate) async fn frozen_for_twice_the_limit() -> Vec<String> {
    frozen_for(2 * LIMIT.as_secs()).await
}

pub(crate) async fn frozen_for_four_limits() -> Vec<String> {
    frozen_for(4 * LIMIT.as_secs()).await
}

/// The library that shows programs another time.
pub(crate) fn faketime() -> PathBuf {
    let libs = std::fs::read_dir("/usr/lib").unwrap().flatten();
    let mut paths = libs.map(|entry| entry.path().join("faketime/libfaketimeMT.so.1"));
    paths.find(|path| path.exists()).expect("libfaketime is installed")
}

/// Of three servers one is an hour behind and one an hour ahead.
pub(crate) async fn clocks_an_hour_apart() -> Vec<String> {
    let library = faketime();
    let start = |shift: &str| {
        let preload = format!("LD_PRELOAD={}", library.display());
        let shift = format!("FAKETIME={shift}");
        let words = ["env", "FAKETIME_DONT_FAKE_MONOTONIC=1", &preload, &shift];
        Start {
            wrapper: words.map(str::to_owned).into(),
            ..Start::default()
        }
    };
    let shared = crate::support::TestDatabase::new().await.database;
    let mut world = World::on(&shared, vec![start("-1h"), start("+1h"), Start::default()]).await;
    world.wait(20).await;
    world.kill(0);
    world.wait(LIMIT.as_secs() + 5).await;
    world.start_again(0).await;
    world.wait(15).await;
    world.judge().await
}

/// A data directory on a disk that fills up.
pub(crate) async fn disk_full() -> Vec<String> {
    let mut world = World::start(3).await;
    world.wait(10).await;
    world.end(0).await;
    // A namespace of its own has a small disk at the data directory, which is full at first, has some space from the second
    // start on, and is full again a while later.
    let data = world.servers[0].data.path().display().to_string();
    let fill = "head -c 1000000 /dev/zero > \"$0\"/filler 2>/dev/null";
    let script = |then: &str| {
        format!(
            "set -e; keep=$(mktemp -d); cp \"$0\"/INSTALL.json \"$0\"/application.yml $keep; \
             mount -t tmpfs -o size=96k muster \"$0\"; cp $keep/* \"$0\"; rm -r $keep; {then} exec \"$@\""
        )
    };
    let start = |world: &mut World, then: &str| {
        let script = script(then);
        let words = [
            "unshare",
            "--user",
            "--map-root-user",
            "--mount",
            "sh",
            "-c",
            &script,
            &data,
        ];
        world.servers[0].wrapper = words.map(str::to_owned).into();
        world.servers[0].start();
    };
    start(&mut world, &format!("{fill} || true;"));
    let end = Instant::now() + LIMIT;
    while world.servers[0].runs() && Instant::now() < end {
        world.wait(1).await;
    }
    let said = world.servers[0].said();
    let mut wrong = Vec::new();
    if world.servers[0].runs() || !said.contains("cannot be written: No space left on device") {
        wrong.push(format!("a start without space is not refused with the reason: {said}"));
    }
    start(&mut world, &format!("(sleep 8; {fill}) & "));
    world.done(0, Turn::Open);
    world.servers[0].ready().await;
    world.done(0, Turn::Well);
    world.wait(35).await;
    if world.servers[0].written().contains("panicked") || !world.servers[0].runs() {
        wrong.push("a full disk has ended the server".to_owned());
    }
    wrong.extend(world.judge().await);
    wrong
}

/// Two thousand clients that send a letter of their request now and then, and never the whole of it: of the head, or of a
/// body.
pub(crate) async fn slow_clients() -> Vec<String> {
    allow_open_files();
    let world = World::start(3).await;
    world.wait(10).await;
    let port = world.servers[0].port;
    let mut clients = JoinSet::new();
    for number in 0..2000 {
        clients.spawn(async move { slow_client(port, number % 2 == 1).await.ok() });
    }
    let held: Vec<Option<Duration>> = clients.join_all().await;
    let mut wrong = Vec::new();
    let (came, longest) = (held.iter().flatten().count(), held.iter().flatten().max());
    println!("{came} slow clients were let go after {longest:?} at most");
    if came < 2000 || longest.is_none_or(|longest| *longest > Duration::from_secs(40)) {
        wrong.push(format!("{came} slow clients were held for {longest:?}"));
    }
    world.wait(15).await;
    wrong.extend(world.judge().await);
    wrong
}

/// How long one is listened to.
async fn slow_client(port: u16, has_head: bool) -> std::io::Result<Duration> {
    let began = Instant::now();
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    let start: &[u8] = match has_head {
        true => {
            b"POST /sign-in HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\n\
                  Content-Length: 60000\r\n\r\n"
        }
        false => b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: ",
    };
    stream.write_all(start).await?;
    while stream.write_all(b"a").await.is_ok() && began.elapsed() < Duration::from_secs(60) {
        sleep(Duration::from_secs(1)).await;
    }
    Ok(began.elapsed())
}
