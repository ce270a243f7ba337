//! Assets as people meet them: added, green, red with the reason, moved, and watched by another cluster.

use std::time::Duration;

use muster::assets::monitor::Monitor;
use muster::seal::Key;
use tokio::task::JoinHandle;

use crate::agents::{NodeExporter, Podman};
use crate::chrome::{Browser, Look};
use crate::peers::{self, Sshd, me};
use crate::support::TestConsole;
use crate::{clean, serve};

/// The loop of a server, as it runs by itself.
fn watch(console: &TestConsole) -> JoinHandle<()> {
    let app = console.app.clone();
    tokio::spawn(async move {
        let monitor = Monitor::default();
        let mut beat = tokio::time::interval(Duration::from_millis(100));
        loop {
            beat.tick().await;
            monitor.tick(&app).await.unwrap();
        }
    })
}

/// Fills the form of a kind and sends it.
async fn add(page: &Browser, address: &str, kind: &str, fields: &[(&str, &str)]) {
    page.goto(&format!("{address}/assets/new?kind={kind}")).await;
    // All of the form is there.
    page.has("#asset-form .btn-primary").await;
    // Quick and indulgent: whoever runs the tests may have a full disk.
    for field in ["cpu_limit", "memory_limit", "disk_limit", "retries"] {
        page.run(&format!(
            "const f = document.querySelector('[name={field}]'); if (f) f.value = 0"
        ))
        .await;
    }
    page.run(
        "document.querySelector('[name=interval_s]').value = 5; document.querySelector('[name=timeout_s]').value = 4",
    )
    .await;
    for (field, value) in fields {
        let value = serde_json::to_string(value).unwrap();
        page.run(&format!("document.querySelector('[name={field}]').value = {value}"))
            .await;
    }
    page.run("document.querySelector('#asset-form .btn-primary').click()")
        .await;
    page.has("#asset").await;
}

