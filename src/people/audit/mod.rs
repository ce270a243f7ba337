//! The audit trail: every change by a person, every refusal, every change of a cluster's state.

mod action;
pub mod pages;
mod queries;
mod words;

use std::fmt;

use serde_json::{Value, json};

use crate::app::App;

pub use action::{Action, Result as Outcome};
pub use pages::routes;
pub use queries::{record, record_seldom, sweep};

/// Longest part of a value that is kept.
const LONGEST: usize = 200;

/// Who did it, from where, on which server.
#[derive(Debug, Clone, Default)]
pub struct Actor {
    /// Empty for a server and the command line.
    pub account_id: String,
    pub name: String,
    pub role: String,
    pub address: String,
    pub install_id: String,
    /// The name of the API token that acted; empty for a person.
    pub token: String,
}

impl Actor {
    /// The server itself, for what nobody asked for.
    pub fn server(app: &App) -> Actor {
        Actor {
            install_id: app.install.id.clone(),
            role: "server".to_owned(),
            ..Actor::default()
        }
    }

    /// Whoever may use the data directory of a server, on its command line.
    pub fn command(install_id: &str) -> Actor {
        Actor {
            install_id: install_id.to_owned(),
            role: "command".to_owned(),
            ..Actor::default()
        }
    }
}

/// What it was done to.
#[derive(Debug, Clone, Default)]
pub struct Object {
    pub kind: &'static str,
    pub id: String,
    pub name: String,
}

impl Object {
    pub fn new(kind: &'static str, id: &str, name: &str) -> Object {
        Object {
            kind,
            id: id.to_owned(),
            name: name.chars().take(255).collect(),
        }
    }
}

/// A value that must not be kept: what is changed is told, and never how it reads.
#[derive(Debug, Clone, Copy)]
pub struct Secret;

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("•••")
    }
}

/// One line of the trail.
#[derive(Debug, Clone)]
pub struct Entry {
    pub actor: Actor,
    pub action: Action,
    pub object: Object,
    pub result: Outcome,
    changes: Vec<Value>,
}

impl Entry {
    pub fn by(actor: &Actor, action: Action) -> Entry {
        let entry = Entry {
            actor: actor.clone(),
            action,
            object: Object::default(),
            result: Outcome::Done,
            changes: Vec::new(),
        };
        entry.change("token", "", &actor.token)
    }

    #[must_use]
    pub fn on(mut self, object: Object) -> Entry {
        self.object = object;
        self
    }

    #[must_use]
    pub fn refused(mut self) -> Entry {
        self.result = Outcome::Refused;
        self
    }

    /// Refused, and why.
    #[must_use]
    pub fn because(self, reason: &str) -> Entry {
        self.refused().change("reason", "", reason)
    }

    /// A field before and after; nothing when they are equal.
    #[must_use]
    pub fn change(mut self, field: &str, before: impl fmt::Display, after: impl fmt::Display) -> Entry {
        let (before, after) = (before.to_string(), after.to_string());
        if before != after || after == Secret.to_string() {
            let short = |text: &str| text.chars().take(LONGEST).collect::<String>();
            self.changes.push(json!([field, short(&before), short(&after)]));
        }
        self
    }

    /// Changes as JSON; a list too long for its column loses its end, never its form.
    fn changes(&self) -> String {
        let mut kept = self.changes.clone();
        loop {
            let json = Value::from(kept.clone()).to_string();
            if json.chars().count() <= 4000 {
                return json;
            }
            kept.pop();
        }
    }
}
