//! Slows down guessing: each try is counted before the password is looked at, in the shared database, so that neither
//! many servers nor many tries at once are many doors. All SQL of the table `sign_in_miss`.

use mysql_async::Conn;
use mysql_async::prelude::Queryable;

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
    pub fn account(name: &str) -> Subject {
        Subject(secret::hash(&format!("account:{}", name.to_lowercase())))
    }

    pub fn address(address: &str) -> Subject {
        Subject(secret::hash(&format!("address:{address}")))
    }

    /// A browser that has signed in to the account before. A stranger does not have its cookie, so nothing a stranger
    /// does delays it.
    pub fn browser(token_hash: &str) -> Subject {
        Subject(secret::hash(&format!("browser:{token_hash}")))
    }
}

/// Seconds between tries after the free ones: 1, 2, 4 … up to the limit, as SQL of the row.
const DELAY: &str = "least(pow(2, least(misses, 40) - 5), 300)";

/// Counts a try for each subject. Returns the seconds to wait when one of them has to; then nothing was counted.
pub async fn claim(conn: &mut Conn, subjects: &[Subject]) -> mysql_async::Result<Option<u64>> {
    for (place, Subject(subject)) in subjects.iter().enumerate() {
        conn.exec_drop(
            "insert ignore into sign_in_miss (subject, misses, missed_at) values (?, 0, utc_timestamp(6))",
            (subject,),
        )
        .await?;
        conn.exec_drop(
            format!(
                "update sign_in_miss set misses = if(missed_at < utc_timestamp(6) - interval {FORGOTTEN_MINUTES} minute, \
                 1, misses + 1), missed_at = utc_timestamp(6) where subject = ? and (misses < {FREE} \
                 or missed_at <= utc_timestamp(6) - interval {DELAY} second)"
            ),
            (subject,),
        )
        .await?;
        if conn.affected_rows() == 0 {
            for Subject(counted) in &subjects[..place] {
                forgive(conn, counted).await?;
            }
            return wait(conn, subject).await.map(Some);
        }
    }
    Ok(None)
}

async fn wait(conn: &mut Conn, subject: &str) -> mysql_async::Result<u64> {
    let sql = format!(
        "select cast(greatest(1, ceil({DELAY} - timestampdiff(microsecond, missed_at, utc_timestamp(6)) / 1000000)) \
         as unsigned) from sign_in_miss where subject = ?"
    );
    Ok(conn.exec_first(sql, (subject,)).await?.unwrap_or(u64::from(MOST)))
}

async fn forgive(conn: &mut Conn, subject: &str) -> mysql_async::Result<()> {
    conn.exec_drop(
        "update sign_in_miss set misses = misses - 1 where subject = ? and misses > 0",
        (subject,),
    )
    .await
}

/// The try was right: it does not count for anybody, and the account starts anew.
pub async fn succeed(conn: &mut impl Queryable, subjects: &[Subject], own: &Subject) -> mysql_async::Result<()> {
    for subject in subjects {
        let sql = if subject == own {
            "delete from sign_in_miss where subject = ?"
        } else {
            "update sign_in_miss set misses = misses - 1 where subject = ? and misses > 0"
        };
        conn.exec_drop(sql, (&subject.0,)).await?;
    }
    Ok(())
}

pub async fn sweep(conn: &mut Conn) -> mysql_async::Result<()> {
    conn.query_drop(format!(
        "delete from sign_in_miss where missed_at < utc_timestamp(6) - interval {FORGOTTEN_MINUTES} minute limit 1000"
    ))
    .await
}
