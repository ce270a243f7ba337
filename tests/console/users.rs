//! Users, what each does about their own account, and tokens.

use muster::people::Role;
use muster::people::secret;
use mysql_async::prelude::Queryable;
use poem::http::StatusCode;

use crate::support::{PASSWORD, TestConsole, Visitor};

#[tokio::test]
async fn changing_the_password_the_role_or_disabling_ends_sessions_on_all_servers() {
    let a = TestConsole::start().await;
    let b = TestConsole::beside(&a).await;
    let here = a.visitor("ann", Role::Member).await;
    let there = a.session_of(&here.account_id, secret::random().unwrap()).await;
    let fields = |current, password, again| [("current", current), ("password", password), ("again", again)];
    for wrong in [
        fields("wrong one", "a new password", "a new password"),
        fields(PASSWORD, "short", "short"),
        fields(PASSWORD, "a new password", "another one"),
    ] {
        let page = a.post_as(&here, "/security/password", &wrong).await;
        assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY);
    }
    assert!(b.is_in(&there).await);
    let page = a
        .post_as(
            &here,
            "/security/password",
            &fields(PASSWORD, "a new password", "a new password"),
        )
        .await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(b.is_in(&here).await && !b.is_in(&there).await);
    assert!(b.sign_in("ann", PASSWORD).await.session().is_none());
    let ann = b.sign_in("ann", "a new password").await.visitor();

    let path = format!("/users/{}", here.account_id);
    let version = a
        .count(&format!(
            "select row_version from account where account_id = '{}'",
            here.account_id
        ))
        .await;
    let edit = [
        ("display_name", "Ann"),
        ("role", "system_admin"),
        ("row_version", &*version.to_string()),
    ];
    assert_eq!(a.post(&path, &edit).await.status, StatusCode::SEE_OTHER);
    assert!(!b.is_in(&ann).await);
    let ann = b.sign_in("ann", "a new password").await.visitor();
    a.post(&format!("{path}/disabling"), &[]).await;
    assert!(!b.is_in(&ann).await);
    assert!(b.sign_in("ann", "a new password").await.session().is_none());
    a.post(&format!("{path}/enabling"), &[]).await;
    let ann = b.sign_in("ann", "a new password").await.visitor();
    let shown = a.post(&format!("{path}/password"), &[]).await;
    let made = shown.text(".shown-once code");
    assert!(!b.is_in(&ann).await && made.len() == 19, "{made}");
    assert!(a.is_in(&a.sign_in("ann", &made).await.visitor()).await);
}

#[tokio::test]
async fn one_sees_and_ends_ones_own_sessions_and_nobody_elses() {
    let a = TestConsole::start().await;
    let here = a.visitor("ann", Role::Member).await;
    let there = a.session_of(&here.account_id, secret::random().unwrap()).await;
    let bob = a.visitor("bob", Role::Member).await;
    let ids: Vec<String> = a
        .conn()
        .await
        .exec(
            "select session_id from session where account_id = ? and token_hash = ?",
            (&there.account_id, secret::hash(&there.token)),
        )
        .await
        .unwrap();
    let page = a.get_as(&here, "/security").await;
    assert_eq!(
        page.count("form[action$='/removal'][action*='/security/sessions']"),
        2,
        "one other session, and all others"
    );
    page.shows(&a.app.name());
    let path = format!("/security/sessions/{}/removal", ids[0]);
    a.post_as(&bob, &path, &[]).await;
    assert!(a.is_in(&there).await, "it is not bob's to end");
    a.post_as(&here, &path, &[]).await;
    assert!(!a.is_in(&there).await && a.is_in(&here).await);
    let third = a.session_of(&here.account_id, secret::random().unwrap()).await;
    a.post_as(&here, "/security/sessions/removal", &[]).await;
    assert!(!a.is_in(&third).await && a.is_in(&here).await && a.is_in(&bob).await);
}

