use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::odd;

/// The configuration of a settings file and an environment, in a data directory of its own.
fn read(yaml: &str, env: &[(&str, &str)]) -> Result<Config> {
    let data = tempfile::tempdir().unwrap();
    std::fs::write(data.path().join(FILE_NAME), yaml).unwrap();
    let flags = Flags {
        data: Some(data.path().to_owned()),
        ..Flags::default()
    };
    Config::read(
        &flags,
        env.iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned())),
    )
}

/// The refusal in English, which must name all of `parts`.
#[track_caller]
fn refused(yaml: &str, parts: &[&str]) {
    let said = read(yaml, &[]).unwrap_err().text().say(Lang::En);
    for part in parts {
        assert!(said.contains(part), "{part:?} is not in: {said}");
    }
}

#[test]
fn defaults_need_no_file() {
    let data = tempfile::tempdir().unwrap();
    let flags = Flags {
        data: Some(data.path().to_owned()),
        ..Flags::default()
    };
    let config = Config::read(&flags, []).unwrap();
    assert_eq!(
        (config.cluster.id.as_str(), config.cluster.heart_seconds, config.port),
        ("DEFAULT", 30, 2122)
    );
    assert!(
        config.address.is_unspecified()
            && config.audit_days == 365
            && config.database.is_none()
            && config.warnings.is_empty()
    );
}

#[test]
fn the_file_a_new_server_gets_changes_nothing() {
    let config = read(DEFAULT_FILE, &[]).unwrap();
    assert_eq!(
        (config.cluster.id.as_str(), config.cluster.heart_seconds),
        ("DEFAULT", 30)
    );
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
}

#[test]
fn nested_and_dotted_keys_are_the_same() {
    assert_eq!(read("jpom:\n  cluster:\n    id: b1\n", &[]).unwrap().cluster.id, "B1");
    assert_eq!(read("jpom.cluster.id: b1\n", &[]).unwrap().cluster.id, "B1");
    assert_eq!(read("jpom.cluster:\n  id: 007\n", &[]).unwrap().cluster.id, "007");
}

#[test]
fn the_environment_goes_before_the_file_in_all_its_spellings() {
    let yaml = "jpom.cluster.heart-second: 60";
    for name in [
        "JPOM_CLUSTER_HEART_SECOND",
        "JPOM_CLUSTER_HEARTSECOND",
        "jpom.cluster.heart-second",
    ] {
        assert_eq!(read(yaml, &[(name, "20")]).unwrap().cluster.heart_seconds, 20, "{name}");
    }
    assert_eq!(
        read(yaml, &[("JPOM_CLUSTER_HEART_SECOND", "")])
            .unwrap()
            .cluster
            .heart_seconds,
        60
    );
}

#[test]
fn flags_go_before_everything() {
    let data = tempfile::tempdir().unwrap();
    let flags = Flags {
        data: Some(data.path().to_owned()),
        port: Some("9000".into()),
        ..Flags::default()
    };
    assert_eq!(
        Config::read(&flags, [("SERVER_PORT".to_owned(), "8000".to_owned())])
            .unwrap()
            .port,
        9000
    );
}

#[test]
fn a_cluster_id_is_upper_cased_in_ascii() {
    assert_eq!(read("jpom.cluster.id: istanbul", &[]).unwrap().cluster.id, "ISTANBUL");
}

#[test]
fn a_section_with_a_value_is_refused_with_its_place() {
    for yaml in ["\njpom:\n  cluster: EAST", "\njpom:\n  cluster: [1, 2]", "\njpom: x"] {
        refused(yaml, &["jpom", "application.yml:", "indent"]);
    }
    let config = read("\njpom:\n  cluster:\n  id: EAST", &[]).unwrap();
    assert!(
        config.warnings[0].say(Lang::En).contains("jpom.id ("),
        "{:?}",
        config.warnings
    );
}

#[test]
fn a_wrong_cluster_id_names_key_value_place_and_remedy() {
    for id in ["a-b", "集群", "a23456789012345678901", "ıstanbul", "a b"] {
        refused(
            &format!("\njpom.cluster.id: '{id}'"),
            &["jpom.cluster.id", id, "application.yml:2", "letters and digits"],
        );
    }
}

#[test]
fn what_jpom_let_pass_is_kept_with_a_warning() {
    for id in ["a_b", "a2345678901234567890"] {
        let config = read(&format!("jpom.cluster.id: {id}"), &[]).unwrap();
        assert_eq!((config.cluster.id, config.warnings.len()), (id.to_ascii_uppercase(), 1));
    }
}

