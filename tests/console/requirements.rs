//! What the document people come from promises, in its own words; `docs/requirements.md` says where the rest is shown.

use std::time::{Duration, Instant};

use muster::clusters::address::Reach;
use muster::clusters::check;
use muster::clusters::check::probe::{Outcome, judge};
use muster::routes;
use poem::http::{Method, StatusCode};
use tokio::net::TcpListener;

use crate::support::{Page, TestConsole};

/// A page as a Chinese browser asks for it.
async fn zh(console: &TestConsole, path: &str) -> Page {
    let request = console.client.get(path).header("Accept-Language", "zh-CN");
    Page::of(request.header("Cookie", console.visitor.cookie()).send().await).await
}

#[tokio::test]
async fn a_cluster_is_made_by_installing_a_server_and_in_no_other_way() {
    let a = TestConsole::start().await;
    assert_eq!(a.get("/clusters").await.count("tbody tr"), 1);
    let _b = TestConsole::beside(&a).await;
    assert_eq!(
        a.get("/clusters").await.count("tbody tr"),
        2,
        "no more than a start is needed"
    );
    let adds = |address: &muster::people::access::Address| {
        address.path == "/clusters/new" || (address.path == "/clusters" && address.method == Method::POST)
    };
    assert!(!routes::table().iter().any(adds));
    assert_eq!(a.get("/clusters").await.count("a[href='/clusters/new']"), 0);
}

#[tokio::test]
async fn the_new_cluster_is_seen_under_the_menus_people_know() {
    let a = TestConsole::start().await;
    let page = zh(&a, "/clusters").await;
    let menu = page.text(".side");
    for word in ["系统管理", "服务端配置", "工作空间&集群", "系统配置", "系统日志"] {
        assert!(menu.contains(word), "{word} is not in {menu}");
    }
    assert_eq!(page.text(".tabs [aria-current]"), "集群管理");
    assert_eq!(zh(&a, "/settings").await.text(".tabs [aria-current]"), "服务端系统配置");
    for column in [
        "安装ID",
        "集群ID",
        "名称",
        "集群地址",
        "集群主机名",
        "版本号",
        "最后心跳时间",
        "修改人",
        "创建时间",
        "修改时间",
        "操作",
    ] {
        assert!(
            page.text("thead").contains(column),
            "{column} is not in {}",
            page.text("thead")
        );
    }
    for filter in ["集群名称", "集群地址", "主机名"] {
        assert_eq!(
            page.count(&format!(".filter input[placeholder='{filter}']")),
            1,
            "{filter}"
        );
    }
}

#[tokio::test]
async fn an_address_that_is_not_set_says_so_and_one_that_is_can_be_clicked() {
    let a = TestConsole::start().await;
    assert_eq!(zh(&a, "/clusters").await.text("tbody .c-address"), "未配置地址");
    a.set("address = 'https://ops.example/muster'").await;
    assert_eq!(
        zh(&a, "/clusters")
            .await
            .count("tbody .c-address a[href='https://ops.example/muster']"),
        1
    );
}

#[tokio::test]
async fn the_form_has_the_fields_and_notes_people_know() {
    let a = TestConsole::start().await;
    let page = zh(&a, &format!("/clusters/{}/edit", a.id())).await;
    for text in [
        "编辑集群",
        "名称",
        "关联分组",
        "关联分组主要用于资产监控来实现不同服务端执行不同分组下面的资产监控",
        "注意：同一个分组不建议被多个集群绑定",
        "集群地址主要用于切换工作空间自动跳转到对应的集群",
        "取消",
    ] {
        page.shows(text);
    }
    assert!(page.text(".hint-red").starts_with("注意"));
    assert_eq!(
        page.count("input[name=name][required]") + page.count("input[name=address]:not([required])"),
        2
    );
}

#[tokio::test]
async fn deleting_is_refused_in_the_words_people_know() {
    let a = TestConsole::start().await;
    let path = format!("/clusters/{}/removal", a.id());
    zh(&a, &path).await.shows("不能删除在线的集群");
    a.set("stopped_at = utc_timestamp(6)").await;
    let page = zh(&a, &path).await;
    assert!(!page.text("body").contains("不能删除在线的集群"));
    page.shows("当前集群还被工作空间绑定不能删除");
}

#[tokio::test]
async fn a_cluster_beats_and_is_online_without_any_address() {
    let mut a = TestConsole::start().await;
    assert_eq!(
        a.count("select count(*) from cluster where address = '' and interval_s = 30")
            .await,
        1
    );
    let seq = a.count("select beat_seq from cluster").await;
    a.heart.tick().await.unwrap();
    assert_eq!(a.count("select beat_seq from cluster").await, seq + 1);
    assert_eq!(a.state_of(a.id()).await, "Online");
}

