//! An answer as the tests ask it.

use poem::http::StatusCode;
use poem::test::TestResponse;
use scraper::{Html, Selector};

use crate::support::Visitor;

/// An answer with its HTML ready to be asked.
pub(crate) struct Page {
    pub(crate) status: StatusCode,
    pub(crate) headers: poem::http::HeaderMap,
    pub(crate) body: String,
}

impl Page {
    pub(crate) async fn of(response: TestResponse) -> Page {
        let status = response.0.status();
        let headers = response.0.headers().clone();
        // A stream has no end to wait for.
        let is_stream = headers
            .get("content-type")
            .is_some_and(|kind| kind.to_str().unwrap().contains("event-stream"));
        let body = match is_stream {
            true => String::new(),
            false => response.0.into_body().into_string().await.unwrap(),
        };
        Page { status, headers, body }
    }

    /// The text of all that matches, white space folded.
    pub(crate) fn text(&self, selector: &str) -> String {
        let html = Html::parse_document(&self.body);
        let selector = Selector::parse(selector).unwrap();
        let words: Vec<&str> = html.select(&selector).flat_map(|found| found.text()).collect();
        folded(&words)
    }

    /// [`Page::text`] of each that matches.
    pub(crate) fn texts(&self, selector: &str) -> Vec<String> {
        let html = Html::parse_document(&self.body);
        let selector = Selector::parse(selector).unwrap();
        let found = html.select(&selector);
        found.map(|found| folded(&found.text().collect::<Vec<_>>())).collect()
    }

    /// What stands in a field.
    pub(crate) fn value(&self, selector: &str) -> String {
        let html = Html::parse_document(&self.body);
        let found = html.select(&Selector::parse(selector).unwrap()).next();
        found
            .unwrap_or_else(|| panic!("no {selector}"))
            .attr("value")
            .unwrap_or_default()
            .to_owned()
    }

    /// An attribute of each that matches and has it.
    pub(crate) fn attrs(&self, selector: &str, name: &str) -> Vec<String> {
        let html = Html::parse_document(&self.body);
        let selector = Selector::parse(selector).unwrap();
        let found = html.select(&selector);
        found.filter_map(|found| found.attr(name)).map(str::to_owned).collect()
    }

    pub(crate) fn count(&self, selector: &str) -> usize {
        let html = Html::parse_document(&self.body);
        html.select(&Selector::parse(selector).unwrap()).count()
    }

    #[track_caller]
    pub(crate) fn shows(&self, text: &str) {
        assert!(
            self.text("*").contains(text),
            "{text:?} is not in: {}",
            self.text("body")
        );
    }

    /// Whoever this answer signs in.
    #[track_caller]
    pub(crate) fn visitor(&self) -> Visitor {
        let token = self.session();
        Visitor {
            account_id: "somebody".to_owned(),
            token: token.unwrap_or_else(|| panic!("no session: {} {}", self.status, self.text("body"))),
        }
    }

    /// The session that this answer starts.
    pub(crate) fn session(&self) -> Option<String> {
        let cookies = self.headers.get_all("set-cookie").iter();
        let values = cookies.filter_map(|cookie| cookie.to_str().ok()?.strip_prefix("muster_s_")?.split_once('='));
        // Others are told to be forgotten.
        let mut values = values.filter_map(|(_, rest)| Some(rest.split(';').next()?.to_owned()));
        values.find(|value| value.len() == 64)
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

fn folded(words: &[&str]) -> String {
    words.join(" ").split_whitespace().collect::<Vec<_>>().join(" ")
}
