//! All SQL of the table `cluster`.

use chrono::NaiveDateTime;
use mysql_async::prelude::{FromRow, Queryable};
use mysql_async::{Conn, Params, Transaction, Value, params};

use super::wanted::Wanted;
use crate::liveness::{AGE, STATE, State, Times};

/// One line of the list.
#[derive(Debug, Clone, FromRow)]
pub struct Row {
    pub install_id: String,
    pub cluster_id: String,
    pub name: String,
    pub address: String,
    pub host: String,
    pub version: String,
    pub state: State,
    pub interval_s: u32,
    pub beat_at: Option<NaiveDateTime>,
    pub online_since: Option<NaiveDateTime>,
    pub stopped_at: Option<NaiveDateTime>,
    pub duplicate_since: Option<NaiveDateTime>,
    pub created_at: NaiveDateTime,
    pub modified_at: Option<NaiveDateTime>,
    pub modified_by: String,
}

const ROW: &str = "install_id, cluster_id, name, address, host, version, interval_s, beat_at, online_since, stopped_at, \
    duplicate_since, created_at, modified_at, modified_by";

impl Row {
    pub fn times(&self) -> Times {
        Times {
            interval_s: self.interval_s,
            created_at: self.created_at,
            beat_at: self.beat_at,
            online_since: self.online_since,
            stopped_at: self.stopped_at,
            duplicate_since: self.duplicate_since,
        }
    }
}

/// The rest of what is known of one cluster.
#[derive(Debug, Clone, FromRow)]
pub struct Details {
    pub data_path: String,
    pub pid: u32,
    pub boot_id: String,
    pub started_at: Option<NaiveDateTime>,
    pub beat_seq: u64,
    pub beats: String,
    pub age_us: Option<i64>,
    pub duplicate_host: String,
    pub duplicate_path: String,
}

/// How many clusters are in each state, whatever state is asked for.
pub async fn counts(conn: &mut Conn, wanted: &Wanted) -> mysql_async::Result<Vec<(State, u64)>> {
    let (filter, values) = filter(wanted);
    let sql = format!("select {STATE} as state, count(*) from cluster where {filter} group by state");
    conn.exec(sql, Params::Positional(values)).await
}

/// The lines of one page of the list.
pub async fn page(conn: &mut Conn, wanted: &Wanted, from: u64) -> mysql_async::Result<Vec<Row>> {
    let (mut filter, mut values) = filter(wanted);
    if let Some(state) = wanted.state {
        filter.push_str(&format!(" and {STATE} = ?"));
        values.push(state.code().into());
    }
    let order = if wanted.descending { "desc" } else { "asc" };
    let sql = format!(
        "select {ROW}, {STATE} as state from cluster where {filter} order by {} {order}, install_id limit {} offset {from}",
        wanted.sort.column(),
        wanted.size,
    );
    conn.exec(sql, Params::Positional(values)).await
}

/// What is filtered by, as SQL over positional values. `locate` takes `%` and `_` as they are and compares like the
/// column: without case.
fn filter(wanted: &Wanted) -> (String, Vec<Value>) {
    let mut sql = "removed_at is null".to_owned();
    let mut values = Vec::new();
    for (column, text) in [
        ("name", &wanted.name),
        ("address", &wanted.address),
        ("host", &wanted.host),
    ] {
        if !text.is_empty() {
            sql.push_str(&format!(" and locate(?, {column}) > 0"));
            values.push(text.into());
        }
    }
    (sql, values)
}

/// One cluster with everything known of it.
pub async fn by_install_id(conn: &mut Conn, install_id: &str) -> mysql_async::Result<Option<(Row, Details)>> {
    let sql = format!(
        "select {ROW}, {STATE} as state, data_path, pid, boot_id, started_at, beat_seq, beats, {AGE} as age_us, \
         duplicate_host, duplicate_path from cluster where install_id = ? and removed_at is null"
    );
    let row: Option<mysql_async::Row> = conn.exec_first(sql, (install_id,)).await?;
    Ok(row.map(|row| (mysql_async::from_row(row.clone()), mysql_async::from_row(row))))
}

/// A cluster's name, for the frame of each page.
pub async fn name(conn: &mut Conn, install_id: &str) -> mysql_async::Result<Option<String>> {
    conn.exec_first("select name from cluster where install_id = ?", (install_id,))
        .await
}

/// A cluster whose state is another than the trail told last.
#[derive(Debug, Clone, FromRow)]
pub struct Changed {
    pub install_id: String,
    pub name: String,
    pub interval_s: u32,
    pub told_state: String,
    pub state: State,
}

/// "Late" comes and goes with a busy network; only what follows it is worth a line.
pub async fn changed_states(conn: &mut Conn) -> mysql_async::Result<Vec<Changed>> {
    let sql = format!(
        "select * from (select install_id, name, interval_s, told_state, {STATE} as state from cluster \
         where removed_at is null) as now where state <> told_state and state <> 'late' order by install_id limit 200"
    );
    conn.query(sql).await
}

/// Notes that the trail tells this state; false when another observer was first.
pub async fn tell_state(tx: &mut Transaction<'_>, cluster: &Changed) -> mysql_async::Result<bool> {
    tx.exec_drop(
        "update cluster set told_state = ? where install_id = ? and told_state = ?",
        (cluster.state.code(), &cluster.install_id, &cluster.told_state),
    )
    .await?;
    Ok(tx.affected_rows() == 1)
}

/// Seconds since the last beat of every cluster, for `/metrics`.
pub async fn beat_ages(conn: &mut Conn) -> mysql_async::Result<Vec<(String, String, Option<f64>)>> {
    conn.query(format!(
        "select install_id, cluster_id, {AGE} / 1000000e0 from cluster where removed_at is null"
    ))
    .await
}

/// Gives a cluster that nobody has described yet its name and address, as the demo does.
pub async fn describe(
    conn: &mut Conn,
    install_id: &str,
    name: &str,
    address: &str,
    by: &str,
) -> mysql_async::Result<()> {
    conn.exec_drop(
        "update cluster set name = :name, address = :address, modified_by = :by, modified_at = utc_timestamp(6), \
         row_version = row_version + 1 where install_id = :install_id and modified_at is null",
        params! { "name" => name, "address" => address, "by" => by, "install_id" => install_id },
    )
    .await
}
