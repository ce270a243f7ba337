//! 切换集群: the menu, and going to another cluster with one sign-in.

use muster::people::Role;
use poem::http::StatusCode;
use poem::listener::TcpAcceptor;
use tokio::net::TcpListener;

use crate::support::{Page, TestConsole, Visitor};

/// Serves a console at an address that the database knows and that was found to be its own.
async fn reachable(console: &TestConsole) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let site = console.site();
    tokio::spawn(poem::Server::new_with_acceptor(TcpAcceptor::from_tokio(listener).unwrap()).run(site));
    console
        .set(&format!("address = '{address}', address_role = 'super_admin'"))
        .await;
    muster::clusters::check::tick(&console.app).await.unwrap();
    address
}

async fn leave(from: &TestConsole, to: &TestConsole, back: &str) -> Page {
    from.post("/jumps", &[("to", to.id()), ("back", back)]).await
}

/// The other cluster's page sends its form, without any cookie of ours; then this one's own pages go on. Whoever is signed in
/// there shows their session to these.
async fn arrive_as(at: &TestConsole, code: &str, back: &str, visitor: Option<&Visitor>) -> Page {
    let mut form = url::form_urlencoded::Serializer::new(String::new());
    form.append_pair("code", code).append_pair("back", back);
    let request = at.client.post("/arrivals").header("Accept-Language", "en");
    let request = request.header("Origin", "null").header("Sec-Fetch-Site", "cross-site");
    let request = request.content_type("application/x-www-form-urlencoded");
    let kept = Page::of(request.body(form.finish()).send().await).await;
    let cookies: Vec<String> = kept.headers.get_all("set-cookie").iter().map(cookie_of).collect();
    let cookies = cookies
        .into_iter()
        .chain(visitor.map(Visitor::cookie))
        .collect::<Vec<_>>()
        .join("; ");
    let ask = at.client.get(kept.header("location")).header("Accept-Language", "en");
    let page = Page::of(ask.header("Cookie", &cookies).send().await).await;
    if page.count("#arrive form[data-go]") == 0 {
        return page;
    }
    let cookies = page
        .headers
        .get_all("set-cookie")
        .iter()
        .map(cookie_of)
        .chain([cookies])
        .collect::<Vec<_>>()
        .join("; ");
    let mut form = url::form_urlencoded::Serializer::new(String::new());
    let [csrf, back] = ["csrf", "back"].map(|name| page.value(&format!("#arrive input[name={name}]")));
    form.append_pair("csrf", &csrf).append_pair("back", &back);
    let request = at
        .client
        .post("/arrivals/entry")
        .header("Accept-Language", "en")
        .header("Cookie", &cookies);
    let request = request.content_type("application/x-www-form-urlencoded");
    Page::of(request.body(form.finish()).send().await).await
}

async fn arrive(at: &TestConsole, code: &str, back: &str) -> Page {
    arrive_as(at, code, back, None).await
}

fn cookie_of(set: &poem::http::HeaderValue) -> String {
    set.to_str().unwrap().split(';').next().unwrap().to_owned()
}

fn is_refused(page: &Page) -> bool {
    page.status == StatusCode::SEE_OTHER
        && page.header("location").starts_with("/sign-in?jump=1")
        && page.session().is_none()
}

