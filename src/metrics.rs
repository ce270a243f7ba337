//! What `/metrics` tells about this process, in the units and names Prometheus asks for.

use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts, Registry, TextEncoder,
};

use crate::error::{Error, Result};

/// From a cached answer to a request that waits for the database until it gives up.
const BUCKETS: [f64; 11] = [0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0];

#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// Requests answered, by method, route and status.
    pub requests: IntCounterVec,
    /// Seconds from request to answer, by route.
    pub request_seconds: HistogramVec,
    /// Seconds one heartbeat took at the database.
    pub beat_seconds: Histogram,
    /// Heartbeats that did not reach the database in time.
    pub beats_missed: IntCounter,
    /// Database connections of the pool that are open.
    pub pool_open: IntGauge,
    /// … and of those, the idle ones.
    pub pool_idle: IntGauge,
}

impl Metrics {
    /// # Errors
    /// [`Error::Internal`] when two metrics share a name, which a first start would show.
    pub fn new() -> Result<Metrics> {
        let internal = |cause: prometheus::Error| Error::Internal(cause.into());
        let build = || -> prometheus::Result<Metrics> {
            let metrics = Metrics {
                registry: Registry::new(),
                requests: IntCounterVec::new(
                    Opts::new("muster_http_requests_total", "Requests answered"),
                    &["method", "route", "status"],
                )?,
                request_seconds: HistogramVec::new(
                    HistogramOpts::new("muster_http_request_duration_seconds", "Time from request to answer")
                        .buckets(BUCKETS.to_vec()),
                    &["route"],
                )?,
                beat_seconds: Histogram::with_opts(
                    HistogramOpts::new(
                        "muster_beat_duration_seconds",
                        "Time one heartbeat took at the database",
                    )
                    .buckets(BUCKETS.to_vec()),
                )?,
                beats_missed: IntCounter::new(
                    "muster_beats_missed_total",
                    "Heartbeats that did not reach the database in time",
                )?,
                pool_open: IntGauge::new("muster_database_pool_connections", "Open connections of the pool")?,
                pool_idle: IntGauge::new("muster_database_pool_idle_connections", "Idle connections of the pool")?,
            };
            let registry = &metrics.registry;
            registry.register(Box::new(metrics.requests.clone()))?;
            registry.register(Box::new(metrics.request_seconds.clone()))?;
            registry.register(Box::new(metrics.beat_seconds.clone()))?;
            registry.register(Box::new(metrics.beats_missed.clone()))?;
            registry.register(Box::new(metrics.pool_open.clone()))?;
            registry.register(Box::new(metrics.pool_idle.clone()))?;
            Ok(metrics)
        };
        build().map_err(internal)
    }

    /// The process's own metrics in Prometheus's text format, followed by those of `more`.
    ///
    /// # Errors
    /// [`Error::Internal`] when the encoder fails.
    pub fn text(&self, more: &Registry) -> Result<String> {
        let mut families = self.registry.gather();
        families.extend(more.gather());
        TextEncoder::new()
            .encode_to_string(&families)
            .map_err(|cause| Error::Internal(cause.into()))
    }
}
