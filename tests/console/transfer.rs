//! Assets to and from CSV: what goes out, what a file would do, and doing exactly that.

use mysql_async::prelude::Queryable;
use poem::http::StatusCode;

use muster::people::Role;

use crate::support::{Page, TestConsole, Visitor};

const BOUNDARY: &str = "----a-boundary-of-this-test";

/// A form with a file as a browser without scripts sends it.
async fn upload_as(a: &TestConsole, visitor: &Visitor, (file, fields): (&[u8], &[(&str, &str)]), lang: &str) -> Page {
    let mut body = Vec::new();
    for (name, value) in fields {
        let part = format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
        body.extend_from_slice(part.as_bytes());
    }
    let head = "Content-Disposition: form-data; name=\"file\"; filename=\"a.csv\"\r\nContent-Type: text/csv";
    body.extend_from_slice(format!("--{BOUNDARY}\r\n{head}\r\n\r\n").as_bytes());
    body.extend_from_slice(file);
    body.extend_from_slice(format!("\r\n--{BOUNDARY}--\r\n").as_bytes());
    let request = a.client.post("/assets/import").header("Accept-Language", lang);
    let request = request.header("Cookie", visitor.cookie());
    let request = request.content_type(format!("multipart/form-data; boundary={BOUNDARY}"));
    Page::of(request.body(body).send().await).await
}

pub(crate) async fn look(a: &TestConsole, csv: &str) -> Page {
    let csrf = a.visitor.csrf();
    let fields = [("csrf", csrf.as_str()), ("step", "check")];
    upload_as(a, &a.visitor, (csv.as_bytes(), &fields), "en").await
}

/// What the page shows, and then that.
pub(crate) async fn import(a: &TestConsole, csv: &str) -> Page {
    let shown = look(a, csv).await.value("input[name=fingerprint]");
    import_shown(a, csv, &shown).await
}

pub(crate) async fn import_shown(a: &TestConsole, csv: &str, shown: &str) -> Page {
    let csrf = a.visitor.csrf();
    let fields = [("csrf", csrf.as_str()), ("step", "import"), ("fingerprint", shown)];
    upload_as(a, &a.visitor, (csv.as_bytes(), &fields), "en").await
}

/// Refused, changed, new, unchanged.
pub(crate) fn counts(page: &Page) -> Vec<String> {
    page.texts(".report-counts .state")
}

/// Line, name, what, why.
pub(crate) fn lines(page: &Page) -> Vec<String> {
    page.texts("#import-report tbody tr")
}

pub(crate) async fn export(a: &TestConsole, query: &str) -> String {
    let page = a.get(&format!("/assets/export{query}")).await;
    assert_eq!(page.header("content-type"), "text/csv; charset=utf-8");
    page.body
}

const ODD: [&str; 6] = [
    "a \"b\", c;d",
    "=cmd|'/C calc'!A0",
    "'=x",
    "中文 机器",
    "🦀 emoji",
    "#not a remark",
];

async fn add_odd(a: &TestConsole) {
    let shared = [("name", "deploy"), ("user", "ops"), ("password", "shared-secret")];
    a.post("/credentials", &shared).await;
    let id: String = a
        .conn()
        .await
        .query_first("select credential_id from credential")
        .await
        .unwrap()
        .unwrap();
    let machine =
        "kind=machine&agent=jpom&cpu_limit=71&verify=no&interval_s=33&timeout_s=9&user=%3Dme&password=own-secret";
    let ssh = "kind=ssh&port=2200&login=key_file&key_file=/etc/k,%22ey&disk_limit=0&memory_limit=1&user=u&retries=7";
    let docker = format!("kind=docker&tls=yes&credential_id={id}");
    for (number, name) in ODD.iter().enumerate() {
        for (rest, field, place) in [
            (machine, "address", format!("http://10.1.0.{number}:9100")),
            (ssh, "host", format!("10.2.0.{number}")),
            (&docker, "address", format!("tcp://10.3.0.{number}:2376")),
        ] {
            let rest: Vec<_> = url::form_urlencoded::parse(rest.as_bytes()).collect();
            let mut form = vec![("name", *name), ("group_id", "1"), (field, &place)];
            form.extend(rest.iter().map(|(field, value)| (field.as_ref(), value.as_ref())));
            let page = a.post("/assets", &form).await;
            assert_eq!(page.status, StatusCode::SEE_OTHER, "{}", page.text(".mistake"));
        }
    }
}

