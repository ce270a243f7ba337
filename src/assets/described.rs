//! What a person says of an asset, in a form or in a line of a file: read and kept by the same rules.

use mysql_async::{Conn, Transaction};

use super::credentials::queries::{self as credentials, Row as Credential};
use super::credentials::{self as vault, Typed};
use super::kind::{Kind, Settings};
use super::queries::{self, Described, Row};
use super::{LONGEST_NAME, missing};
use crate::error::Result;
use crate::groups::Group;
use crate::groups::queries as groups;
use crate::i18n::Text;
use crate::people::audit::{Action, Actor, Entry, Object, Secret};
use crate::people::sessions::{Proof, Viewer};
use crate::seal::{Key, Seal};
use crate::web::form::line_mistake;
use crate::web::{Form, Mistakes};

/// In characters, with the port that stands in it in any case.
const LONGEST_ADDRESS: usize = 255;
const SHORTEST_INTERVAL: u32 = 5;
const LONGEST_INTERVAL: u32 = 86_400;
const LONGEST_TIMEOUT: u32 = 60;
const MOST_RETRIES: u32 = 10;

/// What there is to choose from.
#[derive(Debug, Clone)]
pub struct Choices {
    pub groups: Vec<Group>,
    pub credentials: Vec<Credential>,
    /// Whether a named credential may go where it has not been used yet: a leaked token must not be able to send it home.
    pub lends: bool,
}

impl Choices {
    pub async fn load(conn: &mut Conn, viewer: &Viewer) -> Result<Choices> {
        Ok(Choices {
            lends: !matches!(viewer.proof, Proof::Token(_)),
            groups: groups::all(conn).await?,
            credentials: credentials::named(conn).await?,
        })
    }

    pub fn group(&self, group_id: u32) -> Option<&Group> {
        self.groups.iter().find(|group| group.group_id == group_id)
    }

    pub fn group_name(&self, group_id: u32) -> &str {
        self.group(group_id).map_or("", |group| &group.name)
    }

    fn default_group(&self) -> u32 {
        let default = self.groups.iter().find(|group| group.is_default);
        default.map(|group| group.group_id).unwrap_or_default()
    }

    /// The named credential that an asset uses.
    fn named(&self, row: Option<&Row>) -> String {
        let used = row.and_then(|row| row.credential_id.as_deref());
        let named = |id: &&str| self.credentials.iter().any(|known| known.credential_id == **id);
        used.filter(named).unwrap_or_default().to_owned()
    }

    /// The fields of an asset as it is saved, or of a new one as usual. Secrets stay where they are.
    pub fn fields(&self, kind: Kind, saved: Option<&Row>) -> Result<Form> {
        let settings = match saved {
            Some(row) => Settings::read(row.kind, &row.settings)?,
            None => Settings::usual(kind),
        };
        let group_id = saved.map_or_else(|| self.default_group(), |row| row.group_id);
        let interval_s = saved.map_or(kind.usual_interval(), |row| row.interval_s);
        let mut fields = settings.fields();
        fields.extend([
            ("name", saved.map_or("", |row| &row.name).to_owned()),
            ("group_id", group_id.to_string()),
            ("interval_s", interval_s.to_string()),
            ("timeout_s", saved.map_or(5, |row| row.timeout_s).to_string()),
            ("retries", saved.map_or(2, |row| row.retries).to_string()),
            ("credential_id", self.named(saved)),
        ]);
        Ok(Form::of(fields))
    }

