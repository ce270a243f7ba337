//! 工作空间: each bound to one cluster, used by its members.

use muster::people::Role;
use poem::http::StatusCode;

use crate::support::{Page, TestConsole};

async fn added(a: &TestConsole, name: &str, to: &str) -> String {
    let fields = [
        ("name", name),
        ("description", "d"),
        ("folder", "f"),
        ("install_id", to),
    ];
    let page = a.post("/workspaces", &fields).await;
    assert_eq!(page.status, StatusCode::SEE_OTHER, "{}", page.text("body"));
    page.header("location").to_owned()
}

/// The form as it is shown, with some fields typed anew.
async fn saved(a: &TestConsole, path: &str, typed: &[(&str, &str)]) -> Page {
    let form = a.get(&format!("{path}/edit")).await;
    let [name, version] = ["name", "row_version"].map(|field| form.value(&format!("input[name={field}]")));
    let chosen = match form.count("option[selected]") {
        0 => String::new(),
        _ => form.value("select option[selected]"),
    };
    let known = [("name", name), ("row_version", version), ("install_id", chosen)];
    let kept = known
        .iter()
        .filter(|(key, _)| !typed.iter().any(|(other, _)| other == key));
    let fields: Vec<(&str, &str)> = kept
        .map(|(key, value)| (*key, value.as_str()))
        .chain(typed.iter().copied())
        .collect();
    a.post(path, &fields).await
}

#[tokio::test]
async fn workspaces_are_added_edited_and_each_is_bound_to_one_cluster() {
    let a = TestConsole::start().await;
    let b = TestConsole::beside(&a).await;
    let page = a.get("/workspaces").await;
    page.shows("默认");
    assert_eq!(page.text("tbody .c-bound .state"), "Online");
    let new = a.get("/workspaces/new").await;
    assert_eq!(
        new.count("select option[selected]"),
        0,
        "with several clusters nobody chooses for the person"
    );
    let path = added(&a, "  Shop 前端 ", b.id()).await;
    a.get(&path).await.shows("This workspace belongs to the cluster");
    assert_eq!(
        b.get(&path).await.count(".band-jump"),
        0,
        "on its own server it is at home"
    );
    let again = a
        .post("/workspaces", &[("name", "SHOP 前端"), ("install_id", a.id())])
        .await;
    assert_eq!(again.status, StatusCode::UNPROCESSABLE_ENTITY);
    again.shows("Another workspace has this name");
    assert_eq!(again.value("input[name=name]"), "SHOP 前端");
    for (name, to, says) in [
        ("", a.id(), "Give the workspace a name"),
        (&*"长".repeat(51), a.id(), "At most 50"),
        ("x", "", "Choose the cluster"),
        ("x", "0123456789abcdef0123456789abcdef", "That cluster is gone"),
    ] {
        let page = a.post("/workspaces", &[("name", name), ("install_id", to)]).await;
        assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY);
        page.shows(says);
    }
    let page = saved(&a, &path, &[("name", "Shop"), ("install_id", a.id())]).await;
    assert_eq!(page.status, StatusCode::SEE_OTHER, "{}", page.text("body"));
    let trail = a.get("/audit?action=workspace_update").await;
    trail.shows(&format!("{} → {}", b.app.name(), a.app.name()));
    assert_eq!(a.get("/workspaces?name=SHO").await.count("tbody tr"), 1);
    assert_eq!(
        a.get(&format!("/workspaces?cluster={}", a.id()))
            .await
            .count("tbody tr"),
        2
    );
    assert_eq!(
        a.get(&format!("/workspaces?cluster={}", b.id()))
            .await
            .count("tbody tr"),
        0
    );
    assert_eq!(
        a.get("/workspaces?folder=f").await.count("tbody tr"),
        0,
        "the folder was cleared by the last save"
    );
}

