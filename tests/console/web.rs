//! What every answer keeps to: page or block, headers, errors as pages, language, and no change by a stranger.

use muster::config::Database;
use poem::http::{Method, StatusCode};

use crate::support::{Page, TOKEN, TestConsole, TestDatabase, let_in};

const HEADERS: [&str; 4] = [
    "content-security-policy",
    "x-content-type-options",
    "referrer-policy",
    "x-frame-options",
];

#[tokio::test]
async fn one_address_answers_a_page_to_a_browser_and_a_block_to_htmx() {
    let a = TestConsole::start().await;
    let page = a.get("/clusters").await;
    let block = a.hx_get("/clusters").await;
    assert!(page.body.starts_with("<!doctype html>") || page.body.starts_with("<!DOCTYPE html>"));
    assert!(
        block.body.trim_start().starts_with("<div id=\"cluster-list\""),
        "{}",
        block.body
    );
    for answer in [&page, &block] {
        assert!(answer.header("vary").contains("HX-Request"));
    }
    for marker in ["HX-Boosted", "HX-History-Restore-Request"] {
        let answer = a
            .client
            .get("/clusters")
            .header("Cookie", a.visitor.cookie())
            .header("HX-Request", "true")
            .header(marker, "true")
            .send()
            .await;
        assert!(Page::of(answer).await.body.contains("<html"), "{marker}");
    }
}

#[tokio::test]
async fn an_unchanged_answer_costs_a_304_of_less_than_300_bytes() {
    let a = TestConsole::start().await;
    let first = a.hx_get("/clusters").await;
    let again = a
        .client
        .get("/clusters")
        .header("Cookie", a.visitor.cookie())
        .header("Accept-Language", "en")
        .header("HX-Request", "true")
        .header("If-None-Match", first.header("etag"))
        .send()
        .await;
    let again = Page::of(again).await;
    assert_eq!((again.status, again.body.as_str()), (StatusCode::NOT_MODIFIED, ""));
    let bytes: usize = again
        .headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + 4)
        .sum();
    assert!(
        bytes + "HTTP/1.1 304 Not Modified\r\n\r\ndate: Tue, 24 Nov 2026 08:00:00 GMT\r\n".len() < 300,
        "{bytes}"
    );
    a.age(60.0).await;
    let changed = a
        .client
        .get("/clusters")
        .header("Cookie", a.visitor.cookie())
        .header("HX-Request", "true")
        .header("If-None-Match", first.header("etag"));
    assert_eq!(changed.send().await.0.status(), StatusCode::OK);
}

#[tokio::test]
async fn every_answer_carries_the_security_headers_errors_too() {
    let a = TestConsole::start().await;
    for (path, status) in [
        ("/clusters", 200),
        ("/clusters/none", 404),
        ("/nowhere", 404),
        ("/healthz", 200),
        ("/static/none", 404),
    ] {
        let answer = a.get(path).await;
        assert_eq!(answer.status, status, "{path}");
        for name in HEADERS {
            assert!(!answer.header(name).is_empty(), "{path} lacks {name}");
        }
        assert!(answer.header("content-security-policy").contains("script-src 'self'"));
    }
}

#[tokio::test]
async fn an_error_is_a_page_for_a_browser_and_a_message_for_htmx() {
    let a = TestConsole::start().await;
    let page = a.get("/nowhere").await;
    assert!(page.body.contains("<html") && page.count("a[href='/clusters']") > 0);
    let block = a.hx_get("/clusters/00000000000000000000000000000000").await;
    assert_eq!(
        (block.status, block.header("hx-retarget")),
        (StatusCode::NOT_FOUND, "#flash")
    );
    assert!(
        block.body.trim_start().starts_with("<div id=\"flash\""),
        "{}",
        block.body
    );
}

