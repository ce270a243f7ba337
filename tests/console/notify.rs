//! Telling people by webhook: channels, pairs of messages, and sending exactly once.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use muster::app::App;
use muster::i18n::Text;
use muster::notify::{self, Event, Message, Outbox, Topic};
use muster::seal::Key;
use muster::tasks;
use poem::http::StatusCode;
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::support::TestConsole;

/// One request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Got {
    head: String,
    body: String,
}

impl Got {
    fn header(&self, name: &str) -> String {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        let found = lines.find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map_or_else(String::new, |(_, value)| value.to_owned())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

/// A receiver on loopback; it answers each request with the status and body it is told to, or never.
pub(crate) struct Receiver {
    pub(crate) url: String,
    got: Arc<Mutex<Vec<Got>>>,
    pub(crate) answer: Arc<Mutex<Option<String>>>,
}

impl Receiver {
    pub(crate) async fn start() -> Receiver {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let receiver = Receiver {
            url: format!("http://{}/hook?token=geheim77", listener.local_addr().unwrap()),
            got: Arc::default(),
            answer: Arc::new(Mutex::new(Some(http("200 OK", "", "{}")))),
        };
        let (got, answer) = (receiver.got.clone(), receiver.answer.clone());
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let (got, answer) = (got.clone(), answer.clone());
                tokio::spawn(async move {
                    let request = whole(&mut stream).await;
                    let told = answer.lock().unwrap().clone();
                    // Only what is answered well counts as taken.
                    got.lock().unwrap().push(request);
                    match told {
                        Some(told) => drop(stream.write_all(told.as_bytes()).await),
                        None => std::future::pending().await,
                    }
                });
            }
        });
        receiver
    }

    pub(crate) fn answers(&self, status: &str, more: &str, body: &str) {
        *self.answer.lock().unwrap() = Some(http(status, more, body));
    }

    pub(crate) fn take(&self) -> Vec<Got> {
        std::mem::take(&mut self.got.lock().unwrap())
    }

    /// What was told, in order.
    pub(crate) fn events(&self) -> Vec<String> {
        let told = |got: Got| got.json()["event"].as_str().unwrap().to_owned();
        self.take().into_iter().map(told).collect()
    }
}

async fn whole(stream: &mut tokio::net::TcpStream) -> Got {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.to_lowercase();
            let length = length
                .split("content-length: ")
                .nth(1)
                .and_then(|rest| rest.lines().next());
            if body.len() >= length.unwrap_or("0").parse().unwrap() {
                return Got {
                    head: head.to_owned(),
                    body: body.to_owned(),
                };
            }
        }
        assert!(stream.read_buf(&mut bytes).await.unwrap() > 0, "half a request");
    }
}

fn http(status: &str, more: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\n{more}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}")
}

/// Something happened to an asset, in a transaction of its own.
pub(crate) async fn tell(app: &App, subject: &str, event: Event, held: u64) {
    let message = Message {
        subject,
        event,
        topic: Topic::Asset,
        name: "网关-1",
        group_id: Some(1),
        is_folded: false,
        group: "DEFAULT",
        state: Text::new(if event == Event::Up {
            "state.online"
        } else {
            "state.offline"
        }),
        reason: (event == Event::Down).then(|| Text::new("reason.refused")),
        since: "2026-11-24T08:00:00".parse().unwrap(),
        path: "/assets/17",
        held: Duration::from_secs(held),
    };
    let mut conn = app.db.own_conn().await.unwrap();
    let mut tx = conn.start_transaction(mysql_async::TxOpts::default()).await.unwrap();
    notify::post(&mut tx, app, &message).await.unwrap();
    tx.commit().await.unwrap();
}

/// The pauses after what failed are over.
pub(crate) const DUE: &str =
    "update notice set due_at = utc_timestamp(6), claimed_until = null where state = 'waiting'";

/// One step of the loop, and all that it began.
pub(crate) async fn tick(app: &App) {
    let outbox = Outbox::default();
    outbox.tick(app).await.unwrap();
    outbox.settled().await;
}

