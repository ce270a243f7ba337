//! What the rows of assets say of their peers, as SQL that numbers them.

use crate::peers::{HOSTS, Part};

impl Part {
    pub(crate) fn kind(self) -> &'static str {
        match self {
            Part::Metrics | Part::Agent => "machine",
            Part::Banner => "ssh",
            Part::Engine => "docker",
        }
    }

    pub(crate) fn address(self, port: u16) -> String {
        let scheme = match self {
            Part::Metrics | Part::Agent => "http://",
            Part::Banner => "",
            Part::Engine => "tcp://",
        };
        format!("concat('{scheme}', {}, ':{port}')", host())
    }

    /// As a form would have written them, without limits: how full this machine is does not matter here.
    pub(crate) fn settings(self, port: u16) -> String {
        let limits = "\"limits\": {\"cpu\": 0, \"memory\": 0, \"disk\": 0}";
        let (before, after) = match self {
            Part::Metrics => (
                "{\"agent\": \"node_exporter\", \"address\": \"http://",
                format!(":{port}\", {limits}}}"),
            ),
            Part::Agent => (
                "{\"agent\": \"jpom\", \"address\": \"http://",
                format!(":{port}\", {limits}}}"),
            ),
            Part::Banner => (
                "{\"login\": \"banner\", \"host\": \"",
                format!("\", \"port\": {port}, {limits}}}"),
            ),
            Part::Engine => ("{\"address\": \"tcp://", format!(":{port}\"}}")),
        };
        format!("concat('{before}', {}, '{after}')", host())
    }
}

/// Host of an asset as SQL.
fn host() -> String {
    format!("'127.0.1.', seq mod {HOSTS} + 1")
}
