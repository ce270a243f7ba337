//! The home page: the picture of clusters over their shared database, what needs attention, and the way to get there.

pub mod queries;

use std::sync::Arc;

use askama::Template;
use poem::web::Data;
use poem::{EndpointExt, Request, Response, handler};

use crate::app::App;
use crate::clusters::check::queries::Told;
use crate::error::Result;
use crate::i18n::Text;
use crate::liveness::State;
use crate::people::access::{Access, Address, get};
use crate::people::{Role, Viewer};
use crate::web::fresh::{Lists, since};
use crate::web::{Hx, filters};
use queries::{Column, Counts, MANY, Named};

/// As many columns as a picture can have; more are a table.
const DRAWN: usize = 6;
/// Width of a column with the gap beside it, in the picture's units.
const STEP: usize = 216;

pub fn routes() -> Vec<Address> {
    vec![get("/home", Access::Signed, show.data(Arc::new(Lists::<Home>::new())))]
}

/// The page; its block `home` is the fragment.
#[derive(Template)]
#[template(path = "system/home.html", blocks = ["home"])]
pub struct Home {
    columns: Vec<Column>,
    counts: Counts,
    names: Vec<Named>,
    has_shared_database: bool,
    database: String,
}

/// Something somebody should do, and where.
#[derive(Debug)]
struct Matter {
    text: Text,
    link: String,
    is_urgent: bool,
}

impl Matter {
    fn new(text: Text, link: impl Into<String>) -> Matter {
        Matter {
            text,
            link: link.into(),
            is_urgent: true,
        }
    }

    fn minor(self) -> Matter {
        Matter {
            is_urgent: false,
            ..self
        }
    }
}

/// One step of setting a system up.
struct Step {
    text: &'static str,
    link: &'static str,
    is_done: bool,
}

/// `GET /home`: for admins; members have their workspaces.
#[handler]
async fn show(
    hx: Hx,
    viewer: Viewer,
    app: Data<&App>,
    homes: Data<&Arc<Lists<Home>>>,
    req: &Request,
) -> Result<Response> {
    if viewer.role < Role::SystemAdmin {
        return Ok(hx.see_other("/workspaces"));
    }
    // Nothing of it depends on its address or on which part is asked for.
    let key = (String::new(), true, String::new());
    let page = homes.read(key, since(req), || Home::load(&app)).await?;
    hx.render(&*page, &page.as_home())
}

impl Home {
    /// # Errors
    /// [`crate::error::Error::Unavailable`] while the database does not answer.
    pub async fn load(app: &App) -> Result<Home> {
        let mut conn = app.db.conn().await?;
        let columns = queries::columns(&mut conn).await?;
        let drawn: Vec<&str> = match columns.len() <= DRAWN {
            true => columns.iter().map(|column| column.install_id.as_str()).collect(),
            false => Vec::new(),
        };
        Ok(Home {
            names: queries::names(&mut conn, &drawn).await?,
            counts: queries::counts(&mut conn).await?,
            columns,
            has_shared_database: app.config.database.is_some(),
            database: app.db.place.clone(),
        })
    }

    /// What needs attention, the urgent first; empty when everything is covered.
    fn matters(&self) -> Vec<Matter> {
        let counts = &self.counts;
        let counted = |key, count: u64, link: &str| {
            (count > 0).then(|| Matter::new(Text::new(key).with("count", many(count)), link))
        };
        let mut matters: Vec<Matter> = [
            counted("home.conflicts", counts.conflicts, "/clusters"),
            counted("home.unwatched_assets", counts.unwatched_assets, "/assets?cluster=none"),
            counted("home.changed_assets", counts.changed_assets, "/assets?state=changed"),
            counted("home.down_assets", counts.down_assets, "/assets?state=down"),
            counted("home.unknown_assets", counts.unknown_assets, "/assets?state=unknown"),
            counted("home.degraded_assets", counts.degraded_assets, "/assets?state=degraded").map(Matter::minor),
            counted("home.unbound_groups", counts.unbound_groups, "/groups"),
            counted("home.uncovered_groups", counts.uncovered_groups, "/groups"),
            counted(
                "home.unbound_workspaces",
                counts.unbound_workspaces,
                "/workspaces?cluster=none",
            ),
            counted(
                "home.stranded_workspaces",
                counts.stranded_workspaces,
                "/workspaces?cluster=offline",
            ),
        ]
        .into_iter()
        .flatten()
        .collect();
        matters.extend(self.columns.iter().flat_map(|column| self.of_cluster(column)));
        matters.sort_by_key(|matter| !matter.is_urgent);
        matters
    }

