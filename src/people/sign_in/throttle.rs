//! Slows down guessing: each try is counted before the password is looked at, in the shared database, so that neither
//! many servers nor many tries at once are many doors. All SQL of the table `sign_in_miss`.

use std::net::IpAddr;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Transaction, TxOpts};

use crate::people::secret;

/// Tries without delay.
const FREE: u32 = 5;
/// Longest delay, in seconds. Not longer: it also meets people behind the same address.
const MOST: u32 = 300;
/// Misses are forgotten after this.
const FORGOTTEN_MINUTES: u32 = 60;

/// What a try is counted by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject(String);

impl Subject {
    /// By the name as the database compares it ([`crate::people::users::queries::folded`]).
    pub fn account(folded: &str) -> Subject {
        Subject(secret::hash(&format!("account:{folded}")))
    }

    /// An IPv6 client is its /64: one household or server has that many addresses.
    pub fn address(address: &str) -> Subject {
        let nearest = match address.parse() {
            Ok(IpAddr::V6(address)) => format!("{:x?}", &address.segments()[..4]),
            _ => address.to_owned(),
        };
        Subject(secret::hash(&format!("address:{nearest}")))
    }

    /// A browser that has signed in to the account before. A stranger does not have its cookie, so no password that a
    /// stranger tries delays it.
    pub fn browser(token_hash: &str, account_id: &str) -> Subject {
        Subject(secret::hash(&format!("browser:{token_hash}:{account_id}")))
    }

    /// A step after the password, by the account itself.
    pub fn step(name: &str, account_id: &str) -> Subject {
        Subject(secret::hash(&format!("{name}:{account_id}")))
    }
}

/// Seconds between tries after the free ones: 1, 2, 4 … up to the limit, as SQL of the row.
const DELAY: &str = "least(pow(2, cast(least(misses, 40) as signed) - 5), 300)";

/// Counts a try for each subject, in their order. Returns the seconds to wait when one of them has to; then nothing was
/// counted for any.
pub async fn claim(conn: &mut Conn, subjects: &[Subject]) -> mysql_async::Result<Option<u64>> {
    let mut tx = conn.start_transaction(TxOpts::default()).await?;
    for Subject(subject) in subjects {
        // Not "insert ignore": that would share the lock of a row that is there, and two who share it both want it alone.
        tx.exec_drop(
            "insert into sign_in_miss (subject, misses, missed_at) values (?, 0, utc_timestamp(6)) \
             on duplicate key update misses = misses",
            (subject,),
        )
        .await?;
        tx.exec_drop(
            format!(
                "update sign_in_miss set misses = if(missed_at < utc_timestamp(6) - interval {FORGOTTEN_MINUTES} minute, \
                 1, misses + 1), missed_at = utc_timestamp(6) where subject = ? and (misses < {FREE} \
                 or missed_at <= utc_timestamp(6) - interval {DELAY} second)"
            ),
            (subject,),
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

async fn wait(tx: &mut Transaction<'_>, subject: &str) -> mysql_async::Result<u64> {
    let sql = format!(
        "select cast(greatest(1, ceil({DELAY} - timestampdiff(microsecond, missed_at, utc_timestamp(6)) / 1000000)) \
         as unsigned) from sign_in_miss where subject = ?"
    );
    Ok(tx.exec_first(sql, (subject,)).await?.unwrap_or(u64::from(MOST)))
}

/// The try was not judged after all: it does not count.
pub async fn forgive(conn: &mut impl Queryable, subjects: &[Subject]) -> mysql_async::Result<()> {
    for Subject(subject) in subjects {
        conn.exec_drop(
            "update sign_in_miss set misses = misses - 1 where subject = ? and misses > 0",
            (subject,),
        )
        .await?;
    }
    Ok(())
}

/// The try was right: the person starts anew, and what else was tried from their address counts half.
pub async fn succeed(conn: &mut impl Queryable, subjects: &[Subject], own: &Subject) -> mysql_async::Result<()> {
    for subject in subjects {
        let sql = if subject == own {
            "delete from sign_in_miss where subject = ?"
        } else {
            "update sign_in_miss set misses = (misses - 1) div 2 where subject = ? and misses > 0"
        };
        conn.exec_drop(sql, (&subject.0,)).await?;
    }
    Ok(())
}

/// Lets an account be tried anew, after its password was reset.
pub async fn forget(conn: &mut impl Queryable, subject: &Subject) -> mysql_async::Result<()> {
    conn.exec_drop("delete from sign_in_miss where subject = ?", (&subject.0,))
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
    }
}
