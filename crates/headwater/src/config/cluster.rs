//! `[cluster]`: more than one machine.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use serde::Deserialize;

use super::error::ConfigError;
use super::value::{Address, Parsed};

/// How this node and the others find each other.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct ClusterConfig {
    /// etcd's members: URLs.
    pub(crate) etcd: Vec<String>,
    /// What the names of all keys begin with.
    pub(crate) prefix: String,
    /// Where other nodes reach this one's streams.
    pub(crate) listen: SocketAddr,
    /// What they are told, when that is another address.
    pub(crate) advertise: Option<String>,
    /// What nodes show each other and etcd.
    pub(crate) tls: Option<ClusterTls>,
}

/// Files of a node's identity, PEM.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct ClusterTls {
    /// Who signs the nodes' certificates.
    pub(crate) ca: PathBuf,
    /// This node's.
    pub(crate) certificate: PathBuf,
    /// Its private key.
    pub(crate) key: PathBuf,
}

/// Where other nodes reach this one by default: on loopback, which is of use to other processes on this machine alone.
const LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 1940);
/// Before the names of keys.
const PREFIX: &str = "headwater";

/// The keys.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ClusterKeys {
    etcd: Option<Parsed<Members>>,
    prefix: Option<Parsed<Prefix>>,
    listen: Option<Parsed<Address>>,
    advertise: Option<Parsed<HostPort>>,
    tls_ca: Option<PathBuf>,
    tls_cert: Option<PathBuf>,
    tls_key: Option<PathBuf>,
    plain: Option<bool>,
}

impl ClusterKeys {
    /// What the flag says.
    pub(crate) fn from_flag(etcd: Option<Members>) -> Self {
        Self { etcd: etcd.map(Parsed), ..Self::default() }
    }

    /// This layer laid over `below`.
    pub(crate) fn over(self, below: Self) -> Self {
        Self {
            etcd: self.etcd.or(below.etcd),
            prefix: self.prefix.or(below.prefix),
            listen: self.listen.or(below.listen),
            advertise: self.advertise.or(below.advertise),
            tls_ca: self.tls_ca.or(below.tls_ca),
            tls_cert: self.tls_cert.or(below.tls_cert),
            tls_key: self.tls_key.or(below.tls_key),
            plain: self.plain.or(below.plain),
        }
    }

    /// With defaults where nothing is said; `None` for a machine alone.
    pub(crate) fn config(&self) -> Result<Option<ClusterConfig>, ConfigError> {
        let Some(Parsed(Members(etcd))) = &self.etcd else { return Ok(None) };
        let tls = match (&self.tls_ca, &self.tls_cert, &self.tls_key) {
            (None, None, None) => None,
            (Some(ca), Some(certificate), Some(key)) => {
                Some(ClusterTls { ca: ca.clone(), certificate: certificate.clone(), key: key.clone() })
            }
            _ => return Err(ConfigError::HalfClusterTls),
        };
        let listen = self.listen.map_or(LISTEN, |Parsed(address)| address.0);
        if !self.plain.unwrap_or(false) {
            if tls.is_none() && !listen.ip().is_loopback() {
                return Err(ConfigError::PlainCluster { what: format!("cluster.listen = {listen}") });
            }
            if let Some(member) = etcd.iter().find(|member| !is_private(member)) {
                return Err(ConfigError::PlainCluster { what: format!("cluster.etcd = {member}") });
            }
        }
        Ok(Some(ClusterConfig {
            etcd: etcd.clone(),
            prefix: self.prefix.as_ref().map_or(PREFIX.to_owned(), |Parsed(prefix)| prefix.0.clone()),
            listen,
            advertise: self.advertise.as_ref().map(|Parsed(address)| address.0.clone()),
            tls,
        }))
    }
}

/// Whether nobody on the way to it can read along.
fn is_private(member: &str) -> bool {
    let host = member.strip_prefix("http://").and_then(|rest| rest.rsplit_once(':')).map(|(host, _)| host);
    match host {
        None => member.starts_with("https://"),
        Some("localhost") => true,
        Some(host) => host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback()),
    }
}

