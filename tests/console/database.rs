//! Databases that refuse, and schemas of other times.

use muster::config::Database;
use muster::db::embedded::{Embedded, Options};
use muster::db::{Db, migrations};
use muster::error::Error;
use muster::i18n::Lang;
use mysql_async::prelude::Queryable;
use tempfile::TempDir;

use crate::support::{TestConsole, TestDatabase};

/// The refusal of a server's first tick, in English.
async fn refusal(database: &Database) -> String {
    match TestConsole::silent(database, None, &[]).await.heart.tick().await {
        Err(Error::Invalid(text)) => text.say(Lang::En),
        other => panic!("not refused: {other:?}"),
    }
}

#[tokio::test]
async fn a_wrong_password_names_the_settings_and_not_the_password() {
    let database = TestDatabase::new().await.database;
    let said = refusal(&Database {
        password: "hunter2".into(),
        ..database.clone()
    })
    .await;
    for part in [database.user.as_str(), "jpom.db.user-pwd", &database.name] {
        assert!(said.contains(part), "{part} is not in {said}");
    }
    assert!(!said.contains("hunter2"));
}

#[tokio::test]
async fn an_unknown_database_names_the_statement_that_makes_it() {
    let database = TestDatabase::new().await.database;
    let said = refusal(&Database {
        name: "muster_test_none".into(),
        ..database
    })
    .await;
    assert!(said.contains("create database `muster_test_none`"), "{said}");
}

#[tokio::test]
async fn a_user_without_the_right_to_create_is_told_the_grant() {
    let database = TestDatabase::new().await.database;
    let name = format!("t{}", &database.name[12..28]);
    let mut admin = TestDatabase::admin().await;
    for sql in [
        format!("create user '{name}'@'%' identified by 'Secret-123'"),
        format!(
            "grant select, insert, update, delete on `{}`.* to '{name}'@'%'",
            database.name
        ),
    ] {
        admin.query_drop(sql).await.unwrap();
    }
    let poor = Database {
        user: name.clone(),
        password: "Secret-123".into(),
        ..database
    };
    let said = refusal(&poor).await;
    admin.query_drop(format!("drop user '{name}'@'%'")).await.unwrap();
    assert!(
        said.to_lowercase().contains("grant") && said.contains(&poor.name),
        "{said}"
    );
}

#[tokio::test]
async fn a_schema_newer_than_the_program_is_refused_with_both_versions() {
    let a = TestConsole::start().await;
    let newer = migrations::ALL.len() + 7;
    let sql = "insert into migration (version, name, program) values (?, 'later', '9.9.9')";
    a.conn().await.exec_drop(sql, (newer,)).await.unwrap();
    let said = refusal(&a.database).await;
    for part in [
        newer.to_string(),
        migrations::ALL.len().to_string(),
        "9.9.9".into(),
        env!("CARGO_PKG_VERSION").into(),
    ] {
        assert!(said.contains(&part), "{part} is not in {said}");
    }
}

#[tokio::test]
async fn every_migration_can_run_twice() {
    let a = TestConsole::start().await;
    // As after a crash between a migration and the note that it ran.
    a.conn().await.query_drop("delete from migration").await.unwrap();
    migrations::run(&a.app.db).await.unwrap();
    let count: usize = a
        .conn()
        .await
        .query_first("select count(*) from migration")
        .await
        .unwrap()
        .unwrap();
    assert_eq!(count, migrations::ALL.len());
    assert_eq!(a.state_of(a.id()).await, "Online", "and nothing was lost");
}

#[tokio::test]
async fn a_beat_that_was_cut_off_is_made_up_by_the_next_tick() {
    let mut a = TestConsole::start().await;
    let id: u64 = {
        let mut admin = TestDatabase::admin().await;
        let sql = "select id from information_schema.processlist where db = ? and command = 'Sleep'";
        let ids: Vec<u64> = admin.exec(sql, (&a.database.name,)).await.unwrap();
        for id in &ids {
            admin.query_drop(format!("kill {id}")).await.unwrap();
        }
        ids.len() as u64
    };
    assert!(id >= 1);
    assert!(a.heart.tick().await.is_err(), "the connection was killed");
    a.heart.tick().await.unwrap();
    assert_eq!(a.state_of(a.id()).await, "Online");
}

/// A MariaDB that starts removes what others have in a directory for temporary tables that it shares with them.
#[tokio::test]
async fn a_private_database_has_its_own_place_for_temporary_tables() {
    let dir = TempDir::new().unwrap();
    let options = Options {
        tcp: false,
        durable: false,
    };
    let embedded = Embedded::start(dir.path(), options).await.unwrap();
    let mut conn = Db::new(&embedded.database()).own_conn().await.unwrap();
    let told: Option<String> = conn.query_first("select @@tmpdir").await.unwrap();
    conn.disconnect().await.unwrap();
    embedded.stop().await;
    assert_eq!(told.as_deref(), dir.path().join("tmp").to_str());
}
