//! The secrets of all channels under the master key.

use mysql_async::Transaction;

use super::channel::Secret;
use super::queries;
use crate::app::App;
use crate::error::{Error, Result};
use crate::i18n::Text;
use crate::liveness;
use crate::seal::{Key, Seal};

/// The key to seal with, which every server that runs has. Its row is locked before that of any channel.
///
/// # Errors
/// [`Error::Conflict`] and [`Error::Invalid`] with the remedy.
pub async fn key(tx: &mut Transaction<'_>, app: &App) -> Result<Key> {
    let is_alone = !liveness::others_run(tx, &app.install.id).await?;
    let key = app.seal.sealing_key(tx, is_alone).await?;
    let lacking = liveness::without_key(tx, &key.fingerprint()).await?;
    match lacking.is_empty() {
        true => Ok(key),
        false => {
            let text = Text::new("security.others_lack_key").with("names", lacking.join(", "));
            Err(Error::Conflict(text))
        }
    }
}

/// Drops every secret, when they cannot be opened any more; returns how many.
///
/// # Errors
/// [`Error::Unavailable`] while the database does not answer.
pub async fn forget_all(tx: &mut Transaction<'_>) -> Result<usize> {
    let secrets = queries::sealed(tx).await?;
    for (channel_id, _) in &secrets {
        queries::set_secret(tx, *channel_id, None).await?;
    }
    Ok(secrets.len())
}

/// Seals every secret anew; returns how many.
///
/// # Errors
/// Those of opening and sealing; then nothing may be committed.
pub async fn reseal(tx: &mut Transaction<'_>, seal: &Seal, key: &Key) -> Result<usize> {
    let secrets = queries::sealed(tx).await?;
    for (channel_id, sealed) in &secrets {
        let secret = Secret::open(seal, *channel_id, sealed)?;
        queries::set_secret(tx, *channel_id, Some(&secret.sealed(key, *channel_id)?)).await?;
    }
    Ok(secrets.len())
}
