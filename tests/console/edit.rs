//! Editing a cluster: name, groups and address.

use muster::people::Role;
use poem::http::StatusCode;

use crate::support::{Page, TestConsole};

fn path(console: &TestConsole) -> String {
    format!("/clusters/{}", console.id())
}

/// The form of a cluster as it is shown, with some fields typed anew.
async fn saved(a: &TestConsole, of: &TestConsole, typed: &[(&str, &str)]) -> Page {
    let form = a.get(&format!("{}/edit", path(of))).await;
    let (version, name) = (form.value("input[name=row_version]"), form.value("input[name=name]"));
    let mut fields = vec![("row_version", version.as_str())];
    if !typed.iter().any(|(key, _)| *key == "name") {
        fields.push(("name", &name));
    }
    a.post(&path(of), &[&fields, typed].concat()).await
}

#[tokio::test]
async fn name_and_address_are_saved_in_one_spelling_and_the_trail_tells_both() {
    let a = TestConsole::start().await;
    let typed = [("name", "  华东 <b>  "), ("address", "HTTP://Ops.Example:80/muster/")];
    let page = saved(&a, &a, &typed).await;
    assert_eq!(
        (page.status, page.header("location")),
        (StatusCode::SEE_OTHER, &*path(&a)),
        "{}",
        page.text("body")
    );
    let page = a.get("/clusters").await;
    assert!(page.text(".c-address a").starts_with("http://ops.example/muster "));
    assert_eq!(page.text("tbody .c-name .cut"), "华东 <b>");
    assert_eq!(page.text("tbody .c-by"), "root");
    let trail = a.get("/audit?action=cluster_update").await;
    trail.shows("→ 华东 <b>");
    trail.shows("Address http://ops.example/muster");
    // A beat is no change by a person.
    let before = a.count("select row_version from cluster").await;
    a.post(&path(&a), &[("name", "x"), ("row_version", "0")])
        .await
        .shows("Somebody changed this cluster");
    assert_eq!(a.count("select row_version from cluster").await, before);
}

#[tokio::test]
async fn what_cannot_be_saved_is_said_beside_its_field_and_kept_as_typed() {
    let a = TestConsole::start().await;
    for (name, address, says) in [
        ("", "", "Give the cluster a name"),
        (&*"长".repeat(51), "", "At most 50"),
        ("a\u{7}b", "", "Control characters"),
        ("ok", "javascript:alert(1)", "must begin with http"),
        (
            "ok",
            "http://169.254.169.254/latest",
            "No cluster can be at this address",
        ),
        ("ok", "http://u:p@a.example", "must not hold a user name"),
        ("ok", &*format!("http://a.example/{}", "x".repeat(255)), "At most 255"),
    ] {
        let page = saved(&a, &a, &[("name", name), ("address", address)]).await;
        assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY, "{name} {address}");
        page.shows(says);
        assert_eq!(
            (page.value("input[name=name]"), page.value("input[name=address]")),
            (name.to_owned(), address.to_owned())
        );
    }
    let gone = a.get(&format!("/clusters/{}/edit", "0".repeat(32))).await;
    assert_eq!(gone.status, StatusCode::NOT_FOUND);
    let member = a.visitor("mia", Role::Member).await;
    assert_eq!(
        a.post_as(&member, &path(&a), &[("name", "x")]).await.status,
        StatusCode::FORBIDDEN
    );
}

#[tokio::test]
async fn a_cluster_without_any_group_can_be_saved() {
    let a = TestConsole::start().await;
    // As shown, with the tick taken away.
    let page = saved(&a, &a, &[("was", "1")]).await;
    assert_eq!(page.status, StatusCode::SEE_OTHER);
    a.get("/clusters").await.shows("Groups without a cluster: 默认");
}

#[tokio::test]
async fn a_group_of_another_cluster_is_joined_as_standby_or_moved_here() {
    let a = TestConsole::start().await;
    let b = TestConsole::beside(&a).await;
    for name in ["web", "db"] {
        let page = a.post("/groups", &[("name", name)]).await;
        let bind = format!("{}/clusters", page.header("location"));
        a.post(&bind, &[("install_id", a.id())]).await;
    }
    let form = a.get(&format!("{}/edit", path(&b))).await;
    form.shows(&format!("Bound to: {}", a.app.name()));
    let typed = [("group", "2"), ("group", "3"), ("move", "3")];
    assert_eq!(saved(&a, &b, &typed).await.status, StatusCode::SEE_OTHER);
    let order = "select group_concat(concat_ws(' ', g.name, c.cluster_id, b.position) order by g.name, b.position) \
                 from cluster_group b join asset_group g using (group_id) join cluster c using (install_id)";
    let bound: Option<String> = mysql_async::prelude::Queryable::query_first(&mut a.conn().await, order)
        .await
        .unwrap();
    assert_eq!(bound.unwrap(), "db B 1,web DEFAULT 1,web B 2,默认 DEFAULT 1");
}

#[tokio::test]
async fn two_who_edit_at_once_lose_nothing() {
    let a = TestConsole::start().await;
    let b = TestConsole::beside(&a).await;
    let path = path(&a);
    let first = [("name", "first"), ("row_version", "0"), ("was", "1"), ("group", "1")];
    assert_eq!(a.post(&path, &first).await.status, StatusCode::SEE_OTHER);
    let second = [
        ("name", "second"),
        ("address", "http://a.example"),
        ("row_version", "0"),
        ("was", "1"),
        ("group", "1"),
    ];
    let late = b.post(&path, &second).await;
    assert_eq!(late.status, StatusCode::UNPROCESSABLE_ENTITY);
    late.shows("Somebody changed this cluster");
    assert!(late.text(".notice .pairs").contains("first"));
    assert_eq!(late.value("input[name=name]"), "second");
    assert_eq!(late.value("input[name=address]"), "http://a.example");
    let version = late.value("input[name=row_version]");
    let again = [&second[..2], &second[3..], &[("row_version", version.as_str())]].concat();
    assert_eq!(b.post(&path, &again).await.status, StatusCode::SEE_OTHER);

    // A mistake does not make the form forget that somebody else saved.
    let wrong = [("name", ""), ("row_version", "0"), ("was", "1"), ("group", "1")];
    assert_eq!(a.post(&path, &wrong).await.value("input[name=row_version]"), "0");

    // A group that was bound meanwhile is not in the form, and stays bound.
    a.post("/groups", &[("name", "web")]).await;
    a.post("/groups/2/clusters", &[("install_id", a.id())]).await;
    let version = a
        .count("select row_version from cluster where name = 'second'")
        .await
        .to_string();
    let fields = [
        ("name", "third"),
        ("row_version", version.as_str()),
        ("was", "1"),
        ("group", "1"),
    ];
    assert_eq!(a.post(&path, &fields).await.status, StatusCode::SEE_OTHER);
    assert_eq!(a.count("select count(*) from cluster_group").await, 2);
}
