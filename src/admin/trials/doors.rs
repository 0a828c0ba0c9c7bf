//! The ways in beside the plain socket: TLS with client certificates, and `PURGE` from the
//! listeners of clients; and the audit file.

use std::path::Path;

use http::{HeaderMap, HeaderValue, header};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};

use super::*;
use crate::admin::{RemotePurge, TlsFiles};

/// An authority; what it signs is for whoever needs a certificate.
struct Authority(Issuer<'static, KeyPair>, String);

impl Authority {
    fn new() -> Authority {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        Authority(Issuer::new(params, key), pem)
    }

    fn sign(&self, name: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        (params.signed_by(&key, &self.0).unwrap().pem(), key.serialize_pem())
    }
}

fn write(dir: &Path, name: &str, text: &str) -> std::path::PathBuf {
    let path = dir.join(name);
    std::fs::write(&path, text).unwrap();
    path
}

/// One call over TLS; the error is whatever stopped it.
async fn over_tls(
    bench: &Bench,
    ca: &str,
    identity: Option<&(String, String)>,
    request: &str,
) -> std::io::Result<String> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let config = match identity {
        None => config.with_no_client_auth(),
        Some((cert, key)) => {
            let cert = CertificateDer::from_pem_slice(cert.as_bytes()).unwrap();
            let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
            config.with_client_auth_cert(vec![cert], key).unwrap()
        }
    };
    let stream = TcpStream::connect(bench.address).await?;
    let name = ServerName::try_from("localhost").unwrap();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let mut stream = connector.connect(name, stream).await?;
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    // What is closed without a close_notify has been read all the same.
    let ended = stream.read_to_end(&mut answer).await;
    if answer.is_empty() {
        ended?;
    }
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

#[tokio::test]
async fn only_clients_with_a_certificate_of_the_authority_get_in_and_they_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let (ours, theirs) = (Authority::new(), Authority::new());
    let node = ours.sign("node");
    let files = TlsFiles {
        cert: write(dir.path(), "node.pem", &node.0),
        key: write(dir.path(), "node.key", &node.1),
        client_ca: Some(write(dir.path(), "ca.pem", &ours.1)),
    };
    let bench = Bench::with(|options| options.tls = Some(files), |_| {}).await;
    let token = &bench.token;
    let body = r#"{"tags":["a"]}"#;
    let purge = format!(
        "POST /v1/purge HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
         authorization: Bearer {token}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let none = over_tls(&bench, &ours.1, None, &purge).await;
    assert!(none.as_ref().map_or(true, |answer| answer.is_empty()), "{none:?}");
    let wrong = theirs.sign("stranger");
    let wrong = over_tls(&bench, &ours.1, Some(&wrong), &purge).await;
    assert!(wrong.as_ref().map_or(true, |answer| answer.is_empty()), "{wrong:?}");
    assert_eq!(bench.handles.ledger.seq(), 0);

    let alice = ours.sign("alice");
    let untold = purge.replace(token.as_str(), "nothing");
    let answer = over_tls(&bench, &ours.1, Some(&alice), &untold).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 401"), "a certificate is no token: {answer}");
    let answer = over_tls(&bench, &ours.1, Some(&alice), &purge).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let audit = purge.replace("POST /v1/purge", "GET /v1/audit").replace(body, "");
    let audit = audit.replace(&format!("content-length: {}\r\n", body.len()), "");
    let answer = over_tls(&bench, &ours.1, Some(&alice), &audit).await.unwrap();
    assert!(answer.contains("127.0.0.1 (alice)"), "{answer}");
    assert_eq!(bench.raw("GET /healthz HTTP/1.0\r\n\r\n").await.status, 0, "no plain HTTP");
}

fn remote(bench: &Bench, token: &str) -> RemotePurge {
    let mut fields = HeaderMap::new();
    let secret = HeaderValue::try_from(format!("Bearer {token}")).unwrap();
    fields.insert(header::AUTHORIZATION, secret);
    let peer = bench.address.ip();
    RemotePurge { peer, url: "http://h:80/a".to_owned(), fields }
}

#[tokio::test]
async fn a_purge_from_a_client_listener_needs_a_listed_network_and_the_token() {
    let listed =
        |options: &mut Options| options.purge_networks = vec!["127.0.0.0/8".parse().unwrap()];
    let bench = Bench::with(listed, |_| {}).await;
    let remotes = bench.admin.remotes();
    assert!(remotes.knows("127.1.2.3".parse().unwrap()));
    assert!(remotes.knows("::ffff:127.0.0.1".parse().unwrap()));
    assert!(!remotes.knows("192.0.2.1".parse().unwrap()));
    assert!(!Bench::start().await.admin.remotes().knows("127.0.0.1".parse().unwrap()));

    bench.store("http://h:80/a", &[]);
    let refused = remotes.purge(remote(&bench, "wrong")).await;
    assert_eq!(refused.status, 401);
    assert!(refused.fields.contains_key(header::WWW_AUTHENTICATE));
    let mut from_a_page = remote(&bench, &bench.token);
    from_a_page.fields.insert(header::ORIGIN, HeaderValue::from_static("https://evil.example"));
    assert_eq!(remotes.purge(from_a_page).await.status, 403);
    assert_eq!(bench.handles.memory.len(), 1);
    let done = remotes.purge(remote(&bench, &bench.token)).await;
    assert_eq!(done.status, 200, "{:?}", done.body);
    assert!(String::from_utf8_lossy(&done.body).contains("\"matched\":1"), "{:?}", done.body);
    assert_eq!(bench.handles.memory.len(), 0);
}

#[tokio::test]
async fn every_change_is_a_line_of_the_audit_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("audit.jsonl");
    let file = Some(path.clone());
    let mut bench = Bench::with(|options| options.audit_file = file, |_| {}).await;
    bench.post("/v1/purge", r#"{"tags":["a"]}"#).await;
    bench.post("/v1/purge", r#"{"tags":[]}"#).await;
    bench.get("/v1/stats").await;
    bench.token = "wrong".to_owned();
    bench.post("/v1/purge", r#"{"everything":true}"#).await;
    let text = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let statuses: Vec<_> = lines.iter().map(|line| line["status"].as_u64().unwrap()).collect();
    assert_eq!(statuses, [200, 400, 401]);
    assert_eq!(lines[0]["what"], r#"{"tags":["a"]}"#);
    assert_eq!(lines[2]["who"], "-");
}
