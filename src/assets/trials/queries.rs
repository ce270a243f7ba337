//! All SQL of the table `asset_trial`.

use mysql_async::prelude::{FromRow, Queryable};
use mysql_async::{Conn, Transaction, params};

use super::super::kind::Kind;
use crate::db::numbers;

/// Seconds until nobody takes a trial any more.
pub const PATIENCE_S: u32 = 30;
/// Seconds beside its own time limit that a trial may take, waiting for its turn at the host included.
const GRACE_S: u32 = 30;
/// Minutes until it is forgotten.
const KEPT_M: u32 = 10;

/// Somebody may still take it, or has and is still at it.
fn open() -> String {
    format!(
        "(t.ended_at is null and if(t.claim = '', t.asked_at > utc_timestamp(6) - interval {PATIENCE_S} second, \
         t.taken_at > utc_timestamp(6) - interval (t.timeout_s + {GRACE_S}) second))"
    )
}

/// What is to be tried.
#[derive(Debug)]
pub struct Wanted<'a> {
    pub trial_id: &'a str,
    pub kind: Kind,
    pub address: &'a str,
    pub group_id: u32,
    /// JSON.
    pub settings: &'a str,
    /// One that has a name.
    pub credential_id: Option<&'a str>,
    /// A secret of its own, sealed for this row.
    pub sealed: Option<&'a [u8]>,
    /// What the host is known by already.
    pub pin: &'a str,
    pub timeout_s: u32,
    pub asked_by: &'a str,
}

pub async fn insert(tx: &mut Transaction<'_>, wanted: &Wanted<'_>) -> mysql_async::Result<()> {
    tx.exec_drop(
        "insert into asset_trial (trial_id, kind, address, group_id, settings, credential_id, sealed, pin, timeout_s, \
         asked_at, asked_by) values (:trial_id, :kind, :address, :group_id, :settings, :credential_id, :sealed, :pin, \
         :timeout_s, utc_timestamp(6), :asked_by)",
        params! {
            "trial_id" => wanted.trial_id, "kind" => wanted.kind.code(), "address" => wanted.address,
            "group_id" => wanted.group_id, "settings" => wanted.settings, "credential_id" => wanted.credential_id,
            "sealed" => wanted.sealed, "pin" => wanted.pin, "timeout_s" => wanted.timeout_s,
            "asked_by" => wanted.asked_by,
        },
    )
    .await
}

/// How many trials of an account are open.
pub async fn open_of(tx: &mut Transaction<'_>, account_id: &str) -> mysql_async::Result<u64> {
    let sql = format!("select count(*) from asset_trial t where t.asked_by = ? and {}", open());
    Ok(tx.exec_first(sql, (account_id,)).await?.unwrap_or_default())
}

/// One trial as whoever asked for it may see it.
#[derive(Debug, Clone, FromRow)]
pub struct Row {
    pub trial_id: String,
    pub address: String,
    pub group_id: u32,
    /// Of the cluster that took it; empty before.
    pub taken_by: String,
    /// That cluster's name.
    pub taker: Option<String>,
    pub is_open: bool,
    /// JSON; none before it ended.
    pub report: Option<String>,
}

pub async fn of_account(conn: &mut Conn, trial_id: &str, account_id: &str) -> mysql_async::Result<Option<Row>> {
    let sql = format!(
        "select t.trial_id, t.address, t.group_id, t.taken_by, c.name as taker, {} as is_open, t.report \
         from asset_trial t left join cluster c on c.install_id = t.taken_by where t.trial_id = ? and t.asked_by = ?",
        open()
    );
    conn.exec_first(sql, (trial_id, account_id)).await
}

/// A trial that is ours to make now, with all that is needed for it.
#[derive(Debug, Clone, FromRow)]
pub struct Taken {
    pub trial_id: String,
    pub kind: Kind,
    pub address: String,
    pub settings: String,
    pub credential_id: Option<String>,
    /// That of the named credential, or its own.
    pub sealed: Option<Vec<u8>>,
    pub pin: String,
    pub timeout_s: u32,
    pub claim: String,
}

/// Takes open trials of these groups, the longest waiting first. Whoever writes its claim first has won. Their own secrets
/// are in nobody's hands but the taker's from then on.
pub async fn take(
    conn: &mut Conn,
    groups: &[u32],
    (claim, install_id): (&str, &str),
    count: usize,
) -> mysql_async::Result<Vec<Taken>> {
    if groups.is_empty() || count == 0 {
        return Ok(Vec::new());
    }
    let is_free = format!("claim = '' and asked_at > utc_timestamp(6) - interval {PATIENCE_S} second");
    let ids: Vec<String> = conn
        .query(format!(
            "select trial_id from asset_trial where group_id in ({}) and {is_free} order by asked_at limit {count}",
            numbers(groups)
        ))
        .await?;
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let marks = vec!["?"; ids.len()].join(", ");
    let sql = format!(
        "update asset_trial set claim = ?, taken_by = ?, taken_at = utc_timestamp(6) \
         where {is_free} and trial_id in ({marks})"
    );
    let mut values = vec![claim, install_id];
    values.extend(ids.iter().map(String::as_str));
    conn.exec_drop(sql, values).await?;
    let taken = conn
        .exec(
            "select t.trial_id, t.kind, t.address, t.settings, t.credential_id, coalesce(c.sealed, t.sealed) as sealed, \
             t.pin, t.timeout_s, t.claim from asset_trial t left join credential c on c.credential_id = t.credential_id \
             where t.claim = ?",
            (claim,),
        )
        .await?;
    conn.exec_drop("update asset_trial set sealed = null where claim = ?", (claim,))
        .await?;
    Ok(taken)
}

pub async fn end(conn: &mut Conn, (trial_id, claim): (&str, &str), report: &str) -> mysql_async::Result<()> {
    conn.exec_drop(
        "update asset_trial set ended_at = utc_timestamp(6), report = ? where trial_id = ? and claim = ?",
        (report, trial_id, claim),
    )
    .await
}

/// Drops what is past its time; returns how many.
pub async fn sweep(conn: &mut Conn) -> mysql_async::Result<u64> {
    conn.query_drop(format!(
        "delete from asset_trial where asked_at < utc_timestamp(6) - interval {KEPT_M} minute limit 1000"
    ))
    .await?;
    Ok(conn.affected_rows())
}

/// Drops those that wait with a secret under the key that is given up.
pub async fn drop_sealed(tx: &mut Transaction<'_>) -> mysql_async::Result<()> {
    tx.query_drop("delete from asset_trial where sealed is not null").await
}
