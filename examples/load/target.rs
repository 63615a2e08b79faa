//! Where the server is: on this machine, always.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use hyper::Uri;

/// Loopback addresses of one server, in the order in which they are tried.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    name: String,
    addresses: Vec<SocketAddr>,
}

impl Target {
    pub(crate) fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Host and port, as the header `Host` wants them.
    pub(crate) fn host(&self) -> &str {
        &self.name
    }
}

impl From<SocketAddr> for Target {
    fn from(address: SocketAddr) -> Self {
        Self {
            name: address.to_string(),
            addresses: vec![address],
        }
    }
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let uri: Uri = text.parse().map_err(|error| format!("{error}"))?;
        if uri.scheme_str() != Some("http") {
            return Err("want http://, a loopback address and a port".to_owned());
        }
        if uri.path() != "/" || uri.query().is_some() {
            return Err("want no path: the paths are those of the server example".to_owned());
        }
        let authority = uri.authority().map_or("", |authority| authority.as_str());
        if authority.contains('@') {
            return Err("want no user in it".to_owned());
        }
        let port = uri.port_u16().unwrap_or(80);
        let host = uri.host().unwrap_or_default();
        let addresses = if host.eq_ignore_ascii_case("localhost") {
            vec![
                SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
                SocketAddr::from((Ipv6Addr::LOCALHOST, port)),
            ]
        } else {
            let ip: IpAddr = host
                .trim_start_matches('[')
                .trim_end_matches(']')
                .parse()
                .map_err(|_| format!("{host} is neither an IP address nor localhost"))?;
            vec![SocketAddr::new(ip, port)]
        };
        if !addresses.iter().all(|address| address.ip().is_loopback()) {
            return Err(format!(
                "{host} is not a loopback address: this program puts load on servers of this machine only"
            ));
        }
        Ok(Self {
            name: authority.to_owned(),
            addresses,
        })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}", self.name)
    }
}
