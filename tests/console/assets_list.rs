//! The list of assets: its orders, its pages, its filters, and how many it says there are.

use muster::people::Role;
use poem::http::StatusCode;

use crate::assets::{added, group, machine, many};
use crate::support::TestConsole;

#[tokio::test]
async fn the_list_pages_by_key_in_each_order_and_both_ways_without_losing_a_row() {
    let a = TestConsole::start().await;
    many(&a, 120, 1).await;
    a.sql(
        "update asset set state = elt(1 + asset_id mod 5, 'up', 'down', 'new', 'changed', 'up'), \
           paused_until = if(asset_id mod 7 = 0, '9999-12-31', null)",
    )
    .await;
    a.sql("update asset_watch set latency_us = if(asset_id mod 3 = 0, null, asset_id mod 5 * 1000)")
        .await;
    for sort in ["name", "address", "modified", "created", "state", "latency"] {
        for order in ["asc", "desc"] {
            let mut path = format!("/assets?sort={sort}&order={order}");
            let mut pages = Vec::new();
            loop {
                let page = a.get(&path).await;
                pages.push(page.texts("td.c-address"));
                match page.attrs("a[rel=next]", "href").pop() {
                    Some(next) => path = next,
                    None => break,
                }
            }
            let mut seen: Vec<String> = pages.concat();
            assert_eq!((pages.len(), seen.len()), (3, 120), "{sort} {order}");
            let back = a.get(&path).await.attrs("a[rel=prev]", "href").pop().unwrap();
            assert_eq!(a.get(&back).await.texts("td.c-address"), pages[1], "{sort} {order}");
            seen.sort();
            seen.dedup();
            assert_eq!(seen.len(), 120, "{sort} {order}");
        }
    }
}

#[tokio::test]
async fn sorted_by_state_trouble_stands_on_top() {
    let a = TestConsole::start().await;
    many(&a, 60, 1).await;
    a.sql("update asset set state = 'up', name = concat('host ', asset_id), name_key = name")
        .await;
    for (ids, state) in [
        ("8, 31", "down"),
        ("9", "changed"),
        ("40", "degraded"),
        ("50", "unknown"),
        ("59", "new"),
    ] {
        a.sql(&format!("update asset set state = '{state}' where asset_id in ({ids})"))
            .await;
    }
    a.post("/assets/pauses", &[("asset", "8"), ("asset", "2")]).await;
    let page = a.get("/assets?sort=state").await;
    let names = page.texts("tbody .c-name a");
    assert_eq!(
        names[..6],
        ["host 9", "host 31", "host 40", "host 50", "host 59", "host 1"]
    );
    assert_eq!(
        page.attrs("th[aria-sort=ascending] a", "href"),
        ["/assets?sort=state&order=desc"]
    );
    let next = page.attrs("a[rel=next]", "href").pop().unwrap();
    assert_eq!(
        a.get(&next).await.texts("tbody .c-name a")[8..],
        ["host 2", "host 8"],
        "what is paused stands last"
    );
    let page = a.get("/assets?sort=state&order=desc&group=1").await;
    assert_eq!(page.texts("tbody .c-name a")[..3], ["host 8", "host 2", "host 7"]);
    for query in [
        "state=down",
        "state=paused",
        "kind=ssh",
        "after=&id=1",
        "after=x%C3%A9&id=x",
        "after=9zz&id=9",
    ] {
        a.get(&format!("/assets?sort=state&{query}"))
            .await
            .shows("on this page");
    }
    assert_eq!(
        a.get("/assets?sort=state&state=down").await.texts("tbody .c-name a"),
        ["host 31"]
    );
    assert_eq!(
        a.get("/assets/export?sort=state")
            .await
            .body
            .lines()
            .nth(1)
            .unwrap()
            .split(',')
            .nth(1),
        Some("\"host 9\"")
    );
}