#[test]
fn a_heartbeat_faster_than_five_seconds_counts_as_five() {
    for given in ["1", "4"] {
        let config = read(&format!("jpom.cluster.heart-second: {given}"), &[]).unwrap();
        assert_eq!((config.cluster.heart_seconds, config.warnings.len()), (5, 1));
    }
    for wrong in ["0", "-1", "x", "1.5", "99999999999"] {
        refused(
            &format!("jpom.cluster.heart-second: {wrong}"),
            &["jpom.cluster.heart-second", wrong, ":1", "5"],
        );
    }
}

#[test]
fn yaml_that_does_not_parse_names_line_and_column() {
    refused("jpom:\n  cluster: [", &["application.yml", "line"]);
    refused("jpom:\n\tcluster:\n", &["application.yml", "2"]);
    refused("a: 1\na: 2\n", &["application.yml", "2"]);
}

#[test]
fn unknown_keys_warn_in_one_line() {
    let config = read("jpom:\n  node:\n    stat-log-keep-days: 3\n  typo: 1\n", &[]).unwrap();
    let [warning] = config.warnings.as_slice() else {
        panic!("{:?}", config.warnings)
    };
    let said = warning.say(Lang::En);
    assert!(
        said.contains("jpom.node.stat-log-keep-days (") && said.contains("jpom.typo ("),
        "{said}"
    );
}

#[test]
fn a_named_settings_file_must_exist() {
    let data = tempfile::tempdir().unwrap();
    let file = data.path().join("gone.yml");
    let flags = Flags {
        config: Some(file.clone()),
        ..Flags::default()
    };
    let said = Config::read(&flags, []).unwrap_err().text().say(Lang::En);
    assert!(said.contains(&file.display().to_string()), "{said}");
}

#[test]
fn jpoms_path_leads_to_its_data() {
    let jpom = tempfile::tempdir().unwrap();
    let env = [("JPOM_PATH".to_owned(), jpom.path().display().to_string())];
    assert_eq!(
        Config::read(&Flags::default(), env).unwrap().data,
        jpom.path().join("data")
    );
}

#[test]
fn both_forms_of_a_database_address_are_read() {
    let database = |url: &str| {
        let yaml = format!("jpom.db:\n  url: '{url}'\n  user-name: jpom\n  user-pwd: 's3:cret'\n");
        read(&yaml, &[]).unwrap().database.unwrap()
    };
    let jdbc = database("jdbc:mysql://db.example:3307/jpom?useUnicode=true&useSSL=false&serverTimezone=Asia/Shanghai");
    assert_eq!(jdbc.to_string(), "jpom@db.example:3307/jpom");
    assert_eq!((jdbc.password.as_str(), jdbc.tls), ("s3:cret", Tls::Off));
    assert_eq!(database("mysql://db/jpom").port, 3306);
    let nodes = database("jdbc:mariadb:sequential://a.example:3307,b.example,[::1]:3308/jpom?sslMode=trust");
    assert_eq!(nodes.to_string(), "jpom@a.example:3307,b.example:3306,::1:3308/jpom");
    assert_eq!(nodes.tls, Tls::Unverified);
    let nodes = database("mysql://u:p%40,x@a,b:3307/jpom");
    assert_eq!(nodes.host, "a");
    assert_eq!(nodes.others, [("b".to_owned(), 3307)]);
    assert_eq!(database("jdbc:mariadb://[::1]/jpom?sslMode=verify-full").tls, Tls::Full);
    assert_eq!(database("jdbc:mysql://db/jpom?sslMode=VERIFY_CA").tls, Tls::Authority);
    let own = read("jpom.db.url: mysql://me:p%40ss@db/jpom", &[])
        .unwrap()
        .database
        .unwrap();
    assert_eq!((own.user.as_str(), own.password.as_str()), ("me", "p@ss"));
}

#[test]
fn databases_we_cannot_use_are_refused_without_their_password() {
    for wrong in ["mysql://a,/jpom", "mysql://a,b:x/jpom"] {
        refused(&format!("jpom.db.url: {wrong}"), &["jpom.db.url", "mysql://"]);
    }
    refused("jpom.db.url: jdbc:h2:file:/jpom/db/Server", &["jpom.db.url", "MySQL"]);
    refused("jpom.db.url: mysql://db", &["jpom.db.url", "mysql://"]);
    refused("jpom.db.url: mysql://db/jpom", &["jpom.db.user-name"]);
    let said = read("jpom.db.url: mysql://me:hidden@db/", &[])
        .unwrap_err()
        .text()
        .say(Lang::En);
    assert!(!said.contains("hidden"), "{said}");
    let config = read("jpom.db.url: mysql://me:hidden@db/jpom", &[]).unwrap();
    assert!(!format!("{config:?}").contains("hidden"));
}

