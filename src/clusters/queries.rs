//! All SQL of the table `cluster`.

use chrono::NaiveDateTime;
use mysql_async::prelude::{FromRow, Queryable};
use mysql_async::{Conn, Params, Transaction, Value, params};

use super::check::queries::{Told, WORST};
use super::wanted::Wanted;
use crate::liveness::{AGE, LIVENESS, STATE, State, Times};

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
    /// What is wrong at its address, or that nothing is; none before the first check.
    pub check: Option<Told>,
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
    /// Whether the holder of the row itself still beats.
    pub is_alive: bool,
    pub duplicate_host: String,
    pub duplicate_path: String,
    /// It has no workspaces, and clusters that were silent before it came still have some, or groups: it may be one of
    /// them without its `INSTALL.json`.
    pub may_succeed: bool,
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
        "select {ROW}, {STATE} as state, {WORST} as `check` from cluster where {filter} order by {} {order}, install_id limit {} offset {from}",
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
        "select {ROW}, {STATE} as state, {WORST} as `check`, data_path, pid, boot_id, started_at, beat_seq, beats, {AGE} as age_us, \
         {LIVENESS} in ('online', 'late') as is_alive, \
         duplicate_host, duplicate_path, \
         not exists (select 1 from workspace w where w.install_id = cluster.install_id) and exists (select 1 \
         from cluster d where d.removed_at is null and d.install_id <> cluster.install_id \
         and coalesce(d.beat_at, d.created_at) < cluster.created_at and {LIVENESS} not in ('online', 'late') \
         and (exists (select 1 from workspace w where w.install_id = d.install_id) \
         or exists (select 1 from cluster_group b where b.install_id = d.install_id))) as may_succeed \
         from cluster where install_id = ? and removed_at is null"
    );
    let row: Option<mysql_async::Row> = conn.exec_first(sql, (install_id,)).await?;
    Ok(row.map(|row| (mysql_async::from_row(row.clone()), mysql_async::from_row(row))))
}

/// Another cluster that lives under the same cluster id.
#[derive(Debug, Clone, FromRow)]
pub struct Namesake {
    pub install_id: String,
    pub name: String,
    pub host: String,
    pub data_path: String,
}

/// A hundred at most. A row that is not alive has no conflict with anybody.
pub async fn namesakes(conn: &mut Conn, cluster_id: &str, install_id: &str) -> mysql_async::Result<Vec<Namesake>> {
    let sql = format!(
        "select install_id, name, host, data_path from cluster where cluster_id = ? and install_id <> ? \
         and removed_at is null and {LIVENESS} in ('online', 'late') order by install_id limit 100"
    );
    conn.exec(sql, (cluster_id, install_id)).await
}

/// What people may change of a cluster.
#[derive(Debug, Clone, FromRow)]
pub struct Editable {
    pub name: String,
    pub address: String,
    pub row_version: u32,
}

pub async fn editable(conn: &mut Conn, install_id: &str) -> mysql_async::Result<Option<Editable>> {
    conn.exec_first(
        "select name, address, row_version from cluster where install_id = ? and removed_at is null",
        (install_id,),
    )
    .await
}

/// False when somebody else saved since `row_version`, or the cluster is gone.
pub async fn update(
    tx: &mut Transaction<'_>,
    (install_id, row_version): (&str, u32),
    (name, address): (&str, &str),
    (by, role): (&str, &str),
) -> mysql_async::Result<bool> {
    // From left to right: whose address it is is asked before it is another.
    tx.exec_drop(
        "update cluster set name = ?, address_role = if(address = ?, address_role, ?), address = ?, modified_by = ?, \
         modified_at = utc_timestamp(6), row_version = row_version + 1 \
         where install_id = ? and row_version = ? and removed_at is null",
        (name, address, role, address, by, install_id, row_version),
    )
    .await?;
    Ok(tx.affected_rows() == 1)
}

/// What is bound to a cluster: a group, with how many other clusters it has, or a workspace.
#[derive(Debug, Clone, FromRow)]
pub struct Bound {
    pub kind: String,
    pub id: String,
    pub name: String,
    pub others: u64,
    /// How many are like this one: of the same kind, and with or without others.
    pub total: u64,
}

