//! All SQL of the tables `session` and `api_token`.

use chrono::NaiveDateTime;
use mysql_async::prelude::{FromRow, Queryable};
use mysql_async::{Conn, Transaction, params};

use super::{ABSOLUTE_HOURS, IDLE_HOURS, PENDING_MINUTES};
use crate::liveness::{STATE, State};
use crate::people::role::Role;

/// Who is behind a cookie or a token.
#[derive(Debug, Clone, FromRow)]
pub struct Holder {
    pub token_hash: String,
    pub session_id: String,
    pub pending: bool,
    /// Seconds since the session was last noted as seen.
    pub unseen_s: i64,
    pub account_id: String,
    pub name: String,
    pub display_name: String,
    pub role: Role,
    /// The name of the cluster whose server asks, for the frame of the page: one statement serves both.
    pub own_name: Option<String>,
    /// And how the others see it.
    pub own_state: Option<State>,
}

/// The good sessions among these hashes. The cluster's name is read along with them. As plain text: statements of every
/// length would each have to be prepared. Hashes and install ids are hex digits.
pub async fn holders(conn: &mut Conn, hashes: &[String], install_id: &str) -> mysql_async::Result<Vec<Holder>> {
    debug_assert!(hashes.iter().all(|hash| hash.bytes().all(|b| b.is_ascii_hexdigit())));
    conn.query(format!(
        "select s.token_hash, s.session_id, s.pending, \
         timestampdiff(second, s.seen_at, utc_timestamp(6)) as unseen_s, a.account_id, a.name, a.display_name, a.role, \
         (select name from cluster where install_id = '{install_id}') as own_name, \
         (select {STATE} from cluster where install_id = '{install_id}' and removed_at is null) as own_state \
         from session s join account a using (account_id) \
         where s.token_hash in ('{}') and s.expires_at > utc_timestamp(6) \
         and s.seen_at > utc_timestamp(6) - interval {IDLE_HOURS} hour and a.disabled_at is null",
        hashes.join("', '")
    ))
    .await
}

/// Who is behind a token, with the lesser of the two roles.
#[derive(Debug, Clone, FromRow)]
pub struct TokenHolder {
    pub token_id: String,
    pub token_name: String,
    pub account_id: String,
    pub name: String,
    pub display_name: String,
    pub account_role: Role,
    pub token_role: Role,
    pub unused_s: Option<i64>,
    pub own_name: Option<String>,
}

pub async fn token_holder(conn: &mut Conn, hash: &str, install_id: &str) -> mysql_async::Result<Option<TokenHolder>> {
    conn.exec_first(
        "select t.token_id, t.name as token_name, a.account_id, a.name, a.display_name, a.role as account_role, t.role as token_role, \
         timestampdiff(second, t.used_at, utc_timestamp(6)) as unused_s, \
         (select name from cluster where install_id = ?) as own_name \
         from api_token t join account a using (account_id) \
         where t.token_hash = ? and t.expires_at > utc_timestamp(6) and a.disabled_at is null",
        (install_id, hash),
    )
    .await
}

/// What is kept of where a session comes from.
#[derive(Debug, Clone, Default)]
pub struct Origin {
    pub install_id: String,
    pub address: String,
    pub agent: String,
}

/// Starts a session, or the wait for a second factor.
pub async fn start(
    tx: &mut Transaction<'_>,
    (token_hash, session_id, account_id): (&str, &str, &str),
    pending: bool,
    from: &Origin,
) -> mysql_async::Result<()> {
    let life = match pending {
        true => format!("interval {PENDING_MINUTES} minute"),
        false => format!("interval {ABSOLUTE_HOURS} hour"),
    };
    tx.exec_drop(
        format!(
            "insert into session (token_hash, session_id, account_id, install_id, pending, address, agent, expires_at) \
             values (:token_hash, :session_id, :account_id, :install_id, :pending, :address, :agent, \
             utc_timestamp(6) + {life})"
        ),
        params! {
            "token_hash" => token_hash, "session_id" => session_id, "account_id" => account_id,
            "install_id" => &from.install_id, "pending" => pending, "address" => &from.address, "agent" => &from.agent,
        },
    )
    .await
}

/// Lets a session end no later than the one it comes from, and with it; of the sessions that came from each other only the
/// newest of each server stays. The account is locked.
pub async fn inherit(tx: &mut Transaction<'_>, session_id: &str, from: &str) -> mysql_async::Result<()> {
    tx.exec_drop(
        "update session new join session old on old.session_id = ? \
         set new.expires_at = least(new.expires_at, old.expires_at), \
         new.root_id = if(old.root_id = '', old.session_id, old.root_id) where new.session_id = ?",
        (from, session_id),
    )
    .await?;
    tx.exec_drop(
        "delete old from session old join session new on new.session_id = ? and old.account_id = new.account_id \
         and old.install_id = new.install_id and (old.root_id = new.root_id or old.session_id = new.root_id) \
         where old.session_id <> new.session_id",
        (session_id,),
    )
    .await
}

/// Notes that a session was used, at most once a minute.
pub async fn see(conn: &mut Conn, token_hash: &str, from: &Origin) -> mysql_async::Result<()> {
    conn.exec_drop(
        "update session set seen_at = utc_timestamp(6), install_id = ?, address = ?, agent = ? \
         where token_hash = ? and seen_at < utc_timestamp(6) - interval 1 minute",
        (&from.install_id, &from.address, &from.agent, token_hash),
    )
    .await
}

pub async fn see_token(conn: &mut Conn, token_id: &str, address: &str) -> mysql_async::Result<()> {
    conn.exec_drop(
        "update api_token set used_at = utc_timestamp(6), used_address = ? where token_id = ?",
        (address, token_id),
    )
    .await
}

