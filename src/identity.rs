//! `muster identity`: this install's id, a new one, or that of a cluster whose data directory was lost.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use mysql_async::TxOpts;

use crate::clusters::roll;
use crate::config::{Config, Flags};
use crate::db::Db;
use crate::error::{Error, Result};
use crate::i18n::Text;
use crate::install::{self, FILE_NAME, Install, is_install_id};

#[derive(Debug, Args)]
pub struct Identity {
    #[command(subcommand)]
    action: Action,
    /// Settings file; <DATA>/application.yml if not given
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    /// Data directory with INSTALL.json; ./data if not given
    #[arg(long, value_name = "DIR", global = true)]
    data: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Print this install's id
    Show,
    /// Become a new cluster; the old INSTALL.json is kept beside the new one
    New,
    /// Become a cluster whose data directory was lost; it must not be alive
    Adopt {
        /// 32 hex digits, as the cluster list shows them
        install_id: String,
    },
}

/// Prints what was done. The server of this data directory must be stopped, except for `show`.
///
/// # Errors
/// [`Error::Invalid`] and [`Error::Conflict`] with place and remedy; nothing is changed then.
pub async fn run(args: Identity) -> Result<Text> {
    let flags = Flags {
        config: args.config,
        data: args.data,
        ..Flags::default()
    };
    let config = Config::load(&flags)?;
    let path = config.data.join(FILE_NAME);
    match args.action {
        Action::Show => {
            let id = install::read(&config.data)?;
            Ok(Text::new("identity.show").with("id", id).with("path", path.display()))
        }
        Action::New => {
            let old = Install::open(&config.data)?;
            let kept = install::put_aside(&config.data)?;
            let id = install::write_new(&config.data)?;
            let text = Text::new("identity.new").with("id", id).with("old", &old.id);
            Ok(text.with("kept", kept.display()))
        }
        Action::Adopt { install_id } => adopt(&config, &install_id).await,
    }
}

async fn adopt(config: &Config, install_id: &str) -> Result<Text> {
    if !is_install_id(install_id) {
        return Err(Error::Invalid(Text::new("identity.bad_id").with("id", install_id)));
    }
    let Some(database) = &config.database else {
        return Err(Error::Invalid(
            Text::new("identity.no_database").with("path", config.file.display()),
        ));
    };
    let old = Install::open(&config.data)?;
    let db = Db::new(database);
    let mut conn = db.own_conn().await?;
    let mut tx = conn.start_transaction(TxOpts::default()).await?;
    let Some(holder) = roll::locked_holder(&mut tx, install_id).await? else {
        return Err(Error::NotFound(
            Text::new("identity.unknown")
                .with("id", install_id)
                .with("place", &db.place),
        ));
    };
    if holder.state.is_alive() || holder.removed_at.is_some() {
        let key = if holder.removed_at.is_some() {
            "identity.removed"
        } else {
            "identity.alive"
        };
        let text = Text::new(key).with("id", install_id).with("host", &holder.host);
        return Err(Error::Conflict(text.with("path", &holder.data_path)));
    }
    tx.rollback().await?;
    conn.disconnect().await?;
    let kept = install::put_aside(&config.data)?;
    install::write(&config.data, install_id)?;
    Ok(Text::new("identity.adopted")
        .with("id", install_id)
        .with("old", &old.id)
        .with("kept", kept.display()))
}
