//! All SQL of the table `outage`, and what it is compared with.

use chrono::NaiveDateTime;
use mysql_async::prelude::{FromRow, Queryable};
use mysql_async::{Conn, Transaction, TxOpts};

use crate::liveness::LIVENESS;

/// Seconds between two looks, whichever server takes them.
const TURN_S: u32 = 5;
/// Told by one look; the next one tells the rest.
const MOST: usize = 100;

/// Whether it is our turn to look. The very first look tells nobody: what is away then was so before anybody was to be told.
///
/// # Errors
/// Those of the database.
pub async fn take_turn(conn: &mut Conn) -> mysql_async::Result<bool> {
    // A time to come was written before the database's clock was set back.
    let is_due = format!(
        "(at <= utc_timestamp(6) - interval {TURN_S} second or at > utc_timestamp(6) + interval {TURN_S} second)"
    );
    let due: Option<bool> = conn
        .query_first(format!("select {is_due} from outage where subject = ''"))
        .await?;
    match due {
        Some(true) => {
            let sql = format!("update outage set at = utc_timestamp(6) where subject = '' and {is_due}");
            conn.query_drop(sql).await?;
            Ok(conn.affected_rows() == 1)
        }
        Some(false) => Ok(false),
        None => {
            look_first(conn).await?;
            Ok(false)
        }
    }
}

async fn look_first(conn: &mut Conn) -> mysql_async::Result<()> {
    let mut tx = conn.start_transaction(TxOpts::default()).await?;
    if begin(&mut tx, "", "").await? {
        tx.query_drop(format!(
            "insert ignore into outage (subject) select concat('cluster/', install_id) from cluster \
             where removed_at is null and {LIVENESS} = 'offline'"
        ))
        .await?;
        tx.query_drop(format!(
            "insert ignore into outage (subject) select concat('group/', g.group_id) from asset_group g \
             where exists (select 1 from asset a where a.group_id = g.group_id) and not {}",
            watched()
        ))
        .await?;
    }
    tx.commit().await
}

/// Whether the group `g` has a cluster that lives.
fn watched() -> String {
    format!(
        "exists (select 1 from cluster_group b join cluster on cluster.install_id = b.install_id \
         where b.group_id = g.group_id and {LIVENESS} in ('online', 'late'))"
    )
}

/// The row of a subject, as a comparison that its key serves.
fn row_of(kind: &str, id: &str) -> String {
    format!("o.subject = cast(concat('{kind}/', {id}) as char(100) character set ascii)")
}

/// A cluster or group that is otherwise than was told last.
#[derive(Debug, Clone, FromRow)]
pub struct Seen {
    /// Of a cluster.
    pub id: String,
    pub name: String,
    pub interval_s: u32,
    pub group_id: u32,
    pub is_well: bool,
    /// Of a cluster that is away its last beat, else since when it is online.
    pub since: Option<NaiveDateTime>,
    pub now: NaiveDateTime,
}

/// Clusters that went silent, of those whose limit is no longer than we have looked, and that came back; these first.
///
/// # Errors
/// Those of the database.
pub async fn clusters(conn: &mut Conn, looked_s: u64) -> mysql_async::Result<Vec<Seen>> {
    let is_well = format!("{LIVENESS} in ('online', 'late')");
    conn.exec(
        format!(
            "select install_id as id, name, interval_s, 0 as group_id, {is_well} as is_well, \
             if({is_well}, online_since, beat_at) as since, utc_timestamp(6) as now \
             from cluster left join outage o on {} where removed_at is null \
             and (o.subject is null and {LIVENESS} = 'offline' and 3 * interval_s <= ? \
             or o.subject is not null and {is_well}) order by is_well desc, install_id limit {MOST}",
            row_of("cluster", "install_id")
        ),
        (looked_s,),
    )
    .await
}

/// Groups with assets that nobody watches any more, unless a limit of their clusters or our own is longer than we have
/// looked, and that somebody watches again; these first.
///
/// # Errors
/// Those of the database.
pub async fn groups(conn: &mut Conn, looked_s: u64, own_limit_s: u64) -> mysql_async::Result<Vec<Seen>> {
    let is_watched = watched();
    conn.exec(
        format!(
            "select '' as id, g.name, 0 as interval_s, g.group_id, o.subject is not null as is_well, \
             cast(null as datetime(6)) as since, utc_timestamp(6) as now \
             from asset_group g left join outage o on {} \
             where o.subject is not null and {is_watched} or o.subject is null and ? <= ? and not {is_watched} \
             and exists (select 1 from asset a where a.group_id = g.group_id) \
             and not exists (select 1 from cluster_group b join cluster c on c.install_id = b.install_id \
             where b.group_id = g.group_id and 3 * c.interval_s > ?) \
             order by is_well desc, g.group_id limit {MOST}",
            row_of("group", "g.group_id")
        ),
        (own_limit_s, looked_s, looked_s),
    )
    .await
}

/// Notes that it is told of, by a message of another subject unless `told_as` is empty; false when another server did.
///
/// # Errors
/// Those of the database.
pub async fn begin(conn: &mut impl Queryable, subject: &str, told_as: &str) -> mysql_async::Result<bool> {
    let sql = "insert ignore into outage (subject, told_as, at) values (?, ?, utc_timestamp(6))";
    Ok(conn.exec_iter(sql, (subject, told_as)).await?.affected_rows() == 1)
}

/// How something ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// Another server tells.
    Told,
    Alone,
    /// It was the last one of those that one message told of; its subject.
    Last(String),
}

/// Notes that its end is told.
///
/// # Errors
/// Those of the database.
pub async fn end(tx: &mut Transaction<'_>, subject: &str) -> mysql_async::Result<End> {
    let sql = "select told_as from outage where subject = ? for update";
    let Some(told_as) = tx.exec_first::<String, _, _>(sql, (subject,)).await? else {
        return Ok(End::Told);
    };
    tx.exec_drop("delete from outage where subject = ?", (subject,)).await?;
    // Two that end at once must not each take the other for the last one.
    let sql = "select 1 from outage where told_as = ? limit 1 for update";
    let is_last = !told_as.is_empty() && tx.exec_first::<u8, _, _>(sql, (&told_as,)).await?.is_none();
    Ok(match is_last {
        true => End::Last(told_as),
        false => End::Alone,
    })
}

/// Subjects of clusters that were removed and of groups that are gone, and the database's time.
///
/// # Errors
/// Those of the database.
pub async fn removed(conn: &mut Conn) -> mysql_async::Result<Vec<(String, NaiveDateTime)>> {
    conn.query(format!(
        "select o.subject, utc_timestamp(6) from outage o where o.subject like 'cluster/%' and not exists (select 1 from cluster c \
         where c.install_id = substr(o.subject, 9) and c.removed_at is null) \
         or o.subject like 'group/%' and cast(if(o.subject like 'group/%', substr(o.subject, 7), '0') as unsigned) \
         not in (select group_id from asset_group) limit {MOST}"
    ))
    .await
}
