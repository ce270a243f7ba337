//! The settings of a machine as a form says them.

use super::{Agent, Settings};
use crate::assets::facts::Limits;
use crate::assets::kind::{self, Fields};
use crate::i18n::Text;
use crate::web::{Form, Mistakes};

impl Agent {
    fn code(self) -> &'static str {
        match self {
            Agent::NodeExporter => "node_exporter",
            Agent::Jpom => "jpom",
        }
    }
}

impl Settings {
    pub fn fields(&self) -> Fields {
        vec![
            ("agent", self.agent.code().to_owned()),
            ("address", self.address.clone()),
            ("verify", if self.verify { "yes" } else { "no" }.to_owned()),
        ]
        .into_iter()
        .chain(self.limits.fields())
        .collect()
    }
}

/// What a form says; what is wrong with it is noted at its field.
pub fn typed(form: &Form, mistakes: &mut Mistakes) -> Settings {
    let address = match kind::url(form.text("address"), &["http", "https"]) {
        Ok(url) => url.as_str().trim_end_matches('/').to_owned(),
        Err(_) if form.text("address").is_empty() => {
            mistakes.note("address", Text::new("assets.address_missing"));
            String::new()
        }
        Err(text) => {
            mistakes.note("address", text);
            String::new()
        }
    };
    // As Prometheus is told it; the path is the agent's own.
    let address = address.strip_suffix("/metrics").unwrap_or(&address).to_owned();
    Settings {
        agent: match form.text("agent") {
            "jpom" => Agent::Jpom,
            _ => Agent::NodeExporter,
        },
        address,
        verify: form.text("verify") != "no",
        limits: Limits::typed(form, mistakes),
    }
}
