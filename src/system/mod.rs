//! What this server says of itself: alive, ready, who it is, how it does; and the reader's language and theme.

pub mod home;
mod log;
pub mod settings;

use std::time::Duration;

use poem::http::{StatusCode, header};
use poem::web::{Data, Json, Path};
use poem::{Request, Response, handler};
use prometheus::{GaugeVec, Opts, Registry};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::app::{App, Standing};
use crate::clusters;
use crate::error::{Error, Result};
use crate::i18n::{Lang, Text};
use crate::people::Role;
use crate::people::access::{Access, Address, get, post};
use crate::people::sessions::{self, Viewer, cookie};
use crate::web::guard::{bearer, is_https, is_local};
use crate::web::layout::{COOKIE_SECONDS, LANG_COOKIE, THEME_COOKIE, Theme};
use crate::web::{Form, Hx, files};

/// A load balancer should hear "not ready" before its own time limit, commonly 5 s or more.
const READY: Duration = Duration::from_secs(2);

pub fn routes() -> Vec<Address> {
    let own = vec![
        get("/healthz", Access::Anyone, health),
        get("/readyz", Access::Anyone, ready),
        get("/identity", Access::Anyone, identity),
        get("/metrics", Access::Anyone, metrics),
        post("/preferences", Access::Guest, preferences),
        get("/static/:name", Access::Anyone, files::show),
        get("/*other", Access::Signed, other),
    ];
    [own, home::routes(), settings::routes(), log::routes()]
        .into_iter()
        .flatten()
        .collect()
}

/// `GET /` leads home. Any other address does not exist, which strangers are not told (the router takes the bare slash for one
/// of them).
#[handler]
fn other(hx: Hx, viewer: Viewer, Path(other): Path<String>) -> Result<Response> {
    match (other.as_str(), viewer.role) {
        ("", Role::Member) => Ok(hx.see_other("/workspaces")),
        ("", _) => Ok(hx.see_other("/home")),
        _ => Err(Error::NotFound(Text::new("error.not_found"))),
    }
}

/// `GET /healthz`: the process answers.
#[handler]
fn health() -> &'static str {
    "ok\n"
}

/// `GET /readyz`: the database answers and this server may work.
#[handler]
async fn ready(app: Data<&App>) -> Response {
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
fn identity(app: Data<&App>) -> Json<Value> {
    Json(json!({
        "product": "Muster",
        "version": env!("CARGO_PKG_VERSION"),
        "installId": app.install.id,
        "clusterId": app.cluster_id(),
    }))
}

/// `GET /metrics` in Prometheus's text format. What concerns this process anyone may read, also while the database is
/// away; the clusters' ages are for whoever shows a token.
#[handler]
async fn metrics(app: Data<&App>, req: &Request) -> Result<Response> {
    let registry = Registry::new();
    let ages = timeout(READY, beat_ages(&app, req)).await;
    if let Ok(Err(Error::SignIn)) = ages {
        return Err(Error::SignIn);
    }
    if let Ok(Ok(ages)) = ages {
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

async fn beat_ages(app: &App, req: &Request) -> Result<Vec<(String, String, Option<f64>)>> {
    match sessions::shown_role(app, req).await? {
        Some(role) if role >= Role::SystemAdmin => {}
        // Whoever mistypes a token, or whose token is over, should hear of it.
        None if bearer(req).is_some() => return Err(Error::SignIn),
        _ => return Ok(Vec::new()),
    }
    let mut conn = app.db.conn().await?;
    Ok(clusters::queries::beat_ages(&mut conn).await?)
}

/// `POST /preferences`: keeps the reader's language or theme in a cookie and returns to where they were.
#[handler]
fn preferences(hx: Hx, app: Data<&App>, form: Form, req: &Request) -> Result<Response> {
    let lang = Lang::parse(form.text("lang")).map(|lang| (LANG_COOKIE, lang.code()));
    let theme = Theme::parse(form.text("theme")).map(|theme| (THEME_COOKIE, theme.code()));
    let wrong = || Error::Invalid(Text::new("error.form"));
    let (name, value) = lang.or(theme).ok_or_else(wrong)?;
    let back = Some(form.text("back")).filter(|back| is_local(back)).unwrap_or("/");
    let set = cookie(&app, name, value, Some(COOKIE_SECONDS), is_https(req));
    let mut answer = hx.see_other(back);
    let set = set.parse().map_err(|_| wrong())?;
    answer.headers_mut().insert(header::SET_COOKIE, set);
    Ok(answer)
}
