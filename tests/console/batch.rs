//! What is done to a selection of assets, or to all that match, and what the list says of it.

use poem::http::StatusCode;

use crate::assets::{group, machine, many, refused};
use crate::support::{Page, TestConsole};

/// What the page after this answer says.
async fn said(console: &TestConsole, answer: &Page) -> String {
    assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.text("body"));
    let cookie = answer.header("set-cookie").split(';').next().unwrap();
    let request = console
        .client
        .get(answer.header("location"))
        .header("Accept-Language", "en");
    let cookies = format!("{}; {cookie}", console.visitor.cookie());
    Page::of(request.header("Cookie", cookies).send().await)
        .await
        .text("#flash")
}

#[tokio::test]
async fn after_something_was_done_to_many_the_list_says_to_how_many_and_how_many_were_left() {
    let a = TestConsole::start().await;
    many(&a, 5, 1).await;
    let web = group(&a, "web").await;
    let ticked = [("asset", "1"), ("asset", "2"), ("asset", "3"), ("to", web.as_str())];
    let moved = a.post("/assets/moves", &ticked[1..]).await;
    assert_eq!(said(&a, &moved).await, "Assets moved: 2.");
    let moved = a.post("/assets/moves", &ticked).await;
    let left = "Assets moved: 1. Left as they were: 2, which are in that group already or were deleted.";
    assert_eq!(said(&a, &moved).await, left);
    a.post("/assets/pauses", &[("asset", "1")]).await;
    let all = [("scope", "all"), ("back", "/assets?sort=address")];
    let checked = a.post("/assets/checks", &all).await;
    let left = "Assets being checked: 4. The results show within seconds.";
    assert_eq!(
        said(&a, &checked).await,
        left.replace(
            "The results show within seconds.",
            "Left out: 1, which are paused or were deleted."
        )
    );
    assert!(
        said(&a, &a.post("/assets/resumptions", &all).await)
            .await
            .starts_with("Assets resumed: 1. Left as they were: 4")
    );
    assert_eq!(
        said(
            &a,
            &a.post("/assets/removals", &[("asset", "1"), ("asset", "99")]).await
        )
        .await,
        "Assets deleted: 1. Deleted by somebody else before: 1."
    );
    // On the page of one asset there is nothing to be counted.
    let one = a.post("/assets/pauses", &[("asset", "2"), ("back", "/assets/2")]).await;
    assert_eq!(said(&a, &one).await, "Paused");
}

#[tokio::test]
async fn what_cannot_be_done_to_a_selection_is_said_on_the_list_where_all_stays_as_it_was() {
    let a = TestConsole::start().await;
    many(&a, 60, 1).await;
    let at = a
        .get("/assets?kind=machine")
        .await
        .attrs("a[rel=next]", "href")
        .pop()
        .unwrap();
    let second = a.get(&at).await.texts("td.c-address");
    let id = a.get(&at).await.value("tbody [name=asset]");
    let asked = [
        ("asset", id.as_str()),
        ("to", ""),
        ("hours", "no"),
        ("note", "Umzug"),
        ("back", "/assets?kind=machine"),
        ("at", at.as_str()),
    ];
    for (path, says) in [("moves", "Choose a group"), ("pauses", "A pause lasts 1 to 8760")] {
        let page = a.post(&format!("/assets/{path}"), &asked).await;
        refused(&page, says);
        assert_eq!(page.text(".bulk [role=alert]").matches(says).count(), 1);
        assert_eq!(page.texts("td.c-address"), second, "the same page of the list");
        assert_eq!(page.attrs("tbody [checked]", "value"), [id.as_str()]);
        assert_eq!(page.value("[name=note]"), "Umzug");
        assert_eq!(page.count(".bulk details[open]"), 1);
        assert_eq!(page.count("[hx-trigger^=every]"), 0, "it does not go away by itself");
    }
    let page = a
        .post(
            "/assets/checks",
            &[("scope", "all"), ("at", "//evil.example?name=x"), ("to", "1")],
        )
        .await;
    assert_eq!(page.status, StatusCode::SEE_OTHER);
    // On the page of one asset it stays a page of its own.
    let one = a
        .post(
            "/assets/pauses",
            &[("asset", "2"), ("hours", "no"), ("back", "/assets/2")],
        )
        .await;
    assert_eq!(
        (one.status, one.count("#asset-list")),
        (StatusCode::UNPROCESSABLE_ENTITY, 0)
    );
}

