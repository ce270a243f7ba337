//! Who may use which address: the one table, walked over every route and every role.

use muster::people::Role;
use muster::people::access::Access;
use muster::routes;
use poem::http::StatusCode;

use crate::support::{Page, TestConsole, Visitor};

/// Every address of the site with the least somebody must be: anyone, signed (in), system (admin), super (admin); and
/// whether they must be there in person, since a leaked token must not be able to do it.
const TABLE: &str = "
    GET  /*other                                 signed
    GET  /healthz                                anyone
    GET  /readyz                                 anyone
    GET  /identity                               anyone
    GET  /metrics                                anyone
    POST /preferences                            anyone
    GET  /static/:name                           anyone
    GET  /setup                                  anyone
    POST /setup                                  anyone
    GET  /sign-in                                anyone
    POST /sign-in                                anyone
    GET  /sign-in/code                           anyone
    POST /sign-in/code                           anyone
    POST /sign-out                               signed
    GET  /profile                                signed
    POST /profile                                signed
    GET  /security                               signed
    POST /security/password                      signed person
    POST /security/sessions/removal                  signed person
    POST /security/sessions/:session_id/removal      signed person
    GET  /security/tokens                        signed
    POST /security/tokens                        signed person
    POST /security/tokens/:token_id/removal      signed person
    POST /security/second-factor                 signed person
    GET  /security/second-factor                 signed person
    POST /security/second-factor/confirmation    signed person
    POST /security/second-factor/removal         signed person
    GET  /audit                                  signed
    GET  /audit.csv                              signed
    GET  /clusters                               system
    GET  /clusters/:install_id                   system
    GET  /clusters/:install_id/edit              system
    POST /clusters/:install_id                   system
    POST /clusters/:install_id/check             system
    GET  /clusters/:install_id/removal           super
    POST /clusters/:install_id/removal           super
    POST /clusters/:install_id/removal/groups    super
    POST /clusters/:install_id/removal/workspaces super
    GET  /clusters/:install_id/succession        super
    POST /clusters/:install_id/succession        super
    GET  /clusters/:install_id/handovers/new     system
    POST /clusters/:install_id/handovers         system
    GET  /handovers/:handover_id                 system
    POST /handovers/:handover_id/undoing         system
    POST /registration                           super
    GET  /jumps/new                              signed
    POST /jumps                                  signed person
    POST /arrivals                               anyone
    GET  /arrivals/new                           anyone
    POST /arrivals/entry                         anyone
    GET  /home                                   signed
    GET  /settings                               system
    POST /settings                               system person
    POST /settings/draft                         system person
    POST /settings/editor                        system person
    GET  /log                                    system
    GET  /log/live                               system
    GET  /log/download                           system
    GET  /workspaces                             signed
    POST /workspaces                             system
    GET  /workspaces/new                         system
    GET  /workspaces/:workspace_id               signed
    POST /workspaces/:workspace_id               system
    GET  /workspaces/:workspace_id/edit          system
    POST /workspaces/bindings                    system
    GET  /workspaces/:workspace_id/removal       super
    POST /workspaces/:workspace_id/removal       super
    POST /workspaces/:workspace_id/members       system person
    POST /workspaces/:workspace_id/members/:account_id/removal system person
    GET  /groups                                 system
    POST /groups                                 system
    GET  /groups/panel                           system
    GET  /groups/:group_id                       system
    POST /groups/:group_id                       system
    POST /groups/:group_id/removal               system
    GET  /groups/:group_id/clusters/new          system
    POST /groups/:group_id/clusters              system
    POST /groups/:group_id/clusters/:install_id/removal system
    POST /groups/:group_id/clusters/:install_id/rise system
    GET  /notices                                system
    POST /notices                                system
    GET  /notices/new                            system
    GET  /notices/:channel_id                    system
    POST /notices/:channel_id                    system
    GET  /notices/:channel_id/edit               system
    POST /notices/:channel_id/test               system
    POST /notices/:channel_id/removal            system
    GET  /assets                                 system
    POST /assets                                 system
    GET  /assets/new                             system
    POST /assets/drafts                          system
    POST /assets/moves                           system
    POST /assets/checks                          system
    POST /assets/pauses                          system
    POST /assets/resumptions                     system
    POST /assets/removals                        system
    GET  /assets/:asset_id                       system
    GET  /assets/:asset_id/edit                  system
    POST /assets/:asset_id                       system
    POST /assets/:asset_id/host-key              system person
    GET  /credentials                            system
    POST /credentials                            system person
    GET  /credentials/new                        system
    GET  /credentials/:credential_id             system
    POST /credentials/:credential_id             system person
    POST /credentials/:credential_id/removal     system person
    GET  /assets/export                          system
    GET  /assets/import                          system
    GET  /assets/import/sample                   system
    POST /assets/import                          system
    POST /assets/trials                          system
    GET  /assets/trials/:trial_id                system
    GET  /users                                  super
    POST /users                                  super person
    GET  /users/new                              super
    GET  /users/:account_id                      super
    POST /users/:account_id                      super person
    POST /users/:account_id/disabling            super person
    POST /users/:account_id/enabling             super person
    POST /users/:account_id/password             super person
    POST /users/:account_id/second-factor-removal super person
";

fn table() -> Vec<(String, String, &'static str, bool)> {
    let line = |line: &'static str| {
        let mut words = line.split_whitespace();
        let [method, path] = [words.next()?, words.next()?].map(str::to_owned);
        Some((method, path, words.next()?, words.next() == Some("person")))
    };
    TABLE.lines().filter_map(line).collect()
}

#[test]
fn the_table_names_every_address_and_no_other() {
    let word = |access: Access| match access {
        Access::Anyone | Access::Guest => "anyone",
        Access::Signed => "signed",
        Access::SystemAdmin => "system",
        Access::SuperAdmin => "super",
    };
    let mut real: Vec<_> = routes::table()
        .iter()
        .map(|address| {
            (
                address.method.to_string(),
                address.path.to_owned(),
                word(address.access),
                address.is_in_person,
            )
        })
        .collect();
    let mut wanted = table();
    real.sort();
    wanted.sort();
    assert_eq!(real, wanted);
}

#[tokio::test]
async fn by_other_methods_no_address_does_anything() {
    let a = TestConsole::start().await;
    let known: Vec<(String, String)> = table().into_iter().map(|(method, path, ..)| (method, path)).collect();
    let before = a.count("select count(*) from audit").await;
    for (_, path) in &known {
        for method in [
            "GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PURGE",
        ] {
            // A page without a form of its own may lie under the address that takes all others.
            if known.contains(&(method.to_owned(), path.clone())) || method == "GET" {
                continue;
            }
            let request = a.client.request(method.parse().unwrap(), concrete(path));
            let answer = Page::of(request.header("Cookie", a.visitor.cookie()).send().await).await;
            assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED, "{method} {path}");
        }
    }
    assert_eq!(a.count("select count(*) from audit").await, before);
}

/// An address with something in place of its parameters; what is there does not matter to who may ask.
fn concrete(path: &str) -> String {
    let part = |part: &str| match part {
        "*other" => "nowhere".to_owned(),
        part if part.starts_with(':') => "0".repeat(32),
        part => part.to_owned(),
    };
    path.split('/').map(part).collect::<Vec<_>>().join("/")
}

async fn ask(a: &TestConsole, visitor: &Visitor, method: &str, path: &str) -> Page {
    match method {
        "GET" => a.get_as(visitor, path).await,
        _ => a.post_as(visitor, path, &[]).await,
    }
}

#[tokio::test]
async fn every_address_lets_in_exactly_whom_the_table_names() {
    let a = TestConsole::start().await;
    let mut people = Vec::new();
    for (rank, role) in Role::ALL.into_iter().enumerate() {
        let visitor = a.visitor(&format!("someone {rank}"), role).await;
        people.push((rank + 1, visitor.account_id));
    }
    for (method, path, least, _) in table() {
        let needed = ["anyone", "signed", "system", "super"]
            .iter()
            .position(|word| *word == least)
            .unwrap();
        let path = concrete(&path);
        let stranger = ask(&a, &Visitor::stranger(), &method, &path).await;
        // The set-up, the second step and the arrival send on whoever has no business there.
        let sends_on = ["/setup", "/sign-in/code"].contains(&path.as_str()) || path.starts_with("/arrivals");
        let turned_away = stranger.header("location").starts_with("/sign-in") && !sends_on;
        assert_eq!(
            turned_away,
            needed > 0,
            "{method} {path} for a stranger: {}",
            stranger.status
        );
        for (rank, account_id) in &people {
            // Some of these end the session they are asked with.
            let token = muster::people::secret::random().unwrap();
            let visitor = a.session_of(account_id, token).await;
            let answer = ask(&a, &visitor, &method, &path).await;
            let refused = answer.status == StatusCode::FORBIDDEN;
            assert_eq!(
                refused,
                *rank < needed,
                "{method} {path} for rank {rank}: {}",
                answer.status
            );
            if refused {
                answer.shows("This needs the rights of");
            }
        }
    }
}

#[tokio::test]
async fn a_leaked_token_can_neither_let_anybody_in_nor_change_who_gets_in() {
    let a = TestConsole::start().await;
    let fields = [("name", "ci"), ("role", "super_admin"), ("days", "30")];
    let token = a.post("/security/tokens", &fields).await.text(".shown-once code");
    let (mut refused, mut allowed) = (0, 0);
    for (method, path, least, in_person) in table() {
        // Addresses for anyone do not ask who it is.
        if least == "anyone" {
            continue;
        }
        let request = match method.as_str() {
            "GET" => a.client.get(concrete(&path)),
            _ => a.client.post(concrete(&path)),
        };
        let request = request.header("Authorization", format!("Bearer {token}"));
        let answer = Page::of(request.header("Accept-Language", "en").send().await).await;
        assert_eq!(
            answer.status == StatusCode::FORBIDDEN,
            in_person,
            "{method} {path}: {}",
            answer.status
        );
        if in_person {
            answer.shows("A token cannot do this");
            refused += 1;
        } else {
            allowed += 1;
        }
    }
    assert!(refused >= 15 && allowed >= 10);
    a.get("/audit?result=refused").await.shows("By token ci");
}

#[tokio::test]
async fn what_one_may_not_do_is_not_shown() {
    let a = TestConsole::start().await;
    let member = a.visitor("member", Role::Member).await;
    let system = a.visitor("system", Role::SystemAdmin).await;
    assert_eq!(a.get_as(&member, "/").await.header("location"), "/workspaces");
    let page = a.get_as(&member, "/profile").await;
    assert_eq!(page.count("a[href='/users']") + page.count("a[href='/clusters']"), 0);
    let page = a.get_as(&system, "/clusters").await;
    assert_eq!(page.count(".side a[href='/users']"), 0);
    assert!(page.count(".side a[href='/clusters']") > 0);
    assert!(a.get("/clusters").await.count(".side a[href='/users']") > 0);
}