/// The word of the state of an asset's row, and what stands below it.
fn row(name: &str) -> String {
    format!("[...document.querySelectorAll('tbody tr')].find(row => row.textContent.includes('{name}'))")
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_each_kind_turns_green_and_red_ten_are_moved_and_a_standby_takes_over() {
    let a = TestConsole::start().await;
    let b = TestConsole::beside(&a).await;
    // Two servers need the key before the first secret is kept.
    a.app.seal.add(&Key::random().unwrap()).unwrap();
    std::fs::copy(a.app.seal.path(), b.app.seal.path()).unwrap();
    for app in [&a.app, &b.app] {
        muster::tasks::keys(app).await.unwrap();
    }
    let (address, _site) = serve(&a).await;
    let (of_a, _of_b) = (watch(&a), watch(&b));
    let exporter = NodeExporter::start(&[]).await;
    let (podman, sshd, key) = (
        Podman::on_port().await,
        Sshd::start(&["ed25519"]),
        peers::Key::new("ed25519", "RFC4716", ""),
    );
    sshd.authorize(&key, "");
    let page = Browser::start(Look::Desktop).await;
    page.arrive_as(&address, &a.visitor).await;

    let (machine, port) = (format!("http://127.0.0.1:{}", exporter.port), sshd.port.to_string());
    add(&page, &address, "machine", &[("name", "web"), ("address", &machine)]).await;
    let user = me();
    let fields = [
        ("name", "gate"),
        ("host", "127.0.0.1"),
        ("port", &port),
        ("login", "key"),
        ("user", &user),
        ("private_key", &key.text),
    ];
    add(&page, &address, "ssh", &fields).await;
    add(
        &page,
        &address,
        "docker",
        &[("name", "engine"), ("address", &podman.address())],
    )
    .await;
    page.goto(&format!("{address}/assets")).await;
    page.until("return document.querySelectorAll('tbody .state-green').length === 3")
        .await;
    clean(&page, "light", "the list of assets").await;
    clean(&page, "dark", "the list of assets").await;

    drop(exporter);
    page.until(&format!(
        "const row = {}; return row.querySelector('.state-red') && row.textContent.includes('Connection refused')",
        row("web")
    ))
    .await;
    look_around(&page, &address).await;
    change_the_kind(&page, &address).await;
    move_ten(&page, &address, (&a, &b)).await;
    take_over(&page, &address, (&a, &b), of_a).await;
    page.close().await;
}

/// What was typed stays, Enter saves, and a mistake at the bar of the list leaves what was ticked.
async fn change_the_kind(page: &Browser, address: &str) {
    page.goto(&format!("{address}/assets/new?kind=machine")).await;
    page.type_into("[name=name]", "typed").await;
    page.type_into("[name=address]", "http://10.0.0.7:9100").await;
    page.click("[name=other][value=ssh]").await;
    page.has("[name=host]").await;
    page.address_contains("kind=ssh").await;
    page.until("return document.querySelector('[name=host]').value === '10.0.0.7' && document.querySelector('[name=name]').value === 'typed'")
        .await;
    page.run("document.querySelector('[name=login]').value = 'banner'")
        .await;
    page.type_into("[name=name]", "\u{e007}").await;
    page.has("#asset").await;
    page.goto(&format!("{address}/assets")).await;
    page.click("tbody [name=asset]").await;
    page.click("[formaction$='/assets/moves']").await;
    page.until("return document.querySelector('.bulk [role=alert]')?.textContent === 'Choose a group' && document.querySelectorAll('tbody :checked').length === 1")
        .await;
    clean(page, "light", "the list with a mistake").await;
    clean(page, "dark", "the list with a mistake").await;
}

/// Every page of assets is fit for everybody, in both themes.
async fn look_around(page: &Browser, address: &str) {
    for path in [
        "/assets/1",
        "/assets/2/edit",
        "/assets/new?kind=docker",
        "/groups/1",
        "/credentials",
        "/credentials/new",
        "/notices",
        "/notices/new",
    ] {
        page.goto(&format!("{address}{path}")).await;
        for theme in ["light", "dark"] {
            clean(page, theme, path).await;
        }
    }
}

async fn move_ten(page: &Browser, address: &str, (a, b): (&TestConsole, &TestConsole)) {
    a.sql("insert into asset_group (name, name_key) values ('north', 'north')")
        .await;
    let group = a.count("select group_id from asset_group where name = 'north'").await;
    a.sql(&format!(
        "insert into cluster_group (group_id, install_id) values ({group}, '{}')",
        b.id()
    ))
    .await;
    let rows: Vec<String> = (0..10)
        .map(|n| {
            format!(
                "('machine', 'ten {n}', 'ten {n}', 'http://127.0.0.1:1', 1, '{{\"address\":\"http://127.0.0.1:1\"}}')"
            )
        })
        .collect();
    a.sql(&format!(
        "insert into asset (kind, name, name_key, address, group_id, settings) values {}",
        rows.join(", ")
    ))
    .await;
    a.sql("insert into asset_watch (asset_id, group_id, due_at) select asset_id, 1, '2020-01-01' from asset where name like 'ten%'")
        .await;
    page.goto(&format!("{address}/assets?name=ten")).await;
    page.run("document.querySelector('[data-all=asset]').click()").await;
    page.until("return document.querySelectorAll('tbody [name=asset]:checked').length === 10")
        .await;
    page.run(&format!("document.querySelector('select[name=to]').value = '{group}'"))
        .await;
    page.run("document.querySelector('[formaction$=\"/assets/moves\"]').click()")
        .await;
    page.until("return document.querySelector('#flash')?.textContent === 'Assets moved: 10.'")
        .await;
    page.until(&format!(
        "return [...document.querySelectorAll('tbody .tag-primary')].filter(tag => tag.textContent.includes('{}')).length === 10",
        b.app.name()
    ))
    .await;
}

async fn take_over(page: &Browser, address: &str, (a, b): (&TestConsole, &TestConsole), of_a: JoinHandle<()>) {
    a.post("/groups/1/clusters", &[("install_id", b.id())]).await;
    of_a.abort();
    a.set("stopped_at = utc_timestamp(6)").await;
    a.sql("update asset_watch set checked_by = ''").await;
    let by_b = format!(
        "select count(*) from asset_watch w join asset a using (asset_id) where a.name = 'gate' and w.checked_by = '{}'",
        b.id()
    );
    while a.count(&by_b).await == 0 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    page.goto(&format!("{address}/assets?name=gate")).await;
    page.until(&format!(
        "const tag = document.querySelector('tbody .tag-standby'); return tag?.textContent.includes('{}') && \
         document.querySelector('tbody .state-green') !== null",
        b.app.name()
    ))
    .await;
}
