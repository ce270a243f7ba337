//! Doing what a file says, piece by piece: each piece wholly or not at all, with its lines in the trail.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use mysql_async::{Conn, Transaction, TxOpts};

use super::plan::{Deed, Line, Plan, Verdict};
use crate::app::App;
use crate::assets::credentials as vault;
use crate::assets::described::Choices;
use crate::assets::queries;
use crate::error::{Error, Result};
use crate::groups;
use crate::groups::{Group, name_key};
use crate::i18n::Text;
use crate::people::Viewer;
use crate::people::audit::{self, Action, Actor, Object};
use crate::people::users::queries as users;
use crate::seal::Key;

/// A browser waits no longer than this; the rest is done by pressing again.
const PATIENCE: Duration = Duration::from_secs(20);
/// Lines done in one transaction: few, as their assets are kept from everybody else so long.
const PIECE: usize = 200;
/// So often a piece is tried whose assets somebody else holds.
const TRIES: usize = 3;
/// So many assets of one import have a line of their own in the trail.
const MOST_TOLD: usize = 200;

/// What was done.
#[derive(Debug, Default)]
pub struct Done {
    pub new: usize,
    pub changed: usize,
    /// The line after which the time was over; none when all is done.
    pub stopped_after: Option<u64>,
    /// Groups that were made and that no cluster watches: ids and names.
    pub unbound: Vec<(u32, String)>,
}

/// Who does it, with what.
struct Work<'a> {
    app: &'a App,
    viewer: &'a Viewer,
    choices: &'a Choices,
    actor: Actor,
    /// Groups that were made, by their compared names.
    groups: HashMap<String, u32>,
    /// Assets that were made.
    new: HashSet<u32>,
    /// Each asset has a line of its own in the trail.
    tells_each: bool,
}

/// # Errors
/// [`Error::Conflict`] when somebody else changed what is concerned meanwhile; pieces before that one are done.
pub async fn carry_out(
    conn: &mut Conn,
    (app, viewer): (&App, &Viewer),
    choices: &Choices,
    plan: &Plan,
) -> Result<Done> {
    let began = Instant::now();
    let concerned: Vec<(&Line, &Deed)> = plan
        .lines
        .iter()
        .filter_map(|line| Some((line, line.verdict.deed()?)))
        .collect();
    let mut work = Work {
        app,
        viewer,
        choices,
        actor: viewer.actor(app),
        groups: HashMap::new(),
        new: HashSet::new(),
        tells_each: concerned.len() <= MOST_TOLD,
    };
    let (mut done, mut last) = (Done::default(), 0);
    for piece in concerned.chunks(PIECE) {
        if began.elapsed() > PATIENCE {
            done.stopped_after = Some(last);
            break;
        }
        work.piece_in_time(conn, piece).await?;
        let new = piece
            .iter()
            .filter(|(line, _)| matches!(line.verdict, Verdict::New(_)))
            .count();
        done.new += new;
        done.changed += piece.len() - new;
        last = piece.last().map_or(last, |(line, _)| line.number);
    }
    if !work.groups.is_empty() {
        let unbound = groups::queries::all(conn).await?.into_iter().filter(Group::is_unbound);
        let made = unbound.filter(|group| work.groups.values().any(|made| *made == group.group_id));
        done.unbound = made.map(|group| (group.group_id, group.name)).collect();
    }
    Ok(done)
}

