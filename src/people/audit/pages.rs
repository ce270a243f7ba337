//! 操作日志: the trail as a page, and as CSV.

use std::sync::Arc;

use std::time::Duration;

use askama::Template;
use chrono::NaiveDate;
use futures_util::stream;
use poem::http::header;
use poem::web::Data;
use poem::{Body, EndpointExt, Request, Response, handler};
use tokio::time::timeout;
use url::form_urlencoded;

use super::action::Action;
use super::queries::{self, Row};
use super::words::{field, value};
use crate::app::App;
use crate::error::{Error, Result};
use crate::i18n::{Lang, Text};
use crate::people::access::{Access, Address, get};
use crate::people::role::Role;
use crate::people::sessions::Viewer;
use crate::web::cell::quoted;
use crate::web::fresh::{Lists, asked, since};
use crate::web::{Hx, filters};

const PAGE: usize = 50;
/// Lines read from the database at once while a CSV is sent.
const CHUNK: usize = 500;
/// How long each of these reads may take.
const PATIENCE: Duration = Duration::from_secs(10);

pub fn routes() -> Vec<Address> {
    vec![
        get("/audit", Access::Signed, index.data(Arc::new(Lists::<Trail>::new()))),
        get("/audit.csv", Access::Signed, download),
    ]
}

/// Filters and place in the trail, from the address.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    pub actor: String,
    pub action: Option<Action>,
    pub object: Option<(String, String)>,
    pub only_refused: bool,
    pub from: Option<NaiveDate>,
    pub to: Option<NaiveDate>,
    /// Lines older than this one.
    pub before: Option<u64>,
    /// Whose lines the reader may see, if not all.
    pub only_of: Option<String>,
    pub notices: Vec<Text>,
}

impl Wanted {
    /// Reads the query; people without a wider right see what they did themselves.
    pub fn parse(query: &str, viewer: &Viewer) -> Wanted {
        let mut wanted = Wanted {
            only_of: (viewer.role < Role::SystemAdmin).then(|| viewer.account_id.clone()),
            ..Wanted::default()
        };
        let (mut kind, mut id) = (String::new(), String::new());
        for (key, value) in form_urlencoded::parse(query.as_bytes()) {
            let value: String = value.trim().chars().take(255).collect();
            match key.as_ref() {
                _ if value.is_empty() => {}
                "actor" => wanted.actor = value,
                "action" => match Action::parse(&value) {
                    Some(action) => wanted.action = Some(action),
                    None => wanted.note("audit.unknown_action", &value),
                },
                "kind" => kind = value,
                "object" => id = value,
                "result" => wanted.only_refused = value == "refused",
                "from" => wanted.from = wanted.day(&value),
                "to" => wanted.to = wanted.day(&value),
                "before" => wanted.before = value.parse().ok(),
                _ => {}
            }
        }
        if !kind.is_empty() && !id.is_empty() && kind.is_ascii() && id.is_ascii() {
            wanted.object = Some((kind, id));
        }
        wanted
    }

    fn day(&mut self, value: &str) -> Option<NaiveDate> {
        let day = value.parse().ok();
        if day.is_none() {
            self.note("audit.unknown_day", value);
        }
        day
    }

    fn note(&mut self, key: &'static str, value: &str) {
        let shown: String = value.chars().take(40).collect();
        self.notices.push(Text::new(key).with("value", shown));
    }

    pub fn is_action(&self, action: &Action) -> bool {
        self.action.as_ref() == Some(action)
    }

    pub fn is_filtered(&self) -> bool {
        let days = self.from.is_some() || self.to.is_some();
        !self.actor.is_empty() || self.action.is_some() || self.object.is_some() || self.only_refused || days
    }

    /// The query that asks for the same of all objects.
    pub fn without_object(&self) -> String {
        let all = Wanted {
            object: None,
            ..self.clone()
        };
        all.query(None)
    }

