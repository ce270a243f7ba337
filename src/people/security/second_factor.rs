//! 两步验证: codes of an app (TOTP, RFC 6238), and recovery codes for when the device is lost.

use askama::Template;
use mysql_async::{Conn, Transaction, TxOpts};
use poem::http::StatusCode;
use poem::web::Data;
use poem::{Request, Response, handler};
use qrcode::QrCode;
use qrcode::render::svg;
use totp_rs::{Builder, Secret as TotpSecret, Totp};

use super::{Security, is_own_password, of};
use crate::app::App;
use crate::error::{Error, Result};
use crate::i18n::{Lang, Text};
use crate::liveness;
use crate::people::access::{Access, Address, get, post};
use crate::people::audit::{self, Action, Actor, Entry, Object};
use crate::people::secret;
use crate::people::sessions::{self, HalfWay, Viewer};
use crate::people::sign_in::throttle::{self, Subject};
use crate::people::sign_in::{admit_proven, browser_cookie, destination, too_many, with_cookies};
use crate::people::users::queries::{self as users, SecondFactor};
use crate::seal::{self, Key, Place, Seal};
use crate::web::{Form, Hx, Mistakes, filters};

const CODES: usize = 10;

pub fn routes() -> Vec<Address> {
    vec![
        post("/security/second-factor", Access::Signed, create).in_person(),
        get("/security/second-factor", Access::Signed, show).in_person(),
        post("/security/second-factor/confirmation", Access::Signed, confirm).in_person(),
        post("/security/second-factor/removal", Access::Signed, remove).in_person(),
        get("/sign-in/code", Access::Guest, ask),
        post("/sign-in/code", Access::Guest, check),
    ]
}

#[derive(Template)]
#[template(path = "people/second_factor.html", blocks = ["form"])]
struct Show {
    /// Inline SVG of the address that apps read.
    picture: String,
    secret: String,
    mistakes: Mistakes,
}

#[derive(Template)]
#[template(path = "people/recovery_codes.html", blocks = ["shown"])]
struct Codes {
    codes: Vec<String>,
}

#[derive(Template)]
#[template(path = "people/sign_in_code.html", blocks = ["form"])]
struct Ask {
    back: String,
    mistakes: Mistakes,
}

fn place(account_id: &str) -> Place<'_> {
    Place {
        table: "account",
        row: account_id,
        column: "totp_secret",
    }
}

fn totp(app: &App, account_id: &str, name: &str, factor: &SecondFactor) -> Result<Option<Totp>> {
    let Some(sealed) = &factor.totp_secret else {
        return Ok(None);
    };
    let secret = app.seal.open_sealed(place(account_id), sealed).map_err(ours)?;
    // A colon would part the label that apps show.
    let label = name.replace(':', " ");
    let built = Builder::new()
        .with_secret(secret)
        .with_account_name(label)
        .with_issuer(Some("Muster"))
        .build();
    built
        .map(Some)
        .map_err(|cause| Error::Internal(cause.to_string().into()))
}

/// `POST /security/second-factor`: makes a secret; it counts once a code of it was shown.
#[handler]
async fn create(hx: Hx, viewer: Viewer, app: Data<&App>, form: Form) -> Result<Response> {
    if !is_own_password(&app, &viewer, form.exact("current"), Action::TwoFactorBegin).await? {
        return wrong_password(&hx, &app, &viewer).await;
    }
    let mut conn = app.db.conn().await?;
    let is_alone = !liveness::others_run(&mut conn, &app.install.id).await?;
    let mut tx = conn.start_transaction(TxOpts::default()).await?;
    let key = app.seal.sealing_key(&mut tx, is_alone).await.map_err(ours)?;
    let lacking = liveness::without_key(&mut tx, &key.fingerprint()).await?;
    if !lacking.is_empty() {
        let text = Text::new("security.others_lack_key").with("names", lacking.join(", "));
        return Err(Error::Conflict(text));
    }
    let account = users::locked(&mut tx, &viewer.account_id).await?.ok_or(Error::SignIn)?;
    if account.has_two_factor {
        return Err(Error::Conflict(Text::new("security.two_factor_is_on")));
    }
    let sealed = seal::seal(&key, place(&viewer.account_id), &secret::bytes::<20>()?)?;
    users::set_second_factor(&mut tx, &viewer.account_id, Some(&sealed), false).await?;
    let entry = Entry::by(&viewer.actor(&app), Action::TwoFactorBegin).on(of(&viewer));
    audit::record(&mut tx, &entry).await?;
    tx.commit().await?;
    Ok(hx.see_other("/security/second-factor"))
}

