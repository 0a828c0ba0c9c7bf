//! `POST /v1/warm`: fetches URLs through the cache before clients ask for them.
//!
//! A job asks the node itself, as a client would, so that sites, rules and flights apply;
//! what is a hit already costs nothing at the origin. URLs come as a list, as a file (one a
//! line, or a sitemap) or as the URL of a sitemap, which is fetched the same way, so that
//! nobody can make the node ask a host that it does not serve. Jobs are bounded in number,
//! length and concurrency and can be cancelled.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::{Json, response::IntoResponse};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::answer::{Answer, Path, Query, Refusal, ok};
use super::handles::{WarmFetch, Warmed};
use super::sitemap::{self, LIST_MAX, Listed};
use crate::base::Clock;

type Shared = Arc<super::State>;

/// URLs of one job.
const URLS_MAX: usize = 50_000;
/// Sitemaps read for one job.
const SITEMAPS_MAX: usize = 100;
/// Fetches of one job at a time.
const CONCURRENCY_MAX: usize = 64;
/// Jobs running at a time.
const RUNNING_MAX: usize = 4;
/// Jobs remembered.
const JOBS_MAX: usize = 32;
/// Failures described; the others are only counted.
const PROBLEMS_MAX: usize = 20;

/// The body of `POST /v1/warm` as JSON.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Call {
    urls: Vec<String>,
    sitemap: Option<String>,
    concurrency: Option<usize>,
}

/// The query of `POST /v1/warm`, for a body that is a file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Options {
    concurrency: Option<usize>,
}

/// All jobs.
#[derive(Default)]
pub(super) struct Jobs {
    last: AtomicU64,
    jobs: Mutex<VecDeque<Arc<Job>>>,
}

struct Job {
    id: u64,
    workers: usize,
    clock: Clock,
    started_ms: u64,
    next: AtomicUsize,
    progress: Mutex<Progress>,
    cancel: CancellationToken,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Stage {
    /// Sitemaps are being read.
    Reading,
    Running,
    Done,
    Cancelled,
}

struct Progress {
    stage: Stage,
    urls: Arc<Vec<Uri>>,
    ended_ms: Option<u64>,
    counts: Counts,
}

#[derive(Clone, Debug, Default, Serialize)]
struct Counts {
    done: u64,
    /// Were in the cache already.
    hits: u64,
    failed: u64,
    bytes: u64,
    problems: Vec<String>,
}

impl Counts {
    fn failed(&mut self, why: String) {
        self.failed += 1;
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(why);
        }
    }
}

impl Job {
    fn is_running(&self) -> bool {
        matches!(self.progress.lock().stage, Stage::Reading | Stage::Running)
    }

    fn shown(&self) -> serde_json::Value {
        let progress = self.progress.lock();
        let until = progress.ended_ms.unwrap_or_else(|| self.clock.now().mono_ms);
        json!({"id": self.id, "state": progress.stage, "total": progress.urls.len(),
               "concurrency": self.workers, "took_ms": until.saturating_sub(self.started_ms),
               "counts": progress.counts})
    }

    async fn run(self: Arc<Self>, fetch: Arc<WarmFetch>, sitemap: Option<Uri>) {
        if let Some(sitemap) = sitemap {
            let urls = tokio::select! {
                () = self.cancel.cancelled() => Vec::new(),
                urls = self.read(&*fetch, sitemap) => urls,
            };
            let mut progress = self.progress.lock();
            let known: Vec<Uri> = progress.urls.iter().cloned().chain(urls).collect();
            progress.urls = Arc::new(known);
            progress.stage = Stage::Running;
        }
        let urls = self.progress.lock().urls.clone();
        let workers = (0..self.workers.min(urls.len())).map(|_| self.work(&urls, &*fetch));
        futures_util::future::join_all(workers).await;
        let mut progress = self.progress.lock();
        let cancelled = self.cancel.is_cancelled();
        progress.stage = if cancelled { Stage::Cancelled } else { Stage::Done };
        progress.ended_ms = Some(self.clock.now().mono_ms);
    }

    /// The URLs of a sitemap and of those it names.
    async fn read(&self, fetch: &WarmFetch, first: Uri) -> Vec<Uri> {
        let (mut urls, mut open, mut read) = (Vec::new(), vec![first], 0);
        while let Some(sitemap) = open.pop() {
            read += 1;
            let listed = match fetch(sitemap.clone(), LIST_MAX).await {
                Ok(Warmed { status: 200, body, .. }) => sitemap::listed(&body),
                Ok(Warmed { status, .. }) => Err(format!("status {status}")),
                Err(why) => Err(why),
            };
            let mut progress = self.progress.lock();
            let Listed { urls: found, sitemaps } = listed.unwrap_or_else(|why| {
                progress.counts.failed(format!("sitemap {sitemap}: {why}"));
                Listed::default()
            });
            for url in found {
                match parsed(&url) {
                    Ok(url) if urls.len() < URLS_MAX => urls.push(url),
                    Ok(_) => {
                        progress.counts.failed(format!("more than {URLS_MAX} URLs"));
                        return urls;
                    }
                    Err(why) => progress.counts.failed(why),
                }
            }
            for sitemap in sitemaps {
                match parsed(&sitemap) {
                    Ok(url) if read + open.len() < SITEMAPS_MAX => open.push(url),
                    Ok(_) => progress.counts.failed(format!("more than {SITEMAPS_MAX} sitemaps")),
                    Err(why) => progress.counts.failed(why),
                }
            }
        }
        urls
    }

