//! 用户管理: the accounts, for super admins.

pub mod credentials;
pub mod queries;

use askama::Template;
use mysql_async::{Transaction, TxOpts};
use poem::http::StatusCode;
use poem::web::{Data, Path};
use poem::{Request, Response, handler};
use url::form_urlencoded;
use uuid::Uuid;

use super::access::{Access, Address, get, post};
use super::audit::{self, Action, Entry, Object, Secret};
use super::role::Role;
use super::sessions::{Viewer, queries as sessions};
use super::{known_id, password, secret};
use crate::app::App;
use crate::error::{Error, Result};
use crate::i18n::Text;
use crate::web::form::line_mistake;
use crate::web::{Form, Hx, Mistakes, filters};
use credentials::Shown;
use queries::{Account, New};

const PAGE: u64 = 50;
const LONGEST_NAME: usize = 50;

pub fn routes() -> Vec<Address> {
    let own = vec![
        get("/users", Access::SuperAdmin, index),
        post("/users", Access::SuperAdmin, create).in_person(),
        get("/users/new", Access::SuperAdmin, new),
        get("/users/:account_id", Access::SuperAdmin, edit),
        post("/users/:account_id", Access::SuperAdmin, update).in_person(),
    ];
    own.into_iter().chain(credentials::routes()).collect()
}

#[derive(Template)]
#[template(path = "people/users.html", blocks = ["list"])]
struct Index {
    accounts: Vec<Account>,
    text: String,
    page: u64,
    last: u64,
    total: u64,
    own: String,
}

#[derive(Template)]
#[template(path = "people/user_new.html", blocks = ["form"])]
struct NewUser {
    name: String,
    display_name: String,
    role: Role,
    mistakes: Mistakes,
}

#[derive(Template)]
#[template(path = "people/user.html", blocks = ["form"])]
struct Edit {
    account: Account,
    /// What somebody else saved meanwhile, when what was typed could not be saved over it.
    theirs: Option<Account>,
    is_own: bool,
    /// Nobody else could do everything any more without this one.
    is_last: bool,
    mistakes: Mistakes,
}

/// `GET /users`
#[handler]
async fn index(hx: Hx, viewer: Viewer, app: Data<&App>, req: &Request) -> Result<Response> {
    let query = req.uri().query().unwrap_or_default().as_bytes();
    let (mut text, mut page) = (String::new(), 1_u64);
    for (key, value) in form_urlencoded::parse(query) {
        match key.as_ref() {
            "text" => text = value.trim().chars().take(LONGEST_NAME).collect(),
            "page" => {
                page = value
                    .parse()
                    .ok()
                    .filter(|page| (1..=1_000_000).contains(page))
                    .unwrap_or(1)
            }
            _ => {}
        }
    }
    let mut conn = app.db.conn().await?;
    let (mut accounts, total) = queries::page(&mut conn, &text, (page - 1) * PAGE, PAGE).await?;
    let last = total.div_ceil(PAGE).max(1);
    if page > last {
        page = last;
        (accounts, _) = queries::page(&mut conn, &text, (page - 1) * PAGE, PAGE).await?;
    }
    let page = Index {
        accounts,
        text,
        page,
        last,
        total,
        own: viewer.account_id,
    };
    hx.render(&page, &page.as_list())
}

impl Index {
    fn address(&self, page: u64) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        if !self.text.is_empty() {
            query.append_pair("text", &self.text);
        }
        query.append_pair("page", &page.to_string());
        format!("/users?{}", query.finish())
    }
}

/// `GET /users/new`
#[handler]
fn new(hx: Hx) -> Result<Response> {
    let page = NewUser {
        name: String::new(),
        display_name: String::new(),
        role: Role::Member,
        mistakes: Mistakes::default(),
    };
    hx.render(&page, &page.as_form())
}

/// `POST /users`
#[handler]
async fn create(hx: Hx, viewer: Viewer, app: Data<&App>, form: Form) -> Result<Response> {
    let mut page = NewUser {
        name: form.text("name").to_owned(),
        display_name: form.text("display_name").to_owned(),
        role: Role::parse(form.text("role")).unwrap_or(Role::Member),
        mistakes: Mistakes::default(),
    };
    let made = form.exact("password").is_empty();
    let password = match made {
        true => secret::readable::<16>()?,
        false => form.exact("password").to_owned(),
    };
    page.judge(&password);
    if !page.mistakes.is_empty() {
        return hx.answer(StatusCode::UNPROCESSABLE_ENTITY, &page, &page.as_form());
    }
    let account_id = match insert(&app, &viewer, &page, &password).await {
        Ok(account_id) => account_id,
        Err(Error::Conflict(text)) => {
            page.mistakes.note("name", text);
            return hx.answer(StatusCode::UNPROCESSABLE_ENTITY, &page, &page.as_form());
        }
        Err(error) => return Err(error),
    };
    if !made {
        return Ok(hx.done("/users", "said.added"));
    }
    let page = Shown {
        account_id,
        name: page.name,
        password,
    };
    hx.secret(StatusCode::OK, &page, &page.as_shown())
}

impl NewUser {
    fn judge(&mut self, password: &str) {
        if let Some(mistake) = name_mistake(&self.name) {
            self.mistakes.note("name", mistake);
        }
        if let Some(mistake) = display_name_mistake(&self.display_name) {
            self.mistakes.note("display_name", mistake);
        }
        if let Some(weakness) = password::weakness(password, &self.name) {
            self.mistakes.note("password", weakness);
        }
    }
}

