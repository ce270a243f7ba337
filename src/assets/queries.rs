//! SQL of the table `asset` but for the list's, and what its pages read of `asset_watch` and `asset_event`.

use chrono::NaiveDateTime;
use mysql_async::prelude::{FromRow, Queryable};
use mysql_async::{Conn, Transaction, params};

use super::kind::Kind;
use super::state::State;
use crate::db::numbers;
use crate::groups::name_key;

/// One asset with what its last check said.
#[derive(Debug, Clone, FromRow)]
pub struct Row {
    pub asset_id: u32,
    pub kind: Kind,
    pub name: String,
    pub name_key: String,
    pub address: String,
    pub group_id: u32,
    pub credential_id: Option<String>,
    pub settings: String,
    pub timeout_s: u32,
    pub retries: u32,
    pub paused_until: Option<NaiveDateTime>,
    pub is_paused: bool,
    pub paused_note: String,
    pub state: State,
    pub reason: String,
    pub state_since: Option<NaiveDateTime>,
    pub pin: String,
    pub offered_pin: String,
    pub created_at: NaiveDateTime,
    pub created_by: String,
    pub modified_at: NaiveDateTime,
    pub modified_by: String,
    pub row_version: u32,
    pub interval_s: u32,
    pub checked_at: Option<NaiveDateTime>,
    /// Seconds since the last check, by the database's clock.
    pub age_s: Option<i64>,
    pub checked_by: String,
    pub latency_us: Option<u32>,
    pub latencies: String,
    pub facts: Option<String>,
}

pub(super) const ROW: &str = "a.asset_id, a.kind, a.name, a.name_key, a.address, a.group_id, a.credential_id, a.settings, a.timeout_s, \
    a.retries, a.paused_until, coalesce(a.paused_until > utc_timestamp(6), 0) as is_paused, a.paused_note, a.state, a.reason, \
    a.state_since, a.pin, a.offered_pin, a.created_at, a.created_by, a.modified_at, a.modified_by, a.row_version, \
    w.interval_s, w.checked_at, timestampdiff(second, w.checked_at, utc_timestamp(6)) as age_s, w.checked_by, \
    w.latency_us, w.latencies, w.facts";

pub async fn by_id(conn: &mut impl Queryable, asset_id: u32) -> mysql_async::Result<Option<Row>> {
    let sql = format!("select {ROW} from asset a join asset_watch w on w.asset_id = a.asset_id where a.asset_id = ?");
    conn.exec_first(sql, (asset_id,)).await
}

/// Those of these that exist, locked in the order of their ids until the transaction ends.
pub async fn locked(tx: &mut Transaction<'_>, asset_ids: &[u32]) -> mysql_async::Result<Vec<Row>> {
    if asset_ids.is_empty() {
        return Ok(Vec::new());
    }
    lock(tx, asset_ids).await?;
    let ids = numbers(asset_ids);
    tx.query(format!(
        "select {ROW} from asset a join asset_watch w on w.asset_id = a.asset_id where a.asset_id in ({ids}) \
         order by a.asset_id"
    ))
    .await
}

/// Locks assets in the order of their ids until the transaction ends.
pub async fn lock(tx: &mut Transaction<'_>, asset_ids: &[u32]) -> mysql_async::Result<()> {
    if asset_ids.is_empty() {
        return Ok(());
    }
    let ids = numbers(asset_ids);
    tx.query_drop(format!(
        "select asset_id from asset where asset_id in ({ids}) order by asset_id for update"
    ))
    .await
}

/// Another asset at the same address.
#[derive(Debug, Clone, FromRow)]
pub struct Twin {
    pub twin_id: Option<u32>,
    pub twin_name: Option<String>,
}

/// [`by_id`], with the first other asset of its kind at the same address, for a warning.
pub async fn with_twin(conn: &mut Conn, asset_id: u32) -> mysql_async::Result<Option<(Row, Twin)>> {
    let sql = format!(
        "select {ROW}, t.asset_id as twin_id, t.name as twin_name from asset a \
         join asset_watch w on w.asset_id = a.asset_id left join asset t on t.asset_id = (select min(x.asset_id) \
         from asset x where x.address = a.address and x.kind = a.kind and x.asset_id <> a.asset_id) where a.asset_id = ?"
    );
    let row: Option<mysql_async::Row> = conn.exec_first(sql, (asset_id,)).await?;
    Ok(row.map(|row| (mysql_async::from_row(row.clone()), mysql_async::from_row(row))))
}

/// What a person says of an asset.
#[derive(Debug, Clone)]
pub struct Described {
    pub kind: Kind,
    pub name: String,
    pub address: String,
    pub group_id: u32,
    pub credential_id: Option<String>,
    /// JSON.
    pub settings: String,
    pub interval_s: u32,
    pub timeout_s: u32,
    pub retries: u32,
}

