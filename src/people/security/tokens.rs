//! API tokens: named, with an end, shown once.

use askama::Template;
use chrono::NaiveDateTime;
use mysql_async::TxOpts;
use poem::http::StatusCode;
use poem::web::{Data, Path};
use poem::{Response, handler};
use uuid::Uuid;

use crate::app::App;
use crate::error::{Error, Result};
use crate::i18n::Text;
use crate::people::access::{Access, Address, get, post};
use crate::people::audit::{self, Action, Entry, Object};
use crate::people::role::Role;
use crate::people::sessions::Viewer;
use crate::people::sessions::queries::{self, TokenRow};
use crate::people::{known_id, secret};
use crate::web::form::line_mistake;
use crate::web::{Form, Hx, Mistakes, filters};

/// So that scanners for leaked secrets know one when they see it.
const PREFIX: &str = "muster_";
/// Tokens of one person at once.
const MOST: u64 = 50;
/// For how many days a token may live.
pub const DAYS: [u32; 4] = [7, 30, 90, 365];

pub fn routes() -> Vec<Address> {
    vec![
        get("/security/tokens", Access::Signed, index),
        post("/security/tokens", Access::Signed, create).in_person(),
        post("/security/tokens/:token_id/removal", Access::Signed, remove).in_person(),
    ]
}

#[derive(Template)]
#[template(path = "people/token.html", blocks = ["shown"])]
struct Shown {
    name: String,
    token: String,
}

#[derive(Template)]
#[template(path = "people/tokens.html", blocks = ["parts"])]
struct Tokens {
    tokens: Vec<TokenRow>,
    /// The most a new one may have.
    role: Role,
    name: String,
    mistakes: Mistakes,
}

impl Tokens {
    async fn of(app: &App, viewer: &Viewer) -> Result<Tokens> {
        let mut conn = app.db.conn().await?;
        Ok(Tokens {
            tokens: queries::tokens_of(&mut conn, &viewer.account_id).await?,
            role: viewer.role,
            name: String::new(),
            mistakes: Mistakes::default(),
        })
    }

    fn roles(&self) -> impl Iterator<Item = Role> {
        let most = self.role;
        Role::ALL.into_iter().filter(move |role| *role <= most)
    }
}

/// `GET /security/tokens`
#[handler]
async fn index(hx: Hx, viewer: Viewer, app: Data<&App>) -> Result<Response> {
    let page = Tokens::of(&app, &viewer).await?;
    hx.render(&page, &page.as_parts())
}

/// `POST /security/tokens`
#[handler]
async fn create(hx: Hx, viewer: Viewer, app: Data<&App>, form: Form) -> Result<Response> {
    let name = form.text("name");
    let role = Role::parse(form.text("role"));
    let days = form.text("days").parse().ok().filter(|days| DAYS.contains(days));
    let (true, Some(role), Some(days)) = (!name.is_empty() && line_mistake(name, 50).is_none(), role, days) else {
        let mut page = Tokens::of(&app, &viewer).await?;
        page.name = name.to_owned();
        page.mistakes.note("token", Text::new("security.token_wrong"));
        return hx.answer(StatusCode::UNPROCESSABLE_ENTITY, &page, &page.as_parts());
    };
    let page = Shown {
        token: insert(&app, &viewer, name, role.min(viewer.role), days).await?,
        name: name.to_owned(),
    };
    hx.secret(StatusCode::OK, &page, &page.as_shown())
}

async fn insert(app: &App, viewer: &Viewer, name: &str, role: Role, days: u32) -> Result<String> {
    let token = format!("{PREFIX}{}", secret::random()?);
    let token_id = Uuid::new_v4().simple().to_string();
    let mut conn = app.db.conn().await?;
    let mut tx = conn.start_transaction(TxOpts::default()).await?;
    if queries::count_tokens(&mut tx, &viewer.account_id).await? >= MOST {
        return Err(Error::Conflict(Text::new("security.tokens_full").with("most", MOST)));
    }
    let hash = secret::hash(&token);
    queries::insert_token(&mut tx, (&token_id, &hash, &viewer.account_id), name, role, days).await?;
    let entry = Entry::by(&viewer.actor(app), Action::TokenCreate)
        .on(Object::new("token", &token_id, name))
        .change("role", "", role.code())
        .change("days", "", days);
    audit::record(&mut tx, &entry).await?;
    tx.commit().await?;
    Ok(token)
}

/// `POST /security/tokens/{token_id}/removal`
#[handler]
async fn remove(hx: Hx, viewer: Viewer, app: Data<&App>, Path(token_id): Path<String>) -> Result<Response> {
    let token_id = known_id(&token_id, "security.token_missing")?;
    let mut conn = app.db.conn().await?;
    let mut tx = conn.start_transaction(TxOpts::default()).await?;
    let name = queries::remove_token(&mut tx, &viewer.account_id, token_id).await?;
    let name = name.ok_or_else(|| Error::NotFound(Text::new("security.token_missing")))?;
    let entry = Entry::by(&viewer.actor(&app), Action::TokenRemove).on(Object::new("token", token_id, &name));
    audit::record(&mut tx, &entry).await?;
    tx.commit().await?;
    Ok(hx.done("/security/tokens", "said.removed"))
}

/// What the page asks of a token.
impl TokenRow {
    pub fn created(&self) -> Option<NaiveDateTime> {
        Some(self.created_at)
    }

    pub fn expires(&self) -> Option<NaiveDateTime> {
        Some(self.expires_at)
    }
}