    /// The query that asks for this, with another place in the trail.
    pub fn query(&self, before: Option<u64>) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        if !self.actor.is_empty() {
            query.append_pair("actor", &self.actor);
        }
        if let Some(action) = self.action {
            query.append_pair("action", action.code());
        }
        if let Some((kind, id)) = &self.object {
            query.append_pair("kind", kind).append_pair("object", id);
        }
        if self.only_refused {
            query.append_pair("result", "refused");
        }
        for (key, day) in [("from", self.from), ("to", self.to)] {
            if let Some(day) = day {
                query.append_pair(key, &day.to_string());
            }
        }
        if let Some(before) = before {
            query.append_pair("before", &before.to_string());
        }
        query.finish()
    }
}

/// The page; its block `trail` is the fragment.
#[derive(Template)]
#[template(path = "people/audit.html", blocks = ["trail"])]
pub struct Trail {
    wanted: Wanted,
    rows: Vec<Row>,
    /// Where older lines begin, if there are any.
    older: Option<u64>,
    is_admin: bool,
    role: Role,
}

impl Trail {
    /// What `viewer` sees of it.
    ///
    /// # Errors
    /// [`Error::Unavailable`] while the database does not answer.
    pub async fn load(app: &App, viewer: &Viewer, wanted: Wanted) -> Result<Trail> {
        let mut conn = app.db.conn().await?;
        let mut rows = queries::page(&mut conn, &wanted, PAGE + 1).await?;
        let more = rows.len() > PAGE;
        rows.truncate(PAGE);
        Ok(Trail {
            older: if more {
                rows.last().map(|row| row.audit_id)
            } else {
                None
            },
            is_admin: viewer.role >= Role::SystemAdmin,
            role: viewer.role,
            wanted,
            rows,
        })
    }

    /// The one object whose lines are shown: where it is, and its name.
    fn about(&self) -> Option<(Option<String>, String)> {
        let (_, id) = self.wanted.object.as_ref()?;
        Some(match self.rows.first() {
            Some(row) => (row.link(self.role), row.object_name.clone()),
            None => (None, id.clone()),
        })
    }
}

/// `GET /audit`
#[handler]
async fn index(
    hx: Hx,
    viewer: Viewer,
    app: Data<&App>,
    lists: Data<&Arc<Lists<Trail>>>,
    req: &Request,
) -> Result<Response> {
    let wanted = Wanted::parse(req.uri().query().unwrap_or_default(), &viewer);
    let load = || Trail::load(&app, &viewer, wanted);
    let page = lists.read(asked(req, viewer.sees_as()), since(req), load).await?;
    hx.render(&*page, &page.as_trail())
}

/// `GET /audit.csv`: all that match, read and sent piece by piece.
#[handler]
fn download(hx: Hx, viewer: Viewer, app: Data<&App>, req: &Request) -> Response {
    let wanted = Wanted::parse(req.uri().query().unwrap_or_default(), &viewer);
    let lang = hx.layout.lang;
    // The mark at the start makes spreadsheets read it as UTF-8.
    let head = format!("\u{feff}{}\r\n", Text::new("audit.csv_head").say(lang));
    let start = (Some(head), app.clone(), wanted);
    let pieces = stream::try_unfold(Some(start), move |state| async move {
        let Some((head, app, mut wanted)) = state else {
            return Ok::<_, std::io::Error>(None);
        };
        if let Some(head) = head {
            return Ok(Some((head, Some((None, app, wanted)))));
        }
        let rows = lines(&app, &wanted).await.map_err(std::io::Error::other)?;
        let Some(last) = rows.last() else {
            return Ok(None);
        };
        wanted.before = Some(last.audit_id);
        let csv: String = rows.iter().map(|row| row.csv(lang)).collect();
        let next = (rows.len() == CHUNK).then_some((None, app, wanted));
        Ok(Some((csv, next)))
    });
    Response::builder()
        .content_type("text/csv; charset=utf-8")
        .header(header::CONTENT_DISPOSITION, "attachment; filename=\"muster-audit.csv\"")
        .body(Body::from_bytes_stream(pieces))
}