#[tokio::test]
async fn one_click_leads_to_the_same_page_of_another_cluster_signed_in() {
    let a = TestConsole::start().await;
    let mut b = TestConsole::beside(&a).await;
    b.visitor = Visitor::stranger();
    let address = reachable(&b).await;
    a.set("name = '华东'").await;
    let page = leave(&a, &b, "/clusters?name=x").await;
    assert_eq!(page.status, StatusCode::OK, "{}", page.text("body"));
    assert_eq!(
        page.count(&format!("form[action='{address}/arrivals'][method=post]")),
        1
    );
    assert!(
        page.header("content-security-policy")
            .contains(&format!("form-action {address};"))
    );
    assert_eq!(page.header("referrer-policy"), "no-referrer");
    let (code, back) = (page.value("input[name=code]"), page.value("#leave input[name=back]"));
    assert_eq!((code.len(), back.as_str()), (64, "/clusters?name=x"));
    assert_eq!(
        a.count(&format!("select count(*) from jump where code_hash = '{code}'"))
            .await,
        0,
        "only its hash is kept"
    );
    let arrived = arrive(&b, &code, &back).await;
    assert_eq!(
        (arrived.status, arrived.header("location")),
        (StatusCode::SEE_OTHER, "/clusters?name=x")
    );
    let visitor = arrived.visitor();
    assert_ne!(visitor.token, a.visitor.token, "a session of its own");
    let page = b.get_as(&visitor, "/profile").await;
    assert_eq!(page.status, StatusCode::OK);
    let said = arrived
        .headers
        .get_all("set-cookie")
        .iter()
        .find_map(|set| set.to_str().ok()?.strip_prefix("muster_said="));
    let said = said.unwrap().split(';').next().unwrap().to_owned();
    let request = b.client.get("/profile").header("Accept-Language", "en");
    let shown = Page::of(
        request
            .header("Cookie", format!("{}; muster_said={said}", visitor.cookie()))
            .send()
            .await,
    )
    .await;
    shown.shows("You came from the cluster “华东” and are signed in.");
    let trail = a.get("/audit").await;
    trail.shows("Switch to a cluster");
    trail.shows("From cluster 华东");
    // No longer than the session it comes from.
    assert_eq!(
        a.count("select count(distinct expires_at) from session where pending = 0")
            .await,
        1
    );
}

#[tokio::test]
async fn a_code_is_good_once_here_and_for_seconds() {
    let a = TestConsole::start().await;
    let (b, c) = (TestConsole::beside(&a).await, TestConsole::beside(&a).await);
    reachable(&b).await;
    let code = async || leave(&a, &b, "/").await.value("input[name=code]");
    let first = code().await;
    assert!(is_refused(&arrive(&c, &first, "/").await), "for another cluster");
    assert!(!is_refused(&arrive(&b, &first, "/").await));
    assert!(is_refused(&arrive(&b, &first, "/").await), "a second time");
    let late = code().await;
    a.sql("update jump set expires_at = utc_timestamp(6) where used_at is null")
        .await;
    assert!(is_refused(&arrive(&b, &late, "/").await), "too late");
    for made_up in ["", "0", &"f".repeat(64)] {
        assert!(is_refused(&arrive(&b, made_up, "/").await));
    }
    // Both at once: exactly one gets in.
    for _ in 0..20 {
        let code = code().await;
        let (one, other) = tokio::join!(arrive(&b, &code, "/"), arrive(&b, &code, "/"));
        assert_eq!([&one, &other].into_iter().filter(|page| is_refused(page)).count(), 1);
    }
}

#[tokio::test]
async fn a_code_is_worth_nothing_once_the_session_or_the_person_behind_it_is_gone() {
    let a = TestConsole::start().await;
    let b = TestConsole::beside(&a).await;
    reachable(&b).await;
    for (name, end) in [
        (
            "one",
            "delete s from session s join account a using (account_id) where a.name = 'one'",
        ),
        (
            "two",
            "update account set disabled_at = utc_timestamp(6) where name = 'two'",
        ),
        ("three", "update session set seen_at = seen_at - interval 1 day"),
    ] {
        let visitor = a.visitor(name, Role::SystemAdmin).await;
        let page = a.post_as(&visitor, "/jumps", &[("to", b.id()), ("back", "/")]).await;
        let code = page.value("input[name=code]");
        a.sql(end).await;
        assert!(is_refused(&arrive(&b, &code, "/").await), "{name}");
    }
    assert_eq!(a.count("select count(*) from session where account_id in (select account_id from account where name in ('one', 'two'))").await, 1);
    assert!(
        a.get("/audit").await.status.is_redirection(),
        "the last one ended ours, too"
    );
}

