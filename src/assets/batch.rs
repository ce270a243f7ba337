//! What is done to a selection of assets, or to all that a filter leaves. Nothing is asked of the assets themselves.

use std::time::{Duration, Instant};

use mysql_async::{Conn, Transaction, TxOpts};
use poem::web::Data;
use poem::{Response, handler};

use super::credentials::queries as credentials;
use super::list::Wanted;
use super::pages::{self, Rest};
use super::queries::{self, Row};
use super::{search, told};
use crate::app::App;
use crate::error::{Error, Result};
use crate::groups::queries as groups;
use crate::i18n::Text;
use crate::people::Viewer;
use crate::people::access::{Access, Address, post};
use crate::people::audit::{self, Action, Actor, Entry, Object};
use crate::web::form::line_mistake;
use crate::web::guard::is_local;
use crate::web::{Form, Hx};

/// As many as a page has, and some.
const MOST_TICKED: usize = 200;
/// Assets changed in one transaction.
const PIECE: usize = 500;
/// A browser waits no longer than this; the list then offers to go on where it stopped.
const PATIENCE: Duration = Duration::from_secs(5);
/// A year.
const LONGEST_PAUSE: u32 = 8760;
const LONGEST_NOTE: usize = 200;

pub fn routes() -> Vec<Address> {
    vec![
        post("/assets/moves", Access::SystemAdmin, move_some),
        post("/assets/checks", Access::SystemAdmin, check),
        post("/assets/pauses", Access::SystemAdmin, pause),
        post("/assets/resumptions", Access::SystemAdmin, resume),
        post("/assets/removals", Access::SystemAdmin, remove),
    ]
}

/// What is to be done.
#[derive(Debug, Clone)]
enum Deed {
    MoveTo(u32, String),
    Check,
    /// For so many hours, or until somebody resumes them; with a note.
    Pause(Option<u32>, String),
    Resume,
    Remove,
}

/// What became of it.
#[derive(Debug, Default)]
struct Done {
    changed: usize,
    /// Those that were asked for and that there was nothing to be done to.
    left: usize,
    /// The id behind which the time was over before all were done.
    stopped_after: Option<u32>,
}

/// `POST /assets/moves`
#[handler]
async fn move_some(hx: Hx, viewer: Viewer, app: Data<&App>, form: Form) -> Result<Response> {
    let deed = chosen_group(&app, &form).await;
    do_all(&hx, &viewer, &app, &form, deed).await
}

/// `POST /assets/checks`
#[handler]
async fn check(hx: Hx, viewer: Viewer, app: Data<&App>, form: Form) -> Result<Response> {
    do_all(&hx, &viewer, &app, &form, Ok(Deed::Check)).await
}

/// `POST /assets/pauses`
#[handler]
async fn pause(hx: Hx, viewer: Viewer, app: Data<&App>, form: Form) -> Result<Response> {
    do_all(&hx, &viewer, &app, &form, typed_pause(&form)).await
}

/// `POST /assets/resumptions`
#[handler]
async fn resume(hx: Hx, viewer: Viewer, app: Data<&App>, form: Form) -> Result<Response> {
    do_all(&hx, &viewer, &app, &form, Ok(Deed::Resume)).await
}

/// `POST /assets/removals`
#[handler]
async fn remove(hx: Hx, viewer: Viewer, app: Data<&App>, form: Form) -> Result<Response> {
    do_all(&hx, &viewer, &app, &form, Ok(Deed::Remove)).await
}

async fn chosen_group(app: &App, form: &Form) -> Result<Deed> {
    let group_id = form.text("to").parse().unwrap_or(0);
    let group = groups::by_id(&mut app.db.conn().await?, group_id).await?;
    let group = group.ok_or_else(|| Error::Invalid(Text::new("assets.choose_group")))?;
    Ok(Deed::MoveTo(group_id, group.name))
}

fn typed_pause(form: &Form) -> Result<Deed> {
    let note = form.text("note");
    if let Some(mistake) = line_mistake(note, LONGEST_NOTE) {
        return Err(Error::Invalid(mistake));
    }
    let hours = match form.text("hours") {
        "" => None,
        hours => match hours.parse() {
            Ok(hours) if (1..=LONGEST_PAUSE).contains(&hours) => Some(hours),
            _ => {
                return Err(Error::Invalid(
                    Text::new("assets.wrong_hours").with("most", LONGEST_PAUSE),
                ));
            }
        },
    };
    Ok(Deed::Pause(hours, note.to_owned()))
}

