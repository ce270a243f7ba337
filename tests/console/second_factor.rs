//! Two-factor sign-in, and the key that seals its secrets.

use muster::error::Error;
use muster::i18n::Lang;
use muster::people::Role;
use muster::seal::Key;
use mysql_async::prelude::Queryable;
use poem::http::StatusCode;
use totp_rs::{Builder, Secret, Totp};

use crate::support::{PASSWORD, Page, TestConsole, Visitor};

fn totp(secret: &str) -> Totp {
    Builder::new()
        .with_secret(Secret::try_from_base32(secret).unwrap())
        .build()
        .unwrap()
}

/// The app's code, `steps` from now by the database's clock.
pub(crate) async fn code(console: &TestConsole, totp: &Totp, steps: i64) -> String {
    let sql = "select cast(unix_timestamp() as unsigned)";
    let now: u64 = console.conn().await.query_first(sql).await.unwrap().unwrap();
    let code = totp.generate(now.checked_add_signed(steps * 30).unwrap());
    code.to_string()
}

/// Switches it on for a new person; their app and recovery codes.
pub(crate) async fn switched_on(a: &TestConsole, ann: &Visitor) -> (Totp, Vec<String>) {
    let wrong = a.post_as(ann, "/security/second-factor", &[("current", "wrong")]).await;
    assert_eq!(wrong.status, StatusCode::UNPROCESSABLE_ENTITY);
    let page = a
        .post_as(ann, "/security/second-factor", &[("current", PASSWORD)])
        .await;
    assert_eq!(
        page.header("location"),
        "/security/second-factor",
        "{}",
        page.text("body")
    );
    let page = a.get_as(ann, "/security/second-factor").await;
    assert_eq!(page.count(".qr svg path"), 1);
    let app = totp(&page.text("#totp-secret"));
    let wrong = a
        .post_as(ann, "/security/second-factor/confirmation", &[("code", "000000")])
        .await;
    assert_eq!(wrong.status, StatusCode::UNPROCESSABLE_ENTITY);
    let now = code(a, &app, 0).await;
    let page = a
        .post_as(ann, "/security/second-factor/confirmation", &[("code", &now)])
        .await;
    let codes: Vec<String> = page.text(".codes code").split(' ').map(str::to_owned).collect();
    assert_eq!(codes.len(), 10, "{}", page.text("body"));
    // The code of this half minute may be used again, so that nobody has to wait for the next.
    a.sql("update account set totp_step = 0").await;
    (app, codes)
}

/// Password, then what is typed for the second step.
pub(crate) async fn sign_in(console: &TestConsole, typed: &str) -> Page {
    let first = console
        .post_as(
            &Visitor::stranger(),
            "/sign-in",
            &[("name", "ann"), ("password", PASSWORD), ("back", "/security")],
        )
        .await;
    assert_eq!(first.header("location"), "/sign-in/code?back=%2Fsecurity");
    let half = Visitor {
        account_id: "half".to_owned(),
        token: first.session().unwrap(),
    };
    assert!(
        console
            .get_as(&half, "/security")
            .await
            .header("location")
            .starts_with("/sign-in"),
        "half is not in"
    );
    second_step(console, &half, typed, "/security").await
}

/// What is typed for the second step by somebody half way in. Until both steps are done, forms are a stranger's.
async fn second_step(console: &TestConsole, half: &Visitor, typed: &str, back: &str) -> Page {
    let stranger = Visitor::stranger();
    let mut body = url::form_urlencoded::Serializer::new(String::new());
    body.append_pair("csrf", &stranger.csrf())
        .append_pair("code", typed)
        .append_pair("back", back);
    let request = console.client.post("/sign-in/code").header("Accept-Language", "en");
    let request = request.header("Cookie", format!("{}; {}", half.cookie(), stranger.cookie()));
    let request = request.content_type("application/x-www-form-urlencoded");
    Page::of(request.body(body.finish()).send().await).await
}

