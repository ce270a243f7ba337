//! What a file would do, line by line: nothing is changed here.

use std::collections::HashMap;

use mysql_async::Conn;
use sha2::{Digest, Sha256};

use super::columns::{self, is_of, is_secret, label};
use super::file::{Cells, Table};
use super::queries;
use super::twins::{Lines, Meant, Place};
use crate::assets::credentials::queries as credentials;
use crate::assets::described::{Choices, Said, Saved};
use crate::assets::kind::{Kind, Settings};
use crate::error::Result;
use crate::groups::{name_key, name_mistake};
use crate::i18n::Text;
use crate::web::{Form, Mistakes};

/// Lines that are looked up in the database together.
const PIECE: usize = 500;
/// Of several assets at one address so many are named.
const MOST_NAMED: usize = 5;

/// What each line would do, in the order of the file.
#[derive(Debug)]
pub struct Plan {
    pub lines: Vec<Line>,
    /// The groups that would be made, each once, as they are first written.
    pub groups: Vec<String>,
    /// Of the file and of all that it would do: what was shown and what is done are the same.
    pub fingerprint: String,
}

#[derive(Debug)]
pub struct Line {
    pub number: u64,
    pub name: String,
    pub verdict: Verdict,
}

#[derive(Debug)]
pub enum Verdict {
    /// In which columns, and why.
    Refused(Vec<(Text, Text)>),
    /// In which columns.
    Changed(Vec<&'static str>, Box<Deed>),
    New(Box<Deed>),
    Unchanged,
}

/// What is done for one line.
#[derive(Debug)]
pub struct Deed {
    /// None for a new asset.
    pub saved: Option<Saved>,
    pub said: Said,
    /// For a new one, who else was at its address when it was judged.
    pub beside: Vec<u32>,
    /// A new one that is not alone at its address, be the other one saved or another line.
    pub shares: bool,
    /// The name of a group that has to be made first.
    pub group: Option<String>,
    /// Pause it, or resume it.
    pub pause: Option<bool>,
}

type Known = HashMap<Place, Vec<Saved>>;

/// What the lines behind `after` would do.
///
/// # Errors
/// Those of the database.
pub async fn make(conn: &mut Conn, choices: &Choices, (bytes, table): (&[u8], &Table), after: u64) -> Result<Plan> {
    let mut lines = Vec::new();
    let places: Vec<Option<Place>> = table.lines.iter().map(place).collect();
    let all = Lines::of(table.lines.iter().zip(places.iter().map(Option::as_ref)));
    for (piece, places) in table.lines.chunks(PIECE).zip(places.chunks(PIECE)) {
        let behind = piece.last().is_some_and(|cells| cells.number > after);
        if !behind {
            continue;
        }
        let known = known(conn, places.iter().flatten()).await?;
        for (cells, place) in piece.iter().zip(places) {
            if cells.number <= after {
                continue;
            }
            let saved = { place.as_ref() }.and_then(|place| known.get(place));
            let saved = saved.map_or(&[] as &[Saved], Vec::as_slice);
            let meant = { place.as_ref() }.map_or(Meant::New, |place| all.meant(place, cells.number, saved));
            let mut verdict = judged(choices, cells, (saved, meant))?;
            if let Verdict::New(deed) = &mut verdict {
                deed.shares = !saved.is_empty() || place.as_ref().is_some_and(|place| all.are_several(place));
            }
            lines.push(Line {
                number: cells.number,
                // In a line that is shifted, anything may stand in its place.
                name: if cells.is_too_long {
                    String::new()
                } else {
                    cells.of("name").chars().take(60).collect()
                },
                verdict,
            });
        }
    }
    Ok(Plan {
        groups: groups(&lines),
        fingerprint: fingerprint(bytes, &lines),
        lines,
    })
}

/// Where a line's asset is; none when it does not say so.
fn place(cells: &Cells) -> Option<Place> {
    let kind = columns::kind(cells.of("kind"))?;
    let mut mistakes = Mistakes::default();
    let form = Form::of(cells.cells.iter().map(|(column, cell)| (*column, cell.as_str())));
    let settings = Settings::typed(kind, &form, &mut mistakes);
    let is_wrong = ["address", "host", "port"]
        .iter()
        .any(|field| mistakes.of(field).is_some());
    (!is_wrong).then(|| (kind, settings.address()))
}

async fn known(conn: &mut Conn, places: impl Iterator<Item = &Place>) -> Result<Known> {
    let addresses: Vec<&str> = places.map(|(_, address)| address.as_str()).collect();
    let rows = queries::at(conn, &addresses).await?;
    let used: Vec<&str> = rows.iter().filter_map(|row| row.credential_id.as_deref()).collect();
    let about = credentials::about_all(conn, &used).await?;
    let own: HashMap<String, String> = about
        .into_iter()
        .filter(|(_, name, _)| name.is_none())
        .map(|(id, _, user)| (id, user))
        .collect();
    let mut known = Known::new();
    for mut row in rows {
        // Many are kept until all is done, and these are long.
        (row.facts, row.latencies) = (None, String::new());
        let user = row.credential_id.as_ref().and_then(|id| own.get(id));
        let saved = Saved {
            has_own_secret: user.is_some(),
            user: user.cloned().unwrap_or_default(),
            row,
        };
        let place = (saved.row.kind, saved.row.address.clone());
        known.entry(place).or_default().push(saved);
    }
    Ok(known)
}

fn judged(choices: &Choices, cells: &Cells, (there, meant): (&[Saved], Meant)) -> Result<Verdict> {
    let mut wrong = Vec::new();
    if cells.is_too_long {
        return Ok(Verdict::Refused(vec![(label("kind"), Text::new("transfer.shifted"))]));
    }
    let Some(kind) = columns::kind(cells.of("kind")) else {
        let words: Vec<&str> = Kind::ALL.into_iter().map(Kind::code).collect();
        let why = Text::new("transfer.wrong_word").with("words", words.join(", "));
        return Ok(Verdict::Refused(vec![(label("kind"), why)]));
    };
    let address = label(if kind == Kind::Ssh { "host" } else { "address" });
    let saved = match meant {
        Meant::New => None,
        Meant::Saved(at) => there.get(at),
        Meant::Again(first) => {
            let why = Text::new("transfer.same_line").with("line", first);
            return Ok(Verdict::Refused(vec![(address, why)]));
        }
        Meant::Unclear => {
            let names: Vec<&str> = there
                .iter()
                .take(MOST_NAMED)
                .map(|saved| saved.row.name.as_str())
                .collect();
            let why = Text::new("transfer.unclear").with("names", names.join(", "));
            return Ok(Verdict::Refused(vec![(address, why)]));
        }
    };
    let (form, group) = form(choices, (kind, cells), saved, &mut wrong)?;
    let mut mistakes = Mistakes::default();
    let said = choices.read(kind, &form, saved, &mut mistakes)?;
    wrong.extend(mistakes.all().iter().map(|(field, text)| (label(field), text.clone())));
    if !wrong.is_empty() {
        return Ok(Verdict::Refused(wrong));
    }
    let is_paused = saved.is_some_and(|saved| saved.row.is_paused);
    let pause = match columns::plain("paused", cells.of("paused")).as_deref() {
        Ok("yes") => Some(true),
        Ok("no") => Some(false),
        _ => None,
    };
    let deed = Box::new(Deed {
        saved: saved.cloned(),
        beside: match saved {
            Some(_) => Vec::new(),
            None => there.iter().map(|saved| saved.row.asset_id).collect(),
        },
        shares: false,
        said,
        group,
        pause: pause.filter(|wanted| *wanted != is_paused),
    });
    Ok(match saved {
        None => Verdict::New(deed),
        Some(saved) => match differences(cells, saved, &deed)? {
            none if none.is_empty() => Verdict::Unchanged,
            changed => Verdict::Changed(changed, deed),
        },
    })
}

/// What a form would hold: what is saved or usual, and over it what the line says. An empty cell leaves things as they are.
/// Also the group that has to be made first.
fn form(
    choices: &Choices,
    (kind, cells): (Kind, &Cells),
    saved: Option<&Saved>,
    wrong: &mut Vec<(Text, Text)>,
) -> Result<(Form, Option<String>)> {
    let mut form = choices.fields(kind, saved.map(|saved| &saved.row))?;
    if let Some(saved) = saved {
        form.set("user", &saved.user);
    }
    let mut group = None;
    let names_credential = !cells.of("credential").is_empty();
    for (column, cell) in &cells.cells {
        if !is_of(kind, column) {
            wrong.push((label(column), Text::new("transfer.not_of_kind")));
            continue;
        }
        match *column {
            "kind" => {}
            "group" => group = choose_group(choices, &mut form, cell, wrong),
            "credential" => choose_credential(choices, &mut form, cell, wrong),
            own if own == "user" || is_secret(own) => {
                if names_credential {
                    wrong.push((label(own), Text::new("transfer.own_or_named")));
                }
                form.set("credential_id", "");
                form.set(own, cell);
            }
            other => match columns::plain(other, cell) {
                Ok(cell) => form.set(other, &cell),
                Err(why) => wrong.push((label(other), why)),
            },
        }
    }
    Ok((form, group))
}

fn choose_group(choices: &Choices, form: &mut Form, cell: &str, wrong: &mut Vec<(Text, Text)>) -> Option<String> {
    let name = cell.trim();
    let found = choices
        .groups
        .iter()
        .find(|group| name_key(&group.name) == name_key(name));
    match (found, name_mistake(name)) {
        (Some(group), _) => form.set("group_id", &group.group_id.to_string()),
        (None, Some(mistake)) => wrong.push((label("group"), mistake)),
        (None, None) => return Some(name.to_owned()),
    }
    None
}

fn choose_credential(choices: &Choices, form: &mut Form, cell: &str, wrong: &mut Vec<(Text, Text)>) {
    let found = choices
        .credentials
        .iter()
        .find(|known| name_key(&known.name) == name_key(cell));
    match found {
        Some(credential) => form.set("credential_id", &credential.credential_id),
        None => wrong.push((label("credential"), Text::new("credentials.missing"))),
    }
}

/// The columns in which an asset would be another. A secret in the file counts always: it is not compared, so that nobody
/// finds out by trying.
fn differences(cells: &Cells, saved: &Saved, deed: &Deed) -> Result<Vec<&'static str>> {
    let (row, said) = (&saved.row, &deed.said.described);
    let before = Settings::read(row.kind, &row.settings)?.fields();
    let after = Settings::read(said.kind, &said.settings)?.fields();
    let settings = before.iter().zip(&after).filter(|(before, after)| before != after);
    let named = row.credential_id.as_ref().filter(|_| !saved.has_own_secret);
    let user = deed.said.typed.user();
    let rest = [
        ("name", row.name != said.name),
        ("group", deed.group.is_some() || row.group_id != said.group_id),
        ("user", said.credential_id.is_none() && saved.user != user),
        ("credential", named != said.credential_id.as_ref()),
        ("interval_s", row.interval_s != said.interval_s),
        ("timeout_s", row.timeout_s != said.timeout_s),
        ("retries", row.retries != said.retries),
        ("paused", deed.pause.is_some()),
    ];
    let secrets = cells
        .cells
        .iter()
        .map(|(column, _)| *column)
        .filter(|column| is_secret(column));
    let rest = rest
        .into_iter()
        .filter(|(_, differs)| *differs)
        .map(|(column, _)| column);
    let settings = settings.map(|((column, _), _)| *column);
    Ok(settings.chain(rest).chain(secrets).collect())
}

