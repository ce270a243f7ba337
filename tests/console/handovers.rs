//! Everything of one cluster goes to another, and back.

use poem::http::StatusCode;

use crate::support::TestConsole;

/// Two clusters; the first has two workspaces and three groups, in one of which it stands before the second and in one behind.
async fn two() -> (TestConsole, TestConsole) {
    let a = TestConsole::start().await;
    for name in ["before", "behind"] {
        a.post("/groups", &[("name", name)]).await;
    }
    a.post("/workspaces", &[("name", "shop"), ("install_id", a.id())]).await;
    let b = TestConsole::beside(&a).await;
    let join = |group: &str, position: u32| {
        format!(
            "insert into cluster_group (group_id, install_id, position) select group_id, '{}', {position} from asset_group where name = '{group}'",
            b.id()
        )
    };
    a.sql(&join("before", 2)).await;
    a.sql("update cluster_group set position = 2 where group_id in (select group_id from asset_group where name = 'behind')").await;
    a.sql(&join("behind", 1)).await;
    (a, b)
}

/// Who has what: groups with their clusters in order, and workspaces.
async fn owners(a: &TestConsole) -> Vec<String> {
    use mysql_async::prelude::Queryable;
    let sql = "select concat('g ', g.name, ' ', coalesce(group_concat(c.cluster_id order by b.position), '-')) from asset_group g \
               left join cluster_group b using (group_id) left join cluster c using (install_id) group by g.group_id, g.name \
               union all select concat('w ', w.name, ' ', coalesce(c.cluster_id, '-')) from workspace w left join cluster c \
               using (install_id) order by 1";
    a.conn().await.query(sql).await.unwrap()
}

#[tokio::test]
async fn everything_of_a_cluster_goes_to_another_and_back() {
    let (a, b) = two().await;
    let before = owners(&a).await;
    assert_eq!(
        before,
        [
            "g before DEFAULT,B",
            "g behind B,DEFAULT",
            "g 默认 DEFAULT",
            "w shop DEFAULT",
            "w 默认 DEFAULT"
        ]
    );
    let path = format!("/clusters/{}/handovers", a.id());
    let page = a.get(&format!("{path}/new")).await;
    for name in ["shop", "默认", "before", "behind"] {
        assert!(page.texts(".tag").iter().any(|tag| tag == name), "{name}");
    }
    for to in ["", a.id(), "0123456789abcdef0123456789abcdef"] {
        assert_eq!(
            a.post(&path, &[("to", to)]).await.status,
            StatusCode::UNPROCESSABLE_ENTITY,
            "{to}"
        );
    }
    let done = a.post(&path, &[("to", b.id())]).await;
    assert_eq!(done.status, StatusCode::SEE_OTHER, "{}", done.text("body"));
    assert_eq!(
        owners(&a).await,
        ["g before B", "g behind B", "g 默认 B", "w shop B", "w 默认 B"]
    );
    let handover = done.header("location").to_owned();
    a.get(&handover).await.shows("Workspaces: 2, groups: 3");
    let trail = a.get("/audit?action=hand_over").await;
    assert_eq!(
        trail.count(&format!("a[href='{handover}']")),
        1,
        "the trail leads to undoing it"
    );
    // What somebody binds elsewhere meanwhile stays there.
    a.sql("update workspace set install_id = null where name = 'shop'")
        .await;
    let undone = a.post(&format!("{handover}/undoing"), &[]).await;
    assert_eq!(undone.status, StatusCode::SEE_OTHER, "{}", undone.text("body"));
    assert_eq!(
        owners(&a).await,
        [
            "g before DEFAULT,B",
            "g behind B,DEFAULT",
            "g 默认 DEFAULT",
            "w shop -",
            "w 默认 DEFAULT"
        ]
    );
    a.get(&handover).await.shows("Undone");
    assert_eq!(
        a.post(&format!("{handover}/undoing"), &[]).await.status,
        StatusCode::CONFLICT
    );
    a.get("/audit?action=hand_over_undo").await.shows("Workspaces 1");
}

#[tokio::test]
async fn a_third_cluster_keeps_its_place_and_what_somebody_changed_since_stays() {
    let (a, b) = two().await;
    let c = TestConsole::beside(&a).await;
    c.set("cluster_id = 'C'").await;
    for group in ["before", "behind"] {
        a.sql(&format!(
            "insert into cluster_group (group_id, install_id, position) select group_id, '{}', 3 from asset_group where name = '{group}'",
            c.id()
        ))
        .await;
    }
    let before = owners(&a).await;
    assert_eq!(before[..2], ["g before DEFAULT,B,C", "g behind B,DEFAULT,C"]);
    let done = a
        .post(&format!("/clusters/{}/handovers", a.id()), &[("to", b.id())])
        .await;
    let handover = done.header("location").to_owned();
    assert_eq!(owners(&a).await[..3], ["g before B,C", "g behind B,C", "g 默认 B"]);
    // Somebody gives one of them back by hand, to the first alone.
    a.sql(&format!(
        "update cluster_group set install_id = '{}' where group_id in (select group_id from asset_group where default_one is not null)",
        a.id()
    ))
    .await;
    a.post(&format!("{handover}/undoing"), &[]).await;
    assert_eq!(
        owners(&a).await[..3],
        ["g before DEFAULT,B,C", "g behind B,DEFAULT,C", "g 默认 DEFAULT"]
    );
}

#[tokio::test]
async fn nothing_is_given_back_to_a_cluster_that_is_gone() {
    let (a, b) = two().await;
    let done = a
        .post(&format!("/clusters/{}/handovers", a.id()), &[("to", b.id())])
        .await;
    let handover = done.header("location").to_owned();
    a.sql(&format!(
        "update cluster set removed_at = utc_timestamp(6) where install_id = '{}'",
        a.id()
    ))
    .await;
    let b_page = b.post(&format!("{handover}/undoing"), &[]).await;
    assert_eq!(b_page.status, StatusCode::CONFLICT);
    b_page.shows("was deleted");
    assert_eq!(
        b.count(&format!(
            "select count(*) from workspace where install_id = '{}'",
            b.id()
        ))
        .await,
        2
    );
}
