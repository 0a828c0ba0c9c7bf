//! TLS towards origins: verified unless switched off, named, with client certificates.

use std::path::PathBuf;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::origin::{Http2, TlsOptions};

/// An authority, a server certificate for `name` and the files that hold them.
struct Pki {
    dir: tempfile::TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Pki {
    fn new() -> Pki {
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("ca.pem"), issuer.pem()).unwrap();
        Pki { dir, issuer }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn leaf(&self, name: &str) -> (rcgen::Certificate, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        (params.signed_by(&key, &self.issuer).unwrap(), key)
    }

    /// Serves the SNI, the protocol and whether a client certificate was shown.
    async fn serve(&self, name: &str, alpn: &[&str], ask_client: bool) -> Script {
        let (certificate, key) = self.leaf(name);
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.issuer.der().clone()).unwrap();
        let builder = rustls::ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .unwrap();
        let builder = if ask_client {
            let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(
                Arc::new(roots),
                provider,
            );
            builder.with_client_cert_verifier(verifier.build().unwrap())
        } else {
            builder.with_no_client_auth()
        };
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let mut config = builder.with_single_cert(vec![certificate.der().clone()], key).unwrap();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        Script::start(move |_, stream| {
            let acceptor = acceptor.clone();
            async move {
                let Ok(stream) = acceptor.accept(stream).await else { return };
                serve(stream).await;
            }
        })
        .await
    }
}

async fn serve(stream: tokio_rustls::server::TlsStream<TcpStream>) {
    use hyper_util::rt::{TokioExecutor, TokioIo};
    let tls = stream.get_ref().1;
    let h2 = tls.alpn_protocol() == Some(b"h2");
    let text = format!(
        "{} {} {}",
        tls.server_name().unwrap_or("-"),
        if h2 { "h2" } else { "h1" },
        tls.peer_certificates().is_some()
    );
    let service = hyper::service::service_fn(move |_| {
        let body = http_body_util::Full::new(Bytes::from(text.clone()));
        async move { Ok::<_, std::convert::Infallible>(http::Response::new(body)) }
    });
    let io = TokioIo::new(stream);
    let _ = if h2 {
        let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        server.serve_connection(io, service).await
    } else {
        hyper::server::conn::http1::Builder::new().serve_connection(io, service).await
    };
}

/// A group that asks `script` over TLS under the name `host`.
fn secured(script: &Script, tls: TlsOptions) -> GroupOptions {
    let mut options = script.options();
    options.servers[0].address = format!("https://{}", script.address).parse().unwrap();
    options.tls = tls;
    options
}

async fn said(options: GroupOptions) -> Result<String, OriginFault> {
    let group = Group::new(options).unwrap();
    let (_, body) = fetch(&group, "/").await?;
    Ok(String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn a_certificate_is_verified_unless_that_is_switched_off() {
    let pki = Pki::new();
    let script = pki.serve("app.test", &["h2", "http/1.1"], false).await;
    let named = TlsOptions { sni: Some("app.test".to_owned()), ..TlsOptions::default() };
    let own = TlsOptions { ca_file: Some(pki.file("ca.pem")), ..named.clone() };
    let unknown = said(secured(&script, named.clone())).await;
    assert_eq!(unknown, Err(OriginFault::Connect("the origin's certificate is not valid")));
    assert_eq!(said(secured(&script, own.clone())).await.as_deref(), Ok("app.test h2 false"));
    let other = TlsOptions { sni: Some("other.test".to_owned()), ..own };
    let wrong = said(secured(&script, other)).await;
    assert_eq!(wrong, Err(OriginFault::Connect("the origin's certificate is not valid")));
    let blind = TlsOptions { verify: false, ..named };
    assert_eq!(said(secured(&script, blind)).await.as_deref(), Ok("app.test h2 false"));
}

#[tokio::test]
async fn alpn_decides_the_protocol_and_both_are_pooled() {
    let pki = Pki::new();
    let tls = TlsOptions {
        sni: Some("app.test".to_owned()),
        ca_file: Some(pki.file("ca.pem")),
        ..TlsOptions::default()
    };
    for (alpn, http2, wanted) in [
        (&["h2", "http/1.1"][..], Http2::Auto, "h2"),
        (&["http/1.1"][..], Http2::Auto, "h1"),
        (&["h2", "http/1.1"][..], Http2::Never, "h1"),
        (&[][..], Http2::Auto, "h1"),
    ] {
        let script = pki.serve("app.test", alpn, false).await;
        let group = Group::new(GroupOptions { http2, ..secured(&script, tls.clone()) }).unwrap();
        for _ in 0..5 {
            let (_, body) = fetch(&group, "/").await.unwrap();
            assert_eq!(body, format!("app.test {wanted} false"));
        }
        assert_eq!(script.count(), 1, "{alpn:?} {http2:?}");
    }
}

#[tokio::test]
async fn a_client_certificate_is_shown_when_there_is_one() {
    let pki = Pki::new();
    let script = pki.serve("app.test", &["http/1.1"], true).await;
    let (certificate, key) = pki.leaf("node.test");
    std::fs::write(pki.file("node.pem"), certificate.pem()).unwrap();
    std::fs::write(pki.file("node.key"), key.serialize_pem()).unwrap();
    let without = TlsOptions {
        sni: Some("app.test".to_owned()),
        ca_file: Some(pki.file("ca.pem")),
        ..TlsOptions::default()
    };
    let with = TlsOptions {
        client: Some((pki.file("node.pem"), pki.file("node.key"))),
        ..without.clone()
    };
    assert!(said(secured(&script, without)).await.is_err());
    assert_eq!(said(secured(&script, with)).await.as_deref(), Ok("app.test h1 true"));
}

#[tokio::test]
async fn a_handshake_that_stalls_ends_at_the_connect_deadline() {
    let script = Script::start(|_, mut stream| async move {
        let mut all = Vec::new();
        let _ = stream.read_to_end(&mut all).await;
    })
    .await;
    let mut options = secured(&script, TlsOptions { verify: false, ..TlsOptions::default() });
    options.timeouts.connect = Duration::from_millis(50);
    assert_eq!(said(options).await, Err(OriginFault::ConnectTimeout));
}
