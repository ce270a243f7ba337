//! Telling of clusters that do not answer and of groups that nobody watches. Only a server that lives can tell; of several one
//! does.

mod queries;

use std::time::{Duration, Instant};

use chrono::NaiveDateTime;
use mysql_async::{Conn, TxOpts};
use uuid::Uuid;

use super::message::{Event, Message};
use super::outbox::post;
use super::outbox::queries::told_name;
use super::topic::Topic;
use crate::app::{App, OFFLINE_INTERVALS};
use crate::error::Result;
use crate::groups::{self, Group};
use crate::i18n::Text;
use crate::liveness::{Sight, State, offline_after};
use queries::{End, Seen};

/// Of so many groups at once, as when a server goes, each is told of by itself.
const FEW: usize = 3;
/// So many names stand in a message of more.
const NAMED: usize = 5;

/// One server's view over time.
#[derive(Debug, Default)]
pub struct Lookout(Sight);

impl Lookout {
    /// One look at all clusters and groups, if it is our turn. Who has looked for less than a cluster's offline limit does not
    /// say that it or a group of it is gone: after an outage of everything the others may only be slower.
    ///
    /// # Errors
    /// [`crate::error::Error::Unavailable`] while the database does not answer.
    pub async fn tick(&self, app: &App) -> Result<()> {
        let mut conn = app.db.conn().await?;
        let now = Instant::now();
        // Whose own beats do not land is no witness, and may be among those who are gone.
        if app.fenced(now).is_some() || !queries::take_turn(&mut conn).await? {
            self.0.looked(now);
            return Ok(());
        }
        let looked_s = self.0.looked(now).as_secs();
        for (subject, at) in queries::removed(&mut conn).await? {
            tell_removed(&mut conn, app, (&subject, at)).await?;
        }
        for cluster in queries::clusters(&mut conn, looked_s).await? {
            tell_cluster(&mut conn, app, &cluster).await?;
        }
        let groups = queries::groups(&mut conn, looked_s, limit(app).as_secs()).await?;
        let (back, gone): (Vec<Seen>, Vec<Seen>) = groups.into_iter().partition(|group| group.is_well);
        for group in &back {
            tell_back(&mut conn, app, group).await?;
        }
        tell_gone(&mut conn, app, &gone).await
    }

    /// For tests: as if it had looked for that long.
    pub fn has_looked_for(&self, length: Duration) {
        self.0.has_looked_for(length);
    }
}

/// How long a server may be silent, by our own interval.
fn limit(app: &App) -> Duration {
    Duration::from_secs(u64::from(app.heart_seconds() * OFFLINE_INTERVALS))
}

async fn tell_cluster(conn: &mut Conn, app: &App, seen: &Seen) -> Result<()> {
    let limit = offline_after(seen.interval_s);
    let (event, state, since) = match seen.is_well {
        true => (Event::Up, State::Online, seen.since),
        false => (Event::Down, State::Offline, seen.since.map(|at| at + limit)),
    };
    let reason = Text::new("notify.cluster_silent").with("seconds", limit.num_seconds());
    let message = Message {
        subject: &format!("cluster/{}", seen.id),
        event,
        topic: Topic::Cluster,
        name: &seen.name,
        group_id: None,
        is_folded: false,
        group: "",
        state: state.name(),
        reason: (!seen.is_well).then_some(reason),
        since: since.unwrap_or(seen.now),
        path: &format!("/clusters/{}", seen.id),
        held: Duration::ZERO,
    };
    let mut tx = conn.start_transaction(TxOpts::default()).await?;
    let is_first = match seen.is_well {
        true => queries::end(&mut tx, message.subject).await? != End::Told,
        false => queries::begin(&mut tx, message.subject, "").await?,
    };
    if is_first {
        post(&mut tx, app, &message).await?;
    }
    tx.commit().await?;
    Ok(())
}

/// It is not there any more, and whoever was told of it is told so.
async fn tell_removed(conn: &mut Conn, app: &App, (subject, at): (&str, NaiveDateTime)) -> Result<()> {
    let mut tx = conn.start_transaction(TxOpts::default()).await?;
    let ended = match queries::end(&mut tx, subject).await? {
        End::Told => Vec::new(),
        End::Alone => vec![subject.to_owned()],
        End::Last(told_as) => vec![subject.to_owned(), told_as],
    };
    for subject in ended {
        let Some(name) = told_name(&mut tx, &subject).await? else {
            continue;
        };
        // Of several that were told in one message the others are watched again.
        let (is_cluster, is_folded) = (subject.starts_with("cluster/"), subject.starts_with("groups/"));
        let (event, state) = match is_folded {
            true => (Event::Up, "notify.all_watched"),
            false => (Event::Removed, "notify.removed"),
        };
        let message = Message {
            subject: &subject,
            event,
            topic: if is_cluster { Topic::Cluster } else { Topic::Group },
            name: &name,
            group_id: None,
            is_folded: false,
            group: "",
            state: Text::new(state),
            reason: None,
            since: at,
            path: if is_cluster { "/clusters" } else { "/groups" },
            held: Duration::ZERO,
        };
        post(&mut tx, app, &message).await?;
    }
    tx.commit().await?;
    Ok(())
}

