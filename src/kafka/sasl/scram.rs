//! SCRAM-SHA-256 and SCRAM-SHA-512 (RFC 5802, RFC 7677) as in Kafka (KIP-84), on `ring`.
//!
//! The password's bytes are used unchanged, without SASLprep, as Kafka's own tools and Java's client do. So a password
//! outside of ASCII works exactly where it works in Java.

use std::num::NonZeroU32;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::rand::{SecureRandom, SystemRandom};
use ring::{digest, hmac, pbkdf2};

use crate::kafka::connect_error::ConnectError;
use crate::kafka::secret::{Secret, quoted};

/// The hash of a mechanism.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hash {
    Sha256,
    Sha512,
}

impl Hash {
    pub(super) fn mechanism(self) -> &'static str {
        match self {
            Self::Sha256 => "SCRAM-SHA-256",
            Self::Sha512 => "SCRAM-SHA-512",
        }
    }

    fn hmac(self) -> hmac::Algorithm {
        match self {
            Self::Sha256 => hmac::HMAC_SHA256,
            Self::Sha512 => hmac::HMAC_SHA512,
        }
    }

    fn pbkdf2(self) -> pbkdf2::Algorithm {
        match self {
            Self::Sha256 => pbkdf2::PBKDF2_HMAC_SHA256,
            Self::Sha512 => pbkdf2::PBKDF2_HMAC_SHA512,
        }
    }

    fn digest(self) -> &'static digest::Algorithm {
        match self {
            Self::Sha256 => &digest::SHA256,
            Self::Sha512 => &digest::SHA512,
        }
    }
}

/// Kafka refuses to store credentials with fewer iterations (`ScramMechanism.minIterations`, 4096). A broker that
/// requests fewer may want to guess the password from our response.
const MIN_ITERATIONS: u32 = 4_096;
/// Half a second of one core. More would be a denial of service.
const MAX_ITERATIONS: u32 = 1_000_000;
/// A broker's message is some 100 bytes.
const MAX_CHALLENGE: usize = 4_096;
/// 18 bytes of randomness are 24 characters.
const NONCE_BYTES: usize = 18;

/// One exchange.
pub(super) struct Scram {
    hash: Hash,
    password: Secret,
    nonce: String,
    first_bare: String,
    stage: ScramStage,
}

enum ScramStage {
    Begin,
    FirstSent,
    FinalSent { server_key: hmac::Key, auth_message: String },
    Done,
}

impl Scram {
    pub(super) fn begin(hash: Hash, username: &Secret, password: Secret) -> Result<Self, ConnectError> {
        let mut bytes = [0; NONCE_BYTES];
        SystemRandom::new()
            .fill(&mut bytes)
            .map_err(|_| ConnectError::Security("the system has no random numbers for SCRAM".to_owned()))?;
        Ok(Self::with_nonce(hash, username, password, STANDARD.encode(bytes)))
    }

    fn with_nonce(hash: Hash, username: &Secret, password: Secret, nonce: String) -> Self {
        // saslname (RFC 5802, section 5.1).
        let name = username.reveal().replace('=', "=3D").replace(',', "=2C");
        let first_bare = format!("n={name},r={nonce}");
        Self { hash, password, nonce, first_bare, stage: ScramStage::Begin }
    }

    pub(super) async fn next(&mut self, challenge: Option<&[u8]>) -> Result<Option<Vec<u8>>, ConnectError> {
        let text = challenge.filter(|bytes| bytes.len() <= MAX_CHALLENGE);
        let text = text.map(std::str::from_utf8).transpose().map_err(|_| broken("is no text"))?;
        match (std::mem::replace(&mut self.stage, ScramStage::Done), text) {
            (ScramStage::Begin, None) => {
                self.stage = ScramStage::FirstSent;
                Ok(Some(format!("n,,{}", self.first_bare).into_bytes()))
            }
            (ScramStage::FirstSent, Some(text)) => self.last_message(text).await.map(Some),
            (ScramStage::FinalSent { server_key, auth_message }, Some(text)) => {
                self.check_server(text, &server_key, &auth_message)?;
                Ok(None)
            }
            (ScramStage::Done, _) => Ok(None),
            (ScramStage::Begin, Some(_)) | (ScramStage::FirstSent | ScramStage::FinalSent { .. }, None) => {
                Err(broken("comes at the wrong time, or is too long"))
            }
        }
    }