#[tokio::test]
async fn a_code_is_asked_for_and_counts_once_on_all_servers() {
    let a = TestConsole::start().await;
    let b = TestConsole::beside(&a).await;
    let ann = a.visitor("ann", Role::Member).await;
    let refused = a
        .post_as(&ann, "/security/second-factor", &[("current", PASSWORD)])
        .await;
    assert_eq!(
        refused.status,
        StatusCode::CONFLICT,
        "the other server would lack the key"
    );
    refused.shows("muster key create");
    a.app.seal.add(&Key::random().unwrap()).unwrap();
    std::fs::copy(a.app.seal.path(), b.app.seal.path()).unwrap();
    let (app, codes) = switched_on(&a, &ann).await;

    assert_eq!(sign_in(&a, "123456").await.status, StatusCode::UNPROCESSABLE_ENTITY);
    let now = code(&a, &app, 0).await;
    let page = sign_in(&a, &now).await;
    assert_eq!(
        (page.status, page.header("location")),
        (StatusCode::SEE_OTHER, "/security")
    );
    let signed_in = Visitor {
        account_id: "ann".to_owned(),
        token: page.session().unwrap(),
    };
    b.get_as(&signed_in, "/security").await.shows("10 recovery codes left");
    assert_eq!(
        sign_in(&b, &now).await.status,
        StatusCode::UNPROCESSABLE_ENTITY,
        "a code counts once"
    );
    assert_eq!(
        sign_in(&b, &code(&b, &app, -1).await).await.status,
        StatusCode::UNPROCESSABLE_ENTITY,
        "nor one before it"
    );
    let page = sign_in(&b, &codes[0].to_uppercase().replace('-', "")).await;
    assert_eq!(page.status, StatusCode::SEE_OTHER, "{}", page.text("body"));
    assert_eq!(sign_in(&b, &codes[0]).await.status, StatusCode::UNPROCESSABLE_ENTITY);
    b.get_as(&signed_in, "/security").await.shows("9 recovery codes left");
    let sql = "select concat_ws(',', action, result) from audit where account_id = ? and action in ('two_factor_on', 'recovery_code') order by audit_id";
    let told: Vec<String> = a.conn().await.exec(sql, (&ann.account_id,)).await.unwrap();
    assert_eq!(
        told,
        ["two_factor_on,refused", "two_factor_on,done", "recovery_code,done"]
    );

    let off = a
        .post_as(&ann, "/security/second-factor/removal", &[("current", PASSWORD)])
        .await;
    assert_eq!(off.header("location"), "/security");
    assert_eq!(a.sign_in("ann", PASSWORD).await.header("location"), "/");
}

#[tokio::test]
async fn an_admin_switches_it_off_for_somebody_who_lost_everything() {
    let a = TestConsole::start().await;
    let ann = a.visitor("ann", Role::Member).await;
    switched_on(&a, &ann).await;
    let path = format!("/users/{}", ann.account_id);
    assert_eq!(a.get(&path).await.count("form[action$='second-factor-removal']"), 1);
    a.post(&format!("{path}/second-factor-removal"), &[]).await;
    assert_eq!(a.sign_in("ann", PASSWORD).await.header("location"), "/");
}

#[tokio::test]
async fn the_secret_is_sealed_and_a_server_with_another_key_does_not_start() {
    let a = TestConsole::start().await;
    let ann = a.visitor("ann", Role::Member).await;
    let (app, _) = switched_on(&a, &ann).await;
    let sealed: Vec<u8> = a
        .conn()
        .await
        .query_first("select totp_secret from account where totp_secret is not null")
        .await
        .unwrap()
        .unwrap();
    let plain = Secret::try_from_base32(app_secret(&app)).unwrap();
    assert!(!sealed.windows(20).any(|part| part == plain.as_bytes()));
    let file = std::fs::read_to_string(a.app.seal.path()).unwrap();
    let kept: Vec<String> = a.conn().await.query("select fingerprint from seal_key").await.unwrap();
    assert_eq!(kept, a.app.seal.fingerprints());
    assert!(!file.contains(&kept[0]));

    let other = "0".repeat(64);
    for env in [&[][..], &[("MUSTER_MASTER_KEY", other.as_str())]] {
        let mut wrong = TestConsole::silent(&a.database, None, env).await;
        let error = wrong.heart.tick().await.unwrap_err();
        let said = error.text().say(Lang::En);
        assert!(
            matches!(error, Error::Invalid(_)) && said.contains(&kept[0]) && said.contains("master.key"),
            "{said}"
        );
    }
    let mut right = TestConsole::silent(&a.database, None, &[("MUSTER_MASTER_KEY", file.trim())]).await;
    right.heart.tick().await.unwrap();
}

fn app_secret(app: &Totp) -> String {
    app.secret().to_base32()
}

#[tokio::test]
async fn a_second_step_under_way_ends_with_a_new_password_and_leads_to_no_other_site() {
    let a = TestConsole::start().await;
    let ann = a.visitor("ann", Role::Member).await;
    let (app, codes) = switched_on(&a, &ann).await;
    let half = a.sign_in("ann", PASSWORD).await.visitor();
    // The request waits for the account's row; meanwhile its session has been ended.
    let mut conn = a.conn().await;
    let mut tx = conn.start_transaction(mysql_async::TxOpts::default()).await.unwrap();
    tx.query_drop("select account_id from account for update")
        .await
        .unwrap();
    let typed = code(&a, &app, 0).await;
    let ending = async {
        let waiting = format!(
            "select count(*) from information_schema.processlist where db = '{}' and id <> connection_id() \
             and info like 'select account_id, name%for update'",
            a.database.name
        );
        for look in 0.. {
            if a.count(&waiting).await > 0 {
                break;
            }
            assert!(look < 1000, "nobody waits for the account");
        }
        tx.query_drop("delete from session where pending = 1").await.unwrap();
        tx.commit().await.unwrap();
    };
    let (page, ()) = tokio::join!(second_step(&a, &half, &typed, ""), ending);
    assert!(
        page.session().is_none() && page.header("location").starts_with("/sign-in"),
        "{}",
        page.status
    );

    for (back, code) in ["//evil.example", "/\\evil.example", "https://evil.example"]
        .iter()
        .zip(&codes)
    {
        let half = a.sign_in("ann", PASSWORD).await.visitor();
        let page = second_step(&a, &half, code, back).await;
        assert_eq!(
            (page.header("location"), page.session().is_some()),
            ("/", true),
            "{back}"
        );
    }
}