    fn of_cluster(&self, column: &Column) -> Vec<Matter> {
        let link = format!("/clusters/{}", column.install_id);
        let text = |key| Text::new(key).with("name", &column.name);
        let mut matters = Vec::new();
        if column.state == State::Duplicate {
            matters.push(Matter::new(text("home.duplicate"), &link));
        } else if !column.is_alive {
            let away = Matter::new(text("home.away").with_text("state", column.state.name()), &link);
            let is_needed = column.workspaces + column.groups > 0;
            matters.push(if is_needed { away } else { away.minor() });
        }
        match &column.check {
            Some(check) if check.is_bad() && column.is_alive => {
                matters.push(Matter::new(text("home.address").with_text("why", check.name()), &link));
            }
            _ if column.address.is_empty() && self.counts.clusters > 1 => {
                matters.push(Matter::new(text("home.no_address"), format!("{link}/edit")).minor());
            }
            _ => {}
        }
        matters
    }

    /// The document's order, ticked off by what is.
    fn steps(&self) -> [Step; 6] {
        let counts = &self.counts;
        let step = |text, link, is_done| Step { text, link, is_done };
        let has_addresses = self
            .columns
            .iter()
            .all(|column| !column.is_alive || !column.address.is_empty());
        [
            step("home.step_database", "/settings", self.has_shared_database),
            step("home.step_second", "/clusters", counts.clusters > 1),
            step(
                "home.step_ids",
                "/settings",
                counts.clusters > 1 && counts.conflicts == 0,
            ),
            step("home.step_groups", "/groups", counts.unbound_groups == 0),
            step("home.step_addresses", "/clusters", counts.clusters > 1 && has_addresses),
            step("home.step_workspaces", "/workspaces", counts.unbound_workspaces == 0),
        ]
    }

    fn is_set_up(&self) -> bool {
        self.steps().iter().all(|step| step.is_done)
    }

    fn is_drawn(&self) -> bool {
        !self.columns.is_empty() && self.columns.len() <= DRAWN
    }

    /// How many are not named here.
    fn more(&self) -> u64 {
        self.counts.clusters.saturating_sub(self.columns.len() as u64)
    }

    /// What is bound to no cluster has a column of its own.
    fn has_unbound(&self) -> bool {
        self.counts.unbound_workspaces + self.counts.unbound_groups > 0
    }

    fn width(&self) -> usize {
        (self.columns.len() + usize::from(self.has_unbound())) * STEP + 16
    }

    /// The left edge of a cluster's column; what is bound to none stands before them.
    fn column_x(&self, place: &usize) -> usize {
        (place + usize::from(self.has_unbound())) * STEP + 16
    }

    /// The first of a kind, and how many more there are.
    fn first(&self, column: &Column, kind: &str) -> (Vec<&Named>, u64) {
        let all = self.names.iter();
        let names: Vec<&Named> = all
            .filter(|named| named.install_id == column.install_id && named.kind == kind)
            .collect();
        let total = if kind == "group" {
            column.groups
        } else {
            column.workspaces
        };
        let more = total.saturating_sub(names.len() as u64);
        (names, more)
    }

    fn cut(&self, text: &str, most: usize) -> String {
        short(text, most)
    }

    fn unwatched(&self) -> String {
        many(self.counts.unwatched_assets)
    }

    fn is_fine(&self, column: &Column) -> bool {
        !column.check.as_ref().is_some_and(Told::is_bad)
    }
}

/// A number that is counted no further than [`MANY`].
fn many(count: u64) -> String {
    if count < MANY {
        count.to_string()
    } else {
        format!("{count}+")
    }
}

/// The start of a text that fits a width; a Chinese character counts two.
fn short(text: &str, most: usize) -> String {
    let width = |c: char| if c.is_ascii() && !"WMQGO@%".contains(c) { 1 } else { 2 };
    if text.chars().map(width).sum::<usize>() <= most {
        return text.to_owned();
    }
    let mut used = 1;
    let fits = |c: &char| {
        used += width(*c);
        used <= most
    };
    text.chars().take_while(fits).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::short;

    #[test]
    fn a_text_is_cut_by_its_width() {
        assert_eq!(short("华东构建集群", 12), "华东构建集群");
        assert_eq!(short("华东构建集群", 11), "华东构建集…");
        assert_eq!(short("abcdef", 4), "abc…");
    }
}
