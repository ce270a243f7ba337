//! How it ends when a channel is off meanwhile, or the asset is removed or paused; and many changes at once.

use std::time::Duration;

use muster::assets::monitor::Monitor;
use muster::i18n::Text;
use muster::notify::{self, Event, Message, Topic};
use mysql_async::prelude::Queryable;
use poem::http::StatusCode;

use crate::notify::{DUE, Receiver, tell, tick, webhook};
use crate::support::{TestConsole, free_port};
use crate::watch::{add, make_due, round};

async fn switch(a: &TestConsole, is_on: u8) {
    a.sql(&format!("update notice_channel set is_on = {is_on}")).await;
}

#[tokio::test]
async fn what_ended_while_a_channel_was_off_is_not_told_as_if_it_began() {
    let a = TestConsole::start().await;
    let receiver = Receiver::start().await;
    let page = webhook(&a, "hook", &receiver.url, &[]).await;
    receiver.answers("500 Oh", "", "");
    tell(&a.app, "asset/1", Event::Down, 0).await;
    tick(&a.app).await;
    assert_eq!(receiver.take().len(), 1, "tried in vain");
    switch(&a, 0).await;
    tell(&a.app, "asset/1", Event::Up, 0).await;
    receiver.answers("200 OK", "", "");
    switch(&a, 1).await;
    a.sql(DUE).await;
    tick(&a.app).await;
    assert_eq!(receiver.take().len(), 0, "it is over");
    assert_eq!(a.get(&page).await.texts("tbody .state"), ["Withdrawn"]);
    // The next one is told, and its end.
    tell(&a.app, "asset/1", Event::Down, 0).await;
    tick(&a.app).await;
    tell(&a.app, "asset/1", Event::Up, 0).await;
    tick(&a.app).await;
    assert_eq!(receiver.events(), ["down", "up"]);

    // What lasts longer than the channel is off is told when it is on again.
    receiver.answers("500 Oh", "", "");
    tell(&a.app, "asset/2", Event::Down, 0).await;
    tick(&a.app).await;
    switch(&a, 0).await;
    a.sql(DUE).await;
    tick(&a.app).await;
    receiver.answers("200 OK", "", "");
    switch(&a, 1).await;
    receiver.take();
    tick(&a.app).await;
    tell(&a.app, "asset/2", Event::Up, 0).await;
    tick(&a.app).await;
    assert_eq!(receiver.events(), ["down", "up"]);
}

/// Machines that do not answer, and are down now.
async fn down(a: &TestConsole, monitor: &Monitor, names: &[&str]) {
    for name in names {
        add(a, name, free_port()).await;
    }
    a.sql("update asset set retries = 0, state = 'new'").await;
    make_due(a).await;
    round(a, monitor).await;
}

#[tokio::test]
async fn of_a_removed_asset_those_are_told_who_were_told_that_it_is_down() {
    let a = TestConsole::start().await;
    let (one, late) = (Receiver::start().await, Receiver::start().await);
    webhook(&a, "one", &one.url, &[]).await;
    let monitor = Monitor::default();
    down(&a, &monitor, &["web", "db"]).await;
    tick(&a.app).await;
    assert_eq!(one.events(), ["down", "down"]);
    // Of the third nobody has been told, and this one of none.
    webhook(&a, "late", &late.url, &[]).await;
    down(&a, &monitor, &["cache"]).await;
    let removed = a
        .post(
            "/assets/removals",
            &[("asset", "1"), ("asset", "3"), ("back", "/assets")],
        )
        .await;
    assert_eq!(removed.status, StatusCode::SEE_OTHER, "{}", removed.text("body"));
    assert_eq!(a.count("select count(*) from asset").await, 1);
    tick(&a.app).await;
    let told = one.take();
    assert_eq!(told.len(), 1, "of the one that was told");
    let told = told[0].json();
    assert_eq!((&told["event"], &told["subject"]), (&"up".into(), &"asset/1".into()));
    assert_eq!((&told["name"], &told["group"]), (&"web".into(), &"默认".into()));
    assert_eq!(told["state"]["en"], "Removed");
    let told = late.take();
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].json()["subject"], "asset/2", "the one that is still there");
    a.get("/notices/1")
        .await
        .shows("web was removed and is not watched any more");
    assert_eq!(a.count("select count(*) from notice where state = 'waiting'").await, 0);
}