#[tokio::test]
async fn sorted_by_latency_what_never_answered_stands_last_both_ways() {
    let a = TestConsole::start().await;
    many(&a, 5, 1).await;
    a.sql("update asset set name = concat('host ', asset_id), state = if(asset_id < 4, 'up', 'down')")
        .await;
    a.sql("update asset_watch set latency_us = elt(asset_id, 3000, 1000, null, 2000, null), checked_at = utc_timestamp(6)")
        .await;
    let names = |query: &'static str| {
        let a = &a;
        async move {
            let page = a.get(&format!("/assets?sort=latency{query}")).await;
            let names = page.texts("tbody .c-name a");
            names.concat().replace("host ", "")
        }
    };
    assert_eq!(names("").await, "24135");
    assert_eq!(names("&order=desc").await, "14253");
    assert_eq!(names("&after=02000&id=4").await, "135");
    assert_eq!(names("&before=1&id=3").await, "241");
    assert_eq!(names("&order=desc&before=1&id=5").await, "142");
    assert_eq!(names("&state=up").await, "213");
    assert_eq!(names("&state=down&order=desc").await, "45");
    assert_eq!(names("&group=1&kind=machine").await, "24135");
    assert_eq!(names("&state=down&after=02000&id=4").await, "5");
    assert_eq!(names("&state=down&before=1&id=5").await, "4");
    assert_eq!(names("&state=down&after=1&id=5").await, "");
    for odd in [
        "&after=&id=1",
        "&after=%C3%A9&id=1",
        "&before=0x&id=9",
        "&state=stale",
        "&state=paused",
    ] {
        names(odd).await;
    }
    // Whoever searches keeps the order.
    let page = a.get("/assets?sort=latency&order=desc").await;
    assert_eq!(page.value("input[form=asset-filter][name=sort]"), "latency");
    assert_eq!(page.value("input[form=asset-filter][name=order]"), "desc");
    assert_eq!(a.get("/assets").await.count("input[form=asset-filter]"), 0);
    let page = a.get("/assets?sort=latency").await;
    assert_eq!(
        page.attrs("th[aria-sort=ascending] a", "href"),
        ["/assets?sort=latency&order=desc"]
    );
}

#[tokio::test]
async fn what_is_out_of_date_is_found_as_its_row_says_it() {
    let a = TestConsole::start().await;
    many(&a, 7, 1).await;
    a.sql("update asset set name = concat('host ', asset_id), name_key = name, state = 'up'")
        .await;
    a.sql("update asset_watch set interval_s = 60, checked_at = utc_timestamp(6) - interval elt(asset_id, 215, 200, 205, 999, 999, 5, 30) second")
        .await;
    a.sql("update asset set state = if(asset_id = 4, 'new', 'down') where asset_id in (3, 4)")
        .await;
    a.post("/assets/pauses", &[("asset", "5")]).await;
    a.sql("update asset_watch set due_at = '9000-01-01'").await;
    // Three intervals and half a minute: 210 s.
    let all = a.get("/assets").await;
    let stale = all
        .texts("td.c-state .state")
        .iter()
        .filter(|word| *word == "Out of date")
        .count();
    a.sql("update asset_watch set checked_at = checked_at - interval 8 second where asset_id = 3")
        .await;
    let names = |query: &'static str| {
        let a = &a;
        async move {
            a.get(&format!("/assets?state=stale{query}"))
                .await
                .texts("tbody .c-name a")
                .concat()
        }
    };
    assert_eq!(stale, 1);
    for sort in ["", "&sort=address", "&sort=modified", "&sort=created", "&sort=latency"] {
        assert_eq!(names(sort).await, "host 1host 3", "{sort}");
    }
    assert_eq!(names("&sort=state").await, "host 3host 1", "the worst first");
    assert_eq!(names("&order=desc").await, "host 3host 1");
    assert_eq!(names("&kind=ssh").await, "");
    let page = a.get("/assets?state=stale").await;
    assert_eq!(page.texts("td.c-state .state"), ["Out of date", "Out of date"]);
    assert_eq!(page.attrs("select[name=state] [selected]", "value"), ["stale"]);
    assert_eq!(
        a.get("/assets?state=up").await.texts("tbody .c-name a").concat(),
        "host 2host 6host 7"
    );
    a.post("/assets/checks", &[("scope", "all"), ("back", "/assets?state=stale")])
        .await;
    let asked = "select count(*) from asset_watch where due_at <= utc_timestamp(6)";
    assert_eq!(a.count(asked).await, 2, "and these can be asked for anew");
    // Of what nobody watches its row says that, and not how old it is.
    a.sql("delete from cluster_group").await;
    assert_eq!(names("").await, "");
}

#[tokio::test]
async fn a_row_whose_address_another_one_has_says_so() {
    let a = TestConsole::start().await;
    for (name, address) in [
        ("left", "http://10.0.0.1:9100"),
        ("alone", "http://10.0.0.2:9100"),
        ("right", "http://10.0.0.1:9100"),
    ] {
        added(&a, &machine(name, address)).await;
    }
    for sort in ["name", "state", "latency"] {
        let rows = a.get(&format!("/assets?sort={sort}")).await.texts("tbody th.c-name");
        let twins: Vec<&str> = { rows.iter() }
            .filter(|row| row.ends_with("Address twice"))
            .map(|row| &row[..4])
            .collect();
        assert_eq!((rows.len(), twins.len()), (3, 2), "{rows:?}");
        assert!(!twins.contains(&"alon"));
    }
}