#[tokio::test]
async fn what_is_exported_is_unchanged_when_it_comes_in_again_and_holds_no_secret() {
    let a = TestConsole::start().await;
    add_odd(&a).await;
    a.post("/assets/pauses", &[("asset", "3"), ("note", "later")]).await;
    let csv = export(&a, "").await;
    assert!(csv.starts_with("\u{feff}kind,name,group,agent,address,"));
    assert_eq!(csv.matches("\r\n").count(), 19);
    assert!(!csv.contains("secret"));
    assert!(csv.contains("\"'=cmd|") && csv.contains("\"deploy\"") && csv.contains("\"yes\"\r\n"));
    let page = look(&a, &csv).await;
    assert_eq!(
        counts(&page),
        ["Refused 0", "Changed 0", "New 0", "Unchanged 18"],
        "{:?}",
        lines(&page)
    );
    // Into an empty console it makes the same ones, so that it goes out as it came.
    a.sql("delete from asset").await;
    let page = import(&a, &csv).await;
    page.shows("Imported: 18 new, 0 changed.");
    assert_eq!(export(&a, "").await, csv);
}

#[tokio::test]
async fn an_export_keeps_the_filters_and_goes_past_one_piece() {
    let a = TestConsole::start().await;
    let lines: String = (0..1203)
        .map(|n| format!("ssh,host {n:04},10.{}.{}.9\n", n / 250, n % 250))
        .collect();
    import(&a, &format!("kind,name,host\n{lines}machine,m,\n"))
        .await
        .shows("Imported: 1203 new");
    let csv = export(&a, "?kind=ssh&sort=name&order=desc").await;
    let names: Vec<&str> = csv
        .lines()
        .skip(1)
        .map(|line| line.split(',').nth(1).unwrap())
        .collect();
    assert_eq!(names.len(), 1203);
    assert!(names.is_sorted_by(|a, b| a > b));
    assert_eq!(export(&a, "?kind=ssh&name=host%2001").await.lines().count(), 101);
    assert_eq!(export(&a, "?kind=docker").await.lines().count(), 1);
    let list = a.get("/assets?kind=ssh&name=host").await;
    assert_eq!(list.count("a[href='/assets/export?kind=ssh&name=host']"), 1);
}

#[tokio::test]
async fn a_look_changes_nothing_and_an_import_does_what_was_shown() {
    let a = TestConsole::start().await;
    let before = "select (select count(*) from asset) * 1000000 + (select count(*) from credential) * 10000 \
                  + (select count(*) from asset_group) * 100 + (select count(*) from audit)";
    let csv =
        "kind,name,group,host,user,password\nssh,one,Racks,10.0.0.1,me,the-first-secret\nssh,two,racks,10.0.0.2,,\n";
    a.scan.seen.mark("the-first-secret");
    let counted = a.count(before).await;
    let page = look(&a, csv).await;
    assert_eq!(page.status, StatusCode::OK);
    assert_eq!(counts(&page), ["Refused 0", "Changed 0", "New 2", "Unchanged 0"]);
    page.shows("Groups that are made: Racks");
    assert!(!page.body.contains("the-first-secret"));
    assert_eq!(a.count(before).await, counted);
    let shown = page.value("input[name=fingerprint]");
    // Another file is shown and not imported.
    let page = import_shown(&a, &csv.replace("two", "too"), &shown).await;
    assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY);
    page.shows("is not what was checked");
    assert_eq!(a.count(before).await, counted);
    import_shown(&a, csv, &shown).await.shows("Imported: 2 new, 0 changed.");
    assert_eq!(a.count("select count(*) from asset").await, 2);
    assert_eq!(a.count("select count(distinct group_id) from asset").await, 1);
    assert_eq!(
        a.count("select count(*) from credential where user_name = 'me'").await,
        1
    );
    assert_eq!(
        a.count("select count(*) from audit where action = 'asset_create'")
            .await,
        2
    );
    assert_eq!(
        a.count("select count(*) from audit where changes like '%secret%'")
            .await,
        0
    );
    // Pressed twice, the second finds that things are not what was shown.
    import_shown(&a, csv, &shown).await.shows("is not what was checked");
    assert_eq!(a.count("select count(*) from asset").await, 2);
}

