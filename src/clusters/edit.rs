//! 编辑集群: name, groups and address.

use std::collections::HashSet;

use askama::Template;
use mysql_async::Transaction;
use poem::http::StatusCode;
use poem::web::{Data, Path};
use poem::{Response, handler};

use super::check::{self, queries::Due};
use super::queries::{self, Editable};
use super::{address, missing};
use crate::app::App;
use crate::db::transact;
use crate::error::Result;
use crate::groups::Group;
use crate::groups::bindings::{Named, named, rebind};
use crate::groups::queries as groups;
use crate::i18n::Text;
use crate::people::Viewer;
use crate::people::access::{Access, Address, get, post};
use crate::people::audit::{self, Action, Entry, Object};
use crate::web::form::line_mistake;
use crate::web::{Form, Hx, Mistakes, filters};

const LONGEST_NAME: usize = 50;

pub fn routes() -> Vec<Address> {
    vec![
        get("/clusters/:install_id/edit", Access::SystemAdmin, edit),
        post("/clusters/:install_id", Access::SystemAdmin, update),
    ]
}

#[derive(Template)]
#[template(path = "clusters/edit.html", blocks = ["form"])]
struct Edit {
    install_id: String,
    /// What is saved.
    saved: Editable,
    /// What was typed.
    name: String,
    address: String,
    choices: Vec<Choice>,
    /// Somebody else saved since the form was shown.
    is_late: bool,
    /// What nobody would watch any more, to be agreed to first.
    alone: Vec<Text>,
    mistakes: Mistakes,
}

/// What became of saving.
enum Saving {
    Done,
    /// Somebody else saved name or address since the form was shown.
    Late,
    /// Groups would be left that nobody watches, and nobody agreed to that.
    Alone(Vec<Text>),
}

/// One group in the form.
struct Choice {
    group: Group,
    /// Bound when the form was shown first.
    was: bool,
    is_checked: bool,
    /// The others are unbound.
    moves_here: bool,
}

impl Edit {
    fn of(install_id: &str, saved: Editable, groups: Vec<Group>) -> Edit {
        let choice = |group: Group| {
            let was = group.members.iter().any(|member| member.install_id == install_id);
            Choice {
                group,
                was,
                is_checked: was,
                moves_here: false,
            }
        };
        Edit {
            install_id: install_id.to_owned(),
            name: saved.name.clone(),
            address: saved.address.clone(),
            choices: groups.into_iter().map(choice).collect(),
            saved,
            is_late: false,
            alone: Vec::new(),
            mistakes: Mistakes::default(),
        }
    }

    /// Takes in what was typed.
    fn fill(&mut self, form: &Form) {
        self.name = form.text("name").to_owned();
        self.address = form.text("address").to_owned();
        let [was, checked, moved] = ["was", "group", "move"].map(|name| form.all(name).collect::<HashSet<&str>>());
        for choice in &mut self.choices {
            let id = choice.group.group_id.to_string();
            choice.was = was.contains(id.as_str());
            choice.is_checked = checked.contains(id.as_str());
            choice.moves_here = moved.contains(id.as_str());
        }
        match self.name.is_empty() {
            true => self.mistakes.note("name", Text::new("clusters.name_missing")),
            false => {
                if let Some(mistake) = line_mistake(&self.name, LONGEST_NAME) {
                    self.mistakes.note("name", mistake);
                }
            }
        }
        match address::normal(&self.address) {
            Ok(address) => self.address = address,
            Err(mistake) => self.mistakes.note("address", mistake),
        }
    }
}

impl Choice {
    /// The clusters of the group as it is now, with what the form asks for this one.
    fn wanted<'a>(&self, group: &'a Group, own: (&'a str, &'a str)) -> Named<'a> {
        let mut wanted = named(&group.members);
        let is_bound = wanted.iter().any(|(known, _)| *known == own.0);
        match (self.is_checked, self.moves_here) {
            (true, true) => vec![own],
            (true, false) if is_bound => wanted,
            (true, false) => {
                wanted.push(own);
                wanted
            }
            (false, _) => {
                wanted.retain(|(known, _)| *known != own.0);
                wanted
            }
        }
    }

    /// The other clusters this group is bound to.
    fn others(&self, install_id: &str) -> String {
        let others = self
            .group
            .members
            .iter()
            .filter(|member| member.install_id != install_id);
        others.map(|member| member.name.as_str()).collect::<Vec<_>>().join(", ")
    }
}

