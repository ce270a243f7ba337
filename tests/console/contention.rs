//! Edits that meet others at the same rows: undone by the database and done again, or refused with the reason.

use std::time::{Duration, Instant};

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, TxOpts};
use poem::http::StatusCode;

use crate::support::TestConsole;

/// Longest until somebody waits for a row.
const PATIENCE: Duration = Duration::from_secs(20);
/// InnoDB shows what it knew before to whoever asks more often than ten times a second.
const GLANCE: Duration = Duration::from_millis(150);

fn path(console: &TestConsole) -> String {
    format!("/clusters/{}", console.id())
}

/// A new name, and the group that is bound is bound no more: the row of the group is locked first, then that of the cluster.
const EDIT: [(&str, &str); 4] = [("name", "once"), ("row_version", "0"), ("was", "2"), ("sure", "yes")];

/// A console with a second group, which is bound to its cluster.
async fn console() -> TestConsole {
    let a = TestConsole::start().await;
    a.post("/groups", &[("name", "web")]).await;
    assert_eq!(a.count(BOUND).await, 1);
    a
}

const BOUND: &str = "select count(*) from cluster_group where group_id = 2";
const EDITED: &str = "select count(*) from cluster where name = 'once'";
const LINES: &str = "select count(*) from audit where action = 'cluster_update'";

/// The connection of whoever waits for a row of this database.
async fn waiting(conn: &mut Conn) -> u64 {
    let sql = "select p.id from information_schema.innodb_trx t join information_schema.processlist p \
               on p.id = t.trx_mysql_thread_id where t.trx_state = 'LOCK WAIT' and p.db = database()";
    let began = Instant::now();
    loop {
        if let Some(id) = conn.query_first(sql).await.unwrap() {
            return id;
        }
        assert!(began.elapsed() < PATIENCE, "nobody waits");
        tokio::time::sleep(GLANCE).await;
    }
}

#[tokio::test]
async fn an_edit_that_a_deadlock_undid_is_done_again_and_once() {
    let a = console().await;
    let (mut other, mut watch) = (a.conn().await, a.conn().await);
    other
        .query_drop("create table ballast (n int) engine = innodb")
        .await
        .unwrap();
    let mut tx = other.start_transaction(TxOpts::default()).await.unwrap();
    // Of a circle the database undoes whoever has changed less.
    let ballast = format!("insert into ballast values {}", vec!["(1)"; 200].join(", "));
    tx.query_drop(ballast).await.unwrap();
    tx.query_drop("select 1 from cluster for update").await.unwrap();
    let path = path(&a);
    let edit = a.post(&path, &EDIT);
    let circle = async {
        waiting(&mut watch).await;
        // It holds this row, and still the other one gets it: it was undone.
        tx.query_drop("select 1 from asset_group where group_id = 2 for update")
            .await
            .unwrap();
        tx.rollback().await.unwrap();
    };
    let (page, ()) = tokio::join!(edit, circle);
    assert_eq!(page.status, StatusCode::SEE_OTHER, "{}", page.text("body"));
    assert_eq!((a.count(EDITED).await, a.count(BOUND).await), (1, 0));
    assert_eq!(a.count(LINES).await, 1, "one line in the trail");
    assert_eq!(a.count("select cast(row_version as unsigned) from cluster").await, 1);
}

#[tokio::test]
async fn an_edit_that_waits_in_vain_is_refused_in_time_with_the_reason_and_not_there() {
    let a = console().await;
    let mut other = a.conn().await;
    let mut tx = other.start_transaction(TxOpts::default()).await.unwrap();
    tx.query_drop("select 1 from asset_group for update").await.unwrap();
    let path = path(&a);
    let began = Instant::now();
    // The second is one that is not done again.
    let (page, rename) = tokio::join!(
        a.post(&path, &EDIT),
        a.post("/groups/1", &[("name", "renamed"), ("row_version", "0")])
    );
    assert!(began.elapsed() < Duration::from_millis(7900), "{:?}", began.elapsed());
    for page in [page, rename] {
        assert_eq!(page.status, StatusCode::CONFLICT);
        page.shows("Somebody else is changing the same things at this moment, so this was not saved.");
    }
    tx.rollback().await.unwrap();
    let renamed = "select count(*) from asset_group where name = 'renamed'";
    let there = (a.count(EDITED).await, a.count(BOUND).await, a.count(renamed).await);
    assert_eq!(there, (0, 1, 0));
    assert_eq!(a.count(LINES).await, 0);
    assert_eq!(a.post(&path, &EDIT).await.status, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn an_edit_whose_connection_is_lost_is_not_done_again() {
    let a = console().await;
    let (mut other, mut watch) = (a.conn().await, a.conn().await);
    let mut tx = other.start_transaction(TxOpts::default()).await.unwrap();
    tx.query_drop("select 1 from cluster for update").await.unwrap();
    let path = path(&a);
    let edit = a.post(&path, &EDIT);
    let lost = async {
        let id = waiting(&mut watch).await;
        watch.query_drop(format!("kill {id}")).await.unwrap();
    };
    let (page, ()) = tokio::join!(edit, lost);
    assert_eq!(page.status, StatusCode::SERVICE_UNAVAILABLE);
    tx.rollback().await.unwrap();
    assert_eq!((a.count(EDITED).await, a.count(BOUND).await), (0, 1));
}
