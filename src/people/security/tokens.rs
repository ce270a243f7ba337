//! API tokens: named, with an end, shown once.

use askama::Template;
use chrono::NaiveDateTime;
use mysql_async::TxOpts;
use poem::web::{Data, Path};
use poem::{Response, handler};
use uuid::Uuid;

use super::Security;
use crate::app::App;
use crate::error::{Error, Result};
use crate::i18n::Text;
use crate::people::access::{Access, Address, post};
use crate::people::audit::{self, Action, Entry, Object};
use crate::people::role::Role;
use crate::people::secret;
use crate::people::sessions::Viewer;
use crate::people::sessions::queries::{self, TokenRow};
use crate::web::{Form, Hx, filters};

/// So that scanners for leaked secrets know one when they see it.
const PREFIX: &str = "muster_";
/// For how many days a token may live.
pub const DAYS: [u32; 4] = [7, 30, 90, 365];

pub fn routes() -> Vec<Address> {
    vec![
        post("/security/tokens", Access::Signed, create),
        post("/security/tokens/:token_id/removal", Access::Signed, remove),
    ]
}

#[derive(Template)]
#[template(path = "people/token.html", blocks = ["shown"])]
struct Shown {
    name: String,
    token: String,
}

/// `POST /security/tokens`
#[handler]
async fn create(hx: Hx, viewer: Viewer, app: Data<&App>, form: Form) -> Result<Response> {
    let name = form.text("name");
    let role = Role::parse(form.text("role")).unwrap_or(viewer.role).min(viewer.role);
    let days = form.text("days").parse().ok().filter(|days| DAYS.contains(days));
    let (true, Some(days)) = ((1..=50).contains(&name.chars().count()), days) else {
        let mut page = Security::of(&app, &viewer).await?;
        page.token_name = name.to_owned();
        page.mistakes.note("token", Text::new("security.token_wrong"));
        return page.answer(&hx);
    };
    let token = format!("{PREFIX}{}", secret::random()?);
    let token_id = Uuid::new_v4().simple().to_string();
    let mut conn = app.db.conn().await?;
    let mut tx = conn.start_transaction(TxOpts::default()).await?;
    let keys = (token_id.as_str(), secret::hash(&token), viewer.account_id.as_str());
    queries::insert_token(&mut tx, (keys.0, &keys.1, keys.2), name, role, days).await?;
    let entry = Entry::by(&viewer.actor(&app), Action::TokenCreate)
        .on(Object::new("token", &token_id, name))
        .change("role", "", role.code())
        .change("days", "", days);
    audit::record(&mut tx, &entry).await?;
    tx.commit().await?;
    let page = Shown {
        name: name.to_owned(),
        token,
    };
    hx.render(&page, &page.as_shown())
}

/// `POST /security/tokens/{token_id}/removal`
#[handler]
async fn remove(hx: Hx, viewer: Viewer, app: Data<&App>, Path(token_id): Path<String>) -> Result<Response> {
    let mut conn = app.db.conn().await?;
    let mut tx = conn.start_transaction(TxOpts::default()).await?;
    let name = queries::remove_token(&mut tx, &viewer.account_id, &token_id).await?;
    let name = name.ok_or_else(|| Error::NotFound(Text::new("security.token_missing")))?;
    let entry = Entry::by(&viewer.actor(&app), Action::TokenRemove).on(Object::new("token", &token_id, &name));
    audit::record(&mut tx, &entry).await?;
    tx.commit().await?;
    Ok(hx.see_other("/security"))
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