/// What is wrong with a name to sign in with, if anything.
pub fn name_mistake(name: &str) -> Option<Text> {
    match name.chars().count() {
        0 => Some(Text::new("users.name_missing")),
        _ => display_name_mistake(name),
    }
}

/// What is wrong with what somebody wants to be called, if anything.
pub fn display_name_mistake(name: &str) -> Option<Text> {
    line_mistake(name, LONGEST_NAME)
}

async fn insert(app: &App, viewer: &Viewer, page: &NewUser, password: &str) -> Result<String> {
    let (account_id, hash) = (Uuid::new_v4().simple().to_string(), password::hash(password).await?);
    let mut conn = app.db.conn().await?;
    let mut tx = conn.start_transaction(TxOpts::default()).await?;
    let account = New {
        account_id: &account_id,
        name: &page.name,
        display_name: &page.display_name,
        role: page.role,
        password_hash: &hash,
        by: &viewer.name,
        is_first: false,
    };
    queries::insert(&mut tx, &account)
        .await
        .map_err(|error| Error::on_duplicate(error, "account_name", || Text::new("users.name_taken")))?;
    let entry = Entry::by(&viewer.actor(app), Action::AccountCreate)
        .on(Object::new("account", &account_id, &page.name))
        .change("role", "", page.role.code())
        .change("display_name", "", &page.display_name)
        .change("password", "", Secret);
    audit::record(&mut tx, &entry).await?;
    tx.commit().await?;
    Ok(account_id)
}

fn missing() -> Error {
    Error::NotFound(Text::new("users.missing"))
}

/// `GET /users/{account_id}`
#[handler]
async fn edit(hx: Hx, viewer: Viewer, app: Data<&App>, Path(account_id): Path<String>) -> Result<Response> {
    let account_id = known_id(&account_id, "users.missing")?;
    let mut conn = app.db.conn().await?;
    let account = queries::by_id(&mut conn, account_id).await?.ok_or_else(missing)?;
    let page = Edit {
        is_last: queries::is_only_super_admin(&mut conn, account_id).await?,
        is_own: account.account_id == viewer.account_id,
        account,
        theirs: None,
        mistakes: Mistakes::default(),
    };
    hx.render(&page, &page.as_form())
}

/// `POST /users/{account_id}`
#[handler]
async fn update(
    hx: Hx,
    viewer: Viewer,
    app: Data<&App>,
    form: Form,
    Path(account_id): Path<String>,
) -> Result<Response> {
    let account_id = known_id(&account_id, "users.missing")?;
    let mut conn = app.db.conn().await?;
    let mut tx = conn.start_transaction(TxOpts::default()).await?;
    let is_last = is_last_super_admin(&mut tx, account_id).await?;
    let known = queries::locked(&mut tx, account_id).await?.ok_or_else(missing)?;
    let mut page = Edit::wanted(&known, &form, &viewer);
    page.is_last = is_last;
    if is_last && page.account.role != Role::SuperAdmin {
        page.mistakes.note("role", Text::new("users.last_super_admin"));
        let entry = Entry::by(&viewer.actor(&app), Action::AccountUpdate).on(of(&known));
        audit::record(&mut tx, &entry.refused()).await?;
    } else if page.mistakes.is_empty() && save(&mut tx, &viewer, &app, &known, &page.account).await? {
        tx.commit().await?;
        return Ok(hx.done("/users", "said.saved"));
    }
    tx.commit().await?;
    page.theirs = (page.account.row_version != known.row_version).then(|| known.clone());
    // What was typed stays; saving again then goes over what is shown beside it.
    page.account.row_version = known.row_version;
    hx.answer(StatusCode::UNPROCESSABLE_ENTITY, &page, &page.as_form())
}

impl Edit {
    /// What the form asks for.
    fn wanted(known: &Account, form: &Form, viewer: &Viewer) -> Edit {
        let mut account = known.clone();
        account.display_name = form.text("display_name").to_owned();
        account.role = Role::parse(form.text("role")).unwrap_or(known.role);
        account.row_version = form.text("row_version").parse().unwrap_or(u32::MAX);
        let mut mistakes = Mistakes::default();
        if let Some(mistake) = display_name_mistake(&account.display_name) {
            mistakes.note("display_name", mistake);
        }
        Edit {
            is_own: account.account_id == viewer.account_id,
            is_last: false,
            account,
            theirs: None,
            mistakes,
        }
    }
}

/// False when somebody else saved since the form was shown.
async fn save(tx: &mut Transaction<'_>, viewer: &Viewer, app: &App, known: &Account, wanted: &Account) -> Result<bool> {
    let row = (known.account_id.as_str(), wanted.row_version);
    if !queries::update(tx, row, &wanted.display_name, wanted.role, &viewer.name).await? {
        return Ok(false);
    }
    if known.role != wanted.role {
        sessions::end_others(tx, &known.account_id, "").await?;
    }
    let entry = Entry::by(&viewer.actor(app), Action::AccountUpdate)
        .on(of(known))
        .change("display_name", &known.display_name, &wanted.display_name)
        .change("role", known.role.code(), wanted.role.code());
    audit::record(tx, &entry).await?;
    Ok(true)
}

/// Whether nobody else could do everything any more without this one.
///
/// # Errors
/// [`Error::Unavailable`] while the database does not answer.
pub async fn is_last_super_admin(tx: &mut Transaction<'_>, account_id: &str) -> Result<bool> {
    let able = queries::locked_super_admins(tx).await?;
    Ok(able.iter().any(|known| known == account_id) && able.len() == 1)
}

fn of(account: &Account) -> Object {
    Object::new("account", &account.account_id, &account.name)
}
