//! Two servers with the same cluster id.

use muster::clusters::conflict::Watch;

use crate::processes::Process;
use crate::support::TestConsole;

#[tokio::test]
async fn both_pages_say_which_clusters_share_an_id_while_both_live() {
    let a = TestConsole::start().await;
    let mut b = TestConsole::beside_silent(&a).await;
    b.heart.tick().await.unwrap();
    for (own, other) in [(&a, &b), (&b, &a)] {
        let page = a.get(&format!("/clusters/{}", own.id())).await;
        page.shows("Cluster ID conflict: several clusters that are online use DEFAULT");
        assert_eq!(page.count(&format!(".notice a[href='/clusters/{}']", other.id())), 1);
        page.shows("Change jpom.cluster.id in the settings of one of these servers");
    }
    b.heart.last_word().await;
    let page = a.get(&format!("/clusters/{}", a.id())).await;
    assert_eq!(page.count(".notice-bad"), 0, "one that is not alive has no conflict");
    assert!(Watch::default().look(&a.app, "DEFAULT").await.unwrap().is_empty());
}

#[tokio::test]
async fn the_log_has_the_line_people_know_once_per_change() {
    let a = TestConsole::start().await;
    a.set("name = '默认集群'").await;
    let mut process = Process::spawn(
        Some(&a.database),
        "DEFAULT",
        &[("JPOM_SYSTEM_LANG", "zh_cn".to_owned())],
    );
    process.until("/readyz", "ready").await;
    let line = format!("DEFAULT 集群ID冲突：{} 默认集群", a.id());
    assert!(process.logged(&line).await.ends_with(&line));
    // Once per change, and again when it comes back.
    let watch = Watch::default();
    assert_eq!(watch.look(&a.app, "DEFAULT").await.unwrap().len(), 1);
    assert_eq!(watch.look(&a.app, "DEFAULT").await.unwrap().len(), 0);
    drop(process);
    a.sql("update cluster set beat_at = beat_at - interval 1 day").await;
    assert_eq!(watch.look(&a.app, "DEFAULT").await.unwrap().len(), 0);
    a.sql("update cluster set beat_at = utc_timestamp(6)").await;
    assert_eq!(watch.look(&a.app, "DEFAULT").await.unwrap().len(), 1);
}
