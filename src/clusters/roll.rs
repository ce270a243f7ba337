//! SQL with which a server writes its own row: registering, beating, stopping, and meeting another holder of its id.

use chrono::NaiveDateTime;
use mysql_async::prelude::{FromRow, Queryable};
use mysql_async::{Conn, Transaction, params};

use super::portrait::SelfPortrait;
use crate::liveness::{LIVENESS, State};

/// The row as a server finds it when it wants to take it.
#[derive(Debug, Clone, FromRow)]
pub struct Holder {
    pub boot_id: String,
    pub boot_mark: String,
    pub beat_seq: u64,
    pub state: State,
    pub cluster_id: String,
    pub name: String,
    pub host: String,
    pub data_path: String,
    pub removed_at: Option<NaiveDateTime>,
    pub removed_by: String,
}

impl Holder {
    /// The row may be taken: its holder ended cleanly, is past its limit, never beat, or was the process before us in
    /// this very data directory on this running machine, whose lock we hold now.
    pub fn is_free_for(&self, me: &SelfPortrait) -> bool {
        let before_us = !me.boot_mark.is_empty() && self.boot_mark == me.boot_mark && self.boot_id == me.former_boot;
        // Taken by us, although the answer got lost on its way.
        let ours = self.boot_id == me.boot_id;
        ours || before_us || !self.state.is_alive()
    }
}

const HOLDER: &str = "boot_id, boot_mark, beat_seq, cluster_id, name, host, data_path, removed_at, removed_by";

fn holder_sql(lock: &str) -> String {
    format!("select {HOLDER}, {LIVENESS} as state from cluster where install_id = ? {lock}")
}

pub async fn holder(conn: &mut Conn, install_id: &str) -> mysql_async::Result<Option<Holder>> {
    conn.exec_first(holder_sql(""), (install_id,)).await
}

/// [`holder`], with the row locked until the transaction ends.
pub async fn locked_holder(tx: &mut Transaction<'_>, install_id: &str) -> mysql_async::Result<Option<Holder>> {
    tx.exec_first(holder_sql("for update"), (install_id,)).await
}

pub async fn insert(tx: &mut Transaction<'_>, me: &SelfPortrait, name: &str) -> mysql_async::Result<()> {
    tx.exec_drop(
        "insert into cluster (install_id, cluster_id, name, host, data_path, version, pid, boot_id, boot_mark, \
         started_at, interval_s) values (:install_id, :cluster_id, :name, :host, :data_path, :version, :pid, :boot_id, \
         :boot_mark, utc_timestamp(6), :interval_s)",
        params! {
            "name" => name, "install_id" => &me.install_id, "cluster_id" => &me.cluster_id, "host" => &me.host,
            "data_path" => &me.data_path, "version" => &me.version, "pid" => me.pid, "boot_id" => &me.boot_id,
            "boot_mark" => &me.boot_mark, "interval_s" => me.interval_s,
        },
    )
    .await
}

/// Makes the row ours if it is still as `seen`; false when somebody was faster or it beat meanwhile.
pub async fn adopt(tx: &mut Transaction<'_>, me: &SelfPortrait, seen: &Holder) -> mysql_async::Result<bool> {
    tx.exec_drop(
        "update cluster set boot_id = :boot_id, boot_mark = :boot_mark, cluster_id = :cluster_id, host = :host, \
         data_path = :data_path, version = :version, pid = :pid, started_at = utc_timestamp(6), \
         interval_s = :interval_s, online_since = null, stopped_at = null, duplicate_at = null, duplicate_since = null \
         where install_id = :install_id and boot_id = :seen_boot and beat_seq = :seen_seq and removed_at is null",
        params! {
            "install_id" => &me.install_id, "cluster_id" => &me.cluster_id, "host" => &me.host,
            "data_path" => &me.data_path, "version" => &me.version, "pid" => me.pid, "boot_id" => &me.boot_id,
            "boot_mark" => &me.boot_mark, "interval_s" => me.interval_s, "seen_boot" => &seen.boot_id,
            "seen_seq" => seen.beat_seq,
        },
    )
    .await?;
    Ok(tx.affected_rows() == 1)
}

