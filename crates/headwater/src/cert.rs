//! `headwater cert`: an authority for a cluster, and certificates that it signs.

use std::fs::{DirBuilder, OpenOptions};
use std::io::Write;
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::str::FromStr;

use anyhow::{Context, Result, anyhow, ensure};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};

/// What a node's certificate is for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Node {
    /// Host names and addresses. Not empty.
    names: Vec<String>,
}

impl FromStr for Node {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let names: Vec<String> = text.split(',').map(str::to_owned).collect();
        match names.iter().find(|name| !is_host(name)) {
            Some(bad) => Err(format!("`{bad}` is neither a host name nor an address")),
            None if ["ca"].contains(&names[0].as_str()) => Err("`ca` is the authority's own name".to_owned()),
            None => Ok(Self { names }),
        }
    }
}

fn is_host(name: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len()) && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    name.parse::<IpAddr>().is_ok() || (name.len() <= 253 && name.split('.').all(is_label))
}

/// Writes what is missing of the authority and a certificate for each of `nodes` into `folder`, and says what.
pub(crate) fn make(folder: &Path, nodes: &[Node], mut output: impl Write) -> Result<()> {
    for node in nodes {
        for file in ["pem", "key"].map(|kind| folder.join(format!("{}.{kind}", node.names[0]))) {
            ensure!(!file.exists(), "{} is there already, and nothing is written over", file.display());
        }
    }
    DirBuilder::new().recursive(true).mode(0o700).create(folder).with_context(|| said("make", folder))?;
    let authority = authority(folder, &mut output)?;
    for node in nodes {
        let key = KeyPair::generate()?;
        let mut parameters = CertificateParams::new(node.names.clone())?;
        parameters.distinguished_name.push(DnType::CommonName, node.names[0].as_str());
        parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        // Each node is a server to some and a client to others.
        parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        parameters.use_authority_key_identifier_extension = true;
        let certificate = parameters.signed_by(&key, &authority)?;
        let name = &node.names[0];
        write(&folder.join(format!("{name}.key")), &key.serialize_pem(), Secret::Yes, &mut output)?;
        write(&folder.join(format!("{name}.pem")), &certificate.pem(), Secret::No, &mut output)?;
    }
    Ok(())
}

/// The authority that is in the folder, or a new one.
fn authority(folder: &Path, output: &mut impl Write) -> Result<Issuer<'static, KeyPair>> {
    let (certificate, secret) = (folder.join("ca.pem"), folder.join("ca.key"));
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name = rcgen::DistinguishedName::new();
    parameters.distinguished_name.push(DnType::CommonName, "Headwater cluster");
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let key = match (certificate.exists(), secret.exists()) {
        (true, true) => {
            let text = std::fs::read_to_string(&secret).with_context(|| said("read", &secret))?;
            KeyPair::from_pem(&text)
                .with_context(|| format!("{} holds no key that this program made", secret.display()))?
        }
        (false, false) => {
            let key = KeyPair::generate()?;
            write(&secret, &key.serialize_pem(), Secret::Yes, output)?;
            write(&certificate, &parameters.self_signed(&key)?.pem(), Secret::No, output)?;
            key
        }
        (found, _) => {
            let (found, missing) = if found { (certificate, secret) } else { (secret, certificate) };
            return Err(anyhow!("{} is there, but not {}: nothing can be signed", found.display(), missing.display()));
        }
    };
    // All that goes into what it signs is its name and its key.
    Ok(Issuer::new(parameters, key))
}

/// Whether others may read it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Secret {
    Yes,
    No,
}

/// Writes a file that is not there yet.
fn write(file: &Path, text: &str, secret: Secret, output: &mut impl Write) -> Result<()> {
    let mode = if secret == Secret::Yes { 0o600 } else { 0o644 };
    let mut opened =
        OpenOptions::new().write(true).create_new(true).mode(mode).open(file).with_context(|| said("write", file))?;
    opened.write_all(text.as_bytes()).and_then(|()| opened.sync_all()).with_context(|| said("write", file))?;
    writeln!(output, "{}", file.display()).context("writing to standard output")
}

fn said(what: &str, file: &Path) -> String {
    format!("cannot {what} {}", file.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_are_host_names_and_addresses() {
        for good in ["127.0.1.1", "node-1.example", "node-1,10.0.0.1,::1"] {
            assert_eq!(good.parse::<Node>().unwrap().names.join(","), good);
        }
        for bad in ["", "a,", "../key", "a/b", "-,a b", "a..b", "ca"] {
            assert!(bad.parse::<Node>().is_err(), "{bad}");
        }
    }
}
