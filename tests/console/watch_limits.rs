//! When a limit counts as reached, and in which words a failure is told.

use muster::assets::monitor::Monitor;

use crate::assets::{added, machine, many};
use crate::hostile::{Hostile, http};
use crate::page::Page;
use crate::support::TestConsole;
use crate::watch::{make_due, round, states};

/// What a Jpom agent says of a machine whose CPU is so busy.
fn busy(percent: u8) -> Vec<u8> {
    let data = format!(
        r#"{{"simpleStatus":{{"cpu":{percent}}},"systemInfo":{{"osCpuCores":1}},"jpomInfo":{{"jpomManifest":{{"version":"2.11.12"}}}}}}"#
    );
    http("200 OK", "", &format!(r#"{{"code":200,"msg":"","data":{data}}}"#))
}

#[tokio::test]
async fn a_busy_moment_is_no_news_and_a_cpu_that_stays_at_its_limit_is() {
    let a = TestConsole::start().await;
    let (idle, full) = (Hostile::answering(busy(3)).await, Hostile::answering(busy(97)).await);
    let address = format!("http://127.0.0.1:{}", full.port);
    let mut fields = machine("web", &address);
    fields[3] = ("agent", "jpom");
    fields.extend([("cpu_limit", "90"), ("memory_limit", "0"), ("disk_limit", "0")]);
    let web = added(&a, &fields).await;
    let monitor = Monitor::default();
    let settings =
        |port: u16| format!("update asset set settings = json_set(settings, '$.address', 'http://127.0.0.1:{port}')");
    // Two retries, as usual. A quiet moment begins it anew.
    for (port, expected) in [
        (full.port, "up"),
        (full.port, "up"),
        (idle.port, "up"),
        (full.port, "up"),
        (full.port, "up"),
        (full.port, "degraded"),
        (full.port, "degraded"),
        (idle.port, "up"),
        (full.port, "up"),
    ] {
        a.sql(&settings(port)).await;
        make_due(&a).await;
        round(&a, &monitor).await;
        assert_eq!(states(&a).await, [expected]);
        let misses = a.count("select misses from asset_watch").await;
        assert_eq!(misses, 0, "it did not fail");
    }
    let page = a.get(&web).await;
    assert_eq!(page.texts(".events .state"), ["Up", "Degraded", "Up"]);
    assert_eq!(full.asked().len(), 7);
    // Whoever wants to know at once says so.
    a.sql("update asset set retries = 0").await;
    make_due(&a).await;
    round(&a, &monitor).await;
    assert_eq!(states(&a).await, ["degraded"]);
}

#[tokio::test]
async fn a_failure_is_told_in_the_words_of_whoever_reads() {
    let a = TestConsole::start().await;
    many(&a, 1, 1).await;
    for (code, detail, chinese, english) in [
        (
            "tls",
            "invalid peer certificate: UnknownIssuer",
            "证书的签发机构不受信任",
            "nobody we trust has issued the certificate",
        ),
        (
            "unreachable",
            "No route to host (os error 113)",
            "没有到该主机的路由",
            "no route to the host",
        ),
        (
            "unexpected",
            "no common algorithm (Kex)",
            "双方没有共同支持的算法（Kex）",
            "no algorithm that both sides know (Kex)",
        ),
        (
            "bad_key",
            "PEM: authority",
            "CA 证书不是有效的 PEM",
            "the authority is no valid PEM",
        ),
        ("unexpected", "220 mail ESMTP", "220 mail ESMTP", "220 mail ESMTP"),
    ] {
        let reason = format!(r#"{{"code":"{code}","detail":"{detail}"}}"#);
        a.sql(&format!("update asset set state = 'down', reason = '{reason}'"))
            .await;
        a.get("/assets/1").await.shows(english);
        let request = a.client.get("/assets/1").header("Accept-Language", "zh-CN");
        let page = Page::of(request.header("Cookie", a.visitor.cookie()).send().await).await;
        page.shows(chinese);
        let says_it_twice = page.body.contains(detail) && detail != chinese;
        assert!(!says_it_twice, "{detail}");
    }
}