#[tokio::test]
async fn an_address_that_swallows_every_request_delays_no_beat() {
    let mut a = TestConsole::start().await;
    let hole = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", hole.local_addr().unwrap());
    a.set(&format!("address = '{address}'")).await;
    let app = a.app.clone();
    let checking = tokio::spawn(async move { check::tick(&app).await });
    let began = Instant::now();
    while !checking.is_finished() {
        a.heart.tick().await.unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(began.elapsed() > Duration::from_secs(4), "the check did wait");
    checking.await.unwrap().unwrap();
    assert_eq!(a.state_of(a.id()).await, "Online Cannot be reached");
    assert!(a.count("select beat_seq from cluster").await > 20);
}

#[tokio::test]
async fn who_answers_is_known_by_the_install_id_and_not_by_how_an_address_begins() {
    let (a, b) = (TestConsole::start().await, TestConsole::start().await);
    let serve = |console: &TestConsole, listener: TcpListener| {
        let site = console.site();
        let acceptor = poem::listener::TcpAcceptor::from_tokio(listener).unwrap();
        tokio::spawn(poem::Server::new_with_acceptor(acceptor).run(site));
    };
    // The second address begins as the first does, as …:2122 and …:21220 do.
    let (mut first, mut second) = (None, None);
    for port in 2000..6500_u16 {
        let bound = std::net::TcpListener::bind(("127.0.0.1", port));
        let longer = std::net::TcpListener::bind(("127.0.0.1", port * 10 + 1));
        if let (Ok(bound), Ok(longer)) = (bound, longer) {
            (first, second) = (Some((port, bound)), Some((port * 10 + 1, longer)));
            break;
        }
    }
    let ((port, first), (longer, second)) = (first.unwrap(), second.unwrap());
    for listener in [&first, &second] {
        listener.set_nonblocking(true).unwrap();
    }
    serve(&a, TcpListener::from_std(first).unwrap());
    serve(&b, TcpListener::from_std(second).unwrap());
    let (short, long) = (format!("http://127.0.0.1:{port}"), format!("http://127.0.0.1:{longer}"));
    assert!(long.starts_with(&short));
    assert_eq!(judge(&short, a.id(), Reach::All).await.outcome, Outcome::Fine);
    assert_eq!(judge(&long, b.id(), Reach::All).await.outcome, Outcome::Fine);
    let swapped = judge(&long, a.id(), Reach::All).await;
    assert_eq!(
        (swapped.outcome, swapped.answered_id.as_str()),
        (Outcome::Other, b.id())
    );
}

#[tokio::test]
async fn a_name_with_a_comma_and_hundreds_of_groups_stay_bound_through_a_renaming() {
    let a = TestConsole::start().await;
    for number in 0..120 {
        a.post("/groups", &[("name", &format!("a, b; c {number}"))]).await;
    }
    let groups = "select count(*) from cluster_group";
    assert_eq!(a.count(groups).await, 121);
    let id = a
        .count("select group_id from asset_group where name = 'a, b; c 7'")
        .await;
    let version = a.get(&format!("/groups/{id}")).await.value("input[name=row_version]");
    let fields = [("name", "renamed, too"), ("row_version", &version)];
    assert_eq!(
        a.post(&format!("/groups/{id}"), &fields).await.status,
        StatusCode::SEE_OTHER
    );
    assert_eq!(a.count(groups).await, 121);
    a.get(&format!("/groups/{id}")).await.shows(&a.app.name());
}

#[tokio::test]
async fn the_panel_tells_of_a_change_at_once_and_no_text_is_left_from_another_page() {
    let a = TestConsole::start().await;
    a.post("/groups", &[("name", "web")]).await;
    let id = a.count("select group_id from asset_group where name = 'web'").await;
    a.post(&format!("/groups/{id}/clusters/{}/removal", a.id()), &[]).await;
    let panel = zh(&a, "/groups/panel").await;
    panel.shows("未绑定集群的分组： web");
    a.post(&format!("/groups/{id}/clusters"), &[("install_id", a.id())])
        .await;
    assert!(!zh(&a, "/groups/panel").await.text("body").contains("未绑定集群的分组"));
    let edit = zh(&a, &format!("/clusters/{}/edit", a.id())).await;
    assert_eq!(edit.count("[placeholder*=工作空间]"), 0);
    for path in ["edit", "removal"] {
        let page = zh(&a, &format!("/clusters/{}/{path}", a.id())).await;
        for slip in ["通一个数据库", "么？1"] {
            assert!(!page.body.contains(slip), "{slip}");
        }
    }
}
