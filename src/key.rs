//! `muster key`: the master key that seals the secrets of one database, and changing it while the servers run.

use clap::{Args, Subcommand};
use mysql_async::{Conn, TxOpts};

use crate::assets::credentials;
use crate::assets::trials::queries as trials;
use crate::config::{Config, Place};
use crate::db::{self, migrations};
use crate::error::{Error, Result};
use crate::i18n::Text;
use crate::install;
use crate::liveness;
use crate::notify;
use crate::people::audit::{self, Action, Actor, Entry, Object};
use crate::people::security::second_factor;
use crate::seal::{self, Key, Seal};

#[derive(Debug, Args)]
pub struct KeyCommand {
    #[command(subcommand)]
    action: Verb,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Say which keys this server has, and which one the database is sealed with
    Show,
    /// Make the first key, before any secret is kept; to be copied to the other servers
    Create,
    /// Drop all sealed secrets, when their key is lost for good; two-factor sign-in has to be switched on again, secrets of notifications typed again
    Forget,
    /// Add a new key to this server's file; to be copied to the other servers, which need no restart
    Rotate {
        /// Second step, once every server has the new key: seal everything with it
        #[arg(long)]
        finish: bool,
    },
}

/// Does it and says what was done.
///
/// # Errors
/// [`Error::Invalid`] and [`Error::Conflict`] with place and remedy; nothing is changed then.
pub async fn run(args: KeyCommand) -> Result<Text> {
    let config = Config::load(&args.place.into())?;
    let seal = Seal::open(&config.data, config.master_key.as_ref().map(|key| key.0.as_str()))?;
    let (db, keeper) = db::open_beside(&config).await?;
    let done = async {
        migrations::run(&db).await?;
        let mut conn = db.own_conn().await?;
        let actor = Actor::command(&install::read(&config.data).unwrap_or_default());
        match args.action {
            Verb::Show => show(&seal, &mut conn).await,
            Verb::Create => create(&seal, &mut conn, &actor).await,
            Verb::Forget => forget(&seal, &mut conn, &actor).await,
            Verb::Rotate { finish: false } => add(&seal, &mut conn).await,
            Verb::Rotate { finish: true } => finish(&seal, &mut conn, &actor).await,
        }
    };
    let done = done.await;
    if let Some(keeper) = keeper {
        keeper.stop().await;
    }
    done
}

async fn show(seal: &Seal, conn: &mut Conn) -> Result<Text> {
    let in_use = seal::in_use(conn).await?;
    let keys = match seal.fingerprints().join(", ") {
        keys if keys.is_empty() => Text::new("key.none"),
        keys => Text::new("key.list").with("keys", keys),
    };
    let used = match in_use {
        Some(fingerprint) => Text::new("key.in_use").with("fingerprint", fingerprint),
        None => Text::new("key.unused"),
    };
    let text = Text::new("key.show").with("path", seal.path().display());
    Ok(text.with_text("keys", keys).with_text("used", used))
}

async fn create(seal: &Seal, conn: &mut Conn, actor: &Actor) -> Result<Text> {
    if let Some(fingerprint) = seal::in_use(conn).await? {
        return Err(Error::Conflict(
            Text::new("key.exists").with("fingerprint", fingerprint),
        ));
    }
    let known = seal.newest().is_some();
    let mut tx = conn.start_transaction(TxOpts::default()).await?;
    let key = seal.sealing_key(&mut tx, true).await?;
    let entry = Entry::by(actor, Action::KeyCreate).on(Object::new("key", &key.fingerprint(), ""));
    audit::record(&mut tx, &entry.change("fingerprint", "", key.fingerprint())).await?;
    tx.commit().await?;
    let text = Text::new(if known { "key.taken_up" } else { "key.created" }).with("fingerprint", key.fingerprint());
    Ok(text.with("path", seal.path().display()))
}

/// Only for a key that is lost: whoever still has it loses secrets for nothing.
async fn forget(seal: &Seal, conn: &mut Conn, actor: &Actor) -> Result<Text> {
    let Some(fingerprint) = seal::in_use(conn).await? else {
        return Err(Error::Conflict(Text::new("key.nothing_sealed")));
    };
    if seal.fingerprints().contains(&fingerprint) {
        let text = Text::new("key.not_lost").with("fingerprint", fingerprint);
        return Err(Error::Conflict(text.with("path", seal.path().display())));
    }
    let mut tx = conn.start_transaction(TxOpts::default()).await?;
    seal::forget_key(&mut tx).await?;
    let mut secrets = second_factor::forget_all(&mut tx).await?;
    secrets += notify::forget_all(&mut tx).await? + credentials::forget_all(&mut tx).await?;
    trials::drop_sealed(&mut tx).await?;
    let entry = Entry::by(actor, Action::KeyForget).on(Object::new("key", &fingerprint, ""));
    audit::record(&mut tx, &entry.change("secrets", secrets, 0)).await?;
    tx.commit().await?;
    Ok(Text::new("key.forgotten").with("secrets", secrets))
}

async fn add(seal: &Seal, conn: &mut Conn) -> Result<Text> {
    if seal::in_use(conn).await?.is_none() {
        return Err(Error::Conflict(Text::new("key.nothing_sealed")));
    }
    seal.check(conn).await?;
    let key = Key::random()?;
    seal.add(&key)?;
    let text = Text::new("key.added").with("fingerprint", key.fingerprint());
    Ok(text.with("path", seal.path().display()))
}

/// Seals everything anew with the newest key of the file, in one transaction.
async fn finish(seal: &Seal, conn: &mut Conn, actor: &Actor) -> Result<Text> {
    let old = seal::in_use(conn).await?;
    let old = old.ok_or_else(|| Error::Conflict(Text::new("key.nothing_sealed")))?;
    let newest = seal.newest().filter(|key| key.fingerprint() != old);
    let newest = newest.ok_or_else(|| Error::Conflict(Text::new("key.not_added")))?;
    let lacking = liveness::without_key(conn, &newest.fingerprint()).await?;
    if !lacking.is_empty() {
        let text = Text::new("key.others_lack").with("names", lacking.join(", "));
        return Err(Error::Conflict(text.with("fingerprint", newest.fingerprint())));
    }
    let mut tx = conn.start_transaction(TxOpts::default()).await?;
    // Locks the row of the key first, as everybody does who seals something.
    seal.sealing_key(&mut tx, false).await?;
    let mut secrets = second_factor::reseal(&mut tx, seal, &newest).await?;
    secrets += notify::reseal(&mut tx, seal, &newest).await?;
    secrets += credentials::reseal(&mut tx, seal, &newest).await?;
    trials::drop_sealed(&mut tx).await?;
    seal::use_key(&mut tx, &newest).await?;
    let entry = Entry::by(actor, Action::KeyRotate)
        .on(Object::new("key", &newest.fingerprint(), ""))
        .change("fingerprint", &old, newest.fingerprint());
    audit::record(&mut tx, &entry).await?;
    tx.commit().await?;
    Ok(Text::new("key.finished")
        .with("secrets", secrets)
        .with("fingerprint", newest.fingerprint())
        .with("old", old))
}