/// One beat. Returns the row's new sequence number, or none when the row is not ours any more. `took_ms` is how long
/// the beat before this one took.
pub async fn beat(
    conn: &mut Conn,
    install_id: &str,
    boot_id: &str,
    interval_s: u32,
    took_ms: f64,
) -> mysql_async::Result<Option<u64>> {
    // Assignments run from left to right, so the gap is judged before beat_at and interval_s change. last_insert_id(x)
    // brings the new number back without a second statement.
    conn.exec_drop(
        "update cluster set \
         online_since = case when online_since is null \
           or timestampdiff(microsecond, beat_at, utc_timestamp(6)) > 3000000 * interval_s \
           then utc_timestamp(6) else online_since end, \
         beats = left(concat(date_format(utc_timestamp(6), '%Y-%m-%dT%H:%i:%s.%f'), '/', :took, ' ', beats), 800), \
         beat_at = utc_timestamp(6), beat_seq = last_insert_id(beat_seq + 1), interval_s = :interval_s \
         where install_id = :install_id and boot_id = :boot_id and removed_at is null",
        params! {
            "took" => format!("{took_ms:.1}"), "interval_s" => interval_s, "install_id" => install_id,
            "boot_id" => boot_id,
        },
    )
    .await?;
    Ok(if conn.affected_rows() == 1 {
        conn.last_insert_id()
    } else {
        None
    })
}

/// Changes the cluster id of our own row; false when it is not ours any more.
pub async fn set_cluster_id(
    tx: &mut Transaction<'_>,
    (install_id, boot_id): (&str, &str),
    cluster_id: &str,
) -> mysql_async::Result<bool> {
    tx.exec_drop(
        "update cluster set cluster_id = ? where install_id = ? and boot_id = ? and removed_at is null",
        (cluster_id, install_id, boot_id),
    )
    .await?;
    Ok(tx.affected_rows() == 1)
}

/// Changes the boot id of the row if nobody else has beaten since `seq`.
pub async fn rename_boot(conn: &mut Conn, install_id: &str, from: (&str, u64), to: &str) -> mysql_async::Result<bool> {
    let (boot_id, seq) = from;
    conn.exec_drop(
        "update cluster set boot_id = ? where install_id = ? and boot_id = ? and beat_seq = ? and removed_at is null",
        (to, install_id, boot_id, seq),
    )
    .await?;
    Ok(conn.affected_rows() == 1)
}

/// Says which master keys a server has, if that is news.
pub async fn tell_keys(conn: &mut Conn, install_id: &str, fingerprints: &str) -> mysql_async::Result<()> {
    conn.exec_drop(
        "update cluster set key_fingerprints = left(?, 255) where install_id = ? and key_fingerprints <> left(?, 255)",
        (fingerprints, install_id, fingerprints),
    )
    .await
}

/// The last word of a server that ends. The boot id goes, so that a beat still on its way meets no row; a clock that was
/// set back must not leave the stop before the last beat.
pub async fn stop(conn: &mut Conn, install_id: &str, boot_id: &str) -> mysql_async::Result<()> {
    conn.exec_drop(
        "update cluster set stopped_at = greatest(utc_timestamp(6), coalesce(beat_at, utc_timestamp(6))), boot_id = '' \
         where install_id = ? and boot_id = ? and removed_at is null",
        (install_id, boot_id),
    )
    .await
}

/// A second process reports itself on the row it may not have.
pub async fn report_duplicate(conn: &mut Conn, me: &SelfPortrait) -> mysql_async::Result<()> {
    conn.exec_drop(
        "update cluster set \
         duplicate_since = case when duplicate_since is null or duplicate_boot_id <> :boot_id \
           then utc_timestamp(6) else duplicate_since end, \
         duplicate_at = utc_timestamp(6), duplicate_boot_id = :boot_id, duplicate_interval_s = :interval_s, \
         duplicate_host = :host, duplicate_path = :data_path \
         where install_id = :install_id and boot_id <> :boot_id and removed_at is null",
        params! {
            "install_id" => &me.install_id, "boot_id" => &me.boot_id, "interval_s" => me.interval_s,
            "host" => &me.host, "data_path" => &me.data_path,
        },
    )
    .await
}

/// Takes the report back when that process ends.
pub async fn withdraw_duplicate(conn: &mut Conn, install_id: &str, boot_id: &str) -> mysql_async::Result<()> {
    conn.exec_drop(
        "update cluster set duplicate_at = null, duplicate_since = null where install_id = ? and duplicate_boot_id = ?",
        (install_id, boot_id),
    )
    .await
}