    /// Reads what was typed; what is wrong with it is noted at its field.
    pub fn read(&self, kind: Kind, form: &Form, saved: Option<&Saved>, mistakes: &mut Mistakes) -> Result<Said> {
        let settings = Settings::typed(kind, form, mistakes);
        let typed = Typed::of(form, mistakes);
        let name = form.text("name");
        match name.is_empty() {
            true => mistakes.note("name", Text::new("assets.name_missing")),
            false => {
                if let Some(mistake) = line_mistake(name, LONGEST_NAME) {
                    mistakes.note("name", mistake);
                }
            }
        }
        let group_id = form.text("group_id").parse().unwrap_or(0);
        if !self.groups.iter().any(|group| group.group_id == group_id) {
            mistakes.note("group_id", Text::new("assets.choose_group"));
        }
        let limits = (SHORTEST_INTERVAL, LONGEST_INTERVAL);
        let interval_s = number(form, ("interval_s", kind.usual_interval()), limits, mistakes);
        let most = LONGEST_TIMEOUT.min(interval_s.saturating_sub(1).max(1));
        let address = settings.address();
        if address.chars().count() > LONGEST_ADDRESS {
            mistakes.note("address", Text::new("form.long").with("most", LONGEST_ADDRESS));
        }
        let described = Described {
            kind,
            name: name.to_owned(),
            address,
            group_id,
            credential_id: self.chosen_credential(form, mistakes),
            settings: settings.json()?,
            timeout_s: number(form, ("timeout_s", 5.min(most)), (1, most), mistakes),
            retries: number(form, ("retries", 2), (0, MOST_RETRIES), mistakes),
            interval_s,
        };
        let said = Said { described, typed };
        let before = match saved {
            Some(saved) => Some(Settings::read(saved.row.kind, &saved.row.settings)?),
            None => None,
        };
        let is_safe = before.as_ref().is_some_and(|before| settings.is_as_safe_as(before));
        said.guard_secrets(saved, is_safe, mistakes);
        let own = settings.of_the_server();
        let is_new = own.is_some() && own != before.as_ref().and_then(Settings::of_the_server);
        if !self.lends && (is_new || said.borrows(saved, is_safe)) {
            mistakes.note("credential_id", Text::new("assets.borrowed_in_person"));
        }
        Ok(said)
    }

    fn chosen_credential(&self, form: &Form, mistakes: &mut Mistakes) -> Option<String> {
        let chosen = form.text("credential_id");
        if !chosen.is_empty() && !self.credentials.iter().any(|known| known.credential_id == chosen) {
            mistakes.note("credential_id", Text::new("credentials.missing"));
        }
        Some(chosen.to_owned()).filter(|id| !id.is_empty())
    }
}

fn number(form: &Form, (field, usual): (&'static str, u32), (least, most): (u32, u32), mistakes: &mut Mistakes) -> u32 {
    match form.text(field) {
        "" => usual,
        typed => match typed.parse() {
            Ok(number) if (least..=most).contains(&number) => number,
            _ => {
                let text = Text::new("assets.wrong_number").with("least", least).with("most", most);
                mistakes.note(field, text);
                usual
            }
        },
    }
}

/// An asset that is changed, as it was before.
#[derive(Debug, Clone)]
pub struct Saved {
    pub row: Row,
    /// It has a credential of its own.
    pub has_own_secret: bool,
    /// Whom that one logs in as.
    pub user: String,
}

impl Saved {
    /// With what is known of the credential that is its own.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn of(conn: &mut Conn, row: Row) -> Result<Saved> {
        let (name, user) = match &row.credential_id {
            Some(credential_id) => credentials::about(conn, credential_id).await?,
            None => (Some(String::new()), String::new()),
        };
        let has_own_secret = name.is_none();
        Ok(Saved {
            row,
            has_own_secret,
            user: if has_own_secret { user } else { String::new() },
        })
    }

    pub fn own(&self) -> Option<&str> {
        self.row.credential_id.as_deref().filter(|_| self.has_own_secret)
    }
}

/// What was said of an asset, and of the credential that is its own.
#[derive(Debug, Clone)]
pub struct Said {
    pub described: Described,
    pub typed: Typed,
}

impl Said {
    /// What is kept secret is not sent to an address that whoever gave it did not mean, and not with less care.
    fn guard_secrets(&self, saved: Option<&Saved>, is_safe: bool, mistakes: &mut Mistakes) {
        if !saved.is_some_and(|saved| saved.has_own_secret) {
            return;
        }
        let (described, typed) = (&self.described, &self.typed);
        let moves = !is_safe && !described.address.is_empty();
        let keeps = typed.is_blank() && !typed.clears() && described.credential_id.is_none();
        if moves && keeps {
            mistakes.note("credential_id", Text::new("assets.type_secret_again"));
        }
    }