/// A webhook that is on, for all groups; its page.
pub(crate) async fn webhook(a: &TestConsole, name: &str, url: &str, more: &[(&str, &str)]) -> String {
    let fields = [("name", name), ("url", url), ("is_on", "1")];
    let page = a.post("/notices", &[&fields, more].concat()).await;
    assert_eq!(page.status, StatusCode::SEE_OTHER, "{}", page.text("body"));
    page.header("location").to_owned()
}

/// RFC 2104, by hand.
fn hmac(key: &str, message: &str) -> Vec<u8> {
    let mut block = key.as_bytes().to_vec();
    block.resize(64, 0);
    let xored = |with: u8| block.iter().map(|byte| byte ^ with).collect::<Vec<u8>>();
    let inner = Sha256::digest([xored(0x36), message.as_bytes().to_vec()].concat());
    Sha256::digest([xored(0x5c), inner.to_vec()].concat()).to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test]
async fn a_webhook_is_signed_and_told_once_of_an_outage_and_once_of_its_end() {
    let a = TestConsole::start().await;
    a.set("address = 'https://muster.example/base'").await;
    let receiver = Receiver::start().await;
    let page = webhook(&a, "值班", &receiver.url, &[("key", "sign-key-1")]).await;
    tell(&a.app, "asset/17", Event::Down, 0).await;
    tell(&a.app, "asset/17", Event::Down, 0).await;
    tick(&a.app).await;
    tick(&a.app).await;
    let got = receiver.take();
    assert_eq!(got.len(), 1);
    let (got, told) = (&got[0], got[0].json());
    assert!(
        got.head.starts_with("POST /hook?token=geheim77 HTTP/1.1"),
        "{}",
        got.head
    );
    let timestamp = got.header("Muster-Timestamp");
    let expected = hex(&hmac("sign-key-1", &format!("{timestamp}.{}", got.body)));
    assert_eq!(got.header("Muster-Signature"), format!("v1={expected}"));
    let now = a.count("select cast(unix_timestamp() as unsigned)").await;
    assert!(now - timestamp.parse::<u64>().unwrap() < 60);
    assert!(got.header("User-Agent").starts_with("muster/"));
    assert_eq!((&told["event"], &told["subject"]), (&"down".into(), &"asset/17".into()));
    assert_eq!((&told["name"], &told["group"]), (&"网关-1".into(), &"DEFAULT".into()));
    assert_eq!(told["since"], "2026-11-24T08:00:00Z");
    assert_eq!(told["cluster"], a.app.name());
    assert_eq!(told["link"], "https://muster.example/base/assets/17");
    let (zh, en) = (&told["reason"]["zh-CN"], &told["reason"]["en"]);
    assert!(zh.as_str().unwrap().contains("连接被拒绝") && en.as_str().unwrap().contains("Connection refused"));

    tell(&a.app, "asset/17", Event::Up, 0).await;
    tell(&a.app, "asset/17", Event::Up, 0).await;
    tick(&a.app).await;
    tick(&a.app).await;
    assert_eq!(receiver.events(), ["up"]);
    let page = a.get(&page).await;
    assert_eq!(page.texts("tbody .state"), ["Sent", "Sent"]);
    page.shows("网关-1 is up again");
}

