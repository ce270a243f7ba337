//! SQL of whoever watches: which groups are mine, what is due in them, and what the checks found.

use std::time::Instant;

use chrono::NaiveDateTime;
use mysql_async::prelude::{FromRow, Queryable};
use mysql_async::{Conn, Params, Transaction, TxOpts, Value};
use serde::{Serialize, Serializer};

use crate::assets::kind::Kind;
use crate::assets::state::State;
use crate::db::numbers;
use crate::liveness::LIVENESS;

/// Seconds between a check that failed and the next try, while the asset is not yet taken for down.
const RETRY_S: u32 = 5;

/// A group that this server owns at this moment: of the clusters bound to it, it is the first that is alive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromRow)]
pub struct Owned {
    pub group_id: u32,
    /// One before us is only silent: for so many seconds somebody who has just come to look should not believe it.
    pub doubt_s: u32,
}

/// # Errors
/// Those of the database.
pub async fn owned(conn: &mut Conn, install_id: &str) -> mysql_async::Result<Vec<Owned>> {
    let before = "from cluster_group e join cluster on cluster.install_id = e.install_id \
                  where e.group_id = b.group_id and e.position < b.position";
    let sql = format!(
        "select b.group_id, cast(coalesce((select max(3 * interval_s) {before} and {LIVENESS} = 'offline'), 0) as unsigned) \
         as doubt_s from cluster_group b join cluster on cluster.install_id = b.install_id \
         where b.install_id = ? and {LIVENESS} in ('online', 'late') \
         and not exists (select 1 {before} and {LIVENESS} in ('online', 'late'))"
    );
    conn.exec(sql, (install_id,)).await
}

/// Assets of these groups that are due, the longest waiting first.
pub async fn due(conn: &mut Conn, groups: &[u32], is_slow: bool, count: usize) -> mysql_async::Result<Vec<u32>> {
    if groups.is_empty() || count == 0 {
        return Ok(Vec::new());
    }
    conn.query(format!(
        "select asset_id from asset_watch where group_id in ({}) and is_slow = {} and due_at <= utc_timestamp(6) \
         order by due_at limit {count}",
        numbers(groups),
        u8::from(is_slow)
    ))
    .await
}

/// An asset that is ours to check now, with all that is needed for it.
#[derive(Debug, Clone, FromRow)]
pub struct Claimed {
    pub asset_id: u32,
    pub kind: Kind,
    pub name: String,
    pub group_id: u32,
    pub group_name: String,
    pub address: String,
    pub settings: String,
    pub timeout_s: u32,
    pub interval_s: u32,
    pub retries: u32,
    pub pin: String,
    pub state: State,
    pub reason: String,
    pub misses: u32,
    pub latencies: String,
    pub facts: Option<String>,
    pub credential_id: Option<String>,
    pub sealed: Option<Vec<u8>>,
    pub claim: String,
}

/// Claims those of these that are still due. Whoever puts `due_at` on has won: a second server finds them not due. The next
/// time is the asset's own place in its interval, so that assets that are due at once do not stay together.
///
/// Those that somebody edits at this moment are left for later.
pub async fn claim(conn: &mut Conn, ids: &[u32], claim: &str) -> mysql_async::Result<Vec<Claimed>> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let mut tx = conn.start_transaction(TxOpts::default()).await?;
    let ids: Vec<u32> = tx
        .query(format!(
            "select asset_id from asset_watch where asset_id in ({}) and due_at <= utc_timestamp(6) order by asset_id \
             for update skip locked",
            numbers(ids)
        ))
        .await?;
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let ids = numbers(ids);
    let interval = "interval_s * 1000000";
    let now = "timestampdiff(microsecond, '2026-01-01', utc_timestamp(6))";
    let place = format!("floor(mod(asset_id * 2654435761, 4294967296) / 4294967296 * {interval})");
    let sql = format!(
        "update asset_watch set claim = ?, \
         due_at = utc_timestamp(6) + interval ({interval} - mod({now} - {place}, {interval})) microsecond \
         where asset_id in ({ids}) and due_at <= utc_timestamp(6)"
    );
    tx.exec_drop(sql, (claim,)).await?;
    tx.commit().await?;
    conn.exec(
        format!(
            "select a.asset_id, a.kind, a.name, a.group_id, g.name as group_name, a.address, a.settings, a.timeout_s, w.interval_s, a.retries, a.pin, a.state, a.reason, \
             w.misses, w.latencies, w.facts, a.credential_id, c.sealed, w.claim from asset_watch w \
             join asset a on a.asset_id = w.asset_id join asset_group g on g.group_id = a.group_id left join credential c on c.credential_id = a.credential_id \
             where w.asset_id in ({ids}) and w.claim = ?"
        ),
        (claim,),
    )
    .await
}

