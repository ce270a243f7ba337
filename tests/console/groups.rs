//! Groups of assets and the clusters that watch them.

use muster::people::Role;
use poem::http::StatusCode;

use crate::assets::many;
use crate::support::{Page, TestConsole};

/// The group's address after adding it on that server.
async fn added(console: &TestConsole, name: &str) -> String {
    let page = console.post("/groups", &[("name", name)]).await;
    assert_eq!(page.status, StatusCode::SEE_OTHER, "{}", page.text("body"));
    page.header("location").to_owned()
}

async fn bind(console: &TestConsole, group: &str, install_id: &str) -> Page {
    console
        .post(&format!("{group}/clusters"), &[("install_id", install_id)])
        .await
}

/// The panel's line that begins with a group's name.
async fn line(console: &TestConsole, name: &str) -> String {
    let panel = console.get("/clusters").await;
    let lines = panel.texts("#group-panel .group-line");
    let starts = format!("{name}:");
    lines
        .into_iter()
        .find(|line| line.starts_with(&starts))
        .unwrap_or_default()
}

#[tokio::test]
async fn of_servers_that_start_at_once_exactly_one_gets_the_groups_and_a_later_group_falls_to_the_only_one() {
    let a = TestConsole::start().await;
    assert_eq!(line(&a, "默认").await, format!("默认: {}", a.app.name()));
    let group = added(&a, "web").await;
    a.get(&group).await.shows(&a.app.name());

    let b = TestConsole::beside(&a).await;
    added(&b, "db").await;
    let panel = b.get("/clusters").await;
    panel.shows("Groups without a cluster: db");
    assert_eq!(a.count("select count(*) from cluster_group").await, 2);
}

#[tokio::test]
async fn of_first_servers_exactly_one_gets_all_groups() {
    let a = TestConsole::start().await;
    a.sql("delete from cluster_group").await;
    a.sql("delete from cluster").await;
    let (mut b, mut c) = (
        TestConsole::beside_silent(&a).await,
        TestConsole::beside_silent(&a).await,
    );
    let (one, other) = tokio::join!(b.heart.tick(), c.heart.tick());
    one.and(other).unwrap();
    assert_eq!(a.count("select count(*) from cluster").await, 2);
    assert_eq!(a.count("select count(distinct install_id) from cluster_group").await, 1);
    assert_eq!(a.count("select count(*) from cluster_group").await, 1);
}

#[tokio::test]
async fn a_group_has_a_primary_and_standbys_and_says_who_watches() {
    let a = TestConsole::start().await;
    let b = TestConsole::beside(&a).await;
    let (a_name, b_name) = (a.app.name(), b.app.name());
    let group = added(&a, "web").await;
    assert_eq!(bind(&a, &group, a.id()).await.header("location"), group);
    bind(&b, &group, b.id()).await;
    bind(&b, &group, b.id()).await;
    assert_eq!(
        line(&a, "web").await,
        format!("web: Primary {a_name} Watching Standby 1 {b_name}")
    );

    a.age(3600.0).await;
    assert_eq!(
        line(&b, "web").await,
        format!("web: Primary {a_name} Offline Standby 1 {b_name} Watching")
    );
    b.age(3600.0).await;
    assert!(line(&b, "web").await.ends_with("No cluster alive"));

    b.post(&format!("{group}/clusters/{}/rise", b.id()), &[]).await;
    assert!(line(&b, "web").await.starts_with(&format!("web: Primary {b_name}")));
    b.post(&format!("{group}/clusters/{}/removal", b.id()), &[]).await;
    b.post(&format!("{group}/clusters/{}/removal", a.id()), &[]).await;
    b.get(&group).await.shows("nobody watches");
    b.get("/audit?action=group_bind")
        .await
        .shows(&format!("{b_name}, {a_name}"));
}

#[tokio::test]
async fn the_last_cluster_alive_is_unbound_only_after_a_question_that_counts_the_assets() {
    let a = TestConsole::start().await;
    let b = TestConsole::beside(&a).await;
    many(&a, 3, 1).await;
    let bound = "select count(*) from cluster_group where group_id = 1";
    a.post("/groups/1/clusters", &[("install_id", b.id())]).await;
    assert_eq!(
        a.get("/groups/1").await.count(".member .confirm"),
        0,
        "of two that are alive one goes on"
    );
    b.age(3600.0).await;
    let page = a.get("/groups/1").await;
    assert_eq!(page.count(".member .confirm"), 1);
    page.shows("Then no cluster alive watches the group “默认”, and nobody checks its assets (3).");
    let removal = format!("/groups/1/clusters/{}/removal", a.id());
    let page = a.post(&removal, &[]).await;
    assert_eq!(
        (page.status, a.count(bound).await),
        (StatusCode::UNPROCESSABLE_ENTITY, 2)
    );
    assert_eq!(page.count(".member .confirm[open] [role=alert]"), 1);
    // The standby that is away can be taken out at once.
    a.post(&format!("/groups/1/clusters/{}/removal", b.id()), &[]).await;
    assert_eq!(a.count(bound).await, 1);
    // So does the form of the cluster.
    let own = format!("/clusters/{}", a.id());
    let version = a.get(&format!("{own}/edit")).await.value("input[name=row_version]");
    let typed = [
        ("name", "A"),
        ("row_version", version.as_str()),
        ("was", "1"),
        ("sure", ""),
    ];
    let page = a.post(&own, &typed).await;
    assert_eq!(
        (page.status, a.count(bound).await),
        (StatusCode::UNPROCESSABLE_ENTITY, 1)
    );
    page.shows("nobody checks its assets (3).");
    assert_eq!(
        (page.count("input[name=sure]"), page.value("input[name=name]")),
        (1, "A".to_owned())
    );
    assert_eq!(
        a.post(&own, &[("sure", "yes")].into_iter().chain(typed).collect::<Vec<_>>())
            .await
            .header("location"),
        own
    );
    assert_eq!(a.count(bound).await, 0);
    a.post("/groups/1/clusters", &[("install_id", a.id())]).await;
    assert_eq!(
        a.post(&removal, &[("sure", "yes")]).await.header("location"),
        "/groups/1"
    );
    assert_eq!(a.count(bound).await, 0);
}

