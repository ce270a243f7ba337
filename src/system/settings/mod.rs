//! 系统配置: this server's settings file, what of it counts, and changing it.

mod draft;
mod effect;
pub mod watch;

use askama::Template;
use chrono::NaiveDateTime;
use mysql_async::TxOpts;
use poem::http::StatusCode;
use poem::web::Data;
use poem::{Request, Response, handler};
use url::form_urlencoded;

use crate::app::App;
use crate::clusters::queries as clusters;
use crate::config::{Problem, Setting, file, mask};
use crate::error::{Error, Result};
use crate::i18n::Text;
use crate::people::Viewer;
use crate::people::access::{Access, Address, get, post};
use crate::people::audit;
use crate::web::{Form, Hx, Mistakes, filters};
use draft::{DiffLine, Draft};
use effect::{Change, InForce};

pub fn routes() -> Vec<Address> {
    vec![
        get("/settings", Access::SystemAdmin, show).always(),
        post("/settings", Access::SystemAdmin, update).in_person().always(),
        post("/settings/draft", Access::SystemAdmin, check).in_person().always(),
        post("/settings/editor", Access::SystemAdmin, go_on)
            .in_person()
            .always(),
    ]
}

/// The page: the file in an editor, the small form, and every key.
#[derive(Template)]
#[template(path = "system/settings.html", blocks = ["settings"])]
struct Page {
    path: String,
    /// With dots for secrets.
    text: String,
    /// Tells the file as it was shown from what it is when it is saved.
    seen: String,
    /// The former version that the editor shows.
    version: Option<u32>,
    versions: Vec<Version>,
    cluster_id: Small,
    heart_second: Small,
    in_force: Vec<InForce>,
    /// What is wrong with what was typed.
    problems: Vec<Problem>,
    /// What is wrong with the file as it is, so that it does not count.
    refused: Vec<Problem>,
    mistakes: Mistakes,
    /// Somebody else saved since the editor was shown.
    is_late: bool,
}

/// One field of the small form.
struct Small {
    value: String,
    /// A flag or the environment decides.
    fixed_by: Option<Text>,
}

struct Version {
    number: u32,
    until: Option<NaiveDateTime>,
}

/// What would change, before it does.
#[derive(Template)]
#[template(path = "system/settings_draft.html", blocks = ["settings"])]
struct Preview {
    path: String,
    typed: String,
    seen: String,
    version: Option<u32>,
    diff: Vec<Vec<DiffLine>>,
    changes: Vec<Change>,
    warnings: Vec<Text>,
    /// Clusters that live under the new cluster id.
    namesakes: Vec<clusters::Namesake>,
}

/// The settings file on disk.
struct OnDisk {
    text: String,
    problems: Vec<Problem>,
    settings: Option<Vec<Setting>>,
}

impl OnDisk {
    async fn read(app: &App) -> OnDisk {
        let (text, unreadable) = match watch::read(app).await {
            Ok(Some(text)) => (text, None),
            Ok(None) => (String::new(), Some(watch::gone(app))),
            Err(problem) => (String::new(), Some(problem)),
        };
        let (settings, mut problems) = match app.config.reader.judge(&text) {
            Ok(config) => (Some(config.settings), Vec::new()),
            Err(problems) => (None, problems),
        };
        problems.extend(unreadable);
        OnDisk {
            text,
            problems,
            settings,
        }
    }

    fn seen(&self) -> String {
        file::fingerprint(&self.text)
    }
}

impl Page {
    fn of(app: &App, on_disk: OnDisk) -> Page {
        let fixed = |key: &str| {
            let setting = app.config.settings.iter().find(|setting| setting.key == key)?;
            use crate::config::Origin::{Environment, Flag};
            matches!(setting.origin, Flag(_) | Environment(_)).then(|| effect::origin(&setting.origin))
        };
        let versions = file::versions(&app.config.data).unwrap_or_default().into_iter();
        Page {
            path: app.config.file.display().to_string(),
            text: mask::masked(&on_disk.text),
            seen: on_disk.seen(),
            version: None,
            versions: versions
                .map(|version| Version {
                    number: version.number,
                    until: Some(chrono::DateTime::<chrono::Utc>::from(version.until).naive_utc()),
                })
                .collect(),
            cluster_id: Small {
                value: app.cluster_id(),
                fixed_by: fixed(crate::config::CLUSTER_ID),
            },
            heart_second: Small {
                value: app.heart_seconds().to_string(),
                fixed_by: fixed(crate::config::HEART_SECOND),
            },
            in_force: effect::in_force(app, on_disk.settings.as_deref()),
            problems: Vec::new(),
            refused: on_disk.problems,
            mistakes: Mistakes::default(),
            is_late: false,
        }
    }
}

/// `GET /settings`, with `?version=` a former text in the editor.
#[handler]
async fn show(hx: Hx, app: Data<&App>, req: &Request) -> Result<Response> {
    let mut page = Page::of(&app, OnDisk::read(&app).await);
    let mut asked = form_urlencoded::parse(req.uri().query().unwrap_or_default().as_bytes());
    if let Some((_, number)) = asked.find(|(name, _)| name == "version") {
        let number = number.parse().unwrap_or(0);
        page.text = mask::masked(&version(&app, number)?);
        page.version = Some(number);
    }
    hx.render(&page, &page.as_settings())
}

fn version(app: &App, number: u32) -> Result<String> {
    let found = file::version(&app.config.data, number).map_err(|cause| Error::Internal(cause.into()))?;
    found.ok_or_else(|| Error::NotFound(Text::new("settings.no_version").with("number", number)))
}