#[tokio::test]
async fn the_last_super_admin_stays_even_when_two_step_down_at_once() {
    let a = TestConsole::start().await;
    let b = TestConsole::beside(&a).await;
    let root = &a.visitor;
    let own = a.get(&format!("/users/{}", root.account_id)).await;
    assert_eq!(
        own.count("input[type=radio], form[action$='/disabling']"),
        0,
        "what cannot be done is not shown"
    );
    let down = [("display_name", ""), ("role", "member"), ("row_version", "0")];
    let page = a.post(&format!("/users/{}", root.account_id), &down).await;
    assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY);
    page.shows("last super admin");
    let page = a.post(&format!("/users/{}/disabling", root.account_id), &[]).await;
    assert_eq!(page.status, StatusCode::CONFLICT);
    // What the database overlooks at the end of an id must not be overlooked here.
    for path in [
        format!("/users/{}%20/disabling", root.account_id),
        format!("/users/{}%20", root.account_id),
    ] {
        assert_eq!(a.post(&path, &down).await.status, StatusCode::NOT_FOUND, "{path}");
    }
    for path in [
        "/users/ä",
        "/users/x/disabling",
        "/security/sessions/ä/removal",
        "/security/tokens/ä/removal",
    ] {
        let page = if path == "/users/ä" {
            a.get(path).await
        } else {
            a.post(path, &[]).await
        };
        assert_eq!(page.status, StatusCode::NOT_FOUND, "{path}");
    }
    let second = a.visitor("second", Role::SuperAdmin).await;
    let (mine, theirs) = (
        format!("/users/{}", root.account_id),
        format!("/users/{}/disabling", second.account_id),
    );
    let (one, two) = tokio::join!(a.post(&mine, &down), b.post_as(&second, &theirs, &[]));
    let mut said = [one.status.as_u16(), two.status.as_u16()];
    said.sort_unstable();
    assert!(said[0] == 303 && [409, 422, 403].contains(&said[1]), "{said:?}");
    let able = "select count(*) from account where role = 'super_admin' and disabled_at is null";
    assert_eq!(a.count(able).await, 1, "{} {}", one.status, two.status);
}

#[tokio::test]
async fn two_who_edit_the_same_user_both_see_what_the_other_typed() {
    let a = TestConsole::start().await;
    let ann = a.visitor("ann", Role::Member).await;
    let path = format!("/users/{}", ann.account_id);
    let edit = |name, version| [("display_name", name), ("role", "member"), ("row_version", version)];
    assert_eq!(a.post(&path, &edit("First", "0")).await.status, StatusCode::SEE_OTHER);
    let page = a.post(&path, &edit("Second", "0")).await;
    assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY);
    page.shows("First");
    assert_eq!(page.count("input[name=display_name][value=Second]"), 1);
    assert_eq!(page.count("input[name=row_version][value='1']"), 1);
    assert_eq!(a.post(&path, &edit("Second", "1")).await.status, StatusCode::SEE_OTHER);
}

/// A token as its owner's page shows it, once.
async fn token_of(console: &TestConsole, owner: &Visitor) -> String {
    let fields = [("name", "ci"), ("role", "super_admin"), ("days", "30")];
    let page = console.post_as(owner, "/security/tokens", &fields).await;
    page.text(".shown-once code")
}

