//! All SQL of the table `notice`.

use std::time::Duration;

use chrono::NaiveDateTime;
use mysql_async::prelude::{FromRow, Queryable};
use mysql_async::{Conn, Params, Value, params};

use crate::i18n::Text;
use crate::notify::message::{Body, Event, Message};
use crate::notify::trouble::Trouble;

/// How long a server that sends may hold a message; longer than any sending takes.
pub const LEASE: Duration = Duration::from_secs(60);
/// Of one channel at once, by all servers together: one that hangs must not keep the others waiting.
const MOST_OF_CHANNEL: u32 = 2;

/// What each channel was told last of a subject, as a table to join; what was withdrawn before anybody was told does not
/// count, and that it is over counts also where a channel was off.
const LAST: &str = "(select m.channel_id, m.turn, n.event, \
    if(json_valid(n.body), json_unquote(json_extract(n.body, '$.topic')), '') as topic \
    from (select channel_id, max(turn) as turn, max(if(state = 'spared' and event <> 'up', 0, turn)) as told from notice \
    where subject = :subject group by channel_id) m left join notice n \
    on n.subject = :subject and n.channel_id = m.channel_id and n.turn = m.told) l";

/// Whether a channel wants to hear of `:topic`; one that says nothing of it, of what is usual.
const HEARS: &str = "coalesce(if(json_valid(c.settings), \
    json_contains(json_extract(c.settings, '$.topics'), json_quote(:topic)), null), :usual)";

/// Takes back what no server has begun to tell, when something else is true now.
pub async fn withdraw(conn: &mut impl Queryable, message: &Message<'_>) -> mysql_async::Result<()> {
    conn.exec_drop(
        "update notice set state = 'spared', ended_at = utc_timestamp(6) \
         where subject = ? and event in ('down', 'degraded') and event <> ? and state = 'waiting' and tries = 0",
        (message.subject, message.event.code()),
    )
    .await
}

/// That something is down, for every channel that is on and listens, unless it was told so last. That a key changed is told
/// also of what is down.
pub async fn post_down(conn: &mut impl Queryable, message: &Message<'_>, body: &Body) -> mysql_async::Result<()> {
    let is_news =
        "(l.event is null or l.event <> 'down' or :topic = 'host_key' and coalesce(l.topic, '') <> 'host_key')";
    post_begin(conn, "down", is_news, message, body).await
}

/// That it is degraded, for every channel that was told neither that nor that it is down.
pub async fn post_degraded(conn: &mut impl Queryable, message: &Message<'_>, body: &Body) -> mysql_async::Result<()> {
    post_begin(conn, "degraded", "(l.event is null or l.event = 'up')", message, body).await
}

async fn post_begin(
    conn: &mut impl Queryable,
    event: &str,
    is_news: &str,
    message: &Message<'_>,
    body: &Body,
) -> mysql_async::Result<()> {
    let sql = format!(
        "insert ignore into notice (channel_id, subject, turn, event, body, last_error, due_at) \
         select c.channel_id, :subject, coalesce(l.turn, 0) + 1, '{event}', :body, '', \
         utc_timestamp(6) + interval :held microsecond \
         from notice_channel c left join {LAST} on l.channel_id = c.channel_id \
         where c.is_on = 1 and (c.group_id is null and not :is_folded or c.group_id = :group_id) and {HEARS} and {is_news}"
    );
    conn.exec_drop(sql, values(message, body)).await
}

/// That it is not down any more but degraded, for every channel that was told that it is down. Those that hear of such are
/// told of its end, too.
pub async fn post_eased(conn: &mut impl Queryable, message: &Message<'_>, body: &Body) -> mysql_async::Result<()> {
    let event = format!("if(c.is_on = 1 and {HEARS}, 'degraded', 'up')");
    post_end(conn, &event, "l.event = 'down'", message, body).await
}

/// That it is up again, for every channel that was told that it was not, whatever it listens to now.
pub async fn post_up(conn: &mut impl Queryable, message: &Message<'_>, body: &Body) -> mysql_async::Result<()> {
    post_end(conn, "'up'", "l.event in ('down', 'degraded')", message, body).await
}

/// A channel that is off keeps in mind that it is over.
async fn post_end(
    conn: &mut impl Queryable,
    event: &str,
    was: &str,
    message: &Message<'_>,
    body: &Body,
) -> mysql_async::Result<()> {
    let sql = format!(
        "insert ignore into notice (channel_id, subject, turn, event, body, last_error, due_at, state, ended_at) \
         select c.channel_id, :subject, l.turn + 1, {event}, :body, '', utc_timestamp(6), \
         if(c.is_on = 1, 'waiting', 'spared'), if(c.is_on = 1, null, utc_timestamp(6)) \
         from notice_channel c join {LAST} on l.channel_id = c.channel_id where {was}"
    );
    conn.exec_drop(sql, values(message, body)).await
}

