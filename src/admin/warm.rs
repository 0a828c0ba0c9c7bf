//! `POST /v1/warm`: fetches URLs through the cache before clients ask for them.
//!
//! A job asks the node itself, as a client would, so that sites, rules and flights apply;
//! what is a hit already costs nothing at the origin. Jobs are bounded in number, length
//! and concurrency and can be cancelled.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use axum::extract::{Path, State};
use axum::http::{StatusCode, Uri};
use axum::{Json, response::IntoResponse};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::answer::{Answer, Refusal, Sent, ok};
use super::handles::WarmFetch;

type Shared = Arc<super::State>;

/// URLs of one job.
const URLS_MAX: usize = 50_000;
/// Fetches of one job at a time.
const CONCURRENCY_MAX: usize = 64;
/// Jobs running at a time.
const RUNNING_MAX: usize = 4;
/// Jobs remembered.
const JOBS_MAX: usize = 32;
/// Failures described; the others are only counted.
const PROBLEMS_MAX: usize = 20;

/// The body of `POST /v1/warm`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Call {
    urls: Vec<String>,
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
    urls: Vec<Uri>,
    next: AtomicUsize,
    workers: AtomicUsize,
    counts: Mutex<Counts>,
    cancel: CancellationToken,
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

impl Job {
    fn is_running(&self) -> bool {
        self.workers.load(Ordering::Acquire) > 0
    }

    fn progress(&self) -> serde_json::Value {
        let state = match (self.is_running(), self.cancel.is_cancelled()) {
            (true, _) => "running",
            (false, true) => "cancelled",
            (false, false) => "done",
        };
        json!({"id": self.id, "state": state, "total": self.urls.len(),
               "counts": *self.counts.lock()})
    }

    async fn work(&self, fetch: &WarmFetch) {
        while let Some(url) = self.urls.get(self.next.fetch_add(1, Ordering::Relaxed)) {
            let fetched = tokio::select! {
                () = self.cancel.cancelled() => break,
                fetched = fetch(url.clone()) => fetched,
            };
            let mut counts = self.counts.lock();
            counts.done += 1;
            let problem = match fetched {
                Ok(warmed) => {
                    counts.bytes += warmed.bytes;
                    counts.hits += u64::from(warmed.hit);
                    (warmed.status >= 400).then(|| format!("{url}: status {}", warmed.status))
                }
                Err(why) => Some(format!("{url}: {why}")),
            };
            if let Some(problem) = problem {
                counts.failed += 1;
                if counts.problems.len() < PROBLEMS_MAX {
                    counts.problems.push(problem);
                }
            }
        }
        self.workers.fetch_sub(1, Ordering::AcqRel);
    }
}

/// `POST /v1/warm`: 202 with the job.
pub(super) async fn start(State(state): State<Shared>, Sent(call): Sent<Call>) -> Answer {
    let Some(fetch) = state.handles.warm.clone() else {
        return Err(Refusal::new(StatusCode::NOT_IMPLEMENTED, "this node has no way to warm"));
    };
    if call.urls.is_empty() || call.urls.len() > URLS_MAX {
        let got = call.urls.len();
        return Err(Refusal::bad(format!("got {got} urls, expected 1 to {URLS_MAX}")));
    }
    let mut urls = Vec::with_capacity(call.urls.len());
    for url in &call.urls {
        super::objects::asked_for(url)?;
        urls.push(url.parse().map_err(|_| Refusal::bad(format!("{url:?} is not a URL")))?);
    }
    let workers = call.concurrency.unwrap_or(8).clamp(1, CONCURRENCY_MAX).min(urls.len());
    let jobs = &state.jobs;
    let job = Arc::new(Job {
        id: jobs.last.fetch_add(1, Ordering::Relaxed) + 1,
        urls,
        next: AtomicUsize::new(0),
        workers: AtomicUsize::new(workers),
        counts: Mutex::default(),
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
    for _ in 0..workers {
        let (job, fetch) = (job.clone(), fetch.clone());
        tokio::spawn(async move { job.work(&*fetch).await });
    }
    Ok((StatusCode::ACCEPTED, Json(job.progress())).into_response())
}

/// `GET /v1/warm`: all remembered jobs, newest first.
pub(super) async fn list(State(state): State<Shared>) -> Answer {
    let jobs = state.jobs.jobs.lock();
    ok(json!({"jobs": jobs.iter().rev().map(|job| job.progress()).collect::<Vec<_>>()}))
}

/// `GET /v1/warm/{id}`.
pub(super) async fn show(State(state): State<Shared>, Path(id): Path<u64>) -> Answer {
    ok(find(&state, id)?.progress())
}

/// `DELETE /v1/warm/{id}`: stops it after the fetches under way.
pub(super) async fn cancel(State(state): State<Shared>, Path(id): Path<u64>) -> Answer {
    let job = find(&state, id)?;
    job.cancel.cancel();
    ok(job.progress())
}

fn find(state: &super::State, id: u64) -> Result<Arc<Job>, Refusal> {
    let jobs = state.jobs.jobs.lock();
    let job = jobs.iter().find(|job| job.id == id).cloned();
    job.ok_or_else(|| Refusal::not_found(format!("no warming job {id} is remembered")))
}
