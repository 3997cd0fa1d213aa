//! What is wrong with a configuration, in one sentence that says where.

use std::io;
use std::ops::Range;

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {name}: {error}")]
    Unreadable {
        /// Its path.
        name: String,
        /// Why.
        error: io::Error,
    },
    /// A line of the file says something that it cannot say.
    #[error("{name}, line {line}: {problem}")]
    Line {
        /// The file's path.
        name: String,
        /// Its line, from 1.
        line: usize,
        /// What is wrong.
        problem: String,
    },
    /// A variable of the environment says something that it cannot say.
    #[error("{variable}: {problem}")]
    Variable {
        /// Its name.
        variable: String,
        /// What is wrong.
        problem: String,
    },
    /// One of the three things that RTMPS needs is missing.
    #[error("RTMPS needs an address, a certificate and its key: rtmps, tls_cert and tls_key")]
    HalfRtmps,
    /// One of the three files of a node's identity is missing.
    #[error("TLS between nodes needs three files: cluster.tls_ca, cluster.tls_cert and cluster.tls_key")]
    HalfClusterTls,
    /// Streams would cross a network in the open.
    #[error(
        "{what} is not on loopback and would be in plain text: set cluster.tls_ca, tls_cert and tls_key (`headwater cert` \
         makes them) and give etcd's members as https://, or set cluster.plain = true where nobody else is on the network"
    )]
    PlainCluster {
        /// The key and its value.
        what: String,
    },
    /// A pool's node has no pool.
    #[error("`headwater {command}` is one of several nodes, and needs an etcd: --etcd or cluster.etcd")]
    NoCluster {
        /// The subcommand.
        command: &'static str,
    },
    /// The ladder asked for does not exist.
    #[error("there is no ladder {asked:?}; there are {known}")]
    NoSuchLadder {
        /// What was asked for.
        asked: String,
        /// What there is.
        known: String,
    },
}

/// Turns places in a text into lines. Only what is wrong is told, never the text of the line: it may hold a key.
pub(crate) struct Places<'a> {
    pub(crate) name: &'a str,
    pub(crate) text: &'a str,
}

impl Places<'_> {
    pub(crate) fn error(&self, span: Range<usize>, problem: impl Into<String>) -> ConfigError {
        let line = self.line(span.start);
        ConfigError::Line { name: self.name.to_owned(), line, problem: problem.into() }
    }

    pub(crate) fn toml_error(&self, error: &toml::de::Error) -> ConfigError {
        // Errors without a place are about the file as a whole.
        self.error(error.span().unwrap_or(0..0), one_line(error))
    }

    /// The line of byte `at`, from 1.
    pub(crate) fn line(&self, at: usize) -> usize {
        1 + self.text.bytes().take(at).filter(|byte| *byte == b'\n').count()
    }
}

/// The message of a TOML error as a single line.
pub(crate) fn one_line(error: &toml::de::Error) -> String {
    error.message().split_whitespace().collect::<Vec<_>>().join(" ").replace("unknown field", "unknown key")
}
