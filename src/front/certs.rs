//! The certificates the node shows: by server name, with wildcards and a default, read
//! again from their files when these change.
//!
//! A new table is built aside and swapped in whole; handshakes that run keep the old one.
//! A file that cannot be read, does not parse, or whose key does not fit leaves the old
//! certificate in place and is logged: a half-written renewal never takes a site down.
//! Files are watched by modification time and length, because inotify misses network
//! file systems and rename-over-symlink, and a poll of a few files costs nothing.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use hashbrown::HashMap;
use parking_lot::Mutex;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::connection::CertNames;

/// Where one certificate comes from.
#[derive(Clone, Debug)]
pub enum CertSource {
    /// PEM files: the chain, leaf first, and its private key.
    Files {
        /// The chain.
        cert: PathBuf,
        /// The key.
        key: PathBuf,
    },
    /// Made in memory and lost at exit; it speaks for any host.
    ThrowAway(Arc<ThrowAway>),
}

/// A self-signed certificate for a first try.
#[derive(Debug)]
pub struct ThrowAway {
    /// The certificate as PEM, for `curl --cacert`.
    pub cert_pem: String,
    key_pem: String,
}

/// Why certificates could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum CertsError {
    /// A file cannot be read or is not PEM.
    #[error("{path}: expected a PEM certificate chain or private key, got: {why}")]
    Unreadable {
        /// The file.
        path: String,
        /// What the parser said.
        why: String,
    },
    /// Certificate and key do not belong together, or the key type is not supported.
    #[error("{path}: certificate and key do not fit: {why}")]
    Mismatch {
        /// The certificate file.
        path: String,
        /// What rustls said.
        why: String,
    },
    /// Nothing to show.
    #[error("a TLS listener needs at least one certificate")]
    Empty,
}

impl ThrowAway {
    /// Makes a certificate for `names` (DNS names or addresses).
    pub fn new(names: &[String]) -> Result<Arc<ThrowAway>, CertsError> {
        let made = rcgen::generate_simple_self_signed(names.to_vec())
            .map_err(|error| mismatch("throw-away certificate", error))?;
        Ok(Arc::new(ThrowAway {
            cert_pem: made.cert.pem(),
            key_pem: made.signing_key.serialize_pem(),
        }))
    }
}

/// All certificates of the node. Shared by every TLS listener.
#[derive(Debug)]
pub struct Certs {
    sources: ArcSwap<Vec<CertSource>>,
    table: ArcSwap<Table>,
    /// Stamps of the files the table was made from, and the lock of whoever rebuilds it.
    stamps: Mutex<Vec<Stamp>>,
}

type Stamp = Option<(SystemTime, u64)>;

#[derive(Debug)]
struct Table {
    loaded: Vec<Arc<Loaded>>,
    exact: HashMap<String, Arc<Loaded>>,
    wildcard: HashMap<String, Arc<Loaded>>,
}

/// One certificate ready to be shown.
#[derive(Debug)]
pub(crate) struct Loaded {
    key: Arc<CertifiedKey>,
    pub(crate) names: Arc<CertNames>,
}

impl Certs {
    /// Loads all `sources`; the first is the default for unknown or missing names.
    pub fn load(sources: Vec<CertSource>) -> Result<Arc<Certs>, CertsError> {
        let stamps = stamps(&sources);
        let loaded = sources.iter().map(load_one).collect::<Result<Vec<_>, _>>()?;
        let table = Table::new(loaded)?;
        Ok(Arc::new(Certs {
            sources: ArcSwap::from_pointee(sources),
            table: ArcSwap::from_pointee(table),
            stamps: Mutex::new(stamps),
        }))
    }

    /// Replaces the sources (configuration reload): all or nothing.
    pub fn replace(&self, sources: Vec<CertSource>) -> Result<(), CertsError> {
        let mut held = self.stamps.lock();
        let fresh = stamps(&sources);
        let loaded = sources.iter().map(load_one).collect::<Result<Vec<_>, _>>()?;
        self.table.store(Arc::new(Table::new(loaded)?));
        self.sources.store(Arc::new(sources));
        *held = fresh;
        Ok(())
    }

