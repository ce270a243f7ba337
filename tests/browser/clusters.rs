//! The walk of a cluster's life, in Chinese.

use crate::chrome::{Browser, Look};
use crate::sign_in::speak;
use crate::support::TestConsole;
use crate::{clean, serve};

#[tokio::test(flavor = "multi_thread")]
async fn a_group_is_bound_an_address_set_and_a_cluster_stopped_unbound_and_deleted() {
    let a = TestConsole::start().await;
    let mut b = TestConsole::beside(&a).await;
    let (address, _site) = serve(&a).await;
    let page = Browser::start(Look::Desktop).await;
    page.arrive_as(&address, &a.visitor).await;
    speak(&page, &address, "zh-CN").await;

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
