//! All SQL of the tables `account`, `known_browser` and `recovery_code`.

use chrono::NaiveDateTime;
use mysql_async::prelude::{FromRow, Queryable};
use mysql_async::{Conn, Transaction, params};

use crate::people::role::Role;

/// An account as lists and forms show it.
#[derive(Debug, Clone, FromRow)]
pub struct Account {
    pub account_id: String,
    pub name: String,
    pub display_name: String,
    pub role: Role,
    pub has_two_factor: bool,
    /// Recovery codes not used yet.
    pub codes_left: u64,
    pub signed_in_at: Option<NaiveDateTime>,
    pub disabled_at: Option<NaiveDateTime>,
    pub created_at: NaiveDateTime,
    pub modified_at: Option<NaiveDateTime>,
    pub modified_by: String,
    pub row_version: u32,
}

const ACCOUNT: &str = "account_id, name, display_name, role, totp_at is not null as has_two_factor, \
    (select count(*) from recovery_code r where r.account_id = account.account_id and r.used_at is null) as codes_left, \
    signed_in_at, disabled_at, created_at, modified_at, modified_by, row_version";

/// Accounts whose name or display name contains a text, by name, and how many there are in all.
pub async fn page(conn: &mut Conn, text: &str, from: u64, count: u64) -> mysql_async::Result<(Vec<Account>, u64)> {
    let matching = "? = '' or locate(?, name) > 0 or locate(?, display_name) > 0";
    let sql = format!("select {ACCOUNT} from account where {matching} order by name limit {count} offset {from}");
    let accounts = conn.exec(sql, (text, text, text)).await?;
    let sql = format!("select count(*) from account where {matching}");
    let total = conn.exec_first(sql, (text, text, text)).await?;
    Ok((accounts, total.unwrap_or(0)))
}

/// Whether there is an account at all; before the first one every page leads to the set-up.
pub async fn anybody(conn: &mut Conn) -> mysql_async::Result<bool> {
    let first: Option<u8> = conn.query_first("select 1 from account limit 1").await?;
    Ok(first.is_some())
}

pub async fn by_id(conn: &mut Conn, account_id: &str) -> mysql_async::Result<Option<Account>> {
    let sql = format!("select {ACCOUNT} from account where account_id = ?");
    conn.exec_first(sql, (account_id,)).await
}

pub async fn by_name(conn: &mut impl Queryable, name: &str) -> mysql_async::Result<Option<Account>> {
    let sql = format!("select {ACCOUNT} from account where name = ?");
    conn.exec_first(sql, (name,)).await
}

/// [`by_id`], with the row locked until the transaction ends.
pub async fn locked(tx: &mut Transaction<'_>, account_id: &str) -> mysql_async::Result<Option<Account>> {
    let sql = format!("select {ACCOUNT} from account where account_id = ? for update");
    tx.exec_first(sql, (account_id,)).await
}

/// What sign-in needs of an account.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct Credentials {
    pub account_id: String,
    pub name: String,
    pub role: Role,
    pub password_hash: String,
    pub is_disabled: bool,
    pub has_two_factor: bool,
}

const CREDENTIALS: &str = "account_id, name, role, password_hash, disabled_at is not null as is_disabled, \
    totp_at is not null as has_two_factor";

/// Who a typed name may mean.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// The name as the database compares it: all spellings that find the same account fold to the same text.
    pub folded: String,
    pub account: Option<Credentials>,
    /// Whether this browser has signed in to that account before.
    pub is_known: bool,
}

/// One statement whether there is such an account or not, so that the time it takes tells nothing.
pub async fn candidate(conn: &mut Conn, name: &str, browser_hash: &str) -> mysql_async::Result<Candidate> {
    let sql = format!(
        "select hex(weight_string(t.typed)) as folded, k.token_hash is not null as is_known, a.* \
         from (select convert(? using utf8mb4) collate utf8mb4_unicode_520_ci as typed) t \
         left join (select {CREDENTIALS} from account) a on a.name = t.typed \
         left join known_browser k on k.token_hash = ? and k.account_id = a.account_id"
    );
    let row: Option<mysql_async::Row> = conn.exec_first(sql, (name, browser_hash)).await?;
    let folded = row.as_ref().and_then(|row| row.get("folded")).unwrap_or_default();
    let is_known = row.as_ref().and_then(|row| row.get("is_known")).unwrap_or(false);
    let account = row.filter(|row| !matches!(row.get::<Option<String>, _>("account_id"), None | Some(None)));
    Ok(Candidate {
        folded,
        is_known,
        account: account.map(mysql_async::from_row),
    })
}