#[tokio::test]
async fn what_fails_is_tried_again_later_and_given_up_after_a_day() {
    let a = TestConsole::start().await;
    let receiver = Receiver::start().await;
    let page = webhook(&a, "hook", &receiver.url, &[]).await;
    receiver.answers("500 Oh", "", "");
    tell(&a.app, "asset/1", Event::Down, 0).await;
    tick(&a.app).await;
    tick(&a.app).await;
    assert_eq!(receiver.take().len(), 1, "not before it is due");
    let pause =
        "select cast(round(timestampdiff(microsecond, utc_timestamp(6), due_at) / 1e6) as unsigned) from notice";
    for (tries, seconds) in [(1, 5), (2, 30), (3, 120), (4, 600), (5, 3600), (6, 3600)] {
        assert_eq!(a.count("select tries from notice").await, tries);
        let waits = a.count(pause).await;
        assert!((seconds - 4..=seconds).contains(&waits), "{tries}: {waits}");
        a.sql(DUE).await;
        tick(&a.app).await;
    }
    a.get("/notices").await.shows("Sending fails");
    a.get(&page).await.shows("The answer has HTTP status 500");
    // Its recovery waits for it, so that nobody is told the end before the beginning.
    tell(&a.app, "asset/1", Event::Up, 0).await;
    receiver.take();
    tick(&a.app).await;
    assert_eq!(receiver.take().len(), 0);
    receiver.answers("200 OK", "", "");
    a.sql(DUE).await;
    tick(&a.app).await;
    tick(&a.app).await;
    assert_eq!(receiver.events(), ["down", "up"]);
    assert_eq!(a.get("/notices").await.count(".state-red"), 0);

    receiver.answers("503 No", "", "");
    tell(&a.app, "asset/2", Event::Down, 0).await;
    tick(&a.app).await;
    a.sql("update notice set created_at = created_at - interval 25 hour where state = 'waiting'")
        .await;
    tick(&a.app).await;
    let shown = a.get(&page).await;
    assert_eq!(shown.texts("tbody .state-red"), ["Failed"]);
    shown.shows("The answer has HTTP status 503");
    receiver.take();
    a.sql(DUE).await;
    tick(&a.app).await;
    assert_eq!(receiver.take().len(), 0);
}

/// Two servers with one master key.
pub(crate) async fn two() -> (TestConsole, TestConsole) {
    let a = TestConsole::start().await;
    let b = TestConsole::beside(&a).await;
    a.app.seal.add(&Key::random().unwrap()).unwrap();
    std::fs::copy(a.app.seal.path(), b.app.seal.path()).unwrap();
    tasks::keys(&a.app).await.unwrap();
    tasks::keys(&b.app).await.unwrap();
    (a, b)
}

#[tokio::test]
async fn of_several_servers_one_sends() {
    let (a, b) = two().await;
    let (one, two) = (Receiver::start().await, Receiver::start().await);
    webhook(&a, "one", &one.url, &[]).await;
    webhook(&a, "two", &two.url, &[]).await;
    for number in 0..20 {
        tell(&a.app, &format!("asset/{number}"), Event::Down, 0).await;
    }
    let waiting = "select count(*) from notice where state = 'waiting'";
    while a.count(waiting).await > 0 {
        tokio::join!(tick(&a.app), tick(&b.app), tick(&b.app), tick(&a.app));
    }
    for receiver in [&one, &two] {
        let mut subjects: Vec<String> = receiver
            .take()
            .iter()
            .map(|got| got.json()["subject"].to_string())
            .collect();
        assert_eq!(subjects.len(), 20);
        subjects.sort();
        subjects.dedup();
        assert_eq!(subjects.len(), 20);
    }
    assert_eq!(a.count("select max(tries) from notice").await, 1);
}

#[tokio::test]
async fn what_a_dead_server_held_is_sent_by_another_once_its_time_is_over() {
    let (a, b) = two().await;
    let receiver = Receiver::start().await;
    webhook(&a, "hook", &receiver.url, &[]).await;
    tell(&a.app, "asset/1", Event::Down, 0).await;
    let hold = "update notice set claimed_by = repeat('d', 32), tries = 1, claimed_until = utc_timestamp(6) + interval";
    a.sql(&format!("{hold} 60 second")).await;
    tick(&b.app).await;
    assert_eq!(receiver.take().len(), 0);
    // Nobody knows whether it was sent, so its end is told.
    tell(&a.app, "asset/1", Event::Up, 0).await;
    a.sql(&format!("{hold} -1 second where event = 'down'")).await;
    tick(&b.app).await;
    tick(&b.app).await;
    assert_eq!(receiver.events(), ["down", "up"]);
}

