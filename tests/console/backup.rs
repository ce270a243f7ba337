//! `muster db`: saved while servers run, back in an empty database, and from the private database to a shared one.

use std::collections::HashSet;
use std::io::Write;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use muster::config::Database;
use mysql_async::TxOpts;
use mysql_async::prelude::Queryable;
use tempfile::TempDir;

use crate::assets::{added, machine};
use crate::commands::say;
use crate::processes::Process;
use crate::support::{TestConsole, TestDatabase};

fn db(data: &Path, database: &Database, arguments: &[&str]) -> (bool, String) {
    say(data, database, &[&["db"], arguments].concat())
}

/// Every value of some tables.
async fn all(database: &Database) -> Vec<String> {
    let mut conn = muster::db::Db::new(database).own_conn().await.unwrap();
    let mut all = Vec::new();
    for table in [
        "cluster",
        "account",
        "asset",
        "asset_group",
        "workspace",
        "credential",
        "audit",
    ] {
        let rows: Vec<mysql_async::Row> = conn
            .exec(format!("select * from `{table}` where 1 = 1 order by 1, 2, 3"), ())
            .await
            .unwrap();
        assert!(!rows.is_empty(), "{table}");
        for row in rows {
            let values: Vec<String> = row.unwrap().iter().map(|value| value.as_sql(false)).collect();
            all.push(format!("{table}: {}", values.join(", ")));
        }
    }
    all.retain(|row| !row.contains("database_restore"));
    all
}

async fn furnished() -> TestConsole {
    let a = TestConsole::start().await;
    a.app.seal.add(&muster::seal::Key::random().unwrap()).unwrap();
    let odd = "it's \"odd\"; \\ -- 名 %_ 👩";
    a.post("/workspaces", &[("name", odd), ("install_id", a.id())]).await;
    let mut fields = machine("web", "http://web:9100");
    fields.extend([("user", "u"), ("password", "geheim77")]);
    added(&a, &fields).await;
    a.sql("update workspace set description = 'a\nb\t\r\nc\\\\\0' where name like 'it%'")
        .await;
    assert_eq!(
        a.count("select count(*) from workspace where description like 'a%'")
            .await,
        1
    );
    a
}

#[tokio::test]
async fn what_is_saved_comes_back_as_it_was_and_the_server_is_the_same_cluster() {
    let mut a = furnished().await;
    let (folder, data) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let file = folder.path().join("muster.sql.gz").display().to_string();
    let (done, said) = db(data.path(), &a.database, &["backup", &file]);
    assert!(done && said.contains("are saved in"), "{said}");
    let before = all(&a.database).await;
    let (done, said) = db(data.path(), &a.database, &["backup", &file]);
    assert!(!done && said.contains("exists already"), "{said}");
    let (done, said) = db(data.path(), &a.database, &["restore", &file]);
    assert!(!done && said.contains("holds data of Muster already"), "{said}");
    assert_eq!(all(&a.database).await, before);

    let empty = TestDatabase::new().await.database;
    let (done, said) = db(data.path(), &empty, &["restore", &file]);
    assert!(done && said.contains("each was compared"), "{said}");
    assert_eq!(all(&empty).await, before);

    // Started again on it, in its own directory.
    a.heart.tick().await.unwrap();
    let copy = std::mem::replace(&mut a.data, TempDir::new().unwrap());
    let former = a.visitor.clone();
    drop(a);
    let mut again = TestConsole::silent(&empty, Some(copy), &[]).await;
    again.heart.tick().await.unwrap();
    assert!(!again.is_in(&former).await, "whoever was signed in then is not now");
    again.visitor = again.visitor("ann", muster::people::role::Role::SuperAdmin).await;
    assert_eq!(again.state_of(again.id()).await, "Online");
    assert_eq!(again.count("select count(*) from cluster").await, 1);
    again.get("/workspaces").await.shows("it's \"odd\"");
    let kept = "select count(*) from session where account_id <> (select account_id from account where name = 'ann')";
    assert_eq!(again.count(kept).await, 0);
}

/// Each of its transactions writes the same number into two tables.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_meanwhile_is_in_it_wholly_or_not_at_all() {
    let a = furnished().await;
    let mut conn = a.conn().await;
    let writer = tokio::spawn(async move {
        for number in 0_u32.. {
            let mut tx = conn.start_transaction(TxOpts::default()).await.unwrap();
            for table in ["asset", "workspace"] {
                tx.exec_drop(format!("update {table} set modified_by = ?"), (number,))
                    .await
                    .unwrap();
            }
            tx.commit().await.unwrap();
        }
    });
    let (folder, data) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let mut seen = HashSet::new();
    for number in 0..5 {
        let file = folder.path().join(format!("{number}.sql.gz")).display().to_string();
        let (done, said) = db(data.path(), &a.database, &["backup", &file]);
        assert!(done, "{said}");
        let empty = TestDatabase::new().await.database;
        let (done, said) = db(data.path(), &empty, &["restore", &file]);
        assert!(done, "{said}");
        let mut conn = muster::db::Db::new(&empty).own_conn().await.unwrap();
        let sql = "select modified_by from asset union select modified_by from workspace";
        let found: Vec<String> = conn.query(sql).await.unwrap();
        assert_eq!(found.len(), 1, "{found:?}");
        seen.extend(found);
    }
    assert!(seen.len() > 1 && !writer.is_finished(), "nothing was written meanwhile");
    writer.abort();
}