#[test]
fn a_base_path_has_one_shape() {
    let base = |path: &str| {
        read(&format!("server.servlet.context-path: {path}"), &[])
            .unwrap()
            .base_path
    };
    assert_eq!(
        (base("/"), base("/muster"), base("/a/b/")),
        (String::new(), "/muster".into(), "/a/b".into())
    );
    refused(
        "server.servlet.context-path: muster",
        &["server.servlet.context-path", "muster"],
    );
    refused("server.servlet.context-path: /a/../b", &["server.servlet.context-path"]);
}

#[test]
fn trusted_proxies_are_addresses_or_networks() {
    let config = read("server.trusted-proxies: [127.0.0.1, 10.0.0.0/8]", &[]).unwrap();
    assert_eq!(config.trusted_proxies.len(), 2);
    refused(
        "server.trusted-proxies: proxy.example",
        &["server.trusted-proxies", "proxy.example"],
    );
}

fn judge(yaml: &str) -> Result<Config, Vec<Problem>> {
    let flags = Flags {
        data: Some("/data".into()),
        ..Flags::default()
    };
    let reader = Reader {
        source: Source::new(&flags, []),
        flags,
    };
    reader.judge(yaml)
}

proptest! {
    #![proptest_config(odd::config())]

    #[test]
    fn whatever_the_file_says_it_is_read_or_refused_with_place_and_reason(
        yaml in odd::text(&[
            DEFAULT_FILE,
            "jpom:\n  cluster: {id: b1, heart-second: 9}\n  db.url: mysql://u:p@a,b/c\nserver: {port: 80, trusted-proxies: [10.0.0.0/8, '::1']}\n",
            "a: &a [1, {b: 2}]\nc: *a\n--- \nserver.port: 080\n? [x]\n: !!int 'y'\n",
        ]),
    ) {
        match judge(&yaml) {
            Ok(config) => {
                prop_assert!(config.cluster.heart_seconds >= 5 && (1..=20).contains(&config.cluster.id.len()));
                prop_assert!(config.base_path.is_empty() || config.base_path.starts_with('/'));
            }
            Err(problems) => {
                for problem in problems {
                    let said = problem.text.say(Lang::En);
                    let is_named = said.contains("/data/application.yml") || KEYS.iter().any(|(key, _)| said.contains(key));
                    prop_assert!(is_named && !said.contains("%{"), "{}", said);
                    prop_assert!(problem.line.is_none_or(|line| line <= yaml.matches(['\n', '\r']).count() + 2), "{:?}", problem);
                }
            }
        }
    }

    #[test]
    fn a_value_that_is_refused_is_refused_by_its_key(key in select(KEYS.map(|(key, _)| key).to_vec()), value in odd::text(&[
        "EAST", "30", "true", "mysql://u:p@h/db", "en", "/a/b", "10.0.0.0/8, ::1", "0.0.0.0", "/etc/x.pem",
    ])) {
        if let Err(problems) = judge(&format!("{key}: {}\n", serde_json::Value::from(value))) {
            for problem in problems {
                let said = problem.text.say(Lang::En);
                let section = key.rsplit_once('.').unwrap().0;
                prop_assert!(said.contains(section), "{}", said);
            }
        }
    }
}

#[test]
fn brackets_within_brackets_end_no_process() {
    for (open, shut) in [
        ("[", ""),
        ("[", "]"),
        ("{a: ", ""),
        ("{a: ", "}"),
        ("- ", ""),
        ("? ", ""),
    ] {
        let yaml = open.repeat(15_000) + &shut.repeat(15_000);
        let problems = judge(&yaml).unwrap_err();
        assert!(problems[0].text.say(Lang::En).contains("application.yml"), "{open}");
        mask::masked(&yaml);
        assert!(change::set(&yaml, CLUSTER_ID, "EAST").is_err());
    }
}

#[test]
fn aliases_of_aliases_fill_no_memory() {
    let mut yaml = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for number in 1..12 {
        let before = format!("*a{}", number - 1);
        yaml += &format!("a{number}: &a{number} [{}]\n", vec![before; 10].join(", "));
    }
    assert!(judge(&yaml).is_err());
}

#[test]
fn very_many_addresses_in_a_line_are_looked_through_at_once() {
    let began = std::time::Instant::now();
    for line in ["# ", "", "[", "a: "].map(|start| start.to_owned() + &"x://?".repeat(12_000)) {
        mask::masked(&line);
    }
    assert!(began.elapsed().as_secs() < 10, "{:?}", began.elapsed());
}
