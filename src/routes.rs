//! Every address, by feature, and what all of them pass through.

use poem::endpoint::BoxEndpoint;
use poem::{EndpointExt, Response, Route, get, post};

use crate::app::App;
use crate::{clusters, system, web};

/// The whole site behind its base path.
pub fn all(app: &App) -> BoxEndpoint<'static, Response> {
    let clusters = clusters::routes()
        .around(clusters::name_for_frame)
        .around(web::page::standing);
    let site = Route::new()
        .at("/", get(system::home))
        .at("/healthz", get(system::health))
        .at("/readyz", get(system::ready))
        .at("/identity", get(system::identity))
        .at("/metrics", get(system::metrics))
        .at("/preferences", post(system::preferences))
        .at("/static/:name", get(web::files::show))
        .nest("/clusters", clusters);
    let site = match app.config.base_path.as_str() {
        "" => site,
        base => Route::new().nest(base, site),
    };
    site.around(web::guard::same_origin)
        .around(web::page::errors)
        .around(web::guard::headers)
        .around(web::observe::requests)
        .data(app.clone())
        .boxed()
}