/// etcd's members.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Members(pub(crate) Vec<String>);

impl FromStr for Members {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let all: Vec<String> = text.split(',').map(|member| member.trim().to_owned()).collect();
        let good = |member: &String| {
            let rest = ["http://", "https://"].into_iter().find_map(|scheme| member.strip_prefix(scheme));
            rest.is_some_and(|rest| rest.parse::<HostPort>().is_ok())
        };
        match all.iter().find(|member| !good(member)) {
            None => Ok(Self(all)),
            Some(bad) => Err(format!(
                "expected etcd's members as URLs with a port, commas between them, such as http://127.0.0.1:2379; found \
                 {bad:?}"
            )),
        }
    }
}

/// What keys begin with.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Prefix(String);

impl FromStr for Prefix {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/".contains(&byte);
        if !text.is_empty() && text.len() <= 128 && text.bytes().all(plain) && !text.starts_with('/') {
            return Ok(Self(text.trim_end_matches('/').to_owned()));
        }
        Err(format!("expected 1 to 128 letters, digits and . _ - /, no / first; found {text:?}"))
    }
}

/// A host, by name or address, and a port.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct HostPort(String);

impl FromStr for HostPort {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-[]:".contains(&byte);
        let good = text.rsplit_once(':').is_some_and(|(host, port)| {
            !host.is_empty() && host.bytes().all(plain) && port.parse::<u16>().is_ok_and(|port| port > 0)
        });
        if good { Ok(Self(text.to_owned())) } else { Err(format!("expected a host and a port; found {text:?}")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Result<Option<ClusterConfig>, String> {
        let keys: ClusterKeys = toml::from_str(text).map_err(|error| error.message().to_owned())?;
        keys.config().map_err(|error| error.to_string())
    }

    #[test]
    fn without_etcd_a_machine_is_alone() {
        assert_eq!(config("prefix = 'a'").unwrap(), None);
    }

    #[test]
    fn nodes_speak_plain_text_on_loopback_or_when_they_are_told_to() {
        let loopback =
            config("etcd = 'http://127.0.0.1:2379, http://localhost:2380,http://[::1]:2381'").unwrap().unwrap();
        assert_eq!((loopback.etcd.len(), loopback.listen, loopback.prefix.as_str()), (3, LISTEN, "headwater"));
        let tls = "tls_ca = 'ca.pem'\ntls_cert = 'node.pem'\ntls_key = 'node.key'";
        let listens = "etcd = 'http://127.0.0.1:2379'\nlisten = '10.0.0.2:1940'";
        for public in [
            listens,
            "etcd = 'http://10.0.0.1:2379'",
            "etcd = 'http://127.0.0.1:2379,http://etcd:2379'",
            "etcd = 'http://127.0.0.1.nip.io:2379'",
        ] {
            let refused = config(public).unwrap_err();
            assert!(refused.contains("tls_ca") && refused.contains("https://"), "{refused}");
            config(&format!("{public}\nplain = true")).unwrap().unwrap();
            // Certificates do not make http:// any safer.
            assert_eq!(config(&format!("{public}\n{tls}")).is_ok(), public == listens, "{public}");
        }
        assert!(config(&format!("etcd = 'https://etcd:2379'\nlisten = '10.0.0.2:1940'\n{tls}")).unwrap().is_some());
        assert!(config("etcd = 'http://127.0.0.1:2379'\ntls_ca = 'ca.pem'").unwrap_err().contains("tls_key"));
    }

    #[test]
    fn bad_values_are_said() {
        for bad in ["etcd = 'localhost:2379'", "etcd = ''", "etcd = 'http://a'", "prefix = '/a'", "advertise = 'a:0'"] {
            assert!(config(bad).unwrap_err().contains("expected"), "{bad}");
        }
    }
}
