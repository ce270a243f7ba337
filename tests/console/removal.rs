//! Deleting a cluster, and what stands against it.

use muster::app::Standing;
use muster::clusters::roll;
use muster::people::Role;
use mysql_async::prelude::Queryable;
use poem::http::StatusCode;

use crate::support::{Page, TestConsole};

fn path(console: &TestConsole) -> String {
    format!("/clusters/{}/removal", console.id())
}

/// Confirms on the page as it is shown now.
async fn removed(a: &TestConsole, of: &TestConsole) -> Page {
    let beat_seq = of.beat_seq().await;
    let fields = [("name", of.app.name()), ("beat_seq", beat_seq)];
    let fields: Vec<(&str, &str)> = fields.iter().map(|(key, value)| (*key, value.as_str())).collect();
    a.post(&path(of), &fields).await
}

impl TestConsole {
    async fn beat_seq(&self) -> String {
        let sql = format!("select beat_seq from cluster where install_id = '{}'", self.id());
        self.count(&sql).await.to_string()
    }
}

#[tokio::test]
async fn a_cluster_is_deleted_in_the_four_steps_and_each_blocker_is_named() {
    let a = TestConsole::start().await;
    let mut b = TestConsole::beside(&a).await;
    a.post("/groups", &[("name", "web")]).await;
    a.post("/groups/2/clusters", &[("install_id", b.id())]).await;
    a.post("/groups/1/clusters", &[("install_id", b.id())]).await;
    a.sql(&format!("update workspace set install_id = '{}'", b.id())).await;

    let page = a.get(&path(&b)).await;
    page.shows("A cluster that is online cannot be deleted");
    page.shows("beats every 30 s");
    assert_eq!(page.count("form[action$='/removal']"), 0, "nothing to confirm yet");
    assert_eq!(removed(&a, &b).await.status, StatusCode::CONFLICT);

    b.heart.last_word().await;
    let refused = removed(&a, &b).await;
    refused.shows("The cluster still has workspaces and cannot be deleted");
    refused.shows("默认");
    let moved = a.post(&format!("{}/workspaces", path(&b)), &[("to", a.id())]).await;
    assert_eq!(moved.header("location"), path(&b));
    assert_eq!(
        a.count(&format!(
            "select count(*) from workspace where install_id = '{}'",
            a.id()
        ))
        .await,
        1
    );

    let refused = removed(&a, &b).await;
    refused.shows("These groups have no other cluster");
    assert_eq!(
        refused.texts("li:nth-of-type(3) .tag"),
        ["默认", "web"],
        "one goes on with a, one would be nobody's"
    );
    a.post(&format!("{}/groups", path(&b)), &[("to", a.id())]).await;
    let page = a.get("/clusters").await;
    assert_eq!(page.texts("#group-panel .tag-primary").len(), 2);

    let wrong = a
        .post(&path(&b), &[("name", "b"), ("beat_seq", &b.beat_seq().await)])
        .await;
    wrong.shows("This is not the name of the cluster");
    assert_eq!(wrong.value("#f-name"), "b");
    assert_eq!(removed(&a, &b).await.header("location"), "/clusters");
    let list = a.get("/clusters").await;
    assert_eq!(list.count("tbody tr"), 1);
    assert_eq!(a.get(&path(&b)).await.status, StatusCode::NOT_FOUND);
    a.get("/audit?action=cluster_remove").await.shows(&b.app.name());
    assert_eq!(
        a.count("select count(*) from audit where action = 'cluster_remove' and result = 'refused'")
            .await,
        4
    );
}

