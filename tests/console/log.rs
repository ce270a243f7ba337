//! 系统日志: the log in the console.

use std::time::Duration;

use futures_util::StreamExt;

use crate::processes::Process;
use crate::support::{TestConsole, let_in};

/// What a stream sends until it is silent for a moment.
async fn heard(a: &TestConsole, path: &str, last_id: Option<&str>) -> String {
    heard_after(a, path, last_id, || {}).await
}

/// [`heard`], with something done once the stream is open.
async fn heard_after(a: &TestConsole, path: &str, last_id: Option<&str>, then: impl FnOnce()) -> String {
    let mut request = a
        .client
        .get(path)
        .header("Cookie", a.visitor.cookie())
        .header("Accept-Language", "en");
    if let Some(id) = last_id {
        request = request.header("Last-Event-ID", id);
    }
    let answer = request.send().await;
    assert_eq!(answer.0.headers()["content-type"], "text/event-stream; charset=utf-8");
    let mut stream = answer.0.into_body().into_bytes_stream();
    then();
    let mut heard = String::new();
    while let Ok(Some(piece)) = tokio::time::timeout(Duration::from_millis(300), stream.next()).await {
        heard.push_str(std::str::from_utf8(&piece.unwrap()).unwrap());
    }
    heard
}

fn ids(events: &str) -> Vec<&str> {
    events.lines().filter_map(|line| line.strip_prefix("id: ")).collect()
}

#[tokio::test]
async fn the_log_is_shown_and_filtered_by_level_and_text() {
    let a = TestConsole::start().await;
    a.get("/log").await.shows("Nothing logged yet");
    a.app.log.write("7a175577/5c1e  INFO all is well");
    a.app.log.write("7a175577/5c1e  WARN something <b>odd</b>");
    a.app
        .log
        .write("7a175577/5c1e ERROR DEFAULT 集群ID冲突：7a175577b0d042c79c1a56b70de4996c 默认集群");
    let page = a.get("/log").await;
    assert_eq!(
        page.texts(".log-said"),
        [
            "all is well",
            "something <b>odd</b>",
            "DEFAULT 集群ID冲突：7a175577b0d042c79c1a56b70de4996c 默认集群"
        ]
    );
    assert_eq!(page.texts(".log-line .state"), ["Info", "Warning", "Error"]);
    assert_eq!(a.get("/log?level=warn").await.count(".log-line"), 2);
    assert_eq!(
        a.get("/log?level=error&text=%E9%BB%98%E8%AE%A4")
            .await
            .count(".log-line"),
        1
    );
    assert_eq!(a.get("/log?text=ODD").await.count(".log-line"), 1);
    a.hx_get("/log?text=nowhere").await.shows("Nothing matches");
    let file = a.get("/log/download").await;
    assert!(file.header("content-disposition").starts_with("attachment"));
    for _ in 0..100 {
        if a.get("/log/download").await.body.lines().count() == 3 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("not on disk: {}", a.get("/log/download").await.body);
}

#[tokio::test]
async fn the_stream_goes_on_where_a_browser_was() {
    let a = TestConsole::start().await;
    for number in 0..4 {
        a.app.log.write(&format!("7a175577/5c1e  INFO line {number}"));
    }
    let all = heard(&a, "/log/live?after=0", None).await;
    assert!(
        all.starts_with("retry: ") && all.contains("line 0") && ids(&all).len() == 4,
        "{all}"
    );
    let second = ids(&all)[1];
    let rest = heard(&a, "/log/live?after=0", Some(second)).await;
    assert!(
        !rest.contains("line 1") && rest.contains("line 2") && rest.contains("line 3"),
        "{rest}"
    );
    let last = ids(&all)[3].to_owned();
    let new = heard_after(&a, &format!("/log/live?level=warn&after={last}"), None, || {
        a.app.log.write("7a175577/5c1e  INFO quiet one");
        a.app.log.write("7a175577/5c1e  WARN loud one");
    })
    .await;
    assert!(new.contains("loud one") && !new.contains("quiet one"), "{new}");
    // A browser that was away while the server was restarted.
    a.app.log.close();
    let data = a.data.path().to_owned();
    let again = muster::log::Store::open(&data).unwrap();
    again.write("7a175577/9999  INFO after the restart");
    let found = again.search(&muster::log::Filter::default(), 10).unwrap().lines;
    let at: u64 = second.parse().unwrap();
    let missed: Vec<&str> = found
        .iter()
        .filter(|line| line.at_us > at)
        .map(muster::log::Line::said)
        .collect();
    assert_eq!(
        missed,
        ["line 2", "line 3", "quiet one", "loud one", "after the restart"]
    );
}

#[tokio::test]
async fn the_conflict_line_can_be_found_in_the_console() {
    let a = TestConsole::start().await;
    a.set("name = '默认集群'").await;
    let mut process = Process::spawn(
        Some(&a.database),
        "DEFAULT",
        &[("JPOM_SYSTEM_LANG", "zh_cn".to_owned())],
    );
    process.until("/readyz", "ready").await;
    let line = format!("DEFAULT 集群ID冲突：{} 默认集群", a.id());
    let_in(&a.database).await;
    process.until("/log?level=error", &line).await;
    assert!(process.logged(&line).await.ends_with(&line), "and on standard error");
}