fn values(message: &Message<'_>, body: &Body) -> Params {
    let held = u64::try_from(message.held.as_micros()).unwrap_or(0);
    params! {
        "subject" => message.subject, "body" => body.json(), "held" => held, "group_id" => message.group_id,
        "is_folded" => message.is_folded,
        "topic" => message.topic.code(), "usual" => message.topic.is_usual(),
    }
}

/// What a subject was called when it was told of first; none when it was told to nobody.
pub async fn told_name(conn: &mut impl Queryable, subject: &str) -> mysql_async::Result<Option<String>> {
    let sql = "select body from notice where subject = ? order by notice_id limit 1";
    let body: Option<String> = conn.exec_first(sql, (subject,)).await?;
    Ok(body.map(|body| Body::parse(&body).name))
}

/// A test of one channel, also of one that is off.
pub async fn post_test(conn: &mut impl Queryable, channel_id: u32, body: &Body) -> mysql_async::Result<()> {
    conn.exec_drop(
        "insert ignore into notice (channel_id, subject, turn, event, body, last_error, due_at) \
         select :channel_id, 'test', coalesce(m.turn, 0) + 1, 'test', :body, '', utc_timestamp(6) \
         from (select max(turn) as turn from notice where subject = 'test' and channel_id = :channel_id) m",
        params! { "channel_id" => channel_id, "body" => body.json() },
    )
    .await
}

/// A message that this server holds, and its channel.
#[derive(Debug, Clone, FromRow)]
pub struct Claimed {
    pub notice_id: u64,
    pub channel_id: u32,
    pub channel: String,
    pub subject: String,
    pub event: String,
    pub body: String,
    pub tries: u32,
    /// Seconds since 1970.
    pub now: u64,
    pub kind: String,
    pub target: String,
    pub settings: String,
    pub secret: Option<Vec<u8>>,
}

/// What is due, the oldest first: of each subject one after the other, and of each channel a few. Of several servers one
/// gets it.
pub async fn claim(conn: &mut Conn, boot_id: &str, most: usize) -> mysql_async::Result<Vec<Claimed>> {
    let free = "(n.claimed_until is null or n.claimed_until <= utc_timestamp(6))";
    let sql = format!(
        "select notice_id from (select n.notice_id, n.due_at, \
         row_number() over (partition by n.channel_id order by n.due_at, n.notice_id) as place, \
         (select count(*) from notice b where b.channel_id = n.channel_id and b.state = 'waiting' \
         and b.claimed_until > utc_timestamp(6)) as busy \
         from notice n join notice_channel c on c.channel_id = n.channel_id \
         where n.state = 'waiting' and n.due_at <= utc_timestamp(6) and {free} and (c.is_on = 1 or n.event = 'test') \
         and not exists (select 1 from notice p where p.subject = n.subject and p.channel_id = n.channel_id \
         and p.turn < n.turn and p.state = 'waiting')) due \
         where place + busy <= {MOST_OF_CHANNEL} order by due_at, notice_id limit {most}"
    );
    let ids: Vec<u64> = conn.query(sql).await?;
    let mut claimed = Vec::new();
    for notice_id in ids {
        conn.exec_drop(
            format!(
                "update notice n set n.claimed_by = ?, n.tries = n.tries + 1, \
                 n.claimed_until = utc_timestamp(6) + interval {} second \
                 where n.notice_id = ? and n.state = 'waiting' and n.due_at <= utc_timestamp(6) and {free}",
                LEASE.as_secs()
            ),
            (boot_id, notice_id),
        )
        .await?;
        if conn.affected_rows() == 1 {
            claimed.extend(held(conn, notice_id, boot_id).await?);
        }
    }
    Ok(claimed)
}

async fn held(conn: &mut Conn, notice_id: u64, boot_id: &str) -> mysql_async::Result<Option<Claimed>> {
    conn.exec_first(
        "select n.notice_id, n.channel_id, c.name as channel, n.subject, n.event, n.body, n.tries, \
         cast(unix_timestamp() as unsigned) as now, c.kind, c.target, c.settings, c.secret \
         from notice n join notice_channel c on c.channel_id = n.channel_id \
         where n.notice_id = ? and n.claimed_by = ? and n.state = 'waiting'",
        (notice_id, boot_id),
    )
    .await
}