    /// Reads changed files again. `force` reads all. Returns how many certificates were
    /// replaced; what cannot be read is logged and stays as it was.
    pub fn refresh(&self, force: bool) -> usize {
        let mut held = self.stamps.lock();
        let sources = self.sources.load_full();
        let fresh = stamps(&sources);
        if !force && *held == fresh {
            return 0;
        }
        let old = self.table.load_full();
        let mut replaced = 0;
        let mut loaded = Vec::with_capacity(sources.len());
        for (index, source) in sources.iter().enumerate() {
            let kept = old.loaded.get(index).cloned();
            let changed = force || held.get(index) != fresh.get(index);
            match (changed, kept) {
                (false, Some(kept)) => loaded.push(kept),
                (_, kept) => match load_one(source) {
                    Ok(new) => {
                        replaced += 1;
                        loaded.push(new);
                    }
                    Err(error) => {
                        tracing::warn!(%error, "certificate not replaced, the old one stays");
                        loaded.extend(kept);
                    }
                },
            }
        }
        if let Ok(table) = Table::new(loaded) {
            self.table.store(Arc::new(table));
        }
        *held = fresh;
        if replaced > 0 {
            tracing::info!(replaced, "certificates read again");
        }
        replaced
    }

    /// Watches the files until the future is dropped.
    pub async fn watch(self: Arc<Self>, every: Duration) {
        loop {
            tokio::time::sleep(every).await;
            let certs = Arc::clone(&self);
            // Reads files: off the threads that serve clients.
            let _ = tokio::task::spawn_blocking(move || certs.refresh(false)).await;
        }
    }

    /// The certificate for a server name, or the default.
    pub(crate) fn find(&self, name: Option<&str>) -> Option<Arc<Loaded>> {
        let table = self.table.load();
        let Some(name) = name else { return table.loaded.first().cloned() };
        let lower = name.to_ascii_lowercase();
        let wild = || lower.split_once('.').and_then(|(_, rest)| table.wildcard.get(rest));
        table.exact.get(&lower).or_else(wild).or(table.loaded.first()).cloned()
    }
}

impl ResolvesServerCert for Certs {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.find(hello.server_name()).map(|found| Arc::clone(&found.key))
    }
}

impl Table {
    fn new(loaded: Vec<Arc<Loaded>>) -> Result<Table, CertsError> {
        if loaded.is_empty() {
            return Err(CertsError::Empty);
        }
        let (mut exact, mut wildcard) = (HashMap::new(), HashMap::new());
        for one in &loaded {
            // The first certificate that names a host keeps it: order is the operator's.
            for name in &one.names.exact {
                exact.entry(name.clone()).or_insert_with(|| Arc::clone(one));
            }
            for name in &one.names.wildcard {
                wildcard.entry(name.clone()).or_insert_with(|| Arc::clone(one));
            }
        }
        Ok(Table { loaded, exact, wildcard })
    }
}

fn load_one(source: &CertSource) -> Result<Arc<Loaded>, CertsError> {
    match source {
        CertSource::Files { cert, key } => {
            let path = cert.display().to_string();
            let chain = std::fs::read(cert).map_err(|error| unreadable(&path, error))?;
            let key_path = key.display().to_string();
            let key = std::fs::read(key).map_err(|error| unreadable(&key_path, error))?;
            certified(&path, &chain, &key_path, &key, false)
        }
        CertSource::ThrowAway(made) => {
            let name = "throw-away certificate";
            certified(name, made.cert_pem.as_bytes(), name, made.key_pem.as_bytes(), true)
        }
    }
}

fn certified(
    path: &str,
    chain: &[u8],
    key_path: &str,
    key: &[u8],
    any: bool,
) -> Result<Arc<Loaded>, CertsError> {
    let chain = CertificateDer::pem_slice_iter(chain)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| unreadable(path, error))?;
    let leaf = chain.first().ok_or_else(|| unreadable(path, "no certificate in the file"))?;
    let mut names = names_of(leaf).map_err(|why| unreadable(path, why))?;
    names.any = any;
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| unreadable(key_path, error))?;
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let signer = provider.key_provider.load_private_key(key);
    let signer = signer.map_err(|error| unreadable(key_path, error))?;
    let key = CertifiedKey::new(chain, signer);
    key.keys_match().map_err(|error| mismatch(path, error))?;
    Ok(Arc::new(Loaded { key: Arc::new(key), names: Arc::new(names) }))
}

