//! Binds the addresses of the configuration, also on hosts without IPv6.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::Context;
use nix::errno::Errno;
use tokio::net::TcpListener;
use tracing::warn;

/// Binds an address; `field` is the configuration's field that has it. Where it is `[::]` and the host has no IPv6, all
/// IPv4 addresses are bound instead.
pub async fn listen(address: SocketAddr, field: &str) -> anyhow::Result<TcpListener> {
    bind_by(address, field, TcpListener::bind).await
}

async fn bind_by<T, F>(address: SocketAddr, field: &str, bind: impl Fn(SocketAddr) -> F) -> anyhow::Result<T>
where
    F: Future<Output = io::Result<T>>,
{
    let bound = match bind(address).await {
        Err(error) if address.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED) && is_without_ipv6(&error) => {
            let ipv4 = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), address.port());
            warn!(%address, %ipv4, field, "This host has no IPv6; listening on all IPv4 addresses instead.");
            bind(ipv4).await
        }
        other => other,
    };
    bound.with_context(|| format!("Can't listen on {address} (the configuration's {field})"))
}

/// Linux refuses the socket where the kernel has no IPv6 (`ipv6.disable=1`), and the address where all interfaces have
/// it off (`net.ipv6.conf.all.disable_ipv6=1`).
fn is_without_ipv6(error: &io::Error) -> bool {
    error
        .raw_os_error()
        .map(Errno::from_raw)
        .is_some_and(|code| matches!(code, Errno::EAFNOSUPPORT | Errno::EADDRNOTAVAIL))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn all_addresses_are_ipv4_ones_where_the_host_has_no_ipv6() {
        let rows = [
            ("[::]:8080", Errno::EAFNOSUPPORT, Some("0.0.0.0:8080")),
            ("[::]:8080", Errno::EADDRNOTAVAIL, Some("0.0.0.0:8080")),
            ("[::]:8080", Errno::EADDRINUSE, None),
            ("[::1]:8080", Errno::EADDRNOTAVAIL, None),
        ];
        for (address, code, expected) in rows {
            let bind = |address: SocketAddr| async move {
                if address.is_ipv6() { Err(io::Error::from_raw_os_error(code as i32)) } else { Ok(address) }
            };
            let bound = bind_by(address.parse().expect("an address"), "listen", bind).await;
            assert_eq!(bound.ok().map(|bound| bound.to_string()).as_deref(), expected, "{address} {code}");
        }
    }
}
