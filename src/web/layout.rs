//! What every page shows besides its own matter, and the filters with which templates print it.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use chrono::Local;
use poem::Request;
use poem::http::header;
use url::{Position, Url};

use super::fresh::WROTE_COOKIE;
use super::guard::{cookies, is_local};
use super::hx::wants_block;
use crate::app::{App, Standing};
use crate::i18n::{Lang, Text};
use crate::install::is_install_id;

pub const LANG_COOKIE: &str = "muster_lang";
pub const THEME_COOKIE: &str = "muster_theme";
/// How long both are kept: a year.
pub const COOKIE_SECONDS: u64 = 31_536_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Theme {
    #[default]
    Auto,
    Light,
    Dark,
}

impl Theme {
    pub const ALL: [Theme; 3] = [Theme::Auto, Theme::Light, Theme::Dark];

    pub fn code(self) -> &'static str {
        match self {
            Theme::Auto => "auto",
            Theme::Light => "light",
            Theme::Dark => "dark",
        }
    }

    pub fn parse(code: &str) -> Option<Theme> {
        Theme::ALL.into_iter().find(|theme| theme.code() == code)
    }

    /// The key of its name.
    pub fn name(self) -> Text {
        Text::new(match self {
            Theme::Auto => "layout.theme_auto",
            Theme::Light => "layout.theme_light",
            Theme::Dark => "layout.theme_dark",
        })
    }
}

/// Who reads, as far as the frame shows it; put into the request by `people`.
#[derive(Debug, Clone, Default)]
pub struct Reader {
    /// What to call them; empty when nobody is signed in.
    pub name: String,
    /// May see what concerns the whole system.
    pub is_admin: bool,
    /// May do everything.
    pub is_super: bool,
    /// Proves that a form came from a page of ours.
    pub csrf: String,
    /// How the others see this cluster: its state and the colour of that.
    pub own_state: Option<(Text, &'static str)>,
}

/// What a page says at its top after a change, by the word in a cookie of the answer before.
pub const SAID: [&str; 13] = [
    "said.checking",
    "said.saved",
    "said.added",
    "said.removed",
    "said.moved",
    "said.paused",
    "said.resumed",
    "said.disabled",
    "said.enabled",
    "said.ended",
    "said.two_factor_off",
    "said.bound",
    "said.unbound",
];
/// Of these it says also to how many it was done, and which text names those that were left.
const COUNTED: [(&str, &str, &str); 5] = [
    ("said.checking", "said.checking_count", "said.checking_left"),
    ("said.removed", "said.removed_count", "said.removed_left"),
    ("said.moved", "said.moved_count", "said.moved_left"),
    ("said.paused", "said.paused_count", "said.paused_left"),
    ("said.resumed", "said.resumed_count", "said.resumed_left"),
];
pub const SAID_COOKIE: &str = "muster_said";
/// Before the name of the cluster that somebody comes from.
pub const ARRIVED: &str = "arrived.";

/// Given to templates as a runtime value, so that no page struct carries it.
#[derive(Debug, Clone, Default)]
pub struct Layout {
    pub lang: Lang,
    pub theme: Theme,
    /// Path in front of every address; empty without a reverse proxy that needs one.
    pub base: String,
    /// Path and query of this request without the base; where to return after changing language or theme.
    pub here: String,
    pub cluster_name: String,
    pub cluster_id: String,
    /// The server whose page it is: behind a balancer another one may answer for a fragment of it.
    pub install_id: String,
    pub reader: Reader,
    /// Something every reader of this server must know.
    pub band: Option<Text>,
    /// What was done just now.
    pub said: Option<Text>,
    /// A page of ours the reader sent this from; empty when it is not known.
    pub from: String,
    /// The browser shows a session, good or not.
    pub shows_session: bool,
    /// The browser wrote something a moment ago, here or elsewhere.
    pub has_written: bool,
}

/// With a fragment's request: the install id of the server that the rest of the page came from.
const SERVER_HEADER: &str = "Muster-Server";

fn page_server(req: &Request) -> Option<&str> {
    let id = req.headers().get(SERVER_HEADER)?.to_str().ok()?;
    (wants_block(req) && is_install_id(id)).then_some(id)
}

impl Layout {
    /// Language by cookie, then `Accept-Language`, then the settings.
    pub fn of(req: &Request) -> Layout {
        let cookies = Cookies::of(req);
        let accept = req
            .headers()
            .get(header::ACCEPT_LANGUAGE)
            .and_then(|value| value.to_str().ok());
        let here = req.uri().path_and_query().map_or("/", |path| path.as_str());
        // A path that begins with two slashes would be another site in a link.
        let here = if is_local(here) { here } else { "/" };
        let lang = cookies.lang.or_else(|| accept.and_then(Lang::from_accept));
        let theme = cookies.theme;
        let reader = req.data::<Reader>().cloned().unwrap_or_default();
        let Some(app) = req.data::<App>() else {
            return Layout {
                reader,
                lang: lang.unwrap_or_default(),
                theme,
                here: here.to_owned(),
                ..Layout::default()
            };
        };
        Layout {
            lang: lang.unwrap_or(app.config.lang),
            theme,
            base: app.config.base_path.clone(),
            here: here
                .strip_prefix(app.config.base_path.as_str())
                .unwrap_or(here)
                .to_owned(),
            cluster_name: app.name(),
            cluster_id: app.cluster_id(),
            install_id: page_server(req).unwrap_or(&app.install.id).to_owned(),
            reader,
            band: band(app),
            said: cookies.said,
            from: came_from(req, &app.config.base_path),
            shows_session: cookies.shows_session,
            has_written: cookies.has_written,
        }
    }