    async fn work(&self, urls: &[Uri], fetch: &WarmFetch) {
        while let Some(url) = urls.get(self.next.fetch_add(1, Ordering::Relaxed)) {
            let fetched = tokio::select! {
                () = self.cancel.cancelled() => break,
                fetched = fetch(url.clone(), 0) => fetched,
            };
            let counts = &mut self.progress.lock().counts;
            counts.done += 1;
            match fetched {
                Ok(warmed) => {
                    counts.bytes += warmed.bytes;
                    counts.hits += u64::from(warmed.hit);
                    if warmed.status >= 400 {
                        counts.failed(format!("{url}: status {}", warmed.status));
                    }
                }
                Err(why) => counts.failed(format!("{url}: {why}")),
            }
        }
    }
}

fn parsed(url: &str) -> Result<Uri, String> {
    super::objects::asked_for(url).map_err(|refusal| refusal.message().to_owned())?;
    url.parse().map_err(|_| format!("{url:?} is not a URL"))
}

/// What a body asks for: JSON, or a file with one URL a line or a sitemap.
fn call(body: &[u8], options: &Options) -> Result<Call, Refusal> {
    if body.trim_ascii_start().starts_with(b"{") {
        let call: Result<Call, _> = serde_json::from_slice(body);
        let mut call = call.map_err(|error| Refusal::bad(format!("expected JSON: {error}")))?;
        call.concurrency = call.concurrency.or(options.concurrency);
        return Ok(call);
    }
    let listed = sitemap::listed(body).map_err(Refusal::bad)?;
    if !listed.sitemaps.is_empty() {
        return Err(Refusal::bad("this is an index of sitemaps: give {\"sitemap\": its URL}"));
    }
    Ok(Call { urls: listed.urls, sitemap: None, concurrency: options.concurrency })
}

/// `POST /v1/warm`: 202 with the job.
pub(super) async fn start(
    State(state): State<Shared>,
    Query(options): Query<Options>,
    body: Bytes,
) -> Answer {
    let Some(fetch) = state.handles.warm.clone() else {
        return Err(Refusal::new(StatusCode::NOT_IMPLEMENTED, "this node has no way to warm"));
    };
    let call = call(&body, &options)?;
    let got = call.urls.len();
    if (got == 0 && call.sitemap.is_none()) || got > URLS_MAX {
        return Err(Refusal::bad(format!(
            "got {got} urls, expected 1 to {URLS_MAX}, or the URL of a sitemap"
        )));
    }
    let urls = call.urls.iter().map(|url| parsed(url)).collect::<Result<Vec<_>, _>>();
    let urls = Arc::new(urls.map_err(Refusal::bad)?);
    let sitemap = call.sitemap.as_deref().map(parsed).transpose().map_err(Refusal::bad)?;
    let stage = if sitemap.is_some() { Stage::Reading } else { Stage::Running };
    let (jobs, clock) = (&state.jobs, state.handles.clock.clone());
    let job = Arc::new(Job {
        id: jobs.last.fetch_add(1, Ordering::Relaxed) + 1,
        workers: call.concurrency.unwrap_or(8).clamp(1, CONCURRENCY_MAX),
        started_ms: clock.now().mono_ms,
        clock,
        next: AtomicUsize::new(0),
        progress: Mutex::new(Progress { stage, urls, ended_ms: None, counts: Counts::default() }),
        cancel: CancellationToken::new(),
    });
    {
        let mut list = jobs.jobs.lock();
        if list.iter().filter(|job| job.is_running()).count() >= RUNNING_MAX {
            return Err(Refusal::too_many(5, "as many warming jobs run as may at a time"));
        }
        if list.len() >= JOBS_MAX {
            list.pop_front();
        }
        list.push_back(job.clone());
    }
    let shown = job.shown();
    tokio::spawn(job.run(fetch, sitemap));
    Ok((StatusCode::ACCEPTED, Json(shown)).into_response())
}

/// `GET /v1/warm`: all remembered jobs, newest first.
pub(super) async fn list(State(state): State<Shared>) -> Answer {
    let jobs = state.jobs.jobs.lock();
    ok(json!({"jobs": jobs.iter().rev().map(|job| job.shown()).collect::<Vec<_>>()}))
}

/// `GET /v1/warm/{id}`.
pub(super) async fn show(State(state): State<Shared>, Path(id): Path<u64>) -> Answer {
    ok(find(&state, id)?.shown())
}

/// `DELETE /v1/warm/{id}`: stops it; fetches under way are given up.
pub(super) async fn cancel(State(state): State<Shared>, Path(id): Path<u64>) -> Answer {
    let job = find(&state, id)?;
    job.cancel.cancel();
    ok(job.shown())
}

fn find(state: &super::State, id: u64) -> Result<Arc<Job>, Refusal> {
    let jobs = state.jobs.jobs.lock();
    let job = jobs.iter().find(|job| job.id == id).cloned();
    job.ok_or_else(|| Refusal::not_found(format!("no warming job {id} is remembered")))
}