#[tokio::test]
async fn what_waits_of_a_paused_asset_is_told_and_its_end_once_it_is_looked_at_again() {
    let a = TestConsole::start().await;
    let receiver = Receiver::start().await;
    webhook(&a, "hook", &receiver.url, &[]).await;
    let monitor = Monitor::default();
    down(&a, &monitor, &["web"]).await;
    a.post("/assets/pauses", &[("asset", "1"), ("back", "/assets"), ("hours", "1")])
        .await;
    assert_eq!(
        a.count("select count(*) from asset where paused_until is not null")
            .await,
        1
    );
    tick(&a.app).await;
    assert_eq!(receiver.events(), ["down"], "it was so when somebody looked last");
    let web = crate::agents::NodeExporter::start(&[]).await;
    let address = format!("http://127.0.0.1:{}", web.port);
    a.sql(&format!(
        "update asset set address = '{address}', settings = json_set(settings, '$.address', '{address}')"
    ))
    .await;
    a.post("/assets/resumptions", &[("asset", "1"), ("back", "/assets")])
        .await;
    round(&a, &monitor).await;
    tick(&a.app).await;
    assert_eq!(receiver.events(), ["up"]);
}

/// Statements that this connection has sent to write something.
async fn writes(conn: &mut mysql_async::Conn) -> u64 {
    let sql = "show session status where variable_name in ('com_insert', 'com_insert_select', 'com_update', 'com_update_multi')";
    let counters: Vec<(String, u64)> = conn.query(sql).await.unwrap();
    counters.into_iter().map(|(_, count)| count).sum()
}

fn change(subject: &str, event: Event) -> Message<'_> {
    Message {
        subject,
        event,
        topic: match event {
            Event::Degraded => Topic::Degraded,
            _ => Topic::Asset,
        },
        name: "\"网关\\1\" 🚦",
        group_id: Some(1),
        is_folded: false,
        group: "DEFAULT",
        state: Text::new("state.offline"),
        reason: None,
        since: "2026-11-24T08:00:00".parse().unwrap(),
        path: "/assets/17",
        held: Duration::ZERO,
    }
}

#[tokio::test]
async fn many_changes_are_written_by_two_statements_and_mean_what_each_means() {
    let a = TestConsole::start().await;
    for (name, topics) in [("usual", "asset"), ("all", "degraded")] {
        let more = [("asks_topics", "1"), ("topics", "asset"), ("topics", topics)];
        webhook(&a, name, "http://127.0.0.1:9/", &more).await;
    }
    webhook(&a, "off", "http://127.0.0.1:9/", &[]).await;
    a.sql("insert into asset_group (group_id, name, name_key) values (7, 'seven', 'seven')")
        .await;
    webhook(&a, "seven", "http://127.0.0.1:9/", &[("group_id", "7")]).await;
    let mut conn = a.app.db.own_conn().await.unwrap();
    let steps = [Event::Down, Event::Degraded, Event::Down, Event::Up];
    for step in 0..4 {
        // Each fourth subject is a step ahead of the one before.
        let subjects: Vec<String> = (0..400).map(|number| format!("asset/{number}")).collect();
        let messages: Vec<Message<'_>> = subjects
            .iter()
            .enumerate()
            .map(|(number, subject)| change(subject, steps[(step + number) % 4]))
            .collect();
        let before = writes(&mut conn).await;
        notify::post_all(&mut conn, &a.app, &messages).await.unwrap();
        assert!(writes(&mut conn).await - before <= 2);
        a.sql("update notice set state = 'sent' where state = 'waiting'").await;
        if step == 0 {
            a.sql("update notice_channel set is_on = 0 where name = 'off'").await;
        }
    }
    let told = |channel: &str, number: u32| {
        let sql = format!(
            "select group_concat(concat(n.event, if(n.state = 'spared', '-', ''), if(n.body like '%\"eased\":true%', '+', '')) \
             order by n.turn separator ' ') from notice n join notice_channel c on c.channel_id = n.channel_id \
             where c.name = '{channel}' and n.subject = 'asset/{number}'"
        );
        let a = &a;
        async move {
            let told: Option<Option<String>> = a.conn().await.query_first(sql).await.unwrap();
            told.flatten().unwrap_or_default()
        }
    };
    for (number, usual, all, off) in [
        (0, "down up+ down up", "down degraded+ down up", "down up-+"),
        (1, "down up down", "degraded down up down", ""),
        (2, "down up down up+", "down up down degraded+", "down up-"),
        (3, "down up+ down", "down degraded+ down", ""),
        (399, "down up+ down", "down degraded+ down", ""),
    ] {
        let found = (
            told("usual", number).await,
            told("all", number).await,
            told("off", number).await,
        );
        assert_eq!(found, (usual.into(), all.into(), off.into()), "asset/{number}");
    }
    assert_eq!(told("seven", 0).await, "");
    let name = "select count(*) from notice where json_unquote(json_extract(body, '$.name')) = '\"网关\\\\1\" 🚦'";
    assert_eq!(a.count(name).await, a.count("select count(*) from notice").await);
}