    /// In which zone times are shown. Nothing is decided by it.
    #[expect(
        clippy::disallowed_methods,
        reason = "the offset of this server's zone, which depends on the season"
    )]
    pub fn zone(&self) -> Text {
        Text::new("layout.zone").with("offset", Local::now().format("%:z"))
    }

    /// Whether this is the list at a path with this value in its address, or, for an empty one, without any.
    pub fn is_list(&self, path: &str, key: &str, value: &str) -> bool {
        let (here, query) = self.here.split_once('?').unwrap_or((&self.here, ""));
        let said = url::form_urlencoded::parse(query.as_bytes()).find(|(known, _)| known == key);
        here == path && said.map(|(_, said)| said).unwrap_or_default() == value
    }

    /// Whether `path` is where the reader is, or above it.
    pub fn is_in(&self, path: &str) -> bool {
        let here = self.here.split('?').next().unwrap_or_default();
        here == path || here.strip_prefix(path).is_some_and(|rest| rest.starts_with('/'))
    }

    pub fn short_id(&self) -> &str {
        self.install_id.get(..8).unwrap_or(&self.install_id)
    }
}

/// What cookies say of how a page should look.
#[derive(Default)]
struct Cookies {
    lang: Option<Lang>,
    theme: Theme,
    said: Option<Text>,
    shows_session: bool,
    has_written: bool,
}

impl Cookies {
    fn of(req: &Request) -> Cookies {
        let mut found = Cookies::default();
        for (name, value) in cookies(req) {
            match name.as_str() {
                LANG_COOKIE => found.lang = Lang::parse(&value),
                THEME_COOKIE => found.theme = Theme::parse(&value).unwrap_or_default(),
                SAID_COOKIE => found.said = said(&value),
                WROTE_COOKIE => found.has_written = true,
                name => found.shows_session |= name.starts_with("muster_s_"),
            }
        }
        found
    }
}

/// What a cookie of ours says; nothing else is shown.
fn said(value: &str) -> Option<Text> {
    if let Some(from) = value.strip_prefix(ARRIVED) {
        let name = url::form_urlencoded::parse(from.as_bytes()).next()?.0;
        return Some(Text::new("said.arrived").with("name", name.chars().take(50).collect::<String>()));
    }
    if let Some((word, counts)) = value.split_once(':') {
        let (done, left): (usize, usize) =
            { counts.split_once(':') }.and_then(|(done, left)| Some((done.parse().ok()?, left.parse().ok()?)))?;
        let (_, all, rest) = COUNTED.into_iter().find(|(known, ..)| *known == word)?;
        let key = if left == 0 { all } else { rest };
        return Some(Text::new(key).with("count", done).with("left", left));
    }
    SAID.into_iter().find(|known| *known == value).map(Text::new)
}

/// Path and query of the page a request was sent from, as the browser tells.
fn came_from(req: &Request, base: &str) -> String {
    let told = req.header("HX-Current-URL").or_else(|| req.header(header::REFERER));
    let Some(url) = told.and_then(|told| Url::parse(told).ok()) else {
        return String::new();
    };
    let path = &url[Position::BeforePath..Position::AfterQuery];
    let path = path.strip_prefix(base).unwrap_or(path);
    if is_local(path) { path.to_owned() } else { String::new() }
}

/// The band above the page while this server must not or cannot work.
fn band(app: &App) -> Option<Text> {
    let fenced = || {
        let silent = app.fenced(Instant::now())?;
        Some(Text::new("layout.fenced").with("seconds", silent.as_secs()))
    };
    match &*app.standing.borrow() {
        Standing::Working if app.lacks_key.load(Ordering::Relaxed) => {
            Some(Text::new("layout.lacks_key").with("path", app.seal.path().display()))
        }
        Standing::Working => fenced().or_else(|| {
            let is_lost = app.mass_loss.load(Ordering::Relaxed);
            is_lost.then(|| Text::new("layout.mass_loss"))
        }),
        Standing::Starting(_) => Some(Text::new("layout.starting")),
        Standing::Removed { .. } | Standing::Duplicate { .. } => None,
    }
}

/// The layout as askama hands it to filters.
pub(super) struct LayoutValue(pub Arc<Layout>);

impl askama::Values for LayoutValue {
    fn get_value<'a>(&'a self, key: &str) -> Option<&'a dyn Any> {
        (key == "layout").then_some(&self.0)
    }
}

