//! Scripted authentication, valid and malicious.

use bytes::Bytes;
use kafka_protocol::messages::{ApiKey, SaslAuthenticateRequest, SaslAuthenticateResponse};
use kafka_protocol::protocol::StrBytes;

use super::model::{ClusterModel, SaslScript};
use super::responses::{ReceivedRequest, decoded, encoded};

const SASL_AUTHENTICATION_FAILED: i16 = 58;

/// The state of a connection.
#[derive(Default)]
pub(super) struct Session {
    messages: u32,
    welcome: bool,
}

impl Session {
    /// Whether this request is allowed now; real brokers close the connection for others.
    pub(super) fn admits(&self, model: &ClusterModel, key: i16) -> bool {
        let before = [ApiKey::ApiVersions, ApiKey::SaslHandshake, ApiKey::SaslAuthenticate];
        model.sasl.is_none() || self.welcome || before.iter().any(|allowed| *allowed as i16 == key)
    }

    /// The broker's next message; `None` closes the connection.
    pub(super) fn authenticate(&mut self, model: &ClusterModel, requested: &ReceivedRequest<'_>) -> Option<Vec<u8>> {
        let request: SaslAuthenticateRequest = decoded(requested);
        let sasl = model.sasl.as_ref()?;
        self.messages += 1;
        let lifetime = if requested.version >= 1 { sasl.session_lifetime_ms } else { 0 };
        let answer = SaslAuthenticateResponse::default().with_session_lifetime_ms(lifetime);
        let answer = match &sasl.script {
            SaslScript::Welcome => {
                self.welcome = true;
                answer
            }
            SaslScript::Refuse(words) => answer
                .with_error_code(SASL_AUTHENTICATION_FAILED)
                .with_error_message(Some(StrBytes::from_string(words.clone()))),
            SaslScript::Scram { iterations } if self.messages == 1 => {
                let first = String::from_utf8_lossy(&request.auth_bytes).into_owned();
                let nonce = first.rsplit_once("r=").map_or("", |(_, nonce)| nonce);
                // RFC 5802: the nonce with ours as its prefix, a salt, the number of iterations.
                let challenge = format!("r={nonce}theirs,s=c2FsdHNhbHQ=,i={iterations}");
                answer.with_auth_bytes(Bytes::from(challenge))
            }
            SaslScript::Scram { .. } => {
                self.welcome = true;
                answer.with_auth_bytes(Bytes::from_static(b"v=AAAA"))
            }
            SaslScript::Endless(bytes) => answer.with_auth_bytes(Bytes::copy_from_slice(bytes)),
            SaslScript::Close => return None,
        };
        Some(encoded(&answer, requested.version))
    }
}