async fn wrong_password(hx: &Hx, app: &App, viewer: &Viewer) -> Result<Response> {
    let mut page = Security::of(app, viewer).await?;
    page.mistakes.note("two_factor", Text::new("security.wrong_password"));
    page.answer(hx)
}

/// `GET /security/second-factor`
#[handler]
async fn show(hx: Hx, viewer: Viewer, app: Data<&App>) -> Result<Response> {
    match Show::of(&app, &viewer).await? {
        Some(page) => hx.secret(StatusCode::OK, &page, &page.as_form()),
        None => Ok(hx.see_other("/security")),
    }
}

impl Show {
    /// None when nothing waits to be confirmed.
    async fn of(app: &App, viewer: &Viewer) -> Result<Option<Show>> {
        let mut conn = app.db.conn().await?;
        let account = users::by_id(&mut conn, &viewer.account_id)
            .await?
            .ok_or(Error::SignIn)?;
        let factor = users::second_factor(&mut conn, &viewer.account_id)
            .await?
            .ok_or(Error::SignIn)?;
        let (false, Some(totp)) = (
            account.has_two_factor,
            totp(app, &viewer.account_id, &viewer.name, &factor)?,
        ) else {
            return Ok(None);
        };
        let internal = |cause: &dyn std::fmt::Display| Error::Internal(cause.to_string().into());
        let address = totp.to_url().map_err(|cause| internal(&cause))?;
        let code = QrCode::new(address).map_err(|cause| internal(&cause))?;
        let picture = code.render::<svg::Color>().min_dimensions(220, 220).build();
        // The prolog has no place inside a page.
        let picture = picture
            .find("<svg")
            .map_or_else(String::new, |start| picture[start..].to_owned());
        let sealed = factor.totp_secret.unwrap_or_default();
        let bytes = app.seal.open_sealed(place(&viewer.account_id), &sealed).map_err(ours)?;
        Ok(Some(Show {
            picture,
            secret: TotpSecret::from(bytes).to_base32(),
            mistakes: Mistakes::default(),
        }))
    }
}

/// `POST /security/second-factor/confirmation`: from here on it is asked for; the recovery codes are shown once.
#[handler]
async fn confirm(hx: Hx, viewer: Viewer, app: Data<&App>, form: Form) -> Result<Response> {
    let mut conn = app.db.conn().await?;
    let subject = [Subject::step("confirm", &viewer.account_id, viewer.session_id())];
    counted(&mut conn, &subject, &viewer.actor(&app), Action::TwoFactorOn).await?;
    let mut tx = conn.start_transaction(TxOpts::default()).await?;
    let account = users::locked(&mut tx, &viewer.account_id).await?.ok_or(Error::SignIn)?;
    if account.has_two_factor {
        return Err(Error::Conflict(Text::new("security.two_factor_is_on")));
    }
    let entry = Entry::by(&viewer.actor(&app), Action::TwoFactorOn).on(of(&viewer));
    if !is_code(&mut tx, &app, (&viewer.account_id, &viewer.name), form.text("code")).await? {
        audit::record(&mut tx, &entry.because("wrong_code")).await?;
        tx.commit().await?;
        let mut page = Show::of(&app, &viewer).await?.ok_or(Error::SignIn)?;
        page.mistakes.note("code", Text::new("sign_in.wrong_code"));
        return hx.secret(StatusCode::UNPROCESSABLE_ENTITY, &page, &page.as_form());
    }
    throttle::succeed(&mut tx, &subject, &subject[0]).await?;
    let codes = switch_on(&mut tx, &viewer.account_id).await?;
    audit::record(&mut tx, &entry).await?;
    tx.commit().await?;
    let page = Codes { codes };
    hx.secret(StatusCode::OK, &page, &page.as_shown())
}

