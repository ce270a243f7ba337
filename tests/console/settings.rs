//! 系统配置: the settings file in the console, and what a change of it does.

use std::fs;
use std::time::Duration;

use muster::app::App;
use muster::config::DEFAULT_FILE;
use muster::people::Role;
use muster::system::settings::watch::Watcher;
use poem::http::StatusCode;

use crate::processes::Process;
use crate::support::{Page, TestConsole, TestDatabase, let_in};

pub(crate) const DOTS: &str = "••••••";

/// A server with this settings file.
pub(crate) async fn with_file(yaml: &str) -> TestConsole {
    let data = tempfile::TempDir::new().unwrap();
    fs::write(data.path().join("application.yml"), yaml).unwrap();
    let database = TestDatabase::new().await;
    let mut a = TestConsole::silent(&database.database, Some(data), &[]).await;
    a.heart.tick().await.unwrap();
    a.visitor = a.visitor("root", Role::SuperAdmin).await;
    for secret in ["hidden-1", "hidden-2", "in-comment"] {
        a.scan.seen.mark(secret);
    }
    a
}

pub(crate) fn file(a: &TestConsole) -> String {
    fs::read_to_string(a.data.path().join("application.yml")).unwrap()
}

/// What the editor shows.
pub(crate) fn editor(page: &Page) -> String {
    let (_, rest) = page.body.split_once("id=\"settings-text\"").unwrap();
    let (_, rest) = rest.split_once(">\n").unwrap();
    let (text, _) = rest.split_once("</textarea>").unwrap();
    html_escape(text)
}

pub(crate) fn html_escape(text: &str) -> String {
    text.replace("&#60;", "<")
        .replace("&#62;", ">")
        .replace("&#34;", "\"")
        .replace("&#39;", "'")
        .replace("&#38;", "&")
}

/// Saves a text as a browser does: looked at first, then confirmed.
pub(crate) async fn save(a: &TestConsole, text: &str) -> Page {
    let seen = a.get("/settings").await.value("input[name=seen]");
    let typed = text.replace('\n', "\r\n");
    let fields = [("seen", seen.as_str()), ("text", typed.as_str())];
    let preview = a.post("/settings/draft", &fields).await;
    match preview.status {
        StatusCode::OK => a.post("/settings", &fields).await,
        _ => preview,
    }
}

/// Two looks, as the task has them a second apart.
pub(crate) async fn look(watcher: &Watcher, app: &App) {
    watcher.tick(app).await.unwrap();
    watcher.tick(app).await.unwrap();
}

#[tokio::test]
async fn the_page_shows_the_files_path_and_text_and_every_key() {
    let a = with_file(DEFAULT_FILE).await;
    let page = a.get("/settings").await;
    page.shows(&a.data.path().join("application.yml").display().to_string());
    assert_eq!(editor(&page), DEFAULT_FILE);
    for help in [
        "集群Id，默认为 DEFAULT，不区分大小写，只能是字母或者数字，长度小于 20",
        "心跳间隔，单位秒，最小 5 秒",
    ] {
        page.shows(help);
    }
    page.shows("jpom.cluster.heart-second 30 default");
    page.shows("jpom.db.url mysql://");
    page.shows("the environment variable JPOM_DB_URL");
    assert_eq!(page.count(".side a[href='/settings'][aria-current]"), 1);
}

#[tokio::test]
async fn changing_the_id_keeps_comments_and_counts_at_once() {
    let mut a = with_file(DEFAULT_FILE).await;
    let page = a.get("/settings").await;
    let seen = page.value("input[name=seen]");
    assert_eq!(
        (page.value("#f-cluster_id"), page.value("#f-heart_second")),
        ("DEFAULT".into(), "30".into())
    );
    let fields = [("seen", seen.as_str()), ("cluster_id", "east1"), ("heart_second", "30")];
    let preview = a.post("/settings/draft", &fields).await;
    assert_eq!(preview.texts(".diff-old td:last-child"), ["#id: DEFAULT"]);
    assert_eq!(preview.texts(".diff-new td:last-child"), ["id: EAST1"]);
    preview.shows("DEFAULT → EAST1 At once");
    assert_eq!(file(&a), DEFAULT_FILE, "nothing is saved before it is confirmed");
    let typed = html_escape(
        preview
            .body
            .split_once("aria-hidden=\"true\">\n")
            .unwrap()
            .1
            .split_once("</textarea>")
            .unwrap()
            .0,
    );
    let seen = preview.value("input[name=seen]");
    let answer = a.post("/settings", &[("seen", &seen), ("text", &typed)]).await;
    assert_eq!(
        (answer.status, answer.header("location")),
        (StatusCode::SEE_OTHER, "/settings")
    );
    assert_eq!(file(&a), DEFAULT_FILE.replace("    #id: DEFAULT", "    id: EAST1"));
    // The heart writes it with the next beat, which the change brings on.
    a.heart.tick().await.unwrap();
    assert_eq!(
        a.count(&format!(
            "select count(*) from cluster where cluster_id = 'EAST1' and install_id = '{}'",
            a.id()
        ))
        .await,
        1
    );
    a.get("/clusters").await.shows("EAST1");
    a.get("/identity").await.shows("EAST1");
    let trail = a.get("/audit").await;
    trail.shows("Change settings");
    trail.shows("Cluster ID DEFAULT → EAST1");
    // A look at the file afterwards finds nothing new.
    let lines = a.count("select count(*) from audit").await;
    look(&Watcher::default(), &a.app).await;
    assert_eq!(a.count("select count(*) from audit").await, lines);
}

