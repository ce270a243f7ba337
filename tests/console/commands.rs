//! `muster user` and `muster key`, run as an operator runs them.

use std::path::Path;
use std::process::Command;

use muster::config::Database;
use muster::people::Role;
use mysql_async::prelude::Queryable;
use poem::http::StatusCode;
use tempfile::TempDir;

use crate::second_factor::{code, sign_in, switched_on};
use crate::support::{PASSWORD, TestConsole, url};

/// What a command says, and whether it went well.
fn say(data: &Path, database: &Database, arguments: &[&str]) -> (bool, String) {
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
    let password = said.trim().rsplit(' ').next().unwrap().to_owned();
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
    let made = said.split("ann: ").nth(1).unwrap().split(';').next().unwrap();
    assert!(a.sign_in("ann", &password).await.session().is_none());
    assert!(a.is_in(&a.sign_in("ann", made).await.visitor()).await);
    assert!(user(&["reset-second-factor", "ann"]).0);
    let (done, said) = user(&["disable", "nobody"]);
    assert!(!done && said.contains("nobody"), "{said}");
    assert_eq!(
        a.count("select count(*) from audit where role = 'command' and result = 'done'")
            .await,
        8
    );
    assert_eq!(
        a.count("select count(*) from audit where role = 'command' and result = 'refused'")
            .await,
        2
    );
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
    assert!(key(&["show"]).contains(&old[0]));
    assert!(key(&["rotate", "--finish"]).contains("no new key"));
    assert!(key(&["rotate"]).contains("was added"));
    std::fs::copy(a.app.seal.path(), b.app.seal.path()).unwrap();
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
