//! The walk of a cluster's life, in Chinese.

use muster::config::DEFAULT_FILE;

use crate::chrome::{Browser, Look};
use crate::sign_in::speak;
use crate::support::TestConsole;
use crate::{clean, serve};

#[tokio::test(flavor = "multi_thread")]
async fn two_servers_appear_an_id_is_changed_a_group_bound_an_address_set_and_a_cluster_deleted() {
    let mut a = TestConsole::start().await;
    std::fs::write(a.data.path().join("application.yml"), DEFAULT_FILE).unwrap();
    let (address, _site) = serve(&a).await;
    let page = Browser::start(Look::Desktop).await;
    page.arrive_as(&address, &a.visitor).await;
    speak(&page, &address, "zh-CN").await;

    // The second server appears by itself, with the same cluster id.
    page.goto(&format!("{address}/clusters")).await;
    let mut b = TestConsole::beside_silent(&a).await;
    b.heart.tick().await.unwrap();
    page.until("return document.querySelectorAll('#cluster-list tbody tr').length === 2")
        .await;
    change_the_id(&page, &mut a, &address).await;

    page.goto(&format!("{address}/groups")).await;
    page.type_into("input[name=name]", "web\n").await;
    page.until("return document.querySelector('#flash')?.textContent === '已新增。'")
        .await;
    page.goto(&format!("{address}/clusters")).await;
    page.until("return document.querySelectorAll('#cluster-list tbody tr').length === 2")
        .await;
    // On the spot: the form opens beside the group.
    page.click("#group-panel .unbound .btn").await;
    page.has("#group-panel .bind select").await;
    clean(&page, "light", "binding").await;
    page.run(&format!("document.querySelector('.bind select').value = '{}'", b.id()))
        .await;
    page.click("#group-panel .bind .btn-primary").await;
    page.until("return document.querySelectorAll('#group-panel .tag-primary').length === 2")
        .await;

    page.goto(&format!("{address}/clusters/{}/edit", b.id())).await;
    clean(&page, "dark", "editing").await;
    page.type_into("input[name=address]", "ftp://10.0.0.2\n").await;
    page.until(
        "return document.activeElement.name === 'address' && document.body.textContent.includes('必须以 http://')",
    )
    .await;
    page.run("document.querySelector('input[name=address]').value = ''")
        .await;
    page.type_into("input[name=address]", &format!("{address}/\n")).await;
    page.until(&format!(
        "return document.querySelector('#flash')?.textContent === '已保存。' && \
         document.querySelector('#cluster-facts a[href=\"{address}\"]') !== null"
    ))
    .await;

    let removal = format!("{address}/clusters/{}/removal", b.id());
    page.goto(&removal).await;
    page.until("return document.body.textContent.includes('不能删除在线的集群')")
        .await;
    b.heart.last_word().await;
    page.goto(&removal).await;
    page.until("return document.body.textContent.includes('这些分组只绑定了当前集群')")
        .await;
    clean(&page, "light", "deleting").await;
    page.click(".hand-over button").await;
    page.has("#f-name").await;
    page.type_into("#f-name", &format!("{}\n", b.app.name())).await;
    page.until(
        "return location.pathname === '/clusters' && document.querySelectorAll('#cluster-list tbody tr').length === 1",
    )
    .await;
    assert_eq!(a.count("select count(*) from cluster_group").await, 2);
    page.close().await;
}

/// From the banner about the conflict to the settings, and back to a page without it.
async fn change_the_id(page: &Browser, a: &mut TestConsole, address: &str) {
    let own = format!("{address}/clusters/{}", a.id());
    page.goto(&own).await;
    page.until("return document.querySelector('.notice-bad')?.textContent.includes('集群ID冲突：DEFAULT')")
        .await;
    clean(page, "light", "a conflict").await;
    page.click(".notice-bad a[href='/settings']").await;
    page.has("#settings-text").await;
    clean(page, "light", "the settings").await;
    page.run("document.querySelector('#f-cluster_id').value = ''").await;
    page.type_into("#f-cluster_id", "a b\n").await;
    page.until(
        "return document.activeElement.name === 'cluster_id' && document.querySelector('#m-cluster_id') !== null",
    )
    .await;
    page.run("document.querySelector('#f-cluster_id').value = ''").await;
    page.type_into("#f-cluster_id", "east1\n").await;
    page.until("return [...document.querySelectorAll('.diff-new td:last-child')].some(line => line.textContent.trim() === 'id: EAST1')")
        .await;
    clean(page, "dark", "what would change").await;
    page.click("#settings .btn-primary").await;
    page.until("return document.querySelector('#flash')?.textContent === '已保存。' && document.querySelector('#f-cluster_id').value === 'EAST1'")
        .await;
    // What the heart does at once in a server that runs.
    a.heart.tick().await.unwrap();
    page.goto(&own).await;
    page.until("return document.querySelector('#cluster-facts').textContent.includes('EAST1') && document.querySelector('.notice-bad') === null")
        .await;

    // The log, as it is written.
    page.goto(&format!("{address}/log")).await;
    page.until("return document.querySelector('#log-state').textContent === '实时更新中。'")
        .await;
    a.app
        .log
        .write("7a175577/5c1e ERROR DEFAULT 集群ID冲突：7a175577b0d042c79c1a56b70de4996c 默认集群");
    page.until("return document.querySelectorAll('.log-line').length === 1")
        .await;
    clean(page, "light", "the log").await;
    page.click("#log-pause").await;
    a.app.log.write("7a175577/5c1e  INFO while paused");
    page.until("return document.querySelector('#log-state').textContent.startsWith('已暂停')")
        .await;
    assert_eq!(
        page.run("return document.querySelectorAll('.log-line').length").await,
        1
    );
    page.click("#log-pause").await;
    page.until("return [...document.querySelectorAll('.log-said')].map(said => said.textContent).join('|') === 'DEFAULT 集群ID冲突：7a175577b0d042c79c1a56b70de4996c 默认集群|while paused'")
        .await;
}
