//! SQL of the table `notice`: what is due, who sends it, and what came of it.

use std::time::Duration;

use mysql_async::prelude::{FromRow, Queryable};
use mysql_async::{Conn, params};

use crate::db::numbers;
use crate::notify::trouble::{LONGEST_REST, Trouble};

/// How long a server that sends may hold a message; longer than any sending takes.
pub const LEASE: Duration = Duration::from_secs(60);
/// Of one channel at once, by all servers together: one that hangs must not keep the others waiting.
const MOST_OF_CHANNEL: u64 = 2;
/// Chat robots take so many within a minute, and are deaf for ten when there are more.
const MOST_PER_MINUTE: u64 = 20;
/// Given up, or mended, by one statement.
const PIECE: usize = 1000;

const FREE: &str = "(n.claimed_until is null or n.claimed_until <= utc_timestamp(6))";

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

/// What is due, the oldest first: of each subject one after the other, and of each channel a few; those of whom fewer are under
/// way go first. Of several servers one gets it.
pub async fn claim(conn: &mut Conn, boot_id: &str, most: usize) -> mysql_async::Result<Vec<Claimed>> {
    let channels: Vec<Open> = conn.query(channels_sql()).await?;
    if channels.is_empty() {
        return Ok(Vec::new());
    }
    let ids: Vec<u64> = conn.query(next_sql(&channels, most)).await?;
    let mut claimed = Vec::new();
    for notice_id in ids {
        conn.exec_drop(
            format!(
                "update notice n set n.claimed_by = ?, n.tries = n.tries + 1, \
                 n.claimed_until = utc_timestamp(6) + interval {} second \
                 where n.notice_id = ? and n.state = 'waiting' and n.due_at <= utc_timestamp(6) and {FREE}",
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

/// How many messages of each channel somebody sends at this moment, and because of how many that failed it is left alone.
const HELD: &str = "(select channel_id, sum(claimed_by is not null) as busy, sum(claimed_by is null) as rests \
    from notice force index (notice_held) where state = 'waiting' and claimed_until > utc_timestamp(6) \
    group by channel_id)";

/// A channel with something due and room for it; whether only a test may go there, since somebody waits for its answer; and
/// whether it takes so many a minute.
pub type Open = (u32, bool, bool);

/// All such channels. To be looked at by a test.
pub fn channels_sql() -> String {
    format!(
        "select c.channel_id, c.is_on = 0 or coalesce(b.rests, 0) > 0 as is_quiet, if(json_valid(c.settings), \
         coalesce(json_unquote(json_extract(c.settings, '$.format')), ''), '') in ('ding_talk', 'we_com', 'feishu') as is_robot \
         from notice_channel c left join {HELD} b on b.channel_id = c.channel_id \
         where coalesce(b.busy, 0) < {MOST_OF_CHANNEL} and (select 1 from notice n force index (notice_next) \
         where n.channel_id = c.channel_id and n.state = 'waiting' and n.due_at <= utc_timestamp(6) and {FREE} limit 1) = 1"
    )
}

/// The next messages of these channels, each asked for on its own so that a long queue is not read to its end. To be looked at
/// by a test.
pub fn next_sql(channels: &[Open], most: usize) -> String {
    let next = |(channel_id, is_quiet, is_robot): &Open| {
        let (key, which) = match is_quiet {
            true => ("notice_turn", "and n.subject = 'test'"),
            false => ("notice_next", ""),
        };
        let sent = match *is_robot && !is_quiet {
            true => format!(
                "(select count(*) from notice s force index (notice_next) where s.channel_id = {channel_id} \
                 and s.state = 'sent' and s.due_at > utc_timestamp(6) - interval 1 minute)"
            ),
            false => "0".to_owned(),
        };
        format!(
            "(select n.notice_id, n.due_at, n.channel_id, {sent} as sent from notice n force index ({key}) \
             where n.channel_id = {channel_id} {which} and n.state = 'waiting' and n.due_at <= utc_timestamp(6) and {FREE} \
             and not exists (select 1 from notice p force index (notice_turn) where p.subject = n.subject \
             and p.channel_id = n.channel_id and p.turn < n.turn and p.state = 'waiting') \
             order by n.due_at, n.notice_id limit {MOST_OF_CHANNEL})"
        )
    };
    let all: Vec<String> = channels.iter().map(next).collect();
    format!(
        "select notice_id from (select d.notice_id, d.due_at, d.sent, coalesce(b.busy, 0) \
         + row_number() over (partition by d.channel_id order by d.due_at, d.notice_id) as place \
         from ({}) d left join {HELD} b on b.channel_id = d.channel_id) due \
         where place <= {MOST_OF_CHANNEL} and sent + place <= {MOST_PER_MINUTE} order by place, due_at, notice_id limit {most}",
        all.join(" union all ")
    )
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

/// Sent, and when. Counts only while this try is the last one.
pub async fn succeed(conn: &mut Conn, claimed: &Claimed, boot_id: &str) -> mysql_async::Result<()> {
    conn.exec_drop(
        "update notice set state = 'sent', ended_at = utc_timestamp(6), due_at = utc_timestamp(6), last_error = '', \
         claimed_until = null where notice_id = ? and state = 'waiting' and claimed_by = ? and tries = ?",
        (claimed.notice_id, boot_id, claimed.tries),
    )
    .await
}

/// Not sent: again after `pause`, but for a test, whose sender waits for the answer. Until then, or for as long as the receiver
/// wants, its channel is left alone.
pub async fn fail(
    conn: &mut Conn,
    (claimed, boot_id): (&Claimed, &str),
    pause: Duration,
    trouble: &Trouble,
) -> mysql_async::Result<()> {
    let rest = trouble.rest().as_secs();
    conn.exec_drop(
        "update notice set state = if(event = 'test', 'failed', 'waiting'), \
         ended_at = if(event = 'test', utc_timestamp(6), null), last_error = :error, claimed_by = null, \
         claimed_until = if(event = 'test', null, utc_timestamp(6) + interval :rest second), \
         due_at = utc_timestamp(6) + interval :pause second \
         where notice_id = :notice_id and state = 'waiting' and claimed_by = :boot_id and tries = :tries",
        params! {
            "error" => trouble.json(), "rest" => rest, "pause" => pause.as_secs().max(rest),
            "notice_id" => claimed.notice_id, "boot_id" => boot_id, "tries" => claimed.tries,
        },
    )
    .await
}

/// Gives up what nobody could send for a day, with the reason of the last try.
pub async fn give_up(conn: &mut Conn) -> mysql_async::Result<()> {
    let is_late = format!(
        "n.state = 'waiting' and n.created_at < utc_timestamp(6) - interval 1 day \
         and (n.claimed_by is null or {FREE})"
    );
    let ids: Vec<u64> = conn
        .query(format!(
            "select n.notice_id from notice n where {is_late} limit {PIECE}"
        ))
        .await?;
    if ids.is_empty() {
        return Ok(());
    }
    let sql = format!(
        "update notice n set n.state = 'failed', n.ended_at = utc_timestamp(6), \
         n.last_error = if(n.last_error = '', ?, n.last_error) where n.notice_id in ({}) and {is_late}",
        numbers(&ids)
    );
    conn.exec_drop(sql, (Trouble::TooLate.json(),)).await
}

/// Puts right what lies further ahead than it may: the database's clock was set back. What was never tried is as if it were
/// written now; what was is due; and who sends one at this moment may still do so to the end.
pub async fn mend(conn: &mut Conn, pauses: &[Duration]) -> mysql_async::Result<()> {
    let pause = |(tries, pause): (usize, &Duration)| format!("when {} then {}", tries + 1, pause.as_secs());
    let cases: Vec<String> = pauses.iter().enumerate().map(pause).collect();
    let longest = pauses.iter().max().map_or(0, Duration::as_secs);
    let (lease, rest) = (LEASE.as_secs() + 1, LONGEST_REST.as_secs() + 1);
    let is_unborn = "(tries = 0 and created_at > utc_timestamp(6) + interval 1 minute)";
    // The first is short; a receiver that wants to be left alone may make it longer.
    let is_far = format!(
        "(tries > 0 and due_at > utc_timestamp(6) + interval greatest(case tries {} else {longest} end, {rest}) second)",
        cases.join(" ")
    );
    let is_held = format!(
        "coalesce(claimed_until > utc_timestamp(6) + interval if(claimed_by is null, {rest}, {lease}) second, false)"
    );
    let ids: Vec<u64> = conn
        .query(format!(
            "select notice_id from notice where state = 'waiting' and ({is_unborn} or {is_far} or {is_held}) limit {PIECE}"
        ))
        .await?;
    if ids.is_empty() {
        return Ok(());
    }
    // From left to right: how long it is kept back is asked before it is written now.
    conn.query_drop(format!(
        "update notice set due_at = case when {is_unborn} \
         then utc_timestamp(6) + interval greatest(timestampdiff(microsecond, created_at, due_at), 0) microsecond \
         when tries > 0 then least(due_at, utc_timestamp(6)) else due_at end, \
         created_at = if({is_unborn}, utc_timestamp(6), created_at), \
         claimed_until = if({is_held}, if(claimed_by is null, null, utc_timestamp(6) + interval {} second), claimed_until) \
         where state = 'waiting' and notice_id in ({})",
        LEASE.as_secs(),
        numbers(&ids)
    ))
    .await
}
