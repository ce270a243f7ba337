//! The queue of messages: long ones, receivers that hang, clocks that are set back.

use std::time::{Duration, Instant};

use muster::notify::{self, Event, Outbox};
use mysql_async::prelude::Queryable;

use crate::notify::{Receiver, tell, tick, webhook};
use crate::support::TestConsole;

const WAITING: &str = "select count(*) from notice where state = 'waiting'";

/// So many messages for each channel, of subjects of their own.
pub(crate) async fn queue(a: &TestConsole, count: u32, state: &str) {
    let digits = "(select 0 as d union all select 1 union all select 2 union all select 3 union all select 4 \
        union all select 5 union all select 6 union all select 7 union all select 8 union all select 9)";
    a.sql(&format!(
        "insert into notice (channel_id, subject, turn, event, body, state, last_error, created_at, due_at, ended_at) \
         select c.channel_id, concat('{state}/', n.number), 1, 'down', '{{\"name\":\"one\"}}', '{state}', '', \
         utc_timestamp(6) - interval 1 hour, utc_timestamp(6) - interval 1 hour, \
         if('{state}' = 'sent', utc_timestamp(6) - interval 1 hour, null) from notice_channel c join \
         (select a.d + 10 * b.d + 100 * c.d + 1000 * d.d + 10000 * e.d as number from {digits} a join {digits} b \
         join {digits} c join {digits} d join {digits} e) n where n.number < {count}"
    ))
    .await;
}

/// Rows that a statement reads, whatever engine runs it.
async fn reads(conn: &mut mysql_async::Conn, sql: &str) -> (Vec<mysql_async::Row>, u64) {
    let counters = "select cast(coalesce(sum(variable_value), 0) as unsigned) from information_schema.session_status \
        where variable_name like 'handler_read%'";
    let counters = match conn.query_first::<u64, _>(counters).await {
        Ok(_) => counters.to_owned(),
        Err(_) => counters.replace("information_schema", "performance_schema"),
    };
    let before: u64 = conn.query_first(&counters).await.unwrap().unwrap();
    let between: u64 = conn.query_first(&counters).await.unwrap().unwrap();
    let rows = conn.query(sql).await.unwrap();
    let after: u64 = conn.query_first(&counters).await.unwrap().unwrap();
    (rows, after - between - (between - before))
}

#[tokio::test]
async fn the_next_messages_of_a_long_queue_are_found_without_reading_it() {
    let a = TestConsole::start().await;
    let receiver = Receiver::start().await;
    for name in ["a", "b", "c", "d"] {
        webhook(&a, name, &receiver.url, &[]).await;
    }
    queue(&a, 5_000, "waiting").await;
    queue(&a, 10_000, "sent").await;
    a.sql(
        "update notice set claimed_by = repeat('d', 32), claimed_until = utc_timestamp(6) + interval 1 minute \
           where subject = 'waiting/7' or channel_id = 4 and subject = 'waiting/8'",
    )
    .await;
    a.sql("analyze table notice").await;
    let mut conn = a.conn().await;
    let (rows, read) = reads(&mut conn, &notify::channels_sql()).await;
    let channels: Vec<(u32, bool, bool)> = rows.into_iter().map(mysql_async::from_row).collect();
    assert_eq!(channels, [1, 2, 3].map(|id| (id, false, false)));
    assert!(read < 100, "{read} rows");
    let (rows, read) = reads(&mut conn, &notify::next_sql(&channels, 32)).await;
    assert_eq!(rows.len(), 3, "one of each is being sent");
    assert!(read < 200, "{read} rows");
}

#[tokio::test]
async fn more_is_sent_at_once_and_a_channel_that_hangs_delays_no_other() {
    let a = TestConsole::start().await;
    let (hanging, works) = (Receiver::start().await, Receiver::start().await);
    *hanging.answer.lock().unwrap() = None;
    webhook(&a, "hanging", &hanging.url, &[]).await;
    webhook(&a, "works", &works.url, &[]).await;
    queue(&a, 30, "waiting").await;
    let outbox = Outbox::default();
    let begun = Instant::now();
    outbox.tick(&a.app).await.unwrap();
    assert!(
        begun.elapsed() < Duration::from_secs(4),
        "it waits for nobody who hangs"
    );
    assert_eq!(works.take().len(), 30);
    assert_eq!(hanging.take().len(), 2);
    assert_eq!(a.count(WAITING).await, 30);
}

#[tokio::test]
async fn a_receiver_that_fails_is_asked_by_two_messages_and_then_left_alone() {
    let a = TestConsole::start().await;
    let receiver = Receiver::start().await;
    receiver.answers("500 Oh", "", "");
    webhook(&a, "hook", &receiver.url, &[]).await;
    queue(&a, 30, "waiting").await;
    for _ in 0..2 {
        tick(&a.app).await;
    }
    assert_eq!(receiver.take().len(), 2);
}

#[tokio::test]
async fn a_clock_that_is_set_back_holds_nothing_up() {
    let a = TestConsole::start().await;
    let receiver = Receiver::start().await;
    webhook(&a, "hook", &receiver.url, &[]).await;
    let back = "update notice set created_at = created_at + interval 1 hour, due_at = due_at + interval 1 hour, \
        claimed_until = claimed_until + interval 1 hour where state = 'waiting'";
    tell(&a.app, "asset/1", Event::Down, 0).await;
    a.sql(back).await;
    tick(&a.app).await;
    assert_eq!(receiver.events(), ["down"], "it was never tried");
    receiver.answers("500 Oh", "", "");
    tell(&a.app, "asset/1", Event::Up, 0).await;
    tick(&a.app).await;
    assert_eq!(receiver.events(), ["up"]);
    a.sql(back).await;
    receiver.answers("200 OK", "", "");
    tick(&a.app).await;
    assert_eq!(receiver.events(), ["up"], "it failed before");

    // What is kept back, is so again; what somebody sends is left for as long as that takes.
    tell(&a.app, "asset/2", Event::Down, 90).await;
    tell(&a.app, "asset/3", Event::Down, 0).await;
    a.sql(
        "update notice set claimed_by = repeat('d', 32), tries = 1, \
           claimed_until = utc_timestamp(6) + interval 60 second where subject = 'asset/3'",
    )
    .await;
    a.sql(back).await;
    tick(&a.app).await;
    assert_eq!(receiver.take().len(), 0);
    let soon = "select count(*) from notice where subject = 'asset/2' and tries = 0 and created_at <= utc_timestamp(6) \
        and due_at between utc_timestamp(6) + interval 60 second and utc_timestamp(6) + interval 90 second";
    assert_eq!(a.count(soon).await, 1);
    let held = "select count(*) from notice where subject = 'asset/3' and due_at <= utc_timestamp(6) \
        and claimed_until between utc_timestamp(6) + interval 30 second and utc_timestamp(6) + interval 60 second";
    assert_eq!(a.count(held).await, 1);
}