#[tokio::test]
async fn nobody_is_told_of_what_was_over_before_anybody_was_told() {
    let a = TestConsole::start().await;
    let receiver = Receiver::start().await;
    let page = webhook(&a, "hook", &receiver.url, &[]).await;
    tell(&a.app, "asset/1", Event::Up, 0).await;
    tell(&a.app, "asset/1", Event::Down, 90).await;
    tick(&a.app).await;
    tell(&a.app, "asset/1", Event::Up, 0).await;
    tick(&a.app).await;
    assert_eq!(receiver.take().len(), 0);
    assert_eq!(a.get(&page).await.texts("tbody .state"), ["Withdrawn"]);
    // The next outage is a new one.
    tell(&a.app, "asset/1", Event::Down, 90).await;
    a.sql("update notice set due_at = utc_timestamp(6)").await;
    tick(&a.app).await;
    assert_eq!(receiver.events(), ["down"]);

    // Off while it came up again: nothing is sent, and the next outage is told.
    let id = page.rsplit('/').next().unwrap();
    a.sql(&format!("update notice_channel set is_on = 0 where channel_id = {id}"))
        .await;
    tell(&a.app, "asset/1", Event::Up, 0).await;
    tell(&a.app, "asset/2", Event::Down, 0).await;
    tick(&a.app).await;
    a.sql(&format!("update notice_channel set is_on = 1 where channel_id = {id}"))
        .await;
    tick(&a.app).await;
    assert_eq!(receiver.take().len(), 0);
    tell(&a.app, "asset/1", Event::Down, 0).await;
    tick(&a.app).await;
    assert_eq!(receiver.events(), ["down"]);
    // Two at the same moment are one.
    tokio::join!(
        tell(&a.app, "asset/3", Event::Down, 0),
        tell(&a.app, "asset/3", Event::Down, 0)
    );
    assert_eq!(
        a.count("select count(*) from notice where subject = 'asset/3'").await,
        1
    );
}

#[tokio::test]
async fn old_messages_go_but_not_the_last_of_what_is_still_down() {
    let a = TestConsole::start().await;
    let receiver = Receiver::start().await;
    webhook(&a, "hook", &receiver.url, &[]).await;
    for (subject, event) in [("one", Event::Down), ("one", Event::Up), ("two", Event::Down)] {
        tell(&a.app, subject, event, 0).await;
        tick(&a.app).await;
    }
    a.sql("update notice set created_at = created_at - interval 31 day")
        .await;
    assert_eq!(notify::sweep(&mut a.conn().await).await.unwrap(), 2);
    assert_eq!(notify::sweep(&mut a.conn().await).await.unwrap(), 0);
    tell(&a.app, "two", Event::Up, 0).await;
    tick(&a.app).await;
    assert_eq!(receiver.events(), ["down", "up", "down", "up"]);
}

#[tokio::test]
async fn a_receiver_that_redirects_hangs_or_lies_where_nothing_may_be_is_told_apart() {
    let a = TestConsole::start().await;
    let (hook, other) = (Receiver::start().await, Receiver::start().await);
    let page = webhook(&a, "hook", &hook.url, &[]).await;
    hook.answers("307 Elsewhere", &format!("Location: {}\r\n", other.url), "");
    let sent = a.post(&format!("{page}/test"), &[]).await;
    assert_eq!(sent.status, StatusCode::SEE_OTHER, "{}", sent.text("body"));
    tick(&a.app).await;
    a.get(&page).await.shows("The answer has HTTP status 307");
    assert_eq!((hook.events(), other.take().len()), (vec!["test".to_owned()], 0));
    // What an administrator wrote into the database by hand is judged, too.
    for (url, shown) in [
        (
            "http://169.254.169.254/latest",
            "The address leads to where nobody may be told",
        ),
        ("http://no-such-name.invalid/", "No way there"),
    ] {
        let page = a.post("/notices", &[("name", url), ("url", url), ("is_on", "1")]).await;
        match page.status {
            StatusCode::UNPROCESSABLE_ENTITY => page.shows(shown),
            _ => {
                let page = page.header("location").to_owned();
                let sent = a.post(&format!("{page}/test"), &[]).await;
                assert_eq!(sent.status, StatusCode::SEE_OTHER, "{}", sent.text("body"));
                tick(&a.app).await;
                a.get(&page).await.shows(shown);
            }
        }
    }
    *hook.answer.lock().unwrap() = None;
    let sent = a.post(&format!("{page}/test"), &[]).await;
    assert_eq!(sent.status, StatusCode::SEE_OTHER, "{}", sent.text("body"));
    let begun = std::time::Instant::now();
    tick(&a.app).await;
    assert!(begun.elapsed() < Duration::from_secs(14));
    a.get(&page).await.shows("Not done within 10 s");
}

