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
use crate::config::file::{self, Saved};
use crate::config::{Config, Problem, Setting, mask};
use crate::error::{Error, Result};
use crate::i18n::Text;
use crate::people::Viewer;
use crate::people::access::{Access, Address, get, post};
use crate::people::audit::{self, Actor};
use crate::web::{Form, Hx, Mistakes, filters};
use draft::{DiffLine, Draft};
use effect::{Change, InForce};

pub fn routes() -> Vec<Address> {
    vec![
        get("/settings", Access::SystemAdmin, show).always(),
        post("/settings", Access::SystemAdmin, update).in_person().always(),
        post("/settings/draft", Access::SystemAdmin, create)
            .in_person()
            .always(),
        post("/settings/editor", Access::SystemAdmin, edit).in_person().always(),
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
    /// As the file has them; those that were taken up last, while it is gone or wrong.
    settings: Vec<Setting>,
    versions: Vec<file::Version>,
}

impl OnDisk {
    /// With what was taken up last.
    async fn read(app: &App, taken: Vec<Setting>) -> OnDisk {
        let (text, unreadable) = match watch::read(app).await {
            Ok(Some(text)) => (text, None),
            Ok(None) => (String::new(), Some(watch::gone(app))),
            Err(problem) => (String::new(), Some(problem)),
        };
        let (settings, problems) = match (unreadable, app.config.reader.judge(&text)) {
            (Some(problem), _) => (taken, vec![problem]),
            (None, Ok(config)) => (config.settings, Vec::new()),
            (None, Err(problems)) => (taken, problems),
        };
        let data = app.config.data.clone();
        let versions = tokio::task::spawn_blocking(move || file::versions(&data).unwrap_or_default()).await;
        OnDisk {
            text,
            problems,
            settings,
            versions: versions.unwrap_or_default(),
        }
    }

    fn seen(&self) -> String {
        file::fingerprint(&self.text)
    }
}

/// The settings as they were taken up last.
async fn taken(app: &App) -> Vec<Setting> {
    app.settings.lock().await.settings.clone()
}

impl Page {
    fn of(app: &App, on_disk: OnDisk) -> Page {
        let fixed = |key: &str| {
            let setting = app.config.settings.iter().find(|setting| setting.key == key)?;
            setting.is_from_outside().then(|| effect::origin(&setting.origin))
        };
        let versions = on_disk.versions.iter();
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
            in_force: effect::in_force(app, &on_disk.settings),
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
    let mut page = Page::of(&app, OnDisk::read(&app, taken(&app).await).await);
    let mut asked = form_urlencoded::parse(req.uri().query().unwrap_or_default().as_bytes());
    if let Some((_, number)) = asked.find(|(name, _)| name == "version") {
        let number = number.parse().unwrap_or(0);
        page.text = mask::masked(&version(&app, number).await?);
        page.version = Some(number);
    }
    hx.render(&page, &page.as_settings())
}

async fn version(app: &App, number: u32) -> Result<String> {
    let data = app.config.data.clone();
    let read = tokio::task::spawn_blocking(move || file::version(&data, number)).await;
    let found = read.map_err(|cause| Error::Internal(cause.into()))?;
    let found = found.map_err(|cause| Error::Internal(cause.into()))?;
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
    async fn of(app: &App, form: &Form, taken: Vec<Setting>) -> Result<Asked> {
        let on_disk = OnDisk::read(app, taken).await;
        let version = form.text("version").parse().ok();
        let former = match version {
            Some(number) => self::version(app, number).await?,
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

    /// The text to save, unless something stands against it.
    async fn draft(&self, app: &App) -> Result<Draft, Vec<Problem>> {
        let draft = Draft::of(app, &self.typed, &self.former).await?;
        match self.is_late() {
            true => Err(Vec::new()),
            false => Ok(draft),
        }
    }

    /// What the draft changes of what counts now.
    fn changes(&self, draft: &Draft) -> Vec<Change> {
        effect::typed_changes(&self.on_disk.settings, &draft.config.settings, &self.typed)
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

fn refused(hx: &Hx, page: &Page) -> Result<Response> {
    hx.answer(StatusCode::UNPROCESSABLE_ENTITY, page, &page.as_settings())
}

/// `POST /settings/draft`: what saving would change; nothing is saved.
#[handler]
async fn create(hx: Hx, app: Data<&App>, form: Form) -> Result<Response> {
    let mut asked = Asked::of(&app, &form, taken(&app).await).await?;
    let draft = match form.all("text").next() {
        Some(_) => asked.draft(&app).await,
        None => match draft::with_cluster(&asked.on_disk.text, &form, &app) {
            Ok(text) => {
                asked.typed = mask::masked(&text);
                Draft::whole(&app, text).await
            }
            Err(mistakes) => return refused(&hx, &Page::of(&app, asked.on_disk).with(&form, mistakes)),
        },
    };
    let draft = match draft {
        Ok(draft) => draft,
        Err(problems) => return refused(&hx, &asked.page(&app, problems)),
    };
    let page = Preview::of(&app, asked, draft, &hx).await?;
    hx.render(&page, &page.as_settings())
}

impl Page {
    /// The small form again, with what was typed there.
    fn with(mut self, form: &Form, mistakes: Mistakes) -> Page {
        form.text("cluster_id").clone_into(&mut self.cluster_id.value);
        form.text("heart_second").clone_into(&mut self.heart_second.value);
        self.mistakes = mistakes;
        self
    }
}

impl Preview {
    async fn of(app: &App, asked: Asked, draft: Draft, hx: &Hx) -> Result<Preview> {
        let new_id = &draft.config.cluster.id;
        let namesakes = match *new_id == app.cluster_id() {
            true => Vec::new(),
            false => clusters::namesakes(&mut app.db.conn().await?, new_id, &app.install.id).await?,
        };
        let typed = asked.typed.replace("\r\n", "\n");
        let news = Text::new("settings.new_secret").say(hx.layout.lang);
        Ok(Preview {
            path: app.config.file.display().to_string(),
            seen: asked.on_disk.seen(),
            diff: draft::diff(
                &mask::masked(&asked.on_disk.text).replace("\r\n", "\n"),
                &mask::masked_typed(&typed, &news),
            ),
            changes: asked.changes(&draft),
            warnings: warnings(app, draft.config),
            version: asked.version,
            typed: asked.typed,
            namesakes,
        })
    }
}

/// What was accepted but deserves a word.
fn warnings(app: &App, config: Config) -> Vec<Text> {
    let leaves = app.config.database.is_some() && config.database.is_none();
    let leaving = leaves.then(|| Text::new("settings.leaves_database"));
    leaving.into_iter().chain(config.warnings).collect()
}

/// `POST /settings/editor`: back from what would change to the editor, with what was typed.
#[handler]
async fn edit(hx: Hx, app: Data<&App>, form: Form) -> Result<Response> {
    let page = Asked::of(&app, &form, taken(&app).await).await?.page(&app, Vec::new());
    hx.render(&page, &page.as_settings())
}

/// `POST /settings`: checks everything again and saves it. What can change at once does. Goes on when the browser does not
/// wait for it.
#[handler]
async fn update(hx: Hx, viewer: Viewer, app: Data<&App>, form: Form) -> Result<Response> {
    let saving = tokio::spawn(save(app.clone(), viewer.actor(&app), form));
    match saving.await.map_err(|cause| Error::Internal(cause.into()))?? {
        None => Ok(hx.done("/settings", "said.saved")),
        Some((status, page)) => hx.answer(status, &page, &page.as_settings()),
    }
}

/// Saves, or returns the editor with what stands against it.
async fn save(app: App, actor: Actor, form: Form) -> Result<Option<(StatusCode, Page)>> {
    let mut latest = app.settings.lock().await;
    let asked = Asked::of(&app, &form, latest.settings.clone()).await?;
    let draft = match asked.draft(&app).await {
        Ok(draft) => draft,
        Err(problems) => return Ok(Some((StatusCode::UNPROCESSABLE_ENTITY, asked.page(&app, problems)))),
    };
    let changes = asked.changes(&draft);
    let version = asked.version.map_or_else(String::new, |number| number.to_string());
    let entry = watch::entry(&app, &actor, &changes).change("version", "", version);
    let mut conn = app.db.conn().await?;
    let mut tx = conn.start_transaction(TxOpts::default()).await?;
    audit::record(&mut tx, &entry).await?;
    let (path, data) = (app.config.file.clone(), app.config.data.clone());
    let (text, expected) = (draft.text.clone(), asked.on_disk.seen());
    let saved = tokio::task::spawn_blocking(move || file::save(&path, &data, &text, &expected)).await;
    match saved.unwrap_or_else(|cause| Err(std::io::Error::other(cause))) {
        Ok(Saved::Done) => {}
        Ok(Saved::Changed) => {
            tx.rollback().await?;
            let on_disk = OnDisk::read(&app, latest.settings.clone()).await;
            let page = Asked { on_disk, ..asked }.page(&app, Vec::new());
            return Ok(Some((StatusCode::UNPROCESSABLE_ENTITY, page)));
        }
        Err(cause) => {
            tx.rollback().await?;
            let text = Text::new("install.unwritable")
                .with("path", app.config.file.display())
                .with("cause", cause);
            audit::record(&mut conn, &entry.because(&app.say(&text))).await?;
            let page = asked.page(&app, vec![Problem { line: None, text }]);
            return Ok(Some((StatusCode::INTERNAL_SERVER_ERROR, page)));
        }
    }
    tx.commit().await?;
    watch::take_up(&app, &mut latest, draft.config, &changes);
    Ok(None)
}