#[tokio::test]
async fn a_change_names_its_columns_and_leaves_the_rest_and_the_secrets() {
    let a = TestConsole::start().await;
    add_odd(&a).await;
    let sealed = "select sealed from credential where name is null order by credential_id";
    let before: Vec<Vec<u8>> = a.conn().await.query(sealed).await.unwrap();
    let csv = "kind,name,address,interval_s,paused\nmachine,new name,HTTP://10.1.0.0:9100/,,yes\ndocker,🦀 emoji,tcp://10.3.0.4:2376,77,\n";
    let page = look(&a, csv).await;
    assert_eq!(
        counts(&page),
        ["Refused 0", "Changed 2", "New 0", "Unchanged 0"],
        "{:?}",
        lines(&page)
    );
    assert_eq!(lines(&page)[0], "2 new name Changed Name Paused");
    assert_eq!(lines(&page)[1], "3 🦀 emoji Changed Interval (s)");
    import(&a, csv).await.shows("Imported: 0 new, 2 changed.");
    assert_eq!(a.count("select count(*) from asset where name = 'new name' and timeout_s = 9 and settings like '%71%' and paused_until is not null").await, 1);
    assert_eq!(
        a.count(
            "select interval_s from asset_watch w join asset a using (asset_id) where a.address = 'tcp://10.3.0.4:2376'"
        )
        .await,
        77
    );
    // A named credential stays; a secret in the file replaces the asset's own, and is never compared.
    let csv = "kind,name,address,password\nmachine,new name,http://10.1.0.0:9100,own-secret\n";
    assert_eq!(lines(&look(&a, csv).await)[0], "2 new name Changed Password");
    import(&a, csv).await.shows("Imported: 0 new, 1 changed.");
    let after: Vec<Vec<u8>> = a.conn().await.query(sealed).await.unwrap();
    assert_eq!(before.len(), after.len());
    assert!(before.iter().zip(&after).any(|(before, after)| before != after));
    assert_eq!(
        a.count("select count(*) from credential where name = 'deploy' and row_version = 0")
            .await,
        1
    );
    // What somebody else changes after the look is not overwritten.
    let csv = "kind,name,address\nmachine,third,http://10.1.0.0:9100\n";
    let shown = look(&a, csv).await.value("input[name=fingerprint]");
    a.sql("update asset set row_version = row_version + 1").await;
    import_shown(&a, csv, &shown).await.shows("is not what was checked");
}

#[tokio::test]
async fn each_mistake_is_told_at_its_line_and_column_and_the_other_lines_come_in() {
    let a = TestConsole::start().await;
    for (name, host) in [("left", "10.9.0.1"), ("right", "10.9.0.1")] {
        a.post(
            "/assets",
            &[
                ("kind", "ssh"),
                ("name", name),
                ("host", host),
                ("login", "banner"),
                ("group_id", "1"),
            ],
        )
        .await;
    }
    let csv = "kind;name;group;host;port;address;login;user;credential;timeout_s;password;colour\n\
        ssh;good;;10.0.0.1;;;;;;;;\n\
        toaster;x;;10.0.0.2;;;;;;;;\n\
        ssh;\"two\nlines\";;10.0.0.3;;;;;;;;\n\
        ssh;;;10.0.0.4;;;;;;;;\n\
        ssh;x;;10.0.0.5;70000;;magic;;;;;\n\
        ssh;x;;10.0.0.6;;http://a;;;;;;\n\
        ssh;x;;169.254.169.254;;;;;;;;\n\
        ssh;x;;10.0.0.8;;;;me;nobody;;;\n\
        ssh;x;;10.0.0.9;;;;;;60;;\n\
        ssh;GOOD ;;10.0.0.1;22;;;;;;;\n\
        ssh;x;;10.9.0.1;;;;;;;;\n\
        ssh;x;;10.0.0.11;;;;;;;hunter2-leaks;;\n\
        ssh;x;;10.0.0.12;;;;;;;p;;;;hunter2-leaks\n";
    let page = look(&a, csv).await;
    assert_eq!(counts(&page), ["Refused 11", "Changed 0", "New 2", "Unchanged 0"]);
    page.shows("Nobody knows these columns, and they are not used: colour");
    assert!(!page.body.contains("hunter2"));
    let told = [
        "3 x Refused Kind — One of: machine, ssh, docker",
        "4 two lines Refused Name —",
        "6 Refused Name — Give the asset a name",
        "7 x Refused Login — One of: password, key, key_file, banner Port — A port is between 1 and 65535",
        "8 x Refused Address — An asset of this kind has no such thing",
        "9 x Refused Host — No asset can be at this address",
        "10 x Refused User — Where a named credential is given",
        "11 x Refused Time limit (s) — A whole number from 1 to 59",
        "12 GOOD Refused Host — Line 2 has the same kind, address and name",
        "13 x Refused Host — Several assets or lines have this address",
        "15 Refused Kind — There are more cells than columns",
    ];
    for (line, told) in lines(&page).iter().zip(told) {
        assert!(
            line.starts_with(told) || (told.starts_with("7 ") && line.starts_with("7 x Refused")),
            "{line:?} is not {told:?}"
        );
    }
    page.shows("There is no such credential");
    import(&a, csv).await.shows("Imported: 2 new, 0 changed.");
    assert_eq!(a.count("select count(*) from asset").await, 4);
}

