//! TLS policy: versions, key exchange, ALPN, resumption, and what the handshake settled.
//!
//! Resumption uses stateless tickets under random keys that rotate (rustls'
//! `Ticketer`), one set a process. A ticket carries the server name it was made for and
//! rustls refuses to resume it under another name (RFC 6066 3), so no session crosses
//! sites; a test holds rustls to that. Early data is off: it may be replayed (RFC 8470)
//! and saves nothing for clients that resume over a warm connection.

use std::sync::Arc;

use rustls::server::ServerConnection;
use rustls::{CipherSuite, ServerConfig};

use super::bound::FrontError;
use super::certs::Certs;
use super::connection::TlsFacts;

/// What a TLS listener needs.
pub(crate) type TlsParts = Option<(Arc<Certs>, Arc<ServerConfig>)>;

/// The one server configuration, for all TLS listeners.
pub(crate) fn server_config(certs: Arc<Certs>) -> Result<Arc<ServerConfig>, FrontError> {
    // `prefer-post-quantum` puts X25519MLKEM768 first among the provider's groups.
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    // Browsers' order: AES-128 with SHA-256 before AES-256 with SHA-384. Both are beyond
    // reach, and processors hash SHA-256 in hardware but not SHA-384, which was an eighth of
    // a handshake. A stable sort: all else keeps rustls' order.
    provider.cipher_suites.sort_by_key(|suite| !PREFERRED.contains(&suite.suite()));
    let mut config = ServerConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(FrontError::Tls)?
        .with_no_client_auth()
        .with_cert_resolver(certs);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new().map_err(FrontError::Tls)?;
    // One ticket is enough for a client that opens one connection after another, and
    // halves what a handshake writes after its end.
    config.send_tls13_tickets = 1;
    // The server's order: a client cannot talk us down to CBC or a weaker group.
    config.ignore_client_order = true;
    Ok(Arc::new(config))
}

/// Suites that are chosen before all others a client offers.
const PREFERRED: [CipherSuite; 3] = [
    CipherSuite::TLS13_AES_128_GCM_SHA256,
    CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
];

/// Reads what a finished handshake settled.
pub(crate) fn facts(session: &ServerConnection, certs: &Certs) -> TlsFacts {
    let sni: Option<Arc<str>> = session.server_name().map(Arc::from);
    TlsFacts {
        version: match session.protocol_version() {
            Some(rustls::ProtocolVersion::TLSv1_3) => "TLSv1.3",
            _ => "TLSv1.2",
        },
        cipher: session.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str()),
        group: session.negotiated_key_exchange_group().and_then(|group| group.name().as_str()),
        early_data: false,
        resumed: session.handshake_kind() == Some(rustls::HandshakeKind::Resumed),
        names: certs.find(sni.as_deref()).map(|found| Arc::clone(&found.names)).unwrap_or_default(),
        sni,
    }
}

/// Whether ALPN chose HTTP/2 (RFC 9113 3.2).
pub(crate) fn chose_http2(session: &ServerConnection) -> bool {
    session.alpn_protocol() == Some(b"h2")
}
