//! Asking for a trial, and what becomes of it: a box below the form, or without scripts a page of its own.

use askama::Template;
use mysql_async::{Conn, Transaction, TxOpts};
use poem::http::StatusCode;
use poem::web::{Data, Path};
use poem::{Response, handler};
use uuid::Uuid;

use super::queries::{self, Row, Wanted};
use super::{Told, sealed};
use crate::app::App;
use crate::assets::credentials::queries as credentials;
use crate::assets::credentials::{self as vault, Typed};
use crate::assets::described::{self, Choices, Saved};
use crate::assets::kind::Kind;
use crate::assets::queries as assets;
use crate::assets::target::Secret;
use crate::assets::{known_id, missing, view};
use crate::error::{Error, Result};
use crate::groups::Group;
use crate::groups::queries as groups;
use crate::i18n::Text;
use crate::install::is_install_id;
use crate::people::Viewer;
use crate::people::access::{Access, Address, get, post};
use crate::people::audit::{self, Action, Entry, Object};
use crate::people::users::queries as users;
use crate::web::{Form, Hx, Mistakes, filters};

/// Trials of one account that may be open at the same time.
const MOST_OPEN: u64 = 3;

pub fn routes() -> Vec<Address> {
    vec![
        post("/assets/trials", Access::SystemAdmin, create),
        get("/assets/trials/:trial_id", Access::SystemAdmin, show),
    ]
}

#[derive(Template)]
#[template(path = "assets/trials/show.html", blocks = ["trial"])]
struct Show {
    said: Said,
    /// Whoever answers this request.
    own_id: String,
}

/// How far it came.
enum Said {
    /// Nothing was asked: this has to be mended first.
    Mistakes(Mistakes),
    /// Nothing was asked: nobody would do it.
    Unwatched(Group),
    TooMany,
    /// Nobody took it; with the group, and who is to watch it.
    Missed(Row, Option<Group>),
    Waiting(Row, Option<Group>),
    Running(Row),
    /// Somebody took it and never told.
    Lost(Row),
    Ended(Row, Box<Told>),
}

impl Show {
    fn of(app: &App, said: Said) -> Show {
        Show {
            said,
            own_id: app.install.id.clone(),
        }
    }

    /// The name of a field, as the form has it.
    fn label(&self, field: &str) -> &'static str {
        match field {
            "host" => "ssh.host",
            "port" => "ssh.port",
            "key_file" => "ssh.key_path",
            "group_id" => "assets.group",
            "interval_s" => "assets.interval",
            "timeout_s" => "assets.timeout",
            "retries" => "assets.retries",
            "cpu_limit" => "assets.cpu_limit",
            "memory_limit" => "assets.memory_limit",
            "disk_limit" => "assets.disk_limit",
            "credential_id" => "credentials.credential",
            "user" => "credentials.user",
            "password" => "credentials.password",
            "private_key" => "credentials.private_key",
            "passphrase" => "credentials.passphrase",
            "certificate" => "credentials.certificate",
            "authority" => "credentials.authority",
            "name" => "assets.name",
            _ => "assets.address",
        }
    }

    /// Where it is asked for again, while there is something to come.
    fn again(&self) -> Option<String> {
        match &self.said {
            Said::Waiting(row, _) | Said::Running(row) => Some(format!("/assets/trials/{}", row.trial_id)),
            _ => None,
        }
    }

    fn by(&self, key: &'static str, row: &Row) -> Text {
        Text::new(key).with("cluster", row.taker.as_deref().unwrap_or(&row.taken_by))
    }

    /// Who looked, and that it was not this server, where so.
    fn tested_by(&self, row: &Row) -> Text {
        match row.taken_by == self.own_id {
            true => self.by("trials.by_us", row),
            false => self.by("trials.by_another", row),
        }
    }

    fn waits_for(&self, group: &Option<Group>) -> Text {
        match group.as_ref().and_then(Group::owner) {
            Some(owner) => Text::new("trials.waits_for").with("cluster", &owner.name),
            None => Text::new("trials.waits"),
        }
    }

    fn missed(&self, group: &Option<Group>) -> Text {
        match group.as_ref().map(|group| (group, group.owner())) {
            Some((_, Some(owner))) => Text::new("trials.missed").with("cluster", &owner.name),
            Some((group, None)) => view::unwatched(group),
            None => Text::new("groups.missing"),
        }
    }
}

/// `POST /assets/trials`: somebody wants to know whether what is typed would work. Nothing of it is saved.
#[handler]
async fn create(hx: Hx, viewer: Viewer, app: Data<&App>, form: Form) -> Result<Response> {
    let mut conn = app.db.conn().await?;
    let (draft, mut mistakes) = read(&mut conn, &viewer, &form).await?;
    if mistakes.is_empty() {
        let group = draft.choices.group(draft.said.described.group_id);
        if let Some(group) = group.filter(|group| group.owner().is_none()) {
            let page = Show::of(&app, Said::Unwatched(group.clone()));
            return hx.answer(StatusCode::CONFLICT, &page, &page.as_trial());
        }
        let mut tx = conn.start_transaction(TxOpts::default()).await?;
        match ask(&mut tx, &app, &viewer, &draft).await {
            Ok(Some(trial_id)) => {
                tx.commit().await?;
                let page = load(&mut conn, &app, &viewer, &trial_id).await?;
                return match hx.wants_block() {
                    true => hx.render(&page, &page.as_trial()),
                    false => Ok(hx.see_other(&format!("/assets/trials/{trial_id}"))),
                };
            }
            Ok(None) => {
                let page = Show::of(&app, Said::TooMany);
                return hx.answer(StatusCode::TOO_MANY_REQUESTS, &page, &page.as_trial());
            }
            // That this server cannot keep a secret is said at the credential.
            Err(Error::Conflict(text)) => mistakes.note("credential_id", text),
            Err(error) => return Err(error),
        }
        tx.rollback().await?;
    }
    let page = Show::of(&app, Said::Mistakes(mistakes));
    hx.answer(StatusCode::UNPROCESSABLE_ENTITY, &page, &page.as_trial())
}

