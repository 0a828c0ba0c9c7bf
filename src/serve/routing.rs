//! The part of the configuration that requests walk through: sites, rules, origins, trust.
//!
//! Immutable; a reload builds another one aside and swaps the pointer, exchanges in flight
//! keep the one they began with.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use http::HeaderValue;
use ipnet::IpNet;

use crate::origin::{Group, SendContext};
use crate::rules::asked::{Asked, Scheme};
use crate::rules::door::Arrival;
use crate::rules::forward::{Announce, Hop};
use crate::rules::key::Key;
use crate::rules::site::{Policy, Site, Sites};

/// Sites and origins of one configuration.
pub struct Routing {
    sites: Sites,
    origins: HashMap<String, Arc<Group>>,
    /// Networks whose forwarded fields are believed.
    trust: Vec<IpNet>,
    /// Which fields tell origins about clients.
    announce: Announce,
    /// This node's name in `Via`, `Cache-Status` and `CDN-Loop`.
    pub node: Box<str>,
    /// What `CDN-Loop` calls this process (RFC 8586): two nodes of one name, one behind the
    /// other, are no loop, so the name alone will not do.
    cdn_id: Box<str>,
    /// `1.1 node`, the `Via` of answers.
    pub via: HeaderValue,
}

/// Where a request belongs: a site, and the rule of it that matched.
#[derive(Clone)]
pub struct Place {
    /// The site.
    pub site: Arc<Site>,
    /// Index of the rule, if one matched.
    pub rule: Option<usize>,
}

impl Place {
    /// The policy that applies.
    pub fn policy(&self) -> &Policy {
        self.rule
            .and_then(|index| self.site.rules.get(index))
            .map_or(&self.site.policy, |rule| &rule.policy)
    }
}

impl Routing {
    /// Puts the parts together.
    pub fn new(
        node: &str,
        instance: u32,
        sites: Vec<Site>,
        origins: HashMap<String, Arc<Group>>,
        trust: Vec<IpNet>,
        announce: Announce,
    ) -> Self {
        let via = HeaderValue::try_from(format!("1.1 {node}"))
            .unwrap_or(HeaderValue::from_static("1.1 brink"));
        let cdn_id = format!("{node}-{instance:08x}").into();
        let node = node.into();
        Routing { sites: Sites::new(sites), origins, trust, announce, node, cdn_id, via }
    }

    /// What [`crate::rules::door`] must know of this node.
    pub fn arrival(&self, scheme: Scheme, http2: bool) -> Arrival<'_> {
        Arrival { scheme, http2, cdn_id: &self.cdn_id }
    }

    /// The site and rule for a request.
    pub fn place(&self, asked: &Asked) -> Option<Place> {
        let site = self.sites.find(asked.host.as_str())?.clone();
        let rule = site.rules.iter().position(|rule| rule.matches.holds(asked));
        Some(Place { site, rule })
    }

    /// The origin group of that name.
    pub fn origin(&self, name: &str) -> Option<&Arc<Group>> {
        self.origins.get(name)
    }

    /// All origin groups.
    pub fn origins(&self) -> impl Iterator<Item = (&String, &Arc<Group>)> {
        self.origins.iter()
    }

    /// What this hop adds to a forwarded request.
    pub fn hop(&self, peer: SocketAddr) -> Hop<'_> {
        let peer = peer.ip().to_canonical();
        let trusted = self.trust.iter().any(|network| network.contains(&peer));
        Hop { node: &self.node, cdn_id: &self.cdn_id, peer, trusted, announce: self.announce }
    }

    /// What goes with a request beside itself.
    pub fn send_context(&self, key: &Key, peer: SocketAddr, local: SocketAddr) -> SendContext {
        SendContext { key: key.hash() as u64, client: Some((peer, local)) }
    }
}
