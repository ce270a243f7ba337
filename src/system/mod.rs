//! What this server says of itself: alive, ready, who it is, how it does; and the reader's language and theme.

use std::time::Duration;

use poem::http::{HeaderMap, StatusCode, header};
use poem::web::{Data, Json};
use poem::{Request, Response, handler};
use prometheus::{GaugeVec, Opts, Registry};
use serde_json::{Value, json};
use tokio::time::timeout;
use url::form_urlencoded;

use crate::app::{App, Standing};
use crate::clusters;
use crate::error::{Error, Result};
use crate::i18n::{Lang, Text};
use crate::web::layout::{LANG_COOKIE, THEME_COOKIE, Theme};

/// A load balancer should hear "not ready" before its own time limit, commonly 5 s or more.
const READY: Duration = Duration::from_secs(2);
/// A form with two short fields; anything longer is not ours.
const LONGEST_FORM: usize = 64 * 1024;
/// A year.
const COOKIE_SECONDS: u32 = 31_536_000;

/// `GET /`: the list is the home page until there is one.
#[handler]
pub fn home(app: Data<&App>) -> Response {
    see_other(&app, "/clusters")
}

/// `GET /healthz`: the process answers.
#[handler]
pub fn health() -> &'static str {
    "ok\n"
}

/// `GET /readyz`: the database answers and this server may work.
#[handler]
pub async fn ready(app: Data<&App>) -> Response {
    let not_ready = |reason: &str| {
        Response::builder()
            .status(StatusCode::SERVICE_UNAVAILABLE)
            .body(format!("{reason}\n"))
    };
    match &*app.standing.borrow() {
        Standing::Working => {}
        Standing::Starting(_) => return not_ready("starting"),
        Standing::Removed { .. } => return not_ready("removed"),
        Standing::Duplicate { .. } => return not_ready("duplicate install id"),
    }
    let name = async {
        let mut conn = app.db.conn().await?;
        Ok::<_, Error>(clusters::queries::name(&mut conn, &app.install.id).await?)
    };
    match timeout(READY, name).await {
        Ok(Ok(_)) => Response::builder().body("ready\n"),
        Ok(Err(_)) | Err(_) => not_ready("database"),
    }
}

/// `GET /identity`: who answers at this address; open to anyone, so it tells no more than that.
#[handler]
pub fn identity(app: Data<&App>) -> Json<Value> {
    Json(json!({
        "product": "Muster",
        "version": env!("CARGO_PKG_VERSION"),
        "installId": app.install.id,
        "clusterId": app.config.cluster_id,
    }))
}

/// `GET /metrics` in Prometheus's text format; without the clusters' ages while the database is away.
#[handler]
pub async fn metrics(app: Data<&App>) -> Result<Response> {
    let registry = Registry::new();
    if let Ok(Ok(ages)) = timeout(READY, beat_ages(&app)).await {
        let internal = |cause: prometheus::Error| Error::Internal(cause.into());
        let gauge = GaugeVec::new(
            Opts::new(
                "muster_cluster_beat_age_seconds",
                "Seconds since the cluster's last beat, by the database's clock",
            ),
            &["install_id", "cluster_id"],
        )
        .map_err(internal)?;
        for (install_id, cluster_id, age) in ages {
            gauge
                .with_label_values(&[&install_id, &cluster_id])
                .set(age.unwrap_or(f64::NAN));
        }
        registry.register(Box::new(gauge)).map_err(internal)?;
    }
    let (open, idle) = app.db.pool_sizes();
    app.metrics.pool_open.set(open);
    app.metrics.pool_idle.set(idle);
    Ok(Response::builder()
        .content_type("text/plain; version=0.0.4; charset=utf-8")
        .body(app.metrics.text(&registry)?))
}

async fn beat_ages(app: &App) -> Result<Vec<(String, String, Option<f64>)>> {
    let mut conn = app.db.conn().await?;
    Ok(clusters::queries::beat_ages(&mut conn).await?)
}

/// `POST /preferences`: keeps the reader's language or theme in a cookie and returns to where they were.
#[handler]
pub async fn preferences(app: Data<&App>, req: &Request, body: poem::Body) -> Result<Response> {
    let wrong = || Error::Invalid(Text::new("error.form"));
    let bytes = body.into_bytes_limit(LONGEST_FORM).await.map_err(|_| wrong())?;
    let (mut cookie, mut back) = (None, "/clusters".to_owned());
    for (key, value) in form_urlencoded::parse(&bytes) {
        match key.as_ref() {
            "lang" => cookie = Lang::parse(&value).map(|lang| (LANG_COOKIE, lang.code())),
            "theme" => cookie = Theme::parse(&value).map(|theme| (THEME_COOKIE, theme.code())),
            "back" if is_local(&value) => back = value.into_owned(),
            _ => {}
        }
    }
    let (name, value) = cookie.ok_or_else(wrong)?;
    let mut answer = see_other(&app, &back);
    let path = if app.config.base_path.is_empty() {
        "/"
    } else {
        &app.config.base_path
    };
    let secure = if is_https(req.headers()) { "; Secure" } else { "" };
    let set = format!("{name}={value}; Path={path}; Max-Age={COOKIE_SECONDS}; SameSite=Lax; HttpOnly{secure}");
    answer
        .headers_mut()
        .insert(header::SET_COOKIE, set.parse().map_err(|_| wrong())?);
    Ok(answer)
}

/// A path of ours: neither another host (`//`, `/\`) nor anything that could end the header.
fn is_local(path: &str) -> bool {
    path.starts_with('/')
        && !path.starts_with("//")
        && !path.starts_with("/\\")
        && path.bytes().all(|b| b.is_ascii_graphic())
}

/// Whether the browser itself says that it came by TLS; a preference needs no more certainty than that.
fn is_https(headers: &HeaderMap) -> bool {
    let origin = headers.get(header::ORIGIN).and_then(|value| value.to_str().ok());
    origin.is_some_and(|origin| origin.starts_with("https://"))
}

/// 303 to a path of ours, behind the base path.
fn see_other(app: &App, path: &str) -> Response {
    Response::builder()
        .status(StatusCode::SEE_OTHER)
        .header(header::LOCATION, format!("{}{path}", app.config.base_path))
        .finish()
}

#[cfg(test)]
mod tests {
    use super::is_local;

    #[test]
    fn only_paths_of_ours_are_returned_to() {
        assert!(is_local("/clusters?name=a%20b"));
        for elsewhere in ["//evil", "/\\evil", "https://evil", "", "/a\r\nSet-Cookie: x", "/ä"] {
            assert!(!is_local(elsewhere), "{elsewhere}");
        }
    }
}