#[tokio::test]
async fn a_longer_interval_is_written_first_and_a_shorter_one_speeds_up_first() {
    let mut a = TestConsole::start().await;
    let interval = "select interval_s from cluster";
    let change = |seconds: u32| {
        a.app.cluster.send_modify(|cluster| cluster.heart_seconds = seconds);
    };
    let pace = Duration::from_secs;
    assert_eq!(a.heart.interval(), pace(30));
    change(300);
    assert_eq!(
        (a.heart.interval(), a.count(interval).await),
        (pace(30), 30),
        "not slower before the others know"
    );
    a.heart.tick().await.unwrap();
    assert_eq!((a.heart.interval(), a.count(interval).await), (pace(300), 300));
    let change = |seconds: u32| {
        a.app.cluster.send_modify(|cluster| cluster.heart_seconds = seconds);
    };
    change(10);
    assert_eq!(
        (a.heart.interval(), a.count(interval).await),
        (pace(10), 300),
        "faster at once"
    );
    a.heart.tick().await.unwrap();
    assert_eq!((a.heart.interval(), a.count(interval).await), (pace(10), 10));
}

#[tokio::test]
async fn a_real_server_takes_up_a_file_changed_by_hand_without_a_restart() {
    let a = TestConsole::start().await;
    let process = Process::spawn(Some(&a.database), "", &[]);
    process.until("/readyz", "ready").await;
    let_in(&a.database).await;
    let path = process.data.path().join("application.yml");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(
        &path,
        text.replace("    #id: DEFAULT", "    id: HAND")
            .replace("    #heart-second: 30", "    heart-second: 7"),
    )
    .unwrap();
    process.until("/log", "DEFAULT -&#62; HAND").await;
    process.until("/identity", "HAND").await;
    let sql = "select count(*) from cluster where cluster_id = 'HAND' and interval_s = 7";
    for _ in 0..100 {
        if a.count(sql).await == 1 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(a.count(sql).await, 1);
    // A wrong file changes nothing and says why.
    fs::write(&path, "jpom:\n  cluster:\n    id: not an id\n").unwrap();
    process.until("/log?level=error", "not an id").await;
    process.until("/identity", "HAND").await;
}

#[tokio::test]
async fn what_is_wrong_is_said_with_its_line_and_nothing_is_saved() {
    let a = with_file(DEFAULT_FILE).await;
    for (text, says) in [
        (
            "jpom:\n  cluster:\n    id: a b\n    heart-second: x\n",
            vec!["Line 3:", "jpom.cluster.id", "Line 4:", "heart-second"],
        ),
        ("server:\n  port: 99999\n", vec!["Line 2:", "server.port", "65535"]),
        ("jpom:\n\tcluster:\n", vec!["Line 2:", "not YAML"]),
        ("jpom: 1\njpom: 2\n", vec!["Line 2:", "not YAML"]),
        ("jpom:\n  cluster: EAST\n", vec!["Line 2:", "indent"]),
        (
            "server:\n  ssl:\n    certificate: /none\n    certificate-private-key: /none\n",
            vec!["/none"],
        ),
        (
            &format!("jpom:\n  db:\n    user-pwd: {DOTS}\n"),
            vec!["Line 3:", "jpom.db.user-pwd", "type the value again"],
        ),
    ] {
        let page = save(&a, text).await;
        assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY, "{text}");
        for part in says {
            page.shows(part);
        }
        assert_eq!(editor(&page).replace("\r\n", "\n"), text, "what was typed stays");
        assert_eq!(file(&a), DEFAULT_FILE);
        // Sent without the look before it, it is refused as well.
        let seen = page.value("input[name=seen]");
        let page = a.post("/settings", &[("seen", &seen), ("text", text)]).await;
        assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY, "{text}");
        assert_eq!(file(&a), DEFAULT_FILE);
    }
    let page = a.get("/settings").await;
    let seen = page.value("input[name=seen]");
    let page = a
        .post(
            "/settings/draft",
            &[("seen", &seen), ("cluster_id", "a b"), ("heart_second", "0")],
        )
        .await;
    assert_eq!(
        (page.status, page.count(".mistake")),
        (StatusCode::UNPROCESSABLE_ENTITY, 2)
    );
    assert_eq!(
        (page.value("#f-cluster_id"), page.value("#f-heart_second")),
        ("a b".into(), "0".into())
    );
}