#[tokio::test]
async fn editing_a_workspace_while_there_is_one_cluster_rebinds_nothing() {
    let a = TestConsole::start().await;
    a.sql("update workspace set install_id = null").await;
    let page = a.get("/workspaces/DEFAULT/edit").await;
    assert_eq!(page.count("select option[selected]"), 0);
    let page = saved(&a, "/workspaces/DEFAULT", &[("name", "renamed")]).await;
    assert_eq!(page.status, StatusCode::SEE_OTHER);
    assert_eq!(
        a.count("select count(*) from workspace where install_id is null").await,
        1
    );
    let new = a.get("/workspaces/new").await;
    assert_eq!(
        new.value("select option[selected]"),
        a.id(),
        "a new one goes to the only cluster"
    );
}

#[tokio::test]
async fn two_who_edit_a_workspace_at_once_lose_nothing() {
    let a = TestConsole::start().await;
    let fields = [("name", "mine"), ("install_id", a.id()), ("row_version", "0")];
    assert_eq!(
        saved(&a, "/workspaces/DEFAULT", &[("name", "theirs")]).await.status,
        StatusCode::SEE_OTHER
    );
    let late = a.post("/workspaces/DEFAULT", &fields).await;
    assert_eq!(late.status, StatusCode::UNPROCESSABLE_ENTITY);
    late.shows("theirs");
    assert_eq!(late.value("input[name=name]"), "mine");
    a.get("/workspaces/DEFAULT").await.shows("theirs");
}

#[tokio::test]
async fn a_selection_is_bound_and_unbound_in_one_go() {
    let a = TestConsole::start().await;
    let b = TestConsole::beside(&a).await;
    let one = added(&a, "one", a.id()).await;
    let two = added(&a, "two", a.id()).await;
    let ids = [&one, &two].map(|path| path.trim_start_matches("/workspaces/").to_owned());
    let ticked = [
        ("workspace", ids[0].as_str()),
        ("workspace", ids[1].as_str()),
        ("back", "/workspaces?cluster=none"),
    ];
    let bind = |to: &'static str| [&ticked[..], &[("to", to)]].concat();
    assert_eq!(
        a.post("/workspaces/bindings", &bind("")).await.status,
        StatusCode::UNPROCESSABLE_ENTITY
    );
    assert_eq!(
        a.post("/workspaces/bindings", &[("to", "none")]).await.status,
        StatusCode::UNPROCESSABLE_ENTITY
    );
    let page = a.post("/workspaces/bindings", &bind("none")).await;
    assert_eq!(
        (page.status, page.header("location")),
        (StatusCode::SEE_OTHER, "/workspaces?cluster=none")
    );
    assert_eq!(a.get("/workspaces?cluster=none").await.count("tbody tr"), 2);
    a.get(&one).await.shows("It is bound to no cluster");
    let to_b = [&ticked[..], &[("to", b.id())]].concat();
    a.post("/workspaces/bindings", &to_b).await;
    assert_eq!(
        a.get(&format!("/workspaces?cluster={}", b.id()))
            .await
            .count("tbody tr"),
        2
    );
    assert_eq!(
        a.get("/audit?action=workspace_bind").await.count("tbody tr"),
        4,
        "one line for each"
    );
    b.set("beat_at = beat_at - interval 1 day").await;
    assert_eq!(a.get("/workspaces?cluster=offline").await.count("tbody tr"), 2);
    a.get(&one).await.shows("Its cluster is not online");
}

