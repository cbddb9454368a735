//! Certificates and keys of the test cluster, made anew for each run.

use std::path::Path;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};

/// An authority that signs, with its own certificate as a file.
pub(crate) struct Authority(Issuer<'static, KeyPair>);

impl Authority {
    /// Makes an authority and writes its certificate to `NAME.crt` in `dir`.
    pub(crate) fn create(dir: &Path, name: &str) -> anyhow::Result<Self> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        params.distinguished_name = named(name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        std::fs::write(dir.join(format!("{name}.crt")), params.self_signed(&key)?.pem())?;
        Ok(Self(Issuer::new(params, key)))
    }

    /// Writes `NAME.crt` and `NAME.key`, for a server under `hosts` or, without hosts, for a client.
    pub(crate) fn issue(&self, dir: &Path, name: &str, hosts: &[&str]) -> anyhow::Result<()> {
        self.sign(dir, name, hosts, CertificateParams::default())
    }

    /// The same with a certificate that was valid until 2021.
    pub(crate) fn issue_expired(&self, dir: &Path, name: &str, hosts: &[&str]) -> anyhow::Result<()> {
        let mut params = CertificateParams::default();
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2021, 1, 1);
        self.sign(dir, name, hosts, params)
    }

    fn sign(&self, dir: &Path, name: &str, hosts: &[&str], mut params: CertificateParams) -> anyhow::Result<()> {
        let key = KeyPair::generate()?;
        let named_hosts = CertificateParams::new(hosts.iter().map(|&host| host.to_owned()).collect::<Vec<_>>())?;
        params.subject_alt_names = named_hosts.subject_alt_names;
        params.distinguished_name = named(name);
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = match hosts {
            [] => vec![ExtendedKeyUsagePurpose::ClientAuth],
            _ => vec![ExtendedKeyUsagePurpose::ServerAuth],
        };
        std::fs::write(dir.join(format!("{name}.crt")), params.signed_by(&key, &self.0)?.pem())?;
        write_key(dir, name, &key)
    }
}

/// Writes a key pair without a certificate to `NAME.key` and `NAME.pub`.
pub(crate) fn key_pair(dir: &Path, name: &str) -> anyhow::Result<()> {
    let key = KeyPair::generate()?;
    std::fs::write(dir.join(format!("{name}.pub")), key.public_key_pem())?;
    write_key(dir, name, &key)
}

fn write_key(dir: &Path, name: &str, key: &KeyPair) -> anyhow::Result<()> {
    Ok(std::fs::write(dir.join(format!("{name}.key")), key.serialize_pem())?)
}

fn named(name: &str) -> DistinguishedName {
    let mut names = DistinguishedName::new();
    names.push(DnType::CommonName, name);
    names
}
