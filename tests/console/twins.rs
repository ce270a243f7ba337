//! Assets that share an address, to and from CSV; and the groups that an import makes.

use crate::assets::{added, machine};
use crate::support::TestConsole;
use crate::transfer::{counts, export, import, lines, look};

const SAME: [&str; 4] = ["Refused 0", "Changed 0", "New 0", "Unchanged 4"];

async fn four(a: &TestConsole) {
    for (name, interval) in [("left", "30"), ("right", "45"), ("same", "50"), ("same", "55")] {
        let mut fields = machine(name, "http://10.0.0.1:9100");
        fields.push(("interval_s", interval));
        added(a, &fields).await;
    }
}

#[tokio::test]
async fn assets_that_share_an_address_are_unchanged_when_they_come_in_again() {
    let a = TestConsole::start().await;
    four(&a).await;
    let csv = export(&a, "").await;
    let page = look(&a, &csv).await;
    assert_eq!(counts(&page), SAME, "{:?}", lines(&page));
    // The order of the lines does not matter where the names differ.
    let mut turned: Vec<&str> = csv.lines().collect();
    turned[1..3].reverse();
    assert_eq!(counts(&look(&a, &turned.join("\r\n")).await), SAME);
    // One is changed and another renamed.
    let edited = csv.replace("\"right\"", "\"rechts\"").replace("\"30\"", "\"31\"");
    let page = import(&a, &edited).await;
    page.shows("Imported: 0 new, 2 changed.");
    assert_eq!(a.count("select count(*) from asset where name = 'rechts'").await, 1);
    let intervals = "select sum(w.interval_s) from asset a join asset_watch w using (asset_id)";
    assert_eq!(
        a.count(&format!("{intervals} where name in ('left', 'rechts')")).await,
        31 + 45
    );
}

#[tokio::test]
async fn a_twin_is_new_by_its_name_and_nobody_guesses_whom_a_strange_name_means() {
    let a = TestConsole::start().await;
    four(&a).await;
    let csv = "kind,name,address\nmachine,left,http://10.0.0.1:9100\nmachine,other,http://10.0.0.1:9100\n";
    let page = look(&a, csv).await;
    assert_eq!(counts(&page), ["Refused 1", "Changed 0", "New 0", "Unchanged 1"]);
    page.shows("by the name it is not clear which one is meant. The assets there: left, right, same, same");
    let csv = "kind,name,address\nmachine,b,http://10.0.0.2:9100\nmachine,c,http://10.0.0.2:9100\n";
    let page = look(&a, csv).await;
    page.shows("New assets that share their address with another one of their kind, there already or in the file: 2.");
    assert!(lines(&page)[0].ends_with("Address — another asset of this kind has it as well"));
    import(&a, csv).await.shows("Imported: 2 new, 0 changed.");
    // And one more beside them, although somebody is at its address.
    let csv = format!("{csv}machine,d,http://10.0.0.2:9100\n");
    assert_eq!(
        counts(&look(&a, &csv).await),
        ["Refused 0", "Changed 0", "New 1", "Unchanged 2"]
    );
    import(&a, &csv).await.shows("Imported: 1 new, 0 changed.");
}

#[tokio::test]
async fn twins_may_lie_further_apart_than_one_piece() {
    let a = TestConsole::start().await;
    let between: String = (0..1100)
        .map(|n| format!("ssh,host {n},10.{}.{}.9\n", n / 250, n % 250))
        .collect();
    let csv = format!("kind,name,host\nssh,first,10.9.9.9\n{between}ssh,last,10.9.9.9\n");
    import(&a, &csv).await.shows("Imported: 1102 new, 0 changed.");
    assert_eq!(counts(&look(&a, &csv).await)[3], "Unchanged 1102");
}

#[tokio::test]
async fn a_group_that_an_import_makes_says_that_no_cluster_watches_it_and_where_to_bind_one() {
    let a = TestConsole::start().await;
    let csv = |group: &str, host: u8| format!("kind,name,group,host,login\nssh,x,{group},10.0.0.{host},banner\n");
    let page = look(&a, &csv("alone", 1)).await;
    page.shows("Groups that are made: alone");
    assert_eq!(page.count(".hint-red"), 0, "the only cluster gets it by itself");
    assert_eq!(
        import(&a, &csv("alone", 1)).await.count("#import-report .notice-bad"),
        0
    );
    let b = TestConsole::beside(&a).await;
    look(&b, &csv("<b>", 2))
        .await
        .shows("They are new and no cluster watches them");
    let page = import(&b, &csv("<b>", 2)).await;
    page.shows(
        "These groups are new and no cluster watches them, so nobody checks their assets. Bind a cluster: <b> Bind",
    );
    let id = b.count("select group_id from asset_group where name = '<b>'").await;
    assert_eq!(
        page.attrs("#import-report .notice-bad a", "href"),
        [format!("/groups/{id}/clusters/new")]
    );
}