#[tokio::test]
async fn the_bare_address_leads_home_with_and_without_a_base_path() {
    let a = TestConsole::start().await;
    let mut behind = TestConsole::silent(&a.database, None, &[("SERVER_SERVLET_CONTEXT_PATH", "/m")]).await;
    behind.app.standing.send_replace(muster::app::Standing::Working);
    behind.visitor = a.visitor.clone();
    for (console, path, list) in [
        (&a, "/", "/home"),
        (&behind, "/m/", "/m/home"),
        (&behind, "/m", "/m/home"),
    ] {
        let answer = console.get(path).await;
        assert_eq!(
            (answer.status, answer.header("location")),
            (StatusCode::SEE_OTHER, list),
            "{path}"
        );
    }
}

#[tokio::test]
async fn head_is_answered_without_a_body() {
    let a = TestConsole::start().await;
    let css = muster::web::files::path("console.css");
    for path in ["/clusters", css, "/healthz"] {
        let answer = Page::of(
            a.client
                .request(Method::HEAD, path)
                .header("Cookie", a.visitor.cookie())
                .send()
                .await,
        )
        .await;
        assert_eq!((answer.status, answer.body.as_str()), (StatusCode::OK, ""), "{path}");
    }
}

#[tokio::test]
async fn static_files_carry_their_version_and_may_be_kept_for_ever() {
    let a = TestConsole::start().await;
    let page = a.get("/clusters").await;
    let css = muster::web::files::path("console.css");
    assert!(page.body.contains(css) && css != "/static/console.css");
    let file = a
        .client
        .get(css)
        .header("Accept-Encoding", "gzip")
        .send()
        .await
        .0
        .headers()
        .clone();
    assert!(file["cache-control"].to_str().unwrap().contains("immutable"));
    assert_eq!(file["content-encoding"], "gzip");
}

#[tokio::test]
async fn a_first_visit_weighs_at_most_150_kilobytes() {
    let a = TestConsole::start().await;
    let page = a.get("/clusters").await;
    let mut bytes = 0;
    let mut paths = vec!["/clusters".to_owned()];
    paths.extend(
        page.body
            .split('"')
            .filter(|word| word.starts_with("/static/"))
            .map(str::to_owned),
    );
    assert!(paths.len() > 5, "{paths:?}");
    for path in paths {
        let answer = a
            .client
            .get(path)
            .header("Accept-Encoding", "gzip")
            .header("Cookie", a.visitor.cookie())
            .send()
            .await;
        bytes += answer.0.into_body().into_bytes().await.unwrap().len();
    }
    assert!(bytes <= 150_000, "{bytes}");
}

#[tokio::test]
async fn the_language_follows_cookie_then_browser_then_settings() {
    let a = TestConsole::start().await;
    let html = async |cookie: &str, accept: &str| {
        let request = a
            .client
            .get("/clusters")
            .header("Cookie", a.visitor.cookie())
            .header("Cookie", cookie)
            .header("Accept-Language", accept);
        let page = Page::of(request.send().await).await;
        if page.body.contains("<html lang=\"zh-CN\"") {
            "zh"
        } else {
            "en"
        }
    };
    assert_eq!(html("", "").await, "zh");
    assert_eq!(html("", "en-GB").await, "en");
    assert_eq!(html("muster_lang=zh-CN", "en").await, "zh");
    assert_eq!(html("muster_lang=klingon", "en").await, "en");
}

#[tokio::test]
async fn preferences_are_kept_in_a_cookie_and_return_to_where_one_was() {
    let a = TestConsole::start().await;
    let post = async |fields: &[(&str, &str)]| a.post("/preferences", fields).await;
    let kept = post(&[("lang", "en"), ("back", "/clusters?name=b")]).await;
    assert_eq!(
        (kept.status, kept.header("location")),
        (StatusCode::SEE_OTHER, "/clusters?name=b")
    );
    assert!(kept.header("set-cookie").starts_with("muster_lang=en; "));
    let elsewhere = post(&[("theme", "dark"), ("back", "//evil.example")]).await;
    assert_eq!(elsewhere.header("location"), "/");
    let unknown = post(&[("theme", "pink")]).await;
    assert_eq!(unknown.status, StatusCode::UNPROCESSABLE_ENTITY);
    let by_get = a.get("/preferences?theme=dark").await;
    assert_eq!(
        (by_get.status, by_get.header("set-cookie")),
        (StatusCode::METHOD_NOT_ALLOWED, "")
    );
}