/// What a form asks for.
struct Asked {
    typed: String,
    version: Option<u32>,
    seen: String,
    /// Where untouched secrets come from.
    former: String,
    on_disk: OnDisk,
}

impl Asked {
    async fn of(app: &App, form: &Form) -> Result<Asked> {
        let on_disk = OnDisk::read(app).await;
        let version = form.text("version").parse().ok();
        let former = match version {
            Some(number) => self::version(app, number)?,
            None => on_disk.text.clone(),
        };
        Ok(Asked {
            typed: form.exact("text").to_owned(),
            version,
            seen: form.text("seen").to_owned(),
            former,
            on_disk,
        })
    }

    fn is_late(&self) -> bool {
        self.seen != self.on_disk.seen()
    }

    /// The editor again, with what was typed.
    fn page(self, app: &App, problems: Vec<Problem>) -> Page {
        let is_late = self.is_late();
        Page {
            text: self.typed,
            version: self.version,
            problems,
            is_late,
            ..Page::of(app, self.on_disk)
        }
    }
}

/// `POST /settings/draft`: what saving would change; nothing is saved.
#[handler]
async fn check(hx: Hx, app: Data<&App>, form: Form) -> Result<Response> {
    let mut asked = Asked::of(&app, &form).await?;
    let is_small = form.all("text").next().is_none();
    if is_small {
        match draft::with_cluster(&asked.on_disk.text, &form, &app) {
            Ok(text) => asked.typed = mask::masked(&text),
            Err(mistakes) => {
                let mut page = Page::of(&app, asked.on_disk);
                form.text("cluster_id").clone_into(&mut page.cluster_id.value);
                form.text("heart_second").clone_into(&mut page.heart_second.value);
                page.mistakes = mistakes;
                return hx.answer(StatusCode::UNPROCESSABLE_ENTITY, &page, &page.as_settings());
            }
        }
    }
    let draft = match Draft::of(&app, &asked.typed, &asked.former, &asked.on_disk.text) {
        Ok(draft) if is_small || !asked.is_late() => draft,
        refused => {
            let page = asked.page(&app, refused.err().unwrap_or_default());
            return hx.answer(StatusCode::UNPROCESSABLE_ENTITY, &page, &page.as_settings());
        }
    };
    let new_id = &draft.config.cluster.id;
    let namesakes = match *new_id == app.cluster_id() {
        true => Vec::new(),
        false => clusters::namesakes(&mut app.db.conn().await?, new_id, &app.install.id).await?,
    };
    let before = asked.on_disk.settings.as_deref().unwrap_or(&app.config.settings);
    let page = Preview {
        path: app.config.file.display().to_string(),
        seen: asked.on_disk.seen(),
        diff: draft::diff(
            &asked.on_disk.text,
            &draft.text,
            &Text::new("settings.new_secret").say(hx.layout.lang),
        ),
        changes: effect::changes(before, &draft.config.settings),
        warnings: draft.config.warnings,
        version: asked.version,
        typed: asked.typed,
        namesakes,
    };
    hx.render(&page, &page.as_settings())
}

/// `POST /settings/editor`: back from what would change to the editor, with what was typed.
#[handler]
async fn go_on(hx: Hx, app: Data<&App>, form: Form) -> Result<Response> {
    let page = Asked::of(&app, &form).await?.page(&app, Vec::new());
    hx.render(&page, &page.as_settings())
}

/// `POST /settings`: checks everything again and saves it. What can change at once does.
#[handler]
async fn update(hx: Hx, viewer: Viewer, app: Data<&App>, form: Form) -> Result<Response> {
    let mut latest = app.settings.lock().await;
    let asked = Asked::of(&app, &form).await?;
    let draft = match Draft::of(&app, &asked.typed, &asked.former, &asked.on_disk.text) {
        Ok(draft) if !asked.is_late() => draft,
        refused => {
            let page = asked.page(&app, refused.err().unwrap_or_default());
            return hx.answer(StatusCode::UNPROCESSABLE_ENTITY, &page, &page.as_settings());
        }
    };
    let before = asked.on_disk.settings.as_deref().unwrap_or(&latest.settings);
    let changes = effect::changes(before, &draft.config.settings);
    let version = asked.version.map_or_else(String::new, |number| number.to_string());
    let entry = watch::entry(&app, &viewer.actor(&app), &changes).change("version", "", version);
    let mut conn = app.db.conn().await?;
    let mut tx = conn.start_transaction(TxOpts::default()).await?;
    audit::record(&mut tx, &entry).await?;
    let (path, data, text) = (app.config.file.clone(), app.config.data.clone(), draft.text);
    let saved = tokio::task::spawn_blocking(move || file::save(&path, &data, &text)).await;
    if let Err(cause) = saved.unwrap_or_else(|cause| Err(std::io::Error::other(cause))) {
        tx.rollback().await?;
        let text = Text::new("install.unwritable")
            .with("path", app.config.file.display())
            .with("cause", cause);
        audit::record(&mut conn, &entry.because(&app.say(&text))).await?;
        let page = asked.page(&app, vec![Problem { line: None, text }]);
        return hx.answer(StatusCode::INTERNAL_SERVER_ERROR, &page, &page.as_settings());
    }
    tx.commit().await?;
    watch::take_up(&app, &mut latest, draft.config, &changes);
    Ok(hx.done("/settings", "said.saved"))
}
