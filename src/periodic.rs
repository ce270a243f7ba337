//! Loops: one step again and again. A step takes no input, may run twice, and bounds its time; the next one is the retry.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::app::{App, Standing};
use crate::error::{Error, Result, chain};

/// Runs `tick` every `period` while this server may work, until `stop` turns true. A step has the length of its period, at
/// least five seconds. A failure is logged once when it begins and once when it is over.
pub async fn run<F>(
    (app, name): (App, &'static str),
    period: Duration,
    mut stop: watch::Receiver<bool>,
    mut tick: impl FnMut(App) -> F,
) where
    F: Future<Output = Result<()>>,
{
    let mut due = interval(period);
    due.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let limit = period.max(Duration::from_secs(5));
    let mut fails = false;
    loop {
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            _ = due.tick() => {}
        }
        if *app.standing.borrow() != Standing::Working {
            continue;
        }
        let done = tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            done = timeout(limit, tick(app.clone())) => done,
        };
        let result = done.unwrap_or_else(|_| Err(Error::timed_out("not done in time")));
        match &result {
            Err(error) if !fails => tracing::warn!(task = name, "{}", chain(error)),
            Ok(()) if fails => tracing::info!(task = name, "works again"),
            _ => {}
        }
        fails = result.is_err();
    }
}