/// The secret counts from now on; returns the recovery codes.
async fn switch_on(tx: &mut Transaction<'_>, account_id: &str) -> Result<Vec<String>> {
    let mut codes = Vec::with_capacity(CODES);
    for _ in 0..CODES {
        codes.push(secret::readable::<16>()?);
    }
    let hashes: Vec<String> = codes.iter().map(|code| hash_of(code)).collect();
    let factor = users::second_factor(tx, account_id).await?;
    let sealed = factor.and_then(|factor| factor.totp_secret);
    users::set_second_factor(tx, account_id, sealed.as_deref(), true).await?;
    users::set_recovery_codes(tx, account_id, &hashes).await?;
    Ok(codes)
}

/// `POST /security/second-factor/removal`
#[handler]
async fn remove(hx: Hx, viewer: Viewer, app: Data<&App>, form: Form) -> Result<Response> {
    if !is_own_password(&app, &viewer, form.exact("current"), Action::TwoFactorOff).await? {
        return wrong_password(&hx, &app, &viewer).await;
    }
    let mut conn = app.db.conn().await?;
    let mut tx = conn.start_transaction(TxOpts::default()).await?;
    users::remove_second_factor(&mut tx, &viewer.account_id).await?;
    audit::record(
        &mut tx,
        &Entry::by(&viewer.actor(&app), Action::TwoFactorOff).on(of(&viewer)),
    )
    .await?;
    tx.commit().await?;
    Ok(hx.done("/security", "said.two_factor_off"))
}

/// `GET /sign-in/code`
#[handler]
fn ask(hx: Hx, req: &Request) -> Result<Response> {
    if req.data::<HalfWay>().is_none() {
        return Ok(hx.see_other("/sign-in"));
    }
    let query = req.uri().query().unwrap_or_default().as_bytes();
    let back = url::form_urlencoded::parse(query).find(|(key, _)| key == "back");
    let page = Ask {
        back: back.map_or_else(String::new, |(_, value)| value.into_owned()),
        mistakes: Mistakes::default(),
    };
    hx.render(&page, &page.as_form())
}

/// `POST /sign-in/code`
#[handler]
async fn check(hx: Hx, app: Data<&App>, form: Form, req: &Request) -> Result<Response> {
    let Some(half) = req.data::<HalfWay>() else {
        return Ok(hx.see_other("/sign-in"));
    };
    let mut conn = app.db.conn().await?;
    let subjects = sources(&mut conn, half, req, &app).await?;
    counted(&mut conn, &subjects, &stranger(&app, half, req), Action::SignIn).await?;
    let mut tx = conn.start_transaction(TxOpts::default()).await?;
    let account = users::locked(&mut tx, &half.account_id).await?.ok_or(Error::SignIn)?;
    if !is_second_factor(&mut tx, &app, (half, req), form.text("code")).await? {
        let entry = Entry::by(&stranger(&app, half, req), Action::SignIn);
        audit::record(&mut tx, &entry.because("wrong_code")).await?;
        tx.commit().await?;
        let mut page = Ask {
            back: form.text("back").to_owned(),
            mistakes: Mistakes::default(),
        };
        page.mistakes.note("code", Text::new("sign_in.wrong_code"));
        return hx.answer(StatusCode::UNPROCESSABLE_ENTITY, &page, &page.as_form());
    }
    // Behind the lock of the account: who changed the password meanwhile ended this wait.
    if !sessions::queries::use_pending(&mut tx, &half.token_hash).await? {
        return Err(Error::SignIn);
    }
    throttle::succeed(&mut tx, &subjects, &subjects[0]).await?;
    let who = (half.account_id.as_str(), half.name.as_str(), account.role);
    let cookies = admit_proven(&mut tx, &app, req, (who, browser_cookie(req))).await?;
    tx.commit().await?;
    Ok(with_cookies(hx.see_other(&destination(form.text("back"))), &cookies))
}