/// Uses up the wait for a second factor; false when it is over, or was ended by a new password meanwhile.
pub async fn use_pending(tx: &mut Transaction<'_>, token_hash: &str) -> mysql_async::Result<bool> {
    tx.exec_drop(
        "delete from session where token_hash = ? and pending = 1",
        (token_hash,),
    )
    .await?;
    Ok(tx.affected_rows() == 1)
}

/// Ends the session behind a cookie, with those that came from it or it from; returns how many.
pub async fn end(tx: &mut Transaction<'_>, token_hash: &str) -> mysql_async::Result<u64> {
    tx.exec_drop(format!("{CHAIN} where shown.token_hash = ?"), (token_hash,))
        .await?;
    Ok(tx.affected_rows())
}

/// Ends one of a person's sessions, as [`end`]; false when it was not theirs or is gone.
pub async fn end_one(tx: &mut Transaction<'_>, account_id: &str, session_id: &str) -> mysql_async::Result<bool> {
    tx.exec_drop(
        format!("{CHAIN} where shown.account_id = ? and shown.session_id = ?"),
        (account_id, session_id),
    )
    .await?;
    Ok(tx.affected_rows() > 0)
}

const CHAIN: &str = "delete s from session s join session shown on s.account_id = shown.account_id \
    and if(s.root_id = '', s.session_id, s.root_id) = if(shown.root_id = '', shown.session_id, shown.root_id)";

/// Ends all of a person's sessions but the one named (none for all); returns how many.
pub async fn end_others(tx: &mut Transaction<'_>, account_id: &str, except: &str) -> mysql_async::Result<u64> {
    tx.exec_drop(
        "delete from session where account_id = ? and session_id <> ?",
        (account_id, except),
    )
    .await?;
    Ok(tx.affected_rows())
}

/// One of a person's sessions, for their own page.
#[derive(Debug, FromRow)]
pub struct Row {
    pub session_id: String,
    pub address: String,
    pub agent: String,
    pub created_at: NaiveDateTime,
    pub seen_at: NaiveDateTime,
    pub expires_at: NaiveDateTime,
    pub server: String,
}

pub async fn of_account(conn: &mut Conn, account_id: &str) -> mysql_async::Result<Vec<Row>> {
    let sql = format!(
        "select s.session_id, s.address, s.agent, s.created_at, s.seen_at, s.expires_at, \
         coalesce(c.name, left(s.install_id, 8)) as server \
         from session s left join cluster c on c.install_id = s.install_id \
         where s.account_id = ? and s.pending = 0 and s.expires_at > utc_timestamp(6) \
         and s.seen_at > utc_timestamp(6) - interval {IDLE_HOURS} hour order by s.seen_at desc, s.session_id"
    );
    conn.exec(sql, (account_id,)).await
}

/// A token on its owner's page.
#[derive(Debug, FromRow)]
pub struct TokenRow {
    pub token_id: String,
    pub name: String,
    pub role: Role,
    pub created_at: NaiveDateTime,
    pub expires_at: NaiveDateTime,
    pub is_expired: bool,
    pub used_at: Option<NaiveDateTime>,
    pub used_address: String,
}

pub async fn tokens_of(conn: &mut Conn, account_id: &str) -> mysql_async::Result<Vec<TokenRow>> {
    conn.exec(
        "select token_id, name, role, created_at, expires_at, expires_at <= utc_timestamp(6) as is_expired, used_at, \
         used_address from api_token where account_id = ? order by created_at desc, token_id",
        (account_id,),
    )
    .await
}

/// A new token for `days`.
pub async fn insert_token(
    tx: &mut Transaction<'_>,
    (token_id, token_hash, account_id): (&str, &str, &str),
    name: &str,
    role: Role,
    days: u32,
) -> mysql_async::Result<()> {
    tx.exec_drop(
        "insert into api_token (token_id, token_hash, account_id, name, role, expires_at) \
         values (?, ?, ?, ?, ?, utc_timestamp(6) + interval ? day)",
        (token_id, token_hash, account_id, name, role.code(), days),
    )
    .await
}

/// Takes one of a person's tokens away; its name, or none when it was not theirs.
pub async fn remove_token(
    tx: &mut Transaction<'_>,
    account_id: &str,
    token_id: &str,
) -> mysql_async::Result<Option<String>> {
    let name: Option<String> = tx
        .exec_first(
            "select name from api_token where account_id = ? and token_id = ? for update",
            (account_id, token_id),
        )
        .await?;
    tx.exec_drop(
        "delete from api_token where account_id = ? and token_id = ?",
        (account_id, token_id),
    )
    .await?;
    Ok(name)
}

/// Drops what is past its time, a thousand rows at most; returns how many.
pub async fn sweep(conn: &mut Conn) -> mysql_async::Result<u64> {
    conn.query_drop("delete from session where expires_at < utc_timestamp(6) limit 500")
        .await?;
    let expired = conn.affected_rows();
    let idle = format!("delete from session where seen_at < utc_timestamp(6) - interval {IDLE_HOURS} hour limit 500");
    conn.query_drop(idle).await?;
    Ok(expired + conn.affected_rows())
}

/// Takes all of a person's tokens away, when somebody else may have made one.
pub async fn remove_tokens(tx: &mut Transaction<'_>, account_id: &str) -> mysql_async::Result<()> {
    tx.exec_drop("delete from api_token where account_id = ?", (account_id,))
        .await
}

pub async fn count_tokens(tx: &mut Transaction<'_>, account_id: &str) -> mysql_async::Result<u64> {
    let sql = "select count(*) from api_token where account_id = ?";
    Ok(tx.exec_first(sql, (account_id,)).await?.unwrap_or(0))
}
