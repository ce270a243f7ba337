//! All SQL of the tables `workspace` and `workspace_member`.

use chrono::NaiveDateTime;
use mysql_async::prelude::{FromRow, Queryable};
use mysql_async::{Conn, Params, Transaction, Value, params};

use super::list::{Bound, Wanted};
use crate::liveness::{LIVENESS, STATE, State};

/// One workspace beside its cluster.
#[derive(Debug, Clone, FromRow)]
pub struct Row {
    pub workspace_id: String,
    pub name: String,
    pub name_key: String,
    pub description: String,
    pub folder: String,
    pub install_id: Option<String>,
    pub created_at: NaiveDateTime,
    pub modified_at: Option<NaiveDateTime>,
    pub modified_by: String,
    pub row_version: u32,
    pub cluster: Option<String>,
    pub state: Option<State>,
    pub is_alive: bool,
}

fn rows() -> String {
    format!(
        "select w.workspace_id, w.name, w.name_key, w.description, w.folder, w.install_id, w.created_at, w.modified_at, \
         w.modified_by, w.row_version, c.name as cluster, if(c.install_id is null, null, {STATE}) as state, \
         coalesce({LIVENESS} in ('online', 'late'), 0) as is_alive \
         from workspace w left join cluster c on c.install_id = w.install_id"
    )
}

/// One page of the list by the key of its names, with one row more when there is a further page. `member` is the account of
/// somebody who sees only their own.
pub async fn page(conn: &mut Conn, wanted: &Wanted, member: Option<&str>, count: u64) -> mysql_async::Result<Vec<Row>> {
    let (mut filter, mut values) = (vec!["1 = 1".to_owned()], Vec::<Value>::new());
    if let Some(account_id) = member {
        filter.push("w.workspace_id in (select workspace_id from workspace_member where account_id = ?)".to_owned());
        values.push(account_id.into());
    }
    if !wanted.name.is_empty() {
        filter.push("locate(?, w.name_key) > 0".to_owned());
        values.push(super::name_key(&wanted.name).into());
    }
    if !wanted.folder.is_empty() {
        filter.push("w.folder = ?".to_owned());
        values.push(wanted.folder.as_str().into());
    }
    match &wanted.bound {
        Bound::Any => {}
        Bound::Nowhere => filter.push("w.install_id is null".to_owned()),
        Bound::Offline => filter.push(format!(
            "c.install_id is not null and {LIVENESS} not in ('online', 'late')"
        )),
        Bound::To(install_id) => {
            filter.push("w.install_id = ?".to_owned());
            values.push(install_id.as_str().into());
        }
    }
    let order = match (&wanted.after, &wanted.before) {
        (Some(key), _) => {
            filter.push("w.name_key > ?".to_owned());
            values.push(key.as_str().into());
            "asc"
        }
        (None, Some(key)) => {
            filter.push("w.name_key < ?".to_owned());
            values.push(key.as_str().into());
            "desc"
        }
        (None, None) => "asc",
    };
    let sql = format!(
        "{} where {} order by w.name_key {order} limit {}",
        rows(),
        filter.join(" and "),
        count + 1
    );
    conn.exec(sql, Params::Positional(values)).await
}

pub async fn by_id(conn: &mut impl Queryable, workspace_id: &str) -> mysql_async::Result<Option<Row>> {
    conn.exec_first(format!("{} where w.workspace_id = ?", rows()), (workspace_id,))
        .await
}

/// [`by_id`] with the row locked until the transaction ends. Clusters are held before.
pub async fn locked(tx: &mut Transaction<'_>, workspace_id: &str) -> mysql_async::Result<Option<Row>> {
    let found: Option<String> = tx
        .exec_first(
            "select workspace_id from workspace where workspace_id = ? for update",
            (workspace_id,),
        )
        .await?;
    match found {
        Some(id) => by_id(tx, &id).await,
        None => Ok(None),
    }
}

/// The clusters that these are bound to, to be held before they are locked.
pub async fn clusters_of(tx: &mut Transaction<'_>, workspace_ids: &[&str]) -> mysql_async::Result<Vec<String>> {
    let marks = vec!["?"; workspace_ids.len()].join(", ");
    let ids: Vec<Value> = workspace_ids.iter().map(|id| Value::from(*id)).collect();
    let sql =
        format!("select distinct install_id from workspace where install_id is not null and workspace_id in ({marks})");
    tx.exec(sql, Params::Positional(ids)).await
}

/// Those of these that exist, locked in the order of their ids.
pub async fn locked_among(tx: &mut Transaction<'_>, workspace_ids: &[&str]) -> mysql_async::Result<Vec<Row>> {
    if workspace_ids.is_empty() {
        return Ok(Vec::new());
    }
    let marks = vec!["?"; workspace_ids.len()].join(", ");
    let ids: Vec<Value> = workspace_ids.iter().map(|id| Value::from(*id)).collect();
    let lock =
        format!("select workspace_id from workspace where workspace_id in ({marks}) order by workspace_id for update");
    tx.exec_drop(lock, Params::Positional(ids.clone())).await?;
    let sql = format!("{} where w.workspace_id in ({marks}) order by w.workspace_id", rows());
    tx.exec(sql, Params::Positional(ids)).await
}

/// The folders that are in use, for suggestions.
pub async fn folders(conn: &mut Conn) -> mysql_async::Result<Vec<String>> {
    conn.query("select distinct folder from workspace where folder <> '' order by folder limit 200")
        .await
}

