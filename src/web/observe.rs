//! Counts and times each request for `/metrics`.

use std::sync::Arc;
use std::time::Instant;

use poem::{Endpoint, Request, Response};

use crate::app::App;

/// Labels by the route as it stands in `routes`, not by path: a path may be anything a stranger types.
pub async fn request<E: Endpoint>(route: &'static str, next: Arc<E>, req: Request) -> poem::Result<Response> {
    let app = req.data::<App>().cloned();
    let method = match req.method().as_str() {
        known @ ("GET" | "HEAD" | "POST") => known.to_owned(),
        _ => "other".to_owned(),
    };
    let started = Instant::now();
    let answer = next.get_response(req).await;
    if let Some(app) = app {
        let metrics = &app.metrics;
        metrics
            .requests
            .with_label_values(&[&method, route, &answer.status().as_u16().to_string()])
            .inc();
        metrics
            .request_seconds
            .with_label_values(&[route])
            .observe(started.elapsed().as_secs_f64());
    }
    Ok(answer)
}
