//! SQL of the table `notice`: writing messages, showing them, dropping them.

use chrono::NaiveDateTime;
use mysql_async::prelude::{FromRow, Queryable};
use mysql_async::{Conn, Params, Value, params};
use serde::Serialize;

use crate::i18n::Text;
use crate::notify::message::{Body, Event, Message};
use crate::notify::trouble::Trouble;

/// The messages of one post as a table `r` to join; each is of another subject.
const TOLD: &str = "json_table(:told, '$[*]' columns (place for ordinality, subject varchar(100) path '$.subject', event varchar(10) path '$.event', \
    topic varchar(20) path '$.topic', usual int unsigned path '$.usual', group_id int unsigned path '$.group_id', \
    folded int unsigned path '$.folded', held bigint unsigned path '$.held', body text path '$.body', \
    eased text path '$.eased')) r";

/// The subject of such a message, as the key knows it.
const SUBJECT: &str = "cast(r.subject as char(100) character set ascii)";

/// What each channel was told last of a subject, by the subject's place among the messages; what was withdrawn before anybody
/// was told does not count, and that it is over counts also where a channel was off.
const LAST: &str = "(select m.place, m.channel_id, m.turn, n.event, \
    if(json_valid(n.body), json_unquote(json_extract(n.body, '$.topic')), '') as topic \
    from (select r.place, h.subject, h.channel_id, max(h.turn) as turn, \
    max(if(h.state = 'spared' and h.event <> 'up', 0, h.turn)) as told \
    from json_table(:subjects, '$[*]' columns (place for ordinality, subject varchar(100) path '$')) r \
    straight_join notice h force index (notice_turn) \
    on h.subject = cast(r.subject as char(100) character set ascii) \
    group by r.place, h.subject, h.channel_id) m \
    left join notice n force index (notice_turn) on n.subject = m.subject and n.channel_id = m.channel_id and n.turn = m.told)";

/// Whether a channel wants to hear of what the message is about; one that says nothing of it, of what is usual.
const HEARS: &str = "coalesce(if(json_valid(c.settings), \
    json_contains(json_extract(c.settings, '$.topics'), json_quote(r.topic)), null), r.usual)";

/// Whether it is the end of what a channel was told: that it is up, or that it is degraded and no longer down.
const IS_END: &str = "(r.event = 'up' or r.event = 'degraded' and coalesce(l.event, '') = 'down')";

/// One message as the statements read it.
#[derive(Debug, Serialize)]
struct Told<'a> {
    subject: &'a str,
    event: &'static str,
    topic: &'static str,
    /// 1 for what one hears of who has not chosen.
    usual: u8,
    group_id: Option<u32>,
    /// 1 when channels for all hear of it by another message.
    folded: u8,
    /// Microseconds.
    held: u64,
    /// JSON in a text, as is the other.
    body: String,
    /// Of what is degraded: what those are told who were told that it is down.
    eased: Option<String>,
}

impl<'a> Told<'a> {
    fn of((message, body): &'a (&Message<'_>, Body)) -> Told<'a> {
        Told {
            subject: message.subject,
            event: message.event.code(),
            topic: message.topic.code(),
            usual: u8::from(message.topic.is_usual()),
            group_id: message.group_id,
            folded: u8::from(message.is_folded),
            held: u64::try_from(message.held.as_micros()).unwrap_or(0),
            body: body.json(),
            eased: (message.event == Event::Degraded).then(|| body.eased().json()),
        }
    }
}

/// Writes what each channel is to be told, by two statements for however many messages. First what no server has begun to tell
/// is taken back when something else is true now, and of a channel that is off also what was tried in vain. Then:
///
/// - That something is down is for every channel that is on and listens, unless it was told so last. That a key changed is told
///   also of what is down.
/// - That it is degraded is for those who were told neither that nor that it is down. To those who were told that it is down it
///   is the end of that, whatever they listen to; who does not hear of what is degraded takes it for up.
/// - That it is up is for every channel that was told that it was not, whatever it listens to now. A channel that is off keeps
///   in mind that it is over.
///
/// # Errors
/// Those of the database.
pub async fn post(conn: &mut impl Queryable, messages: &[(&Message<'_>, Body)]) -> mysql_async::Result<()> {
    let told: Vec<Told<'_>> = messages.iter().map(Told::of).collect();
    let subjects: Vec<&str> = told.iter().map(|one| one.subject).collect();
    let (told, subjects) = (json(&told), json(&subjects));
    let withdraw = format!(
        "update {TOLD} straight_join notice n force index (notice_turn) on n.subject = {SUBJECT} \
         straight_join notice_channel c on c.channel_id = n.channel_id \
         set n.state = 'spared', n.ended_at = utc_timestamp(6) where n.event in ('down', 'degraded') \
         and n.event <> r.event and n.state = 'waiting' and (n.tries = 0 or c.is_on = 0)"
    );
    conn.exec_drop(withdraw, params! { "told" => &told }).await?;
    let is_news = format!(
        "case when r.event = 'up' then l.event in ('down', 'degraded') when {IS_END} then true \
         else c.is_on = 1 and (c.group_id is null and r.folded = 0 or c.group_id = r.group_id) and {HEARS} \
         and (l.event is null or l.event = 'up' or r.event = 'down' and (l.event <> 'down' \
         or r.topic = 'host_key' and coalesce(l.topic, '') <> 'host_key')) end"
    );
    let insert = format!(
        "insert ignore into notice (channel_id, subject, turn, event, body, last_error, due_at, state, ended_at) \
         select c.channel_id, r.subject, coalesce(l.turn, 0) + 1, \
         if(r.event = 'degraded' and {IS_END} and not (c.is_on = 1 and {HEARS}), 'up', r.event), \
         if({IS_END}, coalesce(r.eased, r.body), r.body), '', \
         utc_timestamp(6) + interval if({IS_END}, 0, r.held) microsecond, \
         if({IS_END} and c.is_on = 0, 'spared', 'waiting'), if({IS_END} and c.is_on = 0, utc_timestamp(6), null) \
         from {TOLD} join notice_channel c on 1 = 1 left join {LAST} l on l.place = r.place and l.channel_id = c.channel_id \
         where {is_news}"
    );
    conn.exec_drop(insert, params! { "told" => &told, "subjects" => &subjects })
        .await
}

/// What serde writes of numbers and texts is never an error.
fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_else(|_| "[]".to_owned())
}

/// What a subject was called when it was told of last; none when it was told to nobody.
pub async fn told_name(conn: &mut impl Queryable, subject: &str) -> mysql_async::Result<Option<String>> {
    let sql = "select body from notice where subject = ? order by notice_id desc limit 1";
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
         coalesce(claimed_until > utc_timestamp(6) and claimed_by is not null, 0) as is_claimed from notice where channel_id = ? \
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