/// Lets those be due again soon whose host had no place for them; by their claims.
pub async fn put_back(conn: &mut Conn, unseen: &[(u32, String)]) -> mysql_async::Result<()> {
    if unseen.is_empty() {
        return Ok(());
    }
    let marks = vec!["(?, ?)"; unseen.len()].join(", ");
    let values = unseen
        .iter()
        .flat_map(|(id, claim)| [Value::from(*id), claim.as_str().into()]);
    conn.exec_drop(
        format!(
            "update asset_watch set claim = '', due_at = least(due_at, utc_timestamp(6) + interval {RETRY_S} second) \
             where (asset_id, claim) in ({marks})"
        ),
        Params::Positional(values.collect()),
    )
    .await
}

/// Makes some more due that are not yet: those that would be the next.
pub async fn hasten(conn: &mut Conn, groups: &[u32], count: usize) -> mysql_async::Result<()> {
    if groups.is_empty() {
        return Ok(());
    }
    let next: Vec<u32> = conn
        .query(format!(
            "select w.asset_id from asset_watch w join asset a on a.asset_id = w.asset_id \
             where w.group_id in ({}) and w.is_slow = 0 and w.claim = '' and w.due_at > utc_timestamp(6) \
             and coalesce(a.paused_until <= utc_timestamp(6), 1) order by w.due_at limit {count}",
            numbers(groups)
        ))
        .await?;
    make_due(conn, &next).await
}

/// Makes due what lies further ahead than it may: the database's clock was set back.
pub async fn mend(conn: &mut Conn, groups: &[u32]) -> mysql_async::Result<()> {
    if groups.is_empty() {
        return Ok(());
    }
    let far: Vec<u32> = conn
        .query(format!(
            "select w.asset_id from asset_watch w join asset a on a.asset_id = w.asset_id where w.group_id in ({}) \
             and w.due_at > utc_timestamp(6) + interval (w.interval_s + 60) second \
             and coalesce(a.paused_until <= utc_timestamp(6), 1) limit 10000",
            numbers(groups)
        ))
        .await?;
    make_due(conn, &far).await
}

async fn make_due(conn: &mut Conn, ids: &[u32]) -> mysql_async::Result<()> {
    if ids.is_empty() {
        return Ok(());
    }
    conn.query_drop(format!(
        "update asset_watch set due_at = least(due_at, utc_timestamp(6)) where asset_id in ({})",
        numbers(ids)
    ))
    .await
}

/// What one check found, as it is written.
#[derive(Debug, Clone, Serialize)]
pub struct Found {
    pub id: u32,
    /// When the look ended: it may be written later, and tells of then.
    #[serde(rename = "age", serialize_with = "age")]
    pub at: Instant,
    pub claim: String,
    /// Microseconds.
    pub latency: Option<u64>,
    pub latencies: String,
    pub misses: u32,
    pub slow: u8,
    /// It is tried again soon.
    pub retry: u8,
    /// JSON in a text.
    pub facts: String,
    /// None when it stays as it is.
    #[serde(skip)]
    pub turn: Option<Turn>,
    #[serde(skip)]
    pub about: About,
}

/// Microseconds since then.
fn age<S: Serializer>(at: &Instant, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(at.elapsed().as_micros().try_into().unwrap_or(u64::MAX))
}

/// What people call it.
#[derive(Debug, Clone)]
pub struct About {
    pub name: String,
    pub group_id: u32,
    pub group: String,
}

/// A new state, or another reason for the same.
#[derive(Debug, Clone, Serialize)]
pub struct Turn {
    pub id: u32,
    pub state: &'static str,
    pub reason: String,
    /// What the peer is known by from now on; empty for no change.
    pub pin: String,
    pub offered: String,
}

/// A change of state that counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turned {
    pub asset_id: u32,
    pub was: State,
    pub state: State,
    pub at: NaiveDateTime,
}

