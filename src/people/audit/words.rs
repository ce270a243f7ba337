//! Fields and values of the trail, as people read them.

use crate::i18n::Text;
use crate::people::Role;

pub fn field(name: &str) -> Text {
    match name {
        "role" => Text::new("users.role"),
        "display_name" => Text::new("users.display_name"),
        "password" => Text::new("password.password"),
        "state" => Text::new("users.state"),
        "name" => Text::new("clusters.name"),
        "address" => Text::new("clusters.address"),
        "cluster_id" => Text::new("clusters.cluster_id"),
        "groups" => Text::new("clusters.groups"),
        "workspaces" => Text::new("clusters.workspaces"),
        "clusters" => Text::new("groups.clusters"),
        "days" => Text::new("security.days"),
        "sessions" => Text::new("audit.sessions"),
        "reason" => Text::new("audit.reason"),
        "token" => Text::new("audit.token"),
        "fingerprint" => Text::new("audit.fingerprint"),
        "secrets" => Text::new("audit.secrets"),
        "how" => Text::new("audit.how"),
        "cluster" => Text::new("audit.from_cluster"),
        "member" => Text::new("audit.member"),
        "folder" => Text::new("workspaces.folder"),
        "description" => Text::new("workspaces.description"),
        "from" => Text::new("audit.taken_from"),
        "heir" => Text::new("audit.heir"),
        "kind" => Text::new("audit.kind"),
        "settings" => Text::new("audit.settings"),
        "interval" => Text::new("audit.interval"),
        "timeout" => Text::new("audit.timeout"),
        "retries" => Text::new("audit.retries"),
        "user" => Text::new("audit.user"),
        "note" => Text::new("audit.note"),
        "assets" => Text::new("audit.assets"),
        "events" => Text::new("audit.events"),
        "paused" => Text::new("assets.paused"),
        "version" => Text::new("audit.version"),
        _ => Text::new("audit.plain").with("value", name),
    }
}

pub fn value(field: &str, value: &str) -> Text {
    let known = match (field, value) {
        (_, "" | "-") => Some(Text::new("audit.plain").with("value", "–")),
        ("role", code) => Role::parse(code).map(Role::name),
        ("days", days) => Some(Text::new("security.for_days").with("days", days)),
        ("reason", "clusters.still_online") => Some(Text::new("clusters.still_online")),
        ("reason", "clusters.still_has_workspaces") => Some(Text::new("clusters.still_has_workspaces")),
        ("reason", "clusters.still_has_groups") => Some(Text::new("clusters.still_has_groups")),
        ("reason", "clusters.beat_meanwhile") => Some(Text::new("clusters.beat_meanwhile")),
        ("reason", "clusters.type_the_name") => Some(Text::new("clusters.type_the_name")),
        ("how", "by_hand") => Some(Text::new("audit.by_hand")),
        ("reason", "workspaces.default_stays") => Some(Text::new("workspaces.default_stays")),
        ("reason", "jump.elsewhere") => Some(Text::new("reason.elsewhere")),
        ("reason", "jump.used") => Some(Text::new("reason.used")),
        ("reason", "jump.late") => Some(Text::new("reason.late")),
        ("reason", "jump.ended") => Some(Text::new("reason.ended")),
        ("reason", "wrong") => Some(Text::new("reason.wrong")),
        ("reason", "wrong_code") => Some(Text::new("reason.wrong_code")),
        ("reason", "disabled") => Some(Text::new("reason.disabled")),
        ("reason", "too_many") => Some(Text::new("reason.too_many")),
        ("state", "online") => Some(Text::new("state.online")),
        ("state", "offline") => Some(Text::new("state.offline")),
        ("state", "stopped") => Some(Text::new("state.stopped")),
        ("state", "never") => Some(Text::new("state.never")),
        ("state", "duplicate") => Some(Text::new("state.duplicate")),
        _ => None,
    };
    known.unwrap_or_else(|| Text::new("audit.plain").with("value", value))
}