#[tokio::test]
async fn robots_get_the_text_they_understand() {
    let a = TestConsole::start().await;
    let hook = Receiver::start().await;
    let page = webhook(&a, "hook", &hook.url, &[("format", "ding_talk"), ("key", "SEC1")]).await;
    hook.answers("200 OK", "", r#"{"errcode":0,"errmsg":"ok"}"#);
    let next = |format: &'static str, key: &'static str| {
        let (a, page) = (&a, &page);
        async move {
            let version = a.count("select row_version from notice_channel").await.to_string();
            let fields = [
                ("name", "hook"),
                ("format", format),
                ("key", key),
                ("row_version", &version),
                ("is_on", "1"),
            ];
            assert_eq!(a.post(page, &fields).await.status, StatusCode::SEE_OTHER, "{format}");
        }
    };
    let tested = || async {
        let sent = a.post(&format!("{page}/test"), &[]).await;
        assert_eq!(sent.status, StatusCode::SEE_OTHER, "{}", sent.text("body"));
        tick(&a.app).await;
        hook.take().remove(0)
    };
    let got = tested().await;
    let address = format!("http://x{}", got.head.split(' ').nth(1).unwrap());
    let query: std::collections::HashMap<String, String> =
        url::Url::parse(&address).unwrap().query_pairs().into_owned().collect();
    let expected = base64(&hmac("SEC1", &format!("{}\nSEC1", query["timestamp"])));
    assert_eq!((query["token"].as_str(), &query["sign"]), ("geheim77", &expected));
    assert_eq!(got.json()["msgtype"], "text");
    assert!(
        got.json()["text"]["content"]
            .as_str()
            .unwrap()
            .starts_with("测试消息：hook\n")
    );
    hook.answers("200 OK", "", r#"{"errcode":310000,"errmsg":"sign not match geheim77"}"#);
    tested().await;
    let shown = a.get(&page).await;
    shown.shows("The other side refused it: •••");

    next("we_com", "").await;
    hook.answers("200 OK", "", r#"{"errcode":93000,"errmsg":"invalid webhook url"}"#);
    assert_eq!(tested().await.json()["msgtype"], "text");
    a.get(&page).await.shows("93000 invalid webhook url");
    next("feishu", "SEC2").await;
    hook.answers("200 OK", "", r#"{"code":0,"msg":"success"}"#);
    let got = tested().await.json();
    let timestamp = got["timestamp"].as_str().unwrap();
    assert_eq!(got["sign"], base64(&hmac(&format!("{timestamp}\nSEC2"), "")));
    assert!(got["content"]["text"].as_str().unwrap().contains("hook"));
    next("slack", "").await;
    hook.answers("200 OK", "", "ok");
    assert!(tested().await.json()["text"].as_str().unwrap().contains("hook"));
    assert_eq!(a.get(&page).await.texts("tbody .state").first().unwrap(), "Sent");
}

/// RFC 4648, by hand.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let group = |chunk: &[u8]| {
        let number = chunk.iter().fold(0_u32, |sum, byte| sum << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        let digit = |place: usize| char::from(DIGITS[(number >> (18 - 6 * place)) as usize & 63]);
        (0..4)
            .map(|place| if place <= chunk.len() { digit(place) } else { '=' })
            .collect::<String>()
    };
    bytes.chunks(3).map(group).collect()
}
