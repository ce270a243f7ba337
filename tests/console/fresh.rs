//! What is kept for a moment, for whom, and for whom not.

use std::time::{Duration, Instant};

use muster::people::Role;
use poem::http::StatusCode;

use crate::support::{Page, TOKEN, TestConsole, Visitor, let_in};

/// Everybody sees within this what somebody else wrote.
const SOON: Duration = Duration::from_secs(1);
/// Enough for each case to meet an answer that is still kept.
const ROUNDS: u32 = 10;

/// A refresh by somebody who has written nothing for a while.
async fn refreshed(console: &TestConsole, visitor: &Visitor, path: &str) -> Page {
    let request = console.client.get(path).header("Accept-Language", "en");
    let request = request.header("HX-Request", "true");
    Page::of(request.header("Cookie", visitor.calm_cookie()).send().await).await
}

async fn shown_name(console: &TestConsole) -> String {
    let list = refreshed(console, &console.visitor, "/clusters").await;
    assert_eq!(list.status, StatusCode::OK);
    list.text(&own_name(console))
}

fn own_name(console: &TestConsole) -> String {
    format!("#cluster-{} .c-name a", console.id())
}

/// Asks until the answer is the wanted one; an older one is allowed for [`SOON`]. Says whether there was an older one.
async fn comes_soon(written: Instant, mut is_there: impl AsyncFnMut() -> bool) -> bool {
    let mut was_kept = false;
    loop {
        let asked = Instant::now();
        if is_there().await {
            return was_kept;
        }
        assert!(asked < written + SOON, "kept too long");
        was_kept = true;
    }
}

#[tokio::test]
async fn who_only_looks_sees_within_a_second_what_others_write() {
    let a = TestConsole::start().await;
    let mut kept = 0;
    for round in 0..ROUNDS {
        shown_name(&a).await;
        a.set(&format!("name = 'past {round}'")).await;
        let name = format!("past {round}");
        let is_there = async || shown_name(&a).await == name;
        kept += u32::from(comes_soon(Instant::now(), is_there).await);
    }
    assert!(kept > 0, "what has just been read is not read again");
}

#[tokio::test]
async fn who_writes_sees_it_at_once_on_every_server() {
    let a = TestConsole::start().await;
    let b = TestConsole::beside(&a).await;
    let path = format!("/clusters/{}", a.id());
    for round in 0..ROUNDS {
        let name = format!("mine {round}");
        let form = a.get(&format!("{path}/edit")).await;
        let fields = [
            ("row_version", &*form.value("input[name=row_version]")),
            ("name", &name),
            ("address", ""),
        ];
        shown_name(&a).await;
        refreshed(&b, &a.visitor, "/clusters").await;
        let saved = a.post(&path, &fields).await;
        assert_eq!(saved.status, StatusCode::SEE_OTHER);
        assert_eq!(shown_name(&a).await, name, "where it was written");
        let cookies: Vec<_> = saved.headers.get_all("set-cookie").iter().collect();
        let wrote = "muster_wrote=1; Path=/; Max-Age=2; HttpOnly; SameSite=Lax";
        assert!(cookies.iter().any(|cookie| *cookie == wrote), "{cookies:?}");
        // The harness sends it along.
        assert_eq!(b.hx_get("/clusters").await.text(&own_name(&a)), name, "elsewhere");
    }
}

#[tokio::test]
async fn a_program_sees_what_was_written_before_it_asked() {
    let a = TestConsole::start().await;
    let_in(&a.database).await;
    for round in 0..ROUNDS {
        a.get_with(TOKEN, "/clusters").await;
        let name = format!("past {round}");
        a.set(&format!("name = '{name}'")).await;
        assert_eq!(a.get_with(TOKEN, "/clusters").await.text("tbody .c-name .cut"), name);
    }
}

#[tokio::test]
async fn a_session_that_was_ended_elsewhere_soon_opens_nothing() {
    let a = TestConsole::start().await;
    let mut kept = 0;
    for path in ["/clusters", "/jumps/new"].into_iter().cycle().take(ROUNDS as usize) {
        let ann = a.visitor("ann", Role::SystemAdmin).await;
        assert_eq!(refreshed(&a, &ann, path).await.status, StatusCode::OK);
        a.sql(&format!("delete from session where account_id = '{}'", ann.account_id))
            .await;
        let ended = Instant::now();
        let request = a.client.get("/clusters").header("Cookie", ann.cookie());
        let page = Page::of(request.send().await).await;
        assert!(
            page.header("location").starts_with("/sign-in"),
            "at once to whoever has just written"
        );
        let is_out = async || {
            refreshed(&a, &ann, path)
                .await
                .header("hx-redirect")
                .starts_with("/sign-in")
        };
        kept += u32::from(comes_soon(ended, is_out).await);
        a.sql("delete from account where name = 'ann'").await;
    }
    assert!(kept > 0, "who has just been let in is not asked for again");
}

#[tokio::test]
async fn what_is_kept_for_one_is_not_shown_to_another_who_may_see_less() {
    let a = TestConsole::start().await;
    let (ann, bob) = (
        a.visitor("ann", Role::Member).await,
        a.visitor("bob", Role::Member).await,
    );
    for (name, member) in [("of ann", &ann), ("of bob", &bob)] {
        let account_id = &member.account_id;
        a.sql(&format!(
            "insert into workspace (workspace_id, name, name_key, install_id) values (md5('{name}'), '{name}', '{name}', '{}')",
            a.id()
        ))
        .await;
        a.sql(&format!(
            "insert into workspace_member (workspace_id, account_id) values (md5('{name}'), '{account_id}')"
        ))
        .await;
        a.sql(&format!(
            "insert into audit (account_id, action, object_kind, object_name) \
             values ('{account_id}', 'sign_in', 'account', 'trail {name}')"
        ))
        .await;
    }
    for path in ["/workspaces", "/jumps/new", "/audit"] {
        // Whoever may see more comes before and after.
        for (visitor, sees) in [
            (&a.visitor, [true; 2]),
            (&ann, [true, false]),
            (&bob, [false, true]),
            (&a.visitor, [true; 2]),
        ] {
            let page = refreshed(&a, visitor, path).await;
            assert_eq!(page.status, StatusCode::OK);
            assert_eq!(
                ["of ann", "of bob"].map(|name| page.body.contains(name)),
                sees,
                "{path}"
            );
        }
    }
}