    /// client-final-message, from server-first-message.
    async fn last_message(&mut self, challenge: &str) -> Result<Vec<u8>, ConnectError> {
        if let Some(error) = challenge.strip_prefix("e=") {
            return Err(self.refused(error));
        }
        let first = ServerFirst::parse(challenge)?;
        let added = first.nonce.strip_prefix(self.nonce.as_str()).unwrap_or_default();
        if added.is_empty() {
            return Err(broken("does not begin with our nonce: another server answers in the broker's place"));
        }
        if !(MIN_ITERATIONS..=MAX_ITERATIONS).contains(&first.iterations) {
            return Err(ConnectError::Security(format!(
                "the broker requires {} iterations of SCRAM; {MIN_ITERATIONS} to {MAX_ITERATIONS} are accepted",
                first.iterations
            )));
        }
        let salted = salted_password(self.hash, self.password.clone(), first.salt, first.iterations).await?;
        // "biws" is the channel-binding header "n,,": no binding, as over TLS with Java's client.
        let without_proof = format!("c=biws,r={}", first.nonce);
        let auth_message = format!("{},{challenge},{without_proof}", self.first_bare);
        let algorithm = self.hash.hmac();
        let salted_key = hmac::Key::new(algorithm, &salted);
        let client_key = hmac::sign(&salted_key, b"Client Key");
        let stored_key = digest::digest(self.hash.digest(), client_key.as_ref());
        let signature = hmac::sign(&hmac::Key::new(algorithm, stored_key.as_ref()), auth_message.as_bytes());
        let proof: Vec<u8> = client_key.as_ref().iter().zip(signature.as_ref()).map(|(a, b)| a ^ b).collect();
        let server_key = hmac::Key::new(algorithm, hmac::sign(&salted_key, b"Server Key").as_ref());
        self.stage = ScramStage::FinalSent { server_key, auth_message };
        Ok(format!("{without_proof},p={}", STANDARD.encode(proof)).into_bytes())
    }

    /// server-final-message: proof that the broker knows the credentials too. Compared in constant time.
    fn check_server(&self, text: &str, server_key: &hmac::Key, auth_message: &str) -> Result<(), ConnectError> {
        if let Some(error) = text.strip_prefix("e=") {
            return Err(self.refused(error));
        }
        let signature = text.strip_prefix("v=").and_then(|rest| rest.split(',').next());
        let signature =
            signature.and_then(|text| STANDARD.decode(text).ok()).ok_or_else(|| broken("has no signature"))?;
        hmac::verify(server_key, auth_message.as_bytes(), &signature).map_err(|_| {
            ConnectError::Security(
                "the broker does not know the password: its SCRAM signature is wrong, so another server answers in its place"
                    .to_owned(),
            )
        })
    }

    fn refused(&self, error: &str) -> ConnectError {
        let error_text = quoted(error, &[self.password.reveal()]);
        ConnectError::Security(format!("the broker refuses {}: {error_text}", self.hash.mechanism()))
    }
}

fn broken(what: &str) -> ConnectError {
    ConnectError::Protocol(format!("the broker's SCRAM message {what}"))
}

/// Hi() of RFC 5802, which is PBKDF2. It runs on a blocking thread, because it may take half a second.
async fn salted_password(
    hash: Hash,
    password: Secret,
    salt: Vec<u8>,
    iterations: u32,
) -> Result<Vec<u8>, ConnectError> {
    let iterations = NonZeroU32::new(iterations).ok_or_else(|| broken("has no iterations"))?;
    let derive = move || {
        let mut salted = vec![0; hash.digest().output_len()];
        pbkdf2::derive(hash.pbkdf2(), iterations, &salt, password.reveal().as_bytes(), &mut salted);
        salted
    };
    tokio::task::spawn_blocking(derive).await.map_err(|_| ConnectError::Security("SCRAM was interrupted".to_owned()))
}

/// server-first-message: `r=<nonce>,s=<salt>,i=<iterations>`, then extensions.
struct ServerFirst {
    nonce: String,
    salt: Vec<u8>,
    iterations: u32,
}

