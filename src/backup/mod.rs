//! `muster db`: everything of the database in one file, back from it, and from the private database to a shared one.

mod dump;
mod load;
mod tables;

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use tempfile::NamedTempFile;

use crate::config::{Config, Flags, Place};
use crate::db::{self, Db};
use crate::error::{Error, Result};
use crate::i18n::Text;
use crate::install;
use crate::people::audit::{self, Action, Actor, Entry, Object};
use tables::Tables;

#[derive(Debug, Args)]
pub struct Backup {
    #[command(subcommand)]
    action: Verb,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Save everything in a file, as it is at one moment; the servers may run meanwhile
    Backup {
        /// The file to be made, such as muster.sql.gz
        file: PathBuf,
    },
    /// Bring everything back from a file into an empty database
    Restore {
        /// A file made by `muster db backup`
        file: PathBuf,
    },
    /// Copy this install's private database into the shared one of the settings, which must be empty; the server must be stopped
    Move {
        /// The shared database, if the settings do not name it yet: mysql://USER:PASSWORD@HOST:PORT/NAME; others on this
        /// machine can see the password here, so prefer the settings or JPOM_DB_URL
        #[arg(long, value_name = "URL")]
        to: Option<String>,
    },
}

/// Does it and says what was done.
///
/// # Errors
/// [`Error::Invalid`] and [`Error::Conflict`] with place and remedy; nothing is changed then.
pub async fn run(args: Backup) -> Result<Text> {
    let mut flags: Flags = args.place.into();
    if let Verb::Move { to } = &args.action {
        flags.database.clone_from(to);
    }
    let config = Config::load(&flags)?;
    match args.action {
        Verb::Backup { file } => backup(&config, &file).await,
        Verb::Restore { file } => restore(&config, &file).await,
        Verb::Move { to } => carry(&config, to.is_some()).await,
    }
}

async fn backup(config: &Config, file: &Path) -> Result<Text> {
    if file.exists() {
        return Err(Error::Conflict(Text::new("backup.exists").with("path", file.display())));
    }
    let (db, keeper) = db::open_beside(config).await?;
    let done = saved(&db, file).await;
    if let Some(keeper) = keeper {
        keeper.stop().await;
    }
    let tables = done?;
    Ok(Text::new("backup.saved")
        .with("rows", tables.rows())
        .with("place", &db.place)
        .with("path", file.display()))
}

/// Under a name nobody knows until it is whole.
async fn saved(db: &Db, file: &Path) -> Result<Tables> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    let unwritable = |cause| unwritable(file, cause);
    let mut part = NamedTempFile::new_in(folder.unwrap_or(Path::new("."))).map_err(unwritable)?;
    let tables = dump::write(db, part.as_file_mut(), &bar(&Text::new("backup.saving"))).await;
    let tables = tables.map_err(|error| match error {
        dump::Failure::File(cause) => unwritable(cause),
        dump::Failure::Database(error) => error,
    })?;
    part.as_file().sync_all().map_err(unwritable)?;
    match part.persist_noclobber(file) {
        Ok(_) => Ok(tables),
        Err(error) => Err(unwritable(error.error)),
    }
}

fn unwritable(file: &Path, cause: impl std::fmt::Display) -> Error {
    let text = Text::new("backup.unwritable").with("path", file.display());
    Error::Invalid(text.with("cause", cause))
}

async fn restore(config: &Config, file: &Path) -> Result<Text> {
    let whole = load::judge(file)?;
    let _lock = match config.database {
        Some(_) => None,
        None => Some(install::lock(&config.data)?),
    };
    let (db, keeper) = db::open(config).await?;
    let done = async {
        load::read(&db, (file, &whole), true, &bar(&Text::new("backup.restoring"))).await?;
        note(&db, config, Action::DatabaseRestore, &whole.made_at).await
    };
    let done = done.await;
    if let Some(keeper) = keeper {
        keeper.stop().await;
    }
    done?;
    Ok(Text::new("backup.restored")
        .with("rows", whole.tables.rows())
        .with("place", &db.place)
        .with("time", whole.made_at))
}

async fn note(db: &Db, config: &Config, action: Action, made_at: &str) -> Result<()> {
    let actor = Actor::command(&install::read(&config.data).unwrap_or_default());
    let entry = Entry::by(&actor, action).on(Object::new("database", "", &db.place));
    audit::record(&mut db.own_conn().await?, &entry.change("made_at", "", made_at)).await?;
    Ok(())
}

/// From the private database of the data directory into the shared one. The source stays as it is.
async fn carry(config: &Config, is_told: bool) -> Result<Text> {
    let missing = || Error::Invalid(Text::new("backup.no_target").with("file", config.file.display()));
    let target = Db::new(config.database.as_ref().ok_or_else(missing)?);
    let dir = config.data.join("mariadb");
    if !dir.join("data").exists() {
        return Err(Error::Invalid(
            Text::new("backup.nothing_private").with("path", dir.display()),
        ));
    }
    // A database that outlived a killed server is stopped by the next start of it.
    let _lock = install::lock(&config.data).map_err(|error| match error {
        Error::Conflict(_) => Error::Conflict(Text::new("backup.stop_first").with("path", config.data.display())),
        other => other,
    })?;
    // Found out before anything is copied.
    load::is_empty(&target).await?;
    let private = Config {
        database: None,
        ..config.clone()
    };
    let kept = free_name(&config.data);
    let (source, keeper) = db::open(&private).await?;
    let done = saved(&source, &kept).await;
    if let Some(keeper) = keeper {
        keeper.stop().await;
    }
    done?;
    let whole = load::judge(&kept)?;
    load::read(&target, (&kept, &whole), false, &bar(&Text::new("backup.restoring"))).await?;
    note(&target, config, Action::DatabaseMove, &whole.made_at).await?;
    let key = if is_told {
        Text::new("backup.moved_to")
    } else {
        Text::new("backup.moved")
    };
    Ok(key
        .with("rows", whole.tables.rows())
        .with("place", &target.place)
        .with("file", config.file.display())
        .with("kept", kept.display())
        .with("path", dir.display()))
}

/// For the file that a move leaves: one for each try.
fn free_name(data: &Path) -> PathBuf {
    let mut path = data.join("before-move.sql.gz");
    let mut number = 1;
    while path.exists() {
        number += 1;
        path = data.join(format!("before-move-{number}.sql.gz"));
    }
    path
}

/// Shown on a terminal only.
fn bar(what: &Text) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg} {wide_bar} {percent:>3} %");
    let bar = ProgressBar::new(0).with_message(what.say(Config::lang_of_terminal()));
    match style {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
