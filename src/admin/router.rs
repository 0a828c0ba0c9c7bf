//! The way from a route of the table to its handler, all of it behind the guard.

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post, put};

use super::{
    State, dashboard, disk, explain, guard, history, lab, objects, openapi, purge, sight, warm,
};

/// The router with its guard.
pub(super) fn router(state: Arc<State>) -> Router {
    Router::new()
        .route("/", get(dashboard::page))
        .route("/dashboard/style.css", get(dashboard::style))
        .route("/dashboard/app.js", get(dashboard::script))
        .route("/dashboard/lab.js", get(dashboard::lab))
        .route("/dashboard/icon.svg", get(dashboard::icon))
        .route("/v1/openapi.json", get(openapi::openapi))
        .route("/healthz", get(sight::health))
        .route("/readyz", get(sight::ready))
        .route("/metrics", get(sight::metrics))
        .route("/v1/stats", get(sight::stats))
        .route("/v1/history", get(history::history))
        .route("/v1/purge", post(purge::post))
        .route("/v1/purges", get(purge::list))
        .route("/v1/objects", get(objects::list))
        .route("/v1/explain", get(explain::explain))
        .route("/v1/top", get(sight::top))
        .route("/v1/log", get(sight::log))
        .route("/v1/audit", get(sight::audit))
        .route("/v1/warm", post(warm::start).get(warm::list))
        .route("/v1/warm/{id}", get(warm::show).delete(warm::cancel))
        .route("/v1/lab/curve", get(lab::curve))
        .route("/v1/lab/sample", get(lab::sample))
        .route("/v1/disk", get(disk::list).put(disk::set))
        .route("/v1/origins", get(sight::origins))
        .route("/v1/origins/{origin}", put(sight::set_origin))
        .route("/v1/origins/{origin}/servers/{server}", put(sight::set_server))
        .fallback(purge::by_method)
        .method_not_allowed_fallback(purge::by_method)
        .layer(DefaultBodyLimit::max(guard::BODY_MAX))
        .layer(from_fn_with_state(state.clone(), guard::guard))
        .with_state(state)
}
