//! Chat robots: what they can bear, and whom they call.

use muster::app::App;
use muster::i18n::Text;
use muster::notify::{self, Event, Message, Topic};
use std::time::Duration;

use crate::notify::{DUE, Receiver, tick, webhook};
use crate::notify_queue::queue;
use crate::support::TestConsole;

#[tokio::test]
async fn a_receiver_that_has_had_enough_is_left_alone_for_as_long_as_it_wants() {
    let a = TestConsole::start().await;
    let hook = Receiver::start().await;
    let page = webhook(&a, "hook", &hook.url, &[("format", "ding_talk")]).await;
    let rest = "select cast(max(timestampdiff(second, utc_timestamp(6), claimed_until)) as unsigned) from notice";
    for (status, more, body, seconds) in [
        ("200 OK", "", r#"{"errcode":130101,"errmsg":"send too fast"}"#, 60),
        ("429 Slow", "Retry-After: 120\r\n", "", 120),
        ("429 Slow", "Retry-After: 99999999999999999999999\r\n", "", 60),
        ("429 Slow", "Retry-After: 86400\r\n", "", 600),
        ("503 Busy", "Retry-After: 30\r\n", "", 30),
    ] {
        a.sql("delete from notice").await;
        queue(&a, 30, "waiting").await;
        hook.answers(status, more, body);
        for _ in 0..3 {
            tick(&a.app).await;
        }
        let asked = hook.take().len();
        assert!(asked <= 2, "{body}{more}: {asked}");
        let rests = a.count(rest).await;
        assert!((seconds - 10..=seconds).contains(&rests), "{more}: {rests}");
        a.get(&page).await.shows(&format!("is left alone for {seconds} s"));
    }
    // Who asks for a test wants to know.
    a.post(&format!("{page}/test"), &[]).await;
    hook.answers("200 OK", "", r#"{"errcode":0}"#);
    tick(&a.app).await;
    assert_eq!(hook.take().len(), 1);
    a.sql(DUE).await;
    tick(&a.app).await;
    assert!(hook.take().len() > 2, "it goes on");
}

#[tokio::test]
async fn a_robot_gets_no_more_than_it_takes_within_a_minute() {
    let a = TestConsole::start().await;
    let hook = Receiver::start().await;
    hook.answers("200 OK", "", r#"{"errcode":0}"#);
    webhook(&a, "hook", &hook.url, &[("format", "we_com")]).await;
    queue(&a, 30, "waiting").await;
    for _ in 0..3 {
        tick(&a.app).await;
    }
    let sent = hook.take().len();
    assert!((19..=20).contains(&sent), "{sent}");
    a.sql("update notice set due_at = due_at - interval 1 minute where state = 'sent'")
        .await;
    tick(&a.app).await;
    assert_eq!(hook.take().len(), 30 - sent);
}

/// It is down, and calls itself so.
async fn tell_of(app: &App, subject: &str, name: &str) {
    let message = Message {
        subject,
        event: Event::Down,
        topic: Topic::Asset,
        name,
        group_id: Some(1),
        is_folded: false,
        group: "DEFAULT",
        state: Text::new("state.offline"),
        reason: None,
        since: "2026-11-24T08:00:00".parse().unwrap(),
        path: "/assets/17",
        held: Duration::ZERO,
    };
    notify::post(&mut app.db.own_conn().await.unwrap(), app, &message)
        .await
        .unwrap();
}

#[tokio::test]
async fn nobody_is_called_by_what_a_peer_says() {
    let a = TestConsole::start().await;
    let name = "web <at user_id=\"all\">all</at> <@all> <!channel> &lt;at>";
    for format in ["feishu", "we_com", "ding_talk", "slack"] {
        let hook = Receiver::start().await;
        hook.answers("200 OK", "", r#"{"errcode":0,"code":0}"#);
        a.sql("delete from notice_channel").await;
        webhook(&a, "hook", &hook.url, &[("format", format)]).await;
        tell_of(&a.app, format, name).await;
        tick(&a.app).await;
        let told = hook.take().remove(0).json();
        let text = match format {
            "feishu" => &told["content"]["text"],
            "slack" => &told["text"],
            _ => &told["text"]["content"],
        };
        let text = text.as_str().unwrap();
        assert!(text.contains("web ") && text.contains("channel"), "{text}");
        match format {
            // It calls those alone whom a field names.
            "ding_talk" => assert!(told.get("at").is_none() && text.contains(name), "{told}"),
            _ => assert!(!text.contains('<'), "{format}: {text}"),
        }
        assert!(told["text"].get("mentioned_list").is_none());
    }
}
