//! Certificates and keys of TLS: the gateway's own, and those by which it knows an upstream.
//!
//! In: paths of PEM files, read here once. Out: settings of rustls, with ring.
//!
//! Promise: a file that cannot be read, or that does not fit, is a complaint like any other. A private key is in no
//! `Debug`.

use std::fmt;
use std::sync::Arc;

use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ClientConfig, Error, RootCertStore, ServerConfig};
use toml::Value;

use super::section::Section;

/// How the gateway shows itself to clients.
#[derive(Clone)]
pub struct ServerTls(pub Arc<ServerConfig>);

/// How the gateway knows an upstream.
#[derive(Clone)]
pub struct ClientTls(pub Arc<ClientConfig>);

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServerTls(..)")
    }
}

impl fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientTls(..)")
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// Reads `[gateway.tls]`.
pub(super) fn read_server(gateway: &mut Section<'_>) -> Option<ServerTls> {
    let Value::Table(table) = gateway.value("tls")? else {
        gateway.complain("tls", "is a table: [gateway.tls]");
        return None;
    };
    read_server_table(gateway.inner("[gateway.tls]", table))
}

fn read_server_table(mut section: Section<'_>) -> Option<ServerTls> {
    let certificate_file = section.required_text("certificate_file");
    let key_file = section.required_text("key_file");
    let certificates = certificates(&mut section, "certificate_file", &certificate_file);
    let key = (!key_file.is_empty()).then(|| PrivateKeyDer::from_pem_file(&key_file));
    let key = key.and_then(|read| {
        read.map_err(|_| section.complain("key_file", "cannot be read as a private key in PEM"))
            .ok()
    });
    let tls = certificates.zip(key).and_then(|(certificates, key)| {
        server(certificates, key)
            .map_err(|error| section.complain("key_file", format!("does not go with the certificate: {error}")))
            .ok()
    });
    section.end();
    tls
}

fn server(certificates: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> Result<ServerTls, Error> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(certificates, key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(ServerTls(Arc::new(config)))
}

/// The authorities that may vouch for an upstream: those of the file, or else those that browsers trust.
pub(super) fn read_client(section: &mut Section<'_>, name: &str, wanted: bool) -> Option<ClientTls> {
    let file = section.text(name);
    if !wanted {
        if file.is_some() {
            section.complain(name, "is for https:// only");
        }
        return None;
    }
    let mut roots = RootCertStore::empty();
    match file {
        None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        Some(file) => {
            for certificate in certificates(section, name, &file)? {
                if let Err(error) = roots.add(certificate) {
                    section.complain(name, format!("has a certificate that cannot be used: {error}"));
                }
            }
        }
    }
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map(|builder| builder.with_root_certificates(roots).with_no_client_auth());
    config
        .map_err(|error| section.complain(name, format!("cannot be used: {error}")))
        .ok()
        .map(|config| ClientTls(Arc::new(config)))
}

/// The same for a client of ours on the command line: those of a file in PEM, or else those that browsers trust. An error is a
/// sentence about the file.
pub fn client_tls(file: Option<&str>) -> Result<Arc<ClientConfig>, String> {
    let mut roots = RootCertStore::empty();
    match file {
        None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        Some(file) => {
            let read = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
            let certificates = read.map_err(|_| format!("{file} cannot be read as certificates in PEM"))?;
            for certificate in certificates {
                roots
                    .add(certificate)
                    .map_err(|error| format!("{file} has a certificate that cannot be used: {error}"))?;
            }
            if roots.is_empty() {
                return Err(format!("{file} has no certificate in it"));
            }
        }
    }
    ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map(|builder| Arc::new(builder.with_root_certificates(roots).with_no_client_auth()))
        .map_err(|error| error.to_string())
}

fn certificates(section: &mut Section<'_>, name: &str, file: &str) -> Option<Vec<CertificateDer<'static>>> {
    if file.is_empty() {
        return None;
    }
    let read = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match read {
        Ok(certificates) if !certificates.is_empty() => Some(certificates),
        Ok(_) => {
            section.complain(name, "has no certificate in it");
            None
        }
        Err(_) => {
            section.complain(name, "cannot be read as certificates in PEM");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::config::Config;

    #[test]
    fn files_that_are_not_there_are_complaints() {
        let text = r#"
            [gateway]
            upstream = "https://a"
            upstream_ca_file = "/nowhere/ca.pem"
            [gateway.tls]
            certificate_file = "/nowhere/certificate.pem"
            key_file = "/nowhere/key.pem"
            ciphers = "all"
            [[gateway.upstreams]]
            name = "b"
            url = "http://b"
            ca_file = "/nowhere/ca.pem"
        "#;
        let complaints = Config::parse(text).unwrap_err();
        let places: Vec<_> = complaints.iter().map(|complaint| complaint.place.as_str()).collect();
        let expected = [
            "[gateway] upstream_ca_file",
            "[[gateway.upstreams]] 1 ca_file",
            "[gateway.tls] certificate_file",
            "[gateway.tls] key_file",
            "[gateway.tls] ciphers",
        ];
        assert_eq!(places, expected);
    }
}
