//! All SQL of the table `workspace`.

use mysql_async::Transaction;
use mysql_async::prelude::Queryable;

/// Binds every workspace without a cluster to this one, whose registration found it to be the only one.
pub async fn bind_all(tx: &mut Transaction<'_>, install_id: &str) -> mysql_async::Result<()> {
    tx.exec_drop(
        "update workspace set install_id = ? where install_id is null",
        (install_id,),
    )
    .await
}

/// How many are bound to a cluster.
pub async fn count_of(tx: &mut Transaction<'_>, install_id: &str) -> mysql_async::Result<u64> {
    let sql = "select count(*) from workspace where install_id = ?";
    Ok(tx.exec_first(sql, (install_id,)).await?.unwrap_or(0))
}

/// Binds all workspaces of one cluster to another, or to none; returns how many.
pub async fn move_all(tx: &mut Transaction<'_>, from: &str, to: Option<&str>, by: &str) -> mysql_async::Result<u64> {
    tx.exec_drop(
        "update workspace set install_id = ?, modified_at = utc_timestamp(6), modified_by = ?, \
         row_version = row_version + 1 where install_id = ?",
        (to, by, from),
    )
    .await?;
    Ok(tx.affected_rows())
}