/// A name as the database compares it.
pub async fn folded(conn: &mut impl Queryable, name: &str) -> mysql_async::Result<String> {
    let sql = "select hex(weight_string(convert(? using utf8mb4) collate utf8mb4_unicode_520_ci))";
    Ok(conn.exec_first(sql, (name,)).await?.unwrap_or_default())
}

/// [`credentials_by_id`], with the row locked until the transaction ends.
pub async fn locked_credentials(
    tx: &mut Transaction<'_>,
    account_id: &str,
) -> mysql_async::Result<Option<Credentials>> {
    let sql = format!("select {CREDENTIALS} from account where account_id = ? for update");
    tx.exec_first(sql, (account_id,)).await
}

pub async fn credentials_by_id(conn: &mut Conn, account_id: &str) -> mysql_async::Result<Option<Credentials>> {
    let sql = format!("select {CREDENTIALS} from account where account_id = ?");
    conn.exec_first(sql, (account_id,)).await
}

/// A new account.
#[derive(Debug, Clone)]
pub struct New<'a> {
    pub account_id: &'a str,
    pub name: &'a str,
    pub display_name: &'a str,
    pub role: Role,
    pub password_hash: &'a str,
    pub by: &'a str,
    /// Made at set-up; the database lets only one be that.
    pub is_first: bool,
}

pub async fn insert(tx: &mut Transaction<'_>, new: &New<'_>) -> mysql_async::Result<()> {
    tx.exec_drop(
        "insert into account (account_id, name, display_name, role, password_hash, password_at, first_one, created_by) \
         values (:account_id, :name, :display_name, :role, :password_hash, utc_timestamp(6), :first_one, :by)",
        params! {
            "account_id" => new.account_id, "name" => new.name, "display_name" => new.display_name,
            "role" => new.role.code(), "password_hash" => new.password_hash,
            "first_one" => new.is_first.then_some(1), "by" => new.by,
        },
    )
    .await
}

/// Display name and role, if nobody changed the row since it was shown; false otherwise.
pub async fn update(
    tx: &mut Transaction<'_>,
    (account_id, row_version): (&str, u32),
    display_name: &str,
    role: Role,
    by: &str,
) -> mysql_async::Result<bool> {
    tx.exec_drop(
        "update account set display_name = ?, role = ?, modified_at = utc_timestamp(6), modified_by = ?, \
         row_version = row_version + 1 where account_id = ? and row_version = ?",
        (display_name, role.code(), by, account_id, row_version),
    )
    .await?;
    Ok(tx.affected_rows() == 1)
}

pub async fn set_disabled(
    tx: &mut Transaction<'_>,
    account_id: &str,
    disabled: bool,
    by: &str,
) -> mysql_async::Result<()> {
    let at = if disabled { "utc_timestamp(6)" } else { "null" };
    let sql = format!(
        "update account set disabled_at = {at}, modified_at = utc_timestamp(6), modified_by = ?, \
         row_version = row_version + 1 where account_id = ?"
    );
    tx.exec_drop(sql, (by, account_id)).await
}

pub async fn set_password(tx: &mut Transaction<'_>, account_id: &str, hash: &str, by: &str) -> mysql_async::Result<()> {
    tx.exec_drop(
        "update account set password_hash = ?, password_at = utc_timestamp(6), modified_at = utc_timestamp(6), \
         modified_by = ?, row_version = row_version + 1 where account_id = ?",
        (hash, by, account_id),
    )
    .await
}

/// Notes a sign-in.
pub async fn signed_in(tx: &mut Transaction<'_>, account_id: &str) -> mysql_async::Result<()> {
    tx.exec_drop(
        "update account set signed_in_at = utc_timestamp(6) where account_id = ?",
        (account_id,),
    )
    .await
}

/// The same password under a hash whose parameters were raised.
pub async fn renew_hash(tx: &mut Transaction<'_>, account_id: &str, hash: &str) -> mysql_async::Result<()> {
    tx.exec_drop(
        "update account set password_hash = ? where account_id = ?",
        (hash, account_id),
    )
    .await
}

/// Whether an account has signed in from that browser before.
pub async fn is_known_browser(conn: &mut Conn, token_hash: &str, account_id: &str) -> mysql_async::Result<bool> {
    let sql = "select 1 from known_browser where token_hash = ? and account_id = ?";
    let known: Option<u8> = conn.exec_first(sql, (token_hash, account_id)).await?;
    Ok(known.is_some())
}

