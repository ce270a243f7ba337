//! Brings the schema up to date: numbered files, each run once, one server at a time.

use std::time::Duration;

use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use tokio::time::timeout;

use super::Db;
use crate::error::{Error, Result};
use crate::i18n::Text;

/// The files of `migrations/`, in order. Numbers start at 1 without gaps; a landed file is never edited.
pub const ALL: &[(&str, &str)] = &[
    ("0001_cluster", include_str!("../../migrations/0001_cluster.sql")),
    ("0002_account", include_str!("../../migrations/0002_account.sql")),
    ("0003_session", include_str!("../../migrations/0003_session.sql")),
    ("0004_api_token", include_str!("../../migrations/0004_api_token.sql")),
    (
        "0005_recovery_code",
        include_str!("../../migrations/0005_recovery_code.sql"),
    ),
    (
        "0006_sign_in_miss",
        include_str!("../../migrations/0006_sign_in_miss.sql"),
    ),
    ("0007_audit", include_str!("../../migrations/0007_audit.sql")),
    (
        "0008_known_browser",
        include_str!("../../migrations/0008_known_browser.sql"),
    ),
    ("0009_seal_key", include_str!("../../migrations/0009_seal_key.sql")),
    (
        "0010_cluster_told_state",
        include_str!("../../migrations/0010_cluster_told_state.sql"),
    ),
    (
        "0011_asset_group",
        include_str!("../../migrations/0011_asset_group.sql"),
    ),
    (
        "0012_asset_group_default",
        include_str!("../../migrations/0012_asset_group_default.sql"),
    ),
    (
        "0013_cluster_group",
        include_str!("../../migrations/0013_cluster_group.sql"),
    ),
    (
        "0014_cluster_group_only_one",
        include_str!("../../migrations/0014_cluster_group_only_one.sql"),
    ),
    (
        "0015_cluster_keys",
        include_str!("../../migrations/0015_cluster_keys.sql"),
    ),
    ("0016_workspace", include_str!("../../migrations/0016_workspace.sql")),
    (
        "0017_workspace_default",
        include_str!("../../migrations/0017_workspace_default.sql"),
    ),
    (
        "0018_address_check",
        include_str!("../../migrations/0018_address_check.sql"),
    ),
    (
        "0019_workspace_member",
        include_str!("../../migrations/0019_workspace_member.sql"),
    ),
    ("0020_jump", include_str!("../../migrations/0020_jump.sql")),
    ("0021_handover", include_str!("../../migrations/0021_handover.sql")),
    (
        "0022_handover_item",
        include_str!("../../migrations/0022_handover_item.sql"),
    ),
    (
        "0023_workspace_folder",
        include_str!("../../migrations/0023_workspace_folder.sql"),
    ),
    (
        "0024_cluster_address_role",
        include_str!("../../migrations/0024_cluster_address_role.sql"),
    ),
    (
        "0025_session_root",
        include_str!("../../migrations/0025_session_root.sql"),
    ),
    (
        "0026_jump_target",
        include_str!("../../migrations/0026_jump_target.sql"),
    ),
    ("0027_credential", include_str!("../../migrations/0027_credential.sql")),
    ("0028_asset", include_str!("../../migrations/0028_asset.sql")),
    (
        "0029_asset_watch",
        include_str!("../../migrations/0029_asset_watch.sql"),
    ),
    (
        "0030_asset_event",
        include_str!("../../migrations/0030_asset_event.sql"),
    ),
    (
        "0031_notice_channel",
        include_str!("../../migrations/0031_notice_channel.sql"),
    ),
    ("0032_notice", include_str!("../../migrations/0032_notice.sql")),
    (
        "0033_asset_trial",
        include_str!("../../migrations/0033_asset_trial.sql"),
    ),
    ("0034_outage", include_str!("../../migrations/0034_outage.sql")),
    (
        "0035_asset_list_keys",
        include_str!("../../migrations/0035_asset_list_keys.sql"),
    ),
    (
        "0036_notice_keys",
        include_str!("../../migrations/0036_notice_keys.sql"),
    ),
    (
        "0037_asset_watch_list_keys",
        include_str!("../../migrations/0037_asset_watch_list_keys.sql"),
    ),
];

/// How long one server waits for another that migrates.
const LOCK_SECONDS: u32 = 60;
/// How long looking may take: a database that accepts connections and is silent must be said to be away.
const LOOK: Duration = Duration::from_secs(5);
/// How long all of it may take before the start tries again.
const LIMIT: Duration = Duration::from_secs(600);

/// A named lock is server-wide, so its name carries the schema. On a Galera cluster it holds per node only; each file
/// can therefore run twice without harm.
const LOCK_NAME: &str = "concat('muster.migrations.', left(sha2(database(), 256), 40))";

/// A column or key that is there already: an earlier run ended between the change and the note of it.
const ALREADY_THERE: [u16; 2] = [1060, 1061];