#[tokio::test]
async fn the_pages_of_groups_stand_among_those_of_assets() {
    let a = TestConsole::start().await;
    let tabs = a.get("/assets").await.attrs("nav.tabs a", "href");
    assert!(tabs.contains(&"/groups".to_owned()));
    for path in ["/groups", "/groups/1", "/groups/1/clusters/new", "/credentials"] {
        let page = a.get(path).await;
        assert_eq!(page.attrs("nav.tabs a", "href"), tabs, "{path}");
        assert_eq!(page.count("nav.tabs [aria-current]"), 1, "{path}");
        assert_eq!(page.attrs(".side [aria-current]", "href"), ["/assets"], "{path}");
    }
    // What has a tab keeps its section.
    for path in a.get("/clusters").await.attrs("nav.tabs a", "href") {
        assert_eq!(
            a.get(&path).await.attrs(".side [aria-current]", "href"),
            ["/clusters"],
            "{path}"
        );
    }
}

#[tokio::test]
async fn names_differ_without_case_and_spaces_and_renaming_keeps_the_bindings() {
    let a = TestConsole::start().await;
    let group = added(&a, "Web, 前端").await;
    let taken = a.post("/groups", &[("name", "  WEB, 前端 ")]).await;
    assert_eq!(taken.status, StatusCode::UNPROCESSABLE_ENTITY);
    taken.shows("There is a group of that name already");
    for (name, says) in [
        ("", "Give the group a name"),
        (&*"长".repeat(51), "At most 50"),
        ("a\u{202e}b", "Control characters"),
    ] {
        let page = a.post("/groups", &[("name", name)]).await;
        assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY);
        page.shows(says);
    }
    added(&a, &"长".repeat(50)).await;

    let renamed = a.post(&group, &[("name", "<script>"), ("row_version", "0")]).await;
    assert_eq!(renamed.header("location"), group);
    assert_eq!(line(&a, "<script>").await, format!("<script>: {}", a.app.name()));
    assert_eq!(a.get("/clusters").await.count("#group-panel script"), 0);

    let late = a.post(&group, &[("name", "mine"), ("row_version", "0")]).await;
    assert_eq!(late.status, StatusCode::UNPROCESSABLE_ENTITY);
    late.shows("Somebody changed this group");
    assert_eq!(late.value("input[name=name]"), "mine");
    let again = late.value("input[name=row_version]");
    let page = a.post(&group, &[("name", "mine"), ("row_version", &again)]).await;
    assert_eq!(page.header("location"), group);
}

#[tokio::test]
async fn a_group_is_deleted_with_its_bindings_but_never_the_default() {
    let a = TestConsole::start().await;
    let group = added(&a, "web").await;
    assert_eq!(
        a.post(&format!("{group}/removal"), &[]).await.header("location"),
        "/groups"
    );
    assert_eq!(a.get(&group).await.status, StatusCode::NOT_FOUND);
    assert_eq!(a.count("select count(*) from cluster_group").await, 1);
    let page = a.post("/groups/1/removal", &[]).await;
    assert_eq!(page.status, StatusCode::CONFLICT);
    page.shows("default group cannot be deleted");
    a.get("/audit?action=group_remove").await.shows("web");
}

#[tokio::test]
async fn a_cluster_that_is_gone_cannot_be_bound() {
    let a = TestConsole::start().await;
    let b = TestConsole::beside(&a).await;
    let group = added(&a, "web").await;
    b.set("removed_at = utc_timestamp(6)").await;
    for gone in [b.id(), "", "nobody"] {
        let page = bind(&a, &group, gone).await;
        assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY);
        page.shows("That cluster is gone");
    }
    assert!(
        a.get(&format!("{group}/clusters/new"))
            .await
            .text("option")
            .contains(&a.app.name())
    );
    assert!(!a.get(&format!("{group}/clusters/new")).await.body.contains(b.id()));
    let member = a.visitor("mia", Role::Member).await;
    let page = a
        .post_as(&member, &format!("{group}/clusters"), &[("install_id", a.id())])
        .await;
    assert_eq!(page.status, StatusCode::FORBIDDEN);
}
