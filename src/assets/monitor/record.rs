//! Results, changes of state and the messages about them: written together.

use std::collections::HashMap;
use std::time::Duration;

use mysql_async::{Conn, Transaction, TxOpts};

use super::queries::{self, Found, Turned};
use super::within;
use crate::app::App;
use crate::assets::outcome::Reason;
use crate::assets::state::State;
use crate::assets::told::subject;
use crate::error::{Error, Result, chain};
use crate::notify::{self, Event, Message, Topic};

/// Nobody is told of a limit that is reached for a shorter time.
const SPIKE: Duration = Duration::from_secs(60);

/// What cannot be written must not keep the others from it.
pub async fn one_by_one(app: &App, conn: &mut Conn, found: &[Found], cause: &Error) -> Result<()> {
    tracing::warn!("results of assets, now one by one: {}", chain(cause));
    for one in found {
        match within(write(app, conn, std::slice::from_ref(one))).await {
            Ok(()) => {}
            Err(Error::Internal(cause)) => {
                tracing::warn!(
                    asset = one.id,
                    "a result is dropped: {}",
                    chain(&Error::Internal(cause))
                );
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Results, changes of state and who is to be told of them: all or nothing.
pub async fn write(app: &App, conn: &mut Conn, found: &[Found]) -> Result<()> {
    let mut tx = conn.start_transaction(TxOpts::default()).await?;
    let turned = queries::record(&mut tx, found, &app.install.id).await?;
    if !turned.is_empty() && notify::has_channels(&mut tx).await? {
        tell(&mut tx, app, &turned, found).await?;
    }
    tx.commit().await?;
    Ok(())
}

/// What is told of one asset besides what it is called.
struct Change<'a> {
    found: &'a Found,
    turned: &'a Turned,
    subject: String,
    path: String,
}

/// One message for an outage, one for its end; likewise of what is degraded.
async fn tell(tx: &mut Transaction<'_>, app: &App, turned: &[Turned], found: &[Found]) -> Result<()> {
    let known: HashMap<u32, &Found> = found.iter().map(|one| (one.id, one)).collect();
    let mut changes = Vec::new();
    for turned in turned {
        let Some(found) = known.get(&turned.asset_id).copied() else {
            continue;
        };
        let (subject, path) = (subject(found.id), format!("/assets/{}", found.id));
        changes.push(Change {
            found,
            turned,
            subject,
            path,
        });
    }
    let messages: Vec<Message<'_>> = changes.iter().filter_map(message).collect();
    notify::post_all(tx, app, &messages).await
}

fn message<'a>(change: &'a Change<'_>) -> Option<Message<'a>> {
    let (event, topic, held) = match change.turned.state {
        State::Down => (Event::Down, Topic::Asset, Duration::ZERO),
        State::Changed => (Event::Down, Topic::HostKey, Duration::ZERO),
        State::Degraded => (Event::Degraded, Topic::Degraded, SPIKE),
        State::Up => (Event::Up, Topic::Asset, Duration::ZERO),
        State::Unknown | State::New => return None,
    };
    let (turn, about) = (change.found.turn.as_ref(), &change.found.about);
    let reason: Option<Reason> = turn.and_then(|turn| serde_json::from_str(&turn.reason).ok());
    Some(Message {
        subject: &change.subject,
        event,
        topic,
        name: &about.name,
        group_id: Some(about.group_id),
        is_folded: false,
        group: &about.group,
        state: change.turned.state.name(),
        reason: reason.as_ref().map(Reason::text),
        since: change.turned.at,
        path: &change.path,
        held,
    })
}