    /// Whether a named credential would go where it has not been used yet.
    fn borrows(&self, saved: Option<&Saved>, is_safe: bool) -> bool {
        let chosen = &self.described.credential_id;
        let is_known = |saved: &Saved| saved.row.credential_id == *chosen && is_safe;
        chosen.is_some() && !saved.is_some_and(is_known)
    }

    /// Whether the key is needed to keep it.
    pub fn is_sealed(&self, saved: Option<&Saved>) -> bool {
        let has_own = saved.is_some_and(|saved| saved.has_own_secret);
        self.described.credential_id.is_none() && (has_own || !self.typed.is_nothing())
    }

    fn is_secret_new(&self) -> bool {
        self.described.credential_id.is_none() && (!self.typed.is_blank() || self.typed.clears())
    }

    /// Keeps a new asset; `key` where [`Said::is_sealed`] says so. Returns its id.
    ///
    /// # Errors
    /// Those of sealing and of the database.
    pub async fn insert(&self, tx: &mut Transaction<'_>, key: Option<&Key>, by: &str) -> Result<u32> {
        let mut described = self.described.clone();
        if let Some(key) = key.filter(|_| self.is_sealed(None)) {
            described.credential_id = Some(vault::insert(tx, key, (None, &self.typed), by).await?);
        }
        Ok(queries::insert(tx, &described, by).await?)
    }

    /// Keeps a changed asset; `key` as for [`Said::insert`]. False when somebody else saved since `row_version`.
    ///
    /// # Errors
    /// Those of sealing and of the database.
    pub async fn save(
        &self,
        tx: &mut Transaction<'_>,
        (seal, key): (&Seal, Option<&Key>),
        (saved, row_version): (&Saved, u32),
        by: &str,
    ) -> Result<bool> {
        let (asset_id, own) = (saved.row.asset_id, saved.own());
        let mut described = self.described.clone();
        if let Some(key) = key.filter(|_| self.is_sealed(Some(saved))) {
            // The key's row first, as everybody does who seals something; then the asset's, then the credential's.
            let before = queries::locked(tx, &[asset_id]).await?.pop().ok_or_else(missing)?;
            if before.row_version != row_version {
                return Ok(false);
            }
            described.credential_id = match own {
                Some(credential_id) => {
                    let moved = before.address != described.address;
                    let typed = if moved { self.typed.alone() } else { self.typed.clone() };
                    vault::update(tx, (seal, key), (credential_id, None), (None, &typed), by).await?;
                    Some(credential_id.to_owned())
                }
                None => Some(vault::insert(tx, key, (None, &self.typed), by).await?),
            };
        }
        let moves = saved.row.address != described.address;
        if !queries::update(tx, (asset_id, row_version), (&described, moves), by).await? {
            return Ok(false);
        }
        if let Some(credential_id) = own.filter(|_| self.described.credential_id.is_some()) {
            credentials::remove_own(tx, &[credential_id]).await?;
        }
        Ok(true)
    }

    /// What the trail says of a new one.
    pub fn created(&self, actor: &Actor, asset_id: u32, group: &str) -> Entry {
        let described = &self.described;
        Entry::by(actor, Action::AssetCreate)
            .on(Object::new("asset", &asset_id.to_string(), &described.name))
            .change("kind", "", described.kind.code())
            .change("address", "", &described.address)
            .change("groups", "", group)
            .change("settings", "", &described.settings)
    }

    /// What the trail says of a changed one; groups by their names before and after.
    pub fn changed(&self, actor: &Actor, saved: &Row, (group_before, group): (&str, &str)) -> Entry {
        let described = &self.described;
        let entry = Entry::by(actor, Action::AssetUpdate)
            .on(saved.object())
            .change("name", &saved.name, &described.name)
            .change("address", &saved.address, &described.address)
            .change("groups", group_before, group)
            .change("settings", &saved.settings, &described.settings)
            .change("interval", saved.interval_s, described.interval_s)
            .change("timeout", saved.timeout_s, described.timeout_s)
            .change("retries", saved.retries, described.retries);
        match self.is_secret_new() {
            true => entry.change("secrets", "", Secret),
            false => entry,
        }
    }
}
