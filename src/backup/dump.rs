//! Everything of the database as it is at one moment, in a file that a person can read.

use std::io::{self, BufWriter, Write};

use flate2::Compression;
use flate2::write::GzEncoder;
use indicatif::ProgressBar;
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Row};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::tables::{self, Content, Table, Tables};
use crate::db::{Db, migrations};
use crate::error::Error;

/// Bytes of one statement, unless a single row is longer.
const STATEMENT: usize = 256 * 1024;
/// What stands before a line that is no statement.
pub const REMARK: &str = "-- ";

/// The first line.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Head {
    /// Number of the format; 1.
    pub muster_backup: u32,
    /// Number of the newest migration.
    pub schema: u32,
    pub program: String,
    /// By the database's clock, in UTC.
    pub made_at: String,
}

/// The last line.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Foot {
    pub tables: Tables,
    /// Of everything before this line, as hex digits.
    pub sha256: String,
}

/// Why there is no file.
#[derive(Debug)]
pub enum Failure {
    File(io::Error),
    Database(Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        Failure::File(error)
    }
}

impl From<mysql_async::Error> for Failure {
    fn from(error: mysql_async::Error) -> Failure {
        Failure::Database(error.into())
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Database(error)
    }
}

/// What is written, and the digest of it.
struct Lines<W: Write> {
    out: GzEncoder<BufWriter<W>>,
    digest: Sha256,
}

impl<W: Write> Lines<W> {
    fn line(&mut self, text: &str) -> io::Result<()> {
        for part in [text.as_bytes(), b"\n"] {
            self.digest.update(part);
            self.out.write_all(part)?;
        }
        Ok(())
    }
}

/// Writes all tables of the database; the servers go on meanwhile and none of their changes is half in it.
///
/// # Errors
/// [`Failure::File`] when the disk takes no more, [`Failure::Database`] as the database says.
pub async fn write(db: &Db, out: impl Write, bar: &ProgressBar) -> Result<Tables, Failure> {
    let mut conn = db.patient_conn().await?;
    conn.query_drop("set session transaction isolation level repeatable read")
        .await?;
    conn.query_drop("start transaction with consistent snapshot, read only")
        .await?;
    let schema = migrations::found(&mut conn).await?;
    let all = tables::all(&mut conn).await?;
    bar.set_length(count(&mut conn, &all).await?);
    let mut lines = Lines {
        out: GzEncoder::new(BufWriter::new(out), Compression::default()),
        digest: Sha256::new(),
    };
    let now: Option<String> = conn
        .query_first("select date_format(utc_timestamp(), '%Y-%m-%d %H:%i:%s')")
        .await?;
    let head = Head {
        muster_backup: 1,
        schema,
        program: env!("CARGO_PKG_VERSION").to_owned(),
        made_at: now.unwrap_or_default(),
    };
    lines.line(&remark(&head)?)?;
    let mut tables = Tables::default();
    for table in &all {
        let content = rows(&mut conn, table, &mut lines, bar).await?;
        tables.0.insert(table.name.to_owned(), content);
    }
    let foot = Foot {
        tables: tables.clone(),
        sha256: hex(lines.digest.clone()),
    };
    lines.line(&remark(&foot)?)?;
    lines.out.finish()?.flush()?;
    conn.disconnect().await?;
    bar.finish_and_clear();
    Ok(tables)
}

pub fn hex(digest: Sha256) -> String {
    digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn remark(what: &impl Serialize) -> io::Result<String> {
    Ok(format!("{REMARK}{}", serde_json::to_string(what)?))
}

async fn count(conn: &mut Conn, all: &[Table]) -> Result<u64, Failure> {
    let mut count = 0;
    for table in all {
        let rows: Option<u64> = conn
            .query_first(format!("select count(*) from `{}`", table.name))
            .await?;
        count += rows.unwrap_or(0);
    }
    Ok(count)
}

/// A statement for as many rows as fit in it.
async fn rows<W: Write>(
    conn: &mut Conn,
    table: &Table,
    lines: &mut Lines<W>,
    bar: &ProgressBar,
) -> Result<Content, Failure> {
    let columns = table.list();
    let start = format!("insert into `{}` ({columns}) values ", table.name);
    let mut content = Content::default();
    let mut statement = String::new();
    // With a list of parameters, if an empty one, numbers and times come as such and not as texts.
    let mut found = conn
        .exec_iter(format!("select {columns} from `{}`", table.name), ())
        .await?;
    while let Some(row) = found.next().await? {
        let row: Row = row;
        let row = tables::written(&row);
        content.add(&row);
        bar.inc(1);
        if !statement.is_empty() && statement.len() + row.len() > STATEMENT {
            lines.line(&format!("{statement};"))?;
            statement.clear();
        }
        statement.push_str(if statement.is_empty() { &start } else { "," });
        statement.push_str(&row);
    }
    if !statement.is_empty() {
        lines.line(&format!("{statement};"))?;
    }
    Ok(content)
}
