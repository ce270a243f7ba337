//! Trials of the groups that this server owns: taken, made, and reported.

use std::time::Duration;

use super::look;
use crate::app::App;
use crate::assets::credentials;
use crate::assets::kind::Settings;
use crate::assets::target::{Secret, Target};
use crate::assets::trials::queries::{self, Taken};
use crate::assets::trials::{self, Told};
use crate::clusters::check;
use crate::error::{Result, chain};

/// One trial, on its own: looks and leaves its report. A trial whose report cannot be written has none.
pub async fn make(app: &App, taken: Taken) {
    let report = look(app, prepare(app, &taken)).await;
    let told = async {
        let json = Told::of(report).json()?;
        let mut conn = app.db.conn().await?;
        queries::end(&mut conn, (&taken.trial_id, &taken.claim), &json).await?;
        Ok::<_, crate::error::Error>(())
    };
    if let Err(error) = told.await {
        tracing::warn!(trial = taken.trial_id, "a trial has no report: {}", chain(&error));
    }
}

fn prepare(app: &App, taken: &Taken) -> Result<(Settings, Target)> {
    let secret = match (&taken.credential_id, taken.sealed.as_deref()) {
        (_, None) => Secret::default(),
        (Some(credential_id), Some(sealed)) => credentials::open(&app.seal, credential_id, sealed)?,
        (None, Some(sealed)) => trials::open(&app.seal, &taken.trial_id, sealed)?,
    };
    let target = Target {
        secret,
        reach: check::reach(app),
        timeout: Duration::from_secs(u64::from(taken.timeout_s)),
        pin: taken.pin.clone(),
        last_ticks: None,
    };
    Ok((Settings::read(taken.kind, &taken.settings)?, target))
}