#[tokio::test]
async fn jpoms_own_file_comes_in() {
    let a = TestConsole::start().await;
    let key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----";
    let csv = format!(
        "name,groupName,host,port,user,password,charset,connectType,privateKey,timeout\n\
         one,机房A,10.0.0.1,22,root,pw-of-one,UTF-8,PASS,,5\n\
         two,,10.0.0.2,2222,root,,UTF-8,PUBKEY,file:/srv/keys/id_rsa,0\n\
         three,,10.0.0.3,22,root,,UTF-8,PUBKEY,\"{key}\",\n\
         four,,10.0.0.4,22,root,,UTF-8,TELNET,,\n"
    );
    let page = look(&a, &csv).await;
    assert_eq!(
        counts(&page),
        ["Refused 1", "Changed 0", "New 3", "Unchanged 0"],
        "{:?}",
        lines(&page)
    );
    assert!(
        lines(&page)[0].starts_with("7 four Refused Login"),
        "{:?}",
        lines(&page)
    );
    assert!(!page.body.contains("pw-of-one") && !page.body.contains("PRIVATE KEY"));
    import(&a, &csv).await.shows("Imported: 3 new");
    assert_eq!(
        a.count("select count(*) from asset where settings like '%/srv/keys/id_rsa%' and address = '10.0.0.2:2222'")
            .await,
        1
    );
    assert_eq!(a.count("select count(*) from asset a join asset_group g using (group_id) where g.name = '机房A' and a.timeout_s = 5").await, 1);
    assert_eq!(
        a.count("select count(*) from credential where name is null and user_name = 'root'")
            .await,
        3
    );
}

#[tokio::test]
async fn what_cannot_be_read_is_told_in_both_languages() {
    let a = TestConsole::start().await;
    let long = vec![b'x'; 5 * 1024 * 1024];
    let many = format!("kind,name,host\n{}", "ssh,a,b\n".repeat(20_001));
    let cases: [(&[u8], &str, &str); 7] = [
        (b"", "There is no line to import", "没有可以导入的行"),
        (b"kind,name\n#ssh,x\n", "There is no line to import", "没有可以导入的行"),
        (
            b"kind,name,host\nssh,a,b\nssh,\xd6\xd0,c\n",
            "not UTF-8 (line 3)",
            "不是 UTF-8 编码（第 3 行）",
        ),
        (
            b"ssh,secret-word,c\n",
            "\u{201c}kind\u{201d} is missing",
            "缺少\u{201c}kind\u{201d}",
        ),
        (
            b"kind,name,Name\n",
            "names the column \u{201c}Name\u{201d} twice",
            "\u{201c}名称\u{201d}这一列出现了两次",
        ),
        (many.as_bytes(), "more than 20000 lines", "超过 20000 行"),
        (&long, "the most is 4 MiB", "最大 4 MiB"),
    ];
    for (file, en, zh) in cases {
        for (lang, wanted) in [("en", en), ("zh-CN", zh)] {
            let csrf = a.visitor.csrf();
            let page = upload_as(&a, &a.visitor, (file, &[("csrf", &csrf), ("step", "check")]), lang).await;
            assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY);
            page.shows(wanted);
            assert!(!page.body.contains("secret-word"));
        }
    }
}

