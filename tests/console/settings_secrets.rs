//! 系统配置: what nobody may read of the settings file, and where a saved password may not go.

use std::fs;

use muster::people::Role;
use muster::system::settings::watch::Watcher;
use poem::http::StatusCode;

use crate::settings::{DOTS, editor, file, html_escape, look, save, with_file};
use crate::support::{TestConsole, TestDatabase};

#[tokio::test]
async fn secrets_are_never_shown_and_stay_when_they_are_left_alone() {
    let yaml =
        "# user-pwd: in-comment\njpom:\n  db:\n    user-name: a\n    user-pwd: hidden-1\n  other-token: hidden-2\n";
    let a = with_file(yaml).await;
    let page = a.get("/settings").await;
    let shown = editor(&page);
    for secret in ["hidden-1", "hidden-2", "in-comment"] {
        assert!(!page.body.contains(secret), "{secret}");
    }
    let answer = save(&a, &shown.replace("user-name: a", "user-name: b")).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.text("body"));
    assert_eq!(file(&a), yaml.replace("user-name: a", "user-name: b"));
    let typed = editor(&a.get("/settings").await).replacen(
        &format!("user-pwd: {DOTS}\n  other"),
        "user-pwd: new-secret\n  other",
        1,
    );
    let seen = a.get("/settings").await.value("input[name=seen]");
    let preview = a.post("/settings/draft", &[("seen", &seen), ("text", &typed)]).await;
    preview.shows("user-pwd: •••••• (new)");
    assert_eq!(
        preview.body.matches("new-secret").count(),
        1,
        "only in the field that is sent back"
    );
    assert_eq!(
        a.post("/settings", &[("seen", &seen), ("text", &typed)]).await.status,
        StatusCode::SEE_OTHER
    );
    assert!(file(&a).contains("user-pwd: new-secret"));
    a.scan.seen.mark("new-secret");
    for text in ["hidden-1", "new-secret", "hidden-2"] {
        assert_eq!(
            a.count(&format!("select count(*) from audit where changes like '%{text}%'"))
                .await,
            0
        );
    }
    a.get("/settings?version=1").await.shows("version 1");
    assert!(!a.get("/settings?version=1").await.body.contains("hidden-"));
}

#[tokio::test]
async fn a_saved_password_is_not_sent_to_another_database() {
    let yaml = "jpom:\n  db:\n    url: mysql://db:3306/jpom\n    user-name: a\n    user-pwd: hidden\n";
    let data = tempfile::TempDir::new().unwrap();
    fs::write(data.path().join("application.yml"), yaml).unwrap();
    let database = TestDatabase::new().await;
    // Here the file decides which database it is; the test's own connection is made apart.
    let mut a = TestConsole::silent(&database.database, Some(data), &[("JPOM_DB_URL", "")]).await;
    a.heart.tick().await.unwrap();
    a.visitor = a.visitor("root", Role::SuperAdmin).await;
    let moved = editor(&a.get("/settings").await).replace("db:3306", "elsewhere:3306");
    let page = save(&a, &moved).await;
    assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY);
    page.shows("is not sent to a new place");
    let page = save(&a, &moved.replace(DOTS, "hidden")).await;
    assert_eq!(page.status, StatusCode::SEE_OTHER);
    let page = a.get("/settings").await;
    page.shows("jpom.db.url mysql://db:3306/jpom line 3 of the file After a restart mysql://elsewhere:3306/jpom");
}

/// A server whose file has a database of its own, while the test's own connection is made apart.
async fn with_database(yaml: &str) -> TestConsole {
    let data = tempfile::TempDir::new().unwrap();
    fs::write(data.path().join("application.yml"), yaml).unwrap();
    let database = TestDatabase::new().await;
    let mut a = TestConsole::silent(&database.database, Some(data), &[("JPOM_DB_URL", "")]).await;
    a.heart.tick().await.unwrap();
    a.visitor = a.visitor("root", Role::SuperAdmin).await;
    a
}