impl ServerFirst {
    fn parse(text: &str) -> Result<Self, ConnectError> {
        let mut parts = text.split(',');
        let mut part =
            |name: &str, what: &str| parts.next().and_then(|part| part.strip_prefix(name)).ok_or_else(|| broken(what));
        // A mandatory extension ("m=") would come first, and none is defined (RFC 5802, section 5.1).
        let nonce = part("r=", "has no nonce at its beginning")?.to_owned();
        let salt = part("s=", "has no salt")?;
        let salt = STANDARD.decode(salt).ok().filter(|salt| !salt.is_empty()).ok_or_else(|| broken("has no salt"))?;
        let iterations = part("i=", "has no iterations")?.parse().map_err(|_| broken("has no valid iterations"))?;
        Ok(Self { nonce, salt, iterations })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn step(scram: &mut Scram, challenge: Option<&str>) -> Result<Option<String>, ConnectError> {
        let error_text = scram.next(challenge.map(str::as_bytes)).await?;
        Ok(error_text.map(|bytes| String::from_utf8(bytes).expect("text")))
    }

    fn scram(hash: Hash, username: &str, nonce: &str) -> Scram {
        Scram::with_nonce(hash, &Secret::new(username), Secret::new("pencil"), nonce.to_owned())
    }

    const NONCE: &str = "rOprNGfwEbeRWgbNEkqO";
    const FIRST: &str = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";

    /// RFC 7677, section 3.
    #[tokio::test]
    async fn the_example_of_rfc_7677() {
        let mut scram = scram(Hash::Sha256, "user", NONCE);
        assert_eq!(step(&mut scram, None).await, Ok(Some("n,,n=user,r=rOprNGfwEbeRWgbNEkqO".to_owned())));
        let last = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
        assert_eq!(step(&mut scram, Some(FIRST)).await, Ok(Some(last.to_owned())));
        let server = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";
        assert_eq!(step(&mut scram, Some(server)).await, Ok(None));
    }

    /// The same exchange with SHA-512, worked out by hashlib and hmac of Python.
    #[tokio::test]
    async fn the_same_example_with_sha_512() {
        let mut scram = scram(Hash::Sha512, "user", NONCE);
        step(&mut scram, None).await.expect("first");
        let last = step(&mut scram, Some(FIRST)).await.expect("accepted").expect("a message");
        assert_eq!(last, SHA512_FINAL);
        assert_eq!(step(&mut scram, Some(SHA512_SERVER)).await, Ok(None));
    }

    const SHA512_FINAL: &str = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=gMGXRcevScNtxZ6/8lQYpGtnsNAc3mGcmNomv+xnoOMw+3R2xNJdMNnzMlTN8PPC6wdp6dybEmDYXYTxwnYPJQ==";
    const SHA512_SERVER: &str =
        "v=ZQnYEgWQMFmmsM8aQMF0nDDCy/AgCzkwk8CmMZYcMg0vSVlKDanekLtifDSeVGT4+5ZxXnJq199RVG2rR7N7Zw==";

    #[tokio::test]
    async fn a_name_with_commas_and_equals_signs_is_escaped() {
        let mut scram = scram(Hash::Sha256, "a=b,c", "x");
        assert_eq!(step(&mut scram, None).await, Ok(Some("n,,n=a=3Db=2Cc,r=x".to_owned())));
    }

    #[tokio::test]
    async fn a_broker_that_breaks_scram_is_refused() {
        let salt = "s=W22ZaJ0SNY7soEsUEjb6gQ==";
        for (first, expected) in [
            (format!("r={NONCE},{salt},i=4096"), "our nonce"),
            (format!("r=other,{salt},i=4096"), "our nonce"),
            (format!("r={NONCE}x,{salt},i=4095"), "4096 to 1000000 are accepted"),
            (format!("r={NONCE}x,{salt},i=1000001"), "4096 to 1000000 are accepted"),
            (format!("r={NONCE}x,{salt},i=4294967296"), "no valid iterations"),
            (format!("r={NONCE}x,s=,i=4096"), "no salt"),
            (format!("r={NONCE}x,s=?,i=4096"), "no salt"),
            (format!("m=x,r={NONCE}x,{salt},i=4096"), "no nonce"),
            (format!("r={NONCE}x"), "no salt"),
            (String::new(), "no nonce"),
            ("x".repeat(5_000), "too long"),
            ("e=unknown-user pencil".to_owned(), "refuses SCRAM-SHA-256: unknown-user [redacted]"),
        ] {
            let mut scram = scram(Hash::Sha256, "user", NONCE);
            step(&mut scram, None).await.expect("first");
            let error = step(&mut scram, Some(&first)).await.expect_err(&first).to_string();
            assert!(error.contains(expected) && !error.contains("pencil"), "{first}: {error}");
        }
        for (last, expected) in [
            ("v=AAAA", "does not know the password"),
            ("v=?", "no signature"),
            ("", "no signature"),
            ("e=invalid-proof", "invalid-proof"),
        ] {
            let mut scram = scram(Hash::Sha256, "user", NONCE);
            step(&mut scram, None).await.expect("first");
            step(&mut scram, Some(FIRST)).await.expect("final");
            let error = step(&mut scram, Some(last)).await.expect_err(last).to_string();
            assert!(error.contains(expected), "{last}: {error}");
        }
    }

    #[tokio::test]
    async fn two_exchanges_have_different_nonces() {
        let begin = || Scram::begin(Hash::Sha256, &Secret::new("user"), Secret::new("pencil")).expect("random");
        let (one, other) = (begin(), begin());
        assert_ne!(one.nonce, other.nonce);
        assert_eq!(one.nonce.len(), 24);
    }
}
