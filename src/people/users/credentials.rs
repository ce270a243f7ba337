//! Keeping somebody out, letting them in again, and helping when a password or a second factor is lost.

use askama::Template;
use mysql_async::{Transaction, TxOpts};
use poem::http::StatusCode;
use poem::web::{Data, Path};
use poem::{Response, handler};

use super::queries::{self, Account};
use super::{is_last_super_admin, missing, of};
use crate::app::App;
use crate::error::{Error, Result};
use crate::i18n::Text;
use crate::people::access::{Access, Address, post};
use crate::people::audit::{self, Action, Entry, Secret};
use crate::people::sessions::{Viewer, queries as sessions};
use crate::people::sign_in::throttle::{self, Subject};
use crate::people::{known_id, password, secret};
use crate::web::{Hx, filters};

pub fn routes() -> Vec<Address> {
    vec![
        post("/users/:account_id/disabling", Access::SuperAdmin, disable).in_person(),
        post("/users/:account_id/enabling", Access::SuperAdmin, enable).in_person(),
        post("/users/:account_id/password", Access::SuperAdmin, reset_password).in_person(),
        post(
            "/users/:account_id/second-factor-removal",
            Access::SuperAdmin,
            remove_second_factor,
        )
        .in_person(),
    ]
}

/// A password that was made for somebody; shown this once.
#[derive(Template)]
#[template(path = "people/user_password.html", blocks = ["shown"])]
pub(super) struct Shown {
    pub account_id: String,
    pub name: String,
    pub password: String,
}

/// `POST /users/{account_id}/disabling`
#[handler]
async fn disable(hx: Hx, viewer: Viewer, app: Data<&App>, Path(account_id): Path<String>) -> Result<Response> {
    switch(&app, &viewer, &account_id, true).await?;
    Ok(hx.done(&format!("/users/{account_id}"), "said.disabled"))
}

/// `POST /users/{account_id}/enabling`
#[handler]
async fn enable(hx: Hx, viewer: Viewer, app: Data<&App>, Path(account_id): Path<String>) -> Result<Response> {
    switch(&app, &viewer, &account_id, false).await?;
    Ok(hx.done(&format!("/users/{account_id}"), "said.enabled"))
}

async fn switch(app: &App, viewer: &Viewer, account_id: &str, disabled: bool) -> Result<()> {
    let account_id = known_id(account_id, "users.missing")?;
    let mut conn = app.db.conn().await?;
    let mut tx = conn.start_transaction(TxOpts::default()).await?;
    let is_last = is_last_super_admin(&mut tx, account_id).await?;
    let account = queries::locked(&mut tx, account_id).await?.ok_or_else(missing)?;
    if account.disabled_at.is_some() == disabled {
        return Ok(());
    }
    if disabled && is_last {
        let entry = Entry::by(&viewer.actor(app), Action::AccountDisable).on(of(&account));
        audit::record(&mut tx, &entry.refused()).await?;
        tx.commit().await?;
        return Err(Error::Conflict(Text::new("users.last_super_admin")));
    }
    queries::set_disabled(&mut tx, account_id, disabled, &viewer.name).await?;
    sessions::end_others(&mut tx, account_id, "").await?;
    let action = if disabled {
        Action::AccountDisable
    } else {
        Action::AccountEnable
    };
    audit::record(&mut tx, &Entry::by(&viewer.actor(app), action).on(of(&account))).await?;
    tx.commit().await?;
    Ok(())
}

/// `POST /users/{account_id}/password`: a new one, made here and shown once; every session of theirs ends.
#[handler]
async fn reset_password(hx: Hx, viewer: Viewer, app: Data<&App>, Path(account_id): Path<String>) -> Result<Response> {
    let account_id = not_own(&viewer, &account_id)?.to_owned();
    let made = secret::readable::<16>()?;
    let hash = password::hash(&made).await?;
    let mut conn = app.db.conn().await?;
    let mut tx = conn.start_transaction(TxOpts::default()).await?;
    let account = queries::locked(&mut tx, &account_id).await?.ok_or_else(missing)?;
    replace_password(&mut tx, &account, &hash, &viewer.name).await?;
    let entry = Entry::by(&viewer.actor(&app), Action::PasswordReset)
        .on(of(&account))
        .change("password", Secret, Secret);
    audit::record(&mut tx, &entry).await?;
    tx.commit().await?;
    let page = Shown {
        account_id,
        name: account.name,
        password: made,
    };
    hx.secret(StatusCode::OK, &page, &page.as_shown())
}

/// Somebody else's id: for one's own account the password is asked first, on one's own page, so that an open browser is
/// not enough.
fn not_own<'a>(viewer: &Viewer, account_id: &'a str) -> Result<&'a str> {
    match known_id(account_id, "users.missing")? {
        own if own == viewer.account_id => Err(Error::Conflict(Text::new("users.on_own_page"))),
        other => Ok(other),
    }
}

/// Whoever had the old password is out: sessions and tokens end, and the account may be tried anew.
///
/// # Errors
/// [`Error::Unavailable`] while the database does not answer.
pub async fn replace_password(tx: &mut Transaction<'_>, account: &Account, hash: &str, by: &str) -> Result<()> {
    queries::set_password(tx, &account.account_id, hash, by).await?;
    sessions::end_others(tx, &account.account_id, "").await?;
    sessions::remove_tokens(tx, &account.account_id).await?;
    let folded = queries::folded(tx, &account.name).await?;
    throttle::forget(tx, &Subject::account(&folded)).await?;
    throttle::forget(tx, &Subject::step_anywhere("code", &account.account_id)).await?;
    Ok(())
}

/// `POST /users/{account_id}/second-factor-removal`: for somebody who lost both the device and the recovery codes.
#[handler]
async fn remove_second_factor(
    hx: Hx,
    viewer: Viewer,
    app: Data<&App>,
    Path(account_id): Path<String>,
) -> Result<Response> {
    let account_id = not_own(&viewer, &account_id)?;
    let mut conn = app.db.conn().await?;
    let mut tx = conn.start_transaction(TxOpts::default()).await?;
    let account = queries::locked(&mut tx, account_id).await?.ok_or_else(missing)?;
    queries::remove_second_factor(&mut tx, account_id).await?;
    audit::record(
        &mut tx,
        &Entry::by(&viewer.actor(&app), Action::TwoFactorOff).on(of(&account)),
    )
    .await?;
    tx.commit().await?;
    Ok(hx.done(&format!("/users/{account_id}"), "said.two_factor_off"))
}
