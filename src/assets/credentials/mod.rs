//! 凭据: who to be at assets. Sealed, never shown again, and used by one asset or, under a name, by many.

mod pages;
pub mod queries;

use mysql_async::Transaction;
use uuid::Uuid;

pub use pages::routes;

use super::target::Secret;
use crate::app::App;
use crate::error::{Error, Result};
use crate::i18n::Text;
use crate::liveness;
use crate::seal::{self, Key, Place, Seal};
use crate::web::form::line_mistake;
use crate::web::{Form, Mistakes};

const LONGEST_USER: usize = 100;
const LONGEST_PASSWORD: usize = 1000;
/// A private key of 16,384 bits has twelve thousand characters, a chain of certificates some more.
const LONGEST_PEM: usize = 20_000;

/// The fields of a secret, as forms and files call them, with their names, and whether they have many lines.
pub const SECRETS: [(&str, &str, bool); 5] = [
    ("password", "credentials.password", false),
    ("private_key", "credentials.private_key", true),
    ("passphrase", "credentials.passphrase", false),
    ("certificate", "credentials.certificate", true),
    ("authority", "credentials.authority", true),
];

/// Their names alone.
pub fn secrets() -> impl Iterator<Item = &'static str> {
    SECRETS.into_iter().map(|(field, ..)| field)
}

/// What somebody typed of a credential. An empty secret means that the former one stays.
#[derive(Debug, Clone, Default)]
pub struct Typed {
    secret: Secret,
    /// The former secrets go.
    clears: bool,
}

impl Typed {
    /// What is wrong with it is noted at its field.
    pub fn of(form: &Form, mistakes: &mut Mistakes) -> Typed {
        let pem = |field: &str| {
            let text = form.text(field).replace("\r\n", "\n");
            if text.is_empty() { text } else { text + "\n" }
        };
        let secret = Secret {
            user: form.text("user").to_owned(),
            password: form.exact("password").to_owned(),
            private_key: pem("private_key"),
            passphrase: form.exact("passphrase").to_owned(),
            certificate: pem("certificate"),
            authority: pem("authority"),
        };
        if let Some(mistake) = line_mistake(&secret.user, LONGEST_USER) {
            mistakes.note("user", mistake);
        }
        for (field, text, most) in [
            ("password", &secret.password, LONGEST_PASSWORD),
            ("passphrase", &secret.passphrase, LONGEST_PASSWORD),
            ("private_key", &secret.private_key, LONGEST_PEM),
            ("certificate", &secret.certificate, LONGEST_PEM),
            ("authority", &secret.authority, LONGEST_PEM),
        ] {
            // The column counts bytes.
            if text.chars().count() > most || text.len() > LONGEST_PEM {
                mistakes.note(field, Text::new("form.long").with("most", most));
            }
        }
        for (field, text, word) in [
            ("private_key", &secret.private_key, "PRIVATE KEY-----"),
            ("certificate", &secret.certificate, "-----BEGIN CERTIFICATE-----"),
            ("authority", &secret.authority, "-----BEGIN CERTIFICATE-----"),
        ] {
            if !text.is_empty() && !text.contains(word) {
                mistakes.note(field, Text::new("credentials.no_pem"));
            }
        }
        Typed {
            secret,
            clears: form.text("clear") == "yes",
        }
    }

    /// The user's name, which is no secret.
    pub fn user(&self) -> &str {
        &self.secret.user
    }

    /// Nothing secret was typed.
    pub fn is_blank(&self) -> bool {
        let secret = &self.secret;
        [
            &secret.password,
            &secret.private_key,
            &secret.passphrase,
            &secret.certificate,
            &secret.authority,
        ]
        .iter()
        .all(|text| text.is_empty())
    }

    /// There is nothing to be kept at all.
    pub fn is_nothing(&self) -> bool {
        self.is_blank() && self.secret.user.is_empty()
    }

    pub fn clears(&self) -> bool {
        self.clears
    }

    /// Without anything of the former one.
    pub fn alone(&self) -> Typed {
        Typed {
            clears: true,
            ..self.clone()
        }
    }

    /// What is kept from now on: what was typed, and of the former one what was not.
    pub(super) fn over(&self, former: Secret) -> Secret {
        let former = if self.clears { Secret::default() } else { former };
        let or = |typed: &String, former: String| if typed.is_empty() { former } else { typed.clone() };
        // A new key does not open with the passphrase of the former one.
        let passphrase = match self.secret.private_key.is_empty() {
            true => or(&self.secret.passphrase, former.passphrase),
            false => self.secret.passphrase.clone(),
        };
        Secret {
            user: self.secret.user.clone(),
            password: or(&self.secret.password, former.password),
            private_key: or(&self.secret.private_key, former.private_key),
            passphrase,
            certificate: or(&self.secret.certificate, former.certificate),
            authority: or(&self.secret.authority, former.authority),
        }
    }
}

