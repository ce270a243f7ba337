//! What the home page reads of everything: counts and first names only.

use mysql_async::prelude::{FromRow, Queryable};
use mysql_async::{Conn, Params, Value};

use crate::clusters::check::queries::{Told, WORST};
use crate::liveness::{LIVENESS, STATE, State};

/// Beyond this it is enough to know that there are more.
pub const MANY: u64 = 1000;
/// Clusters that the page names; the list has all.
pub const MOST: usize = 200;

/// One cluster with how much is bound to it.
#[derive(Debug, Clone, FromRow)]
pub struct Column {
    pub install_id: String,
    pub cluster_id: String,
    pub name: String,
    pub address: String,
    pub state: State,
    pub is_alive: bool,
    pub check: Option<Told>,
    pub workspaces: u64,
    pub groups: u64,
}

/// The clusters by name: those that need attention first where there are too many.
pub async fn columns(conn: &mut Conn) -> mysql_async::Result<Vec<Column>> {
    conn.query(format!(
        "select * from (select install_id, cluster_id, name, address, {STATE} as state, \
         {LIVENESS} in ('online', 'late') as is_alive, {WORST} as `check`, \
         (select count(*) from workspace w where w.install_id = cluster.install_id) as workspaces, \
         (select count(*) from cluster_group b where b.install_id = cluster.install_id) as `groups` \
         from cluster where removed_at is null order by {LIVENESS} in ('online', 'late'), name limit {MOST}) x order by name"
    ))
    .await
}

/// What is counted over everything.
#[derive(Debug, Clone, Default, FromRow)]
pub struct Counts {
    pub clusters: u64,
    /// Pairs and more that live under one cluster id.
    pub conflicts: u64,
    pub unbound_workspaces: u64,
    /// Bound to a cluster that is not alive.
    pub stranded_workspaces: u64,
    pub unbound_groups: u64,
    /// All of whose clusters are away.
    pub uncovered_groups: u64,
    /// In groups that no cluster alive is bound to; counted up to [`MANY`].
    pub unwatched_assets: u64,
    /// Counted up to [`MANY`], as the next.
    pub down_assets: u64,
    pub degraded_assets: u64,
    pub unknown_assets: u64,
    /// Those that show another host key.
    pub changed_assets: u64,
}

pub async fn counts(conn: &mut Conn) -> mysql_async::Result<Counts> {
    let alive = format!("{LIVENESS} in ('online', 'late')");
    // What is paused is meant to be so; the list of assets leaves it out as well.
    let going = "coalesce(paused_until <= utc_timestamp(6), 1)";
    let found: Option<Counts> = conn
        .query_first(format!(
            "select (select count(*) from cluster where removed_at is null) as clusters, \
             (select count(*) from (select cluster_id from cluster where removed_at is null and {alive} \
             group by cluster_id having count(*) > 1) x) as conflicts, \
             (select count(*) from workspace where install_id is null) as unbound_workspaces, \
             (select count(*) from workspace w join cluster on cluster.install_id = w.install_id where not ({alive})) \
             as stranded_workspaces, \
             (select count(*) from asset_group g where not exists (select 1 from cluster_group b \
             where b.group_id = g.group_id)) as unbound_groups, \
             (select count(*) from (select b.group_id from cluster_group b join cluster on cluster.install_id = b.install_id \
             group by b.group_id having max({alive}) = 0) x) as uncovered_groups, \
             (select count(*) from (select 1 from asset_group g straight_join asset a on a.group_id = g.group_id \
             where not exists (select 1 from cluster_group b join cluster on cluster.install_id = b.install_id \
             where b.group_id = g.group_id and {alive}) limit {MANY}) x) as unwatched_assets, \
             (select count(*) from (select 1 from asset where state = 'down' and {going} limit {MANY}) x) as down_assets, \
             (select count(*) from (select 1 from asset where state = 'degraded' and {going} limit {MANY}) x) as degraded_assets, \
             (select count(*) from (select 1 from asset where state = 'unknown' and {going} limit {MANY}) x) as unknown_assets, \
             (select count(*) from (select 1 from asset where state = 'changed' and {going} limit {MANY}) x) as changed_assets"
        ))
        .await?;
    Ok(found.unwrap_or_default())
}

/// The name of something that is bound to a cluster.
#[derive(Debug, Clone, FromRow)]
pub struct Named {
    pub install_id: String,
    /// `workspace` or `group`.
    pub kind: String,
    pub name: String,
    /// In a group.
    pub assets: u64,
}

/// The first names of what is bound to each of these clusters.
pub async fn names(conn: &mut Conn, install_ids: &[&str]) -> mysql_async::Result<Vec<Named>> {
    if install_ids.is_empty() {
        return Ok(Vec::new());
    }
    let marks = vec!["?"; install_ids.len()].join(", ");
    let ids = || install_ids.iter().map(|id| Value::from(*id));
    conn.exec(
        format!(
            "select install_id, kind, name, if(kind = 'group', (select count(*) from asset a where a.group_id = z.group_id), 0) \
             as assets from (select install_id, 'workspace' as kind, name, place, 0 as group_id from (select install_id, name, name_key, row_number() over \
             (partition by install_id order by name_key) as place from workspace where install_id in ({marks})) x \
             where place <= 3 union all select install_id, 'group', name, place, group_id from (select b.install_id, g.group_id, g.name, g.name_key, row_number() over \
             (partition by b.install_id order by g.name_key) as place from cluster_group b join asset_group g using (group_id) \
             where b.install_id in ({marks})) y where place <= 3) z order by install_id, kind, place"
        ),
        Params::Positional(ids().chain(ids()).collect()),
    )
    .await
}