#[tokio::test]
async fn tables_of_somebody_else_are_not_touched() {
    let a = furnished().await;
    let (folder, data) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let file = folder.path().join("muster.sql.gz").display().to_string();
    assert!(db(data.path(), &a.database, &["backup", &file]).0);
    let other = TestDatabase::new().await;
    let mut conn = other.conn().await;
    conn.query_drop("create table session (id int) engine = myisam")
        .await
        .unwrap();
    conn.query_drop("insert into session values (7)").await.unwrap();
    let (done, said) = db(data.path(), &other.database, &["restore", &file]);
    assert!(!done && said.contains("(session) that Muster did not make"), "{said}");
    let kept: Vec<u32> = conn.query("select id from session").await.unwrap();
    let tables: Vec<String> = conn.query("show tables").await.unwrap();
    assert_eq!((kept, tables), (vec![7], vec!["session".to_owned()]));
}

#[tokio::test]
async fn a_file_that_is_not_whole_changes_nothing() {
    let a = furnished().await;
    let (folder, data) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let path = folder.path().join("muster.sql.gz");
    let file = path.display().to_string();
    assert!(db(data.path(), &a.database, &["backup", &file]).0);
    let whole = std::fs::read(&path).unwrap();
    let mut text = String::new();
    std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(whole.as_slice()), &mut text).unwrap();
    let zipped = |text: &str| {
        let mut out = GzEncoder::new(Vec::new(), Compression::fast());
        out.write_all(text.as_bytes()).unwrap();
        out.finish().unwrap()
    };
    let lines: Vec<&str> = text.lines().collect();
    let (head, foot) = (lines[0], lines[lines.len() - 1]);
    let empty = TestDatabase::new().await.database;
    for (what, bytes) in [
        ("is cut off or was changed", whole[..whole.len() / 2].to_vec()),
        (
            "is cut off or was changed",
            zipped(&text.replace("geheim", "anders").replace("web", "wob")),
        ),
        (
            "is cut off or was changed",
            zipped(text.trim_end().trim_end_matches(foot)),
        ),
        ("was not made by muster db backup", zipped("-- another\n")),
        (
            "newer than this program",
            zipped(&text.replace(head, &head.replace("\"schema\":", "\"schema\":9"))),
        ),
        ("is cut off or was changed", b"no gzip at all".to_vec()),
    ] {
        std::fs::write(&path, bytes).unwrap();
        let (done, said) = db(data.path(), &empty, &["restore", &file]);
        assert!(!done && said.contains(what), "{what}: {said}");
    }
    let mut conn = muster::db::Db::new(&empty).own_conn().await.unwrap();
    let tables: Vec<String> = conn.query("show tables").await.unwrap();
    assert!(tables.is_empty(), "{tables:?}");
}

#[tokio::test]
async fn the_private_database_moves_to_a_shared_one_and_stays_as_it_was() {
    let (mut data, shared) = (TempDir::new().unwrap(), TestDatabase::new().await.database);
    let private = |data: &TempDir, arguments: &[&str]| {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_muster"))
            .args(arguments)
            .arg("--data")
            .arg(data.path())
            .env("LC_ALL", "en_US.UTF-8")
            .output()
            .unwrap();
        let said = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
        (output.status.success(), said)
    };
    let (done, said) = private(&data, &["db", "move", "--to", &crate::support::url(&shared)]);
    assert!(!done && said.contains("nothing to move"), "{said}");
    // A private database with somebody in it, which outlived its server.
    std::fs::create_dir(data.path().join("mariadb")).unwrap();
    let (done, said) = private(&data, &["user", "add", "ann", "--role", "super-admin"]);
    assert!(done, "{said}");
    let (done, said) = private(&data, &["db", "move"]);
    assert!(!done && said.contains("It is not said which database"), "{said}");
    let taken = std::mem::replace(&mut data, TempDir::new().unwrap());
    let server = Process::spawn_in(Some(taken), None, "P", &[]);
    server.until("/readyz", "ready").await;
    data = server.killed();
    let (done, said) = private(&data, &["db", "move", "--to", &crate::support::url(&shared)]);
    assert!(done && said.contains("each was compared"), "{said}");
    let mut conn = muster::db::Db::new(&shared).own_conn().await.unwrap();
    let names: Vec<String> = conn.query("select name from account").await.unwrap();
    assert_eq!(names, ["ann"]);
    let moved: Option<u64> = conn
        .query_first("select count(*) from audit where action = 'database_move'")
        .await
        .unwrap();
    assert_eq!(moved, Some(1));
    assert!(
        private(&data, &["user", "list"]).1.contains("ann"),
        "the source is as it was"
    );
    let (done, said) = private(&data, &["db", "move", "--to", &crate::support::url(&shared)]);
    assert!(!done && said.contains("holds data of Muster already"), "{said}");
}