impl Work<'_> {
    /// A piece, which nothing was done of while somebody else holds the same assets: then once more.
    async fn piece_in_time(&mut self, conn: &mut Conn, piece: &[(&Line, &Deed)]) -> Result<()> {
        for _ in 1..TRIES {
            match self.piece(conn, piece).await {
                Err(error) if error.is_contention() => {}
                done => return done,
            }
        }
        self.piece(conn, piece).await
    }

    async fn piece(&mut self, conn: &mut Conn, piece: &[(&Line, &Deed)]) -> Result<()> {
        let mut tx = conn.start_transaction(TxOpts::default()).await?;
        // The key's row first, as everybody does who seals something.
        let is_sealed = piece.iter().any(|(_, deed)| deed.said.is_sealed(deed.saved.as_ref()));
        let key = match is_sealed {
            true => Some(vault::sealing_key(&mut tx, self.app).await?),
            false => None,
        };
        // One import of a person at a time: whoever presses twice does not get everything twice.
        users::locked(&mut tx, &self.viewer.account_id).await?;
        // All in the order of their ids, as everybody does who holds several, whatever the order of the lines.
        let mut piece = piece.to_vec();
        let id = |deed: &Deed| deed.saved.as_ref().map(|saved| saved.row.asset_id);
        piece.sort_by_key(|(_, deed)| id(deed).unwrap_or(u32::MAX));
        let ids: Vec<u32> = piece.iter().filter_map(|(_, deed)| id(deed)).collect();
        queries::lock(&mut tx, &ids).await?;
        let piece = piece.as_slice();
        self.nobody_was_first(&mut tx, piece).await?;
        let made = self.make_groups(&mut tx, piece).await?;
        let (mut entries, mut pauses, mut new) = (Vec::new(), [Vec::new(), Vec::new()], Vec::new());
        for (_, deed) in piece {
            let (asset_id, entry) = self.one(&mut tx, key.as_ref(), deed, &made).await?;
            entries.push(entry);
            if deed.saved.is_none() {
                new.push(asset_id);
            }
            if let Some(pause) = deed.pause {
                pauses[usize::from(pause)].push(asset_id);
            }
        }
        let [resumed, paused] = pauses;
        if !paused.is_empty() {
            queries::pause(&mut tx, &paused, (None, ""), &self.viewer.name).await?;
        }
        if !resumed.is_empty() {
            queries::resume(&mut tx, &resumed, &self.viewer.name).await?;
        }
        self.record(&mut tx, piece, entries).await?;
        tx.commit().await?;
        self.groups.extend(made);
        self.new.extend(new);
        Ok(())
    }

    /// That what is new here is still new: nobody is at its address who was not there when it was judged, or came with this file.
    async fn nobody_was_first(&self, tx: &mut Transaction<'_>, piece: &[(&Line, &Deed)]) -> Result<()> {
        let new = piece.iter().filter(|(_, deed)| deed.saved.is_none());
        let new: Vec<&Deed> = new.map(|(_, deed)| *deed).collect();
        let addresses: Vec<&str> = new.iter().map(|deed| deed.said.described.address.as_str()).collect();
        let there = super::queries::at(tx, &addresses).await?;
        let is_there = there.iter().filter(|row| !self.new.contains(&row.asset_id)).any(|row| {
            new.iter().any(|deed| {
                let said = &deed.said.described;
                said.kind == row.kind && said.address == row.address && !deed.beside.contains(&row.asset_id)
            })
        });
        if is_there { Err(meanwhile()) } else { Ok(()) }
    }

    /// Groups by their compared names: those made before, and those that this piece needs besides.
    async fn make_groups(&self, tx: &mut Transaction<'_>, piece: &[(&Line, &Deed)]) -> Result<HashMap<String, u32>> {
        let mut made = self.groups.clone();
        for name in piece.iter().filter_map(|(_, deed)| deed.group.as_ref()) {
            if let Entry::Vacant(place) = made.entry(name_key(name)) {
                place.insert(groups::found(tx, &self.actor, name).await?);
            }
        }
        Ok(made)
    }

    async fn one(
        &self,
        tx: &mut Transaction<'_>,
        key: Option<&Key>,
        deed: &Deed,
        made: &HashMap<String, u32>,
    ) -> Result<(u32, audit::Entry)> {
        let mut said = deed.said.clone();
        let made = deed.group.as_ref().and_then(|name| made.get(&name_key(name)));
        said.described.group_id = made.copied().unwrap_or(said.described.group_id);
        let group = match &deed.group {
            Some(name) => name,
            None => self.choices.group_name(said.described.group_id),
        };
        let by = &self.viewer.name;
        let Some(saved) = &deed.saved else {
            let asset_id = said.insert(tx, key, by).await.map_err(gone)?;
            return Ok((asset_id, said.created(&self.actor, asset_id, group)));
        };
        let row = &saved.row;
        let keys = (&self.app.seal, key);
        if !said.save(tx, keys, (saved, row.row_version), by).await.map_err(gone)? {
            return Err(meanwhile());
        }
        let groups = (self.choices.group_name(row.group_id), group);
        let entry = said.changed(&self.actor, row, groups);
        Ok((
            row.asset_id,
            match deed.pause {
                Some(true) => entry.change("paused", "", "yes"),
                Some(false) => entry.change("paused", "yes", ""),
                None => entry,
            },
        ))
    }

    /// A line for each of a few, one line for a piece of many.
    async fn record(
        &self,
        tx: &mut Transaction<'_>,
        piece: &[(&Line, &Deed)],
        entries: Vec<audit::Entry>,
    ) -> Result<()> {
        if self.tells_each {
            for entry in entries {
                audit::record(tx, &entry).await?;
            }
            return Ok(());
        }
        let names: Vec<&str> = piece
            .iter()
            .map(|(_, deed)| deed.said.described.name.as_str())
            .collect();
        let entry = audit::Entry::by(&self.actor, Action::AssetImport)
            .on(Object::new("asset", "", names[0]))
            .change("assets", "", format!("{}: {}", piece.len(), names.join(", ")));
        audit::record(tx, &entry).await?;
        Ok(())
    }
}

fn meanwhile() -> Error {
    Error::Conflict(Text::new("transfer.meanwhile"))
}

/// A group or credential that is gone meanwhile is told by its key.
fn gone(error: Error) -> Error {
    match &error {
        Error::Internal(cause) => match cause.downcast_ref::<mysql_async::Error>() {
            Some(mysql_async::Error::Server(server)) if server.code == 1452 => meanwhile(),
            _ => error,
        },
        _ => error,
    }
}