/// Does it and says to how many. What is wrong with what was asked is said on the list itself, where all stays as it was ticked.
async fn do_all(hx: &Hx, viewer: &Viewer, app: &App, form: &Form, deed: Result<Deed>) -> Result<Response> {
    let back = Some(form.text("back")).filter(|back| is_local(back));
    let back = back.unwrap_or("/assets");
    let is_list = back.split('?').next() == Some("/assets");
    let done = match deed {
        Ok(deed) => match do_chosen(viewer, app, (form, back), &deed).await {
            Ok(done) => Ok((deed, done)),
            Err(error) => Err(error),
        },
        Err(error) => Err(error),
    };
    match done {
        Ok((deed, done)) if is_list => match done.stopped_after {
            Some(after) => pages::stopped(hx, app, form, rest(&deed, &done, (back, after))).await,
            None => Ok(hx.done_to(back, said(&deed), (done.changed, done.left))),
        },
        // The page of what was deleted is gone.
        Ok((Deed::Remove, _)) => Ok(hx.done("/assets", said(&Deed::Remove))),
        Ok((deed, _)) => Ok(hx.done(back, said(&deed))),
        Err(Error::Invalid(mistake)) if is_list => pages::refused(hx, app, form, mistake).await,
        Err(error) => Err(error),
    }
}

/// Those that are ticked in one transaction; all that match in many, for as long as a browser waits.
async fn do_chosen(viewer: &Viewer, app: &App, (form, back): (&Form, &str), deed: &Deed) -> Result<Done> {
    let (mut conn, actor) = (app.db.conn().await?, viewer.actor(app));
    if form.text("scope") == "all" {
        return match_all(&mut conn, (app, &actor), (form, back), deed).await;
    }
    let mut ids: Vec<u32> = form
        .all("asset")
        .filter_map(|id| id.parse().ok())
        .take(MOST_TICKED)
        .collect();
    ids.sort_unstable();
    ids.dedup();
    if ids.is_empty() {
        return Err(Error::Invalid(Text::new("assets.none_ticked")));
    }
    let changed = do_piece(&mut conn, (app, &actor), &ids, deed).await?;
    Ok(Done {
        changed,
        left: ids.len() - changed,
        stopped_after: None,
    })
}

fn said(deed: &Deed) -> &'static str {
    match deed {
        Deed::MoveTo(..) => "said.moved",
        Deed::Check => "said.checking",
        Deed::Pause(..) => "said.paused",
        Deed::Resume => "said.resumed",
        Deed::Remove => "said.removed",
    }
}

/// What is left to do, for the list that offers it.
fn rest(deed: &Deed, done: &Done, (back, after): (&str, u32)) -> Rest {
    let (path, more) = match deed {
        Deed::MoveTo(group_id, _) => ("/assets/moves", vec![("to", group_id.to_string())]),
        Deed::Check => ("/assets/checks", Vec::new()),
        Deed::Pause(hours, note) => {
            let hours = hours.map(|hours| hours.to_string()).unwrap_or_default();
            ("/assets/pauses", vec![("hours", hours), ("note", note.clone())])
        }
        Deed::Resume => ("/assets/resumptions", Vec::new()),
        Deed::Remove => ("/assets/removals", Vec::new()),
    };
    let mut fields = vec![("scope", "all".to_owned()), ("back", back.to_owned())];
    fields.extend([("after", after.to_string()), ("done", done.changed.to_string())]);
    fields.push(("left", done.left.to_string()));
    fields.extend(more);
    let count = done.changed;
    Rest { path, fields, count }
}

