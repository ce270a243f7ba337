//! What a person types for a channel, and what is wrong with it.

use super::channel::{Encryption, Format, Kind, Secret, Settings};
use super::queries::{Described, Row};
use super::topic::Topics;
use super::{mail, webhook};
use crate::clusters::address::is_forbidden;
use crate::i18n::Text;
use crate::web::form::line_mistake;
use crate::web::{Form, Mistakes};

const LONGEST_NAME: usize = 50;
const LONGEST_KEY: usize = 500;
const LONGEST_HOST: usize = 253;
const LONGEST_USER: usize = 200;
const LONGEST_AUTHORITY: usize = 20_000;
/// One letter goes to all of them.
const MOST_RECIPIENTS: usize = 100;

/// The fields of the form.
#[derive(Debug, Clone)]
pub struct Typed {
    pub described: Described,
    /// As it was typed.
    pub port: String,
    /// A webhook's address; empty to keep the one that is sealed.
    pub url: String,
    /// Empty to keep the one that is sealed.
    pub key: String,
    pub drops_key: bool,
}

impl Typed {
    /// A form that nobody has filled in.
    pub fn blank(kind: Kind) -> Typed {
        let settings = Settings {
            port: 587,
            ..Settings::default()
        };
        Typed {
            described: Described {
                name: String::new(),
                kind,
                target: String::new(),
                settings,
                group_id: None,
                is_on: true,
            },
            port: "587".to_owned(),
            url: String::new(),
            key: String::new(),
            drops_key: false,
        }
    }

    /// What is saved; of secrets nothing.
    pub fn of(row: &Row) -> Typed {
        let described = row.described();
        Typed {
            port: described.settings.port.to_string(),
            described,
            url: String::new(),
            key: String::new(),
            drops_key: false,
        }
    }

    /// `topics` are those of a form that does not ask for them, as an older version's.
    pub fn read(form: &Form, kind: Kind, topics: &Topics) -> Typed {
        let topics = match form.text("asks_topics").is_empty() {
            true => topics.clone(),
            false => Topics::of(form.all("topics")),
        };
        let settings = Settings {
            format: Format::parse(form.text("format")).unwrap_or_default(),
            host: form
                .text("host")
                .trim_start_matches('[')
                .trim_end_matches(']')
                .to_owned(),
            port: form.text("port").parse().unwrap_or(0),
            encryption: Encryption::parse(form.text("encryption")).unwrap_or_default(),
            user: form.text("user").to_owned(),
            from: form.text("from").to_owned(),
            authority: form.text("authority").replace("\r\n", "\n"),
            has_key: false,
            topics,
        };
        Typed {
            described: Described {
                name: form.text("name").to_owned(),
                kind,
                target: form.text("recipients").to_owned(),
                settings,
                group_id: form.text("group_id").parse().ok(),
                is_on: !form.text("is_on").is_empty(),
            },
            port: form.text("port").to_owned(),
            url: form.text("url").to_owned(),
            // A password may begin with a space.
            key: form.exact("key").to_owned(),
            drops_key: !form.text("drops_key").is_empty(),
        }
    }

    /// Notes what is wrong, and brings the rest into the form in which it is kept.
    pub fn check(&mut self, saved: Option<&Row>, mistakes: &mut Mistakes) {
        let name = &self.described.name;
        match name.is_empty() {
            true => mistakes.note("name", Text::new("notify.name_missing")),
            false => note(mistakes, "name", line_mistake(name, LONGEST_NAME)),
        }
        note(mistakes, "key", line_mistake(&self.key, LONGEST_KEY));
        if self.described.settings.topics.is_empty() {
            mistakes.note("topics", Text::new("notify.topics_missing"));
        }
        match self.described.kind {
            Kind::Webhook => self.check_webhook(saved, mistakes),
            Kind::Mail => self.check_mail(saved, mistakes),
        }
        let keeps = saved.is_some_and(Row::has_key) && !self.drops_key;
        self.described.settings.has_key = !self.key.is_empty() || keeps;
    }

