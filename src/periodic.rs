//! Loops: one step again and again. A step takes no input, may run twice, and bounds its time; the next one is the retry.

use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::app::{App, Standing};
use crate::error::{Error, Result, chain};

/// When a loop takes its steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// While this server may work.
    Working,
    Always,
}

/// How often a loop steps, and how long a step may take.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    pub period: Duration,
    pub limit: Duration,
}

/// A step has the length of its period, at least five seconds.
impl From<Duration> for Pace {
    fn from(period: Duration) -> Pace {
        Pace {
            period,
            limit: period.max(Duration::from_secs(5)),
        }
    }
}

/// Runs `tick` at its pace, until `stop` turns true. A failure, also a panic, is logged once when it begins and once when it is over.
pub async fn run<F>(
    (app, name, when): (App, &'static str, When),
    pace: impl Into<Pace>,
    mut stop: watch::Receiver<bool>,
    mut tick: impl FnMut(App) -> F,
) where
    F: Future<Output = Result<()>> + Send + 'static,
{
    let Pace { period, limit } = pace.into();
    let mut due = interval(period);
    due.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut fails = false;
    loop {
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            _ = due.tick() => {}
        }
        if when == When::Working && *app.standing.borrow() != Standing::Working {
            continue;
        }
        // On a task of its own: a step that panics ends alone.
        let mut step = JoinSet::new();
        step.spawn(tick(app.clone()));
        let done = tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            done = timeout(limit, step.join_next()) => done,
        };
        let result = match done {
            Ok(Some(Ok(result))) => result,
            Ok(Some(Err(panic))) => Err(Error::Internal(panic.into())),
            Ok(None) | Err(_) => Err(Error::timed_out("not done in time")),
        };
        match &result {
            Err(error) if !fails => tracing::warn!(task = name, "{}", chain(error)),
            Ok(()) if fails => tracing::info!(task = name, "works again"),
            _ => {}
        }
        fails = result.is_err();
    }
}
