//! Faults at random on one world, for as long as asked for; the same number makes the same run.

use std::time::{Duration, Instant};

use crate::Ended;
use crate::history::Turn;
use crate::world::World;

/// Small steps of xorshift (Marsaglia 2003): a run must be the same on every machine.
struct Dice(u64);

impl Dice {
    fn throw(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

pub(crate) async fn run(minutes: u64, seed: Option<u64>) -> Ended {
    let began = Instant::now();
    let seed = seed.unwrap_or_else(|| u64::from(std::process::id()) + 1);
    println!("seed {seed}: --soak {minutes} --seed {seed} repeats this run");
    let mut dice = Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let mut world = World::start(4).await;
    world.wait(15).await;
    while began.elapsed() < Duration::from_secs(60 * minutes) {
        // One of four is always well.
        let server = 1 + dice.throw(3) as usize;
        let server = if server == 3 { 0 } else { server };
        let length = 2 + dice.throw(35);
        let fault = dice.throw(6);
        println!(
            "{:>6.1} s  fault {fault} at server {server} for {length} s",
            began.elapsed().as_secs_f64()
        );
        fault_at(&mut world, (fault, server), length).await;
        world.wait(dice.throw(20)).await;
    }
    world.wait(20).await;
    Ended {
        name: "soak",
        took: began.elapsed(),
        wrong: world.judge().await,
        not_run: None,
    }
}

async fn fault_at(world: &mut World, (fault, server): (u64, usize), length: u64) {
    match fault {
        0 => {
            world.freeze(server);
            world.wait(length).await;
            world.wake(server);
        }
        1 => {
            world.kill(server);
            world.wait(length).await;
            world.start_again(server).await;
        }
        2 => {
            world.end(server).await;
            world.wait(length).await;
            world.start_again(server).await;
        }
        3 => {
            world.servers[server].door.freeze(true);
            world.done(server, Turn::Cut);
            world.wait(length).await;
            world.servers[server].door.freeze(false);
            world.done(server, Turn::Well);
        }
        4 => {
            world.servers[server].door.forget();
            world.done(server, Turn::Strained);
            world.wait(length).await;
            world.done(server, Turn::Well);
        }
        _ => {
            let database = world.database.clone();
            world.servers[server].door.shut().await;
            world.done(server, Turn::Cut);
            world.wait(length).await;
            world.servers[server].door.open(&database).await;
            world.done(server, Turn::Well);
        }
    }
}
