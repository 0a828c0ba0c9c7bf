//! An origin as the rest of the node sees it: one name, one `send`.

use std::sync::Arc;

use arc_swap::ArcSwap;
use http::Request;

use super::fault::OriginFault;
use super::fleet::{Fleet, Tries};
use super::options::{GroupOptions, Http2, ServerOptions};
use super::outgoing::Outgoing;
use super::resolve::Names;
use super::server::{Common, Server};
use super::{Address, Answer, SendContext, tls};

/// A group of servers that hold the same content.
#[derive(Debug)]
pub struct Group {
    common: Arc<Common>,
    fleet: ArcSwap<Fleet>,
    tries: Tries,
}

impl Group {
    /// Checks the options and reads certificate files; opens no connection. Errors are
    /// for the operator and name what was expected.
    pub fn new(options: GroupOptions) -> Result<Arc<Self>, String> {
        if options.servers.is_empty() {
            return Err(format!("origin {:?} has no servers", options.name));
        }
        let uses_tls = |server: &ServerOptions| match &server.address {
            Address::Tcp { tls, .. } | Address::Srv { tls, .. } => *tls,
            Address::Unix(_) => false,
        };
        let tls = options
            .servers
            .iter()
            .any(uses_tls)
            .then(|| tls::client_config(&options.tls, options.http2))
            .transpose()?;
        if options.proxy_protocol && options.http2 == Http2::Only {
            tracing::warn!(
                origin = options.name,
                "PROXY protocol: one HTTP/2 request a connection"
            );
        }
        let names = Names::new(&options.discovery)?;
        let tries = Tries::new(&options);
        let common = Arc::new(Common { options, tls, names });
        let fleet = ArcSwap::from_pointee(build(&common)?);
        Ok(Arc::new(Group { common, fleet, tries }))
    }

    /// Name that sites refer to.
    pub fn name(&self) -> &str {
        &self.common.options.name
    }

    /// Sends a request and waits for the head of the answer. Cancel-safe: a dropped call
    /// breaks the request off.
    pub async fn send(
        &self,
        request: Request<Outgoing>,
        cx: &SendContext,
    ) -> Result<Answer, OriginFault> {
        let fleet = self.fleet.load_full();
        fleet.send(request, cx, &self.common.options, &self.tries).await
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