const TABLE: &str = "create table if not exists migration (
    version int unsigned not null primary key,
    name varchar(100) not null,
    program varchar(50) not null,
    applied_at datetime(6) not null default current_timestamp(6)
) engine = innodb default charset = utf8mb4 collate = utf8mb4_unicode_520_ci";

/// Applies what is missing.
///
/// # Errors
/// [`Error::Invalid`] when the schema is newer than this program or the user may not create tables;
/// [`Error::Unavailable`] when another server keeps the lock for a minute.
pub async fn run(db: &Db) -> Result<()> {
    run_to(db, newest()).await
}

/// [`run`] to a number and no further, for what was saved at that time.
///
/// # Errors
/// As for [`run`].
pub async fn run_to(db: &Db, last: u32) -> Result<()> {
    let is_current = timeout(LOOK, async {
        let mut conn = db.own_conn().await?;
        db.check_version(&mut conn).await?;
        let is_current = is_current(db, &mut conn).await?;
        conn.disconnect().await?;
        Ok::<_, Error>(is_current)
    });
    match is_current.await {
        Ok(Ok(true)) => return Ok(()),
        Ok(Ok(false)) => {}
        Ok(Err(error)) => return Err(error),
        Err(_) => return Err(Error::timed_out("no answer within 5 s")),
    }
    match timeout(LIMIT, under_lock(db, last)).await {
        Ok(result) => result,
        Err(_) => Err(Error::timed_out("migrations did not end within 10 min")),
    }
}

async fn under_lock(db: &Db, last: u32) -> Result<()> {
    // A connection of its own: when it goes, the lock goes with it.
    let mut conn = db.patient_conn().await?;
    let got: Option<Option<i32>> = conn
        .query_first(format!("select get_lock({LOCK_NAME}, {LOCK_SECONDS})"))
        .await?;
    if got.flatten() != Some(1) {
        return Err(Error::timed_out("another server is still migrating the database"));
    }
    let result = run_missing(db, &mut conn, last).await;
    conn.disconnect().await?;
    result
}

async fn run_missing(db: &Db, conn: &mut Conn, last: u32) -> Result<()> {
    if is_current(db, conn).await? {
        return Ok(());
    }
    conn.query_drop(TABLE).await.map_err(|error| db.refusal(error))?;
    let at = version(conn).await?;
    for (number, (name, sql)) in (1..=last).zip(ALL).skip(at as usize) {
        match conn.query_drop(*sql).await {
            Err(mysql_async::Error::Server(error)) if ALREADY_THERE.contains(&error.code) => {}
            done => done.map_err(|error| db.refusal(error))?,
        }
        let row = (number, *name, env!("CARGO_PKG_VERSION"));
        conn.exec_drop("insert into migration (version, name, program) values (?, ?, ?)", row)
            .await?;
        tracing::info!(migration = name, "database migrated");
    }
    Ok(())
}

/// Whether nothing is missing; a schema newer than this program is refused with both versions.
async fn is_current(db: &Db, conn: &mut Conn) -> Result<bool> {
    let at = version(conn).await?;
    if at <= newest() {
        return Ok(at == newest());
    }
    Err(Error::Invalid(
        Text::new("db.newer")
            .with("place", &db.place)
            .with("found", at)
            .with("known", newest())
            .with("program", newest_program(conn).await?)
            .with("version", env!("CARGO_PKG_VERSION")),
    ))
}

/// The number of the newest one.
pub fn newest() -> u32 {
    ALL.len() as u32
}

/// The tables that they make, each once.
pub fn tables() -> impl Iterator<Item = &'static str> {
    let made = |(_, sql): &(&str, &'static str)| {
        let (_, rest) = sql.split_once("create table if not exists ")?;
        rest.split_whitespace().next()
    };
    ALL.iter().filter_map(made)
}

/// The schema's version of a database with which this program can work.
///
/// # Errors
/// [`Error::Invalid`] when there is none of ours.
pub async fn found(conn: &mut Conn) -> Result<u32> {
    match version(conn).await? {
        0 => Err(Error::Invalid(Text::new("backup.nothing"))),
        at => Ok(at),
    }
}

/// The schema's version; 0 for an empty database.
async fn version(conn: &mut Conn) -> Result<u32> {
    let exists: Option<u8> = conn
        .query_first(
            "select 1 from information_schema.tables where table_schema = database() and table_name = 'migration'",
        )
        .await?;
    if exists.is_none() {
        return Ok(0);
    }
    let newest: Option<Option<u32>> = conn.query_first("select max(version) from migration").await?;
    Ok(newest.flatten().unwrap_or(0))
}

async fn newest_program(conn: &mut Conn) -> Result<String> {
    let program: Option<String> = conn
        .query_first("select program from migration order by version desc limit 1")
        .await?;
    Ok(program.unwrap_or_default())
}
