//! All SQL of the table `credential`.

use chrono::NaiveDateTime;
use mysql_async::prelude::{FromRow, Queryable};
use mysql_async::{Conn, Transaction};

use crate::groups::name_key;

/// A named credential without its secrets.
#[derive(Debug, Clone, FromRow)]
pub struct Row {
    pub credential_id: String,
    pub name: String,
    pub user_name: String,
    pub modified_at: Option<NaiveDateTime>,
    pub modified_by: String,
    pub row_version: u32,
    /// How many assets use it.
    pub assets: u64,
}

const ROW: &str = "c.credential_id, c.name, c.user_name, c.modified_at, c.modified_by, c.row_version, \
    (select count(*) from asset a where a.credential_id = c.credential_id) as assets";

/// The named ones, by name; a thousand at most.
pub async fn named(conn: &mut impl Queryable) -> mysql_async::Result<Vec<Row>> {
    conn.query(format!(
        "select {ROW} from credential c where c.name is not null order by c.name_key limit 1000"
    ))
    .await
}

pub async fn by_id(conn: &mut impl Queryable, credential_id: &str) -> mysql_async::Result<Option<Row>> {
    let sql = format!("select {ROW} from credential c where c.credential_id = ? and c.name is not null");
    conn.exec_first(sql, (credential_id,)).await
}

/// Name, if it has one, and what is sealed, locked until the transaction ends.
pub async fn locked(
    tx: &mut Transaction<'_>,
    credential_id: &str,
) -> mysql_async::Result<Option<(Option<String>, Vec<u8>)>> {
    let sql = "select name, sealed from credential where credential_id = ? for update";
    tx.exec_first(sql, (credential_id,)).await
}

pub async fn insert(
    tx: &mut Transaction<'_>,
    credential_id: &str,
    (name, user_name): (Option<&str>, &str),
    sealed: &[u8],
    by: &str,
) -> mysql_async::Result<()> {
    tx.exec_drop(
        "insert into credential (credential_id, name, name_key, user_name, sealed, created_by, modified_by, modified_at) \
         values (?, ?, ?, ?, ?, ?, ?, utc_timestamp(6))",
        (credential_id, name, name.map(name_key), user_name, sealed, by, by),
    )
    .await
}

/// False when somebody else saved since `row_version`. The row is locked.
pub async fn update(
    tx: &mut Transaction<'_>,
    (credential_id, row_version): (&str, Option<u32>),
    (name, user_name): (Option<&str>, &str),
    sealed: &[u8],
    by: &str,
) -> mysql_async::Result<bool> {
    tx.exec_drop(
        "update credential set name = ?, name_key = ?, user_name = ?, sealed = ?, modified_by = ?, \
         modified_at = utc_timestamp(6), row_version = row_version + 1 \
         where credential_id = ? and row_version = coalesce(?, row_version)",
        (
            name,
            name.map(name_key),
            user_name,
            sealed,
            by,
            credential_id,
            row_version,
        ),
    )
    .await?;
    Ok(tx.affected_rows() == 1)
}

pub async fn remove(tx: &mut Transaction<'_>, credential_id: &str) -> mysql_async::Result<()> {
    tx.exec_drop("delete from credential where credential_id = ?", (credential_id,))
        .await
}

/// Drops those of these that have no name, when their assets are gone.
pub async fn remove_own(tx: &mut Transaction<'_>, credential_ids: &[&str]) -> mysql_async::Result<()> {
    let marks = vec!["?"; credential_ids.len()].join(", ");
    let sql = format!("delete from credential where name is null and credential_id in ({marks})");
    match credential_ids.is_empty() {
        true => Ok(()),
        false => tx.exec_drop(sql, credential_ids.to_vec()).await,
    }
}

/// Every sealed secret, for a change of the key.
pub async fn sealed(tx: &mut Transaction<'_>) -> mysql_async::Result<Vec<(String, Vec<u8>)>> {
    tx.query("select credential_id, sealed from credential for update")
        .await
}

pub async fn reseal(tx: &mut Transaction<'_>, credential_id: &str, sealed: &[u8]) -> mysql_async::Result<()> {
    tx.exec_drop(
        "update credential set sealed = ? where credential_id = ?",
        (sealed, credential_id),
    )
    .await
}

/// Its name, where it has one, and its user's name.
pub async fn about(conn: &mut Conn, credential_id: &str) -> mysql_async::Result<(Option<String>, String)> {
    let sql = "select name, user_name from credential where credential_id = ?";
    Ok(conn.exec_first(sql, (credential_id,)).await?.unwrap_or_default())
}

/// [`about`] of many, with their ids.
pub async fn about_all(
    conn: &mut Conn,
    credential_ids: &[&str],
) -> mysql_async::Result<Vec<(String, Option<String>, String)>> {
    let marks = vec!["?"; credential_ids.len()].join(", ");
    let sql = format!("select credential_id, name, user_name from credential where credential_id in ({marks})");
    match credential_ids.is_empty() {
        true => Ok(Vec::new()),
        false => conn.exec(sql, credential_ids.to_vec()).await,
    }
}
