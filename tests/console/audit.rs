//! The audit trail.

use std::time::Duration;

use muster::clusters::transitions::Observer;
use muster::people::Role;
use muster::tasks;
use mysql_async::prelude::Queryable;
use poem::http::StatusCode;

use crate::support::{PASSWORD, TestConsole};

async fn accounts(console: &TestConsole) -> String {
    let sql = "select group_concat(concat_ws('|', name, display_name, role, password_hash, disabled_at)) from account";
    console.conn().await.query_first(sql).await.unwrap().unwrap()
}

#[tokio::test]
async fn without_its_line_in_the_trail_no_change_is_made() {
    let a = TestConsole::start().await;
    let ann = a.visitor("ann", Role::Member).await;
    a.sql("rename table audit to audit_away").await;
    let path = format!("/users/{}", ann.account_id);
    let before = accounts(&a).await;
    for (path, fields) in [
        (
            "/users".to_owned(),
            vec![("name", "new"), ("role", "member"), ("password", PASSWORD)],
        ),
        (
            path.clone(),
            vec![("display_name", "x"), ("role", "member"), ("row_version", "0")],
        ),
        (format!("{path}/disabling"), vec![]),
        (format!("{path}/password"), vec![]),
    ] {
        let page = a.post(&path, &fields).await;
        assert_eq!(page.status, StatusCode::SERVICE_UNAVAILABLE, "{path}");
    }
    let page = a.post_as(&ann, "/profile", &[("display_name", "y")]).await;
    assert_eq!(page.status, StatusCode::SERVICE_UNAVAILABLE);
    a.sql("rename table audit_away to audit").await;
    assert_eq!(before, accounts(&a).await);
    assert!(a.is_in(&ann).await, "her sessions were not ended either");
}

#[tokio::test]
async fn the_trail_tells_who_did_what_where_and_never_a_secret() {
    let a = TestConsole::start().await;
    let secret_word = "a password nobody guesses";
    a.post(
        "/users",
        &[("name", "ann"), ("role", "member"), ("password", secret_word)],
    )
    .await;
    let ann = a.sign_in("ann", secret_word).await.visitor();
    let token = a
        .post_as(
            &ann,
            "/security/tokens",
            &[("name", "ci"), ("role", "member"), ("days", "7")],
        )
        .await;
    let token = token.text(".shown-once code");
    assert_eq!(a.get_as(&ann, "/users").await.status, StatusCode::FORBIDDEN);
    let rows: Vec<String> = a.conn().await.query("select concat_ws('|', actor, action, object_name, changes, result, install_id) from audit order by audit_id").await.unwrap();
    let all = rows.join("\n");
    for part in [
        format!(
            "root|account_create|ann|[[\"role\",\"\",\"member\"],[\"password\",\"\",\"•••\"]]|done|{}",
            a.id()
        ),
        "ann|sign_in||[]|done".to_owned(),
        "ann|token_create|ci|".to_owned(),
        "ann|refused|GET /users|[]|refused".to_owned(),
    ] {
        assert!(all.contains(&part), "{part} is not in:\n{all}");
    }
    assert!(!all.contains(secret_word) && !all.contains(&token), "{all}");

    let page = a.get("/audit?action=account_create").await;
    assert_eq!(page.count("tbody tr"), 1);
    page.shows("root");
    assert_eq!(a.get("/audit?result=refused&actor=ann").await.count("tbody tr"), 1);
    assert_eq!(a.get("/audit?from=2099-01-01").await.count("tbody tr"), 0);
    a.get("/audit?action=happy&from=tomorrow")
        .await
        .shows("“tomorrow” is no date");
    let own = a.get_as(&ann, "/audit").await;
    own.shows("ci");
    assert!(
        !own.text("tbody").contains("root"),
        "a member sees what they did themselves"
    );
}

#[tokio::test]
async fn the_trail_is_paged_by_key_and_downloaded_whole() {
    let a = TestConsole::start().await;
    a.sql("delete from audit").await;
    let mut conn = a.conn().await;
    let row = |n: u32| format!("('actor {n}', 'sign_in', 'x', '=cmd|{n}', '[]')");
    let rows: Vec<String> = (0..1200).map(row).collect();
    let sql = "insert into audit (actor, action, object_kind, object_name, changes) values ";
    conn.query_drop(format!("{sql}{}", rows.join(","))).await.unwrap();
    let (mut path, mut seen) = ("/audit".to_owned(), 0);
    loop {
        let page = a.get(&path).await;
        seen += page.count("tbody tr");
        let next = page
            .body
            .split("rel=\"next\" href=\"")
            .nth(1)
            .and_then(|rest| rest.split('"').next());
        match next {
            Some(next) => path = next.replace("&amp;", "&").replace("&#38;", "&"),
            None => break,
        }
    }
    assert_eq!(seen, 1200);
    let csv = a.get("/audit.csv").await;
    assert_eq!(csv.header("content-type"), "text/csv; charset=utf-8");
    assert_eq!(csv.body.lines().count(), 1201);
    assert!(csv.body.contains("\"'=cmd|7\""), "a cell is no formula");
    let old = "update audit set at = at - interval 400 day where audit_id % 2 = 0";
    conn.query_drop(old).await.unwrap();
    tasks::sweep(&a.app).await.unwrap();
    assert_eq!(a.count("select count(*) from audit").await, 600);
}

