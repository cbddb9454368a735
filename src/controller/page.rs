//! Makes what the page is served from of its configuration, and follows the files that it names.

use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::config::{PageAuthentication, PageProxy, PageSettings};
use crate::kafka::now;
use crate::kubernetes::{ApiClient, Leadership};
use crate::registry::Registry;
use crate::serve::external_metrics::{ServedCertificate, follow_directory};
use crate::serve::page::{
    AccessReview, ControllerRole, PageAccess, PageSources, TrustedProxy, follow_proxy_authorities,
};

/// The page's sources. What they follow ends with `stop`.
pub(super) fn sources(
    settings: PageSettings,
    registry: Registry,
    client: ApiClient,
    leadership: Leadership,
    stop: &CancellationToken,
) -> PageSources {
    let PageSettings { listen, certificate, authentication } = settings;
    if certificate.is_none() && !listen.ip().is_loopback() {
        warn!(%listen, "The page is served without TLS, so tokens cross the network as they are; set page.certificate, or let only a proxy in front of it reach this port.");
    }
    let certificate = certificate.map(|directory| {
        let served = ServedCertificate::default();
        tokio::spawn(follow_directory(directory, served.clone(), stop.clone()));
        served
    });
    let role = move || {
        let leader = leadership.leader();
        if leadership.is_leader() {
            ControllerRole::Leader { name: leader }
        } else {
            ControllerRole::Follower { leader }
        }
    };
    let access = match authentication {
        None => PageAccess::Everyone,
        Some(PageAuthentication { token_audiences, proxy }) => {
            let proxy = proxy.map(|proxy| trusted(proxy, stop));
            PageAccess::Reviewed(Arc::new(AccessReview::new(client, token_audiences, proxy)))
        }
    };
    PageSources { registry, now, role: Box::new(role), access, certificate, bootstrap_servers: None }
}

fn trusted(proxy: PageProxy, stop: &CancellationToken) -> TrustedProxy {
    let PageProxy { addresses, client_ca, user_header, group_header, group_separator } = proxy;
    let certificate = client_ca.map(|(file, names)| {
        let (sender, trusted) = watch::channel(None);
        tokio::spawn(follow_proxy_authorities(file, names, user_header.clone(), sender, stop.clone()));
        trusted
    });
    TrustedProxy { addresses, certificate, user_header, group_header, group_separator }
}
