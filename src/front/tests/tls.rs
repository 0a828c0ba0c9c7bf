//! TLS: names, resumption bound to the name, ALPN, deadline.

use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, HandshakeKind, RootCertStore, StreamOwned};

use super::*;

fn secure(names: &[&str]) -> (Running, SocketAddr, Arc<ClientConfig>) {
    let names: Vec<String> = names.iter().map(|n| (*n).to_owned()).collect();
    let made = ThrowAway::new(&names).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(made.cert_pem.as_bytes()).unwrap()).unwrap();
    let mut options = plain();
    options.listeners[0].tls = true;
    options.deadlines.handshake = Duration::from_millis(300);
    let front = Front::bind(options, Vec::new()).unwrap();
    let address = front.addresses()[0].1;
    let certs = Certs::load(vec![CertSource::ThrowAway(made)]).unwrap();
    let running = front.serve(Some(certs), |_| Echo).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    (running, address, Arc::new(client))
}

fn get(config: &Arc<ClientConfig>, address: SocketAddr, name: &str) -> (String, ClientConnection) {
    let server = ServerName::try_from(name.to_owned()).unwrap();
    let session = ClientConnection::new(Arc::clone(config), server).unwrap();
    let mut stream = StreamOwned::new(session, connect(address));
    stream.write_all(b"GET /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
    let mut all = String::new();
    let _ = stream.read_to_string(&mut all);
    (all, stream.conn)
}

#[test]
fn a_session_is_resumed_under_its_name_and_never_under_another() {
    let (running, address, client) = secure(&["a.test", "b.test"]);
    let (all, first) = get(&client, address, "a.test");
    assert!(all.ends_with("GET /x 0"), "{all}");
    assert_eq!(first.protocol_version(), Some(rustls::ProtocolVersion::TLSv1_3));
    let group = first.negotiated_key_exchange_group().unwrap().name();
    assert_eq!(group, rustls::NamedGroup::X25519MLKEM768);
    let (_, second) = get(&client, address, "a.test");
    assert_eq!(second.handshake_kind(), Some(HandshakeKind::Resumed));
    // A client that offers the ticket of one name under another gets a full handshake.
    let store = Arc::new(OneTicket(Mutex::default()));
    let mut shared = (*client).clone();
    shared.resumption = rustls::client::Resumption::store(store);
    let shared = Arc::new(shared);
    let (_, a1) = get(&shared, address, "a.test");
    let (_, a2) = get(&shared, address, "a.test");
    let (_, b) = get(&shared, address, "b.test");
    assert_eq!(a1.handshake_kind(), Some(HandshakeKind::Full));
    assert_eq!(a2.handshake_kind(), Some(HandshakeKind::Resumed));
    assert_ne!(b.handshake_kind(), Some(HandshakeKind::Resumed));
    assert!(running.stats().handshakes >= 5);
    running.drain(Duration::from_secs(5));
}

use parking_lot::Mutex;

/// A client store that forgets which name a ticket is for, as an attacker would.
#[derive(Debug)]
struct OneTicket(Mutex<Option<rustls::client::Tls13ClientSessionValue>>);

impl rustls::client::ClientSessionStore for OneTicket {
    fn set_kx_hint(&self, _: ServerName<'static>, _: rustls::NamedGroup) {}
    fn kx_hint(&self, _: &ServerName<'_>) -> Option<rustls::NamedGroup> {
        None
    }
    fn set_tls12_session(
        &self,
        _: ServerName<'static>,
        _: rustls::client::Tls12ClientSessionValue,
    ) {
    }
    fn tls12_session(&self, _: &ServerName<'_>) -> Option<rustls::client::Tls12ClientSessionValue> {
        None
    }
    fn remove_tls12_session(&self, _: &ServerName<'static>) {}
    fn insert_tls13_ticket(
        &self,
        _: ServerName<'static>,
        ticket: rustls::client::Tls13ClientSessionValue,
    ) {
        *self.0.lock() = Some(ticket);
    }
    fn take_tls13_ticket(
        &self,
        _: &ServerName<'static>,
    ) -> Option<rustls::client::Tls13ClientSessionValue> {
        self.0.lock().take()
    }
}

#[test]
fn a_stalled_handshake_is_dropped() {
    let (running, address, _) = secure(&["a.test"]);
    assert_eq!(ask(address, b"\x16\x03\x01"), "");
    // Counted after the close that the client has seen.
    until("counted", || running.stats().handshakes_failed == 1);
    running.drain(Duration::from_secs(5));
}
