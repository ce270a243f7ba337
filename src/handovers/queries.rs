//! All SQL of the tables `handover` and `handover_item`.

use chrono::NaiveDateTime;
use mysql_async::prelude::{FromRow, Queryable};
use mysql_async::{Conn, Transaction};

use crate::db::numbers;

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
/// workspaces and groups. Both clusters are held, and the groups' rows locked.
pub async fn give_back(tx: &mut Transaction<'_>, of: &Handover, by: &str) -> mysql_async::Result<(u64, u64)> {
    let (id, from, heir) = (&of.handover_id, &of.from_install_id, &of.to_install_id);
    tx.exec_drop(
        "update handover_item i straight_join workspace w on w.workspace_id = i.object_id \
         set w.install_id = ?, w.modified_at = utc_timestamp(6), w.modified_by = ?, w.row_version = w.row_version + 1 \
         where i.handover_id = ? and i.kind = 'workspace' and w.install_id = ?",
        (from, by, id, heir),
    )
    .await?;
    let workspaces = tx.affected_rows();
    // Groups that the heir has and the giver has not: the others somebody changed since.
    let given: Vec<(u32, u32, Option<u32>)> = tx
        .exec(
            "select b.group_id, i.position, i.heir_position from handover_item i \
             straight_join cluster_group b on b.group_id = cast(i.object_id as unsigned) and b.install_id = ? \
             left join cluster_group o on o.group_id = b.group_id and o.install_id = ? \
             where i.handover_id = ? and i.kind = 'group' and o.group_id is null",
            (heir, from, id),
        )
        .await?;
    let taken =
        |(_, position, heir_position): &&(u32, u32, Option<u32>)| heir_position.is_none_or(|place| place > *position);
    // The heir stands where the giver stood: the giver takes its place again, and the heir the one it had before.
    let changed: Vec<u32> = given.iter().filter(taken).map(|(group_id, ..)| *group_id).collect();
    set_install(tx, &changed, (heir, from)).await?;
    let again = given
        .iter()
        .filter(taken)
        .filter_map(|(group_id, _, place)| Some((*group_id, (*place)?)));
    add_at(tx, again.collect(), heir).await?;
    // The heir stood before the giver, which comes back behind it.
    let behind = given
        .iter()
        .filter(|item| !taken(item))
        .map(|(group_id, place, _)| (*group_id, *place));
    add_at(tx, behind.collect(), from).await?;
    let all = numbers(given.iter().map(|(group_id, ..)| group_id));
    if !given.is_empty() {
        let sql =
            format!("update asset_group set modified_at = utc_timestamp(6), modified_by = ? where group_id in ({all})");
        tx.exec_drop(sql, (by,)).await?;
    }
    Ok((workspaces, given.len() as u64))
}

async fn set_install(tx: &mut Transaction<'_>, group_ids: &[u32], (from, to): (&str, &str)) -> mysql_async::Result<()> {
    if group_ids.is_empty() {
        return Ok(());
    }
    let ids = numbers(group_ids);
    let sql = format!("update cluster_group set install_id = ? where install_id = ? and group_id in ({ids})");
    tx.exec_drop(sql, (to, from)).await
}

/// Puts a cluster at these places of groups, at the end where a place is taken.
async fn add_at(tx: &mut Transaction<'_>, places: Vec<(u32, u32)>, install_id: &str) -> mysql_async::Result<()> {
    if places.is_empty() {
        return Ok(());
    }
    let ids = numbers(places.iter().map(|(group_id, _)| group_id));
    let sql = format!("select group_id, position from cluster_group where group_id in ({ids})");
    let known: Vec<(u32, u32)> = tx.query(sql).await?;
    let place = |(group_id, wanted): (u32, u32)| {
        let of = || {
            known
                .iter()
                .filter(move |(known, _)| *known == group_id)
                .map(|(_, place)| *place)
        };
        let last = of().max().unwrap_or(0);
        let place = if of().any(|taken| taken == wanted) {
            last + 1
        } else {
            wanted
        };
        (group_id, install_id, place)
    };
    tx.exec_batch(
        "insert into cluster_group (group_id, install_id, position) values (?, ?, ?)",
        places.into_iter().map(place).collect::<Vec<_>>(),
    )
    .await
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