/// `GET /clusters/{install_id}/edit`
#[handler]
async fn edit(hx: Hx, app: Data<&App>, Path(install_id): Path<String>) -> Result<Response> {
    let mut conn = app.db.conn().await?;
    let saved = queries::editable(&mut conn, &install_id).await?;
    let saved = saved.ok_or_else(|| missing(&install_id))?;
    let page = Edit::of(&install_id, saved, groups::all(&mut conn).await?);
    hx.render(&page, &page.as_form())
}

/// `POST /clusters/{install_id}`
#[handler]
async fn update(
    hx: Hx,
    viewer: Viewer,
    app: Data<&App>,
    form: Form,
    Path(install_id): Path<String>,
) -> Result<Response> {
    let mut conn = app.db.conn().await?;
    let saved = queries::editable(&mut conn, &install_id).await?;
    let saved = saved.ok_or_else(|| missing(&install_id))?;
    let mut page = Edit::of(&install_id, saved, groups::all(&mut conn).await?);
    page.fill(&form);
    let row_version = form.text("row_version").parse().unwrap_or(u32::MAX);
    if page.mistakes.is_empty() {
        let is_sure = form.text("sure") == "yes";
        match transact!(&mut conn, |tx| save(tx, &app, &viewer, (&page, is_sure), row_version))? {
            Saving::Done => {
                if page.address != page.saved.address {
                    // Whoever sets it wants to know, and to go there.
                    let (install_id, address) = (install_id.clone(), page.address.clone());
                    check::soon(&app, Due { install_id, address });
                }
                return Ok(hx.done(&format!("/clusters/{install_id}"), "said.saved"));
            }
            Saving::Late => {
                page.is_late = true;
                page.saved = queries::editable(&mut conn, &install_id)
                    .await?
                    .ok_or_else(|| missing(&install_id))?;
            }
            Saving::Alone(texts) => {
                page.alone = texts;
                page.saved.row_version = row_version;
            }
        }
    } else {
        // What somebody else saved meanwhile still has to be noticed.
        page.saved.row_version = row_version;
    }
    hx.answer(StatusCode::UNPROCESSABLE_ENTITY, &page, &page.as_form())
}

/// Of the groups only what was changed in the form is changed, so whatever somebody else bound meanwhile stays.
async fn save(
    tx: &mut Transaction<'_>,
    app: &App,
    viewer: &Viewer,
    (page, is_sure): (&Edit, bool),
    row_version: u32,
) -> Result<Saving> {
    let actor = viewer.actor(app);
    let (install_id, name) = (page.install_id.as_str(), page.name.as_str());
    // Groups before clusters, each in one order, as everywhere; and the cluster itself before anything that refers to it,
    // so that its own beat waits and does not meet half a lock.
    let mut changed: Vec<&Choice> = page
        .choices
        .iter()
        .filter(|choice| choice.was != choice.is_checked)
        .collect();
    changed.sort_by_key(|choice| choice.group.group_id);
    let mut locked = Vec::new();
    for choice in changed {
        if let Some(group) = groups::locked(tx, choice.group.group_id).await? {
            locked.push((choice, group));
        }
    }
    let unbound = locked.iter().filter(|(choice, _)| !choice.is_checked);
    let alone: Vec<Text> = unbound
        .filter_map(|(_, group)| group.left_alone_by(install_id))
        .collect();
    if !is_sure && !alone.is_empty() {
        return Ok(Saving::Alone(alone));
    }
    let members = locked.iter().flat_map(|(_, group)| &group.members);
    let ids: Vec<&str> = members
        .map(|member| member.install_id.as_str())
        .chain([install_id])
        .collect();
    groups::hold_clusters(tx, &ids).await?;
    let row = (install_id, row_version);
    if !queries::update(tx, row, (name, &page.address), (&viewer.name, viewer.role.code())).await? {
        return Ok(Saving::Late);
    }
    for (choice, group) in &locked {
        rebind(tx, &actor, group, &choice.wanted(group, (install_id, name))).await?;
    }
    let entry = Entry::by(&actor, Action::ClusterUpdate)
        .on(Object::new("cluster", install_id, &page.saved.name))
        .change("name", &page.saved.name, name)
        .change("address", &page.saved.address, &page.address);
    audit::record(tx, &entry).await?;
    Ok(Saving::Done)
}
