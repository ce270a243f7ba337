//! All SQL of the tables `handover` and `handover_item`.

use chrono::NaiveDateTime;
use mysql_async::prelude::{FromRow, Queryable};
use mysql_async::{Conn, Transaction};

/// Everything of one cluster, given to another.
#[derive(Debug, Clone, FromRow)]
pub struct Handover {
    pub handover_id: String,
    pub from_install_id: String,
    pub to_install_id: String,
    pub from_name: Option<String>,
    pub to_name: Option<String>,
    pub made_at: NaiveDateTime,
    pub made_by: String,
    pub undone_at: Option<NaiveDateTime>,
    pub undone_by: String,
    pub workspaces: u64,
    pub groups: u64,
}

pub async fn by_id(conn: &mut impl Queryable, handover_id: &str) -> mysql_async::Result<Option<Handover>> {
    conn.exec_first(
        "select h.*, f.name as from_name, t.name as to_name, \
         (select count(*) from handover_item i where i.handover_id = h.handover_id and i.kind = 'workspace') as workspaces, \
         (select count(*) from handover_item i where i.handover_id = h.handover_id and i.kind = 'group') as `groups` \
         from handover h left join cluster f on f.install_id = h.from_install_id \
         left join cluster t on t.install_id = h.to_install_id where h.handover_id = ?",
        (handover_id,),
    )
    .await
}

/// Notes everything that is bound to `from`, before it goes to `heir`. Both clusters are held, and the groups' rows locked.
pub async fn note(
    tx: &mut Transaction<'_>,
    handover_id: &str,
    (from, heir): (&str, &str),
    by: &str,
) -> mysql_async::Result<()> {
    tx.exec_drop(
        "insert into handover (handover_id, from_install_id, to_install_id, made_at, made_by) \
         values (?, ?, ?, utc_timestamp(6), ?)",
        (handover_id, from, heir, by),
    )
    .await?;
    tx.exec_drop(
        "insert into handover_item (handover_id, kind, object_id) \
         select ?, 'workspace', workspace_id from workspace where install_id = ?",
        (handover_id, from),
    )
    .await?;
    tx.exec_drop(
        "insert into handover_item (handover_id, kind, object_id, position, heir_position) \
         select ?, 'group', cast(o.group_id as char), o.position, h.position from cluster_group o \
         left join cluster_group h on h.group_id = o.group_id and h.install_id = ? where o.install_id = ?",
        (handover_id, heir, from),
    )
    .await
}

/// Marks it as undone; false when it was already.
pub async fn undo(tx: &mut Transaction<'_>, handover_id: &str, by: &str) -> mysql_async::Result<bool> {
    tx.exec_drop(
        "update handover set undone_at = utc_timestamp(6), undone_by = ? where handover_id = ? and undone_at is null",
        (by, handover_id),
    )
    .await?;
    Ok(tx.affected_rows() == 1)
}

/// Locks the groups that were given, in the order of their ids.
pub async fn lock_groups(tx: &mut Transaction<'_>, handover_id: &str) -> mysql_async::Result<()> {
    tx.exec_drop(
        "select group_id from asset_group where group_id in (select cast(object_id as unsigned) from handover_item \
         where handover_id = ? and kind = 'group') order by group_id for update",
        (handover_id,),
    )
    .await
}

/// Gives back what still is where it was given to; what somebody bound elsewhere since stays there. Returns how many
/// workspaces and groups.
pub async fn give_back(tx: &mut Transaction<'_>, of: &Handover, by: &str) -> mysql_async::Result<(u64, u64)> {
    let (id, from, heir) = (&of.handover_id, &of.from_install_id, &of.to_install_id);
    tx.exec_drop(
        "update workspace w join handover_item i on i.handover_id = ? and i.kind = 'workspace' and i.object_id = w.workspace_id \
         set w.install_id = ?, w.modified_at = utc_timestamp(6), w.modified_by = ?, w.row_version = w.row_version + 1 \
         where w.install_id = ?",
        (id, from, by, heir),
    )
    .await?;
    let workspaces = tx.affected_rows();
    // The heir stood behind before: it goes back to the end, and the one before it takes its place again.
    let item =
        "join handover_item i on i.handover_id = ? and i.kind = 'group' and i.object_id = cast(b.group_id as char)";
    tx.exec_drop(
        format!(
            "insert ignore into cluster_group (group_id, install_id, position) select b.group_id, ?, \
             (select max(m.position) + 1 from cluster_group m where m.group_id = b.group_id) from cluster_group b {item} \
             where b.install_id = ? and i.heir_position is not null and i.heir_position < i.position"
        ),
        (from, id, heir),
    )
    .await?;
    let mut groups = tx.affected_rows();
    tx.exec_drop(
        format!(
            "update cluster_group b {item} left join cluster_group o on o.group_id = b.group_id and o.install_id = ? \
             set b.install_id = ? where b.install_id = ? and o.group_id is null \
             and (i.heir_position is null or i.heir_position > i.position)"
        ),
        (id, from, from, heir),
    )
    .await?;
    groups += tx.affected_rows();
    tx.exec_drop(
        format!(
            "insert ignore into cluster_group (group_id, install_id, position) select b.group_id, ?, \
             (select max(m.position) + 1 from cluster_group m where m.group_id = b.group_id) from cluster_group b {item} \
             where b.install_id = ? and i.heir_position is not null and i.heir_position > i.position"
        ),
        (heir, id, from),
    )
    .await?;
    Ok((workspaces, groups))
}

/// Drops those whose line in the trail is gone.
pub async fn sweep(conn: &mut Conn, days: u32) -> mysql_async::Result<u64> {
    conn.exec_drop(
        "delete from handover where made_at < utc_timestamp(6) - interval ? day limit 100",
        (days,),
    )
    .await?;
    Ok(conn.affected_rows())
}