/// Filters for every template; each file with a page struct imports this module.
pub mod filters {
    use std::borrow::{Borrow, Cow};

    use askama::filters::Safe;
    use askama::{Result, Values, get_value};
    use chrono::{Datelike, Local, NaiveDateTime, TimeZone, Timelike};

    use super::{Arc, Layout};
    use crate::i18n::Say;

    /// `{{ "key"|t }}` or `{{ text|t }}`: in the reader's language.
    #[askama::filter_fn]
    pub fn t<T: Say>(text: T, values: &dyn Values) -> Result<Cow<'static, str>> {
        Ok(text.said(get_value::<Layout>(values, "layout")?.lang))
    }

    /// `{{ "/clusters"|url }}`: behind the base path.
    #[askama::filter_fn]
    pub fn url<T: AsRef<str>>(path: T, values: &dyn Values) -> Result<String> {
        let base = &get_value::<Layout>(values, "layout")?.base;
        Ok(format!("{base}{}", path.as_ref()))
    }

    /// `{{ "console.css"|file }}`: the address of a static file with its version.
    #[askama::filter_fn]
    pub fn file<T: AsRef<str>>(name: T, values: &dyn Values) -> Result<String> {
        let base = &get_value::<Layout>(values, "layout")?.base;
        Ok(format!("{base}{}", crate::web::files::path(name.as_ref())))
    }

    /// `{% let layout = ""|layout %}`: all of it, for the page frame.
    #[askama::filter_fn]
    pub fn layout(_: &str, values: &dyn Values) -> Result<Arc<Layout>> {
        Ok(get_value::<Arc<Layout>>(values, "layout")?.clone())
    }

    /// Whether an install id is that of the server whose page it is.
    #[askama::filter_fn]
    pub fn own(install_id: &str, values: &dyn Values) -> Result<bool> {
        Ok(get_value::<Arc<Layout>>(values, "layout")?.install_id == install_id)
    }

    /// A time of the database (UTC) in this server's zone, as `<time>`; a dash for none.
    #[askama::filter_fn]
    pub fn time<T: Borrow<Option<NaiveDateTime>>>(at: T, _: &dyn Values) -> Result<Safe<String>> {
        Ok(Safe(at.borrow().as_ref().map_or_else(|| "–".to_owned(), element)))
    }

    /// `{{ value|percent }}`: of a hundred, with one digit behind the point.
    #[askama::filter_fn]
    pub fn percent<T: Borrow<f64>>(value: T, _: &dyn Values) -> Result<String> {
        Ok(format!("{:.1} %", value.borrow()))
    }

    /// `{{ bytes|size }}`: with at most three digits before the point, as people write them.
    #[askama::filter_fn]
    pub fn size<T: Borrow<u64>>(bytes: T, _: &dyn Values) -> Result<String> {
        let units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
        let mut value = *bytes.borrow() as f64;
        let mut unit = 0;
        while value >= 1000.0 && unit + 1 < units.len() {
            value /= 1024.0;
            unit += 1;
        }
        let places = usize::from(unit > 0 && value < 100.0);
        Ok(format!("{value:.places$} {}", units[unit]))
    }

    /// Written digit by digit into one string: a page of fifty rows has two hundred of these, and format strings are
    /// parsed each time.
    fn element(at: &NaiveDateTime) -> String {
        let local = Local.from_utc_datetime(at);
        let (here, zone) = (local.naive_local(), local.offset().local_minus_utc() / 60);
        let millis = at.and_utc().timestamp_subsec_millis();
        let mut html = String::with_capacity(128);
        html.push_str("<time datetime=\"");
        day_and_time(&mut html, at, 'T');
        html.push('.');
        digits(&mut html, millis, 3);
        html.push_str("Z\" title=\"");
        day_and_time(&mut html, &here, ' ');
        html.push('.');
        digits(&mut html, millis, 3);
        html.push_str(if zone < 0 { " -" } else { " +" });
        digits(&mut html, zone.unsigned_abs() / 60, 2);
        html.push(':');
        digits(&mut html, zone.unsigned_abs() % 60, 2);
        html.push_str("\">");
        day_and_time(&mut html, &here, ' ');
        html.push_str("</time>");
        html
    }

    fn day_and_time(html: &mut String, at: &NaiveDateTime, between: char) {
        digits(html, at.year().unsigned_abs(), 4);
        html.push('-');
        digits(html, at.month(), 2);
        html.push('-');
        digits(html, at.day(), 2);
        html.push(between);
        digits(html, at.hour(), 2);
        html.push(':');
        digits(html, at.minute(), 2);
        html.push(':');
        digits(html, at.second(), 2);
    }

    /// The last `places` digits of a number.
    fn digits(html: &mut String, number: u32, places: u32) {
        for place in (0..places).rev() {
            html.push(char::from_digit(number / 10_u32.pow(place) % 10, 10).unwrap_or('0'));
        }
    }
}
