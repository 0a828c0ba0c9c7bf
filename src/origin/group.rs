//! An origin as the rest of the node sees it: one name, one `send`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;
use http::Request;

use super::directory::Directory;
use super::divert::Divert;
use super::fault::OriginFault;
use super::fleet::{Fleet, Tries};
use super::options::{GroupOptions, Http2};
use super::outage::Outage;
use super::outgoing::Outgoing;
use super::resolve::Names;
use super::server::{Common, Server};
use super::state::{GroupState, ServerState};
use super::upstream::Upstream;
use super::{Address, Answer, SendContext, check, discover, tls};
use crate::base::clock;

/// A group of servers that hold the same content, or a directory.
#[derive(Debug)]
pub struct Group {
    pub(super) common: Arc<Common>,
    pub(super) fleet: ArcSwap<Fleet>,
    tries: Arc<Tries>,
    directory: Option<Directory>,
    divert: Divert,
    outage: Outage,
    watched: AtomicBool,
}

impl Group {
    /// Checks the options and reads certificate files; opens no connection. Errors are
    /// for the operator and name what was expected.
    pub fn new(options: GroupOptions) -> Result<Arc<Self>, String> {
        Self::over(options, None)
    }

    /// The same with `upstream` in place of sockets, if there is one.
    pub fn over(
        options: GroupOptions,
        upstream: Option<Arc<dyn Upstream>>,
    ) -> Result<Arc<Self>, String> {
        if options.servers.is_empty() == options.directory.is_none() {
            return Err(format!("origin {:?} needs either servers or a directory", options.name));
        }
        let tls = discover::uses_tls(&options.servers)
            .then(|| tls::client_config(&options.tls, options.http2))
            .transpose()?;
        if options.proxy_protocol && options.http2 == Http2::Only {
            tracing::warn!(origin = options.name, "PROXY protocol: one request a connection");
        }
        let directory = options.directory.clone().map(Directory::open).transpose()?;
        let names = Names::new(&options.discovery)?;
        let tries = Arc::new(Tries::new(&options));
        let outage = Outage::new(&options.retry, clock::instant());
        let common = Arc::new(Common { options, tls, names, upstream });
        let fleet = ArcSwap::from_pointee(build(&common)?);
        Ok(Arc::new(Group {
            common,
            fleet,
            tries,
            directory,
            divert: Divert::default(),
            outage,
            watched: AtomicBool::new(false),
        }))
    }

    /// Name that sites refer to.
    pub fn name(&self) -> &str {
        &self.common.options.name
    }

    /// What it was built from.
    pub fn options(&self) -> &GroupOptions {
        &self.common.options
    }

    /// Sends a request and waits for the head of the answer. Cancel-safe: a dropped call
    /// breaks the request off.
    pub async fn send(
        &self,
        request: Request<Outgoing>,
        cx: &SendContext,
    ) -> Result<Answer, OriginFault> {
        let other = self.divert.target();
        other.as_deref().unwrap_or(self).send_self(request, cx).await
    }

    async fn send_self(
        &self,
        request: Request<Outgoing>,
        cx: &SendContext,
    ) -> Result<Answer, OriginFault> {
        if let Some(directory) = &self.directory {
            return Box::pin(directory.send(request)).await;
        }
        let mut fleet = self.fleet.load_full();
        if fleet.servers.is_empty() && self.has_services() {
            // The first request may come before the first SRV answer.
            Box::pin(discover::refresh(self)).await;
            fleet = self.fleet.load_full();
        }
        let answer = fleet.send(request, cx, &self.common, &self.tries).await;
        self.note(&answer);
        answer
    }

    /// Whether the origin as a whole fails now: what a stale copy may answer should be
    /// answered by it, without waiting.
    pub fn is_failing(&self) -> bool {
        match self.divert.target() {
            Some(other) => other.outage.is_failing(),
            None => self.outage.is_failing(),
        }
    }

    /// Whether a request that a stale copy can answer may be sent now.
    pub fn may_probe(&self) -> bool {
        let now = clock::instant();
        match self.divert.target() {
            Some(other) => other.outage.may_probe(now),
            None => self.outage.may_probe(now),
        }
    }