#[tokio::test]
async fn the_last_ten_texts_can_be_restored() {
    let a = with_file("# text 0\n").await;
    for number in 1..=12 {
        assert_eq!(
            save(&a, &format!("# text {number}\n")).await.status,
            StatusCode::SEE_OTHER
        );
    }
    let page = a.get("/settings").await;
    let links = page.texts(".versions a");
    assert_eq!(links.len(), 10);
    assert_eq!((links[0].as_str(), links[9].as_str()), ("Version 12", "Version 3"));
    let old = a.get("/settings?version=3").await;
    assert_eq!(editor(&old), "# text 2\n");
    assert_eq!(a.get("/settings?version=99").await.status, StatusCode::NOT_FOUND);
    let fields = [
        ("seen", old.value("input[name=seen]")),
        ("version", "3".into()),
        ("text", editor(&old)),
    ];
    let fields = fields.each_ref().map(|(name, value)| (*name, value.as_str()));
    let preview = a.post("/settings/draft", &fields).await;
    assert_eq!(preview.texts(".diff-new td:last-child"), ["# text 2"]);
    assert_eq!(a.post("/settings", &fields).await.status, StatusCode::SEE_OTHER);
    assert_eq!(file(&a), "# text 2\n");
}

#[tokio::test]
async fn two_who_edit_the_settings_lose_nothing() {
    let a = with_file("# one\n").await;
    let seen = a.get("/settings").await.value("input[name=seen]");
    save(&a, "# two\n").await;
    for path in ["/settings/draft", "/settings"] {
        let page = a.post(path, &[("seen", &seen), ("text", "# mine\n")]).await;
        assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY);
        page.shows("The file was changed since you opened it");
        assert_eq!((editor(&page).as_str(), file(&a).as_str()), ("# mine\n", "# two\n"));
    }
}

#[tokio::test]
async fn what_a_flag_or_the_environment_decides_says_so() {
    let data = tempfile::TempDir::new().unwrap();
    fs::write(data.path().join("application.yml"), "jpom:\n  cluster:\n    id: FILE\n").unwrap();
    let database = TestDatabase::new().await;
    let mut a = TestConsole::silent(&database.database, Some(data), &[("JPOM_CLUSTER_ID", "ENV")]).await;
    a.heart.tick().await.unwrap();
    a.visitor = a.visitor("root", Role::SuperAdmin).await;
    let page = a.get("/settings").await;
    page.shows("jpom.cluster.id ENV the environment variable JPOM_CLUSTER_ID the value in the file does not count");
    assert_eq!(
        page.count("#f-cluster_id") + page.count("#f-heart_second"),
        1,
        "no field for what it would not change"
    );
    save(&a, "jpom:\n  cluster:\n    id: OTHER\nserver:\n  port: 4000\n").await;
    assert_eq!(a.app.cluster_id(), "ENV");
    let wrong = save(&a, "jpom:\n  cluster:\n    id: a b\n").await;
    wrong.shows("Line 3:");
    assert_eq!(
        wrong.status,
        StatusCode::UNPROCESSABLE_ENTITY,
        "wrong even where it does not count"
    );
    a.get("/settings")
        .await
        .shows("server.port 2122 default After a restart 4000");
}

