//! All SQL of the table `notice_channel`.

use chrono::NaiveDateTime;
use mysql_async::prelude::{FromRow, Queryable};
use mysql_async::{Conn, Transaction, params};

use super::channel::{Kind, Settings};
use crate::groups::name_key;

#[derive(Debug, Clone, FromRow)]
pub struct Row {
    pub channel_id: u32,
    pub name: String,
    pub kind: String,
    /// Recipients, or as much of a webhook's address as may be seen.
    pub target: String,
    pub settings: String,
    pub secret: Option<Vec<u8>>,
    pub group_id: Option<u32>,
    pub group: Option<String>,
    pub is_on: bool,
    pub modified_at: Option<NaiveDateTime>,
    pub modified_by: String,
    pub row_version: u32,
    /// What went wrong since something was sent, as JSON.
    pub trouble: Option<String>,
}

const ROWS: &str = "select c.channel_id, c.name, c.kind, c.target, c.settings, c.secret, c.group_id, g.name as `group`, \
    c.is_on, c.modified_at, c.modified_by, c.row_version, (select n.last_error from notice n \
    where n.channel_id = c.channel_id and n.last_error <> '' and n.state in ('waiting', 'failed') \
    and n.notice_id > coalesce((select max(s.notice_id) from notice s where s.channel_id = c.channel_id \
    and s.state = 'sent'), 0) order by n.notice_id desc limit 1) as trouble \
    from notice_channel c left join asset_group g on g.group_id = c.group_id";

/// Whether anybody is to be told of anything.
pub async fn any(conn: &mut impl Queryable) -> mysql_async::Result<bool> {
    let found: Option<u8> = conn.query_first("select 1 from notice_channel limit 1").await?;
    Ok(found.is_some())
}

/// As many as anybody can look through.
pub async fn all(conn: &mut Conn) -> mysql_async::Result<Vec<Row>> {
    conn.query(format!("{ROWS} order by c.name_key limit 500")).await
}

pub async fn by_id(conn: &mut impl Queryable, channel_id: u32) -> mysql_async::Result<Option<Row>> {
    conn.exec_first(format!("{ROWS} where c.channel_id = ?"), (channel_id,))
        .await
}

/// [`by_id`] with the row locked until the transaction ends. The row of the key is locked before.
pub async fn locked(tx: &mut Transaction<'_>, channel_id: u32) -> mysql_async::Result<Option<Row>> {
    let lock = "select channel_id from notice_channel where channel_id = ? for update";
    match tx.exec_first::<u32, _, _>(lock, (channel_id,)).await? {
        Some(id) => by_id(tx, id).await,
        None => Ok(None),
    }
}

/// What a person says of a channel.
#[derive(Debug, Clone)]
pub struct Described {
    pub name: String,
    pub kind: Kind,
    pub target: String,
    pub settings: Settings,
    /// None for all.
    pub group_id: Option<u32>,
    pub is_on: bool,
}

impl Described {
    fn json(&self) -> String {
        serde_json::to_string(&self.settings).unwrap_or_default()
    }
}

/// Returns its id; its secret is sealed for that.
pub async fn insert(tx: &mut Transaction<'_>, described: &Described, by: &str) -> mysql_async::Result<u32> {
    tx.exec_drop(
        "insert into notice_channel (name, name_key, kind, target, settings, group_id, is_on, created_by, modified_by, \
         modified_at) values (:name, :name_key, :kind, :target, :settings, :group_id, :is_on, :by, :by, utc_timestamp(6))",
        params! {
            "name" => &described.name, "name_key" => name_key(&described.name), "kind" => described.kind.code(),
            "target" => &described.target, "settings" => described.json(), "group_id" => described.group_id,
            "is_on" => described.is_on, "by" => by,
        },
    )
    .await?;
    Ok(tx.last_insert_id().and_then(|id| u32::try_from(id).ok()).unwrap_or(0))
}

/// False when somebody else saved since `row_version`.
pub async fn update(
    tx: &mut Transaction<'_>,
    (channel_id, row_version): (u32, u32),
    described: &Described,
    by: &str,
) -> mysql_async::Result<bool> {
    tx.exec_drop(
        "update notice_channel set name = :name, name_key = :name_key, target = :target, settings = :settings, \
         group_id = :group_id, is_on = :is_on, modified_by = :by, modified_at = utc_timestamp(6), \
         row_version = row_version + 1 where channel_id = :channel_id and row_version = :row_version",
        params! {
            "channel_id" => channel_id, "row_version" => row_version, "name" => &described.name,
            "name_key" => name_key(&described.name), "target" => &described.target, "settings" => described.json(),
            "group_id" => described.group_id, "is_on" => described.is_on, "by" => by,
        },
    )
    .await?;
    Ok(tx.affected_rows() == 1)
}

pub async fn set_secret(tx: &mut Transaction<'_>, channel_id: u32, sealed: Option<&[u8]>) -> mysql_async::Result<()> {
    let sql = "update notice_channel set secret = ? where channel_id = ?";
    tx.exec_drop(sql, (sealed, channel_id)).await
}

pub async fn remove(tx: &mut Transaction<'_>, channel_id: u32) -> mysql_async::Result<()> {
    tx.exec_drop("delete from notice_channel where channel_id = ?", (channel_id,))
        .await
}

/// Every sealed secret, its row locked.
pub async fn sealed(tx: &mut Transaction<'_>) -> mysql_async::Result<Vec<(u32, Vec<u8>)>> {
    tx.query("select channel_id, secret from notice_channel where secret is not null order by channel_id for update")
        .await
}