fn names_of(leaf: &CertificateDer<'_>) -> Result<CertNames, String> {
    let (_, parsed) = X509Certificate::from_der(leaf).map_err(|error| error.to_string())?;
    let mut names = CertNames::default();
    let alternative = parsed.subject_alternative_name().map_err(|error| error.to_string())?;
    for name in alternative.iter().flat_map(|extension| &extension.value.general_names) {
        match name {
            GeneralName::DNSName(dns) => {
                let dns = dns.to_ascii_lowercase();
                match dns.strip_prefix("*.") {
                    Some(rest) => names.wildcard.push(rest.to_owned()),
                    None => names.exact.push(dns),
                }
            }
            GeneralName::IPAddress(raw) => {
                let v4 = <[u8; 4]>::try_from(*raw).map(|a| std::net::IpAddr::from(a).to_string());
                let v6 = <[u8; 16]>::try_from(*raw).map(|a| std::net::IpAddr::from(a).to_string());
                names.exact.extend(v4.or(v6));
            }
            _ => {}
        }
    }
    Ok(names)
}

fn stamps(sources: &[CertSource]) -> Vec<Stamp> {
    let stamp = |path: &PathBuf| {
        let meta = std::fs::metadata(path).ok()?;
        Some((meta.modified().ok()?, meta.len()))
    };
    let each = |source: &CertSource| match source {
        // Either file may change first; both together make one stamp.
        CertSource::Files { cert, key } => {
            let (cert, key) = (stamp(cert)?, stamp(key)?);
            Some((cert.0.max(key.0), cert.1.wrapping_mul(1 << 20).wrapping_add(key.1)))
        }
        CertSource::ThrowAway(_) => None,
    };
    sources.iter().map(each).collect()
}

fn unreadable(path: &str, why: impl ToString) -> CertsError {
    CertsError::Unreadable { path: path.to_owned(), why: why.to_string() }
}

fn mismatch(path: &str, why: impl ToString) -> CertsError {
    CertsError::Mismatch { path: path.to_owned(), why: why.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(dir: &std::path::Path, stem: &str, name: &str) -> CertSource {
        let made = ThrowAway::new(&[name.to_owned()]).unwrap();
        let (cert, key) = (dir.join(format!("{stem}.pem")), dir.join(format!("{stem}.key")));
        std::fs::write(&cert, &made.cert_pem).unwrap();
        std::fs::write(&key, &made.key_pem).unwrap();
        CertSource::Files { cert, key }
    }

    #[test]
    fn names_choose_the_certificate_and_the_first_is_the_default() {
        let dir = tempfile::tempdir().unwrap();
        let certs = Certs::load(vec![
            write(dir.path(), "a", "first.test"),
            write(dir.path(), "b", "*.wild.test"),
        ])
        .unwrap();
        let shown = |name: Option<&str>| certs.find(name).unwrap().names.clone();
        assert!(shown(Some("x.WILD.test")).covers("x.wild.test"));
        assert!(shown(Some("unknown.test")).covers("first.test"));
        assert!(shown(None).covers("first.test"));
        assert!(!shown(Some("first.test")).covers("unknown.test"));
    }

    #[test]
    fn a_changed_file_is_read_again_and_a_bad_one_keeps_the_old() {
        let dir = tempfile::tempdir().unwrap();
        let certs = Certs::load(vec![write(dir.path(), "a", "old.test")]).unwrap();
        assert_eq!(certs.refresh(false), 0);
        write(dir.path(), "a", "a-longer-new-name.test");
        assert_eq!(certs.refresh(false), 1);
        assert!(certs.find(None).unwrap().names.covers("a-longer-new-name.test"));
        std::fs::write(dir.path().join("a.pem"), "half written").unwrap();
        assert_eq!(certs.refresh(false), 0);
        assert!(certs.find(None).unwrap().names.covers("a-longer-new-name.test"));
    }

    #[test]
    fn a_key_of_another_certificate_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), "a", "a.test");
        write(dir.path(), "b", "b.test");
        let crossed =
            CertSource::Files { cert: dir.path().join("a.pem"), key: dir.path().join("b.key") };
        assert!(matches!(Certs::load(vec![crossed]), Err(CertsError::Mismatch { .. })));
    }
}