#[tokio::test]
async fn members_see_their_own_workspaces_and_nobody_elses() {
    let a = TestConsole::start().await;
    let member = a.visitor("worker", Role::Member).await;
    let (own, other) = (added(&a, "own", a.id()).await, added(&a, "other", a.id()).await);
    a.get_as(&member, "/workspaces")
        .await
        .shows("No workspace has been given to you");
    let members = format!("{own}/members");
    a.post(&members, &[("name", "nobody")])
        .await
        .shows("There is no such user");
    assert_eq!(
        a.post(&members, &[("name", "worker")]).await.status,
        StatusCode::SEE_OTHER
    );
    a.post(&members, &[("name", "worker")])
        .await
        .shows("They are a member already");
    let list = a.get_as(&member, "/workspaces").await;
    assert_eq!(list.texts("tbody .c-name a"), ["own"]);
    assert_eq!(
        list.count("input[type=checkbox]") + list.count("a[href$='/edit']") + list.count("a[href='/clusters']"),
        0
    );
    assert_eq!(a.get_as(&member, &own).await.status, StatusCode::OK);
    assert_eq!(a.get_as(&member, &other).await.status, StatusCode::NOT_FOUND);
    let gone = a
        .post(&format!("{own}/members/{}/removal", member.account_id), &[])
        .await;
    assert_eq!(gone.status, StatusCode::SEE_OTHER);
    assert_eq!(a.get_as(&member, &own).await.status, StatusCode::NOT_FOUND);
    let trail = a.get("/audit?action=workspace_member").await;
    trail.shows("Member worker");
    assert_eq!(trail.count("tbody tr"), 2);
}

#[tokio::test]
async fn deleting_names_what_hangs_on_it_and_never_takes_the_default() {
    let a = TestConsole::start().await;
    a.visitor("worker", Role::Member).await;
    let path = added(&a, "old", a.id()).await;
    a.post(&format!("{path}/members"), &[("name", "worker")]).await;
    let removal = format!("{path}/removal");
    a.get(&removal).await.shows("worker");
    let refused = a.post(&removal, &[("name", "wrong")]).await;
    assert_eq!(
        (refused.status, refused.value("#f-name")),
        (StatusCode::CONFLICT, "wrong".to_owned())
    );
    assert_eq!(a.post(&removal, &[("name", "old")]).await.status, StatusCode::SEE_OTHER);
    assert_eq!(a.get(&path).await.status, StatusCode::NOT_FOUND);
    assert_eq!(a.count("select count(*) from workspace_member").await, 0);
    let refused = a.post("/workspaces/DEFAULT/removal", &[("name", "默认")]).await;
    assert_eq!(refused.status, StatusCode::CONFLICT);
    refused.shows("The default workspace cannot be deleted");
    assert_eq!(
        a.get("/workspaces")
            .await
            .count("a[href='/workspaces/DEFAULT/removal']"),
        0
    );
    a.get("/workspaces/DEFAULT").await.shows("默认");
}

#[tokio::test]
async fn pages_by_key_reach_every_workspace_once_in_both_directions() {
    let a = TestConsole::start().await;
    let rows: Vec<String> = (0..120)
        .map(|number| format!("('{number:032x}', 'w {number:03}', 'w {number:03}', '{}')", a.id()))
        .collect();
    let sql = "insert into workspace (workspace_id, name, name_key, install_id) values ";
    a.sql(&format!("{sql}{}", rows.join(","))).await;
    let names = |page: &Page| page.texts("tbody .c-name a");
    let mut page = a.get("/workspaces").await;
    let first = names(&page);
    let mut seen = first.clone();
    let link = |page: &Page, rel: &str| {
        let html = scraper::Html::parse_document(&page.body);
        let selector = scraper::Selector::parse(&format!("a[rel={rel}]")).unwrap();
        html.select(&selector)
            .next()
            .map(|a| a.attr("href").unwrap().to_owned())
    };
    assert_eq!(link(&page, "prev"), None);
    while let Some(next) = link(&page, "next") {
        page = a.get(&next).await;
        seen.extend(names(&page));
    }
    assert_eq!(seen.len(), 121);
    let mut sorted = seen.clone();
    sorted.sort();
    sorted.dedup();
    assert_eq!(sorted.len(), 121);
    while let Some(previous) = link(&page, "prev") {
        page = a.get(&previous).await;
    }
    assert_eq!(names(&page), first);
    a.hx_get("/workspaces?name=w+11").await.shows("10 on this page");
}
