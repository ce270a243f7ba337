//! All SQL of the table `jump`.

use chrono::NaiveDateTime;
use mysql_async::prelude::{FromRow, Queryable};
use mysql_async::{Conn, Params, Transaction, Value, params};

use crate::clusters::check::probe::Outcome;
use crate::clusters::check::queries::WORST;
use crate::liveness::{LIVENESS, STATE, State};
use crate::people::sessions::IDLE_HOURS;

/// A code is good for this long, by the database's clock.
const CODE_SECONDS: u32 = 30;
/// How long it is remembered where somebody went.
const KEPT_DAYS: u32 = 30;
/// Most entries of the menu; the search finds the rest.
const MOST: u32 = 100;

/// A cluster somebody may go to.
#[derive(Debug, Clone, FromRow)]
pub struct Entry {
    pub install_id: String,
    pub name: String,
    pub address: String,
    pub state: State,
    pub is_alive: bool,
    pub beat_at: Option<NaiveDateTime>,
    /// What is wrong at its address, or that nothing is; none before the first check.
    pub check: Option<Outcome>,
    pub checked_at: Option<NaiveDateTime>,
    /// When this person went there last.
    pub used_at: Option<NaiveDateTime>,
}

/// Only those where somebody has a workspace, for a member; all of them for admins.
fn only_theirs(member: Option<&str>, values: &mut Vec<Value>) -> &'static str {
    let Some(account_id) = member else {
        return "";
    };
    values.push(account_id.into());
    " and exists (select 1 from workspace w join workspace_member m using (workspace_id) \
     where w.install_id = cluster.install_id and m.account_id = ?)"
}

fn entries(filter: &str) -> String {
    format!(
        "select install_id, name, address, {STATE} as state, {LIVENESS} in ('online', 'late') as is_alive, beat_at, \
         {WORST} as `check`, (select max(k.checked_at) from address_check k where k.install_id = cluster.install_id \
         and k.address = cluster.address) as checked_at, \
         (select max(j.created_at) from jump j where j.account_id = ? and j.target_install_id = cluster.install_id) as used_at \
         from cluster where removed_at is null{filter}"
    )
}

/// The menu: clusters whose name contains a text, this server's own first, then the last three used, then by name.
pub async fn menu(
    conn: &mut Conn,
    (account_id, member): (&str, Option<&str>),
    (own, text): (&str, &str),
) -> mysql_async::Result<Vec<Entry>> {
    let mut values: Vec<Value> = vec![account_id.into()];
    let theirs = only_theirs(member, &mut values);
    let sql = format!(
        "select * from (select x.*, row_number() over (order by used_at is null, used_at desc) as recent from ({} \
         and (? = '' or locate(?, name) > 0)) x) y order by install_id <> ?, \
         if(used_at is not null and recent <= 3, recent, 4), name, install_id limit {MOST}",
        entries(theirs)
    );
    values.extend([text, text, own].map(Value::from));
    conn.exec(sql, Params::Positional(values)).await
}

/// One cluster, if this person may go there.
pub async fn target(
    conn: &mut Conn,
    (account_id, member): (&str, Option<&str>),
    install_id: &str,
) -> mysql_async::Result<Option<Entry>> {
    let mut values: Vec<Value> = vec![account_id.into()];
    let theirs = only_theirs(member, &mut values);
    values.push(install_id.into());
    let sql = format!("{} and install_id = ?", entries(theirs));
    conn.exec_first(sql, Params::Positional(values)).await
}

/// Who jumps from where to where.
#[derive(Debug)]
pub struct Jump<'a> {
    pub code_hash: &'a str,
    pub account_id: &'a str,
    pub session_id: &'a str,
    pub source: &'a str,
    pub target: &'a str,
}

pub async fn insert(tx: &mut Transaction<'_>, jump: &Jump<'_>) -> mysql_async::Result<()> {
    tx.exec_drop(
        format!(
            "insert into jump (code_hash, account_id, session_id, source_install_id, target_install_id, created_at, \
             expires_at) values (:code_hash, :account_id, :session_id, :source, :target, utc_timestamp(6), \
             utc_timestamp(6) + interval {CODE_SECONDS} second)"
        ),
        params! {
            "code_hash" => jump.code_hash, "account_id" => jump.account_id, "session_id" => jump.session_id,
            "source" => jump.source, "target" => jump.target,
        },
    )
    .await
}

/// Somebody who arrives.
#[derive(Debug, Clone, FromRow)]
pub struct Arrival {
    pub account_id: String,
    pub name: String,
    pub role: String,
    pub session_id: String,
    /// The name of the cluster they come from.
    pub source: String,
}

/// Uses a code up; none when it was used, is over, is for another cluster, or the session behind it has ended. Of several
/// who try at once exactly one gets it.
pub async fn arrive(tx: &mut Transaction<'_>, code_hash: &str, own: &str) -> mysql_async::Result<Option<Arrival>> {
    tx.exec_drop(
        "update jump set used_at = utc_timestamp(6) where code_hash = ? and target_install_id = ? and used_at is null \
         and expires_at > utc_timestamp(6)",
        (code_hash, own),
    )
    .await?;
    if tx.affected_rows() != 1 {
        return Ok(None);
    }
    tx.exec_first(
        format!(
            "select a.account_id, a.name, a.role, s.session_id, coalesce(c.name, left(j.source_install_id, 8)) as source \
             from jump j join account a using (account_id) \
             join session s on s.session_id = j.session_id and s.account_id = j.account_id \
             left join cluster c on c.install_id = j.source_install_id \
             where j.code_hash = ? and a.disabled_at is null and s.pending = 0 and s.expires_at > utc_timestamp(6) \
             and s.seen_at > utc_timestamp(6) - interval {IDLE_HOURS} hour"
        ),
        (code_hash,),
    )
    .await
}

/// Drops what is long past, a thousand at a time.
pub async fn sweep(conn: &mut Conn) -> mysql_async::Result<u64> {
    conn.query_drop(format!(
        "delete from jump where created_at < utc_timestamp(6) - interval {KEPT_DAYS} day limit 1000"
    ))
    .await?;
    Ok(conn.affected_rows())
}
