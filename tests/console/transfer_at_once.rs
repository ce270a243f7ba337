//! An import while somebody else holds the same assets.

use std::time::{Duration, Instant};

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, TxOpts};

use crate::assets::many;
use crate::support::TestConsole;
use crate::transfer::{import_shown, look};

/// A file that pauses assets, the last one first, and the fingerprint under which it may be imported.
async fn backwards(a: &TestConsole) -> (String, String) {
    many(a, 40, 1).await;
    let line = |n: u32| format!("machine,host {},http://10.0.0.{n}:9100,yes\n", n / 2);
    let lines: String = (1..=40).rev().map(line).collect();
    let csv = format!("kind,name,address,paused\n{lines}");
    let shown = look(a, &csv).await.value("input[name=fingerprint]");
    (csv, shown)
}

/// Until somebody waits for a lock in this database.
async fn somebody_waits(conn: &mut Conn) {
    let sql = "select count(*) from information_schema.innodb_trx t join information_schema.processlist p \
               on p.id = t.trx_mysql_thread_id where t.trx_state = 'LOCK WAIT' and p.db = database()";
    let began = Instant::now();
    // What is told is as old as the last question, until a tenth of a second has passed.
    let mut beat = tokio::time::interval(Duration::from_millis(200));
    while conn.query_first::<u64, _>(sql).await.unwrap() == Some(0) {
        assert!(began.elapsed() < Duration::from_secs(4), "nobody waits");
        beat.tick().await;
    }
}

/// The lines of the file are the other way round than the ids, in whose order everybody else holds them.
#[tokio::test]
async fn an_import_and_whoever_holds_the_same_assets_do_not_wait_for_each_other() {
    let a = TestConsole::start().await;
    let (csv, shown) = backwards(&a).await;
    let (mut conn, mut looking) = (a.conn().await, a.conn().await);
    let mut tx = conn.start_transaction(TxOpts::default()).await.unwrap();
    let lock = |id: u32| format!("select asset_id from asset where asset_id = {id} for update");
    tx.query_drop(lock(1)).await.unwrap();
    let others = async {
        somebody_waits(&mut looking).await;
        for id in 2..=40 {
            tx.query_drop(lock(id)).await.unwrap();
        }
        tx.commit().await.unwrap();
    };
    let (page, ()) = tokio::join!(import_shown(&a, &csv, &shown), others);
    page.shows("Imported: 0 new, 40 changed.");
}

#[tokio::test]
async fn an_import_that_waited_in_vain_tries_once_more() {
    let a = TestConsole::start().await;
    let (csv, shown) = backwards(&a).await;
    let mut conn = a.conn().await;
    let mut tx = conn.start_transaction(TxOpts::default()).await.unwrap();
    let lock = "select asset_id from asset where asset_id = 7 for update";
    tx.query_drop(lock).await.unwrap();
    let others = async {
        let began = Instant::now();
        let mut beat = tokio::time::interval(Duration::from_millis(20));
        // Longer than one wait for a lock.
        while began.elapsed() < Duration::from_millis(5_300) {
            beat.tick().await;
        }
        tx.commit().await.unwrap();
    };
    let (page, ()) = tokio::join!(import_shown(&a, &csv, &shown), others);
    page.shows("Imported: 0 new, 40 changed.");
}