impl Verdict {
    pub fn deed(&self) -> Option<&Deed> {
        match self {
            Verdict::New(deed) | Verdict::Changed(_, deed) => Some(deed),
            Verdict::Refused(_) | Verdict::Unchanged => None,
        }
    }
}

fn groups(lines: &[Line]) -> Vec<String> {
    let mut groups: Vec<String> = Vec::new();
    let wanted = lines.iter().filter_map(|line| line.verdict.deed()?.group.as_ref());
    for name in wanted {
        if !groups.iter().any(|known| name_key(known) == name_key(name)) {
            groups.push(name.clone());
        }
    }
    groups
}

fn fingerprint(bytes: &[u8], lines: &[Line]) -> String {
    let mut hash = Sha256::new();
    hash.update(Sha256::digest(bytes));
    for line in lines {
        let (word, columns) = match &line.verdict {
            Verdict::Refused(_) => ("refused", String::new()),
            Verdict::Changed(columns, _) => ("changed", columns.join(" ")),
            Verdict::New(_) => ("new", String::new()),
            Verdict::Unchanged => ("same", String::new()),
        };
        let saved = line.verdict.deed().and_then(|deed| deed.saved.as_ref());
        let row = saved.map(|saved| (saved.row.asset_id, saved.row.row_version));
        hash.update(format!("{} {word} {columns} {row:?}\n", line.number));
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}