fn place(credential_id: &str) -> Place<'_> {
    Place {
        table: "credential",
        row: credential_id,
        column: "sealed",
    }
}

/// The key to seal credentials with. Taken before any row, as everybody does who seals something.
///
/// # Errors
/// [`Error::Conflict`] with the remedy when another server could not open what is sealed.
pub async fn sealing_key(tx: &mut Transaction<'_>, app: &App) -> Result<Key> {
    let is_alone = !liveness::others_run(tx, &app.install.id).await?;
    let key = app.seal.sealing_key(tx, is_alone).await.map_err(ours)?;
    let lacking = liveness::without_key(tx, &key.fingerprint()).await?;
    if !lacking.is_empty() {
        let text = Text::new("security.others_lack_key").with("names", lacking.join(", "));
        return Err(Error::Conflict(text));
    }
    Ok(key)
}

/// That this server lacks the key is nothing the person typed.
pub(super) fn ours(error: Error) -> Error {
    match error {
        Error::Invalid(text) => Error::Conflict(text),
        other => other,
    }
}

/// Keeps a new credential; without a name it belongs to the one asset that refers to it.
///
/// # Errors
/// Those of sealing and of the database.
pub async fn insert(
    tx: &mut Transaction<'_>,
    key: &Key,
    (name, typed): (Option<&str>, &Typed),
    by: &str,
) -> Result<String> {
    let credential_id = Uuid::new_v4().simple().to_string();
    let sealed = sealed(key, &credential_id, &typed.over(Secret::default()))?;
    queries::insert(tx, &credential_id, (name, typed.user()), &sealed, by)
        .await
        .map_err(taken)?;
    Ok(credential_id)
}

/// Changes a credential; false when somebody else saved since `row_version`, where one is given.
///
/// # Errors
/// Those of sealing and of the database.
pub async fn update(
    tx: &mut Transaction<'_>,
    (seal, key): (&Seal, &Key),
    (credential_id, row_version): (&str, Option<u32>),
    (name, typed): (Option<&str>, &Typed),
    by: &str,
) -> Result<bool> {
    let Some((_, former)) = queries::locked(tx, credential_id).await? else {
        return Ok(false);
    };
    // What is replaced whole need not be readable any more.
    let former = match typed.clears {
        true => Secret::default(),
        false => open(seal, credential_id, &former).map_err(ours)?,
    };
    let sealed = sealed(key, credential_id, &typed.over(former))?;
    let row = (credential_id, row_version);
    queries::update(tx, row, (name, typed.user()), &sealed, by)
        .await
        .map_err(taken)
}

fn taken(error: mysql_async::Error) -> Error {
    Error::on_duplicate(error, "credential_name", || Text::new("credentials.name_taken"))
}

fn sealed(key: &Key, credential_id: &str, secret: &Secret) -> Result<Vec<u8>> {
    let json = serde_json::to_vec(secret).map_err(|cause| Error::Internal(cause.into()))?;
    seal::seal(key, place(credential_id), &json)
}

/// # Errors
/// [`Error::Invalid`] when this server lacks the key.
pub fn open(seal: &Seal, credential_id: &str, sealed: &[u8]) -> Result<Secret> {
    // Its key was lost and it was dropped.
    if sealed.is_empty() {
        return Ok(Secret::default());
    }
    let json = seal.open_sealed(place(credential_id), sealed)?;
    serde_json::from_slice(&json).map_err(|cause| Error::Internal(cause.into()))
}

/// Drops what is sealed in every credential, when it cannot be opened any more; returns how many. Their assets stay, and say
/// that they are turned away.
///
/// # Errors
/// [`Error::Unavailable`] while the database does not answer.
pub async fn forget_all(tx: &mut Transaction<'_>) -> Result<usize> {
    let all = queries::sealed(tx).await?;
    for (credential_id, _) in &all {
        queries::reseal(tx, credential_id, b"").await?;
    }
    Ok(all.len())
}

/// Seals every credential anew; returns how many.
///
/// # Errors
/// Those of opening and sealing; then nothing may be committed.
pub async fn reseal(tx: &mut Transaction<'_>, seal: &Seal, key: &Key) -> Result<usize> {
    let all = queries::sealed(tx).await?;
    for (credential_id, sealed) in all.iter().filter(|(_, sealed)| !sealed.is_empty()) {
        let plain = seal.open_sealed(place(credential_id), sealed)?;
        queries::reseal(tx, credential_id, &seal::seal(key, place(credential_id), &plain)?).await?;
    }
    Ok(all.len())
}