/// Somebody watches it again.
async fn tell_back(conn: &mut Conn, app: &App, seen: &Seen) -> Result<()> {
    let mut tx = conn.start_transaction(TxOpts::default()).await?;
    let group = groups::queries::by_id(&mut tx, seen.group_id).await?;
    let owner = group.as_ref().and_then(Group::owner);
    // It may have changed since it was looked at.
    let (Some(group), Some(owner)) = (&group, owner) else {
        return Ok(());
    };
    let (subject, path) = places(group);
    let end = queries::end(&mut tx, &subject).await?;
    if end != End::Told {
        let state = Text::new("notify.watched_by").with("cluster", &owner.name);
        let message = Message {
            state,
            ..message(seen, group, (&subject, &path))
        };
        post(&mut tx, app, &message).await?;
        if let End::Last(told_as) = end
            && let Some(names) = told_name(&mut tx, &told_as).await?
        {
            let message = Message {
                subject: &told_as,
                name: &names,
                group_id: None,
                group: "",
                state: Text::new("notify.all_watched"),
                path: "/groups",
                ..message
            };
            post(&mut tx, app, &message).await?;
        }
    }
    tx.commit().await?;
    Ok(())
}

/// Nobody watches these any more. Of many at once channels for all are told by one message, and of its end once all of them
/// are watched again.
async fn tell_gone(conn: &mut Conn, app: &App, gone: &[Seen]) -> Result<()> {
    let Some(first) = gone.first() else {
        return Ok(());
    };
    let is_folded = gone.len() > FEW;
    let told_as = match is_folded {
        true => format!("groups/{}", Uuid::new_v4().simple()),
        false => String::new(),
    };
    let (mut names, mut shortest) = (Vec::new(), limit(app));
    let mut tx = conn.start_transaction(TxOpts::default()).await?;
    for seen in gone {
        let group = groups::queries::by_id(&mut tx, seen.group_id).await?;
        let Some(group) = group.filter(|group| group.owner().is_none()) else {
            continue;
        };
        let (subject, path) = places(&group);
        if queries::begin(&mut tx, &subject, &told_as).await? {
            let message = Message {
                is_folded,
                reason: Some(why(&group)),
                held: held(app, &group),
                ..message(seen, &group, (&subject, &path))
            };
            post(&mut tx, app, &message).await?;
            shortest = shortest.min(message.held);
            names.push(group.name);
        }
    }
    if is_folded && !names.is_empty() {
        let message = Message {
            subject: &told_as,
            event: Event::Down,
            topic: Topic::Group,
            name: &listed(&names),
            group_id: None,
            is_folded: false,
            group: "",
            state: Text::new("groups.uncovered"),
            reason: Some(Text::new("groups.uncovered_means")),
            since: first.now,
            path: "/groups",
            held: shortest,
        };
        post(&mut tx, app, &message).await?;
    }
    tx.commit().await?;
    Ok(())
}

/// The subject of a group, and its page.
fn places(group: &Group) -> (String, String) {
    let group_id = group.group_id;
    (format!("group/{group_id}"), format!("/groups/{group_id}"))
}

/// What is told of one group, but for why.
fn message<'a>(seen: &Seen, group: &'a Group, (subject, path): (&'a str, &'a str)) -> Message<'a> {
    Message {
        subject,
        event: match seen.is_well {
            true => Event::Up,
            false => Event::Down,
        },
        topic: Topic::Group,
        name: &group.name,
        group_id: Some(group.group_id),
        is_folded: false,
        group: &group.name,
        state: Text::new(match group.is_unbound() {
            true => "groups.unbound",
            false => "groups.uncovered",
        }),
        reason: None,
        since: seen.now,
        path,
        held: Duration::ZERO,
    }
}

/// A server that is started anew, or clusters that are being bound in another way, are no outage: unless one of the clusters
/// was silent past its limit, it is waited for.
fn held(app: &App, group: &Group) -> Duration {
    match group.members.iter().any(|member| member.state == State::Offline) {
        true => Duration::ZERO,
        false => limit(app),
    }
}

fn why(group: &Group) -> Text {
    let names: Vec<&str> = group.members.iter().map(|member| member.name.as_str()).collect();
    match names.is_empty() {
        true => Text::new("groups.unbound_means"),
        false => Text::new("notify.group_away").with("clusters", names.join(", ")),
    }
}

/// The first of many names, and how many there are.
fn listed(names: &[String]) -> String {
    let shown = names
        .iter()
        .take(NAMED)
        .map(String::as_str)
        .collect::<Vec<&str>>()
        .join(", ");
    match names.len() > NAMED {
        true => format!("{shown} … ({})", names.len()),
        false => shown,
    }
}