#[tokio::test]
async fn a_selection_or_all_that_match_are_moved_paused_and_checked_without_asking_them() {
    let a = TestConsole::start().await;
    many(&a, 600, 1).await;
    let web = group(&a, "web").await;
    let ticked = [
        ("asset", "1"),
        ("asset", "2"),
        ("asset", "2"),
        ("to", &web),
        ("back", "/assets?name=host"),
    ];
    assert_eq!(
        a.post("/assets/moves", &ticked).await.header("location"),
        "/assets?name=host"
    );
    let in_web = format!(
        "select count(*) from asset a join asset_watch w using (asset_id) where a.group_id = {web} and w.group_id = {web}"
    );
    assert_eq!(a.count(&in_web).await, 2, "the watch follows");
    a.get("/clusters").await.shows("598 assets");
    a.get(&format!("/groups/{web}")).await.shows("2 assets");

    let all = [("scope", "all"), ("to", &web), ("back", "/assets?group=1&name=host")];
    a.post("/assets/moves", &all).await;
    assert_eq!(a.count(&in_web).await, 600);
    a.get("/audit?action=asset_update").await.shows("web");

    let kept = a.post(&format!("/groups/{web}/removal"), &[]).await;
    assert_eq!(kept.status, StatusCode::CONFLICT);
    kept.shows("still has 600 assets");
    a.post("/assets/removals", &[("scope", "all"), ("back", "/assets")])
        .await;
    assert_eq!(a.count("select count(*) from asset_watch").await, 0);
    assert_eq!(
        a.post(&format!("/groups/{web}/removal"), &[]).await.header("location"),
        "/groups"
    );
}

#[tokio::test]
async fn a_paused_asset_is_not_due_until_its_time_is_over_or_somebody_resumes_it() {
    let a = TestConsole::start().await;
    many(&a, 10, 1).await;
    let web = group(&a, "web").await;
    a.post("/assets/pauses", &[("asset", "7"), ("hours", "2"), ("note", "Umzug")])
        .await;
    a.get("/assets/7").await.shows("Umzug");
    assert_eq!(a.get("/assets?state=paused").await.texts("tbody .c-name a").len(), 1);
    assert_eq!(
        a.count("select timestampdiff(minute, utc_timestamp(6), due_at) from asset_watch where asset_id = 7")
            .await,
        119
    );
    a.post("/assets/checks", &[("asset", "7"), ("asset", "8")]).await;
    assert_eq!(
        a.count("select count(*) from asset_watch where asset_id in (7, 8) and due_at <= utc_timestamp(6)")
            .await,
        1,
        "a paused one stays paused"
    );
    let version = a
        .count("select row_version from asset where asset_id = 7")
        .await
        .to_string();
    let mut fields = machine("renamed", "http://10.0.0.7:9100");
    fields.push(("row_version", &version));
    assert_eq!(a.post("/assets/7", &fields).await.header("location"), "/assets/7");
    let due = "select timestampdiff(minute, utc_timestamp(6), due_at) from asset_watch where asset_id = 7";
    assert_eq!(a.count(due).await, 119, "also when it is edited");
    a.post("/assets/resumptions", &[("asset", "7")]).await;
    assert_eq!(
        a.count("select count(*) from asset where paused_until is not null")
            .await,
        0
    );
    assert_eq!(
        a.post("/assets/pauses", &[("asset", "7"), ("hours", "no")])
            .await
            .status,
        StatusCode::UNPROCESSABLE_ENTITY
    );
    for path in ["moves", "checks", "pauses", "resumptions", "removals"] {
        let nothing = a.post(&format!("/assets/{path}"), &[("to", &web)]).await;
        refused(&nothing, "No asset is ticked");
    }
    refused(
        &a.post("/assets/moves", &[("asset", "1"), ("to", "99")]).await,
        "Choose a group",
    );
}
