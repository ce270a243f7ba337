//! All SQL of the table `address_check`.

use chrono::NaiveDateTime;
use mysql_async::prelude::{FromRow, FromValue, Queryable};
use mysql_async::{Conn, FromValueError, Value, params};

use super::probe::{Outcome, Verdict};
use crate::i18n::Text;

/// An address to look at.
#[derive(Debug, Clone, FromRow)]
pub struct Due {
    pub install_id: String,
    pub address: String,
}

pub async fn of_cluster(conn: &mut Conn, install_id: &str) -> mysql_async::Result<Option<Due>> {
    conn.exec_first(
        "select install_id, address from cluster where install_id = ? and removed_at is null",
        (install_id,),
    )
    .await
}

/// A server's own address, unless it looked at it less than half a minute ago.
pub async fn own_due(conn: &mut Conn, own: &str) -> mysql_async::Result<Option<Due>> {
    conn.exec_first(
        "select install_id, address from cluster where install_id = ? and removed_at is null and not exists \
         (select 1 from address_check k where k.install_id = cluster.install_id and k.kind = 'own' \
         and k.address = cluster.address and k.checked_at > utc_timestamp(6) - interval 29 second)",
        (own,),
    )
    .await
}

/// Claims the address of another cluster that no server looked at for ten minutes, or that has changed; of several servers
/// one gets it.
pub async fn claim_peer(conn: &mut Conn, own: &str) -> mysql_async::Result<Option<Due>> {
    let due: Option<Due> = conn
        .exec_first(
            "select c.install_id, c.address from cluster c left join address_check k \
             on k.install_id = c.install_id and k.kind = 'peer' \
             where c.removed_at is null and c.address <> '' and c.install_id <> ? and (k.checked_at is null \
             or k.checked_at < utc_timestamp(6) - interval 10 minute or k.address <> c.address) \
             order by k.checked_at limit 1",
            (own,),
        )
        .await?;
    let Some(due) = due else {
        return Ok(None);
    };
    conn.exec_drop(
        "update address_check set checked_at = utc_timestamp(6), checker_id = ?, address = ? \
         where install_id = ? and kind = 'peer' and (checked_at < utc_timestamp(6) - interval 10 minute or address <> ?)",
        (own, &due.address, &due.install_id, &due.address),
    )
    .await?;
    if conn.affected_rows() == 1 {
        return Ok(Some(due));
    }
    conn.exec_drop(
        "insert ignore into address_check (install_id, kind, address, checker_id) values (?, 'peer', ?, ?)",
        (&due.install_id, &due.address, own),
    )
    .await?;
    Ok((conn.affected_rows() == 1).then_some(due))
}

pub async fn record(
    conn: &mut Conn,
    due: &Due,
    (kind, checker_id): (&str, &str),
    verdict: &Verdict,
) -> mysql_async::Result<()> {
    conn.exec_drop(
        "insert into address_check (install_id, kind, address, checker_id, outcome, answered_id, detail, checked_at) \
         values (:install_id, :kind, :address, :checker_id, :outcome, :answered_id, :detail, utc_timestamp(6)) \
         on duplicate key update address = :address, checker_id = :checker_id, outcome = :outcome, \
         answered_id = :answered_id, detail = :detail, checked_at = utc_timestamp(6)",
        params! {
            "install_id" => &due.install_id, "kind" => kind, "address" => &due.address, "checker_id" => checker_id,
            "outcome" => verdict.outcome.code(), "answered_id" => &verdict.answered_id, "detail" => &verdict.detail,
        },
    )
    .await
}

/// One check as the page of a cluster shows it.
#[derive(Debug, Clone, FromRow)]
pub struct Row {
    pub kind: String,
    pub outcome: Outcome,
    pub answered_id: String,
    /// The name of whoever answered, if it is on the roll.
    pub answered: String,
    pub detail: String,
    pub checker: String,
    pub checked_at: NaiveDateTime,
}

/// The checks of a cluster's present address.
pub async fn of(conn: &mut Conn, install_id: &str) -> mysql_async::Result<Vec<Row>> {
    conn.exec(
        "select k.kind, k.outcome, k.answered_id, coalesce(a.name, '') as answered, k.detail, \
         coalesce(b.name, left(k.checker_id, 8)) as checker, k.checked_at from address_check k \
         join cluster c on c.install_id = k.install_id and c.address = k.address \
         left join cluster a on a.install_id = k.answered_id left join cluster b on b.install_id = k.checker_id \
         where k.install_id = ? and k.outcome <> 'running' order by k.kind",
        (install_id,),
    )
    .await
}

/// The result for a list, as SQL of a row of `cluster`: what is wrong goes before what is right. With when and by whom, as
/// [`Told`] reads it.
pub const WORST: &str = "(select concat_ws('|', k.outcome, k.checked_at, if(k.kind = 'own', '', coalesce(b.name, left(k.checker_id, 8)))) \
    from address_check k left join cluster b on b.install_id = k.checker_id where k.install_id = cluster.install_id \
    and k.address = cluster.address and k.outcome <> 'running' order by k.outcome = 'ok', k.checked_at desc limit 1)";

/// The last result of a cluster's address, with when and by whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    pub outcome: Outcome,
    pub at: Option<NaiveDateTime>,
    /// The name of the cluster that looked; empty when it was the one that was looked at.
    pub checker: String,
}

impl Told {
    /// The result in a few words.
    pub fn name(&self) -> Text {
        self.outcome.name().with("name", "")
    }

    pub fn is_bad(&self) -> bool {
        self.outcome.colour() == "red"
    }

    /// Who looked, in words that a time follows.
    pub fn by(&self) -> Text {
        match self.checker.as_str() {
            "" => Text::new("check.by_itself"),
            name => Text::new("check.by").with("name", name),
        }
    }

    pub fn at(&self) -> Option<NaiveDateTime> {
        self.at
    }
}

impl FromValue for Told {
    type Intermediate = Told;
}

impl TryFrom<Value> for Told {
    type Error = FromValueError;

    fn try_from(value: Value) -> Result<Told, FromValueError> {
        let read = |text: &str| {
            let mut parts = text.splitn(3, '|');
            let outcome = Outcome::parse(parts.next()?)?;
            let at = parts.next()?;
            let at = NaiveDateTime::parse_from_str(at, "%Y-%m-%d %H:%M:%S%.f").ok();
            let checker = parts.next().unwrap_or_default().to_owned();
            Some(Told { outcome, at, checker })
        };
        let told = match &value {
            Value::Bytes(bytes) => std::str::from_utf8(bytes).ok().and_then(read),
            _ => None,
        };
        told.ok_or(FromValueError(value))
    }
}

impl From<Told> for Value {
    fn from(told: Told) -> Value {
        told.outcome.into()
    }
}
