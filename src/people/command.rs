//! `muster user`: the accounts from the command line of a server, for whoever may use its data directory.

use clap::{Args, Subcommand, ValueEnum};
use mysql_async::{Conn, Transaction, TxOpts};
use uuid::Uuid;

use super::audit::{self, Action, Actor, Entry, Object, Secret};
use super::role::Role;
use super::sessions::queries as sessions;
use super::users::credentials::replace_password;
use super::users::is_last_super_admin;
use super::users::queries::{self as users, Account, New};
use super::{password, secret};
use crate::config::{Config, Place};
use crate::db::{self, migrations};
use crate::error::{Error, Result};
use crate::i18n::{Lang, Text};
use crate::install;

#[derive(Debug, Args)]
pub struct User {
    #[command(subcommand)]
    action: Verb,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List the accounts
    List,
    /// Add an account; its password is made and printed once
    Add {
        name: String,
        #[arg(long, value_enum, default_value_t = RoleName::Member)]
        role: RoleName,
    },
    /// Keep somebody out, and end their sessions
    Disable { name: String },
    /// Let somebody in again
    Enable { name: String },
    /// Make a new password and print it once
    ResetPassword { name: String },
    /// Switch two-factor sign-in off for somebody who lost the device and the recovery codes
    ResetSecondFactor { name: String },
    /// Give somebody another role
    Role {
        name: String,
        #[arg(value_enum)]
        role: RoleName,
    },
}

