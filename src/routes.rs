//! Every address, by feature, and what all of them pass through.

use std::collections::BTreeMap;
use std::sync::Arc;

use poem::endpoint::BoxEndpoint;
use poem::{EndpointExt, Response, Route, RouteMethod};

use crate::app::App;
use crate::people::People;
use crate::people::access::Address;
use crate::{assets, clusters, groups, handovers, jumps, notify, people, system, web, workspaces};

/// Every address with who may use it.
pub fn table() -> Vec<Address> {
    [
        system::routes(),
        people::routes(),
        groups::routes(),
        workspaces::routes(),
        clusters::routes(),
        notify::routes(),
        assets::routes(),
        handovers::routes(),
        jumps::routes(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The whole site behind its base path.
pub fn all(app: &App) -> BoxEndpoint<'static, Response> {
    let mut paths: BTreeMap<&'static str, RouteMethod> = BTreeMap::new();
    for address in table() {
        let (method, path) = (address.method.clone(), address.path);
        let known = paths.remove(path).unwrap_or_default();
        paths.insert(path, known.method(method, address.mounted()));
    }
    let site = paths
        .into_iter()
        .fold(Route::new(), |site, (path, methods)| site.at(path, methods));
    let site = match app.config.base_path.as_str() {
        "" => site,
        base => Route::new().nest(base, site),
    };
    // Each address has its own limit; this one is for what is none of them.
    site.around(|next, req| web::page::errors_within(web::page::LONGEST, next, req))
        .around(web::fresh::writes)
        .around(web::guard::headers)
        .data(app.clone())
        .data(Arc::new(People::default()))
        .boxed()
}
