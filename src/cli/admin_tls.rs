//! TLS towards an admin listener, with the operator's own certificate if the node wants one.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Files for TLS; all PEM.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    /// Who may have signed the node's certificate; the system's authorities by default.
    pub ca: Option<PathBuf>,
    /// Our certificate and its key.
    pub identity: Option<(PathBuf, PathBuf)>,
}

impl Trust {
    /// Does the handshake with the node called `host`.
    pub async fn connect(
        &self,
        host: &str,
        stream: TcpStream,
    ) -> Result<TlsStream<TcpStream>, String> {
        let config = Arc::new(self.config()?);
        let name = ServerName::try_from(host.to_owned()).map_err(|error| error.to_string())?;
        let connected = TlsConnector::from(config).connect(name, stream).await;
        connected.map_err(|error| format!("TLS: {error} (--admin-ca FILE)"))
    }

    fn config(&self) -> Result<ClientConfig, String> {
        let mut roots = RootCertStore::empty();
        match &self.ca {
            Some(path) => {
                for certificate in certificates(path)? {
                    roots.add(certificate).map_err(|error| failed(path, error))?;
                }
            }
            None => {
                _ = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs)
            }
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots);
        match &self.identity {
            None => Ok(builder.with_no_client_auth()),
            Some((cert, key)) => {
                let key = PrivateKeyDer::from_pem_file(key).map_err(|e| failed(key, e))?;
                let config = builder.with_client_auth_cert(certificates(cert)?, key);
                config.map_err(|error| failed(cert, error))
            }
        }
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let list = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    list.map_err(|error| failed(path, error))
}

fn failed(path: &Path, why: impl fmt::Display) -> String {
    format!("{}: {why}", path.display())
}
