//! From cluster to cluster, in Chinese and in English, with two hosts that share no cookie.

use crate::chrome::{Browser, Look};
use crate::sign_in::speak;
use crate::support::TestConsole;
use crate::{clean, serve};

/// What the page says in a language.
struct Words {
    lang: &'static str,
    no_address: &'static str,
    saved: &'static str,
    arrived: &'static str,
}

const CHINESE: Words = Words {
    lang: "zh-CN",
    no_address: "未配置地址",
    saved: "已保存。",
    arrived: "切换过来并登录",
};
const ENGLISH: Words = Words {
    lang: "en",
    no_address: "No address set",
    saved: "Saved.",
    arrived: "You came from the cluster",
};

#[tokio::test(flavor = "multi_thread")]
async fn a_workspace_is_bound_an_address_set_and_one_jumps_there_and_back_signed_in() {
    for words in [CHINESE, ENGLISH] {
        walk(&words).await;
    }
}

async fn walk(words: &Words) {
    let a = TestConsole::start().await;
    let b = TestConsole::beside(&a).await;
    let ((home, _a_site), (there, _b_site)) = (serve(&a).await, serve(&b).await);
    let there = there.replace("127.0.0.1", "localhost");
    let page = Browser::start(Look::Desktop).await;
    page.arrive_as(&home, &a.visitor).await;
    speak(&page, &home, words.lang).await;

    page.goto(&format!("{home}/workspaces/DEFAULT/edit")).await;
    page.run(&format!("document.querySelector('#f-install_id').value = '{}'", b.id()))
        .await;
    page.click("#workspace-form .btn-primary").await;
    page.has("#workspace .band-jump").await;
    clean(&page, "light", "a workspace of another cluster").await;
    // By keyboard: the only entry that leads anywhere is not there yet.
    page.click("#switch-open").await;
    page.until(&format!(
        "return document.querySelector('#switch-sheet button[value=\"{}\"][disabled]')?.textContent.includes('{}')",
        b.id(),
        words.no_address
    ))
    .await;
    clean(&page, "dark", "the menu").await;
    set_addresses(&page, words, (&home, &there), (&a, &b)).await;
    jump_there_and_back(&page, words, (&home, &there), (&a, &b)).await;
    page.close().await;
}

async fn set_addresses(
    page: &Browser,
    words: &Words,
    (home, there): (&str, &str),
    (a, b): (&TestConsole, &TestConsole),
) {
    for (cluster, address) in [(b, there), (a, home)] {
        page.goto(&format!("{home}/clusters/{}/edit", cluster.id())).await;
        page.run("document.querySelector('input[name=address]').value = ''")
            .await;
        page.type_into("input[name=address]", &format!("{address}\n")).await;
        page.until(&format!(
            "return document.querySelector('#flash')?.textContent === '{}'",
            words.saved
        ))
        .await;
    }
    let checked = "select count(*) from address_check where outcome = 'ok'";
    while a.count(checked).await < 2 {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

async fn jump_there_and_back(
    page: &Browser,
    words: &Words,
    (home, there): (&str, &str),
    (a, b): (&TestConsole, &TestConsole),
) {
    page.goto(&format!("{home}/clusters?size=50")).await;
    page.click("#switch-open").await;
    page.until("return document.activeElement?.getAttribute('role') === 'menuitem'")
        .await;
    page.run("document.activeElement.click()").await;
    page.until(&format!("return location.href === '{there}/clusters?size=50'"))
        .await;
    page.until(&format!(
        "return document.querySelector('#flash')?.textContent.includes('{}')",
        words.arrived
    ))
    .await;
    page.until(&format!(
        "return document.querySelector('.is-own').id === 'cluster-{}'",
        b.id()
    ))
    .await;
    // And back, from the workspace's own page.
    page.goto(&format!("{there}/home")).await;
    page.has("#home .map").await;
    clean(page, "light", "the home page").await;
    page.click("#switch-open").await;
    page.has(&format!("#switch-sheet button[value=\"{}\"]:not([disabled])", a.id()))
        .await;
    page.run(&format!(
        "document.querySelector('#switch-sheet button[value=\"{}\"]').click()",
        a.id()
    ))
    .await;
    page.until(&format!("return location.href === '{home}/home'")).await;
}
