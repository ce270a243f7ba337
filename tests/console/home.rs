//! The home page: what needs attention, and the picture.

use crate::support::TestConsole;

/// A system where everything is as it should be.
async fn covered() -> (TestConsole, TestConsole) {
    let a = TestConsole::start().await;
    let b = TestConsole::beside(&a).await;
    a.sql("update cluster set address = concat('https://', cluster_id, '.example')")
        .await;
    (a, b)
}

#[tokio::test]
async fn nothing_needs_attention_when_everything_is_covered() {
    let (a, _b) = covered().await;
    let page = a.get("/home").await;
    page.shows("Everything is covered");
    assert_eq!(page.count(".matters li"), 0);
    let names = page.texts(".map .map-server + .map-head");
    assert_eq!(names.len(), 2);
    assert_eq!(
        page.texts("tbody .state"),
        ["Online", "Online"],
        "the table says the same in words"
    );
    let none = page.count(".map-none");
    assert_eq!(none, 2, "the second has no workspaces and no groups yet");
    assert_eq!(page.count(".map-open") + page.count(".map-red"), 0);
}

#[tokio::test]
async fn each_gap_stands_out_with_the_way_to_mend_it() {
    let (a, b) = covered().await;
    for (change, says, link) in [
        (
            "update cluster set cluster_id = 'SAME'",
            "several clusters online use: 1",
            "/clusters",
        ),
        (
            "delete from cluster_group",
            "bound to no cluster, so that nobody watches",
            "/groups",
        ),
        (
            "update workspace set install_id = null",
            "Workspaces bound to no cluster: 1",
            "/workspaces?cluster=none",
        ),
        (
            "update cluster set address = ''",
            "has no address to switch to",
            "/edit",
        ),
    ] {
        a.sql(change).await;
        let page = a.get("/home").await;
        page.shows(says);
        let is_drawn = says.contains("bound to no cluster");
        assert!(
            !is_drawn || page.count(".map-red .map-server") > 0,
            "{says} stands out in the picture"
        );
        assert!(page.count(&format!(".matters a[href$='{link}']")) > 0, "{says}");
    }
    a.sql(&format!("update workspace set install_id = '{}'", b.id())).await;
    b.age(86_400.0).await;
    let page = a.get("/home").await;
    page.shows("Workspaces whose cluster is away: 1");
    page.shows(&format!("The cluster “{}”: Offline", b.app.name()));
    assert_eq!(page.count(".matters a[href='/workspaces?cluster=offline']"), 1);
    assert!(
        page.texts(".matters li")[0].contains("bound to no cluster"),
        "the urgent first: {:?}",
        page.texts(".matters li")
    );
}

#[tokio::test]
async fn the_steps_are_ticked_off_by_what_is() {
    let a = TestConsole::start().await;
    let page = a.get("/home").await;
    assert_eq!(page.count("ol li"), 6 + page.count("nav ol li"));
    assert_eq!(
        page.count("ol.removal-steps li.done"),
        3,
        "database, groups, workspaces"
    );
    let b = TestConsole::beside(&a).await;
    assert_eq!(a.get("/home").await.count("ol.removal-steps li.done"), 5);
    for console in [&a, &b] {
        console.set("address = 'https://x.example'").await;
    }
    assert_eq!(a.get("/home").await.count("ol.removal-steps"), 0, "all done");
}

#[tokio::test]
async fn many_clusters_fold_to_a_table_and_hostile_names_stay_text() {
    let a = TestConsole::start().await;
    a.set("name = '<b>&\"x'").await;
    a.sql("update workspace set name = '</text><script>1'").await;
    let page = a.get("/home").await;
    assert_eq!(page.count("script[src]") + page.count("b"), page.count("script[src]"));
    assert_eq!(page.count("main script"), 0);
    page.shows("<b>&\"x");
    a.add_rows(230).await;
    let page = a.get("/home").await;
    assert_eq!((page.count(".map"), page.count("tbody tr")), (0, 200));
    page.shows("31 more");
}