/// What a person says of a workspace.
#[derive(Debug, Clone, Default)]
pub struct Described {
    pub name: String,
    pub description: String,
    pub folder: String,
    /// None for no cluster.
    pub install_id: Option<String>,
}

pub async fn insert(
    tx: &mut Transaction<'_>,
    workspace_id: &str,
    described: &Described,
    by: &str,
) -> mysql_async::Result<()> {
    tx.exec_drop(
        "insert into workspace (workspace_id, name, name_key, description, folder, install_id, created_by, modified_by, \
         modified_at) values (:workspace_id, :name, :name_key, :description, :folder, :install_id, :by, :by, \
         utc_timestamp(6))",
        params! {
            "workspace_id" => workspace_id, "name" => &described.name, "name_key" => super::name_key(&described.name),
            "description" => &described.description, "folder" => &described.folder,
            "install_id" => &described.install_id, "by" => by,
        },
    )
    .await
}

/// False when somebody else saved since `row_version`, or it is gone.
pub async fn update(
    tx: &mut Transaction<'_>,
    (workspace_id, row_version): (&str, u32),
    described: &Described,
    by: &str,
) -> mysql_async::Result<bool> {
    tx.exec_drop(
        "update workspace set name = :name, name_key = :name_key, description = :description, folder = :folder, \
         install_id = :install_id, modified_by = :by, modified_at = utc_timestamp(6), row_version = row_version + 1 \
         where workspace_id = :workspace_id and row_version = :row_version",
        params! {
            "workspace_id" => workspace_id, "row_version" => row_version, "name" => &described.name,
            "name_key" => super::name_key(&described.name), "description" => &described.description,
            "folder" => &described.folder, "install_id" => &described.install_id, "by" => by,
        },
    )
    .await?;
    Ok(tx.affected_rows() == 1)
}

/// Binds a locked workspace to a cluster that is held, or to none.
pub async fn bind(tx: &mut Transaction<'_>, workspace_id: &str, to: Option<&str>, by: &str) -> mysql_async::Result<()> {
    tx.exec_drop(
        "update workspace set install_id = ?, modified_at = utc_timestamp(6), modified_by = ?, \
         row_version = row_version + 1 where workspace_id = ?",
        (to, by, workspace_id),
    )
    .await
}

pub async fn remove(tx: &mut Transaction<'_>, workspace_id: &str) -> mysql_async::Result<()> {
    tx.exec_drop("delete from workspace where workspace_id = ?", (workspace_id,))
        .await
}

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

/// A workspace in the menu, with what is needed to go there.
#[derive(Debug, Clone, FromRow)]
pub struct Reachable {
    pub workspace_id: String,
    pub name: String,
    pub install_id: Option<String>,
    cluster: Option<String>,
    address: Option<String>,
    pub state: Option<State>,
}

impl Reachable {
    pub fn is_reachable(&self) -> bool {
        self.address.as_ref().is_some_and(|address| !address.is_empty())
    }

    pub fn cluster(&self) -> &str {
        self.cluster.as_deref().unwrap_or_default()
    }
}

/// Forty workspaces for the menu: those of this server first, a member's own only; by a part of their name.
pub async fn reachable(
    conn: &mut Conn,
    member: Option<&str>,
    (own, text): (&str, &str),
) -> mysql_async::Result<Vec<Reachable>> {
    let theirs = match member {
        Some(_) => "w.workspace_id in (select workspace_id from workspace_member where account_id = ?)",
        None => "? is null",
    };
    let key = super::name_key(text);
    conn.exec(
        format!(
            "select w.workspace_id, w.name, w.install_id, c.name as cluster, c.address, \
             if(c.install_id is null, null, {STATE}) as state from workspace w \
             left join cluster c on c.install_id = w.install_id where {theirs} and (? = '' or locate(?, w.name_key) > 0) \
             order by coalesce(w.install_id = ?, 0) desc, w.name_key limit 40"
        ),
        (member, &key, &key, own),
    )
    .await
}

/// Somebody who may use a workspace.
#[derive(Debug, Clone, FromRow)]
pub struct Member {
    pub account_id: String,
    pub name: String,
    pub display_name: String,
    pub is_disabled: bool,
}

pub async fn members(conn: &mut Conn, workspace_id: &str) -> mysql_async::Result<Vec<Member>> {
    conn.exec(
        "select a.account_id, a.name, a.display_name, a.disabled_at is not null as is_disabled from workspace_member m \
         join account a using (account_id) where m.workspace_id = ? order by a.name limit 500",
        (workspace_id,),
    )
    .await
}

pub async fn is_member(conn: &mut Conn, workspace_id: &str, account_id: &str) -> mysql_async::Result<bool> {
    let sql = "select 1 from workspace_member where workspace_id = ? and account_id = ?";
    let found: Option<u8> = conn.exec_first(sql, (workspace_id, account_id)).await?;
    Ok(found.is_some())
}

/// A duplicate key when they are one already.
pub async fn add_member(
    tx: &mut Transaction<'_>,
    workspace_id: &str,
    account_id: &str,
    by: &str,
) -> mysql_async::Result<()> {
    tx.exec_drop(
        "insert into workspace_member (workspace_id, account_id, added_by) values (?, ?, ?)",
        (workspace_id, account_id, by),
    )
    .await
}

/// False when they are none.
pub async fn remove_member(
    tx: &mut Transaction<'_>,
    workspace_id: &str,
    account_id: &str,
) -> mysql_async::Result<bool> {
    tx.exec_drop(
        "delete from workspace_member where workspace_id = ? and account_id = ?",
        (workspace_id, account_id),
    )
    .await?;
    Ok(tx.affected_rows() == 1)
}
