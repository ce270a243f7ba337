//! The page to import a CSV: first what it would do, then doing exactly that.
//!
//! The file is sent both times and kept nowhere in between: it may hold passwords, and what is not kept cannot leak, needs no
//! key and no cleaning up, and works whichever server answers. With scripts the browser keeps the chosen file, since only the
//! report is replaced; without them it is chosen again. A fingerprint of the file and of what was shown makes sure that
//! nothing else is done.

use askama::Template;
use poem::http::StatusCode;
use poem::web::Data;
use poem::{Response, handler};

use super::carry::{self, Done};
use super::columns::label;
use super::file;
use super::plan::{self, Line, Plan, Verdict};
use crate::app::App;
use crate::assets::described::Choices;
use crate::error::{Error, Result};
use crate::groups::queries as groups;
use crate::i18n::Text;
use crate::people::Viewer;
use crate::web::{Form, Hx, filters};

/// Lines of the report that are shown; all are counted.
const SHOWN: usize = 200;

#[derive(Template, Default)]
#[template(path = "assets/transfer/import.html", blocks = ["report"])]
struct Import {
    /// What was pasted, if it can hold no secret.
    pasted: String,
    /// Why nothing can be said or done.
    mistake: Option<Text>,
    unknown: Vec<String>,
    plan: Option<Plan>,
    /// Groups that are made now will have no cluster, as there are several to choose from.
    leaves_unbound: bool,
    done: Option<Done>,
    /// Lines up to this one are done already.
    after: u64,
}

/// What is shown of a line.
struct Shown<'a> {
    line: &'a Line,
    colour: &'static str,
    word: &'static str,
    why: Vec<(Text, Option<Text>)>,
}

/// `GET /assets/import`
#[handler]
pub fn new(hx: Hx) -> Result<Response> {
    let page = Import::default();
    hx.render(&page, &page.as_report())
}

/// `POST /assets/import`: looks, and imports when what it finds is what was shown.
#[handler]
pub async fn create(hx: Hx, viewer: Viewer, app: Data<&App>, form: Form) -> Result<Response> {
    let bytes = match form.file() {
        [] => form.exact("text").as_bytes(),
        file => file,
    };
    let mut page = Import::default();
    if form.text("step") == "import" {
        page.after = form.text("after").parse().unwrap_or(0);
    }
    match page.work(&viewer, &app, (&form, bytes)).await {
        Ok(()) => {}
        Err(Error::Invalid(text) | Error::Conflict(text)) => page.mistake = Some(text),
        Err(error) => return Err(error),
    }
    let status = match page.mistake {
        Some(_) => StatusCode::UNPROCESSABLE_ENTITY,
        None => StatusCode::OK,
    };
    hx.answer(status, &page, &page.as_report())
}

impl Import {
    async fn work(&mut self, viewer: &Viewer, app: &App, (form, bytes): (&Form, &[u8])) -> Result<()> {
        let table = file::read(bytes).map_err(Error::Invalid)?;
        if !table.has_secrets {
            form.exact("text").clone_into(&mut self.pasted);
        }
        self.unknown.clone_from(&table.unknown);
        let mut conn = app.db.conn().await?;
        let choices = Choices::load(&mut conn, viewer).await?;
        let plan = plan::make(&mut conn, &choices, (bytes, &table), self.after).await?;
        self.leaves_unbound = !plan.groups.is_empty() && !groups::is_one_cluster(&mut conn).await?;
        let shown = form.text("fingerprint");
        let is_same = shown == plan.fingerprint;
        self.plan = Some(plan);
        match (form.text("step"), &self.plan) {
            ("import", Some(plan)) if is_same => {
                let done = match carry::carry_out(&mut conn, (app, viewer), &choices, plan).await {
                    Ok(done) => done,
                    // What was shown is not true any more.
                    Err(error) => {
                        self.plan = None;
                        return Err(error);
                    }
                };
                if let Some(after) = done.stopped_after {
                    self.after = after;
                    let rest = Choices::load(&mut conn, viewer).await?;
                    self.plan = Some(plan::make(&mut conn, &rest, (bytes, &table), after).await?);
                }
                self.done = Some(done);
            }
            ("import", _) => self.mistake = Some(Text::new("transfer.other_file")),
            _ => {}
        }
        Ok(())
    }

    /// Whether there is something that pressing the button would do.
    fn can_import(&self) -> bool {
        let is_over = self.done.as_ref().is_some_and(|done| done.stopped_after.is_none());
        !is_over && self.deeds() > 0
    }

    fn deeds(&self) -> usize {
        self.lines().iter().filter(|line| line.verdict.deed().is_some()).count()
    }

    /// How many new ones are not alone at their address, if any.
    fn shared(&self) -> Option<Text> {
        let deeds = self.lines().iter().filter_map(|line| line.verdict.deed());
        let count = deeds.filter(|deed| deed.shares).count();
        (count > 0).then(|| Text::new("transfer.shared").with("count", count))
    }

    fn lines(&self) -> &[Line] {
        self.plan.as_ref().map_or(&[], |plan| &plan.lines)
    }

    /// How many of each, as words.
    fn counts(&self) -> [(&'static str, Text); 4] {
        let count = |rank| self.lines().iter().filter(|line| line.rank() == rank).count();
        [0, 1, 2, 3].map(|rank| {
            let text = Text::new("transfer.count").with_text("word", Text::new(WORDS[rank]));
            (COLOURS[rank], text.with("count", count(rank)))
        })
    }

    /// The first lines: those that are refused, then those that change something.
    fn shown(&self) -> Vec<Shown<'_>> {
        let mut lines: Vec<&Line> = self.lines().iter().collect();
        lines.sort_by_key(|line| line.rank());
        lines.into_iter().take(SHOWN).map(Shown::of).collect()
    }

    fn hidden(&self) -> usize {
        self.lines().len().saturating_sub(SHOWN)
    }
}

/// By rank.
const WORDS: [&str; 4] = ["transfer.refused", "transfer.changed", "transfer.new", "transfer.same"];
const COLOURS: [&str; 4] = ["red", "yellow", "blue", "secondary"];

impl Line {
    /// In which order people have to look at them.
    fn rank(&self) -> usize {
        match self.verdict {
            Verdict::Refused(_) => 0,
            Verdict::Changed(..) => 1,
            Verdict::New(_) => 2,
            Verdict::Unchanged => 3,
        }
    }
}

impl Shown<'_> {
    fn of(line: &Line) -> Shown<'_> {
        let rank = line.rank();
        Shown {
            line,
            colour: COLOURS[rank],
            word: WORDS[rank],
            why: match &line.verdict {
                Verdict::Refused(why) => why
                    .iter()
                    .map(|(column, why)| (column.clone(), Some(why.clone())))
                    .collect(),
                Verdict::Changed(columns, _) => columns.iter().map(|column| (label(column), None)).collect(),
                Verdict::New(deed) if deed.shares => vec![(label("address"), Some(Text::new("transfer.shares")))],
                Verdict::New(_) | Verdict::Unchanged => Vec::new(),
            },
        }
    }
}
