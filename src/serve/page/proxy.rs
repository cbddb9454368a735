//! The proxy in front of the page that may say who somebody is: how its connections are recognised, and its headers. What
//! others send in these headers is never read.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderMap, HeaderName};
use ipnet::IpNet;
use rustls::pki_types::UnixTime;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::kubernetes::{LastError, UserIdentity};
use crate::serve::accept::ConnectionPeer;
use crate::serve::external_metrics::FrontProxy;

/// Interval of reads of the file with the authorities. The kubelet itself takes about a minute to update a Secret.
const INTERVAL: Duration = Duration::from_secs(10);
/// Groups of a user at most; a request's head has no room for many more.
const MAX_GROUPS: usize = 500;
/// The group of everybody who is known. The API server adds it for its own users as well.
const AUTHENTICATED: &str = "system:authenticated";

/// A proxy that has authenticated its users. A connection is the proxy's where its address and its certificate are as
/// they must be; what is `None` or empty is not looked at, and one of the two must be given.
#[derive(Clone, Debug)]
pub struct TrustedProxy {
    /// The addresses that it connects from.
    pub addresses: Vec<IpNet>,
    /// The authorities of its client certificate, and the names that it may have.
    pub certificate: Option<watch::Receiver<Option<Arc<FrontProxy>>>>,
    /// The header with the user's name.
    pub user_header: HeaderName,
    /// The header with the user's groups.
    pub group_header: HeaderName,
    /// What separates several groups in one header; without it each header is one group.
    pub group_separator: Option<String>,
}

impl TrustedProxy {
    /// Whether it is the proxy that has opened a connection.
    pub(super) fn is(&self, peer: &ConnectionPeer) -> bool {
        let is_listed = |ip: &IpAddr| self.addresses.iter().any(|range| range.contains(ip));
        let has_certificate = |trusted: &watch::Receiver<Option<Arc<FrontProxy>>>| {
            let front_proxy = trusted.borrow().clone();
            front_proxy.is_some_and(|it| it.check(&peer.certificates, UnixTime::now()).is_ok())
        };
        (!self.addresses.is_empty() || self.certificate.is_some())
            && (self.addresses.is_empty() || is_listed(&peer.ip))
            && self.certificate.as_ref().is_none_or(has_certificate)
    }

    /// The user that its headers name; `None` where they name none, or more than one.
    pub(super) fn user(&self, headers: &HeaderMap) -> Option<UserIdentity> {
        let mut names = headers.get_all(&self.user_header).iter();
        let name = names.next()?.to_str().ok()?.trim();
        if name.is_empty() || names.next().is_some() {
            return None;
        }
        let mut groups = Vec::new();
        for value in headers.get_all(&self.group_header) {
            let value = value.to_str().ok()?;
            match &self.group_separator {
                Some(separator) => groups.extend(value.split(separator.as_str()).map(|group| group.trim().to_owned())),
                None => groups.push(value.trim().to_owned()),
            }
        }
        groups.retain(|group| !group.is_empty() && group != AUTHENTICATED);
        groups.truncate(MAX_GROUPS);
        groups.push(AUTHENTICATED.to_owned());
        Some(UserIdentity { name: name.to_owned(), groups, ..UserIdentity::default() })
    }
}

/// Reads the authorities of the proxy's certificates from a file, again and again until `stop`. What can't be used changes
/// nothing; until the first file that can, no certificate is trusted.
pub async fn follow_proxy_authorities(
    file: PathBuf,
    names: Vec<String>,
    user_header: HeaderName,
    trusted: watch::Sender<Option<Arc<FrontProxy>>>,
    stop: CancellationToken,
) {
    let mut last_error = LastError::default();
    loop {
        match read(&file, &names, &user_header).await {
            Ok(new) => {
                last_error.clear();
                let is_new = trusted.borrow().as_deref() != Some(&new);
                if is_new {
                    info!(file = %file.display(), "Read the authorities of the page's proxy.");
                    trusted.send_replace(Some(Arc::new(new)));
                }
            }
            Err(error) if last_error.is_new(&error) => {
                warn!(file = %file.display(), error, "The authorities of the page's proxy can't be used; retrying.");
            }
            Err(_) => {}
        }
        if stop.run_until_cancelled(tokio::time::sleep(INTERVAL)).await.is_none() {
            return;
        }
    }
}

async fn read(file: &Path, names: &[String], user_header: &HeaderName) -> Result<FrontProxy, String> {
    let pem = tokio::fs::read_to_string(file).await.map_err(|error| error.to_string())?;
    let headers = [user_header.as_str().to_owned()];
    FrontProxy::new(&pem, names.to_vec(), &headers).map_err(|_| "it has no certificates that can be used".to_owned())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn proxy(addresses: &[&str], separator: Option<&str>) -> TrustedProxy {
        TrustedProxy {
            addresses: addresses.iter().map(|range| range.parse().expect("a range")).collect(),
            certificate: None,
            user_header: HeaderName::from_static("x-remote-user"),
            group_header: HeaderName::from_static("x-remote-group"),
            group_separator: separator.map(str::to_owned),
        }
    }

    #[test]
    fn only_connections_from_its_addresses_are_the_proxys() {
        let rows = [
            (vec!["10.0.0.0/8", "fd00::/8"], "10.1.2.3", true),
            (vec!["10.0.0.0/8", "fd00::/8"], "fd00::1", true),
            (vec!["10.0.0.0/8"], "11.1.2.3", false),
            (vec!["127.0.0.1/32"], "127.0.0.2", false),
            // With nothing to tell it by nobody is the proxy.
            (vec![], "127.0.0.1", false),
        ];
        for (addresses, ip, expected) in rows {
            let peer = ConnectionPeer { ip: ip.parse().expect("an address"), certificates: Arc::default() };
            assert_eq!(proxy(&addresses, None).is(&peer), expected, "{addresses:?} {ip}");
        }
    }

    #[test]
    fn a_user_is_named_once_and_groups_are_split_only_where_that_is_configured() {
        type Row<'a> = (&'a [(&'static str, &'static str)], Option<&'a str>, Option<(&'a str, &'a [&'a str])>);
        let rows: &[Row<'_>] = &[
            (&[], None, None),
            (&[("x-remote-user", "")], None, None),
            (&[("x-remote-user", "ann"), ("x-remote-user", "bob")], None, None),
            (&[("x-remote-user", "ann")], None, Some(("ann", &[AUTHENTICATED]))),
            (
                &[("x-remote-user", "ann"), ("x-remote-group", "cn=a,dc=b"), ("x-remote-group", "c")],
                None,
                Some(("ann", &["cn=a,dc=b", "c", AUTHENTICATED])),
            ),
            (
                &[("x-remote-user", "ann"), ("x-remote-group", "a, b,,")],
                Some(","),
                Some(("ann", &["a", "b", AUTHENTICATED])),
            ),
        ];
        for (sent, separator, expected) in rows {
            let mut headers = HeaderMap::new();
            for (name, value) in *sent {
                headers.append(*name, HeaderValue::from_static(value));
            }
            let user = proxy(&[], *separator).user(&headers);
            let expected = expected.map(|(name, groups)| UserIdentity {
                name: name.to_owned(),
                groups: groups.iter().map(|&group| group.to_owned()).collect(),
                ..UserIdentity::default()
            });
            assert_eq!(user, expected, "{sent:?}");
        }
    }
}