/// Due at once: the first cluster alive that is bound to its group will check it.
pub async fn insert(tx: &mut Transaction<'_>, described: &Described, by: &str) -> mysql_async::Result<u32> {
    tx.exec_drop(
        "insert into asset (kind, name, name_key, address, group_id, credential_id, settings, timeout_s, retries, \
         created_by, modified_by) values (:kind, :name, :name_key, :address, :group_id, :credential_id, :settings, \
         :timeout_s, :retries, :by, :by)",
        params! {
            "kind" => described.kind.code(), "name" => &described.name, "name_key" => name_key(&described.name),
            "address" => &described.address, "group_id" => described.group_id,
            "credential_id" => &described.credential_id, "settings" => &described.settings,
            "timeout_s" => described.timeout_s, "retries" => described.retries, "by" => by,
        },
    )
    .await?;
    let asset_id = tx.last_insert_id().unwrap_or_default() as u32;
    tx.exec_drop(
        "insert into asset_watch (asset_id, group_id, interval_s, due_at) values (?, ?, ?, utc_timestamp(6))",
        (asset_id, described.group_id, described.interval_s),
    )
    .await?;
    Ok(asset_id)
}

/// False when somebody else saved since `row_version`, or it is gone. What is checked may be another thing now, so it is due
/// at once unless it is paused; when it `moves`, that is, gets another address, what the former one was known by is
/// forgotten.
pub async fn update(
    tx: &mut Transaction<'_>,
    (asset_id, row_version): (u32, u32),
    (described, moves): (&Described, bool),
    by: &str,
) -> mysql_async::Result<bool> {
    // From left to right: whose pin it is is asked before the address is another.
    tx.exec_drop(
        "update asset set name = :name, name_key = :name_key, pin = if(address = :address, pin, ''), \
         offered_pin = if(address = :address, offered_pin, ''), address = :address, group_id = :group_id, \
         credential_id = :credential_id, settings = :settings, timeout_s = :timeout_s, retries = :retries, \
         modified_by = :by, modified_at = utc_timestamp(6), row_version = row_version + 1 \
         where asset_id = :asset_id and row_version = :row_version",
        params! {
            "asset_id" => asset_id, "row_version" => row_version, "name" => &described.name,
            "name_key" => name_key(&described.name), "address" => &described.address,
            "group_id" => described.group_id, "credential_id" => &described.credential_id,
            "settings" => &described.settings, "timeout_s" => described.timeout_s, "retries" => described.retries,
            "by" => by,
        },
    )
    .await?;
    if tx.affected_rows() != 1 {
        return Ok(false);
    }
    let forgotten = match moves {
        true => ", w.misses = 0, w.is_slow = 0, w.latencies = '', w.latency_us = null, w.facts = null",
        false => "",
    };
    tx.exec_drop(
        format!(
            "update asset_watch w join asset a on a.asset_id = w.asset_id set w.interval_s = ?, w.claim = '', \
             w.due_at = greatest(utc_timestamp(6), coalesce(a.paused_until, utc_timestamp(6))){forgotten} \
             where w.asset_id = ?"
        ),
        (described.interval_s, asset_id),
    )
    .await?;
    Ok(true)
}

/// Takes the key that the peer showed last for its own from now on, if it is still this one.
pub async fn accept_pin(
    tx: &mut Transaction<'_>,
    (asset_id, shown): (u32, &str),
    by: &str,
) -> mysql_async::Result<bool> {
    tx.exec_drop(
        "update asset set pin = offered_pin, offered_pin = '', modified_by = ?, modified_at = utc_timestamp(6), \
         row_version = row_version + 1 where asset_id = ? and offered_pin = ? and offered_pin <> ''",
        (by, asset_id, shown),
    )
    .await?;
    let accepted = tx.affected_rows() == 1;
    // A check that is under way knows the former key.
    tx.exec_drop("update asset_watch set claim = '' where asset_id = ?", (asset_id,))
        .await?;
    check_now(tx, &[asset_id]).await?;
    Ok(accepted)
}

/// Moves locked assets to another group. Their watch follows by its key.
pub async fn move_to(tx: &mut Transaction<'_>, asset_ids: &[u32], group_id: u32, by: &str) -> mysql_async::Result<()> {
    let sql = format!(
        "update asset set group_id = ?, modified_by = ?, modified_at = utc_timestamp(6), row_version = row_version + 1 \
         where asset_id in ({})",
        numbers(asset_ids)
    );
    tx.exec_drop(sql, (group_id, by)).await
}

