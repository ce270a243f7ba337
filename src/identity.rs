//! `muster identity`: this install's id, a new one, or that of a cluster whose data directory was lost.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::clusters::roll::{self, Holder};
use crate::config::{Config, Place};
use crate::db::{self, Db, migrations};
use crate::error::{Error, Result};
use crate::i18n::Text;
use crate::install::{self, FILE_NAME, is_install_id};

#[derive(Debug, Args)]
pub struct Identity {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Print this install's id
    Show,
    /// Become a new cluster; the old INSTALL.json is kept beside the new one
    New {
        /// Check everything and say what would be done, without doing it
        #[arg(long)]
        dry_run: bool,
    },
    /// Become a cluster whose data directory was lost; it must not be alive
    Adopt {
        /// 32 hex digits, as the cluster list shows them
        install_id: String,
        /// Check everything and say what would be done, without doing it
        #[arg(long)]
        dry_run: bool,
    },
}

/// Prints what was done. The server of this data directory must be stopped, except for `show`.
///
/// # Errors
/// [`Error::Invalid`] and [`Error::Conflict`] with place and remedy; nothing is changed then.
pub async fn run(args: Identity) -> Result<Text> {
    let config = Config::load(&args.place.into())?;
    let path = config.data.join(FILE_NAME);
    match args.action {
        Action::Show => {
            let id = install::read(&config.data)?;
            Ok(Text::new("identity.show").with("id", id).with("path", path.display()))
        }
        Action::New { dry_run } => {
            let _lock = install::lock(&config.data)?;
            if dry_run {
                install::is_writable(&config.data)?;
                return Ok(would(Text::new("identity.would_new"), &config));
            }
            let old = install::read(&config.data).ok();
            let kept = install::keep_aside(&config.data)?;
            let id = install::write_new(&config.data)?;
            Ok(changed(Text::new("identity.new"), &id, old.as_deref(), kept))
        }
        Action::Adopt { install_id, dry_run } => adopt(&config, &install_id, dry_run).await,
    }
}

/// What would be done about the file that is there.
fn would(text: Text, config: &Config) -> Text {
    let path = config.data.join(FILE_NAME);
    let kept = match (install::read(&config.data), path.exists()) {
        (Ok(old), _) => Text::new("identity.would_keep").with("old", old),
        (Err(_), true) => Text::new("identity.would_keep_broken").with("path", path.display()),
        (Err(_), false) => Text::new("identity.none_before"),
    };
    text.with_text("kept", kept)
}

async fn adopt(config: &Config, install_id: &str, dry_run: bool) -> Result<Text> {
    if !is_install_id(install_id) {
        return Err(Error::Invalid(Text::new("identity.bad_id").with("id", install_id)));
    }
    // Without one there is nothing to adopt from, and nothing is made only to find that out.
    if config.database.is_none() && !config.data.join("mariadb/data").exists() {
        return Err(Error::Invalid(
            Text::new("identity.no_database").with("path", config.file.display()),
        ));
    }
    let _lock = install::lock(&config.data)?;
    install::is_writable(&config.data)?;
    let (db, keeper) = db::open(config).await?;
    let free = may_adopt(&db, install_id, dry_run).await;
    if let Some(keeper) = keeper {
        keeper.stop().await;
    }
    let holder = free?;
    if dry_run {
        let text = Text::new("identity.would_adopt").with("id", install_id);
        let text = text
            .with("name", &holder.name)
            .with("host", &holder.host)
            .with("path", &holder.data_path);
        return Ok(would(text, config));
    }
    // A directory whose file was lost or is broken has no id to speak of; whatever is there is kept.
    let old = install::read(&config.data).ok();
    let kept = install::keep_aside(&config.data)?;
    install::write(&config.data, install_id)?;
    Ok(changed(Text::new("identity.adopted"), install_id, old.as_deref(), kept))
}

/// Whether the database knows that cluster, and nobody lives under its id.
async fn may_adopt(db: &Db, install_id: &str, dry_run: bool) -> Result<Holder> {
    if !dry_run {
        migrations::run(db).await?;
    }
    let mut conn = db.own_conn().await?;
    let Some(holder) = roll::holder(&mut conn, install_id).await? else {
        let text = Text::new("identity.unknown").with("id", install_id);
        return Err(Error::NotFound(text.with("place", &db.place)));
    };
    conn.disconnect().await?;
    let key = match holder.removed_at {
        Some(_) => "identity.removed",
        None if holder.state.is_alive() => "identity.alive",
        None => return Ok(holder),
    };
    let text = Text::new(key).with("id", install_id).with("host", &holder.host);
    Err(Error::Conflict(text.with("path", &holder.data_path)))
}

fn changed(text: Text, id: &str, old: Option<&str>, kept: Option<PathBuf>) -> Text {
    let kept = match (old, kept) {
        (Some(old), Some(kept)) => Text::new("identity.kept").with("old", old).with("kept", kept.display()),
        (None, Some(kept)) => Text::new("identity.kept_broken").with("kept", kept.display()),
        (_, None) => Text::new("identity.none_before"),
    };
    text.with("id", id).with_text("kept", kept)
}
