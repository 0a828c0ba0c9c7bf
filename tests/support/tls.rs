//! TLS on the client's side. The node's certificate is a throw-away one, so nothing is
//! verified here; what the node presents is a subject of the tests and can be read.

use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme, StreamOwned,
    SupportedProtocolVersion,
};

use super::client::connect;

/// A TLS stream over a TCP connection.
pub type TlsStream = StreamOwned<ClientConnection, TcpStream>;

/// Accepts every certificate.
#[derive(Debug)]
struct Trusting(CryptoProvider);

impl ServerCertVerifier for Trusting {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// A client configuration that offers `alpn` and speaks `versions`.
pub fn config(alpn: &[&str], versions: &[&'static SupportedProtocolVersion]) -> ClientConfig {
    let provider = aws_lc_rs::default_provider();
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider.clone()))
        .with_protocol_versions(versions)
        .expect("protocol versions")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Trusting(provider)))
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    config
}

/// Connects and shakes hands, asking for `sni`.
pub fn dial(addr: SocketAddr, sni: &str, alpn: &[&str]) -> std::io::Result<(TcpStream, TlsStream)> {
    dial_with(addr, sni, Arc::new(config(alpn, rustls::ALL_VERSIONS)))
}

/// Connects and shakes hands with a configuration of the caller's (for resumption).
pub fn dial_with(
    addr: SocketAddr,
    sni: &str,
    config: Arc<ClientConfig>,
) -> std::io::Result<(TcpStream, TlsStream)> {
    let mut tcp = connect(addr);
    let name = ServerName::try_from(sni.to_owned()).expect("a server name");
    let mut session = ClientConnection::new(config, name).expect("a TLS client");
    while session.is_handshaking() {
        session.complete_io(&mut tcp)?;
    }
    Ok((tcp.try_clone()?, StreamOwned::new(session, tcp)))
}
