//! A server whose `INSTALL.json` was lost takes over from the cluster it was.

use poem::http::StatusCode;

use crate::support::TestConsole;

/// A old cluster with a workspace and groups that was silent before a new one came.
async fn lost() -> (TestConsole, TestConsole) {
    let mut old = TestConsole::start().await;
    old.set("name = '华东', address = 'https://east.example'").await;
    old.heart.last_word().await;
    let new = TestConsole::beside(&old).await;
    (old, new)
}

fn path(console: &TestConsole) -> String {
    format!("/clusters/{}/succession", console.id())
}

#[tokio::test]
async fn a_lost_install_file_is_made_good_in_one_audited_step() {
    let (old, new) = lost().await;
    new.post("/groups", &[("name", "shared")]).await;
    new.sql(&format!(
        "insert ignore into cluster_group (group_id, install_id, position) select group_id, '{}', 1 from asset_group",
        old.id()
    ))
    .await;
    new.sql(&format!(
        "insert into cluster_group (group_id, install_id, position) select group_id, '{}', 2 from asset_group where name = 'shared'",
        new.id()
    ))
    .await;
    let own = format!("/clusters/{}", new.id());
    assert_eq!(
        new.get(&own).await.count(&format!("a[href='{}']", path(&new))),
        1,
        "the page offers it"
    );
    let page = new.get(&path(&new)).await;
    page.shows("华东 Stopped");
    page.shows("Workspaces: 1, groups: 2");
    let chosen = page.value("input[name=from]");
    let answer = new.post(&path(&new), &[("from", &chosen)]).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.text("body"));
    let page = new.get(&own).await;
    page.shows("华东");
    page.shows("https://east.example");
    assert_eq!(page.count(&format!("a[href='{}']", path(&new))), 0);
    let id = new.id();
    assert_eq!(
        new.count(&format!("select count(*) from workspace where install_id = '{id}'"))
            .await,
        1
    );
    assert_eq!(
        new.count(&format!("select count(*) from cluster_group where install_id = '{id}'"))
            .await,
        2
    );
    let left = new.count("select count(*) from cluster_group").await;
    assert_eq!(left, 2, "nothing is left with the old one");
    assert_eq!(
        new.count(&format!(
            "select count(*) from cluster_group where install_id = '{id}' and position = 1"
        ))
        .await,
        2
    );
    assert_eq!(
        new.get(&format!("/clusters/{}", old.id())).await.status,
        StatusCode::NOT_FOUND
    );
    new.get("/audit?action=cluster_remove")
        .await
        .shows(&format!("Taken over by {id}"));
    let trail = new.get("/audit?action=cluster_succeed").await;
    trail.shows(&format!("Install ID before {}", old.id()));
    trail.shows("Workspaces 1");
}

#[tokio::test]
async fn nobody_takes_over_from_a_cluster_that_came_back() {
    let (mut old, new) = lost().await;
    let chosen = new.get(&path(&new)).await.value("input[name=from]");
    // It registers again, and beats.
    old.heart = muster::clusters::heartbeat::Heart::new(old.app.clone());
    old.heart.tick().await.unwrap();
    for from in [chosen.as_str(), "", &format!("{}:1", new.id()), "nonsense"] {
        let answer = new.post(&path(&new), &[("from", from)]).await;
        assert_eq!(answer.status, StatusCode::CONFLICT, "{from}");
    }
    new.get(&path(&new)).await.shows("There is no cluster that is offline");
    assert_eq!(
        new.count("select count(*) from cluster where removed_at is null").await,
        2
    );
    // It went again, after more beats than the page had seen.
    old.age(86_400.0).await;
    let answer = new.post(&path(&new), &[("from", &chosen)]).await;
    assert_eq!(answer.status, StatusCode::CONFLICT);
    answer.shows("has beaten since this page was opened");
    assert_eq!(
        new.count(&format!(
            "select count(*) from workspace where install_id = '{}'",
            old.id()
        ))
        .await,
        1
    );
    let refused = "select count(*) from audit where action = 'cluster_succeed' and result = 'refused'";
    assert_eq!(new.count(refused).await, 5, "each try stands in the trail");
}