#[tokio::test]
async fn nothing_that_lets_anybody_in_goes_to_an_address_that_may_be_somebody_elses() {
    let a = TestConsole::start().await;
    let b = TestConsole::beside(&a).await;
    let asked = leave(&a, &b, "/clusters").await;
    assert_eq!(asked.status, StatusCode::CONFLICT);
    asked.shows("has no address");
    // Another cluster answers there.
    let wrong = reachable(&a).await;
    b.set(&format!("address = '{wrong}/'")).await;
    b.sql(&format!(
        "update cluster set address = '{wrong}' where install_id = '{}'",
        b.id()
    ))
    .await;
    muster::clusters::check::tick(&b.app).await.unwrap();
    let asked = leave(&a, &b, "/clusters?name=x").await;
    assert_eq!(
        (asked.status, asked.count("input[name=code]")),
        (StatusCode::CONFLICT, 0)
    );
    asked.shows("may not be there");
    asked.shows("your sign-in does not go with you");
    let link = format!("#unsure a[href='{wrong}/clusters?name=x'][rel=noreferrer]");
    assert_eq!(asked.count(&link), 1, "one can go there all the same");
    assert_eq!(a.count("select count(*) from jump").await, 0);
    // Nor to one that is not alive.
    let c = TestConsole::beside(&a).await;
    reachable(&c).await;
    c.age(86_400.0).await;
    leave(&a, &c, "/").await.shows("Offline");
    // Only a person's own page may send them, and only to a path of ours.
    let stranger = a.post_as(&Visitor::stranger(), "/jumps", &[("to", b.id())]).await;
    assert!(stranger.header("location").starts_with("/sign-in"));
    c.set("beat_at = utc_timestamp(6)").await;
    for back in ["//evil.example", "https://evil.example", "/\\evil", "/jumps/new", ""] {
        assert_eq!(
            leave(&a, &c, back).await.value("#leave input[name=back]"),
            "/",
            "{back}"
        );
    }
    let code = leave(&a, &c, "/").await.value("input[name=code]");
    let arrived = arrive(&c, &code, "//evil.example").await;
    assert_eq!(
        (arrived.status, arrived.header("location")),
        (StatusCode::SEE_OTHER, "/")
    );
}

#[tokio::test]
async fn the_menu_has_the_current_cluster_first_then_the_last_three_then_the_rest_by_name() {
    let a = TestConsole::start().await;
    let b = TestConsole::beside(&a).await;
    reachable(&b).await;
    a.set("name = 'zz own'").await;
    b.set("name = 'yy last'").await;
    a.add_rows(10).await;
    a.sql("update cluster set address = '' where cluster_id = 'C3'").await;
    leave(&a, &b, "/").await;
    let menu = a.hx_get("/jumps/new?back=/groups").await;
    let names = menu.texts("[aria-labelledby=switch-clusters] .cut");
    assert_eq!(names[..4], ["zz own", "yy last", "name 0000", "name 0001"]);
    assert_eq!(menu.value("#switch input[name=back]"), "/groups");
    assert_eq!(menu.count("button[aria-current][disabled]"), 1);
    let disabled = menu.texts("[aria-labelledby=switch-clusters] button[disabled]");
    assert_eq!(disabled.len(), 2);
    assert!(
        disabled[1].contains("name 0003") && disabled[1].contains("No address set"),
        "{disabled:?}"
    );
    assert_eq!(menu.count("input[type=search]"), 1, "many entries can be searched");
    assert_eq!(
        a.hx_get("/jumps/new?text=YY")
            .await
            .texts("[aria-labelledby=switch-clusters] .cut"),
        ["yy last"]
    );
    let bar = a.get("/groups").await;
    assert_eq!(bar.texts(".switcher .chip .state"), ["Online"]);
    assert!(bar.text(".switcher .chip").starts_with("zz own"));
    assert_eq!(bar.count("#switch-open[href='/jumps/new?back=%2Fgroups']"), 1);
}

#[tokio::test]
async fn a_member_is_shown_only_clusters_where_they_have_a_workspace() {
    let a = TestConsole::start().await;
    let (b, c) = (TestConsole::beside(&a).await, TestConsole::beside(&a).await);
    reachable(&b).await;
    reachable(&c).await;
    let member = a.visitor("worker", Role::Member).await;
    for (name, cluster) in [("here", &b), ("elsewhere", &c)] {
        a.post("/workspaces", &[("name", name), ("install_id", cluster.id())])
            .await;
    }
    let path = a.count("select count(*) from workspace where name = 'here'").await;
    assert_eq!(path, 1);
    a.sql(&format!(
        "insert into workspace_member (workspace_id, account_id) select workspace_id, '{}' from workspace where name = 'here'",
        member.account_id
    ))
    .await;
    let menu = a.get_as(&member, "/jumps/new").await;
    let entries = menu.texts("[aria-labelledby=switch-clusters] .cut");
    assert_eq!(entries, [a.app.name(), b.app.name()], "this server's own, and theirs");
    assert_eq!(menu.texts("[aria-labelledby=switch-workspaces] .cut")[0], "here");
    let refused = a.post_as(&member, "/jumps", &[("to", c.id())]).await;
    assert_eq!(refused.status, StatusCode::NOT_FOUND);
    // Choosing the workspace goes to its own page on its cluster.
    let way = menu.value("[aria-labelledby=switch-workspaces] button");
    let page = a
        .post_as(&member, "/jumps", &[("to", &way), ("back", "/profile")])
        .await;
    assert!(page.value("#leave input[name=back]").starts_with("/workspaces/"));
    let arrived = arrive(
        &b,
        &page.value("input[name=code]"),
        &page.value("#leave input[name=back]"),
    )
    .await;
    assert_eq!(
        b.get_as(&arrived.visitor(), arrived.header("location")).await.status,
        StatusCode::OK
    );
}

