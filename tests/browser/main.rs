//! Journeys through a real Chromium, as people make them.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop there")]

#[expect(dead_code, reason = "the console tests use the rest")]
#[path = "../console/agents.rs"]
mod agents;
mod assets;
mod balanced;
mod chrome;
mod clusters;
mod jumps;
#[expect(dead_code, reason = "the console tests use the rest")]
#[path = "../console/nginx.rs"]
mod nginx;
#[expect(dead_code, reason = "the console tests use the rest")]
#[path = "../console/peers.rs"]
mod peers;
#[expect(dead_code, reason = "the console tests use the rest")]
#[path = "../console/page.rs"]
mod page;
mod pages;
#[expect(dead_code, reason = "the console tests use the rest")]
#[path = "../console/scan.rs"]
mod scan;
mod sign_in;
#[expect(dead_code, reason = "the console tests use the rest")]
#[path = "../console/support.rs"]
mod support;

use std::sync::Arc;
use std::time::Duration;

use chrome::{Browser, Look};
use mysql_async::prelude::Queryable;
use poem::Server;
use poem::listener::TcpAcceptor;
use support::TestConsole;
use tokio::sync::Notify;

/// A server that a browser can reach, where, and what makes it vanish.
async fn reachable() -> (TestConsole, String, Arc<Notify>) {
    let console = TestConsole::start().await;
    let (address, gone) = serve(&console).await;
    (console, address, gone)
}

pub(crate) async fn serve(console: &TestConsole) -> (String, Arc<Notify>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let site = console.site();
    let server = Server::new_with_acceptor(TcpAcceptor::from_tokio(listener).unwrap());
    let gone = Arc::new(Notify::new());
    let told = gone.clone();
    tokio::spawn(async move {
        let gone = async move { told.notified().await };
        server
            .run_with_graceful_shutdown(site, gone, Some(Duration::ZERO))
            .await
            .unwrap();
    });
    (address, gone)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_state_is_seen_without_reloading_and_leaves_focus_menus_and_scroll_alone() {
    let (a, address, gone) = reachable().await;
    a.add_rows(40).await;
    let page = Browser::start(Look::Desktop).await;
    page.arrive_as(&address, &a.visitor).await;
    page.goto(&format!("{address}/clusters?size=100")).await;
    let badge = format!("#cluster-{} .state", a.id());
    page.until(&format!(
        "return document.querySelector('{badge}').textContent.trim() === 'Online'"
    ))
    .await;
    page.run(
        "window.sameDocument = true; document.querySelector('details.help').open = true; \
         document.querySelector('#cluster-list tbody tr:nth-child(3) .copy').focus(); \
         document.querySelector('.table-scroll').scrollLeft = 40; window.scrollTo(0, 500);",
    )
    .await;
    a.age(60.0).await;
    page.until(&format!(
        "return document.querySelector('{badge}').textContent.trim() === 'Late'"
    ))
    .await;
    page.until("return window.sameDocument && document.querySelector('details.help').open")
        .await;
    page.until(
        "return document.activeElement === document.querySelector('#cluster-list tbody tr:nth-child(3) .copy') \
         && document.querySelector('.table-scroll').scrollLeft === 40 && window.scrollY === 500",
    )
    .await;
    // A server that is gone is told of on the page.
    page.until("return document.getElementById('away').hidden").await;
    gone.notify_one();
    page.until("const away = document.getElementById('away'); return !away.hidden && away.textContent.length > 10")
        .await;
    page.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_is_typed_and_survives_the_next_refresh_and_language_and_theme_are_kept() {
    let (a, address, _site) = reachable().await;
    a.add_rows(30).await;
    let page = Browser::start(Look::Desktop).await;
    page.arrive_as(&address, &a.visitor).await;
    page.goto(&format!("{address}/clusters")).await;
    page.type_into("input[name=name]", "name 002").await;
    page.until("return document.querySelectorAll('#cluster-list tbody tr').length === 10")
        .await;
    page.until("return location.search.includes('name=name')").await;
    a.conn()
        .await
        .query_drop("update cluster set version = '7.7' where name = 'name 0021'")
        .await
        .unwrap();
    page.until("return document.querySelector('#cluster-list').textContent.includes('7.7')")
        .await;
    page.until("return document.querySelectorAll('#cluster-list tbody tr').length === 10")
        .await;
    page.until("return document.querySelector('input[name=name]').value === 'name 002'")
        .await;
    language_and_theme(&a, &page, &address).await;
    page.close().await;
}

async fn language_and_theme(a: &TestConsole, page: &Browser, address: &str) {
    // Over plain HTTP from another machine browsers say less about themselves than on loopback.
    let address = address.replace("127.0.0.1", "muster.test");
    page.arrive_as(&address, &a.visitor).await;
    page.goto(&format!("{address}/clusters?name=x")).await;
    page.click(".top-end details.menu > summary").await;
    page.click("button[name=lang][value='zh-CN']").await;
    page.until("return document.documentElement.lang === 'zh-CN' && location.search === '?name=x'")
        .await;
    page.click(".top-end details.menu > summary").await;
    page.click("button[name=theme][value=dark]").await;
    page.until("return document.documentElement.getAttribute('data-bs-theme') === 'dark'")
        .await;
    page.goto(&format!("{address}/clusters")).await;
    page.until("return document.documentElement.lang === 'zh-CN' && document.title.includes('集群管理')")
        .await;
    page.until("return document.documentElement.getAttribute('data-bs-theme') === 'dark'")
        .await;
}

pub(crate) async fn clean(page: &Browser, theme: &str, what: &str) {
    page.run(&format!(
        "document.documentElement.setAttribute('data-bs-theme', '{theme}')"
    ))
    .await;
    let found = page.axe().await;
    assert!(found.is_empty(), "{what} in {theme}: {found}");
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_works_without_javascript() {
    let (a, address, _site) = reachable().await;
    a.add_rows(30).await;
    std::fs::write(a.data.path().join("application.yml"), "# settings\n").unwrap();
    let page = Browser::start(Look::NoScript).await;
    page.arrive_as(&address, &a.visitor).await;
    page.goto(&format!("{address}/clusters")).await;
    page.type_into("input[name=name]", "name 001\n").await;
    page.address_contains("name=name").await;
    page.has("#cluster-list tbody tr:nth-child(10):last-child").await;
    page.click("#cluster-list tbody tr a").await;
    page.address_contains("/clusters/000").await;
    page.click(".top-end details.menu > summary").await;
    page.click("button[name=lang][value='zh-CN']").await;
    page.has("html[lang='zh-CN'] #cluster-facts").await;
    // People: one is added and may not get in any more.
    page.goto(&format!("{address}/users/new")).await;
    page.type_into("input[name=name]", "ann\n").await;
    page.has(".shown-once code").await;
    page.goto(&format!("{address}/users?text=ann")).await;
    page.click("tbody a").await;
    page.click("details:has(form[action$='/disabling']) > summary").await;
    page.click("form[action$='/disabling'] button").await;
    page.has("#flash.notice-good").await;
    page.has("form[action$='/enabling']").await;
    // The settings: looked at, then saved.
    page.goto(&format!("{address}/settings")).await;
    page.type_into("#f-heart_second", "5\n").await;
    page.has("#settings .diff-new").await;
    page.click("#settings .btn-primary").await;
    page.has("#flash.notice-good").await;
    assert_eq!(a.app.heart_seconds(), 530, "a five typed before the thirty");
    page.close().await;
}
