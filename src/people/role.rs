//! What a person may do.

use mysql_async::prelude::FromValue;

use crate::i18n::Text;

/// From least to most; each may do what those before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, FromValue)]
#[mysql(is_string, rename_all = "snake_case")]
pub enum Role {
    /// The workspaces given to them.
    Member,
    /// Clusters, groups, assets, workspaces, settings.
    SystemAdmin,
    /// Everything, also people and deleting.
    SuperAdmin,
}

impl Role {
    pub const ALL: [Role; 3] = [Role::Member, Role::SystemAdmin, Role::SuperAdmin];

    /// The word in forms and in the database.
    pub fn code(self) -> &'static str {
        match self {
            Role::Member => "member",
            Role::SystemAdmin => "system_admin",
            Role::SuperAdmin => "super_admin",
        }
    }

    pub fn parse(code: &str) -> Option<Role> {
        Role::ALL.into_iter().find(|role| role.code() == code)
    }

    /// Its name.
    pub fn name(self) -> Text {
        Text::new(match self {
            Role::Member => "role.member",
            Role::SystemAdmin => "role.system_admin",
            Role::SuperAdmin => "role.super_admin",
        })
    }
}