/// All that the filters of the list leave, in the order of their ids: from the first, or from where the press before stopped.
/// Numbers of presses before are counted on, so that the last one tells of all.
async fn match_all(conn: &mut Conn, by: (&App, &Actor), (form, back): (&Form, &str), deed: &Deed) -> Result<Done> {
    let began = Instant::now();
    let wanted = Wanted::parse(back.split_once('?').map_or("", |(_, query)| query));
    let narrowed = wanted.narrowed(&groups::all(conn).await?);
    let before = |field| form.text(field).parse::<u32>().unwrap_or_default();
    let mut after = before("after");
    let mut done = Done {
        changed: before("done") as usize,
        left: before("left") as usize,
        stopped_after: None,
    };
    loop {
        let ids = search::matching(conn, (&wanted, narrowed.as_ref()), after, PIECE).await?;
        let Some(last) = ids.last() else { return Ok(done) };
        match do_piece(conn, by, &ids, deed).await {
            Ok(changed) => {
                done.changed += changed;
                done.left += ids.len() - changed;
                after = *last;
            }
            // Somebody edits some of these very assets.
            Err(error) if error.is_contention() => {
                done.stopped_after = Some(after);
                return Ok(done);
            }
            Err(error) => return Err(error),
        }
        if ids.len() < PIECE {
            return Ok(done);
        }
        if began.elapsed() > PATIENCE {
            done.stopped_after = Some(after);
            return Ok(done);
        }
    }
}

/// One transaction with its lines in the trail. Returns how many were changed.
async fn do_piece(conn: &mut Conn, (app, actor): (&App, &Actor), ids: &[u32], deed: &Deed) -> Result<usize> {
    let mut tx = conn.start_transaction(TxOpts::default()).await?;
    let rows = queries::locked(&mut tx, ids).await?;
    let rows: Vec<Row> = rows.into_iter().filter(|row| concerns(deed, row)).collect();
    let ids: Vec<u32> = rows.iter().map(|row| row.asset_id).collect();
    if ids.is_empty() {
        return Ok(0);
    }
    match deed {
        Deed::MoveTo(group_id, _) => queries::move_to(&mut tx, &ids, *group_id, &actor.name)
            .await
            .map_err(gone)?,
        Deed::Check => queries::check_now(&mut tx, &ids).await?,
        Deed::Pause(hours, note) => queries::pause(&mut tx, &ids, (*hours, note), &actor.name).await?,
        Deed::Resume => queries::resume(&mut tx, &ids, &actor.name).await?,
        Deed::Remove => {
            told::removed(&mut tx, app, &rows).await?;
            queries::remove(&mut tx, &ids).await?;
            let own: Vec<&str> = rows.iter().filter_map(|row| row.credential_id.as_deref()).collect();
            credentials::remove_own(&mut tx, &own).await?;
        }
    }
    record(&mut tx, actor, &rows, deed).await?;
    tx.commit().await?;
    Ok(rows.len())
}

/// Whether it changes anything.
fn concerns(deed: &Deed, row: &Row) -> bool {
    match deed {
        Deed::MoveTo(group_id, _) => row.group_id != *group_id,
        Deed::Check => !row.is_paused,
        Deed::Resume => row.paused_until.is_some(),
        _ => true,
    }
}

/// The group was deleted since it was chosen.
fn gone(error: mysql_async::Error) -> Error {
    match &error {
        mysql_async::Error::Server(server) if server.code == 1452 => Error::Invalid(Text::new("assets.choose_group")),
        _ => error.into(),
    }
}

/// A line for each of a few, one line for all of many; looking changes nothing and needs none.
async fn record(tx: &mut Transaction<'_>, actor: &Actor, rows: &[Row], deed: &Deed) -> Result<()> {
    let entry = match deed {
        Deed::Check => return Ok(()),
        Deed::MoveTo(_, name) => Entry::by(actor, Action::AssetUpdate).change("groups", "", name),
        Deed::Pause(_, note) => Entry::by(actor, Action::AssetPause).change("note", "", note),
        Deed::Resume => Entry::by(actor, Action::AssetResume),
        Deed::Remove => Entry::by(actor, Action::AssetRemove),
    };
    if rows.len() <= MOST_TICKED {
        for row in rows {
            let entry = entry.clone().on(row.object());
            let entry = match deed {
                Deed::Remove => entry.change("address", &row.address, ""),
                _ => entry,
            };
            audit::record(tx, &entry).await?;
        }
        return Ok(());
    }
    let names: Vec<&str> = rows.iter().map(|row| row.name.as_str()).collect();
    let entry = entry.on(Object::new("asset", "", names[0])).change(
        "assets",
        "",
        format!("{}: {}", rows.len(), names.join(", ")),
    );
    audit::record(tx, &entry).await?;
    Ok(())
}