#[tokio::test]
async fn a_file_changed_by_hand_counts_once_it_is_whole() {
    let a = with_file("jpom:\n  cluster:\n    id: ONE\n").await;
    let (watcher, path) = (Watcher::default(), a.data.path().join("application.yml"));
    look(&watcher, &a.app).await;
    // An editor has emptied the file and not written yet.
    fs::write(&path, "").unwrap();
    watcher.tick(&a.app).await.unwrap();
    fs::write(&path, "jpom:\n  cluster:\n    id: TWO\n").unwrap();
    watcher.tick(&a.app).await.unwrap();
    assert_eq!(a.app.cluster_id(), "ONE");
    watcher.tick(&a.app).await.unwrap();
    assert_eq!(a.app.cluster_id(), "TWO");
    a.get("/audit").await.shows("How file edited by hand");
    fs::remove_file(&path).unwrap();
    look(&watcher, &a.app).await;
    assert_eq!(a.app.cluster_id(), "TWO", "a file that is gone changes nothing");
    a.get("/settings").await.shows("is not there");
    fs::write(&path, "jpom: [\n").unwrap();
    look(&watcher, &a.app).await;
    look(&watcher, &a.app).await;
    assert_eq!(a.app.cluster_id(), "TWO");
    let page = a.get("/settings").await;
    page.shows("The file as it is now does not count");
    assert_eq!(
        a.count("select count(*) from audit where action = 'settings_update' and result = 'refused'")
            .await,
        2
    );
    // It can be mended here, too.
    assert_eq!(
        save(&a, "jpom:\n  cluster:\n    id: THREE\n").await.status,
        StatusCode::SEE_OTHER
    );
    assert_eq!(a.app.cluster_id(), "THREE");
}

#[tokio::test]
async fn a_disk_that_takes_nothing_leaves_the_file_and_what_was_typed() {
    let a = with_file("# one\n").await;
    // In place of the directory for former texts: it cannot be made.
    fs::write(a.data.path().join("application.yml.versions"), "").unwrap();
    let page = save(&a, "# two\n").await;
    assert_eq!(page.status, StatusCode::INTERNAL_SERVER_ERROR);
    page.shows("cannot be written");
    assert_eq!(
        (editor(&page).replace("\r\n", "\n").as_str(), file(&a).as_str()),
        ("# two\n", "# one\n")
    );
    assert_eq!(
        a.count("select count(*) from audit where action = 'settings_update' and result = 'refused'")
            .await,
        1
    );
    assert_eq!(
        a.count("select count(*) from audit where action = 'settings_update' and result = 'done'")
            .await,
        0
    );
}

#[tokio::test]
async fn a_new_id_that_another_living_cluster_has_is_warned_of() {
    let a = TestConsole::start().await;
    fs::write(a.data.path().join("application.yml"), "# empty\n").unwrap();
    let _b = TestConsole::beside(&a).await;
    let fields = [("cluster_id", "b"), ("heart_second", "30")];
    let page = a.post("/settings/draft", &fields).await;
    assert_eq!(page.status, StatusCode::OK);
    page.shows("uses this cluster ID");
}

#[tokio::test]
async fn a_certificate_that_is_a_pipe_stops_nobody() {
    let a = with_file("# good\n").await;
    let pipe = a.data.path().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
    assert!(made.success());
    let path = pipe.display();
    let text = format!("server:\n  ssl:\n    certificate: {path}\n    certificate-private-key: {path}\n");
    let began = std::time::Instant::now();
    save(&a, &text).await.shows("not a regular file");
    fs::write(a.data.path().join("application.yml"), &text).unwrap();
    look(&Watcher::default(), &a.app).await;
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn a_save_that_meets_a_look_at_the_file_is_not_taken_back() {
    let a = with_file("jpom:\n  cluster:\n    id: ONE\n").await;
    let watcher = std::sync::Arc::new(Watcher::default());
    look(&watcher, &a.app).await;
    let held = a.app.settings.lock().await;
    let (looking, app) = (watcher.clone(), a.app.clone());
    let looking = tokio::spawn(async move { look(&looking, &app).await });
    tokio::time::sleep(Duration::from_millis(50)).await;
    drop(held);
    assert_eq!(
        save(&a, "jpom:\n  cluster:\n    id: TWO\n").await.status,
        StatusCode::SEE_OTHER
    );
    looking.await.unwrap();
    look(&watcher, &a.app).await;
    assert_eq!(a.app.cluster_id(), "TWO");
    assert_eq!(
        a.count("select count(*) from audit where action = 'settings_update'")
            .await,
        1
    );
}

#[tokio::test]
async fn what_was_taken_up_last_is_what_a_broken_file_is_compared_with() {
    let a = with_file("jpom:\n  cluster:\n    id: ONE\n").await;
    let (watcher, path) = (Watcher::default(), a.data.path().join("application.yml"));
    fs::write(&path, "jpom:\n  cluster:\n    id: TWO\n").unwrap();
    look(&watcher, &a.app).await;
    fs::remove_file(&path).unwrap();
    look(&watcher, &a.app).await;
    let page = a.get("/settings").await;
    page.shows("jpom.cluster.id TWO line 3 of the file");
    let fields = [
        ("seen", page.value("input[name=seen]")),
        ("text", "jpom:\n  cluster:\n    id: ONE\n".into()),
    ];
    let fields = fields.each_ref().map(|(name, value)| (*name, value.as_str()));
    a.post("/settings/draft", &fields).await.shows("TWO → ONE");
}