/// Whether this is the only super admin who can sign in, as it is now.
pub async fn is_only_super_admin(conn: &mut Conn, account_id: &str) -> mysql_async::Result<bool> {
    let sql =
        "select count(*) = 1 and max(account_id) = ? from account where role = 'super_admin' and disabled_at is null";
    Ok(conn.exec_first(sql, (account_id,)).await?.unwrap_or(false))
}

/// The super admins who can sign in, locked until the transaction ends, so that two cannot step down at once.
pub async fn locked_super_admins(tx: &mut Transaction<'_>) -> mysql_async::Result<Vec<String>> {
    tx.query(
        "select account_id from account where role = 'super_admin' and disabled_at is null order by account_id \
         for update",
    )
    .await
}

pub async fn remember_browser(tx: &mut Transaction<'_>, token_hash: &str, account_id: &str) -> mysql_async::Result<()> {
    tx.exec_drop(
        "insert into known_browser (token_hash, account_id) values (?, ?) \
         on duplicate key update seen_at = utc_timestamp(6)",
        (token_hash, account_id),
    )
    .await
}

pub async fn sweep_browsers(conn: &mut Conn) -> mysql_async::Result<u64> {
    conn.query_drop("delete from known_browser where seen_at < utc_timestamp(6) - interval 180 day limit 1000")
        .await?;
    Ok(conn.affected_rows())
}

/// The sealed secret of a second factor and the last step that was used.
#[derive(Debug, Clone, FromRow)]
pub struct SecondFactor {
    pub totp_secret: Option<Vec<u8>>,
    pub totp_step: u64,
    /// Seconds since 1970 by the database's clock.
    pub now: u64,
}

pub async fn second_factor(conn: &mut impl Queryable, account_id: &str) -> mysql_async::Result<Option<SecondFactor>> {
    conn.exec_first(
        "select totp_secret, totp_step, cast(unix_timestamp() as unsigned) as now from account where account_id = ?",
        (account_id,),
    )
    .await
}

/// Keeps a sealed secret that is not asked for yet, or, with `on`, from now on.
pub async fn set_second_factor(
    tx: &mut Transaction<'_>,
    account_id: &str,
    sealed: Option<&[u8]>,
    on: bool,
) -> mysql_async::Result<()> {
    let at = if on { "utc_timestamp(6)" } else { "null" };
    let sql = format!("update account set totp_secret = ?, totp_at = {at} where account_id = ?");
    tx.exec_drop(sql, (sealed, account_id)).await
}

/// Uses a step up; false when it, or a later one, was used before, on any server.
pub async fn use_step(tx: &mut Transaction<'_>, account_id: &str, step: u64) -> mysql_async::Result<bool> {
    tx.exec_drop(
        "update account set totp_step = ? where account_id = ? and totp_step < ?",
        (step, account_id, step),
    )
    .await?;
    Ok(tx.affected_rows() == 1)
}

pub async fn remove_second_factor(tx: &mut Transaction<'_>, account_id: &str) -> mysql_async::Result<()> {
    set_second_factor(tx, account_id, None, false).await?;
    tx.exec_drop("delete from recovery_code where account_id = ?", (account_id,))
        .await
}

/// Replaces a person's recovery codes.
pub async fn set_recovery_codes(
    tx: &mut Transaction<'_>,
    account_id: &str,
    hashes: &[String],
) -> mysql_async::Result<()> {
    tx.exec_drop("delete from recovery_code where account_id = ?", (account_id,))
        .await?;
    let rows = hashes.iter().map(|hash| (account_id, hash));
    tx.exec_batch("insert into recovery_code (account_id, code_hash) values (?, ?)", rows)
        .await
}

/// Uses a recovery code up; false when it is not one of theirs or was used.
pub async fn use_recovery_code(tx: &mut Transaction<'_>, account_id: &str, hash: &str) -> mysql_async::Result<bool> {
    tx.exec_drop(
        "update recovery_code set used_at = utc_timestamp(6) where account_id = ? and code_hash = ? and used_at is null",
        (account_id, hash),
    )
    .await?;
    Ok(tx.affected_rows() == 1)
}

/// Every sealed secret, for a change of the key.
pub async fn sealed(tx: &mut Transaction<'_>) -> mysql_async::Result<Vec<(String, Vec<u8>)>> {
    tx.query("select account_id, totp_secret from account where totp_secret is not null for update")
        .await
}

pub async fn reseal(tx: &mut Transaction<'_>, account_id: &str, sealed: &[u8]) -> mysql_async::Result<()> {
    tx.exec_drop(
        "update account set totp_secret = ? where account_id = ?",
        (sealed, account_id),
    )
    .await
}