impl Verb {
    /// What it does, and to whom.
    fn meaning(&self) -> (Action, String) {
        let (action, name) = match self {
            Verb::List => (Action::Refused, ""),
            Verb::Add { name, .. } => (Action::AccountCreate, name.as_str()),
            Verb::Disable { name } => (Action::AccountDisable, name.as_str()),
            Verb::Enable { name } => (Action::AccountEnable, name.as_str()),
            Verb::ResetPassword { name } => (Action::PasswordReset, name.as_str()),
            Verb::ResetSecondFactor { name } => (Action::TwoFactorOff, name.as_str()),
            Verb::Role { name, .. } => (Action::AccountUpdate, name.as_str()),
        };
        (action, name.trim().to_owned())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum RoleName {
    Member,
    SystemAdmin,
    SuperAdmin,
}

impl From<RoleName> for Role {
    fn from(name: RoleName) -> Role {
        match name {
            RoleName::Member => Role::Member,
            RoleName::SystemAdmin => Role::SystemAdmin,
            RoleName::SuperAdmin => Role::SuperAdmin,
        }
    }
}

/// Does it and says what was done, in the language of the terminal.
///
/// # Errors
/// [`Error::Invalid`], [`Error::NotFound`] and [`Error::Conflict`] with place and remedy; nothing is changed then.
pub async fn run(args: User) -> Result<String> {
    let config = Config::load(&args.place.into())?;
    let (db, keeper) = db::open_beside(&config).await?;
    let done = async {
        migrations::run(&db).await?;
        let mut conn = db.own_conn().await?;
        let actor = Actor::command(&install::read(&config.data).unwrap_or_default());
        let (action, name) = args.action.meaning();
        let refused = Entry::by(&actor, action)
            .on(Object::new("account", "", &name))
            .refused();
        let done = perform(&mut conn, &actor, args.action, Config::lang_of_terminal()).await;
        if matches!(done, Err(Error::Conflict(_))) {
            audit::record(&mut conn, &refused).await?;
        }
        done
    };
    let done = done.await;
    if let Some(keeper) = keeper {
        keeper.stop().await;
    }
    done
}

async fn perform(conn: &mut Conn, actor: &Actor, verb: Verb, lang: Lang) -> Result<String> {
    let mut tx = match &verb {
        Verb::List => return list(conn, lang).await,
        _ => conn.start_transaction(TxOpts::default()).await?,
    };
    let said = match verb {
        Verb::List => return Ok(String::new()),
        Verb::Add { name, role } => {
            let role = Role::from(role);
            let password = add(&mut tx, actor, &name, role).await?;
            let text = Text::new("user.added")
                .with("name", name.trim())
                .with_text("role", role.name());
            text.with("password", password)
        }
        Verb::Disable { name } => switch(&mut tx, actor, &name, true).await?,
        Verb::Enable { name } => switch(&mut tx, actor, &name, false).await?,
        Verb::ResetPassword { name } => reset_password(&mut tx, actor, &name).await?,
        Verb::ResetSecondFactor { name } => reset_second_factor(&mut tx, actor, &name).await?,
        Verb::Role { name, role } => set_role(&mut tx, actor, &name, role.into()).await?,
    };
    tx.commit().await?;
    Ok(said.say(lang))
}

async fn list(conn: &mut Conn, lang: Lang) -> Result<String> {
    let (accounts, _) = users::page(conn, "", 0, 1_000_000).await?;
    if accounts.is_empty() {
        return Ok(Text::new("user.nobody").say(lang));
    }
    let heads = ["users.name", "users.role", "users.state"].map(|head| Text::new(head).say(lang));
    let line = |account: &Account| {
        let state = match account.disabled_at {
            Some(_) => Text::new("users.disabled"),
            None => Text::new("users.enabled"),
        };
        format!(
            "{}\t{}\t{}",
            account.name,
            account.role.name().say(lang),
            state.say(lang)
        )
    };
    let lines = std::iter::once(heads.join("\t")).chain(accounts.iter().map(line));
    Ok(lines.collect::<Vec<_>>().join("\n"))
}

/// Adds an account and returns its password, which is made here; for the demo, too.
///
/// # Errors
/// [`Error::Conflict`] when the name is taken.
pub async fn add(tx: &mut Transaction<'_>, actor: &Actor, name: &str, role: Role) -> Result<String> {
    let name = name.trim();
    if let Some(mistake) = super::users::name_mistake(name) {
        return Err(Error::Invalid(mistake));
    }
    let (account_id, made) = (Uuid::new_v4().simple().to_string(), secret::readable::<16>()?);
    let hash = password::hash(&made).await?;
    let new = New {
        account_id: &account_id,
        name,
        display_name: "",
        role,
        password_hash: &hash,
        by: "",
        is_first: false,
    };
    users::insert(tx, &new)
        .await
        .map_err(|error| Error::on_duplicate(error, "account_name", || Text::new("users.name_taken")))?;
    let entry = Entry::by(actor, Action::AccountCreate)
        .on(Object::new("account", &account_id, name))
        .change("role", "", role.code())
        .change("password", "", Secret);
    audit::record(tx, &entry).await?;
    Ok(made)
}

/// The account, locked, and whether it is the last super admin. Those are locked first, as everywhere.
async fn named(tx: &mut Transaction<'_>, name: &str) -> Result<(Account, bool)> {
    let missing = || Error::NotFound(Text::new("user.missing").with("name", name));
    let found = users::by_name(tx, name.trim()).await?.ok_or_else(missing)?;
    let is_last = is_last_super_admin(tx, &found.account_id).await?;
    let account = users::locked(tx, &found.account_id).await?.ok_or_else(missing)?;
    Ok((account, is_last))
}

fn last_one() -> Error {
    Error::Conflict(Text::new("users.last_super_admin"))
}

async fn switch(tx: &mut Transaction<'_>, actor: &Actor, name: &str, disabled: bool) -> Result<Text> {
    let (account, is_last) = named(tx, name).await?;
    if account.disabled_at.is_some() == disabled {
        return Ok(unchanged(&account));
    }
    if disabled && is_last {
        return Err(last_one());
    }
    users::set_disabled(tx, &account.account_id, disabled, "").await?;
    sessions::end_others(tx, &account.account_id, "").await?;
    let action = if disabled {
        Action::AccountDisable
    } else {
        Action::AccountEnable
    };
    audit::record(tx, &Entry::by(actor, action).on(of(&account))).await?;
    let key = if disabled { "user.disabled" } else { "user.enabled" };
    Ok(Text::new(key).with("name", &account.name))
}

async fn reset_password(tx: &mut Transaction<'_>, actor: &Actor, name: &str) -> Result<Text> {
    let (account, _) = named(tx, name).await?;
    let made = secret::readable::<16>()?;
    replace_password(tx, &account, &password::hash(&made).await?, "").await?;
    let entry = Entry::by(actor, Action::PasswordReset).on(of(&account));
    audit::record(tx, &entry.change("password", Secret, Secret)).await?;
    Ok(Text::new("user.password")
        .with("name", &account.name)
        .with("password", made))
}

async fn reset_second_factor(tx: &mut Transaction<'_>, actor: &Actor, name: &str) -> Result<Text> {
    let (account, _) = named(tx, name).await?;
    if !account.has_two_factor {
        return Ok(unchanged(&account));
    }
    users::remove_second_factor(tx, &account.account_id).await?;
    audit::record(tx, &Entry::by(actor, Action::TwoFactorOff).on(of(&account))).await?;
    Ok(Text::new("user.second_factor").with("name", &account.name))
}

async fn set_role(tx: &mut Transaction<'_>, actor: &Actor, name: &str, role: Role) -> Result<Text> {
    let (account, is_last) = named(tx, name).await?;
    if role == account.role {
        return Ok(unchanged(&account));
    }
    if role != Role::SuperAdmin && is_last {
        return Err(last_one());
    }
    let row = (account.account_id.as_str(), account.row_version);
    users::update(tx, row, &account.display_name, role, "").await?;
    sessions::end_others(tx, &account.account_id, "").await?;
    let entry = Entry::by(actor, Action::AccountUpdate).on(of(&account));
    audit::record(tx, &entry.change("role", account.role.code(), role.code())).await?;
    Ok(Text::new("user.role")
        .with("name", &account.name)
        .with_text("role", role.name()))
}

fn unchanged(account: &Account) -> Text {
    Text::new("user.unchanged").with("name", &account.name)
}

fn of(account: &Account) -> Object {
    Object::new("account", &account.account_id, &account.name)
}
