//! Back from a file: looked through to its end before anything is touched, and compared once it is in.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

use flate2::read::GzDecoder;
use indicatif::ProgressBar;
use mysql_async::prelude::Queryable;
use mysql_async::{Row, Transaction, TxOpts};
use sha2::{Digest, Sha256};

use super::dump::{Foot, Head, REMARK, hex};
use super::tables::{self, Content, Table, Tables};
use crate::db::{Db, migrations};
use crate::error::{Error, Result};
use crate::i18n::Text;

/// The only format so far.
const FORMAT: u32 = 1;
/// Longest line, in bytes: more than a row can have.
const LONGEST: u64 = 64 * 1024 * 1024;

/// A file that is whole.
#[derive(Debug, Clone)]
pub struct Whole {
    pub schema: u32,
    pub made_at: String,
    pub tables: Tables,
    statements: u64,
}

/// Reads a file to its end without believing anything.
///
/// # Errors
/// [`Error::Invalid`] when it cannot be read, is none of ours, is cut off, was changed, or needs a newer program.
pub fn judge(path: &Path) -> Result<Whole> {
    let broken = || Error::Invalid(Text::new("backup.broken").with("path", path.display()));
    let mut lines = Lines::open(path)?;
    let mut digest = Sha256::new();
    let mut head: Option<Head> = None;
    let mut statements = 0;
    while let Some(line) = lines.next()? {
        let Some(remark) = line.strip_prefix(REMARK) else {
            statements += 1;
            digest.update(line);
            digest.update("\n");
            continue;
        };
        match &head {
            None => {
                let found: Head = serde_json::from_str(remark).map_err(|_| foreign(path))?;
                digest.update(line);
                digest.update("\n");
                fits(path, &found)?;
                head = Some(found);
            }
            Some(head) => {
                let foot: Foot = serde_json::from_str(remark).map_err(|_| broken())?;
                if foot.sha256 != hex(digest) || lines.next()?.is_some() {
                    return Err(broken());
                }
                return Ok(Whole {
                    schema: head.schema,
                    made_at: head.made_at.clone(),
                    tables: foot.tables,
                    statements,
                });
            }
        }
    }
    Err(if head.is_some() { broken() } else { foreign(path) })
}

fn foreign(path: &Path) -> Error {
    Error::Invalid(Text::new("backup.foreign").with("path", path.display()))
}

/// Whether this program can read it.
fn fits(path: &Path, head: &Head) -> Result<()> {
    if head.muster_backup == FORMAT && head.schema <= migrations::newest() {
        return Ok(());
    }
    let text = Text::new("backup.newer").with("path", path.display());
    let text = text.with("program", &head.program);
    Err(Error::Invalid(text.with("version", env!("CARGO_PKG_VERSION"))))
}

struct Lines {
    reader: BufReader<GzDecoder<BufReader<File>>>,
    path: String,
    line: String,
}

impl Lines {
    fn open(path: &Path) -> Result<Lines> {
        let file = File::open(path).map_err(|cause| unreadable(&path.display().to_string(), cause))?;
        Ok(Lines {
            reader: BufReader::new(GzDecoder::new(BufReader::new(file))),
            path: path.display().to_string(),
            line: String::new(),
        })
    }

    /// The next line without its end.
    fn next(&mut self) -> Result<Option<&str>> {
        self.line.clear();
        let read = io::Read::take(&mut self.reader, LONGEST).read_line(&mut self.line);
        match read {
            Ok(0) => Ok(None),
            Ok(_) => Ok(Some(self.line.trim_end_matches('\n'))),
            // Whatever is no gzip, no text or cut off.
            Err(cause) if cause.kind() != io::ErrorKind::NotFound => {
                Err(Error::Invalid(Text::new("backup.broken").with("path", &self.path)))
            }
            Err(cause) => Err(unreadable(&self.path, cause)),
        }
    }
}

fn unreadable(path: &str, cause: io::Error) -> Error {
    Error::Invalid(Text::new("backup.unreadable").with("path", path).with("cause", cause))
}