    fn check_webhook(&mut self, saved: Option<&Row>, mistakes: &mut Mistakes) {
        let kept = saved.filter(|row| row.secret.is_some()).map(|row| row.target.clone());
        match (self.url.is_empty(), kept) {
            (true, Some(target)) => self.described.target = target,
            _ => match webhook::address(&self.url) {
                Ok(url) => {
                    self.described.target = webhook::visible(&url);
                    self.url = url;
                }
                Err(text) => mistakes.note("url", text),
            },
        }
        if !self.described.settings.format.is_signed() {
            if !self.key.is_empty() {
                mistakes.note("key", Text::new("notify.key_useless"));
            }
            self.drops_key = true;
        }
        // What e-mail alone has.
        self.described.settings = Settings {
            format: self.described.settings.format,
            topics: std::mem::take(&mut self.described.settings.topics),
            ..Settings::default()
        };
    }

    fn check_mail(&mut self, saved: Option<&Row>, mistakes: &mut Mistakes) {
        let recipients: Vec<&str> = mail::addresses(&self.described.target).collect();
        if recipients.is_empty() {
            mistakes.note("recipients", Text::new("notify.recipients_missing"));
        } else if recipients.len() > MOST_RECIPIENTS {
            let text = Text::new("notify.recipients_many").with("most", MOST_RECIPIENTS);
            mistakes.note("recipients", text.with("count", recipients.len()));
        } else if let Some(wrong) = recipients.iter().find(|one| !mail::is_address(mail::bare(one))) {
            let shown: String = wrong.chars().take(60).collect();
            mistakes.note("recipients", Text::new("notify.recipient_wrong").with("value", shown));
        } else {
            let bare: Vec<&str> = recipients.iter().map(|one| mail::bare(one)).collect();
            self.described.target = bare.join(", ");
        }
        let settings = &self.described.settings;
        note(mistakes, "host", host_mistake(&settings.host));
        if settings.port == 0 {
            mistakes.note("port", Text::new("notify.port_wrong"));
        }
        if !mail::is_sender(&settings.from) {
            mistakes.note("from", Text::new("notify.from_wrong"));
        }
        note(mistakes, "user", line_mistake(&settings.user, LONGEST_USER));
        let pem = settings.authority.as_str();
        if !pem.is_empty() && (pem.len() > LONGEST_AUTHORITY || !mail::is_authority(pem)) {
            mistakes.note("authority", Text::new("notify.authority_wrong"));
        }
        self.check_password(saved, mistakes);
    }

    /// A password goes to nobody but whom it was typed for.
    fn check_password(&mut self, saved: Option<&Row>, mistakes: &mut Mistakes) {
        let settings = &self.described.settings;
        let former = saved.filter(|row| row.has_key()).map(Row::settings);
        if settings.user.is_empty() {
            if !self.key.is_empty() {
                mistakes.note("user", Text::new("notify.user_missing"));
            }
            self.drops_key = true;
            return;
        }
        if settings.encryption == Encryption::None {
            mistakes.note("encryption", Text::new("notify.password_in_the_open"));
        }
        match former {
            _ if !self.key.is_empty() => {}
            None => mistakes.note("key", Text::new("notify.password_missing")),
            Some(former) if !former.is_same_door(settings) => {
                mistakes.note("key", Text::new("notify.password_again"));
            }
            Some(_) => {}
        }
    }

    /// What is sealed from now on, from what was until now.
    pub fn secret(&self, former: Secret) -> Secret {
        let url = match self.url.is_empty() {
            true => former.url,
            false => self.url.clone(),
        };
        let key = match (self.key.is_empty(), self.described.settings.has_key) {
            (false, _) => self.key.clone(),
            (true, true) => former.key,
            (true, false) => String::new(),
        };
        Secret { url, key }
    }

    /// Whether this changes anything of the secret.
    pub fn is_secret_typed(&self) -> bool {
        !self.url.is_empty() || !self.key.is_empty()
    }
}

fn note(mistakes: &mut Mistakes, field: &'static str, text: Option<Text>) {
    if let Some(text) = text {
        mistakes.note(field, text);
    }
}

fn host_mistake(host: &str) -> Option<Text> {
    let literal = host.parse().ok();
    if literal.is_some_and(is_forbidden) {
        return Some(Text::new("notify.forbidden"));
    }
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let is_name = !host.is_empty() && host.len() <= LONGEST_HOST && host.chars().all(fits);
    (literal.is_none() && !is_name).then(|| Text::new("notify.host_wrong"))
}
