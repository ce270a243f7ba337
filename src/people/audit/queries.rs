//! All SQL of the table `audit`.

use chrono::{Local, NaiveDate, NaiveDateTime, TimeZone};
use mysql_async::prelude::{FromRow, Queryable};
use mysql_async::{Conn, Params, Value, params};

use super::Entry;
use super::pages::Wanted;
use crate::people::sign_in::throttle::network;

/// Writes one line. In the transaction of the change itself: without the line, no change.
pub async fn record(conn: &mut impl Queryable, entry: &Entry) -> mysql_async::Result<()> {
    conn.exec_drop(
        "insert into audit (account_id, actor, role, address, install_id, action, object_kind, object_id, object_name, \
         changes, result) values (:account_id, :actor, :role, :address, :install_id, :action, :object_kind, :object_id, \
         :object_name, :changes, :result)",
        params! {
            "account_id" => &entry.actor.account_id, "actor" => &entry.actor.name, "role" => &entry.actor.role,
            "address" => &entry.actor.address, "install_id" => &entry.actor.install_id,
            "action" => entry.action.code(), "object_kind" => entry.object.kind, "object_id" => &entry.object.id,
            "object_name" => &entry.object.name, "changes" => entry.changes(), "result" => entry.result.code(),
        },
    )
    .await
}

/// [`record`], but at most once a minute for the same account, address and object: what a stranger can make happen at will
/// must not fill the trail.
pub async fn record_seldom(conn: &mut impl Queryable, entry: &Entry) -> mysql_async::Result<()> {
    // By the time alone: a minute holds few lines, while a stranger's address may be new each time.
    let lately: Vec<String> = conn
        .exec(
            "select address from audit where at > utc_timestamp(6) - interval 1 minute and object_kind = ? \
             and object_id = ? and account_id = ? and action = ?",
            (
                entry.object.kind,
                &entry.object.id,
                &entry.actor.account_id,
                entry.action.code(),
            ),
        )
        .await?;
    let own = network(&entry.actor.address);
    match lately.iter().any(|address| network(address) == own) {
        true => Ok(()),
        false => record(conn, entry).await,
    }
}

/// A line as the page shows it.
#[derive(Debug, Clone, FromRow)]
pub struct Row {
    pub audit_id: u64,
    pub at: NaiveDateTime,
    pub actor: String,
    pub role: String,
    pub address: String,
    pub install_id: String,
    pub server: String,
    pub action: String,
    pub object_kind: String,
    pub object_id: String,
    pub object_name: String,
    pub changes: String,
    pub result: String,
}

/// The newest lines below `wanted.before`. Paging by key: a page deep in the past costs as much as the first.
pub async fn page(conn: &mut Conn, wanted: &Wanted, count: usize) -> mysql_async::Result<Vec<Row>> {
    let mut sql = "true".to_owned();
    let mut values: Vec<Value> = Vec::new();
    let mut condition = |part: &str, value: Value| {
        sql.push_str(" and ");
        sql.push_str(part);
        values.push(value);
    };
    if let Some(before) = wanted.before {
        condition("a.audit_id < ?", before.into());
    }
    if let Some(account_id) = &wanted.only_of {
        condition("a.account_id = ?", account_id.into());
    }
    if !wanted.actor.is_empty() {
        condition("a.actor = ?", (&wanted.actor).into());
    }
    if let Some(action) = wanted.action {
        condition("a.action = ?", action.code().into());
    }
    if let Some(object) = &wanted.object {
        condition("a.object_kind = ?", (&object.0).into());
        condition("a.object_id = ?", (&object.1).into());
    }
    if wanted.only_refused {
        condition("a.result = ?", "refused".into());
    }
    // The days are those of the page. Ids rise with the time, but for transactions that end in another order than they
    // began; so they bound the scan with an hour to spare.
    if let Some(from) = wanted.from.and_then(midnight) {
        condition("a.at >= ?", from.into());
        let first = "(select audit_id from audit where at >= ? - interval 1 hour order by at, audit_id limit 1)";
        condition(
            &format!("a.audit_id >= coalesce({first}, 18446744073709551615)"),
            from.into(),
        );
    }
    if let Some(to) = wanted.to.and_then(|day| day.succ_opt()).and_then(midnight) {
        condition("a.at < ?", to.into());
        let behind = "(select audit_id from audit where at >= ? + interval 1 hour order by at, audit_id limit 1)";
        condition(
            &format!("a.audit_id < coalesce({behind}, 18446744073709551615)"),
            to.into(),
        );
    }
    let sql = format!(
        "select a.audit_id, a.at, a.actor, a.role, a.address, a.install_id, coalesce(c.name, left(a.install_id, 8)) as \
         server, a.action, a.object_kind, a.object_id, a.object_name, a.changes, a.result \
         from audit a left join cluster c on c.install_id = a.install_id where {sql} \
         order by a.audit_id desc limit {count}"
    );
    conn.exec(sql, Params::Positional(values)).await
}

/// The start of a day in this server's zone, where the page shows its times, as the database knows it.
fn midnight(day: NaiveDate) -> Option<NaiveDateTime> {
    midnight_in(&Local, day)
}

fn midnight_in(zone: &impl TimeZone, day: NaiveDate) -> Option<NaiveDateTime> {
    let at = |hour| zone.from_local_datetime(&day.and_hms_opt(hour, 0, 0)?).earliest();
    // Where clocks are set forward at midnight the day begins an hour later.
    Some(at(0).or_else(|| at(1))?.naive_utc())
}

/// Drops lines older than `days`, a thousand at most; returns how many.
pub async fn sweep(conn: &mut Conn, days: u32) -> mysql_async::Result<u64> {
    conn.exec_drop(
        "delete from audit where at < utc_timestamp(6) - interval ? day order by at limit 1000",
        (days,),
    )
    .await?;
    Ok(conn.affected_rows())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_begins_at_midnight_where_the_times_are_shown() {
        let shanghai = chrono::FixedOffset::east_opt(8 * 3600).unwrap();
        let day = NaiveDate::from_ymd_opt(2026, 11, 25).unwrap();
        assert_eq!(midnight_in(&shanghai, day).unwrap().to_string(), "2026-11-24 16:00:00");
    }
}