/// What is bound to a cluster; of each kind the first, those that stand against its deletion before the others.
pub async fn bound(conn: &mut Conn, install_id: &str) -> mysql_async::Result<Vec<Bound>> {
    conn.exec(
        "(select x.*, count(*) over (partition by others = 0) as total from (select 'group' as kind, \
         cast(g.group_id as char) as id, g.name, (select count(*) from cluster_group o \
         where o.group_id = g.group_id and o.install_id <> b.install_id) as others from cluster_group b \
         join asset_group g on g.group_id = b.group_id where b.install_id = ?) x order by others > 0, name limit 200) \
         union all (select 'workspace', workspace_id, name, 0, count(*) over () from workspace where install_id = ? \
         order by name_key limit 200)",
        (install_id, install_id),
    )
    .await
}

/// What a deletion looks at, with the row locked until the transaction ends: a beat waits meanwhile.
#[derive(Debug, Clone, FromRow)]
pub struct Removable {
    pub name: String,
    /// Of the holder of the row, or that a second process waits for it.
    pub state: State,
    pub beat_seq: u64,
}

impl Removable {
    /// Whether a process lives that would lose its row.
    pub fn is_in_use(&self) -> bool {
        self.state.is_alive() || self.state == State::Duplicate
    }
}

pub async fn locked(tx: &mut Transaction<'_>, install_id: &str) -> mysql_async::Result<Option<Removable>> {
    let sql = format!(
        "select name, {STATE} as state, beat_seq from cluster where install_id = ? and removed_at is null for update"
    );
    tx.exec_first(sql, (install_id,)).await
}

/// Takes a cluster off the roll. Its row stays and tells a server that still runs who did it.
pub async fn remove(tx: &mut Transaction<'_>, install_id: &str, by: &str) -> mysql_async::Result<()> {
    tx.exec_drop(
        "update cluster set removed_at = utc_timestamp(6), removed_by = ?, boot_id = '' where install_id = ?",
        (by, install_id),
    )
    .await
}

/// A cluster that is not alive, and what is bound to it.
#[derive(Debug, Clone, FromRow)]
pub struct Predecessor {
    pub install_id: String,
    pub name: String,
    pub host: String,
    pub data_path: String,
    pub address: String,
    pub state: State,
    pub beat_at: Option<NaiveDateTime>,
    pub beat_seq: u64,
    pub workspaces: u64,
    pub groups: u64,
}

/// Fifty at most: first those of the same place, then those with most bound to them.
pub async fn predecessors(
    conn: &mut Conn,
    install_id: &str,
    (host, data_path): (&str, &str),
) -> mysql_async::Result<Vec<Predecessor>> {
    let sql = format!(
        "select install_id, name, host, data_path, address, {STATE} as state, beat_at, beat_seq, \
         (select count(*) from workspace w where w.install_id = cluster.install_id) as workspaces, \
         (select count(*) from cluster_group b where b.install_id = cluster.install_id) as `groups` \
         from cluster where removed_at is null and install_id <> ? and {STATE} not in ('online', 'late', 'duplicate') \
         order by host = ? and data_path = ? desc, workspaces + `groups` desc, beat_at desc, install_id limit 50"
    );
    conn.exec(sql, (install_id, host, data_path)).await
}

/// Gives a cluster the name and the address of another.
pub async fn inherit(tx: &mut Transaction<'_>, from: &str, heir: &str, by: &str) -> mysql_async::Result<()> {
    tx.exec_drop(
        "update cluster heir join cluster old on old.install_id = ? set heir.name = old.name, \
         heir.address_role = if(old.address = '', heir.address_role, old.address_role), \
         heir.address = if(old.address = '', heir.address, old.address), heir.modified_by = ?, \
         heir.modified_at = utc_timestamp(6), heir.row_version = heir.row_version + 1 where heir.install_id = ?",
        (from, by, heir),
    )
    .await
}

/// Puts a removed cluster back on the roll, without groups and workspaces; false when it is there.
pub async fn put_back(tx: &mut Transaction<'_>, install_id: &str) -> mysql_async::Result<bool> {
    tx.exec_drop(
        "update cluster set removed_at = null, removed_by = '', told_state = '', row_version = row_version + 1 \
         where install_id = ? and removed_at is not null",
        (install_id,),
    )
    .await?;
    Ok(tx.affected_rows() == 1)
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
        "update cluster set name = :name, address = :address, address_role = 'super_admin', modified_by = :by, modified_at = utc_timestamp(6), \
         row_version = row_version + 1 where install_id = :install_id and modified_at is null",
        params! { "name" => name, "address" => address, "by" => by, "install_id" => install_id },
    )
    .await
}