/// A recovery code, which needs no key, or the app's code. Either is used up.
async fn is_second_factor(
    tx: &mut Transaction<'_>,
    app: &App,
    (half, req): (&HalfWay, &Request),
    typed: &str,
) -> Result<bool> {
    if !users::use_recovery_code(tx, &half.account_id, &hash_of(typed)).await? {
        return is_code(tx, app, (&half.account_id, &half.name), typed).await;
    }
    let object = Object::new("account", &half.account_id, &half.name);
    let entry = Entry::by(&stranger(app, half, req), Action::RecoveryCode).on(object);
    audit::record(tx, &entry).await?;
    Ok(true)
}

fn stranger(app: &App, half: &HalfWay, req: &Request) -> Actor {
    Actor {
        account_id: half.account_id.clone(),
        name: half.name.clone(),
        ..sessions::stranger(req, app)
    }
}

/// What a code is counted by: a browser that knows the account alone, any other one by where it is, and by all together.
/// So whoever stole the password cannot keep the owner waiting.
async fn sources(conn: &mut Conn, half: &HalfWay, req: &Request, app: &App) -> Result<Vec<Subject>> {
    let account_id = &half.account_id;
    if let Some(browser) = browser_cookie(req) {
        let hash = secret::hash(&browser);
        if users::is_known_browser(conn, &hash, account_id).await? {
            return Ok(vec![Subject::step("code", account_id, &hash)]);
        }
    }
    let network = throttle::network(&sessions::origin(req, app).address);
    let nearest = Subject::step("code", account_id, &network);
    Ok(vec![nearest, Subject::step_anywhere("code", account_id)])
}

async fn counted(conn: &mut Conn, subjects: &[Subject], actor: &Actor, action: Action) -> Result<()> {
    match throttle::claim(conn, subjects).await? {
        None => Ok(()),
        Some(seconds) => Err(too_many(conn, actor, action, seconds).await?),
    }
}

/// Where the key should be is for the log; whoever signs in is told whom to ask.
fn ours(error: Error) -> Error {
    match error {
        Error::Invalid(text) => {
            tracing::error!("{}", text.say(Lang::En));
            Error::Conflict(Text::new("security.key_missing"))
        }
        other => other,
    }
}

/// Whether this is the app's code of now (or one step beside, clocks differ), never used before on any server.
async fn is_code(tx: &mut Transaction<'_>, app: &App, (account_id, name): (&str, &str), code: &str) -> Result<bool> {
    let factor = users::second_factor(tx, account_id).await?.ok_or(Error::SignIn)?;
    let Some(totp) = totp(app, account_id, name, &factor)? else {
        return Ok(false);
    };
    let code: String = code.chars().filter(|c| !c.is_whitespace()).collect();
    let step = (code.len() == 6).then(|| totp.check(&code, factor.now)).flatten();
    match step {
        Some(step) => Ok(users::use_step(tx, account_id, step).await?),
        None => Ok(false),
    }
}

/// Drops every secret, when they cannot be opened any more; returns how many.
///
/// # Errors
/// [`Error::Unavailable`] while the database does not answer.
pub async fn forget_all(tx: &mut Transaction<'_>) -> Result<usize> {
    let secrets = users::sealed(tx).await?;
    for (account_id, _) in &secrets {
        users::remove_second_factor(tx, account_id).await?;
    }
    Ok(secrets.len())
}

/// Seals every secret anew; returns how many.
///
/// # Errors
/// Those of opening and sealing; then nothing may be committed.
pub async fn reseal(tx: &mut Transaction<'_>, seal: &Seal, key: &Key) -> Result<usize> {
    let secrets = users::sealed(tx).await?;
    for (account_id, sealed) in &secrets {
        let plain = seal.open_sealed(place(account_id), sealed)?;
        users::reseal(tx, account_id, &seal::seal(key, place(account_id), &plain)?).await?;
    }
    Ok(secrets.len())
}

/// Recovery codes are typed with or without their dashes, in any case.
fn hash_of(code: &str) -> String {
    let plain: String = code.chars().filter(char::is_ascii_alphanumeric).collect();
    secret::derived("recovery", &plain.to_lowercase())
}
