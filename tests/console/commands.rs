//! `muster user` and `muster key`, run as an operator runs them.

use std::path::Path;
use std::process::Command;

use muster::config::Database;
use muster::people::Role;
use muster::tasks;
use mysql_async::prelude::Queryable;
use poem::http::StatusCode;
use tempfile::TempDir;

use crate::second_factor::{code, sign_in, switched_on};
use crate::support::{PASSWORD, TestConsole, url};

/// What a command says, and whether it went well.
pub(crate) fn say(data: &Path, database: &Database, arguments: &[&str]) -> (bool, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_muster"))
        .args(arguments)
        .arg("--data")
        .arg(data)
        .env("JPOM_DB_URL", url(database))
        .env("LC_ALL", "en_US.UTF-8")
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
    (output.status.success(), said)
}

#[tokio::test]
async fn people_are_managed_from_the_command_line_too() {
    let a = TestConsole::start().await;
    let data = TempDir::new().unwrap();
    let user = |arguments: &[&str]| say(data.path(), &a.database, &[&["user"], arguments].concat());
    let (done, said) = user(&["add", "ann", "--role", "system-admin"]);
    assert!(done, "{said}");
    let password = said.trim().lines().last().unwrap().to_owned();
    let ann = a.sign_in("ann", &password).await.visitor();
    assert!(!user(&["add", "ANN"]).0, "the name is taken");
    assert!(user(&["list"]).1.contains("ann\tSystem admin\tActive"));
    assert!(user(&["role", "ann", "super-admin"]).0);
    assert!(!a.is_in(&ann).await, "another role ends sessions");
    let ann = a.sign_in("ann", &password).await.visitor();
    assert!(user(&["disable", "root"]).0);
    let (done, said) = user(&["disable", "ann"]);
    assert!(!done && said.contains("last super admin"), "{said}");
    assert!(user(&["enable", "root"]).0 && user(&["disable", "ann"]).0);
    assert!(!a.is_in(&ann).await);
    assert!(user(&["enable", "ann"]).0);
    let (_, said) = user(&["reset-password", "ann"]);
    let made = said.trim().lines().last().unwrap();
    assert!(a.sign_in("ann", &password).await.session().is_none());
    assert!(a.is_in(&a.sign_in("ann", made).await.visitor()).await);
    assert!(user(&["reset-second-factor", "ann"]).1.contains("nothing was changed"));
    assert!(user(&["enable", "ann"]).1.contains("nothing was changed"));
    assert!(!user(&["add", "   "]).0);
    assert!(user(&["add", " bob "]).0);
    assert!(user(&["list"]).1.contains("\nbob\tMember"));
    let (done, said) = user(&["disable", "nobody"]);
    assert!(!done && said.contains("nobody"), "{said}");
    assert_eq!(
        a.count("select count(*) from audit where role = 'command' and result = 'done'")
            .await,
        8
    );
    let sql = "select concat_ws(' ', action, object_name) from audit where role = 'command' and result = 'refused' \
               order by audit_id";
    let refused: Vec<String> = a.conn().await.query(sql).await.unwrap();
    assert_eq!(refused, ["account_create ANN", "account_disable ann"]);
}

#[test]
fn a_mistyped_directory_does_not_become_a_new_system() {
    let nowhere = TempDir::new().unwrap();
    let data = nowhere.path().join("typo");
    for arguments in [&["user", "list"][..], &["user", "add", "ann"], &["key", "show"]] {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_muster"));
        command
            .args(arguments)
            .arg("--data")
            .arg(&data)
            .env("LANG", "en_US.UTF-8")
            .env_remove("LC_ALL");
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            !output.status.success() && said.contains("holds no data of a Muster server"),
            "{said}"
        );
        assert!(!data.exists());
    }
}

