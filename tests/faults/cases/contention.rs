//! Others at the same rows of the database: circles of locks, and rows that somebody holds for long.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, TxOpts};
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::cases::database::own;
use crate::checker::BEAT;
use crate::server::post;
use crate::world::World;

/// Between two locks of somebody who takes them in the wrong order; and between two rounds.
const PAUSE: Duration = Duration::from_millis(20);
/// How long locks are taken in the wrong order.
const STRAIN: u64 = 45;
/// What a person reads who is refused.
const REFUSAL: &str = "so this was not saved";

/// Somebody who edits a cluster through another server, and binds a group to it or unbinds it with the same press.
struct Person {
    port: u16,
    install_id: String,
    group: u32,
    conn: Conn,
}

#[derive(Debug, Default)]
struct Tally {
    confirmed: u32,
    refused: u32,
    wrong: Vec<String>,
}

impl Person {
    /// For each server a person, with a group of their own.
    async fn all(world: &World) -> Vec<Person> {
        let mut people = Vec::new();
        for (number, server) in world.servers.iter().enumerate() {
            let name = format!("own{number}");
            post(server.port, "/groups", &format!("name={name}")).await.unwrap();
            let sql = format!("select concat(group_id) from asset_group where name = '{name}'");
            people.push(Person {
                port: world.servers[(number + 1) % world.servers.len()].port,
                install_id: server.install_id(),
                group: world.ask(&sql).await.parse().unwrap(),
                conn: world.conn().await,
            });
        }
        people
    }

    async fn there(&mut self) -> (String, bool, u32) {
        let sql = "select name, exists(select 1 from cluster_group g where g.install_id = c.install_id and g.group_id = ?), \
                   row_version from cluster c where install_id = ?";
        let row = (self.group, &self.install_id);
        self.conn.exec_first(sql, row).await.unwrap().unwrap()
    }

    /// One press: what was confirmed is there, whole, and what was refused is not, with the reason.
    async fn edit(&mut self, name: &str, tally: &mut Tally) {
        let before = self.there().await;
        let (field, version) = (if before.1 { "was" } else { "group" }, before.2);
        let fields = format!(
            "name={name}&address=&row_version={version}&sure=yes&{field}={}",
            self.group
        );
        let path = format!("/clusters/{}", self.install_id);
        let answer = post(self.port, &path, &fields).await.unwrap_or_default();
        let after = self.there().await;
        let wanted = (name.to_owned(), !before.1, version + 1);
        if answer.starts_with("HTTP/1.1 303") {
            tally.confirmed += 1;
            if after != wanted {
                tally
                    .wrong
                    .push(format!("{wanted:?} was confirmed, and {after:?} is there"));
            }
        } else {
            tally.refused += 1;
            if after != before {
                tally
                    .wrong
                    .push(format!("{wanted:?} was refused, and {before:?} is now {after:?}"));
            }
            if !answer.starts_with("HTTP/1.1 409") || !answer.contains(REFUSAL) {
                let head: String = answer.chars().take(40).collect();
                tally
                    .wrong
                    .push(format!("an edit was refused without the reason: {head:?}"));
            }
        }
    }
}

/// Locks rows one after the other in the order of the statements, for good measure with more changes than anybody else, so
/// that of a circle the others are undone.
async fn cross(mut conn: Conn, locks: Vec<String>, is_over: Arc<AtomicBool>) {
    let ballast = format!("insert into ballast values {}", vec!["(1)"; 60].join(", "));
    while !is_over.load(Ordering::Relaxed) {
        let mut tx = conn.start_transaction(TxOpts::default()).await.unwrap();
        let mut done = tx.query_drop(&ballast).await;
        for lock in &locks {
            if done.is_ok() {
                done = tx.query_drop(lock).await;
                sleep(PAUSE).await;
            }
        }
        tx.rollback().await.unwrap();
        sleep(PAUSE).await;
    }
}

