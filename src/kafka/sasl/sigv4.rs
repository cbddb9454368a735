//! AWS Signature Version 4 on `ring`, as far as it is needed: a request without a body, signed for a header or in the
//! query ("presigned"). Checked against AWS's published test vectors.

use std::fmt::Write as _;

use ring::{digest, hmac};

/// The credentials and scope of a signature.
pub(super) struct Signer<'a> {
    pub(super) access_key: &'a str,
    pub(super) secret_key: &'a str,
    pub(super) session_token: Option<&'a str>,
    pub(super) region: &'a str,
    pub(super) service: &'a str,
    /// `20150830T123600Z`.
    pub(super) at: String,
}

const ALGORITHM: &str = "AWS4-HMAC-SHA256";

impl Signer<'_> {
    fn scope(&self) -> String {
        format!("{}/{}/{}/aws4_request", self.date(), self.region, self.service)
    }

    fn date(&self) -> &str {
        self.at.get(..8).unwrap_or_default()
    }

    /// The signature of a GET. `query` is in any order; `headers` has lower-case names, sorted.
    pub(super) fn signature(
        &self,
        path: &str,
        query: &[(String, String)],
        headers: &[(&str, &str)],
        payload_hash: &str,
    ) -> String {
        let mut canonical = format!("GET\n{path}\n{}\n", canonical_query(query));
        for (name, value) in headers {
            canonical.push_str(&format!("{name}:{}\n", value.trim()));
        }
        canonical.push_str(&format!("\n{}\n{payload_hash}", signed_headers(headers)));
        let hash = hex(digest::digest(&digest::SHA256, canonical.as_bytes()).as_ref());
        let to_sign = format!("{ALGORITHM}\n{}\n{}\n{hash}", self.at, self.scope());
        let mut key = hmac_of(format!("AWS4{}", self.secret_key).as_bytes(), self.date());
        for part in [self.region, self.service, "aws4_request"] {
            key = hmac_of(key.as_ref(), part);
        }
        hex(hmac_of(key.as_ref(), &to_sign).as_ref())
    }

    /// The query of a GET that is signed for `expires` seconds, the signature included.
    pub(super) fn presigned_query(
        &self,
        host: &str,
        path: &str,
        query: &[(&str, &str)],
        expires: u32,
        payload_hash: &str,
    ) -> String {
        let own = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        let headers = [("host", host)];
        let mut all: Vec<(String, String)> = query.iter().copied().map(own).collect();
        all.extend(
            [
                ("X-Amz-Algorithm", ALGORITHM),
                ("X-Amz-Credential", &format!("{}/{}", self.access_key, self.scope())),
                ("X-Amz-Date", &self.at),
                ("X-Amz-Expires", &expires.to_string()),
                ("X-Amz-SignedHeaders", &signed_headers(&headers)),
            ]
            .map(own),
        );
        all.extend(self.session_token.map(|token| own(("X-Amz-Security-Token", token))));
        let signature = self.signature(path, &all, &headers, payload_hash);
        format!("{}&X-Amz-Signature={signature}", canonical_query(&all))
    }
}

/// The hash of an empty body.
pub(super) fn empty_payload() -> String {
    hex(digest::digest(&digest::SHA256, b"").as_ref())
}

fn signed_headers(headers: &[(&str, &str)]) -> String {
    headers.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";")
}

/// Names and values percent-encoded, then sorted.
fn canonical_query(query: &[(String, String)]) -> String {
    let mut pairs: Vec<(String, String)> = query.iter().map(|(name, value)| (encode(name), encode(value))).collect();
    pairs.sort();
    pairs.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
}

/// Percent-encodes everything but RFC 3986's unreserved characters.
pub(super) fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            // Writing to a String does not fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

fn hmac_of(key: &[u8], text: &str) -> hmac::Tag {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// AWS's Signature Version 4 test suite (`aws-sig-v4-test-suite`): its credentials, date and scope.
    fn suite() -> Signer<'static> {
        Signer {
            access_key: "AKIDEXAMPLE",
            secret_key: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
            session_token: None,
            region: "us-east-1",
            service: "service",
            at: "20150830T123600Z".to_owned(),
        }
    }

    #[test]
    fn the_published_vectors_of_the_test_suite() {
        let own = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        let headers = [("host", "example.amazonaws.com"), ("x-amz-date", "20150830T123600Z")];
        let unreserved = "-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
        for (name, query, expected) in [
            ("get-vanilla", own(&[]), "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
            (
                "get-vanilla-empty-query-key",
                own(&[("Param1", "value1")]),
                "a67d582fa61cc504c4bae71f336f98b97f1ea3c7a6bfe1b6e45aec72011b9aeb",
            ),
            (
                "get-vanilla-query-order-key-case",
                own(&[("Param2", "value2"), ("Param1", "value1")]),
                "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
            ),
            (
                "get-vanilla-query-unreserved",
                own(&[(unreserved, unreserved)]),
                "9c3e54bfcdf0b19771a7f523ee5669cdf59bc7cc0884027167c21bb143a40197",
            ),
        ] {
            assert_eq!(suite().signature("/", &query, &headers, &empty_payload()), expected, "{name}");
        }
    }

    /// The presigned URL of Amazon S3's documentation ("Authenticating Requests: Using Query Parameters").
    #[test]
    fn the_published_presigned_request() {
        let signer = Signer {
            access_key: "AKIAIOSFODNN7EXAMPLE",
            secret_key: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
            session_token: None,
            region: "us-east-1",
            service: "s3",
            at: "20130524T000000Z".to_owned(),
        };
        let query =
            signer.presigned_query("examplebucket.s3.amazonaws.com", "/test.txt", &[], 86_400, "UNSIGNED-PAYLOAD");
        assert_eq!(
            query,
            "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
        );
    }
}
