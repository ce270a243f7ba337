//! What the database says of whoever shows a cookie or a token.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::queries::{self, Holder};
use super::shown::Shown;
use crate::app::App;
use crate::error::Result;
use crate::people::People;
use crate::people::users::queries as users;

/// How long a page waits to know who asks.
pub(super) const LOOK: Duration = Duration::from_secs(5);

/// What one look at the database tells.
#[derive(Debug, Clone, Default)]
pub(super) struct Found {
    pub(super) holders: Vec<Holder>,
    pub(super) token: Option<queries::TokenHolder>,
    pub(super) anybody: bool,
}

/// What the database says, or said after `since`, of whoever shows this; when another of its nodes is used meanwhile, that
/// one is asked.
pub(super) async fn look(app: &App, people: &People, shown: &Shown, since: Instant) -> Result<Found> {
    loop {
        tokio::select! {
            found = ask(app, people, shown, since) => return found,
            _ = app.db.nodes().left() => {}
        }
    }
}

async fn ask(app: &App, people: &People, shown: &Shown, since: Instant) -> Result<Found> {
    let mut found = match &shown.token {
        Some(hash) => by_token(app, hash).await?,
        None => by_session(app, people, shown.hashes(), since).await?,
    };
    found.anybody |= people.anybody.load(Ordering::Relaxed);
    if !found.anybody {
        found.anybody = users::anybody(&mut app.db.conn().await?).await?;
    }
    if found.anybody {
        people.anybody.store(true, Ordering::Relaxed);
    }
    Ok(found)
}

async fn by_token(app: &App, hash: &str) -> Result<Found> {
    let mut conn = app.db.conn().await?;
    let token = queries::token_holder(&mut conn, hash, &app.install.id).await?;
    if let Some(Some(name)) = token.as_ref().map(|holder| &holder.own_name) {
        app.set_name(name.clone());
    }
    Ok(Found {
        anybody: token.is_some(),
        token,
        ..Found::default()
    })
}

async fn by_session(app: &App, people: &People, hashes: Vec<String>, since: Instant) -> Result<Found> {
    // Our own comes first and goes before all others.
    let Some(own) = hashes.first() else {
        return Ok(Found::default());
    };
    if let Some(holder) = people.recent.since(own, since) {
        return Ok(Found {
            anybody: true,
            holders: vec![holder],
            token: None,
        });
    }
    let asked = Instant::now();
    let all = people.lookups.read(hashes.clone(), |hashes| async move {
        let mut conn = app.db.conn().await?;
        Ok(queries::holders(&mut conn, &hashes, &app.install.id).await?)
    });
    let all = all.await?;
    let own = all.iter().filter(|holder| hashes.contains(&holder.token_hash));
    let holders: Vec<Holder> = own.cloned().collect();
    if let Some(name) = holders.first().and_then(|holder| holder.own_name.as_ref()) {
        app.set_name(name.clone());
    }
    for holder in holders.iter().filter(|holder| !holder.pending) {
        people.recent.note(holder, asked);
    }
    Ok(Found {
        anybody: !holders.is_empty(),
        holders,
        token: None,
    })
}
