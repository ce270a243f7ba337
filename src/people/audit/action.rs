//! What can be done, as the trail calls it.

use crate::i18n::Text;

macro_rules! actions {
    ($($name:ident $code:literal $text:literal,)*) => {
        /// What was done. A code never changes its meaning; a new one is added at the end.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Action { $($name),* }

        impl Action {
            pub const ALL: &[Action] = &[$(Action::$name),*];

            /// The word in the database and in addresses.
            pub fn code(self) -> &'static str {
                match self { $(Action::$name => $code),* }
            }

            /// Its name.
            pub fn name(self) -> Text {
                Text::new(match self { $(Action::$name => $text),* })
            }
        }
    };
}

actions! {
    SetUp "set_up" "action.set_up",
    SignIn "sign_in" "action.sign_in",
    SignInHalf "sign_in_half" "action.sign_in_half",
    SignOut "sign_out" "action.sign_out",
    SessionEnd "session_end" "action.session_end",
    PasswordChange "password_change" "action.password_change",
    PasswordReset "password_reset" "action.password_reset",
    TwoFactorBegin "two_factor_begin" "action.two_factor_begin",
    TwoFactorOn "two_factor_on" "action.two_factor_on",
    TwoFactorOff "two_factor_off" "action.two_factor_off",
    RecoveryCode "recovery_code" "action.recovery_code",
    TokenCreate "token_create" "action.token_create",
    TokenRemove "token_remove" "action.token_remove",
    AccountCreate "account_create" "action.account_create",
    AccountUpdate "account_update" "action.account_update",
    AccountDisable "account_disable" "action.account_disable",
    AccountEnable "account_enable" "action.account_enable",
    ClusterState "cluster_state" "action.cluster_state",
    ClusterUpdate "cluster_update" "action.cluster_update",
    ClusterRemove "cluster_remove" "action.cluster_remove",
    ClusterSucceed "cluster_succeed" "action.cluster_succeed",
    ClusterRegister "cluster_register" "action.cluster_register",
    WorkspaceBind "workspace_bind" "action.workspace_bind",
    WorkspaceCreate "workspace_create" "action.workspace_create",
    WorkspaceUpdate "workspace_update" "action.workspace_update",
    WorkspaceRemove "workspace_remove" "action.workspace_remove",
    WorkspaceMember "workspace_member" "action.workspace_member",
    GroupCreate "group_create" "action.group_create",
    GroupUpdate "group_update" "action.group_update",
    GroupRemove "group_remove" "action.group_remove",
    GroupBind "group_bind" "action.group_bind",
    KeyCreate "key_create" "action.key_create",
    KeyRotate "key_rotate" "action.key_rotate",
    KeyForget "key_forget" "action.key_forget",
    HandOver "hand_over" "action.hand_over",
    HandOverUndo "hand_over_undo" "action.hand_over_undo",
    JumpLeave "jump_leave" "action.jump_leave",
    JumpArrive "jump_arrive" "action.jump_arrive",
    SettingsUpdate "settings_update" "action.settings_update",
    AssetCreate "asset_create" "action.asset_create",
    AssetUpdate "asset_update" "action.asset_update",
    AssetRemove "asset_remove" "action.asset_remove",
    AssetPause "asset_pause" "action.asset_pause",
    AssetResume "asset_resume" "action.asset_resume",
    AssetKey "asset_key" "action.asset_key",
    CredentialCreate "credential_create" "action.credential_create",
    CredentialUpdate "credential_update" "action.credential_update",
    CredentialRemove "credential_remove" "action.credential_remove",
    Refused "refused" "action.refused",
    NoticeCreate "notice_create" "action.notice_create",
    NoticeUpdate "notice_update" "action.notice_update",
    NoticeRemove "notice_remove" "action.notice_remove",
    NoticeTest "notice_test" "action.notice_test",
    AssetTrial "asset_trial" "action.asset_trial",
    AssetImport "asset_import" "action.asset_import",
    DatabaseRestore "database_restore" "action.database_restore",
    DatabaseMove "database_move" "action.database_move",
}

impl Action {
    pub fn parse(code: &str) -> Option<Action> {
        Action::ALL.iter().copied().find(|action| action.code() == code)
    }
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Result {
    Done,
    Refused,
}

impl Result {
    pub fn code(self) -> &'static str {
        match self {
            Result::Done => "done",
            Result::Refused => "refused",
        }
    }
}
