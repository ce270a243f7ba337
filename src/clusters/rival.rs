//! What a heart does about a row that is not, or not only, its own: another holder, a twin, a deletion.

use mysql_async::Transaction;

use super::heartbeat::{Heart, Stage};
use super::portrait::SelfPortrait;
use super::roll::{self, Holder};
use crate::app::{App, Standing};
use crate::error::Result;
use crate::i18n::Text;
use crate::people::audit::{self, Action, Actor, Entry, Object};

impl Heart {
    /// Somebody else beats with our boot id: a machine copied while we ran. The first of the two to take a new boot id
    /// keeps the row; the other one finds it lost at its next beat.
    pub(super) async fn share_no_boot_id(&mut self, old: &str, seq: u64) -> Result<()> {
        let app = self.app.clone();
        let new = app.install.renew_boot_id();
        tracing::warn!(old, new, "{}", app.say(&Text::new("heart.shared_boot")));
        if roll::rename_boot(self.conn()?, &app.install.id, (old, seq), &new).await? {
            app.install.note_boot();
            return Ok(());
        }
        self.lost_row().await
    }

    /// Our beat met no row. Reads it once and steps back.
    pub(super) async fn lost_row(&mut self) -> Result<()> {
        let install_id = self.app.install.id.clone();
        match roll::holder(self.conn()?, &install_id).await? {
            None => {
                self.stage = Stage::Removed;
                self.app.standing.send_replace(Standing::Removed {
                    by: String::new(),
                    at: None,
                });
                tracing::error!("{}", self.app.say(&Text::new("heart.row_gone")));
            }
            Some(holder) if holder.removed_at.is_some() => {
                tell_removed(&self.app, &holder);
                self.stage = Stage::Removed;
            }
            Some(holder) => {
                self.stage = Stage::Waiting { seen: Box::new(holder) };
                self.look_at_other().await?;
            }
        }
        Ok(())
    }

    /// While another process holds our install id: report ourselves, and take the row only when the other was silent
    /// past its limit at this look and has not beaten since the last one.
    pub(super) async fn look_at_other(&mut self) -> Result<()> {
        let me = SelfPortrait::of(&self.app);
        let Stage::Waiting { seen } = &self.stage else {
            return Ok(());
        };
        let last_seen = (seen.boot_id.clone(), seen.beat_seq);
        let Some(now) = roll::holder(self.conn()?, &me.install_id).await? else {
            self.stage = Stage::Registering;
            return Ok(());
        };
        if now.removed_at.is_some() {
            tell_removed(&self.app, &now);
            self.stage = Stage::Removed;
            return Ok(());
        }
        let silent = (now.boot_id.as_str(), now.beat_seq) == (last_seen.0.as_str(), last_seen.1);
        if silent && now.is_free_for(&me) {
            self.stage = Stage::Registering;
            return Ok(());
        }
        roll::report_duplicate(self.conn()?, &me).await?;
        self.app.set_name(now.name.clone());
        let standing = Standing::Duplicate {
            host: now.host.clone(),
            path: now.data_path.clone(),
        };
        if *self.app.standing.borrow() != standing {
            let text = Text::new("heart.duplicate")
                .with("host", &now.host)
                .with("path", &now.data_path)
                .with("own_host", &me.host)
                .with("own_path", &me.data_path);
            tracing::error!("{}", self.app.say(&text));
            self.app.standing.send_replace(standing);
        }
        self.stage = Stage::Waiting { seen: Box::new(now) };
        Ok(())
    }
}

pub(super) fn tell_removed(app: &App, holder: &Holder) {
    let text = Text::new("heart.removed").with("by", &holder.removed_by);
    tracing::error!("{}", app.say(&text));
    app.standing.send_replace(Standing::Removed {
        by: holder.removed_by.clone(),
        at: holder.removed_at,
    });
}

/// In the trail, with the transaction that changes the row.
pub(super) async fn record_changed_cluster_id(
    tx: &mut Transaction<'_>,
    app: &App,
    name: &str,
    (old, new): (&str, &str),
) -> Result<()> {
    if old != new {
        let entry = Entry::by(&Actor::server(app), Action::ClusterUpdate)
            .on(Object::new("cluster", &app.install.id, name))
            .change("cluster_id", old, new);
        audit::record(tx, &entry).await?;
    }
    Ok(())
}

/// In the log.
pub(super) fn tell_changed_cluster_id(app: &App, (old, new): (&str, &str)) {
    if old != new {
        let text = Text::new("heart.cluster_id_changed").with("old", old).with("new", new);
        tracing::warn!("{}", app.say(&text));
    }
}
