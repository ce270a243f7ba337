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

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use proptest::prelude::*;

    use super::*;
    use crate::odd;

    const HEAD: &str = r#"-- {"muster_backup":1,"schema":1,"program":"0.1.0","made_at":"2026-11-25 08:00:00"}"#;
    const BODY: &str =
        "insert into `cluster` (`install_id`) values ('a'),\\n('b')\ninsert into `account` (`name`) values ('--')";

    fn whole() -> String {
        let text = format!("{HEAD}\n{BODY}\n");
        let foot = Foot {
            tables: Tables::default(),
            sha256: hex(Sha256::new().chain_update(&text)),
        };
        format!("{text}{REMARK}{}\n", serde_json::to_string(&foot).unwrap())
    }

    fn judged(bytes: &[u8]) -> Result<Whole> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        judge(file.path())
    }

    fn zipped(text: &[u8]) -> Vec<u8> {
        let mut out = GzEncoder::new(Vec::new(), Compression::fast());
        out.write_all(text).unwrap();
        out.finish().unwrap()
    }

    #[test]
    fn a_whole_file_is_known_as_one() {
        assert_eq!(judged(&zipped(whole().as_bytes())).unwrap().statements, 2);
    }

    proptest! {
        #![proptest_config(odd::config())]

        #[test]
        fn whatever_a_file_holds_it_is_refused_in_words(
            text in odd::bytes(&[HEAD, "-- {}\n-- {}", "-- {\"muster_backup\":2,\"schema\":1,\"program\":\"9\",\"made_at\":\"\"}"]),
            is_zipped in any::<bool>(),
        ) {
            let bytes = if is_zipped { zipped(&text) } else { text };
            let said = judged(&bytes).unwrap_err().text().say(crate::i18n::Lang::En);
            prop_assert!(said.chars().count() < 800 && !said.contains("%{"), "{}", said);
        }

        #[test]
        fn one_changed_byte_is_found(at in any::<prop::sample::Index>(), byte in any::<u8>(), is_zipped in any::<bool>()) {
            let whole = whole();
            let mut bytes = if is_zipped { zipped(whole.as_bytes()) } else { whole.clone().into_bytes() };
            let at = at.index(bytes.len());
            let before = std::mem::replace(&mut bytes[at], byte);
            let bytes = if is_zipped { bytes } else { zipped(&bytes) };
            // Only what stands before the foot is in the digest, and what is around the packed bytes means nothing.
            let is_in_digest = if is_zipped { at >= 10 } else { at < whole.find("\n-- {\"tables").unwrap() };
            let is_refused = judged(&bytes).is_err();
            prop_assert!(is_refused || !is_in_digest || byte == before);
        }

        #[test]
        fn a_file_that_is_cut_off_is_refused(at in any::<prop::sample::Index>()) {
            let bytes = zipped(whole().as_bytes());
            prop_assert!(judged(&bytes[..at.index(bytes.len())]).is_err());
        }
    }
}