#[tokio::test]
async fn a_cluster_that_changes_its_state_stands_in_the_trail_once() {
    let mut a = TestConsole::start().await;
    let b = TestConsole::beside(&a).await;
    let (one, two) = (Observer::default(), Observer::default());
    let told = async || -> Vec<String> {
        let sql = "select changes from audit where action = 'cluster_state' and object_id = ? order by audit_id";
        b.conn().await.exec(sql, (a.id(),)).await.unwrap()
    };
    let (first, second) = tokio::join!(one.tick(&a.app), two.tick(&b.app));
    first.unwrap();
    second.unwrap();
    assert_eq!(told().await, ["[[\"state\",\"-\",\"online\"]]"]);
    a.age(91.0).await;
    two.tick(&b.app).await.unwrap();
    assert_eq!(
        told().await.len(),
        1,
        "an observer who has just come distrusts itself first"
    );
    for observer in [&one, &two] {
        observer.has_watched_for(Duration::from_secs(91));
    }
    let (first, second) = tokio::join!(one.tick(&b.app), two.tick(&b.app));
    first.unwrap();
    second.unwrap();
    assert_eq!(told().await.last().unwrap(), "[[\"state\",\"online\",\"offline\"]]");
    a.heart.tick().await.unwrap();
    two.tick(&b.app).await.unwrap();
    let sql = "select count(*) from audit where action = 'cluster_state' and object_name <> ''";
    assert_eq!(b.count(sql).await, 4, "b online; a online, offline, online");
    b.get("/audit?action=cluster_state").await.shows("the server");
}

type Fields<'a> = &'a [(&'a str, &'a str)];

#[tokio::test]
async fn every_change_of_ones_own_and_each_refusal_leaves_its_line() {
    let a = TestConsole::start().await;
    let ann = a.visitor("ann", Role::Member).await;
    let (wrong, right) = (("current", "wrong"), ("current", PASSWORD));
    let new = [("password", PASSWORD), ("again", PASSWORD)];
    let steps: [(&str, Fields, u16); 10] = [
        ("/security/password", &[&[wrong], &new[..]].concat(), 422),
        ("/security/password", &[&[right], &new[..]].concat(), 200),
        ("/security/sessions/removal", &[], 303),
        ("/security/second-factor", &[wrong], 422),
        ("/security/second-factor", &[right], 303),
        ("/security/second-factor/removal", &[wrong], 422),
        ("/security/second-factor/removal", &[right], 303),
        (
            "/security/tokens",
            &[("name", "ci"), ("role", "member"), ("days", "7")],
            200,
        ),
        ("/profile", &[("display_name", "Ann A")], 303),
        ("/sign-out", &[], 303),
    ];
    for (path, fields, status) in steps {
        assert_eq!(a.post_as(&ann, path, fields).await.status.as_u16(), status, "{path}");
    }
    let sql = "select concat_ws(' ', action, result) from audit where actor = 'ann' order by audit_id";
    let lines: Vec<String> = a.conn().await.query(sql).await.unwrap();
    let wanted = [
        "password_change refused",
        "password_change done",
        "session_end done",
        "two_factor_begin refused",
        "two_factor_begin done",
        "two_factor_off refused",
        "two_factor_off done",
        "token_create done",
        "account_update done",
        "sign_out done",
    ];
    assert_eq!(lines, wanted);
    a.get("/audit?action=two_factor_off&result=refused")
        .await
        .shows("Reason wrong name or password");
}

#[tokio::test]
async fn what_strangers_can_do_at_will_is_written_down_once_a_minute() {
    let a = TestConsole::start().await;
    for _ in 0..5 {
        let request = a
            .client
            .post("/profile")
            .header("Authorization", "Bearer muster_nobody");
        assert_eq!(request.send().await.0.status(), StatusCode::UNAUTHORIZED);
    }
    let lines = "select count(*) from audit where action = 'refused'";
    assert_eq!(a.count(lines).await, 1);
    a.sql("update audit set at = at - interval 2 minute").await;
    a.client
        .post("/profile")
        .header("Authorization", "Bearer muster_nobody")
        .send()
        .await;
    assert_eq!(a.count(lines).await, 2);
}