#[tokio::test]
async fn nobodys_sign_in_goes_to_an_address_that_somebody_with_fewer_rights_chose() {
    let a = TestConsole::start().await;
    let b = TestConsole::beside(&a).await;
    let address = reachable(&b).await;
    let system = a.visitor("system", Role::SystemAdmin).await;
    b.set("address = ''").await;
    let edit = format!("/clusters/{}/edit", b.id());
    let form = a.get_as(&system, &edit).await;
    let [version, name] =
        ["row_version", "name"].map(|field| form.value(&format!("#cluster-form input[name={field}]")));
    let fields = [
        ("row_version", version.as_str()),
        ("name", name.as_str()),
        ("address", address.as_str()),
    ];
    let path = format!("/clusters/{}", b.id());
    assert_eq!(a.post_as(&system, &path, &fields).await.status, StatusCode::SEE_OTHER);
    // Who answers there could be relayed; that it is found right proves nothing to somebody with more rights.
    muster::clusters::check::tick(&b.app).await.unwrap();
    assert_eq!(leave(&a, &b, "/").await.status, StatusCode::CONFLICT);
    let own = a.post_as(&system, "/jumps", &[("to", b.id()), ("back", "/")]).await;
    assert_eq!(
        own.count("#leave input[name=code]"),
        1,
        "those with the same rights may"
    );
    // An old check is none.
    a.sql("update address_check set checked_at = checked_at - interval 1 hour")
        .await;
    assert_eq!(
        a.post_as(&system, "/jumps", &[("to", b.id())]).await.status,
        StatusCode::CONFLICT
    );
}

#[tokio::test]
async fn somebody_elses_code_asks_before_it_replaces_whoever_is_signed_in() {
    let a = TestConsole::start().await;
    let b = TestConsole::beside(&a).await;
    reachable(&b).await;
    let other = a.visitor("other", Role::SystemAdmin).await;
    let code = leave(&a, &b, "/").await.value("#leave input[name=code]");
    let page = arrive_as(&b, &code, "/groups", Some(&other)).await;
    assert_eq!(page.status, StatusCode::OK);
    page.shows("This browser is signed in here as “other”. Go on as “root” instead?");
    assert_eq!(
        a.count("select count(*) from jump where used_at is not null").await,
        0,
        "nothing is used up by looking"
    );
    let again = arrive_as(&b, &code, "/groups", Some(&a.visitor)).await;
    assert_eq!(
        (again.status, again.header("location")),
        (StatusCode::SEE_OTHER, "/groups"),
        "the same person just goes on"
    );
}

#[tokio::test]
async fn signing_out_ends_the_sessions_that_came_from_each_other_and_they_do_not_pile_up() {
    let a = TestConsole::start().await;
    let b = TestConsole::beside(&a).await;
    reachable(&a).await;
    reachable(&b).await;
    let (mut here, mut first) = (a.visitor.clone(), None);
    for _ in 0..3 {
        let page = a.post_as(&here, "/jumps", &[("to", b.id()), ("back", "/")]).await;
        let there = arrive(&b, &page.value("#leave input[name=code]"), "/").await.visitor();
        first.get_or_insert(there.clone());
        let page = b.post_as(&there, "/jumps", &[("to", a.id()), ("back", "/")]).await;
        here = arrive(&a, &page.value("#leave input[name=code]"), "/").await.visitor();
    }
    assert_eq!(a.count("select count(*) from session").await, 2, "one on each server");
    a.post_as(&here, "/sign-out", &[]).await;
    assert_eq!(a.count("select count(*) from session").await, 0);
    assert!(!b.is_in(&first.unwrap()).await);
}
