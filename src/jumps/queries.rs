//! All SQL of the table `jump`.

use std::sync::LazyLock;

use chrono::NaiveDateTime;
use mysql_async::prelude::{FromRow, Queryable};
use mysql_async::{Conn, Params, Transaction, Value, params};

use crate::clusters::check::queries::{Told, WORST};
use crate::liveness::{LIVENESS, STATE, State};
use crate::people::sessions::IDLE_HOURS;

/// A code is good for this long, by the database's clock.
const CODE_SECONDS: u32 = 30;
/// How long it is remembered where somebody went.
const KEPT_DAYS: u32 = 30;
/// Most entries of the menu; the search finds the rest.
pub const MOST: usize = 100;
/// So many that somebody used come first.
const RECENT: u32 = 3;

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
    pub check: Option<Told>,
    /// Somebody looked in the last half hour.
    pub is_recent: bool,
    /// The role of whoever set the address; empty for one that was set before that was noted.
    pub address_role: String,
}

/// Who looks: the account, and for a member that only clusters where they have a workspace count.
#[derive(Debug, Clone, Copy)]
pub struct Who<'a> {
    pub account_id: &'a str,
    pub is_member: bool,
    /// This server's own cluster, which everybody sees.
    pub own: &'a str,
}

/// The clusters of a table, or of a join with one, that somebody may go to, as SQL with its values.
fn entries(who: Who<'_>, table: &str) -> (String, Vec<Value>) {
    let mut values = Vec::new();
    let theirs = match who.is_member {
        true => {
            values.extend([who.own, who.account_id].map(Value::from));
            " and (cluster.install_id = ? or exists (select 1 from workspace w join workspace_member m using (workspace_id) \
             where w.install_id = cluster.install_id and m.account_id = ?))"
        }
        false => "",
    };
    let sql = format!(
        "select cluster.install_id, name, address, address_role, {STATE} as state, \
         {LIVENESS} in ('online', 'late') as is_alive, beat_at, {WORST} as `check`, \
         coalesce((select max(k.checked_at) from address_check k where k.install_id = cluster.install_id \
         and k.address = cluster.address) > utc_timestamp(6) - interval 30 minute, 0) as is_recent \
         from {table} where removed_at is null{theirs}"
    );
    (sql, values)
}

/// The clusters whose name contains a text: this server's own first, then by name.
pub async fn menu(conn: &mut Conn, who: Who<'_>, text: &str) -> mysql_async::Result<Vec<Entry>> {
    let (entries, mut values) = entries(who, "cluster");
    let sql = format!(
        "{entries} and (? = '' or locate(?, name) > 0) order by cluster.install_id <> ?, name, cluster.install_id limit {MOST}"
    );
    values.extend([text, text, who.own].map(Value::from));
    conn.exec(sql, Params::Positional(values)).await
}

/// Of those, the last three that this person went to, but this server's own.
pub async fn recent(conn: &mut Conn, who: Who<'_>, text: &str) -> mysql_async::Result<Vec<Entry>> {
    let used = "(select target_install_id, max(created_at) as used_at from jump where account_id = ? \
                group by target_install_id) j join cluster on cluster.install_id = j.target_install_id";
    let (entries, values) = entries(who, used);
    let sql = format!(
        "{entries} and cluster.install_id <> ? and (? = '' or locate(?, name) > 0) order by j.used_at desc limit {RECENT}"
    );
    let mut all: Vec<Value> = vec![who.account_id.into()];
    all.extend(values);
    all.extend([who.own, text, text].map(Value::from));
    conn.exec(sql, Params::Positional(all)).await
}

/// One cluster, if this person may go there.
pub async fn target(conn: &mut Conn, who: Who<'_>, install_id: &str) -> mysql_async::Result<Option<Entry>> {
    let (entries, mut values) = entries(who, "cluster");
    values.push(install_id.into());
    conn.exec_first(
        format!("{entries} and cluster.install_id = ?"),
        Params::Positional(values),
    )
    .await
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

/// One open code a session: an earlier one that was not used is worth nothing any more.
pub async fn insert(tx: &mut Transaction<'_>, jump: &Jump<'_>) -> mysql_async::Result<()> {
    tx.exec_drop(
        "delete from jump where account_id = ? and session_id = ? and used_at is null",
        (jump.account_id, jump.session_id),
    )
    .await?;
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

/// Who would arrive with a code, without using it up; none when it is good for nothing here.
pub async fn peek(conn: &mut impl Queryable, code_hash: &str, own: &str) -> mysql_async::Result<Option<Arrival>> {
    conn.exec_first(
        format!(
            "{} and j.target_install_id = ? and j.used_at is null and j.expires_at > utc_timestamp(6)",
            *ARRIVAL
        ),
        (code_hash, own),
    )
    .await
}

/// Uses a code up; none when it was used, is over, is for another cluster, or the session behind it has ended. Of several
/// who try at once exactly one gets it. The account is locked, so that a new password or disabling comes before or after.
pub async fn arrive(tx: &mut Transaction<'_>, code_hash: &str, own: &str) -> mysql_async::Result<Option<Arrival>> {
    let account: Option<String> = tx
        .exec_first("select account_id from jump where code_hash = ?", (code_hash,))
        .await?;
    tx.exec_drop(
        "select account_id from account where account_id = ? for update",
        (account,),
    )
    .await?;
    tx.exec_drop(
        "update jump set used_at = utc_timestamp(6) where code_hash = ? and target_install_id = ? and used_at is null \
         and expires_at > utc_timestamp(6)",
        (code_hash, own),
    )
    .await?;
    if tx.affected_rows() != 1 {
        return Ok(None);
    }
    tx.exec_first(ARRIVAL.as_str(), (code_hash,)).await
}

/// Who stands behind a code, while their session and account are good.
static ARRIVAL: LazyLock<String> = LazyLock::new(|| {
    format!(
        "select a.account_id, a.name, a.role, s.session_id, coalesce(c.name, left(j.source_install_id, 8)) as source \
         from jump j join account a using (account_id) \
         join session s on s.session_id = j.session_id and s.account_id = j.account_id \
         left join cluster c on c.install_id = j.source_install_id \
         where j.code_hash = ? and a.disabled_at is null and s.pending = 0 and s.expires_at > utc_timestamp(6) \
         and s.seen_at > utc_timestamp(6) - interval {IDLE_HOURS} hour"
    )
});

/// Why a code was refused, for the trail: whose it was, and what was wrong.
pub async fn refusal(
    conn: &mut impl Queryable,
    code_hash: &str,
    own: &str,
) -> mysql_async::Result<Option<(String, String)>> {
    conn.exec_first(
        "select a.name, case when j.target_install_id <> ? then 'jump.elsewhere' when j.used_at is not null then 'jump.used' \
         when j.expires_at <= utc_timestamp(6) then 'jump.late' else 'jump.ended' end \
         from jump j join account a using (account_id) where j.code_hash = ?",
        (own, code_hash),
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
