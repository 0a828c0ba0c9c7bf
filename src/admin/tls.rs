//! TLS on the admin listener, and clients that must show a certificate (mTLS).
//!
//! A certificate is asked for beside the token, not in place of it: the one says which
//! machines may connect at all, the other who may do what. The names in a certificate go
//! to the audit log. The files are read again on reload; connections that are open stay.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use x509_parser::prelude::{FromDer, X509Certificate};

/// Where certificate, key and the authority of clients are; all PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The chain, leaf first.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// Authorities one of which must have signed the client's certificate; `None` asks
    /// for no certificate.
    pub client_ca: Option<PathBuf>,
}

impl TlsFiles {
    /// Whether they can be used.
    pub fn check(&self) -> Result<(), TlsError> {
        load(self).map(|_| ())
    }
}

/// Why TLS cannot be offered.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {why}")]
pub struct TlsError {
    path: String,
    why: String,
}

/// The listener's side of TLS.
pub(super) struct Tls {
    files: TlsFiles,
    config: ArcSwap<ServerConfig>,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("files", &self.files).finish_non_exhaustive()
    }
}

impl Tls {
    pub(super) fn open(files: TlsFiles) -> Result<Self, TlsError> {
        let config = ArcSwap::from(load(&files)?);
        Ok(Tls { files, config })
    }

    /// Reads the files again; on an error the old ones stay in use.
    pub(super) fn reload(&self) -> Result<(), TlsError> {
        self.config.store(load(&self.files)?);
        Ok(())
    }

    pub(super) fn config(&self) -> Arc<ServerConfig> {
        self.config.load_full()
    }
}

fn load(files: &TlsFiles) -> Result<Arc<ServerConfig>, TlsError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(|error| failed(&files.cert, error))?;
    let builder = match &files.client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates(path)? {
                roots.add(certificate).map_err(|error| failed(path, error))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(verifier.build().map_err(|e| failed(path, e))?)
        }
    };
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|e| failed(&files.key, e))?;
    let config = builder.with_single_cert(certificates(&files.cert)?, key);
    let mut config = config.map_err(|error| failed(&files.cert, error))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let list = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let list = list.map_err(|error| failed(path, error))?;
    match list.is_empty() {
        true => Err(failed(path, "no PEM certificate in it")),
        false => Ok(list),
    }
}

fn failed(path: &Path, why: impl fmt::Display) -> TlsError {
    TlsError { path: path.display().to_string(), why: why.to_string() }
}

/// The subject's common name, or its first alternative name, for the audit log.
pub(super) fn name_of(certificate: &CertificateDer<'_>) -> Option<String> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let common = parsed.subject().iter_common_name().next().and_then(|name| name.as_str().ok());
    let name = match common {
        Some(name) => name.to_owned(),
        None => {
            let names = parsed.subject_alternative_name().ok()??;
            names.value.general_names.first()?.to_string()
        }
    };
    Some(name.chars().take(100).map(|c| if c.is_control() { '_' } else { c }).collect())
}
