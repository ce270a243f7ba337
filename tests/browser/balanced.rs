//! Two servers behind one address, as a browser meets them.

use std::collections::HashSet;

use tempfile::TempDir;

use crate::chrome::{Browser, Look};
use crate::nginx::Nginx;
use crate::serve;
use crate::support::{PASSWORD, TestConsole};

/// All pages that a link in the frame leads to.
const PAGES: [&str; 11] = [
    "/home",
    "/users",
    "/clusters",
    "/workspaces",
    "/assets",
    "/groups",
    "/settings",
    "/log",
    "/audit",
    "/security",
    "/profile",
];

/// The name that the frame says, and the one that the page marks as this server; empty where it marks none.
const HERE: &str = "return document.querySelector('.switcher .chip .cut').textContent.trim()";
const MARKED: &str = "return document.querySelector('.is-own .c-name .cut')?.textContent.trim() ?? ''";

async fn behind_nginx(first: &TestConsole, cluster_id: &str) -> (TestConsole, u16) {
    let env = [("JPOM_CLUSTER_ID", cluster_id), ("SERVER_TRUSTED_PROXIES", "127.0.0.1")];
    let mut server = TestConsole::silent(&first.database, None, &env).await;
    server.heart.tick().await.unwrap();
    let (address, _) = serve(&server).await;
    let port = address.rsplit(':').next().unwrap().parse().unwrap();
    (server, port)
}

/// Follows a link of the page; the next page is there when this returns.
async fn follow(page: &Browser, path: &str) {
    page.has(&format!("a[href=\"{path}\"]")).await;
    page.run(&format!(
        "window.left = true; document.querySelector('a[href=\"{path}\"]').click()"
    ))
    .await;
    page.until(&format!(
        "return !window.left && document.readyState === 'complete' && location.pathname === '{path}' \
         && !!document.querySelector('.switcher .chip .cut')"
    ))
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_clicks_behind_one_address_without_a_sign_out_a_lost_form_or_a_wrong_mark() {
    let first = TestConsole::start().await;
    let mut servers = [behind_nginx(&first, "ONE").await, behind_nginx(&first, "TWO").await];
    let files = TempDir::new().unwrap();
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let _nginx = Nginx::balance(files.path(), port, [servers[0].1, servers[1].1]);
    let site = format!("http://127.0.0.1:{port}");
    let page = Browser::start(Look::Desktop).await;
    page.goto(&format!("{site}/sign-in")).await;
    page.type_into("main input[name=name]", "root").await;
    page.type_into("main input[name=password]", &format!("{PASSWORD}\n"))
        .await;
    page.until("return location.pathname === '/home'").await;
    let mut seen = HashSet::new();
    for click in 0..200 {
        let path = PAGES[click % PAGES.len()];
        follow(&page, path).await;
        let here = page.run(HERE).await;
        if path == "/clusters" {
            assert_eq!(page.run(MARKED).await, here, "this server is the one that answered");
        }
        seen.insert(here.as_str().unwrap().to_owned());
        if click % (2 * PAGES.len()) == 0 {
            for (server, _) in &mut servers {
                server.heart.tick().await.unwrap();
            }
            fill_in(&page, &site, &first, click).await;
        }
    }
    assert_eq!(seen.len(), 2, "both servers answered: {seen:?}");
    // A list that stays open is renewed by whichever server is next; the mark stays with the page's own.
    follow(&page, "/clusters").await;
    let here = page.run(HERE).await;
    for version in ["7.1", "7.2", "7.3"] {
        first.sql(&format!("update cluster set version = '{version}'")).await;
        page.until(&format!(
            "return document.querySelector('.is-own .c-version').textContent.includes('{version}')"
        ))
        .await;
        assert_eq!(page.run(MARKED).await, here, "after a renewal");
    }
    page.close().await;
}

/// A form that one server shows is sent to the next.
async fn fill_in(page: &Browser, site: &str, first: &TestConsole, click: usize) {
    page.goto(&format!("{site}/workspaces/new")).await;
    page.type_into("#workspace-form input[name=name]", &format!("work {click}"))
        .await;
    page.run(&format!(
        "document.querySelector('#f-install_id').value = '{}'",
        first.id()
    ))
    .await;
    page.click("#workspace-form .btn-primary").await;
    page.until("return location.pathname.length > 30").await;
    let made = format!("select count(*) from workspace where name = 'work {click}'");
    assert_eq!(first.count(&made).await, 1, "the form arrived");
}