#[tokio::test]
async fn no_detour_sends_the_saved_password_to_another_database() {
    let yaml = "jpom:\n  db:\n    url: mysql://db:3306/jpom?sslMode=verify_identity\n    user-name: a\n    user-pwd: hidden-1\n";
    let a = with_database(yaml).await;
    let shown = editor(&a.get("/settings").await);
    let elsewhere = shown.replace("db:3306", "elsewhere:3306");
    for typed in [
        elsewhere.clone(),
        // The password in a comment first.
        elsewhere.replace("    user-pwd", "    #user-pwd"),
        // Over a line that others can read.
        shown.replace("verify_identity", "disabled"),
        shown.replace("mysql://db:3306", "mysql://db:3307"),
    ] {
        let page = save(&a, &typed).await;
        assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY, "{typed}");
        assert_eq!(file(&a), yaml);
    }
    // With a password of one's own first, then the former text's dots.
    assert_eq!(
        save(&a, &elsewhere.replace(DOTS, "own")).await.status,
        StatusCode::SEE_OTHER
    );
    let page = a.get("/settings?version=1").await;
    let fields = [
        ("seen", page.value("input[name=seen]")),
        ("version", "1".into()),
        ("text", elsewhere),
    ];
    let fields = fields.each_ref().map(|(name, value)| (*name, value.as_str()));
    assert_eq!(
        a.post("/settings", &fields).await.status,
        StatusCode::UNPROCESSABLE_ENTITY
    );
    assert!(!file(&a).contains("hidden-1"));
}

#[tokio::test]
async fn whether_a_guess_at_a_password_is_right_is_not_told() {
    let a = with_file("jpom:\n  db:\n    user-pwd: right\n").await;
    let seen = a.get("/settings").await.value("input[name=seen]");
    let mut answers = Vec::new();
    for guess in ["right", "wrong"] {
        let text = format!("jpom:\n  db:\n    user-pwd: {guess}\n");
        let page = a.post("/settings/draft", &[("seen", &seen), ("text", &text)]).await;
        answers.push(page.text("main .diff, main ul, main h2").replace(guess, ""));
    }
    assert_eq!(answers[0], answers[1]);
    assert!(answers[0].contains("•••••• (new)"), "{}", answers[0]);
}

#[tokio::test]
async fn files_of_any_shape_are_shown_without_their_secrets_and_can_be_changed() {
    for yaml in [
        "m: &m {user-pwd: hidden-1}\nb: {<<: *m}\n",
        "jpom:\n  db:\n    user-pwd: |\n      hidden-1\n",
        "tokens: [hidden-1, hidden-1]\n",
        "jpom:\n  x: mysql://h/db?password=http://aa:hidden-1@c\n",
        "# pwd: hidden-1\n# pwd: hidden-1\n",
        "jpom: [\n  user-pwd: hidden-1\n",
    ] {
        let a = with_file("# good\n").await;
        fs::write(a.data.path().join("application.yml"), yaml).unwrap();
        let page = a.get("/settings").await;
        assert_eq!(page.status, StatusCode::OK, "{yaml}");
        assert!(!page.body.contains("hidden-1"), "{yaml} {}", editor(&page));
        let watcher = Watcher::default();
        look(&watcher, &a.app).await;
        if yaml.starts_with("jpom: [") {
            continue;
        }
        let fields = [("cluster_id", "east"), ("heart_second", "30")];
        let preview = a.post("/settings/draft", &fields).await;
        assert_eq!(preview.status, StatusCode::OK, "{yaml}: {}", preview.text("main"));
        let typed = preview
            .body
            .split_once("aria-hidden=\"true\">\n")
            .unwrap()
            .1
            .split_once("</textarea>")
            .unwrap()
            .0;
        let seen = preview.value("input[name=seen]");
        let saved = a
            .post("/settings", &[("seen", &seen), ("text", &html_escape(typed))])
            .await;
        assert_eq!(saved.status, StatusCode::SEE_OTHER, "{yaml}: {}", saved.text("main"));
        assert!(
            file(&a).starts_with(yaml) || file(&a).contains("id: EAST"),
            "{}",
            file(&a)
        );
        assert_eq!(file(&a).matches("hidden-1").count(), yaml.matches("hidden-1").count());
    }
}
