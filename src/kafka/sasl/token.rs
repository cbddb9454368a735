//! Tokens and other credentials that expire: what a token may hold, when it expires, and when it is fetched anew.

use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::kafka::secret::Secret;

/// The longest token, in bytes. Real ones have 1 to 4 KB, and brokers accept requests of 512 KiB before authentication.
const MAX_TOKEN: usize = 64 << 10;

/// A token that can be sent: the characters of RFC 6750, section 2.1.
pub(super) fn checked(text: &str) -> Result<Secret, String> {
    let is_of_token = |c: char| c.is_ascii_alphanumeric() || "-._~+/=".contains(c);
    if text.is_empty() {
        Err("the token is empty".to_owned())
    } else if text.len() > MAX_TOKEN {
        Err(format!("the token is longer than {} KiB", MAX_TOKEN >> 10))
    } else if !text.chars().all(is_of_token) {
        Err("the token has a character that no token has, such as a blank inside".to_owned())
    } else {
        Ok(Secret::new(text))
    }
}

/// When a token expires, where it is a JWT that says so (RFC 7519, `exp`).
pub(super) fn jwt_expiry(token: &str) -> Option<SystemTime> {
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?.trim_end_matches('=')).ok()?;
    let claims: serde_json::Value = serde_json::from_slice(&claims).ok()?;
    let seconds = claims.get("exp")?.as_f64().filter(|seconds| (0.0..1e11).contains(seconds))?;
    Some(SystemTime::UNIX_EPOCH + Duration::from_secs_f64(seconds))
}

/// A value that expires: fetched when first needed, and again at 80 % of its lifetime.
pub(super) struct RenewedValue<T> {
    // A tokio mutex, held while fetching: connections to several brokers wait for one request.
    held: Mutex<Option<CachedValue<T>>>,
}

struct CachedValue<T> {
    value: T,
    renew_at: Instant,
    expires_at: Instant,
}

/// Wait before the next attempt where a value can't be renewed. The old value is used until it expires.
const RETRY_INTERVAL: Duration = Duration::from_secs(10);
/// Longer lifetimes are cut to this: one request a day costs nothing.
const MAX_LIFETIME: Duration = Duration::from_secs(86_400);

impl<T> Default for RenewedValue<T> {
    fn default() -> Self {
        Self { held: Mutex::new(None) }
    }
}

impl<T: Clone> RenewedValue<T> {
    /// The value. `fetch` gives a new one with its lifetime.
    pub(super) async fn get<F>(&self, fetch: F) -> Result<T, String>
    where
        F: Future<Output = Result<(T, Duration), String>>,
    {
        self.get_at(Instant::now, fetch).await
    }

    /// The same with another clock.
    pub(super) async fn get_at<F>(&self, now: impl Fn() -> Instant, fetch: F) -> Result<T, String>
    where
        F: Future<Output = Result<(T, Duration), String>>,
    {
        let mut held = self.held.lock().await;
        let now = now();
        if let Some(held) = held.as_ref().filter(|held| now < held.renew_at) {
            return Ok(held.value.clone());
        }
        match (fetch.await, held.as_mut().filter(|held| now < held.expires_at)) {
            (Ok((value, lifetime)), _) => {
                let lifetime = lifetime.min(MAX_LIFETIME);
                let fresh = CachedValue {
                    value: value.clone(),
                    renew_at: now + lifetime.mul_f64(0.8),
                    expires_at: now + lifetime,
                };
                *held = Some(fresh);
                Ok(value)
            }
            (Err(_), Some(held)) => {
                held.renew_at = (now + RETRY_INTERVAL).min(held.expires_at);
                Ok(held.value.clone())
            }
            (Err(why), None) => Err(why),
        }
    }

    /// Drops the value, so that the next call fetches a new one.
    pub(super) fn forget(&self) {
        // While the lock is held, a new value is being fetched.
        if let Ok(mut held) = self.held.try_lock() {
            *held = None;
        }
    }
}
