//! The keys and certificates of the broker's TLS listeners and of their clients, made anew for each broker.

use std::path::{Path, PathBuf};

use crate::world::certificates::Authority;

/// A user of the SASL listeners who is known and may do nothing: every request is refused by the authorizer.
pub(crate) const STRANGER: (&str, &str) = ("stranger", "stranger-secret");

/// A user of the SASL listeners who may do everything.
pub(crate) const SUPER_USER: (&str, &str) = ("admin", "admin-secret");

/// A client with a certificate who may do everything.
const CLIENT: &str = "client";

/// The folder of all files: `ca.crt`, `another-ca.crt`, `NAME.crt` and `NAME.key`.
#[derive(Debug)]
pub(crate) struct Certificates {
    dir: PathBuf,
}

impl Certificates {
    pub(super) fn create(dir: &Path) -> anyhow::Result<Self> {
        std::fs::create_dir_all(dir)?;
        let hosts = &["localhost", "127.0.0.1"];
        let ca = Authority::create(dir, "ca")?;
        ca.issue(dir, "broker", hosts)?;
        ca.issue_expired(dir, "expired-broker", hosts)?;
        ca.issue(dir, "misnamed-broker", &["kafka.example.com"])?;
        ca.issue(dir, CLIENT, &[])?;
        ca.issue_expired(dir, "expired-client", &[])?;
        Authority::create(dir, "another-ca")?.issue(dir, "foreign-client", &[])?;
        // Kafka takes the key and its certificates from one file (KIP-651).
        for name in ["broker", "expired-broker", "misnamed-broker"] {
            let parts = ["key", "crt"].map(|kind| std::fs::read_to_string(dir.join(format!("{name}.{kind}"))));
            let [key, certificate] = parts;
            std::fs::write(dir.join(format!("{name}.pem")), key? + &certificate?)?;
        }
        Ok(Self { dir: dir.to_owned() })
    }

    /// A file's path.
    pub(crate) fn path(&self, name: &str) -> String {
        self.dir.join(name).display().to_string()
    }

    /// A client's properties for TLS with the certificate NAME, or without one.
    pub(crate) fn properties(&self, certificate: Option<&str>) -> Vec<(&'static str, String)> {
        let mut properties = vec![("security.protocol", "ssl".to_owned()), ("ssl.ca.location", self.path("ca.crt"))];
        if let Some(name) = certificate {
            properties.push(("ssl.certificate.location", self.path(&format!("{name}.crt"))));
            properties.push(("ssl.key.location", self.path(&format!("{name}.key"))));
        }
        properties
    }

    /// The broker's settings of all listeners.
    pub(super) fn broker_properties(&self) -> String {
        let dir = self.dir.display();
        let users = [STRANGER, SUPER_USER].map(|(name, password)| format!("user_{name}=\"{password}\"")).join(" ");
        let login = "org.apache.kafka.common.security";
        let mut properties = format!(
            "
ssl.keystore.type=PEM
ssl.keystore.location={dir}/broker.pem
ssl.truststore.type=PEM
ssl.truststore.location={dir}/ca.crt
listener.name.mutual_tls.ssl.client.auth=required
listener.name.expired_tls.ssl.keystore.type=PEM
listener.name.expired_tls.ssl.keystore.location={dir}/expired-broker.pem
listener.name.misnamed_tls.ssl.keystore.type=PEM
listener.name.misnamed_tls.ssl.keystore.location={dir}/misnamed-broker.pem

authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS;User:{admin};User:CN={CLIENT}
listener.name.sasl.sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-512
listener.name.sasl_tls.sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER
# KIP-368: who has not authenticated again by then is cut off. SCRAM-SHA-512 has no such limit.
listener.name.sasl_tls.scram-sha-256.connections.max.reauth.ms=4000
",
            admin = SUPER_USER.0,
        );
        let plain = format!("plain.PlainLoginModule required {users}");
        let scram = "scram.ScramLoginModule required";
        let bearer = "oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub=\"broker\"";
        for (listener, mechanism, module) in [
            ("sasl", "plain", plain.as_str()),
            ("sasl", "scram-sha-512", scram),
            ("sasl_tls", "plain", &plain),
            ("sasl_tls", "scram-sha-256", scram),
            ("sasl_tls", "scram-sha-512", scram),
            ("sasl_tls", "oauthbearer", bearer),
        ] {
            properties += &format!("listener.name.{listener}.{mechanism}.sasl.jaas.config={login}.{module};\n");
        }
        properties
    }
}