#[tokio::test]
async fn an_upload_is_guarded_as_every_form_is() {
    let a = TestConsole::start().await;
    let csv = b"kind,name,host\nssh,a,10.0.0.1\n".as_slice();
    for fields in [
        [("csrf", ""), ("step", "check")],
        [("csrf", "wrong"), ("step", "check")],
    ] {
        let page = upload_as(&a, &a.visitor, (csv, &fields), "en").await;
        assert_eq!(page.status, StatusCode::FORBIDDEN);
        page.shows("did not come from a page of this console");
    }
    let member = a.visitor("member", Role::Member).await;
    let page = upload_as(&a, &member, (csv, &[("csrf", &member.csrf())]), "en").await;
    assert_eq!(page.status, StatusCode::FORBIDDEN);
    for path in ["/assets/export", "/assets/import", "/assets/import/sample"] {
        assert_eq!(a.get_as(&member, path).await.status, StatusCode::FORBIDDEN, "{path}");
    }
    // Pasted text comes by the same way, and stays in its field as long as it can hold no secret.
    let csrf = a.visitor.csrf();
    for (head, stays) in [("user", true), ("password", false)] {
        let text = format!("kind,name,host,{head}\nssh,pasted,10.0.0.1,zzz\n");
        let fields = [("csrf", csrf.as_str()), ("step", "check"), ("text", &text)];
        let page = upload_as(&a, &a.visitor, (b"", &fields), "en").await;
        assert_eq!(counts(&page)[2], "New 1");
        assert_eq!(page.body.contains("zzz"), stays);
    }
}

#[tokio::test]
async fn the_sample_says_every_column_and_imports_nothing() {
    let a = TestConsole::start().await;
    let sample = a.get("/assets/import/sample").await.body;
    look(&a, &sample).await.shows("There is no line to import");
    let filled = sample
        .replace("\n#\"machine\"", "\n\"machine\"")
        .replace("\n#\"ssh\"", "\n\"ssh\"")
        .replace("\n#\"docker\"", "\n\"docker\"");
    let page = look(&a, &filled).await;
    assert_eq!(
        counts(&page),
        ["Refused 0", "Changed 0", "New 3", "Unchanged 0"],
        "{:?}",
        lines(&page)
    );
}

#[tokio::test]
async fn ten_thousand_lines_come_in_and_the_trail_has_a_line_for_each_piece() {
    let a = TestConsole::start().await;
    a.scan.seen.mark("secret-7777");
    let lines: String = (0..10_000)
        .map(|n| {
            format!(
                "machine,web {n},Group {},http://10.{}.{}.1:9100,,u,secret-{n}\n",
                n % 20,
                n / 250,
                n % 250
            )
        })
        .collect();
    let csv = format!("kind,name,group,address,host,user,password\n{lines}");
    let began = std::time::Instant::now();
    let mut page = look(&a, &csv).await;
    eprintln!("look {:?}", began.elapsed());
    assert_eq!(counts(&page), ["Refused 0", "Changed 0", "New 10000", "Unchanged 0"]);
    page.shows("9800 more lines are not shown");
    assert!(page.body.len() < 400_000);
    while page.count("input[name=fingerprint]") > 0 {
        let (shown, after) = (page.value("input[name=fingerprint]"), page.value("input[name=after]"));
        let csrf = a.visitor.csrf();
        let fields = [
            ("csrf", csrf.as_str()),
            ("step", "import"),
            ("fingerprint", &shown),
            ("after", &after),
        ];
        page = upload_as(&a, &a.visitor, (csv.as_bytes(), &fields), "en").await;
        eprintln!("import {:?}", began.elapsed());
        page.shows("Imported");
    }
    assert_eq!(a.count("select count(*) from asset").await, 10_000);
    assert_eq!(
        a.count("select count(*) from asset_group where name like 'Group %'")
            .await,
        20
    );
    assert_eq!(
        a.count("select count(*) from audit where action = 'asset_import'")
            .await,
        50
    );
    assert_eq!(
        a.count("select count(*) from audit where action = 'asset_create'")
            .await,
        0
    );
}