#[tokio::test]
async fn unbinding_means_unbinding() {
    let a = TestConsole::start().await;
    let mut b = TestConsole::beside(&a).await;
    a.post(&format!("{}/workspaces", path(&a)), &[("to", "")]).await;
    a.post(&format!("{}/groups", path(&a)), &[("to", "")]).await;
    assert_eq!(
        a.count("select count(*) from workspace where install_id is null").await,
        1
    );
    a.get("/clusters").await.shows("Groups without a cluster: 默认");
    b.heart.last_word().await;
    assert_eq!(removed(&a, &b).await.status, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn only_a_super_admin_deletes_and_never_by_get() {
    let a = TestConsole::start().await;
    let b = TestConsole::beside(&a).await;
    b.set("stopped_at = utc_timestamp(6)").await;
    let system = a.visitor("sys", Role::SystemAdmin).await;
    assert_eq!(a.post_as(&system, &path(&b), &[]).await.status, StatusCode::FORBIDDEN);
    a.get(&path(&b)).await;
    assert_eq!(
        a.count("select count(*) from cluster where removed_at is null").await,
        2
    );
}

#[tokio::test]
async fn of_a_deletion_and_a_reviving_beat_exactly_one_wins_a_thousand_times() {
    let a = TestConsole::start().await;
    let b = TestConsole::beside(&a).await;
    let mut conn = b.conn().await;
    let (boot_id, name) = (b.app.install.boot_id(), b.app.name());
    let page_path = path(&b);
    let (mut deleted, mut beaten) = (0, 0);
    for round in 0..1000 {
        b.set(&format!(
            "removed_at = null, boot_id = '{boot_id}', beat_seq = {round} + 1, beat_at = utc_timestamp(6) - interval 1 day"
        ))
        .await;
        let seq = (round + 1).to_string();
        let fields = [("name", name.as_str()), ("beat_seq", seq.as_str())];
        let beat = async {
            // Sometimes before, sometimes after the deletion.
            for _ in 0..(round % 12) * 3 {
                tokio::task::yield_now().await;
            }
            roll::beat(&mut conn, b.id(), &boot_id, 30, 0.0).await.unwrap()
        };
        let (page, beat) = tokio::join!(a.post(&page_path, &fields), beat);
        let gone = page.status == StatusCode::SEE_OTHER;
        assert_eq!(
            gone,
            beat.is_none(),
            "round {round}: {}",
            page.text(".notice, .mistake")
        );
        deleted += u32::from(gone);
        beaten += u32::from(beat.is_some());
    }
    assert!(
        deleted > 20 && beaten > 20,
        "{deleted} deleted, {beaten} beaten: they did not meet"
    );
}

#[tokio::test]
async fn a_deleted_server_stops_says_by_whom_and_is_registered_again_on_its_own_page() {
    let a = TestConsole::start().await;
    let mut b = TestConsole::beside(&a).await;
    b.age(3600.0).await;
    assert_eq!(removed(&a, &b).await.status, StatusCode::SEE_OTHER);
    b.heart.tick().await.unwrap();
    assert!(matches!(&*b.app.standing.borrow(), Standing::Removed { by, .. } if by == "root"));
    let page = b.get("/clusters").await;
    assert_eq!(page.status, StatusCode::SERVICE_UNAVAILABLE);
    page.shows("root");
    let system = a.visitor("sys", Role::SystemAdmin).await;
    assert_eq!(
        b.get_as(&system, "/clusters")
            .await
            .count("form[action='/registration']"),
        0
    );
    assert_eq!(
        b.post_as(&system, "/registration", &[]).await.status,
        StatusCode::FORBIDDEN
    );
    assert_eq!(
        a.post("/registration", &[]).await.status,
        StatusCode::CONFLICT,
        "a was not deleted"
    );

    b.heart.tick().await.unwrap();
    assert_eq!(a.get("/clusters").await.count("tbody tr"), 1, "not by itself");
    assert_eq!(page.count("form[action='/registration']"), 1);
    b.post("/registration", &[]).await;
    b.heart.tick().await.unwrap();
    assert_eq!(*b.app.standing.borrow(), Standing::Working);
    assert_eq!(a.state_of(b.id()).await, "Online");
    assert_eq!(a.get("/clusters").await.count("tbody tr"), 2);
    let told: Option<String> = a
        .conn()
        .await
        .query_first("select actor from audit where action = 'cluster_register' and actor <> ''")
        .await
        .unwrap();
    assert_eq!(told.unwrap(), "root");
}

#[tokio::test]
async fn a_removed_cluster_is_not_bound_again_and_one_that_waits_for_its_row_is_not_removed() {
    let a = TestConsole::start().await;
    let b = TestConsole::beside(&a).await;
    a.post("/groups/1/clusters", &[("install_id", b.id())]).await;
    // As if it had been removed while somebody changes the order.
    b.set("removed_at = utc_timestamp(6)").await;
    a.post(&format!("/groups/1/clusters/{}/rise", b.id()), &[]).await;
    let left = format!("select count(*) from cluster_group where install_id = '{}'", b.id());
    assert_eq!(a.count(&left).await, 0);

    b.set("removed_at = null, beat_at = utc_timestamp(6) - interval 1 day, duplicate_at = utc_timestamp(6), duplicate_interval_s = 30").await;
    let page = removed(&a, &b).await;
    assert_eq!(page.status, StatusCode::CONFLICT);
    page.shows("A cluster that is online cannot be deleted");
}
