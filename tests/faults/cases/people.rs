//! People at the same rows as others: two admins, and a deletion against a beat.

use std::time::{Duration, Instant};

use muster::clusters::roll;
use muster::db::Db;
use mysql_async::prelude::Queryable;
use scraper::{Html, Selector};
use tokio::task::{JoinSet, yield_now};

use crate::server::{Server, page, post};
use crate::support::{TestDatabase, let_in};
use crate::world::World;

/// Silent clusters that are deleted at the same time as each other.
const CLUSTERS: u32 = 4;
const DELETIONS: u32 = 10_000;
const EDITS: u32 = 300;
/// By so much the beat comes earlier or later next time.
const STEP: Duration = Duration::from_micros(40);

/// A cluster is deleted at the very moment at which it is heard of again: one of them wins, ten thousand times.
pub(crate) async fn deletion_against_a_reviving_beat() -> Vec<String> {
    let database = TestDatabase::new().await.database;
    let mut server = Server::new(&database, "S0".to_owned()).await;
    server.start();
    server.ready().await;
    let_in(&database).await;
    let mut rounds = JoinSet::new();
    for number in 1..=CLUSTERS {
        rounds.spawn(rounds_of(Db::new(&database), server.port, format!("{number:032}")));
    }
    let (mut deleted, mut beaten, mut wrong) = (0, 0, Vec::new());
    for (won, lost, odd) in rounds.join_all().await {
        deleted += won;
        beaten += lost;
        wrong.extend(odd);
    }
    println!("{deleted} deletions won, {beaten} beats won");
    // Each was tried against the other where they meet.
    if deleted + beaten != DELETIONS || deleted < DELETIONS / 10 || beaten < DELETIONS / 10 {
        wrong.push(format!("{deleted} deletions and {beaten} beats have won"));
    }
    wrong.truncate(10);
    wrong
}

/// How often the deletion won, how often the beat, and what was wrong.
async fn rounds_of(db: Db, port: u16, id: String) -> (u32, u32, Vec<String>) {
    let mut conn = db.own_conn().await.unwrap();
    let sql = "insert into cluster (install_id, cluster_id, name, boot_id) values (?, 'R', ?, '')";
    conn.exec_drop(sql, (&id, &id)).await.unwrap();
    let (path, boot_id) = (format!("/clusters/{id}/removal"), "b".repeat(32));
    let (mut deleted, mut beaten, mut wrong) = (0, 0, Vec::new());
    let mut delay = Duration::from_millis(3);
    for round in 1..=DELETIONS / CLUSTERS {
        let sql = "update cluster set removed_at = null, boot_id = ?, beat_seq = ?, \
                   beat_at = utc_timestamp(6) - interval 1 day where install_id = ?";
        conn.exec_drop(sql, (&boot_id, round, &id)).await.unwrap();
        let fields = format!("name={id}&beat_seq={round}");
        let began = Instant::now();
        let beat = async {
            // Shorter than what any timer can wait for.
            while began.elapsed() < delay {
                yield_now().await;
            }
            roll::beat(&mut conn, &id, &boot_id, 30, 0.0).await.unwrap()
        };
        let (answer, beat) = tokio::join!(post(port, &path, &fields), beat);
        let answer = answer.unwrap_or_default();
        let is_gone = answer.starts_with("HTTP/1.1 303");
        let is_kept = answer.starts_with("HTTP/1.1 409");
        let sql = "select concat_ws('/', removed_at is null, beat_seq, boot_id = ?) from cluster where install_id = ?";
        let there: Option<String> = conn.exec_first(sql, (&boot_id, &id)).await.unwrap();
        let expected = match is_gone {
            true => format!("0/{round}/0"),
            false => format!("1/{}/1", round + 1),
        };
        if is_gone == is_kept || is_gone == beat.is_some() || there.as_deref() != Some(expected.as_str()) {
            let head: String = answer.chars().take(30).collect();
            wrong.push(format!(
                "round {round}: {head:?}, the beat said {beat:?}, and {there:?} is there"
            ));
        }
        deleted += u32::from(is_gone);
        beaten += u32::from(is_kept);
        // Towards the moment at which both come.
        delay = if is_gone {
            delay.saturating_sub(STEP)
        } else {
            delay + STEP
        };
    }
    (deleted, beaten, wrong)
}

/// Two admins who have read the same press at the same time, on two servers: one is confirmed, one is told of it.
pub(crate) async fn two_admins_at_one_row() -> Vec<String> {
    let world = World::start(2).await;
    world.wait(10).await;
    let cluster = format!("/clusters/{}", world.servers[0].install_id());
    let mut wrong = Vec::new();
    let mut won = [0, 0];
    for round in 0..EDITS {
        let (path, shown, table) = match round % 2 {
            0 => (
                cluster.as_str(),
                format!("{cluster}/edit"),
                "cluster order by created_at limit 1",
            ),
            _ => ("/groups/1", "/groups/1".to_owned(), "asset_group where group_id = 1"),
        };
        let read = |server: usize| page(world.servers[server].port, &shown);
        let (first, second) = tokio::join!(read(0), read(1));
        let press = |server: usize, answer: Option<(Duration, String)>| {
            let version = version(&answer.unwrap_or_default().1);
            let fields = format!("name=n{round}by{server}&row_version={version}");
            let port = world.servers[server].port;
            async move { post(port, path, &fields).await.unwrap_or_default() }
        };
        let answers = tokio::join!(press(0, first), press(1, second));
        let answers = [answers.0, answers.1];
        let confirmed: Vec<usize> = (0..2).filter(|by| answers[*by].starts_with("HTTP/1.1 303")).collect();
        let is_told = |answer: &String| answer.starts_with("HTTP/1.1 422") && answer.contains("while you were editing");
        let there = world.ask(&format!("select name from {table}")).await;
        match confirmed.as_slice() {
            [winner] if is_told(&answers[1 - winner]) && there == format!("n{round}by{winner}") => won[*winner] += 1,
            _ => {
                let heads = answers.map(|answer| answer.chars().take(30).collect::<String>());
                wrong.push(format!("round {round}: {heads:?}, and {there} is there"));
            }
        }
    }
    println!(
        "of {EDITS} edits by two at once the first server has taken {}, the second {}",
        won[0], won[1]
    );
    let lines = world
        .ask("select concat(count(*)) from audit where action in ('cluster_update', 'group_update')")
        .await;
    if lines != EDITS.to_string() {
        wrong.push(format!("the trail has {lines} lines of {EDITS} edits"));
    }
    wrong.truncate(10);
    wrong.extend(world.judge().await);
    wrong
}

/// What a form says of the row that it was made from.
fn version(answer: &str) -> String {
    let page = Html::parse_fragment(answer.split_once("\r\n\r\n").map_or("", |(_, body)| body));
    let selector = Selector::parse("input[name=row_version]").unwrap();
    let input = page.select(&selector).next();
    input
        .and_then(|input| input.value().attr("value"))
        .unwrap_or("?")
        .to_owned()
}