/// For each person one who takes the same rows the other way round, and two at the rows of the watch.
async fn crossers(world: &World, people: &[Person], is_over: &Arc<AtomicBool>) -> JoinSet<()> {
    let mut all = JoinSet::new();
    for Person { install_id, group, .. } in people {
        let locks = vec![
            format!("select 1 from cluster where install_id = '{install_id}' for update"),
            format!("select 1 from asset_group where group_id = {group} for update"),
            format!("select 1 from cluster_group where group_id = {group} for update"),
        ];
        all.spawn(cross(world.conn().await, locks, is_over.clone()));
    }
    for table in ["asset_watch", "asset"] {
        let lock = |asset: u32| format!("select 1 from {table} where asset_id = {asset} for update");
        let locks = (1..=4).rev().map(lock).collect();
        all.spawn(cross(world.conn().await, locks, is_over.clone()));
    }
    all
}

/// Circles of locks all the time: every beat lands, every check counts, and each edit is there or was refused.
pub(crate) async fn deadlocks() -> Vec<String> {
    let dir = TempDir::new().unwrap();
    let (embedded, world) = own(&dir).await;
    world.sql("create table ballast (n int) engine = innodb").await;
    let people = Person::all(&world).await;
    let met = "select variable_value from information_schema.global_status where variable_name = 'Innodb_deadlocks'";
    let beats = "select concat(min(beat_seq)) from cluster";
    let number = |text: String| text.parse::<u64>().unwrap();
    world.wait(12).await;
    let (met_before, beats_before) = (number(world.ask(met).await), number(world.ask(beats).await));
    let is_over = Arc::new(AtomicBool::new(false));
    let crossers = crossers(&world, &people, &is_over).await;
    let mut working = JoinSet::new();
    for mut person in people {
        let is_over = is_over.clone();
        working.spawn(async move {
            let mut tally = Tally::default();
            for count in 0.. {
                if is_over.load(Ordering::Relaxed) {
                    break;
                }
                person.edit(&format!("edit{count}"), &mut tally).await;
                sleep(PAUSE).await;
            }
            tally
        });
    }
    world.wait(STRAIN).await;
    let (met, beats) = (
        number(world.ask(met).await) - met_before,
        number(world.ask(beats).await) - beats_before,
    );
    is_over.store(true, Ordering::Relaxed);
    crossers.join_all().await;
    let tallies = working.join_all().await;
    let sum = |count: fn(&Tally) -> u32| tallies.iter().map(count).sum::<u32>();
    let (confirmed, refused) = (sum(|tally| tally.confirmed), sum(|tally| tally.refused));
    println!("{met} deadlocks: {confirmed} edits were confirmed, {refused} refused, {beats} beats landed at least");
    let mut wrong: Vec<String> = tallies.into_iter().flat_map(|tally| tally.wrong).take(5).collect();
    if met < 50 || confirmed < 50 {
        wrong.push(format!(
            "only {met} deadlocks were met, and {confirmed} edits confirmed"
        ));
    }
    // Tried again from the beginning, nearly all succeed.
    if refused * 10 > confirmed {
        wrong.push(format!("{refused} edits were refused, and {confirmed} confirmed"));
    }
    if beats + 2 < STRAIN / BEAT {
        wrong.push(format!("a server has beaten {beats} times in {STRAIN} s"));
    }
    world.sql("delete from cluster_group where group_id > 1").await;
    wrong.extend(world.judge().await);
    embedded.stop().await;
    wrong
}

/// Somebody holds the row of a group: whoever edits it meanwhile is told in time, or waits until it is free.
pub(crate) async fn edits_that_wait() -> Vec<String> {
    let world = World::start(2).await;
    let mut person = Person::all(&world).await.remove(0);
    world.wait(10).await;
    let mut wrong = Vec::new();
    // Longer than a page may wait; and longer than one wait for a lock, but not than two.
    for (round, (held, is_confirmed)) in [(9, false), (6, true)].into_iter().enumerate() {
        let mut conn = world.conn().await;
        let mut tx = conn.start_transaction(TxOpts::default()).await.unwrap();
        let sql = "select 1 from asset_group where group_id = ? for update";
        tx.exec_drop(sql, (person.group,)).await.unwrap();
        let mut tally = Tally::default();
        let name = format!("waited{round}");
        tokio::join!(person.edit(&name, &mut tally), async {
            world.wait(held).await;
            tx.rollback().await.unwrap();
        });
        wrong.append(&mut tally.wrong);
        if (tally.confirmed == 1) != is_confirmed {
            wrong.push(format!("an edit of a row that was held for {held} s: {tally:?}"));
        }
    }
    world.sql("delete from cluster_group where group_id > 1").await;
    wrong.extend(world.judge().await);
    wrong
}
