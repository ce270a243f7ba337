//! All SQL of the tables `asset_group` and `cluster_group`.

use chrono::NaiveDateTime;
use mysql_async::prelude::{FromRow, Queryable};
use mysql_async::{Conn, Params, Transaction, Value};

use super::{Group, Member};
use crate::liveness::{LIVENESS, STATE, State};

/// One group beside one of its clusters.
#[derive(Debug, FromRow)]
struct Line {
    group_id: u32,
    name: String,
    is_default: bool,
    modified_at: Option<NaiveDateTime>,
    modified_by: String,
    row_version: u32,
    assets: Option<u64>,
    total: u64,
    install_id: Option<String>,
    cluster: Option<String>,
    state: Option<State>,
    is_alive: Option<bool>,
}

/// Groups with their clusters: those nobody is bound to first, then those whose clusters are all away, then the rest, by
/// name. Also how many there are in all.
///
/// `name_part` is compared without case; empty for every group.
pub async fn page(conn: &mut Conn, name_part: &str, from: u64, count: u64) -> mysql_async::Result<(Vec<Group>, u64)> {
    let alive = format!("max({LIVENESS} in ('online', 'late'))");
    let groups = format!(
        "select g.*, coalesce(s.alive, 0) as rank_alive, s.group_id is not null as rank_bound, count(*) over () as total \
         from asset_group g left join (select b.group_id, {alive} as alive from cluster_group b \
         join cluster c on c.install_id = b.install_id group by b.group_id) s on s.group_id = g.group_id \
         where ? = '' or locate(?, g.name_key) > 0 \
         order by rank_alive, rank_bound, g.name_key limit {count} offset {from}"
    );
    let sql = format!(
        "{} order by g.rank_alive, g.rank_bound, g.name_key, b.position",
        lines(&groups, true)
    );
    let key = super::name_key(name_part);
    let lines: Vec<Line> = conn.exec(sql, (&key, &key)).await?;
    let total = lines.first().map_or(0, |line| line.total);
    Ok((folded(lines), total))
}

pub async fn by_id(conn: &mut impl Queryable, group_id: u32) -> mysql_async::Result<Option<Group>> {
    let sql = format!(
        "{} order by b.position",
        lines("select g.*, 1 as total from asset_group g where g.group_id = ?", true)
    );
    Ok(folded(conn.exec(sql, (group_id,)).await?).pop())
}

/// Every group, and which clusters are bound to it, for a form that binds one cluster to many groups.
pub async fn all(conn: &mut impl Queryable) -> mysql_async::Result<Vec<Group>> {
    let sql = format!(
        "{} order by g.name_key, b.position",
        lines("select g.*, 1 as total from asset_group g", false)
    );
    Ok(folded(conn.query(sql).await?))
}

/// The groups a cluster is bound to.
pub async fn of_cluster(conn: &mut impl Queryable, install_id: &str) -> mysql_async::Result<Vec<Group>> {
    let groups = "select g.*, 1 as total from asset_group g join cluster_group own on own.group_id = g.group_id \
                  where own.install_id = ?";
    let sql = format!("{} order by g.name_key, b.position", lines(groups, false));
    Ok(folded(conn.exec(sql, (install_id,)).await?))
}

/// With `counts`, also how many assets are in each, which takes as long as there are many.
fn lines(groups: &str, counts: bool) -> String {
    let assets = match counts {
        true => "(select count(*) from asset a where a.group_id = g.group_id)",
        false => "null",
    };
    format!(
        "select g.group_id, g.name, g.default_one is not null as is_default, g.modified_at, g.modified_by, g.row_version, \
         {assets} as assets, g.total, c.install_id, c.name as cluster, if(c.install_id is null, null, {STATE}) as state, \
         {LIVENESS} in ('online', 'late') as is_alive from ({groups}) g \
         left join cluster_group b on b.group_id = g.group_id left join cluster c on c.install_id = b.install_id"
    )
}

/// Lines of the same group stand together.
fn folded(lines: Vec<Line>) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for line in lines {
        if groups.last().is_none_or(|last| last.group_id != line.group_id) {
            groups.push(Group {
                group_id: line.group_id,
                name: line.name,
                is_default: line.is_default,
                modified_at: line.modified_at,
                modified_by: line.modified_by,
                row_version: line.row_version,
                assets: line.assets,
                members: Vec::new(),
            });
        }
        let member = line.install_id.zip(line.cluster).zip(line.state);
        if let (Some(group), Some(((install_id, name), state))) = (groups.last_mut(), member) {
            group.members.push(Member {
                install_id,
                name,
                state,
                is_alive: line.is_alive.unwrap_or(false),
            });
        }
    }
    groups
}