/// An asset as it is when its result comes: state, claim, and the database's time.
type Now = (u32, State, String, NaiveDateTime);

/// Writes results in a transaction of the caller: one statement for all of them, three more when some change their state.
/// Those whose claim is not theirs any more are dropped. Rows of `asset` are locked before those of `asset_watch`, as
/// whoever edits them does.
pub async fn record(tx: &mut Transaction<'_>, found: &[Found], install_id: &str) -> mysql_async::Result<Vec<Turned>> {
    let turns = found.iter().filter(|one| one.turn.is_some());
    let ids: Vec<u32> = turns.map(|one| one.id).collect();
    let now: Vec<Now> = match ids.is_empty() {
        true => Vec::new(),
        false => {
            tx.query(format!(
                "select a.asset_id, a.state, w.claim, utc_timestamp(6) from asset a join asset_watch w on w.asset_id = a.asset_id \
                 where a.asset_id in ({}) order by a.asset_id for update",
                numbers(&ids)
            ))
            .await?
        }
    };
    tx.exec_drop(
        format!(
            "update asset_watch w join json_table(?, '$[*]' columns (id int unsigned path '$.id', \
             claim char(32) path '$.claim', latency int unsigned path '$.latency', latencies varchar(600) path '$.latencies', \
             misses int unsigned path '$.misses', slow int unsigned path '$.slow', retry int unsigned path '$.retry', \
             facts text path '$.facts', age bigint unsigned path '$.age')) r on r.id = w.asset_id \
             set w.checked_at = utc_timestamp(6) - interval r.age microsecond, w.checked_by = ?, \
             w.latency_us = r.latency, w.latencies = r.latencies, w.misses = r.misses, w.is_slow = r.slow, \
             w.facts = if(r.facts = '', w.facts, r.facts), \
             w.due_at = if(r.retry, least(w.due_at, utc_timestamp(6) + interval {RETRY_S} second), w.due_at), \
             w.claim = '' where w.claim = r.claim"
        ),
        (json(&found), install_id),
    )
    .await?;
    let holds = |one: &&Found| now.iter().any(|(id, _, claim, _)| *id == one.id && *claim == one.claim);
    let valid: Vec<&Turn> = found.iter().filter(holds).filter_map(|one| one.turn.as_ref()).collect();
    turn(tx, &valid, &now, install_id).await
}

/// What serde writes of numbers and texts is never an error.
fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_else(|_| "[]".to_owned())
}

async fn turn(
    tx: &mut Transaction<'_>,
    turns: &[&Turn],
    now: &[Now],
    install_id: &str,
) -> mysql_async::Result<Vec<Turned>> {
    if turns.is_empty() {
        return Ok(Vec::new());
    }
    let mut turned = Vec::new();
    let (mut marks, mut values) = (Vec::new(), Vec::<Value>::new());
    for turn in turns {
        let was = now.iter().find(|(id, ..)| *id == turn.id);
        let was = was.map(|(_, state, _, at)| (*state, *at));
        let change = was
            .zip(State::parse(turn.state))
            .filter(|((was, _), state)| was != state);
        if let Some(((was, at), state)) = change {
            marks.push("(?, utc_timestamp(6), ?, ?, ?, ?)");
            values.extend([turn.id.into(), was.code().into(), state.code().into()]);
            values.extend([turn.reason.as_str().into(), install_id.into()]);
            turned.push(Turned {
                asset_id: turn.id,
                was,
                state,
                at,
            });
        }
    }
    if !marks.is_empty() {
        let sql = format!(
            "insert into asset_event (asset_id, at, was, state, reason, install_id) values {}",
            marks.join(", ")
        );
        tx.exec_drop(sql, Params::Positional(values)).await?;
    }
    // From left to right: since when is asked before the state is another.
    tx.exec_drop(
        "update asset a join json_table(?, '$[*]' columns (id int unsigned path '$.id', state varchar(10) path '$.state', \
         reason varchar(1000) path '$.reason', pin varchar(200) path '$.pin', offered varchar(200) path '$.offered')) r \
         on r.id = a.asset_id set a.state_since = if(a.state = r.state, a.state_since, utc_timestamp(6)), \
         a.state = r.state, a.reason = r.reason, a.pin = if(r.pin = '', a.pin, r.pin), a.offered_pin = r.offered",
        (json(&turns),),
    )
    .await?;
    Ok(turned)
}