/// Sent. Counts only while this try is the last one.
pub async fn succeed(conn: &mut Conn, claimed: &Claimed, boot_id: &str) -> mysql_async::Result<()> {
    conn.exec_drop(
        "update notice set state = 'sent', ended_at = utc_timestamp(6), last_error = '', claimed_until = null \
         where notice_id = ? and state = 'waiting' and claimed_by = ? and tries = ?",
        (claimed.notice_id, boot_id, claimed.tries),
    )
    .await
}

/// Not sent: again after `pause`, but for a test, whose sender waits for the answer.
pub async fn fail(
    conn: &mut Conn,
    (claimed, boot_id): (&Claimed, &str),
    pause: Duration,
    trouble: &Trouble,
) -> mysql_async::Result<()> {
    conn.exec_drop(
        "update notice set state = if(event = 'test', 'failed', 'waiting'), \
         ended_at = if(event = 'test', utc_timestamp(6), null), last_error = ?, claimed_until = null, \
         due_at = utc_timestamp(6) + interval ? second \
         where notice_id = ? and state = 'waiting' and claimed_by = ? and tries = ?",
        (
            trouble.json(),
            pause.as_secs(),
            claimed.notice_id,
            boot_id,
            claimed.tries,
        ),
    )
    .await
}

/// Gives up what nobody could send for a day, with the reason of the last try.
pub async fn give_up(conn: &mut Conn) -> mysql_async::Result<()> {
    conn.exec_drop(
        "update notice set state = 'failed', ended_at = utc_timestamp(6), \
         last_error = if(last_error = '', ?, last_error) \
         where state = 'waiting' and created_at < utc_timestamp(6) - interval 1 day \
         and (claimed_until is null or claimed_until <= utc_timestamp(6))",
        (Trouble::TooLate.json(),),
    )
    .await
}

/// Drops messages older than thirty days, a thousand at most; returns how many. What was told last of something that is
/// still so stays for a year, so that its recovery is told.
pub async fn sweep(conn: &mut Conn) -> mysql_async::Result<u64> {
    let ids: Vec<u64> = conn
        .query(
            "select n.notice_id from notice n where n.state <> 'waiting' \
             and n.created_at < utc_timestamp(6) - interval 30 day and (n.event not in ('down', 'degraded') or n.state = 'spared' \
             or n.created_at < utc_timestamp(6) - interval 365 day or exists (select 1 from notice p \
             where p.subject = n.subject and p.channel_id = n.channel_id and p.turn > n.turn)) limit 1000",
        )
        .await?;
    if ids.is_empty() {
        return Ok(0);
    }
    let marks = vec!["?"; ids.len()].join(", ");
    let ids: Vec<Value> = ids.into_iter().map(Value::from).collect();
    let sql = format!("delete from notice where notice_id in ({marks})");
    conn.exec_drop(sql, Params::Positional(ids)).await?;
    Ok(conn.affected_rows())
}

/// A message as the page of its channel shows it.
#[derive(Debug, Clone, FromRow)]
pub struct Row {
    pub notice_id: u64,
    event: String,
    body: String,
    state: String,
    pub tries: u32,
    last_error: String,
    created_at: NaiveDateTime,
    pub ended_at: Option<NaiveDateTime>,
    due_at: NaiveDateTime,
    is_claimed: bool,
}

/// The fifty newest of a channel.
pub async fn of(conn: &mut Conn, channel_id: u32) -> mysql_async::Result<Vec<Row>> {
    conn.exec(
        "select notice_id, event, body, state, tries, last_error, created_at, ended_at, due_at, \
         coalesce(claimed_until > utc_timestamp(6), 0) as is_claimed from notice where channel_id = ? \
         order by notice_id desc limit 50",
        (channel_id,),
    )
    .await
}

impl Row {
    pub fn title(&self) -> Text {
        Body::parse(&self.body).title(Event::parse(&self.event).unwrap_or(Event::Test))
    }

    pub fn state_name(&self) -> Text {
        Text::new(match (self.state.as_str(), self.is_claimed) {
            ("sent", _) => "notify.sent",
            ("failed", _) => "notify.failed",
            ("spared", _) => "notify.spared",
            (_, true) => "notify.sending",
            (_, false) => "notify.waiting",
        })
    }

    pub fn colour(&self) -> &'static str {
        match self.state.as_str() {
            "sent" => "green",
            "failed" => "red",
            "waiting" if !self.last_error.is_empty() => "orange",
            _ => "secondary",
        }
    }

    pub fn trouble(&self) -> Option<Text> {
        Trouble::parse(&self.last_error).map(|trouble| trouble.text())
    }

    pub fn created(&self) -> Option<NaiveDateTime> {
        Some(self.created_at)
    }

    /// When it will be tried again.
    pub fn next(&self) -> Option<NaiveDateTime> {
        (self.state == "waiting" && !self.is_claimed).then_some(self.due_at)
    }
}
