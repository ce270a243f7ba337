//! Set-up, two-factor and signing out everywhere, as a person does it.

use muster::people::setup::Announcer;
use mysql_async::prelude::Queryable;
use totp_rs::{Builder, Secret, Totp};

use crate::chrome::{Browser, Look};
use crate::support::{PASSWORD, TestConsole, TestDatabase};
use crate::{clean, serve};

/// A server on an empty database, and its set-up token.
async fn new_server() -> (TestConsole, String) {
    let database = TestDatabase::new().await;
    let mut console = TestConsole::silent(&database.database, None, &[]).await;
    console.heart.tick().await.unwrap();
    Announcer::default().tick(&console.app).await.unwrap();
    let token = std::fs::read_to_string(console.data.path().join("setup-token")).unwrap();
    (console, token)
}

pub(crate) async fn speak(page: &Browser, address: &str, lang: &str) {
    page.goto(&format!("{address}/healthz")).await;
    page.run(&format!("document.cookie = 'muster_lang={lang}; path=/'"))
        .await;
}

/// The app's code, `steps` from now by the database's clock.
async fn code(console: &TestConsole, app: &Totp, steps: i64) -> String {
    let now: Option<u64> = console
        .conn()
        .await
        .query_first("select cast(unix_timestamp() as unsigned)")
        .await
        .unwrap();
    app.generate(now.unwrap().checked_add_signed(steps * 30).unwrap())
        .to_string()
}

async fn sign_in(page: &Browser, address: &str) {
    page.goto(&format!("{address}/clusters")).await;
    page.type_into("input[name=name]", "boss").await;
    page.type_into("input[name=password]", &format!("{PASSWORD}\n")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_system_is_set_up_secured_and_left_in_both_languages() {
    let (console, token) = new_server().await;
    let (address, _site) = serve(&console).await;
    let page = Browser::start(Look::Desktop).await;
    speak(&page, &address, "zh-CN").await;
    page.goto(&format!("{address}/")).await;
    page.has("#door input[name=token]").await;
    clean(&page, "light", "set-up").await;
    page.type_into("input[name=token]", &token).await;
    page.type_into("input[name=name]", "\u{e009}a\u{e009}boss").await;
    page.type_into("input[name=password]", PASSWORD).await;
    page.type_into("input[name=again]", &format!("{PASSWORD}\n")).await;
    page.until("return location.pathname === '/home' && document.body.textContent.includes('需要处理')")
        .await;

    page.goto(&format!("{address}/security")).await;
    clean(&page, "dark", "security").await;
    page.type_into("#f-factor", &format!("{PASSWORD}\n")).await;
    page.has(".qr svg").await;
    clean(&page, "light", "second factor").await;
    let secret = page
        .run("return document.getElementById('totp-secret').textContent")
        .await;
    let secret = Secret::try_from_base32(secret.as_str().unwrap()).unwrap();
    let app = Builder::new().with_secret(secret).build().unwrap();
    page.type_into("input[name=code]", &format!("{}\n", code(&console, &app, 0).await))
        .await;
    page.until("return document.querySelectorAll('.codes code').length === 10")
        .await;

    // The code of this half minute may be used again, so that nobody has to wait for the next.
    console.sql("update account set totp_step = 0").await;
    let other = Browser::start(Look::Phone).await;
    speak(&other, &address, "en").await;
    sign_in(&other, &address).await;
    other
        .until("return document.querySelector('h1')?.textContent === 'Second step'")
        .await;
    clean(&other, "dark", "second step").await;
    other
        .type_into("input[name=code]", &format!("{}\n", code(&console, &app, 0).await))
        .await;
    other.until("return location.pathname === '/clusters'").await;

    page.goto(&format!("{address}/security")).await;
    page.click("form[action$='/security/sessions/removal'] button").await;
    page.until("return document.querySelectorAll('form[action^=\"/security/sessions/\"]').length === 0")
        .await;
    other.goto(&format!("{address}/clusters")).await;
    other.has("#door .notice-warn").await;
    other.close().await;
    page.click(".top-end details.menu > summary").await;
    page.click("form.sign-out button").await;
    page.has("#door input[name=password]").await;
    page.close().await;
}