/// What was typed, with what there is to choose from, and the asset as it is saved.
struct Draft {
    choices: Choices,
    saved: Option<Saved>,
    said: described::Said,
}

/// What was typed, judged as for saving.
async fn read(conn: &mut Conn, viewer: &Viewer, form: &Form) -> Result<(Draft, Mistakes)> {
    let saved = match form.text("asset_id") {
        "" => None,
        asset_id => {
            let row = assets::by_id(conn, known_id(asset_id)?).await?.ok_or_else(missing)?;
            Some(Saved::of(conn, row).await?)
        }
    };
    let kind = saved.as_ref().map(|saved| saved.row.kind);
    let kind = kind.or(Kind::parse(form.text("kind")));
    let kind = kind.ok_or_else(|| Error::Invalid(Text::new("error.form")))?;
    let (choices, mut form) = (Choices::load(conn, viewer).await?, form.clone());
    // Whoever only tries need not have thought of a name.
    if form.text("name").is_empty() {
        form.set("name", kind.code());
    }
    let mut mistakes = Mistakes::default();
    let said = choices.read(kind, &form, saved.as_ref(), &mut mistakes)?;
    Ok((Draft { choices, saved, said }, mistakes))
}

/// Writes down what is to be tried; none when too much is open already.
async fn ask(tx: &mut Transaction<'_>, app: &App, viewer: &Viewer, draft: &Draft) -> Result<Option<String>> {
    let (described, typed) = (&draft.said.described, &draft.said.typed);
    let trial_id = Uuid::new_v4().simple().to_string();
    let saved = draft.saved.as_ref();
    let stays = saved.filter(|saved| saved.row.address == described.address);
    let sealed = match draft.said.is_sealed(saved) {
        // The key's row first, as everybody does who seals something.
        true => {
            let key = vault::sealing_key(tx, app).await?;
            let own = saved.and_then(Saved::own);
            let secret = secret(tx, app, own, (typed, stays.is_some())).await?;
            Some(sealed(&key, &trial_id, &secret)?)
        }
        false => None,
    };
    // Of two that are asked for at once the second waits here, and counts the first.
    users::locked(tx, &viewer.account_id).await?;
    if queries::open_of(tx, &viewer.account_id).await? >= MOST_OPEN {
        return Ok(None);
    }
    let wanted = Wanted {
        trial_id: &trial_id,
        kind: described.kind,
        address: &described.address,
        group_id: described.group_id,
        settings: &described.settings,
        credential_id: described.credential_id.as_deref(),
        sealed: sealed.as_deref(),
        pin: stays.map_or("", |saved| &saved.row.pin),
        timeout_s: described.timeout_s,
        asked_by: &viewer.account_id,
    };
    queries::insert(tx, &wanted).await?;
    audit::record(tx, &entry(app, viewer, draft)).await?;
    Ok(Some(trial_id))
}

/// Who to be: what was typed, over what is kept, where the asset stays where it is.
async fn secret(
    tx: &mut Transaction<'_>,
    app: &App,
    own: Option<&str>,
    (typed, stays): (&Typed, bool),
) -> Result<Secret> {
    let former = match own.filter(|_| stays && !typed.clears()) {
        Some(credential_id) => match credentials::locked(tx, credential_id).await? {
            Some((_, sealed)) => vault::open(&app.seal, credential_id, &sealed).map_err(vault::ours)?,
            None => Secret::default(),
        },
        None => Secret::default(),
    };
    Ok(typed.over(former))
}

/// Whoever is tried hears who we are there, so it is written down where that was.
fn entry(app: &App, viewer: &Viewer, draft: &Draft) -> Entry {
    let described = &draft.said.described;
    let object = match &draft.saved {
        Some(saved) => saved.row.object(),
        None => Object::new("asset", "", &described.address),
    };
    let group = draft.choices.group_name(described.group_id);
    Entry::by(&viewer.actor(app), Action::AssetTrial)
        .on(object)
        .change("kind", "", described.kind.code())
        .change("address", "", &described.address)
        .change("groups", "", group)
}

/// `GET /assets/trials/{trial_id}`: only for whoever asked.
#[handler]
async fn show(hx: Hx, viewer: Viewer, app: Data<&App>, Path(trial_id): Path<String>) -> Result<Response> {
    let page = load(&mut app.db.conn().await?, &app, &viewer, &trial_id).await?;
    hx.render(&page, &page.as_trial())
}

async fn load(conn: &mut Conn, app: &App, viewer: &Viewer, trial_id: &str) -> Result<Show> {
    let gone = || Error::NotFound(Text::new("trials.gone"));
    if !is_install_id(trial_id) {
        return Err(gone());
    }
    let row = queries::of_account(conn, trial_id, &viewer.account_id).await?;
    let row = row.ok_or_else(gone)?;
    let told = row.report.as_deref().map(serde_json::from_str);
    let told: Option<Told> = told.transpose().map_err(|cause| Error::Internal(cause.into()))?;
    let said = match (told, row.taken_by.is_empty(), row.is_open) {
        (Some(told), ..) => Said::Ended(row, Box::new(told)),
        (None, false, true) => Said::Running(row),
        (None, false, false) => Said::Lost(row),
        (None, true, is_open) => {
            let group = groups::by_id(conn, row.group_id).await?;
            match is_open {
                true => Said::Waiting(row, group),
                false => Said::Missed(row, group),
            }
        }
    };
    Ok(Show::of(app, said))
}