#[tokio::test]
async fn a_token_carries_at_most_its_owners_rights_and_needs_no_form() {
    let a = TestConsole::start().await;
    let b = TestConsole::beside(&a).await;
    let ann = a.visitor("ann", Role::SystemAdmin).await;
    let token = token_of(&a, &ann).await;
    assert!(token.starts_with("muster_") && token.len() == 71, "{token}");
    let hash: Option<String> = a
        .conn()
        .await
        .query_first("select token_hash from api_token")
        .await
        .unwrap();
    assert_eq!(hash.unwrap(), secret::hash(&token));
    assert_eq!(b.get_with(&token, "/clusters").await.status, StatusCode::OK);
    assert_eq!(b.get_with(&token, "/users").await.status, StatusCode::FORBIDDEN);
    let beside = b
        .client
        .get("/users")
        .header("Authorization", format!("Bearer {token}"));
    let beside = beside.header("Cookie", a.visitor.cookie()).send().await;
    assert_eq!(
        beside.0.status(),
        StatusCode::FORBIDDEN,
        "a cookie beside it does not count"
    );
    let post = a
        .client
        .post("/profile")
        .header("Authorization", format!("Bearer {token}"));
    let post = post
        .content_type("application/x-www-form-urlencoded")
        .body("display_name=x");
    assert_eq!(post.send().await.0.status(), StatusCode::SEE_OTHER);
    for path in ["/security/tokens", "/security/password", "/security/sessions/removal"] {
        let request = a.client.post(path).header("Authorization", format!("bearer {token}"));
        let request = request.content_type("application/x-www-form-urlencoded");
        let answer = request.body("name=x&role=member&days=365").send().await;
        assert_eq!(
            answer.0.status(),
            StatusCode::FORBIDDEN,
            "a leaked token makes no other: {path}"
        );
    }
    assert_eq!(
        a.count("select count(*) from api_token where used_at is not null")
            .await,
        1
    );
    a.sql("update account set role = 'member' where name = 'ann'").await;
    assert_eq!(b.get_with(&token, "/clusters").await.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn a_token_is_worth_nothing_once_it_is_past_its_end_taken_away_or_its_owner_disabled() {
    let a = TestConsole::start().await;
    let b = TestConsole::beside(&a).await;
    let ann = a.visitor("ann", Role::SystemAdmin).await;
    let token = token_of(&a, &ann).await;
    for (change, back) in [
        (
            "api_token set expires_at = expires_at - interval 31 day",
            "api_token set expires_at = expires_at + interval 31 day",
        ),
        (
            "account set disabled_at = now() where name = 'ann'",
            "account set disabled_at = null",
        ),
    ] {
        a.sql(&format!("update {change}")).await;
        let answer = b.get_with(&token, "/clusters").await;
        let challenge = answer.header("www-authenticate");
        assert_eq!(
            (answer.status, challenge),
            (StatusCode::UNAUTHORIZED, "Bearer realm=\"muster\"")
        );
        a.sql(&format!("update {back}")).await;
        assert_eq!(b.get_with(&token, "/clusters").await.status, StatusCode::OK);
    }
    let id: Option<String> = a
        .conn()
        .await
        .query_first("select token_id from api_token")
        .await
        .unwrap();
    let removal = format!("/security/tokens/{}/removal", id.unwrap());
    assert_eq!(
        a.post(&removal, &[]).await.status,
        StatusCode::NOT_FOUND,
        "it is not root's"
    );
    a.post_as(&ann, &removal, &[]).await;
    assert_eq!(b.get_with(&token, "/clusters").await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn users_are_added_with_a_password_that_is_shown_once_and_names_are_taken_once() {
    let a = TestConsole::start().await;
    let fields = [
        ("name", "Ann"),
        ("display_name", "安"),
        ("role", "member"),
        ("password", ""),
    ];
    let page = a.post("/users", &fields).await;
    let made = page.text(".shown-once code");
    assert!(a.is_in(&a.sign_in("ann", &made).await.visitor()).await);
    let again = a.post("/users", &[("name", "ANN"), ("role", "member")]).await;
    assert_eq!(again.status, StatusCode::UNPROCESSABLE_ENTITY);
    again.shows("taken");
    let long = "x".repeat(51);
    for (name, password) in [("", ""), (long.as_str(), ""), ("bob", "short"), ("bobby", "i am bobby")] {
        let page = a.post("/users", &[("name", name), ("password", password)]).await;
        assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY, "{name} {password}");
    }
    let list = a.get("/users").await;
    list.shows("Ann");
    list.shows("安");
    assert_eq!(a.get("/users?text=安").await.count("tbody tr"), 1);
    assert_eq!(a.get("/users?text=%25").await.count("tbody tr"), 0);
}

#[tokio::test]
async fn hostile_names_stay_text_wherever_they_are_shown() {
    let a = TestConsole::start().await;
    let hostile = "<script>alert(1)</script>";
    let fields = [
        ("name", hostile),
        ("display_name", "\"><img src=x onerror=alert(1)>"),
        ("role", "super_admin"),
        ("password", PASSWORD),
    ];
    assert_eq!(a.post("/users", &fields).await.status, StatusCode::SEE_OTHER);
    let page = a.sign_in(hostile, PASSWORD).await;
    let eve = page.visitor();
    a.post_as(
        &eve,
        "/security/tokens",
        &[("name", hostile), ("role", "member"), ("days", "7")],
    )
    .await;
    let id: String = a
        .conn()
        .await
        .exec_first("select account_id from account where name = ?", (hostile,))
        .await
        .unwrap()
        .unwrap();
    let own = format!("/users/{id}");
    for path in [
        "/users",
        &own,
        "/profile",
        "/security",
        "/audit",
        "/audit?actor=%3Cscript%3E&action=%22%3E",
        "/clusters",
    ] {
        let page = a.get_as(&eve, path).await;
        assert_eq!(page.status, StatusCode::OK, "{path}");
        assert_eq!(
            (page.count("script:not([src])"), page.count("img[onerror]")),
            (0, 0),
            "{path}"
        );
    }
    let page = a
        .get_as(
            &Visitor::stranger(),
            "/sign-in?back=%22%3E%3Cscript%3Ealert(1)%3C/script%3E",
        )
        .await;
    assert_eq!(page.count("script:not([src])"), 0);
}