/// # Errors
/// [`Error::Conflict`] when somebody keeps something in the database.
pub async fn is_empty(db: &Db) -> Result<()> {
    let mut conn = db.own_conn().await?;
    db.check_version(&mut conn).await?;
    let all = tables::all(&mut conn).await?;
    // Tables of somebody else under our names would be emptied.
    if !all.is_empty() && migrations::found(&mut conn).await.is_err() {
        let names: Vec<&str> = all.iter().map(|table| table.name).collect();
        let text = Text::new("backup.foreign_tables").with("place", &db.place);
        return Err(Error::Conflict(text.with("tables", names.join(", "))));
    }
    is_unused(&mut conn, &all, db).await
}

async fn is_unused(conn: &mut impl Queryable, all: &[Table], db: &Db) -> Result<()> {
    for table in all.iter().filter(|table| ["cluster", "account"].contains(&table.name)) {
        let row: Option<u8> = conn
            .query_first(format!("select 1 from `{}` limit 1", table.name))
            .await?;
        if row.is_some() {
            return Err(Error::Conflict(Text::new("backup.not_empty").with("place", &db.place)));
        }
    }
    Ok(())
}

/// Brings everything from a file that was judged into an empty database: all of it, or nothing. From a file that `is_old`,
/// nobody is signed in and nothing waits to be sent: both may have ended since it was made.
///
/// # Errors
/// [`Error::Conflict`] when the database is not empty; [`Error::Invalid`] when what is in it afterwards is not what was
/// saved, or the database refuses it.
pub async fn read(db: &Db, (path, whole): (&Path, &Whole), is_old: bool, bar: &ProgressBar) -> Result<()> {
    is_empty(db).await?;
    migrations::run_to(db, whole.schema).await?;
    let mut conn = db.patient_conn().await?;
    if migrations::found(&mut conn).await? > whole.schema {
        return Err(Error::Conflict(Text::new("backup.not_empty").with("place", &db.place)));
    }
    let all = tables::all(&mut conn).await?;
    conn.query_drop("set session foreign_key_checks = 0, unique_checks = 0")
        .await?;
    let mut tx = conn.start_transaction(TxOpts::default()).await?;
    // A server may have been started on it meanwhile.
    is_unused(&mut tx, &all, db).await?;
    fill(&mut tx, &all, path, bar, whole.statements).await?;
    if contents(&mut tx, &all, whole).await? != whole.tables {
        return Err(Error::Invalid(
            Text::new("backup.not_the_same").with("place", &db.place),
        ));
    }
    if is_old {
        tx.query_drop("delete from jump").await?;
        tx.query_drop("delete from session").await?;
        tx.query_drop("update notice set state = 'spared', ended_at = utc_timestamp(6) where state = 'waiting'")
            .await?;
    }
    tx.commit().await?;
    conn.disconnect().await?;
    migrations::run(db).await?;
    bar.finish_and_clear();
    Ok(())
}

async fn fill(tx: &mut Transaction<'_>, all: &[Table], path: &Path, bar: &ProgressBar, statements: u64) -> Result<()> {
    // What the migrations put there themselves.
    for table in all {
        tx.query_drop(format!("delete from `{}`", table.name)).await?;
    }
    bar.set_length(statements);
    let known: Vec<String> = all
        .iter()
        .map(|table| format!("insert into `{}` (", table.name))
        .collect();
    let mut lines = Lines::open(path)?;
    while let Some(line) = lines.next()? {
        if line.starts_with(REMARK) {
            continue;
        }
        if !known.iter().any(|start| line.starts_with(start)) {
            return Err(Error::Invalid(Text::new("backup.broken").with("path", path.display())));
        }
        tx.query_drop(line).await?;
        bar.inc(1);
    }
    Ok(())
}

/// What is in the tables that were saved.
async fn contents(conn: &mut impl Queryable, all: &[Table], whole: &Whole) -> Result<Tables> {
    let mut tables = Tables::default();
    for table in all.iter().filter(|table| whole.tables.0.contains_key(table.name)) {
        let mut content = Content::default();
        let sql = format!("select {} from `{}`", table.list(), table.name);
        let mut rows = conn.exec_iter(sql, ()).await?;
        while let Some(row) = rows.next().await? {
            let row: Row = row;
            content.add(&tables::written(&row));
        }
        tables.0.insert(table.name.to_owned(), content);
    }
    Ok(tables)
}