    fn note(&self, answer: &Result<Answer, OriginFault>) {
        let good = match answer {
            Ok(answer) => !matches!(answer.response.status().as_u16(), 500 | 502 | 503 | 504),
            Err(OriginFault::ClientBody) => return,
            Err(_) => false,
        };
        match self.outage.note(good) {
            Some(true) => tracing::warn!(origin = self.name(), "origin fails: stale copies answer"),
            Some(false) => tracing::warn!(origin = self.name(), "origin answers again"),
            None => {}
        }
    }

    /// After a reload with other settings: servers that stay keep their state, so that one
    /// that was drained or ejected does not come back by that.
    pub fn adopt(&self, old: &Group) {
        let before = old.fleet.load();
        for server in &self.fleet.load().servers {
            let same = |one: &&Arc<Server>| one.name_hash == server.name_hash;
            if let Some(known) = before.servers.iter().find(same) {
                server.adopt(known);
            }
        }
    }

    /// Starts health checks and discovery on this runtime, once; they end with the group.
    pub fn watch(self: &Arc<Self>) {
        if self.watched.swap(true, Ordering::AcqRel) {
            return;
        }
        for server in &self.fleet.load().servers {
            check::watch(server);
        }
        discover::watch(self);
    }

    /// Takes a server out (requests in flight finish) or back in, with a slow start.
    pub fn drain(&self, server: &str, drained: bool) -> Result<(), String> {
        let server = self.server(server)?;
        server.health.drain(drained, clock::instant());
        tracing::warn!(server = %server.name, drained, "origin server drain");
        Ok(())
    }

    /// Changes the share of a server, 0 to 1000.
    pub fn set_weight(&self, server: &str, weight: u32) -> Result<(), String> {
        if weight > WEIGHT_MAX {
            return Err(format!("expected a weight up to {WEIGHT_MAX}, got {weight}"));
        }
        self.server(server)?.weight.store(weight, Ordering::Relaxed);
        Ok(())
    }

    /// Makes another group answer in place of this one, from the next request on; `None`
    /// or this group itself ends that. The groups must live as long (one configuration).
    pub fn switch(self: &Arc<Self>, to: Option<&Arc<Group>>) {
        let to = to.filter(|to| !Arc::ptr_eq(to, self));
        self.divert.switch(to);
        let to = to.map_or(self.name(), |to| to.name());
        tracing::warn!(origin = self.name(), to, "origin switched");
    }

    /// After a reload: takes over the switch of the group of that name before; `find`
    /// gives the groups of the new configuration.
    pub fn adopt_switch(&self, old: &Group, find: impl Fn(&str) -> Option<Arc<Group>>) {
        self.divert.adopt(&old.divert, find);
    }

    /// Goes back to who answered before the last switch. Returns that group's name.
    pub fn roll_back(&self) -> String {
        self.divert.roll_back();
        let to = self.divert.target().map_or(self.name().to_owned(), |to| to.name().to_owned());
        tracing::warn!(origin = self.name(), to, "origin rolled back");
        to
    }

    /// What an operator sees.
    pub fn state(&self) -> GroupState {
        let now = clock::instant();
        let fleet = self.fleet.load();
        GroupState {
            name: self.name().to_owned(),
            switched_to: self.divert.target().map(|to| to.name().to_owned()),
            directory: self.directory.as_ref().map(Directory::root),
            retries: self.tries.retries.load(Ordering::Relaxed),
            retries_refused: self.tries.budget.refused(),
            homeless: self.tries.homeless.load(Ordering::Relaxed),
            failing: self.outage.is_failing(),
            servers: fleet.servers.iter().map(|server| ServerState::of(server, now)).collect(),
        }
    }

    pub(super) fn has_services(&self) -> bool {
        let servers = &self.common.options.servers;
        servers.iter().any(|server| matches!(server.address, Address::Srv { .. }))
    }

    fn server(&self, name: &str) -> Result<Arc<Server>, String> {
        let fleet = self.fleet.load();
        let found = fleet.servers.iter().find(|server| &*server.name == name);
        found.cloned().ok_or_else(|| format!("origin {:?} has no server {name:?}", self.name()))
    }
}

fn build(common: &Arc<Common>) -> Result<Fleet, String> {
    let mut servers = Vec::new();
    for spec in &common.options.servers {
        if !matches!(spec.address, Address::Srv { .. }) {
            servers.push(Server::new(spec.clone(), common.clone())?);
        }
    }
    servers.sort_by_key(|server| server.spec.priority);
    Ok(Fleet { servers })
}

/// Largest weight of a server.
pub const WEIGHT_MAX: u32 = 1000;