#[tokio::test]
async fn a_key_that_is_not_lost_is_not_given_up_and_a_server_without_it_says_so() {
    let a = TestConsole::start().await;
    let b = TestConsole::beside(&a).await;
    let key = |arguments: &[&str]| say(a.data.path(), &a.database, &[&["key"], arguments].concat());
    assert!(key(&["create"]).0);
    tasks::keys(&b.app).await.unwrap_err();
    b.get("/clusters").await.shows("This server lacks the master key");
    let ann = a.visitor("ann", Role::Member).await;
    let page = a
        .post_as(&ann, "/security/second-factor", &[("current", PASSWORD)])
        .await;
    assert_eq!(page.status, StatusCode::CONFLICT);
    page.shows(&format!("These servers lack the master key: {}", b.app.name()));
    std::fs::copy(a.app.seal.path(), b.app.seal.path()).unwrap();
    tasks::keys(&b.app).await.unwrap();
    assert_eq!(b.get("/clusters").await.count("main .band:not([hidden])"), 0);
    switched_on(&a, &ann).await;
    // At a server that runs without it the second step says whom to ask.
    std::fs::remove_file(b.app.seal.path()).unwrap();
    tasks::keys(&b.app).await.unwrap_err();
    let page = sign_in(&b, "123456").await;
    assert_eq!(page.status, StatusCode::CONFLICT);
    page.shows("Ask an administrator to copy");
    // The commands block this thread, on which the transaction of that request still has to end.
    b.get("/clusters").await.shows("This server lacks the master key");

    let (done, said) = key(&["forget"]);
    assert!(!done && said.contains("is not lost"), "{said}");
    std::fs::remove_file(a.app.seal.path()).unwrap();
    let (done, said) = key(&["forget"]);
    assert!(done && said.contains("Dropped 1"), "{said}");
    let sql = "select count(*) from audit where action in ('key_create', 'key_forget')";
    assert_eq!(a.count(sql).await, 2);
}

#[tokio::test]
async fn the_key_is_changed_while_two_servers_run() {
    let a = TestConsole::start().await;
    let b = TestConsole::beside(&a).await;
    let key = |arguments: &[&str]| say(a.data.path(), &a.database, &[&["key"], arguments].concat()).1;
    assert!(key(&["rotate"]).contains("no secrets yet"));
    assert!(key(&["create"]).contains("was made"));
    assert!(key(&["create"]).contains("already"));
    std::fs::copy(a.app.seal.path(), b.app.seal.path()).unwrap();
    let ann = a.visitor("ann", Role::Member).await;
    let (app, _) = switched_on(&a, &ann).await;
    let old = a.app.seal.fingerprints();
    let first = std::fs::read_to_string(b.app.seal.path()).unwrap();
    assert!(key(&["show"]).contains(&old[0]));
    assert!(key(&["rotate", "--finish"]).contains("no new key"));
    assert!(key(&["rotate"]).contains("was added"));
    std::fs::copy(a.app.seal.path(), b.app.seal.path()).unwrap();
    // The other server has said that it lacks the new key.
    std::fs::write(b.app.seal.path(), &first).unwrap();
    tasks::keys(&b.app).await.unwrap();
    let said = key(&["rotate", "--finish"]);
    assert!(
        said.contains("lack the new key") && said.contains(&b.app.name()),
        "{said}"
    );
    std::fs::copy(a.app.seal.path(), b.app.seal.path()).unwrap();
    tasks::keys(&b.app).await.unwrap();
    let said = key(&["rotate", "--finish"]);
    assert!(said.contains("Sealed 1 secrets") && said.contains(&old[0]), "{said}");
    let now: Vec<String> = a.conn().await.query("select fingerprint from seal_key").await.unwrap();
    assert_ne!(now, old);
    // Neither server was restarted.
    for (console, step) in [(&b, 0), (&a, 1)] {
        let page = sign_in(console, &code(console, &app, step).await).await;
        assert_eq!(page.status, StatusCode::SEE_OTHER, "{}", page.text("body"));
    }
    let file = std::fs::read_to_string(a.app.seal.path()).unwrap();
    std::fs::write(a.app.seal.path(), file.lines().last().unwrap()).unwrap();
    assert!(key(&["show"]).contains(&now[0]));
    assert_eq!(
        a.count("select count(*) from audit where action = 'key_rotate'").await,
        1
    );

    // A key that is lost for good.
    std::fs::remove_file(a.app.seal.path()).unwrap();
    assert!(key(&["forget"]).contains("Dropped 1 sealed secrets"));
    let page = a.sign_in("ann", PASSWORD).await;
    assert_eq!(page.header("location"), "/");
}
