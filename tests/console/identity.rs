//! Two holders of one install id never both work.

use muster::app::Standing;
use mysql_async::prelude::Queryable;

use crate::support::TestConsole;

fn works(console: &TestConsole) -> bool {
    *console.app.standing.borrow() == Standing::Working
}

#[tokio::test]
async fn a_copied_data_directory_does_not_work_beside_the_living_one() {
    let mut a = TestConsole::start().await;
    let mut clone = a.cloned().await;
    for _ in 0..3 {
        clone.heart.tick().await.unwrap();
        a.heart.tick().await.unwrap();
        assert!(works(&a) && !works(&clone));
    }
    let host = gethostname::gethostname().to_string_lossy().into_owned();
    let page = clone.get("/clusters").await;
    assert_eq!(page.status, 503);
    for part in [
        &host,
        &a.data.path().display().to_string(),
        "muster identity new",
        "muster identity adopt",
    ] {
        page.shows(part);
    }
    assert_eq!(clone.client.get("/readyz").send().await.0.status(), 503);
    assert_eq!(a.state_of(a.id()).await, "Duplicate install ID");
    let show = a.get(&format!("/clusters/{}", a.id())).await;
    show.shows(&clone.data.path().display().to_string());
}

#[tokio::test]
async fn the_copy_takes_over_only_after_the_other_was_silent_past_its_limit() {
    let mut a = TestConsole::start().await;
    let mut clone = a.cloned().await;
    clone.heart.tick().await.unwrap();
    a.age(80.0).await;
    clone.heart.tick().await.unwrap();
    assert!(!works(&clone), "late still counts as alive");
    a.age(20.0).await;
    for _ in 0..2 {
        clone.heart.tick().await.unwrap();
    }
    assert!(works(&clone));
    // The first one comes back to life and finds its place taken.
    a.heart.tick().await.unwrap();
    assert!(!works(&a) && works(&clone));
    clone.heart.tick().await.unwrap();
    assert!(works(&clone));
}

#[tokio::test]
async fn a_beat_between_two_looks_keeps_the_copy_out() {
    let mut a = TestConsole::start().await;
    let mut clone = a.cloned().await;
    clone.heart.tick().await.unwrap();
    a.heart.tick().await.unwrap();
    a.age(100.0).await;
    clone.heart.tick().await.unwrap();
    assert!(!works(&clone), "the other has beaten since the last look");
}

#[tokio::test]
async fn a_copy_that_stops_takes_its_report_back() {
    let mut a = TestConsole::start().await;
    let mut clone = a.cloned().await;
    clone.heart.tick().await.unwrap();
    assert_eq!(a.state_of(a.id()).await, "Duplicate install ID");
    clone.heart.last_word().await;
    assert_eq!(a.state_of(a.id()).await, "Online");
    a.heart.tick().await.unwrap();
    assert!(works(&a));
}

#[tokio::test]
async fn a_machine_copied_while_running_leaves_one_worker() {
    let mut a = TestConsole::start().await;
    a.heart.tick().await.unwrap();
    // The other half of the copy beats with the same boot id.
    a.set("beat_seq = beat_seq + 1").await;
    let before = a.app.install.boot_id();
    a.heart.tick().await.unwrap();
    assert!(works(&a));
    assert_ne!(
        a.app.install.boot_id(),
        before,
        "whoever notices first takes a new boot id"
    );
    let row: String = a
        .conn()
        .await
        .query_first("select boot_id from cluster")
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        row,
        a.app.install.boot_id(),
        "so the other half meets no row of its own at its next beat"
    );
}

#[tokio::test]
async fn the_half_of_a_copied_machine_that_lost_the_row_keeps_off_it_also_after_a_restart() {
    let mut a = TestConsole::start().await;
    // The other half noticed first: same directory, same running kernel, a boot id that is not ours.
    let other = "1".repeat(32);
    a.set(&format!("boot_id = '{other}'")).await;
    for _ in 0..3 {
        a.heart.tick().await.unwrap();
        assert!(!works(&a), "the row is the other half's, whose mark is ours");
    }
    let name = a.app.name();
    assert!(
        name.ends_with(&a.id()[..6]),
        "the frame shows the cluster's name: {name}"
    );
    let (database, data) = (a.database.clone(), a.data);
    drop((a.heart, a.client, a.app));
    let mut again = TestConsole::silent(&database, Some(data), &[]).await;
    for _ in 0..3 {
        again.heart.tick().await.unwrap();
        assert!(!works(&again), "the process before us did not hold the row any more");
    }
}

#[tokio::test]
async fn a_server_whose_taking_of_the_row_was_not_confirmed_takes_it_again() {
    let a = TestConsole::start().await;
    let (database, data) = (a.database.clone(), a.data);
    drop((a.heart, a.client, a.app));
    let mut again = TestConsole::silent(&database, Some(data), &[]).await;
    // The commit went through and its answer got lost: the row is ours, and we do not know.
    again
        .set(&format!(
            "boot_id = '{}', beat_at = utc_timestamp(6)",
            again.app.install.boot_id()
        ))
        .await;
    again.heart.tick().await.unwrap();
    assert!(works(&again));
}

#[tokio::test]
async fn a_killed_server_restarts_at_once_in_its_own_directory() {
    let a = TestConsole::start().await;
    let (database, data, old) = (a.database.clone(), a.data, a.app.install.boot_id());
    drop((a.heart, a.client, a.app));
    let mut again = TestConsole::silent(&database, Some(data), &[]).await;
    again.heart.tick().await.unwrap();
    assert!(works(&again), "the lock proves that the former process is gone");
    assert_ne!(again.app.install.boot_id(), old);
}

#[tokio::test]
async fn two_new_clusters_have_different_names() {
    let a = TestConsole::start().await;
    let b = TestConsole::beside(&a).await;
    assert_ne!(a.app.name(), b.app.name());
    assert!(a.app.name().ends_with(&a.id()[..6]));
}

#[tokio::test]
async fn a_changed_cluster_id_is_written_at_the_next_start() {
    let a = TestConsole::start().await;
    let (database, data) = (a.database.clone(), a.data);
    drop((a.heart, a.client, a.app));
    let mut again = TestConsole::silent(&database, Some(data), &[("JPOM_CLUSTER_ID", "east")]).await;
    again.heart.tick().await.unwrap();
    let id: String = again
        .conn()
        .await
        .query_first("select cluster_id from cluster")
        .await
        .unwrap()
        .unwrap();
    assert_eq!(id, "EAST");
    let told: Option<String> = again
        .conn()
        .await
        .query_first("select changes from audit where action = 'cluster_update' and role = 'server'")
        .await
        .unwrap();
    assert_eq!(told.unwrap(), r#"[["cluster_id","DEFAULT","EAST"]]"#);
}