/// Pauses locked assets for so many hours (None: until somebody resumes them), or, with no note at all, resumes them. A paused
/// one is not due before.
pub async fn pause(
    tx: &mut Transaction<'_>,
    asset_ids: &[u32],
    (hours, note): (Option<u32>, &str),
    by: &str,
) -> mysql_async::Result<()> {
    let until = match hours {
        Some(hours) => format!("utc_timestamp(6) + interval {hours} hour"),
        None => "timestamp('9999-12-31')".to_owned(),
    };
    let ids = numbers(asset_ids);
    let sql = format!(
        "update asset set paused_until = {until}, paused_note = ?, modified_by = ?, modified_at = utc_timestamp(6), \
         row_version = row_version + 1 where asset_id in ({ids})"
    );
    tx.exec_drop(sql, (note, by)).await?;
    tx.query_drop(format!(
        "update asset_watch w join asset a on a.asset_id = w.asset_id set w.due_at = a.paused_until, w.claim = '' \
         where w.asset_id in ({ids})"
    ))
    .await
}

pub async fn resume(tx: &mut Transaction<'_>, asset_ids: &[u32], by: &str) -> mysql_async::Result<()> {
    let sql = format!(
        "update asset set paused_until = null, paused_note = '', modified_by = ?, modified_at = utc_timestamp(6), \
         row_version = row_version + 1 where asset_id in ({})",
        numbers(asset_ids)
    );
    tx.exec_drop(sql, (by,)).await?;
    check_now(tx, asset_ids).await
}

/// Makes assets due, except those that are paused.
pub async fn check_now(tx: &mut Transaction<'_>, asset_ids: &[u32]) -> mysql_async::Result<()> {
    tx.query_drop(format!(
        "update asset_watch w join asset a on a.asset_id = w.asset_id set w.due_at = least(w.due_at, utc_timestamp(6)) \
         where w.asset_id in ({}) and coalesce(a.paused_until <= utc_timestamp(6), 1)",
        numbers(asset_ids)
    ))
    .await
}

/// The name of each asset's group, and the database's time.
pub async fn groups_of(
    conn: &mut impl Queryable,
    asset_ids: &[u32],
) -> mysql_async::Result<Vec<(u32, String, NaiveDateTime)>> {
    conn.query(format!(
        "select a.asset_id, g.name, utc_timestamp(6) from asset a join asset_group g on g.group_id = a.group_id \
         where a.asset_id in ({})",
        numbers(asset_ids)
    ))
    .await
}

/// Deletes locked assets with their history.
pub async fn remove(tx: &mut Transaction<'_>, asset_ids: &[u32]) -> mysql_async::Result<()> {
    tx.query_drop(format!("delete from asset where asset_id in ({})", numbers(asset_ids)))
        .await
}

/// A change of state.
#[derive(Debug, Clone, FromRow)]
pub struct Event {
    pub asset_id: u32,
    pub at: NaiveDateTime,
    pub was: State,
    pub state: State,
    pub reason: String,
    pub install_id: String,
    /// Seconds ago, by the database's clock.
    pub age_s: i64,
}

const EVENT: &str =
    "asset_id, at, was, state, reason, install_id, timestampdiff(second, at, utc_timestamp(6)) as age_s";

/// The last hundred of each of these within thirty days, from old to new.
pub async fn recent(conn: &mut Conn, asset_ids: &[u32]) -> mysql_async::Result<Vec<Event>> {
    match asset_ids {
        [] => Ok(Vec::new()),
        ids => conn.query(recent_sql(ids)).await,
    }
}

/// The statement of [`recent`], to be looked at by a test. It asks for each asset on its own, so that one that changes all the
/// time is read a hundred times and not to its end.
pub fn recent_sql(asset_ids: &[u32]) -> String {
    let own = |asset_id: &u32| {
        format!(
            "(select asset_id, at, was, state, '' as reason, install_id from asset_event where asset_id = {asset_id} \
             and at > utc_timestamp(6) - interval 30 day order by at desc limit 100)"
        )
    };
    let all: Vec<String> = asset_ids.iter().map(own).collect();
    format!(
        "select {EVENT} from ({}) x order by asset_id, at",
        all.join(" union all ")
    )
}

/// The last changes of one asset, the newest first.
pub async fn history(conn: &mut Conn, asset_id: u32, count: u32) -> mysql_async::Result<Vec<Event>> {
    conn.exec(
        format!(
            "select {EVENT} from asset_event where asset_id = ? order by at desc, asset_event_id desc limit {count}"
        ),
        (asset_id,),
    )
    .await
}

/// Drops old changes; the newest of each asset stays, since the bar begins with it. Returns how many.
pub async fn sweep(conn: &mut Conn, days: u32) -> mysql_async::Result<u64> {
    let sql = "select e.asset_event_id from asset_event e where e.at < utc_timestamp(6) - interval ? day \
               and exists (select 1 from asset_event n where n.asset_id = e.asset_id and n.at > e.at \
               and n.at < utc_timestamp(6) - interval ? day) order by e.at limit 1000";
    let ids: Vec<u64> = conn.exec(sql, (days, days)).await?;
    if ids.is_empty() {
        return Ok(0);
    }
    conn.query_drop(format!(
        "delete from asset_event where asset_event_id in ({})",
        numbers(ids)
    ))
    .await?;
    Ok(conn.affected_rows())
}
