//! What was typed for an asset of one kind, as the form of another kind takes it over.

use url::Url;

use super::kind::{Kind, Settings};
use crate::web::Form;

/// What assets of all kinds have. Secrets are not among it: what was typed of them never comes back in a page.
const COMMON: [&str; 7] = [
    "name",
    "group_id",
    "interval_s",
    "timeout_s",
    "retries",
    "credential_id",
    "user",
];

/// Every field that only some kinds have.
fn own() -> impl Iterator<Item = &'static str> {
    let fields = Kind::ALL.into_iter().flat_map(|kind| Settings::usual(kind).fields());
    fields.map(|(field, _)| field)
}

/// The usual fields of a kind, and over them what was typed. What this kind has no use for stays in the form all the same, so
/// that nothing is lost on the way back.
pub fn carried(usual: &Form, typed: &Form, kind: Kind) -> Form {
    let former = Kind::parse(typed.text("kind"));
    let mut form = usual.clone();
    for field in COMMON.into_iter().chain(own()) {
        if !typed.text(field).is_empty() {
            form.set(field, typed.text(field));
        }
    }
    if former.is_some_and(|former| former.usual_interval().to_string() == typed.text("interval_s")) {
        form.set("interval_s", &kind.usual_interval().to_string());
    }
    match (former == Some(Kind::Ssh), kind) {
        (false, Kind::Ssh) => {
            if let Some(host) = host_of(typed.text("address")) {
                form.set("host", &host);
            }
        }
        (true, Kind::Machine | Kind::Docker) => {
            let host = typed.text("host");
            if !host.is_empty() && host_of(typed.text("address")).as_deref() != Some(host) {
                form.set("address", &usual_address(kind, host));
            }
        }
        _ => {}
    }
    form
}

/// What was typed for other kinds and this one has no field for.
pub fn kept(form: &Form, kind: Kind) -> Vec<(&'static str, &str)> {
    let shown: Vec<&str> = Settings::usual(kind).fields().iter().map(|(field, _)| *field).collect();
    let mut kept: Vec<(&'static str, &str)> = Vec::new();
    for field in own().filter(|field| !shown.contains(field)) {
        if !form.text(field).is_empty() && kept.iter().all(|(known, _)| *known != field) {
            kept.push((field, form.text(field)));
        }
    }
    kept
}

fn host_of(address: &str) -> Option<String> {
    let url = Url::parse(address).ok()?;
    let host = url.host_str()?.trim_matches(['[', ']']);
    (!host.is_empty()).then(|| host.to_owned())
}

fn usual_address(kind: Kind, host: &str) -> String {
    let bare = host.trim_matches(['[', ']']);
    let host = if bare.contains(':') {
        format!("[{bare}]")
    } else {
        bare.to_owned()
    };
    match kind {
        Kind::Docker => format!("tcp://{host}:2375"),
        Kind::Machine | Kind::Ssh => format!("http://{host}:9100"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to(kind: Kind, typed: &Form) -> Form {
        let mut usual = Form::of(Settings::usual(kind).fields());
        usual.set("interval_s", &kind.usual_interval().to_string());
        let mut form = carried(&usual, typed, kind);
        form.set("kind", kind.code());
        form
    }

    #[test]
    fn there_and_back_nothing_is_lost_and_the_host_goes_along() {
        let typed = Form::of([
            ("kind", "machine"),
            ("name", "web"),
            ("address", "http://[fd00::7]:9200/x"),
            ("agent", "jpom"),
            ("cpu_limit", "71"),
            ("interval_s", "30"),
            ("password", "secret"),
        ]);
        let ssh = to(Kind::Ssh, &typed);
        assert_eq!(
            (
                ssh.text("name"),
                ssh.text("host"),
                ssh.text("port"),
                ssh.text("interval_s")
            ),
            ("web", "fd00::7", "22", "60")
        );
        assert_eq!(ssh.text("password"), "");
        assert_eq!(
            kept(&ssh, Kind::Ssh)[..2],
            [("agent", "jpom"), ("address", "http://[fd00::7]:9200/x")]
        );
        let back = to(Kind::Machine, &ssh);
        assert_eq!(
            (back.text("address"), back.text("cpu_limit")),
            ("http://[fd00::7]:9200/x", "71")
        );
        let mut moved = ssh;
        moved.set("host", "10.0.0.9");
        assert_eq!(to(Kind::Docker, &moved).text("address"), "tcp://10.0.0.9:2375");
        assert_eq!(to(Kind::Machine, &moved).text("address"), "http://10.0.0.9:9100");
    }

    #[test]
    fn an_interval_that_was_chosen_stays() {
        let typed = Form::of([("kind", "machine"), ("interval_s", "45"), ("address", "no url")]);
        let docker = to(Kind::Docker, &typed);
        assert_eq!((docker.text("interval_s"), docker.text("address")), ("45", "no url"));
    }
}