/// [`by_id`], with the group's row locked until the transaction ends: whoever changes its name or clusters comes through
/// here.
pub async fn locked(tx: &mut Transaction<'_>, group_id: u32) -> mysql_async::Result<Option<Group>> {
    let found: Option<u32> = tx
        .exec_first(
            "select group_id from asset_group where group_id = ? for update",
            (group_id,),
        )
        .await?;
    match found {
        Some(_) => by_id(tx, group_id).await,
        None => Ok(None),
    }
}

/// A new group; while there is a single cluster, that one watches it.
pub async fn insert(tx: &mut Transaction<'_>, name: &str, by: &str) -> mysql_async::Result<u32> {
    tx.exec_drop(
        "insert into asset_group (name, name_key, created_by) values (?, ?, ?)",
        (name, super::name_key(name), by),
    )
    .await?;
    let group_id = tx.last_insert_id().unwrap_or_default() as u32;
    if let Some(install_id) = only_cluster(tx).await?
        && !hold_clusters(tx, &[&install_id]).await?.is_empty()
    {
        set_members(tx, group_id, &[&install_id], by).await?;
    }
    Ok(group_id)
}

/// Whether a group that is made now is bound by itself.
pub async fn is_one_cluster(conn: &mut impl Queryable) -> mysql_async::Result<bool> {
    Ok(only_cluster(conn).await?.is_some())
}

async fn only_cluster(conn: &mut impl Queryable) -> mysql_async::Result<Option<String>> {
    let ids: Vec<String> = conn
        .query("select install_id from cluster where removed_at is null limit 2")
        .await?;
    Ok(match <[String; 1]>::try_from(ids) {
        Ok([id]) => Some(id),
        Err(_) => None,
    })
}

/// Makes servers that register at the same moment go one after the other.
pub async fn lock_default(tx: &mut Transaction<'_>) -> mysql_async::Result<()> {
    tx.query_drop("select group_id from asset_group where default_one = 1 for update")
        .await
}

/// Whether this is the only cluster there is: it then gets all groups and workspaces, since a system of one server needs no
/// set-up. Behind [`lock_default`], so that of several first servers exactly one gets them.
pub async fn is_only_cluster(tx: &mut Transaction<'_>, install_id: &str) -> mysql_async::Result<bool> {
    Ok(only_cluster(tx).await?.as_deref() == Some(install_id))
}

/// Binds every group without a cluster to this one.
pub async fn bind_all(tx: &mut Transaction<'_>, install_id: &str) -> mysql_async::Result<()> {
    tx.exec_drop(
        "insert into cluster_group (group_id, install_id) select group_id, ? from asset_group \
         where group_id not in (select group_id from cluster_group)",
        (install_id,),
    )
    .await
}

/// False when somebody else saved since `row_version`.
pub async fn rename(
    tx: &mut Transaction<'_>,
    (group_id, row_version): (u32, u32),
    name: &str,
    by: &str,
) -> mysql_async::Result<bool> {
    tx.exec_drop(
        "update asset_group set name = ?, name_key = ?, modified_at = utc_timestamp(6), modified_by = ?, \
         row_version = row_version + 1 where group_id = ? and row_version = ?",
        (name, super::name_key(name), by, group_id, row_version),
    )
    .await?;
    Ok(tx.affected_rows() == 1)
}

/// The channels that go with a group: id, name, and what may be seen of where they lead.
pub async fn channels(tx: &mut Transaction<'_>, group_id: u32) -> mysql_async::Result<Vec<(u32, String, String)>> {
    let sql = "select channel_id, name, target from notice_channel where group_id = ? order by channel_id";
    tx.exec(sql, (group_id,)).await
}

pub async fn remove(tx: &mut Transaction<'_>, group_id: u32) -> mysql_async::Result<()> {
    tx.exec_drop("delete from asset_group where group_id = ?", (group_id,))
        .await
}

/// Clusters to choose from, those alive first.
#[derive(Debug, Clone, FromRow)]
pub struct Choice {
    pub install_id: String,
    pub name: String,
    pub state: State,
}