#[tokio::test]
async fn another_sites_page_changes_nothing() {
    let a = TestConsole::start().await;
    let post = |name: &'static str, value: &'static str| {
        let request = a
            .client
            .post("/preferences")
            .header("Host", "muster.example:2122")
            .header("Cookie", a.visitor.cookie())
            .header(name, value);
        request
            .content_type("application/x-www-form-urlencoded")
            .body(format!("theme=dark&csrf={}", a.visitor.csrf()))
            .send()
    };
    for (name, value, status) in [
        ("Origin", "http://muster.example:2122", 303),
        ("Origin", "http://muster.example:21220", 403),
        ("Origin", "http://evil.example", 403),
        ("Origin", "null", 403),
        ("Sec-Fetch-Site", "cross-site", 403),
        ("Sec-Fetch-Site", "same-site", 403),
        ("Sec-Fetch-Site", "same-origin", 303),
    ] {
        assert_eq!(post(name, value).await.0.status().as_u16(), status, "{name}: {value}");
    }
    let refused = a
        .count("select count(*) from audit where action = 'refused' and actor = 'root'")
        .await;
    assert_eq!(refused, 5, "each refusal stands in the trail");
}

#[tokio::test]
async fn without_its_database_a_server_lives_and_says_so() {
    let real = TestDatabase::new().await.database;
    let away = Database {
        port: 1,
        ..real.clone()
    };
    let mut console = TestConsole::silent(&away, None, &[]).await;
    assert!(console.heart.tick().await.is_err());
    let page = console.get("/clusters").await;
    assert_eq!(page.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(
        page.body.contains("http-equiv=\"refresh\""),
        "the page tries again by itself"
    );
    assert_eq!(console.get("/healthz").await.status, StatusCode::OK);
    assert_eq!(console.get("/readyz").await.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(console.get("/identity").await.status, StatusCode::OK);
    assert_eq!(console.get("/metrics").await.status, StatusCode::OK);
}

#[tokio::test]
async fn health_readiness_identity_and_metrics_answer() {
    let a = TestConsole::start().await;
    assert_eq!(a.get("/healthz").await.body, "ok\n");
    assert_eq!(a.get("/readyz").await.body, "ready\n");
    let identity = a.get("/identity").await.body;
    assert!(identity.contains(a.id()) && identity.contains("Muster") && !identity.contains("mysql"));
    a.get("/clusters").await;
    let open = a.get("/metrics").await.body;
    assert!(
        open.contains("muster_beats_missed_total") && !open.contains(a.id()),
        "{open}"
    );
    let_in(&a.database).await;
    let request = a
        .client
        .get("/metrics")
        .header("Authorization", format!("Bearer {TOKEN}"));
    let metrics = Page::of(request.send().await).await.body;
    for line in [
        &format!(
            "muster_cluster_beat_age_seconds{{cluster_id=\"DEFAULT\",install_id=\"{}\"}}",
            a.id()
        ),
        "muster_beat_duration_seconds_count 1",
        "muster_beats_missed_total 0",
        "route=\"/clusters\"",
        "muster_database_pool_connections",
    ] {
        assert!(metrics.contains(line), "{line} is not in {metrics}");
    }
}

#[tokio::test]
async fn behind_a_base_path_every_address_carries_it() {
    let first = TestConsole::start().await;
    let console = TestConsole::silent(&first.database, None, &[("SERVER_SERVLET_CONTEXT_PATH", "/m")]).await;
    console.app.standing.send_replace(muster::app::Standing::Working);
    let page = console.get_as(&first.visitor, "/m/clusters").await;
    assert_eq!(page.status, StatusCode::OK);
    for attribute in ["href=\"", "src=\"", "action=\"", "hx-get=\""] {
        for address in page
            .body
            .split(attribute)
            .skip(1)
            .filter_map(|rest| rest.split('"').next())
        {
            let ours = address.starts_with("/m/") || address.starts_with('#') || address.starts_with("http");
            assert!(ours, "{attribute}{address}");
        }
    }
}