async fn lines(app: &App, wanted: &Wanted) -> Result<Vec<Row>, Error> {
    let read = async {
        let mut conn = app.db.conn().await?;
        Ok(queries::page(&mut conn, wanted, CHUNK).await?)
    };
    timeout(PATIENCE, read)
        .await
        .unwrap_or_else(|_| Err(Error::timed_out("no answer within 10 s")))
}

/// What the page asks of a line.
impl Row {
    pub fn action_name(&self) -> Text {
        match Action::parse(&self.action) {
            Some(action) => action.name(),
            None => Text::new("action.other").with("code", &self.action),
        }
    }

    /// Who, when it was no person.
    pub fn actor_name(&self) -> Option<Text> {
        match (self.actor.is_empty(), self.role.as_str()) {
            (false, _) => None,
            (true, "server") => Some(Text::new("audit.by_server")),
            (true, "command") => Some(Text::new("audit.by_command")),
            (true, _) => Some(Text::new("audit.by_stranger")),
        }
    }

    /// What they were then.
    pub fn role_name(&self) -> Option<Text> {
        Role::parse(&self.role).map(Role::name)
    }

    /// Field, before, after.
    pub fn changed(&self) -> Vec<(String, String, String)> {
        serde_json::from_str(&self.changes).unwrap_or_default()
    }

    /// [`Row::changed`] in the reader's words, as far as there are words.
    pub fn told(&self) -> Vec<(Text, Option<Text>, Text)> {
        let changes = self.changed().into_iter();
        let told = changes.map(|(name, before, after)| {
            let was = (!before.is_empty()).then(|| value(&name, &before));
            (field(&name), was, value(&name, &after))
        });
        told.collect()
    }

    /// Where a reader can see the object, if it has a page they may see.
    pub fn link(&self, role: Role) -> Option<String> {
        match self.object_kind.as_str() {
            "account" if role >= Role::SuperAdmin => Some(format!("/users/{}", self.object_id)),
            "group" if role >= Role::SystemAdmin => Some(format!("/groups/{}", self.object_id)),
            "workspace" => Some(format!("/workspaces/{}", self.object_id)),
            "handover" if role >= Role::SystemAdmin => Some(format!("/handovers/{}", self.object_id)),
            "cluster" if role >= Role::SystemAdmin => Some(format!("/clusters/{}", self.object_id)),
            _ => None,
        }
    }

    pub fn when(&self) -> Option<chrono::NaiveDateTime> {
        Some(self.at)
    }

    fn csv(&self, lang: Lang) -> String {
        let told = self.told().into_iter().map(|(field, before, after)| {
            let was = before.map_or_else(String::new, |before| format!("{} -> ", before.say(lang)));
            format!("{}: {was}{}", field.say(lang), after.say(lang))
        });
        let changes: Vec<String> = told.collect();
        let role = self
            .role_name()
            .map_or_else(|| self.role.clone(), |role| role.say(lang));
        let result = Text::new(if self.result == "refused" {
            "audit.refused"
        } else {
            "audit.done"
        });
        let actor = self
            .actor_name()
            .map_or_else(|| self.actor.clone(), |text| text.say(lang));
        let cells = [
            format!("{}Z", self.at.format("%Y-%m-%dT%H:%M:%S%.6f")),
            actor,
            role,
            self.address.clone(),
            self.server.clone(),
            self.install_id.clone(),
            self.action_name().say(lang),
            self.object_name.clone(),
            self.object_id.clone(),
            changes.join("; "),
            result.say(lang),
        ];
        let line: Vec<String> = cells.iter().map(|cell| quoted(cell)).collect();
        format!("{}\r\n", line.join(","))
    }
}
