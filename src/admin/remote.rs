//! `PURGE` that came in through a listener of clients.
//!
//! Only from listed networks (none by default), and then as an ordinary call of the API:
//! token, scope, rate limits and audit are the guard's, not a second copy of them. Nothing
//! else of the API can be called this way.

use std::net::IpAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use ipnet::IpNet;

use super::listen::Peer;

/// Longest answer in bytes.
const ANSWER_MAX: usize = 64 * 1024;

/// Fields of the client's request that the guard looks at.
const FIELDS: [HeaderName; 4] = [
    header::AUTHORIZATION,
    header::ORIGIN,
    HeaderName::from_static("sec-fetch-site"),
    HeaderName::from_static("soft-purge"),
];

/// One `PURGE` of a client.
#[derive(Clone, Debug)]
pub struct RemotePurge {
    /// Who sent it.
    pub peer: IpAddr,
    /// The whole URL.
    pub url: String,
    /// The request's fields; all but a few are left out.
    pub fields: HeaderMap,
}

/// What it is answered with.
#[derive(Clone, Debug)]
pub struct RemoteAnswer {
    /// Status.
    pub status: StatusCode,
    /// `Content-Type`, and `Retry-After` or `WWW-Authenticate` if there is one.
    pub fields: HeaderMap,
    /// JSON.
    pub body: Bytes,
}

/// Who may purge through the listeners of clients.
#[derive(Clone, Debug)]
pub struct Remotes {
    networks: Arc<[IpNet]>,
    router: Router,
}

impl Remotes {
    pub(super) fn new(networks: Vec<IpNet>, router: Router) -> Self {
        Remotes { networks: networks.into(), router }
    }

    /// Whether `peer` is in a listed network.
    pub fn knows(&self, peer: IpAddr) -> bool {
        let peer = peer.to_canonical();
        self.networks.iter().any(|network| network.contains(&peer))
    }

    /// Makes the call. Must run on a runtime with timers and blocking threads.
    pub async fn purge(&self, purge: RemotePurge) -> RemoteAnswer {
        let RemotePurge { peer, url, fields } = purge;
        let request = Request::builder().method("PURGE").uri(url).body(Body::empty());
        let Ok(mut request) = request else {
            return RemoteAnswer::empty(StatusCode::BAD_REQUEST);
        };
        for name in FIELDS {
            for value in fields.get_all(&name) {
                request.headers_mut().append(name.clone(), value.clone());
            }
        }
        request.extensions_mut().insert(Peer(peer.to_canonical().to_string()));
        let mut router = self.router.clone();
        let Ok(response) = tower_service::Service::call(&mut router, request).await;
        let (mut parts, body) = response.into_parts();
        let Ok(body) = to_bytes(body, ANSWER_MAX).await else {
            return RemoteAnswer::empty(StatusCode::INTERNAL_SERVER_ERROR);
        };
        let kept = [header::CONTENT_TYPE, header::RETRY_AFTER, header::WWW_AUTHENTICATE];
        let mut fields = HeaderMap::new();
        for name in kept {
            fields.extend(parts.headers.remove(&name).map(|value| (name, value)));
        }
        fields.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        RemoteAnswer { status: parts.status, fields, body }
    }
}

impl RemoteAnswer {
    fn empty(status: StatusCode) -> Self {
        RemoteAnswer { status, fields: HeaderMap::new(), body: Bytes::new() }
    }
}