/// The clusters that are not bound to a group yet.
pub async fn choices(conn: &mut Conn, group_id: u32) -> mysql_async::Result<Vec<Choice>> {
    let sql = format!(
        "select install_id, name, {STATE} as state from cluster where removed_at is null and install_id not in \
         (select install_id from cluster_group where group_id = ?) order by {LIVENESS} not in ('online', 'late'), name"
    );
    conn.exec(sql, (group_id,)).await
}

/// All clusters but one, to take over from it.
pub async fn others(conn: &mut Conn, install_id: &str) -> mysql_async::Result<Vec<Choice>> {
    let sql = format!(
        "select install_id, name, {STATE} as state from cluster where removed_at is null and install_id <> ? \
         order by {LIVENESS} not in ('online', 'late'), name"
    );
    conn.exec(sql, (install_id,)).await
}

/// Takes a cluster out of every group, when it is removed. Its row is locked.
pub async fn unbind_everywhere(tx: &mut Transaction<'_>, install_id: &str) -> mysql_async::Result<()> {
    tx.exec_drop("delete from cluster_group where install_id = ?", (install_id,))
        .await
}

/// Holds the rows of clusters until the transaction ends, in one order for everybody, and tells which of them are on the
/// roll. Taken after the groups' rows and before their bindings are written, so that nobody binds a cluster that is being
/// removed. The beats of these clusters wait meanwhile: keep it short.
pub async fn hold_clusters(
    tx: &mut Transaction<'_>,
    install_ids: &[&str],
) -> mysql_async::Result<Vec<(String, String)>> {
    if install_ids.is_empty() {
        return Ok(Vec::new());
    }
    let marks = vec!["?"; install_ids.len()].join(", ");
    let sql = format!(
        "select install_id, name from cluster where install_id in ({marks}) and removed_at is null \
         order by install_id for update"
    );
    let ids = install_ids.iter().map(|id| Value::from(*id)).collect();
    tx.exec(sql, Params::Positional(ids)).await
}

/// Locks every group a cluster is bound to, in the order of their ids; returns those ids.
pub async fn lock_of_cluster(tx: &mut Transaction<'_>, install_id: &str) -> mysql_async::Result<Vec<u32>> {
    tx.exec(
        "select group_id from asset_group where group_id in (select group_id from cluster_group where install_id = ?) \
         order by group_id for update",
        (install_id,),
    )
    .await
}

/// The groups a cluster is bound to, by their ids.
pub async fn ids_of_cluster(tx: &mut Transaction<'_>, install_id: &str) -> mysql_async::Result<Vec<u32>> {
    tx.exec("select group_id from cluster_group where install_id = ?", (install_id,))
        .await
}

/// Puts a cluster in the place of another in every group; where it stood already it takes the better of both places. The
/// groups' rows are locked and both clusters are held.
pub async fn hand_over(tx: &mut Transaction<'_>, from: &str, heir: &str, by: &str) -> mysql_async::Result<()> {
    tx.exec_drop(
        "update asset_group set modified_at = utc_timestamp(6), modified_by = ? \
         where group_id in (select group_id from cluster_group where install_id = ?)",
        (by, from),
    )
    .await?;
    tx.exec_drop(
        "delete h from cluster_group h join cluster_group o on o.group_id = h.group_id and o.install_id = ? \
         where h.install_id = ? and o.position < h.position",
        (from, heir),
    )
    .await?;
    tx.exec_drop(
        "delete o from cluster_group o join cluster_group h on h.group_id = o.group_id and h.install_id = ? \
         where o.install_id = ?",
        (heir, from),
    )
    .await?;
    tx.exec_drop(
        "update cluster_group set install_id = ? where install_id = ?",
        (heir, from),
    )
    .await
}

/// Gives a group exactly these clusters in this order. Its row is new, or locked.
pub async fn set_members(
    tx: &mut Transaction<'_>,
    group_id: u32,
    install_ids: &[&str],
    by: &str,
) -> mysql_async::Result<()> {
    tx.exec_drop("delete from cluster_group where group_id = ?", (group_id,))
        .await?;
    tx.exec_drop(
        "update asset_group set modified_at = utc_timestamp(6), modified_by = ? where group_id = ?",
        (by, group_id),
    )
    .await?;
    let rows = (1_u32..)
        .zip(install_ids)
        .map(|(position, id)| (group_id, *id, position));
    tx.exec_batch(
        "insert into cluster_group (group_id, install_id, position) values (?, ?, ?)",
        rows,
    )
    .await
}
