//! Whether a cluster lives: the rule as SQL and in words, and the states that follow from it.

mod sight;

use chrono::{NaiveDateTime, TimeDelta};
use mysql_async::prelude::Queryable;

use crate::app::OFFLINE_INTERVALS;
use crate::i18n::Text;
pub use sight::Sight;

/// Microseconds since the last beat.
pub const AGE: &str = "timestampdiff(microsecond, beat_at, utc_timestamp(6))";

/// The rule of liveness, a function of the row and the database's clock alone. A beat from the future means that the
/// database's clock was set back: neither alive nor dead can be claimed, so the row counts as late until it beats.
macro_rules! liveness {
    () => {
        "case when beat_seq = 0 or beat_at is null then 'never' \
         when stopped_at >= beat_at then 'stopped' \
         when timestampdiff(microsecond, beat_at, utc_timestamp(6)) < -1000000 then 'late' \
         when timestampdiff(microsecond, beat_at, utc_timestamp(6)) <= 1500000 * interval_s + 1000000 then 'online' \
         when timestampdiff(microsecond, beat_at, utc_timestamp(6)) <= 3000000 * interval_s then 'late' \
         else 'offline' end"
    };
}

/// Whether the holder of the row itself still beats.
pub const LIVENESS: &str = liveness!();

/// What people see: a second process with the same install id goes before everything else.
pub const STATE: &str = concat!(
    "case when timestampdiff(microsecond, duplicate_at, utc_timestamp(6)) <= 3000000 * duplicate_interval_s \
     then 'duplicate' else ",
    liveness!(),
    " end"
);

/// Whether another server of this database may be running: one that has not said that it stopped.
///
/// # Errors
/// Those of the database.
pub async fn others_run(conn: &mut impl Queryable, install_id: &str) -> mysql_async::Result<bool> {
    let other: Option<u8> = conn
        .exec_first(
            "select 1 from cluster where install_id <> ? and removed_at is null \
             and (stopped_at is null or stopped_at < beat_at) limit 1",
            (install_id,),
        )
        .await?;
    Ok(other.is_some())
}

/// Servers that live and have said that they lack a master key, by name.
///
/// # Errors
/// Those of the database.
pub async fn without_key(conn: &mut impl Queryable, fingerprint: &str) -> mysql_async::Result<Vec<String>> {
    let sql = format!(
        "select name from cluster where removed_at is null and {LIVENESS} in ('online', 'late') \
         and key_fingerprints <> '' and locate(?, key_fingerprints) = 0 order by name limit 20"
    );
    conn.exec(sql, (fingerprint,)).await
}

/// Computed by the database from the row ([`STATE`]); never stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    Online,
    Late,
    Offline,
    Stopped,
    Never,
    Duplicate,
}

impl State {
    pub const ALL: [State; 6] = [
        State::Online,
        State::Late,
        State::Offline,
        State::Stopped,
        State::Never,
        State::Duplicate,
    ];

    /// The word in the URL and in SQL.
    pub fn code(self) -> &'static str {
        match self {
            State::Online => "online",
            State::Late => "late",
            State::Offline => "offline",
            State::Stopped => "stopped",
            State::Never => "never",
            State::Duplicate => "duplicate",
        }
    }

    pub fn parse(code: &str) -> Option<State> {
        State::ALL.into_iter().find(|state| state.code() == code)
    }

    /// The key of its name.
    pub fn name(self) -> Text {
        Text::new(match self {
            State::Online => "state.online",
            State::Late => "state.late",
            State::Offline => "state.offline",
            State::Stopped => "state.stopped",
            State::Never => "state.never",
            State::Duplicate => "state.duplicate",
        })
    }

    /// The colour word of the style sheet; the state is always said in words beside it.
    pub fn colour(self) -> &'static str {
        match self {
            State::Online => "green",
            State::Late => "yellow",
            State::Offline => "red",
            State::Stopped => "secondary",
            State::Never => "azure",
            State::Duplicate => "purple",
        }
    }

    /// Whether another process must keep its hands off (takeover, deletion).
    pub fn is_alive(self) -> bool {
        matches!(self, State::Online | State::Late)
    }
}

crate::db::word!(State);

/// Seconds after the last beat from which a cluster with this interval is late: 1.5 intervals and one second.
pub fn late_after(interval_s: u32) -> TimeDelta {
    TimeDelta::milliseconds(i64::from(interval_s) * 1500 + 1000)
}

/// Seconds after the last beat from which it is offline: three intervals.
pub fn offline_after(interval_s: u32) -> TimeDelta {
    TimeDelta::seconds(i64::from(interval_s) * i64::from(OFFLINE_INTERVALS))
}

/// The rule in a sentence, with the numbers of this interval.
pub fn rule(interval_s: u32) -> Text {
    let late = late_after(interval_s).num_milliseconds();
    Text::new("state.rule")
        .with("interval", interval_s)
        .with(
            "late",
            if late % 1000 == 0 {
                (late / 1000).to_string()
            } else {
                format!("{:.1}", late as f64 / 1000.0)
            },
        )
        .with("offline", offline_after(interval_s).num_seconds())
}

/// A length of time in the two units that matter: tenths of seconds up to two minutes, days and hours beyond two days.
pub fn span(length: TimeDelta) -> Text {
    let seconds = length.num_seconds();
    match seconds {
        ..120 => {
            let tenths = length.num_milliseconds() as f64 / 1000.0;
            Text::new("span.seconds").with("seconds", format!("{tenths:.1}"))
        }
        120..7_200 => Text::new("span.minutes")
            .with("minutes", seconds / 60)
            .with("seconds", seconds % 60),
        7_200..172_800 => Text::new("span.hours")
            .with("hours", seconds / 3_600)
            .with("minutes", seconds % 3_600 / 60),
        _ => Text::new("span.days")
            .with("days", seconds / 86_400)
            .with("hours", seconds % 86_400 / 3_600),
    }
}

/// The times a state can hold since.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    pub interval_s: u32,
    pub created_at: NaiveDateTime,
    pub beat_at: Option<NaiveDateTime>,
    pub online_since: Option<NaiveDateTime>,
    pub stopped_at: Option<NaiveDateTime>,
    pub duplicate_since: Option<NaiveDateTime>,
}

impl Times {
    /// Since when the state holds, by the database's clock.
    pub fn since(&self, state: State) -> Option<NaiveDateTime> {
        match state {
            State::Online => self.online_since,
            State::Late => self.beat_at.map(|at| at + late_after(self.interval_s)),
            State::Offline => self.beat_at.map(|at| at + offline_after(self.interval_s)),
            State::Stopped => self.stopped_at,
            State::Never => Some(self.created_at),
            State::Duplicate => self.duplicate_since,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::i18n::Lang;

    #[test]
    fn a_span_is_said_in_the_units_that_matter() {
        for (seconds, said) in [
            (0.04, "0.0 s"),
            (119.96, "120.0 s"),
            (120.0, "2 min 0 s"),
            (7_200.0, "2 h 0 min"),
            (172_799.0, "47 h 59 min"),
            (27_907_200.0, "323 d 0 h"),
        ] {
            let length = TimeDelta::microseconds((seconds * 1e6) as i64);
            assert_eq!(span(length).say(Lang::En), said);
        }
    }
}
