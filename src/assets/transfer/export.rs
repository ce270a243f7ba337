//! All that a filter leaves, as CSV, read and sent piece by piece; and an empty file to begin with.

use std::collections::HashMap;
use std::time::Duration;

use futures_util::stream;
use poem::http::header;
use poem::web::Data;
use poem::{Body, Request, Response, handler};
use tokio::time::timeout;

use super::columns::{OUT, is_of, label};
use crate::app::App;
use crate::assets::credentials::queries as credentials;
use crate::assets::credentials::secrets;
use crate::assets::kind::{Kind, Settings};
use crate::assets::list::{Narrowed, Wanted};
use crate::assets::queries::Row;
use crate::assets::search;
use crate::error::{Error, Result};
use crate::groups::queries as groups;
use crate::web::Hx;
use crate::web::cell::quoted;

/// Assets read from the database at once.
const CHUNK: usize = 500;
/// How long each of these reads may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is still to be sent.
struct Rest {
    app: App,
    wanted: Wanted,
    /// The groups that the filters leave, and the names of all.
    narrowed: Option<Narrowed>,
    names: HashMap<u32, String>,
    is_begun: bool,
}

/// `GET /assets/export`: no secret is in it, so what comes in again has to bring its own.
#[handler]
pub async fn download(app: Data<&App>, req: &Request) -> Result<Response> {
    let mut wanted = Wanted::parse(req.uri().query().unwrap_or_default());
    wanted.place = None;
    let groups = groups::all(&mut app.db.conn().await?).await?;
    let rest = Rest {
        app: app.clone(),
        narrowed: wanted.narrowed(&groups),
        wanted,
        names: groups.into_iter().map(|group| (group.group_id, group.name)).collect(),
        is_begun: false,
    };
    let pieces = stream::try_unfold(Some(rest), |rest| async move {
        match rest {
            None => Ok::<_, std::io::Error>(None),
            Some(rest) => rest.piece().await.map(Some).map_err(std::io::Error::other),
        }
    });
    Ok(file("muster-assets.csv", Body::from_bytes_stream(pieces)))
}

fn file(name: &str, body: Body) -> Response {
    Response::builder()
        .content_type("text/csv; charset=utf-8")
        .header(header::CONTENT_DISPOSITION, format!("attachment; filename=\"{name}\""))
        .body(body)
}

/// The mark at the start makes spreadsheets read it as UTF-8.
fn head(columns: &[&str]) -> String {
    format!("\u{feff}{}\r\n", columns.join(","))
}

impl Rest {
    /// The next piece, and what is left after it.
    async fn piece(mut self) -> Result<(String, Option<Rest>)> {
        if !self.is_begun {
            self.is_begun = true;
            return Ok((head(&OUT), Some(self)));
        }
        let (rows, users) = timeout(PATIENCE, self.read())
            .await
            .unwrap_or_else(|_| Err(Error::timed_out("no answer within 10 s")))?;
        let lines: Result<Vec<String>> = rows.iter().map(|row| self.line(row, &users)).collect();
        let next = rows.last().filter(|_| rows.len() == CHUNK);
        let next = next.map(|row| self.wanted.after(row));
        let csv = lines?.concat();
        Ok((csv, next.map(|wanted| Rest { wanted, ..self })))
    }

    /// Assets, and by the ids of credentials their names, if they have one, and users.
    async fn read(&self) -> Result<(Vec<Row>, HashMap<String, (Option<String>, String)>)> {
        let mut conn = self.app.db.conn().await?;
        // It reads one more than is asked for.
        let rows = search::page(&mut conn, &self.wanted, self.narrowed.as_ref(), CHUNK - 1).await?;
        let used: Vec<&str> = rows.iter().filter_map(|row| row.credential_id.as_deref()).collect();
        let about = credentials::about_all(&mut conn, &used).await?;
        let users = about.into_iter().map(|(id, name, user)| (id, (name, user))).collect();
        Ok((rows, users))
    }

    fn line(&self, row: &Row, users: &HashMap<String, (Option<String>, String)>) -> Result<String> {
        let mut cells = Settings::read(row.kind, &row.settings)?.fields();
        let credential = row.credential_id.as_ref().and_then(|id| users.get(id));
        let (credential, user) = match credential {
            // Whom a named one logs in as is said by that one.
            Some((Some(name), _)) => (name.clone(), String::new()),
            Some((None, user)) => (String::new(), user.clone()),
            None => (String::new(), String::new()),
        };
        cells.extend([
            ("kind", row.kind.code().to_owned()),
            ("name", row.name.clone()),
            ("group", self.names.get(&row.group_id).cloned().unwrap_or_default()),
            ("user", user),
            ("credential", credential),
            ("interval_s", row.interval_s.to_string()),
            ("timeout_s", row.timeout_s.to_string()),
            ("retries", row.retries.to_string()),
            ("paused", if row.is_paused { "yes" } else { "" }.to_owned()),
        ]);
        Ok(line(&OUT, &cells))
    }
}

/// Cells in the order of the columns; those that are missing are empty.
fn line(columns: &[&str], cells: &[(&'static str, String)]) -> String {
    let cell = |column: &&str| {
        let found = cells.iter().find(|(known, _)| known == column);
        quoted(found.map_or("", |(_, cell)| cell))
    };
    let cells: Vec<String> = columns.iter().map(cell).collect();
    format!("{}\r\n", cells.join(","))
}

/// `GET /assets/import/sample`: the columns that may come in, what they are called, and a line of each kind.
#[handler]
pub fn sample(hx: Hx) -> Response {
    let columns: Vec<&str> = OUT.into_iter().chain(secrets()).collect();
    let said: Vec<(&'static str, String)> = columns
        .iter()
        .map(|column| (*column, label(column).say(hx.layout.lang)))
        .collect();
    let mut csv = head(&columns);
    csv.push_str(&remark(&line(&columns, &said)));
    for kind in Kind::ALL {
        csv.push_str(&remark(&line(&columns, &example(kind))));
    }
    file("muster-assets-sample.csv", csv.into())
}

/// A line that is not read.
fn remark(line: &str) -> String {
    format!("#{line}")
}

fn example(kind: Kind) -> Vec<(&'static str, String)> {
    let place = match kind {
        Kind::Machine => ("address", "http://10.0.0.1:9100"),
        Kind::Ssh => ("host", "10.0.0.2"),
        Kind::Docker => ("address", "tcp://10.0.0.3:2376"),
    };
    let own = [place, ("kind", kind.code()), ("name", kind.code())];
    let mut cells: Vec<(&'static str, String)> = own.map(|(column, cell)| (column, cell.to_owned())).into();
    let usual = Settings::usual(kind).fields();
    cells.extend(
        usual
            .into_iter()
            .filter(|(column, _)| is_of(kind, column) && *column != place.0),
    );
    cells.push(("interval_s", kind.usual_interval().to_string()));
    cells
}