#[tokio::test]
async fn the_list_says_how_many_there_are_as_far_as_that_is_soon_counted() {
    let a = TestConsole::start().await;
    let foot = |query: &'static str| {
        let a = &a;
        async move { a.get(&format!("/assets{query}")).await.text(".list-foot .shown") }
    };
    assert_eq!(foot("").await, "0 on this page");
    many(&a, 60, 1).await;
    a.sql("update asset set kind = 'ssh', name_key = 'gate' where asset_id <= 55")
        .await;
    assert_eq!(foot("").await, "50 on this page, 60 in all");
    assert_eq!(foot("?kind=ssh&sort=state").await, "50 on this page, 55 in all");
    assert_eq!(foot("?kind=docker").await, "0 on this page");
    assert_eq!(foot("?group=1&kind=ssh").await, "50 on this page, 55 in all");
    assert_eq!(foot("?state=new").await, "50 on this page, 60 in all");
    // To find these the whole table would be read.
    assert_eq!(foot("?name=gate").await, "50 on this page");
    assert_eq!(foot("?name=gate&group=1&after=gate&id=50").await, "5 on this page");
    many(&a, 1000, 1).await;
    assert_eq!(foot("").await, "50 on this page, 1000+ in all");
}

#[tokio::test]
async fn filters_find_what_they_say() {
    let a = TestConsole::start().await;
    let b = TestConsole::beside(&a).await;
    let lonely = group(&a, "lonely").await;
    many(&a, 4, 1).await;
    added(&a, &machine("Ärzte_%", "http://db.example:9100")).await;
    let mut fields = machine("away", "http://10.9.9.9:9100");
    fields.retain(|(field, _)| *field != "group_id");
    fields.push(("group_id", &lonely));
    added(&a, &fields).await;
    a.sql("update asset set state = 'down' where name = 'away'").await;
    let names = |path: String| {
        let a = &a;
        async move { a.get(&path).await.texts("tbody .c-name a") }
    };
    assert_eq!(names("/assets?name=%C3%A4rzte".to_owned()).await, ["Ärzte_%"]);
    assert_eq!(
        names("/assets?name=_%25".to_owned()).await,
        ["Ärzte_%"],
        "signs of SQL are letters"
    );
    assert_eq!(names("/assets?address=DB.ex".to_owned()).await, ["Ärzte_%"]);
    assert_eq!(names(format!("/assets?group={lonely}")).await, ["away"]);
    assert_eq!(names("/assets?cluster=none".to_owned()).await, ["away"]);
    assert_eq!(names("/assets?state=down".to_owned()).await, ["away"]);
    assert_eq!(names(format!("/assets?cluster={}", a.id())).await.len(), 5);
    assert_eq!(names(format!("/assets?cluster={}", b.id())).await.len(), 0);
    a.get("/assets?name=nowhere").await.shows("No asset matches");

    let member = a.visitor("mia", Role::Member).await;
    assert_eq!(a.get_as(&member, "/assets").await.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn a_filter_by_state_lists_what_is_shown_so() {
    let a = TestConsole::start().await;
    let b = TestConsole::beside(&a).await;
    let lonely = group(&b, "lonely").await;
    many(&a, 6, 1).await;
    a.sql("update asset set state = 'up', name = concat('host ', asset_id)")
        .await;
    a.sql("update asset_watch set checked_at = utc_timestamp(6)").await;
    a.post("/assets/moves", &[("asset", "1"), ("to", &lonely)]).await;
    a.sql("update asset_watch set checked_at = utc_timestamp(6) - interval 121 second where asset_id = 2")
        .await;
    a.sql("update asset_watch set checked_at = utc_timestamp(6) - interval 100 second where asset_id = 3")
        .await;
    a.post("/assets/pauses", &[("asset", "4")]).await;
    a.sql("update asset set state = 'down', paused_until = if(asset_id = 5, '9999-12-31', null) where asset_id > 4")
        .await;
    let shown = |state: &'static str| {
        let a = &a;
        async move {
            let page = a.get(&format!("/assets?state={state}")).await;
            let names = page.texts("tbody .c-name a");
            names
                .into_iter()
                .zip(page.texts("tbody .c-state > .state"))
                .collect::<Vec<_>>()
        }
    };
    let is = |name: &str, word: &str| (name.to_owned(), word.to_owned());
    assert_eq!(shown("up").await, [is("host 3", "Up")]);
    assert_eq!(shown("down").await, [is("host 6", "Down")]);
    assert_eq!(shown("paused").await, [is("host 4", "Paused"), is("host 5", "Paused")]);
    a.get("/home").await.shows("Assets that are down: 1");
    // What is done to all that match is done to the same ones.
    a.post(
        "/assets/moves",
        &[("scope", "all"), ("back", "/assets?state=up"), ("to", &lonely)],
    )
    .await;
    assert_eq!(
        a.count(&format!("select count(*) from asset where group_id = {lonely}"))
            .await,
        2
    );
}
