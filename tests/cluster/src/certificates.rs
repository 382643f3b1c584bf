//! The certificates of a cluster: one authority, the API server, its clients, and the key of service account tokens.
//!
//! They are valid for as long as `rcgen` says, far beyond any cluster of tests, and nobody renews them.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use serde_json::json;

/// Who signs the certificates of one cluster, and the folder that they are written to.
pub(crate) struct Authority {
    folder: PathBuf,
    certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

/// Whom a certificate names.
#[derive(Clone, Copy)]
pub(crate) struct Subject<'s> {
    /// The user, as Kubernetes reads the common name.
    pub(crate) user: &'s str,
    /// The user's group, as Kubernetes reads the organization.
    pub(crate) group: Option<&'s str>,
}

impl Authority {
    /// A new authority, whose certificate and key are `authority.crt` and `authority.key` in the folder; `accounts.key` and `accounts.pub` beside it
    /// are the keys of service account tokens.
    pub(crate) fn new(folder: &Path) -> Result<Self> {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
        let mut params = CertificateParams::new(Vec::new())?;
        params.distinguished_name.push(DnType::CommonName, "test cluster");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let key = KeyPair::generate()?;
        let certificate = params.self_signed(&key)?.pem();
        let key_text = key.serialize_pem();
        let accounts = KeyPair::generate()?;
        let authority = Self { folder: folder.to_owned(), certificate, issuer: Issuer::new(params, key) };
        authority.write("authority.crt", &authority.certificate)?;
        authority.write("authority.key", &key_text)?;
        authority.write("accounts.key", &accounts.serialize_pem())?;
        authority.write("accounts.pub", &accounts.public_key_pem())?;
        Ok(authority)
    }

    /// Writes `NAME.crt` and `NAME.key` for a server of these names and addresses, who is a client as well.
    pub(crate) fn sign(&self, name: &str, subject: Subject<'_>, names: &[String]) -> Result<(String, String)> {
        let mut params = CertificateParams::new(names.to_vec())?;
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, subject.user);
        if let Some(group) = subject.group {
            params.distinguished_name.push(DnType::OrganizationName, group);
        }
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?.pem();
        self.write(&format!("{name}.crt"), &certificate)?;
        self.write(&format!("{name}.key"), &key.serialize_pem())?;
        Ok((certificate, key.serialize_pem()))
    }

    /// Writes a kubeconfig that says who the subject is to the API server at this address.
    pub(crate) fn kubeconfig(&self, file: &Path, subject: Subject<'_>, server: (Ipv4Addr, u16)) -> Result<()> {
        let name = file.file_stem().and_then(|stem| stem.to_str()).unwrap_or("client");
        let (certificate, key) = self.sign(&format!("{name}-client"), subject, &[])?;
        let cluster = json!({
            "server": format!("https://{}:{}", server.0, server.1),
            "certificate-authority-data": STANDARD.encode(&self.certificate),
        });
        let user = json!({
            "client-certificate-data": STANDARD.encode(certificate),
            "client-key-data": STANDARD.encode(key),
        });
        write_kubeconfig(file, &cluster, &user)
    }

    /// The path of a file that this authority has written.
    pub(crate) fn path(&self, file: &str) -> String {
        self.folder.join(file).display().to_string()
    }

    fn write(&self, file: &str, text: &str) -> Result<()> {
        let path = self.folder.join(file);
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    }
}

/// Writes a kubeconfig of one context. The text is JSON, which YAML includes.
pub(crate) fn write_kubeconfig(file: &Path, cluster: &serde_json::Value, user: &serde_json::Value) -> Result<()> {
    let document = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{ "name": "test", "cluster": cluster }],
        "users": [{ "name": "test", "user": user }],
        "contexts": [{ "name": "test", "context": { "cluster": "test", "user": "test" } }],
        "current-context": "test",
    });
    std::fs::write(file, format!("{document:#}\n")).with_context(|| format!("cannot write {}", file.display()))
}
