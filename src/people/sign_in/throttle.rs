//! Slows down guessing: each try is counted before the password is looked at, in the shared database, so that neither
//! many servers nor many tries at once are many doors. All SQL of the table `sign_in_miss`.

use std::net::IpAddr;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Transaction, TxOpts};

use crate::people::secret;

/// Misses are forgotten after this.
const FORGOTTEN_MINUTES: u32 = 60;

/// What a try is counted by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    hash: String,
    /// Tries without delay.
    free: u32,
    /// Longest delay, in seconds.
    most: u32,
}

impl Subject {
    /// One source of guesses: five free, then 1, 2, 4 … seconds. Not longer than 300 s: it also meets people behind the
    /// same address.
    fn narrow(what: &str) -> Subject {
        Subject {
            hash: secret::hash(what),
            free: 5,
            most: 300,
        }
    }

    /// All sources together, so that many addresses are not many doors. It meets whoever comes with a browser of their own
    /// for the first time, so it begins late and stays short.
    fn wide(what: &str) -> Subject {
        Subject {
            hash: secret::hash(what),
            free: 50,
            most: 30,
        }
    }

    /// An account by the name as the database compares it ([`crate::people::users::queries::folded`]), from one place: no
    /// stranger elsewhere delays it.
    pub fn account_from(folded: &str, address: &str) -> Subject {
        Subject::narrow(&format!("account:{folded}:{}", network(address)))
    }

    /// An account from everywhere.
    pub fn account(folded: &str) -> Subject {
        Subject::wide(&format!("account:{folded}"))
    }

    pub fn address(address: &str) -> Subject {
        Subject::narrow(&format!("address:{}", network(address)))
    }

    /// A browser that has signed in to the account before. A stranger does not have its cookie, so no password that a
    /// stranger tries delays it.
    pub fn browser(token_hash: &str, account_id: &str) -> Subject {
        Subject::narrow(&format!("browser:{token_hash}:{account_id}"))
    }

    /// A step after the password, from one place.
    pub fn step(name: &str, account_id: &str, from: &str) -> Subject {
        Subject::narrow(&format!("{name}:{account_id}:{from}"))
    }

    /// A step after the password, from everywhere.
    pub fn step_anywhere(name: &str, account_id: &str) -> Subject {
        Subject::wide(&format!("{name}:{account_id}"))
    }
}

/// An IPv6 client is its /64: one household or server has that many addresses.
pub fn network(address: &str) -> String {
    match address.parse() {
        Ok(IpAddr::V6(address)) => {
            let [a, b, c, d, ..] = address.segments();
            format!("{a:x}:{b:x}:{c:x}:{d:x}::/64")
        }
        _ => address.to_owned(),
    }
}

impl Subject {
    /// Seconds between tries after the free ones, as SQL of the row.
    fn delay(&self) -> String {
        let Subject { free, most, .. } = self;
        format!("least(pow(2, cast(least(misses, 1000) as signed) - {free}), {most})")
    }
}

/// Counts a try for each subject, in their order. Returns the seconds to wait when one of them has to; then nothing was
/// counted for any.
pub async fn claim(conn: &mut Conn, subjects: &[Subject]) -> mysql_async::Result<Option<u64>> {
    let mut tx = conn.start_transaction(TxOpts::default()).await?;
    for subject in subjects {
        let (hash, free, delay) = (&subject.hash, subject.free, subject.delay());
        // Not "insert ignore": that would share the lock of a row that is there, and two who share it both want it alone.
        tx.exec_drop(
            "insert into sign_in_miss (subject, misses, missed_at) values (?, 0, utc_timestamp(6)) \
             on duplicate key update misses = misses",
            (hash,),
        )
        .await?;
        tx.exec_drop(
            format!(
                "update sign_in_miss set misses = if(missed_at < utc_timestamp(6) - interval {FORGOTTEN_MINUTES} minute, \
                 1, misses + 1), missed_at = utc_timestamp(6) where subject = ? and (misses < {free} \
                 or missed_at <= utc_timestamp(6) - interval {delay} second)"
            ),
            (hash,),
        )
        .await?;
        if tx.affected_rows() == 0 {
            let seconds = wait(&mut tx, subject).await?;
            tx.rollback().await?;
            return Ok(Some(seconds));
        }
    }
    tx.commit().await?;
    Ok(None)
}

async fn wait(tx: &mut Transaction<'_>, subject: &Subject) -> mysql_async::Result<u64> {
    let delay = subject.delay();
    let sql = format!(
        "select cast(greatest(1, ceil({delay} - timestampdiff(microsecond, missed_at, utc_timestamp(6)) / 1000000)) \
         as unsigned) from sign_in_miss where subject = ?"
    );
    let seconds = tx.exec_first(sql, (&subject.hash,)).await?;
    Ok(seconds.unwrap_or(u64::from(subject.most)))
}

/// The try was not judged after all: it does not count.
pub async fn forgive(conn: &mut impl Queryable, subjects: &[Subject]) -> mysql_async::Result<()> {
    for subject in subjects {
        conn.exec_drop(
            "update sign_in_miss set misses = misses - 1 where subject = ? and misses > 0",
            (&subject.hash,),
        )
        .await?;
    }
    Ok(())
}

/// The try was right: this source of guesses starts anew, and for the others it was none. What else came from the same
/// address stays counted, or an account of one's own would be a way to guess at those of others.
pub async fn succeed(conn: &mut impl Queryable, subjects: &[Subject], own: &Subject) -> mysql_async::Result<()> {
    let others: Vec<Subject> = subjects.iter().filter(|subject| *subject != own).cloned().collect();
    forgive(conn, &others).await?;
    forget(conn, own).await
}

/// Lets a subject be tried anew.
pub async fn forget(conn: &mut impl Queryable, subject: &Subject) -> mysql_async::Result<()> {
    conn.exec_drop("delete from sign_in_miss where subject = ?", (&subject.hash,))
        .await
}

pub async fn sweep(conn: &mut Conn) -> mysql_async::Result<u64> {
    conn.query_drop(format!(
        "delete from sign_in_miss where missed_at < utc_timestamp(6) - interval {FORGOTTEN_MINUTES} minute limit 1000"
    ))
    .await?;
    Ok(conn.affected_rows())
}

#[cfg(test)]
mod tests {
    use super::Subject;

    #[test]
    fn an_ipv6_client_is_its_64() {
        let address = Subject::address;
        assert_eq!(address("2001:db8::1"), address("2001:db8::ffff:1"));
        assert_ne!(address("2001:db8::1"), address("2001:db8:0:1::1"));
        assert_ne!(address("192.0.2.1"), address("192.0.2.2"));
        let account = Subject::account_from;
        assert_ne!(account("ann", "192.0.2.1"), account("ann", "192.0.2.2"));
    }
}
