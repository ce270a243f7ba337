//! What assets are called in messages, and telling of those that are removed.

use std::time::Duration;

use mysql_async::Transaction;

use super::queries::{self, Row};
use crate::app::App;
use crate::error::Result;
use crate::i18n::Text;
use crate::notify::{self, Event, Message, Topic};

/// The subject of an asset's messages.
pub fn subject(asset_id: u32) -> String {
    format!("asset/{asset_id}")
}

/// Before locked assets are deleted: nobody is told any more that they are down, and who was told is told that they are gone.
///
/// # Errors
/// [`crate::error::Error::Unavailable`] while the database does not answer.
pub async fn removed(tx: &mut Transaction<'_>, app: &App, rows: &[Row]) -> Result<()> {
    if !notify::has_channels(tx).await? {
        return Ok(());
    }
    let ids: Vec<u32> = rows.iter().map(|row| row.asset_id).collect();
    let groups = queries::groups_of(tx, &ids).await?;
    let places: Vec<String> = ids.iter().map(|id| subject(*id)).collect();
    let mut messages = Vec::new();
    for (row, subject) in rows.iter().zip(&places) {
        let Some((_, group, now)) = groups.iter().find(|(id, ..)| *id == row.asset_id) else {
            continue;
        };
        messages.push(Message {
            subject,
            event: Event::Removed,
            topic: Topic::Asset,
            name: &row.name,
            group_id: Some(row.group_id),
            is_folded: false,
            group,
            state: Text::new("notify.removed"),
            reason: None,
            since: *now,
            path: "/assets",
            held: Duration::ZERO,
        });
    }
    notify::post_all(tx, app, &messages).await
}
