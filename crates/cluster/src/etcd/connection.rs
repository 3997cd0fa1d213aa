//! The way to etcd: one member at a time.
//!
//! A member that is silent or says that it cannot is left for the next one, with a new connection. Connections are not
//! balanced and not kept in store: one that is half open would be found dead only when it is needed.

use std::time::Duration;

use etcd_client::{Client, ConnectOptions, GetOptions, KeyValue, KvClient, WatchOptions};
use tokio::sync::Mutex;
use tokio::time::timeout;
use tracing::{debug, warn};

use super::Settings;
use super::failure::Failure;

/// Loopback and data centres; another member is tried after it.
const CONNECT: Duration = Duration::from_millis(500);
/// etcd ends a connection that is asked for a sign of life more often than every 5 s.
const PING_EVERY: Duration = Duration::from_secs(6);
const PING_ANSWER: Duration = Duration::from_secs(2);
/// Keys that are read at once. A record of a long window has some 100 KiB.
const PAGE: i64 = 100;
/// The longest message of etcd's that is read: a page, or what a watch has missed.
pub(super) const MESSAGE_BYTES_MAX: usize = 256 << 20;

/// Why this process cannot take part.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// No member is named.
    #[error("no etcd endpoint is configured")]
    NoEndpoint,
    /// An endpoint or a certificate makes no sense.
    #[error("cannot use etcd endpoint {endpoint}: {problem}")]
    Endpoint {
        /// The endpoint.
        endpoint: String,
        /// What is wrong.
        problem: String,
    },
    /// The node could not be registered.
    #[error("cannot register this node: {reason}")]
    NotRegistered {
        /// Why.
        reason: String,
    },
}

/// The connection of a process.
pub(super) struct Connection {
    endpoints: Vec<String>,
    options: ConnectOptions,
    current: Mutex<Current>,
}

struct Current {
    client: Client,
    /// Counts clients; the endpoint follows from it.
    number: usize,
}

/// A client, and which one it is.
#[derive(Clone)]
pub(super) struct Member {
    pub(super) client: Client,
    number: usize,
}

impl Connection {
    /// Connects when it is used.
    pub(super) async fn open(settings: &Settings) -> Result<Self, ConnectError> {
        let Settings { endpoints, tls, .. } = settings;
        let secure = endpoints.iter().any(|endpoint| endpoint.starts_with("https://"));
        let mut options = ConnectOptions::new()
            .with_connect_timeout(CONNECT)
            .with_keep_alive(PING_EVERY, PING_ANSWER)
            .with_keep_alive_while_idle(false)
            .with_require_leader(true);
        if let Some(tls) = tls.as_ref().filter(|_| secure) {
            options = options.with_tls(tls.client());
        }
        let mut first = None;
        for endpoint in endpoints.iter().rev() {
            // All are tried, so that a wrong one is not found when it is needed.
            let client = connect(endpoint, &options).await;
            first = Some(client.map_err(|problem| ConnectError::Endpoint { endpoint: endpoint.clone(), problem })?);
        }
        let current = Mutex::new(Current { client: first.ok_or(ConnectError::NoEndpoint)?, number: 0 });
        Ok(Self { endpoints: endpoints.clone(), options, current })
    }

    /// The member to be asked now.
    pub(super) async fn member(&self) -> Member {
        let current = self.current.lock().await;
        Member { client: current.client.clone(), number: current.number }
    }

    /// `member` was silent or could not: the next one, unless somebody has said so already.
    pub(super) async fn leave(&self, member: &Member, why: &Failure) {
        let mut current = self.current.lock().await;
        if current.number != member.number {
            return;
        }
        current.number += 1;
        let endpoint = &self.endpoints[current.number % self.endpoints.len()];
        let left = &self.endpoints[member.number % self.endpoints.len()];
        debug!(endpoint = %left, next = %endpoint, %why, "etcd member left");
        match connect(endpoint, &self.options).await {
            Ok(client) => current.client = client,
            // It was made from the same text before.
            Err(problem) => warn!(%endpoint, problem, "etcd cannot be connected to"),
        }
    }

    /// Leaves `member` if `why` may be its fault alone.
    pub(super) async fn leave_if_blamed(&self, member: &Member, why: &Failure) {
        if why.blames_member() {
            self.leave(member, why).await;
        }
    }

    /// Asks the current member something that is done in `limit`.
    pub(super) async fn call<T>(
        &self,
        limit: Duration,
        request: impl AsyncFnOnce(Client) -> Result<T, etcd_client::Error>,
    ) -> Result<T, Failure> {
        let member = self.member().await;
        let answer = match timeout(limit, request(member.client.clone())).await {
            Ok(answer) => answer.map_err(Failure::from),
            Err(_) => Err(Failure::late()),
        };
        if let Err(failure) = &answer {
            self.leave_if_blamed(&member, failure).await;
        }
        answer
    }

    /// Reads a key, and etcd's revision. Asks another member when the first one does not answer.
    pub(super) async fn get(&self, key: Vec<u8>) -> Result<(Option<KeyValue>, i64), Failure> {
        let once = async || self.call(super::READ, async |client| kv(client).get(key.clone(), None).await).await;
        let mut found = match once().await {
            Err(failure) if failure.blames_member() => once().await?,
            found => found?,
        };
        let revision = found.header().map_or(0, |header| header.revision());
        Ok((found.take_kvs().pop(), revision))
    }

    /// Reads all keys that begin with `prefix`, some at a time. Answers with the revision of etcd at which the first were
    /// read; others may be newer.
    pub(super) async fn range(&self, prefix: Vec<u8>, mut each: impl FnMut(&KeyValue)) -> Result<i64, Failure> {
        let end = after(&prefix);
        let mut from = prefix;
        let mut revision = None;
        loop {
            let options = GetOptions::new().with_range(end.clone()).with_limit(PAGE);
            let page = self.call(super::WRITE, async |client| kv(client).get(from, Some(options)).await).await?;
            let read_at = page.header().map_or(0, |header| header.revision());
            let revision = *revision.get_or_insert(read_at);
            page.kvs().iter().for_each(&mut each);
            match page.kvs().last().filter(|_| page.more()) {
                Some(last) => from = [last.key(), &[0]].concat(),
                None => return Ok(revision),
            }
        }
    }
}

fn kv(client: Client) -> KvClient {
    client.kv_client().max_decoding_message_size(MESSAGE_BYTES_MAX)
}

/// All keys that begin with `prefix`, for a watch.
pub(super) fn prefixed(options: WatchOptions, prefix: &[u8]) -> WatchOptions {
    options.with_range(after(prefix))
}

/// The first key after all those that begin with `prefix`, which ends in a character below 0xFF.
fn after(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    end
}

async fn connect(endpoint: &str, options: &ConnectOptions) -> Result<Client, String> {
    Client::connect([endpoint], Some(options.clone())).await.map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_endpoint_that_makes_no_sense_is_named() {
        let with = |endpoints: &[&str]| Settings {
            endpoints: endpoints.iter().map(|it| (*it).to_owned()).collect(),
            prefix: "headwater".into(),
            address: "127.0.0.1:7000".into(),
            tls: None,
        };
        let opened = async |endpoints: &[&str]| Connection::open(&with(endpoints)).await.map(|_| ()).unwrap_err();
        assert!(matches!(opened(&[]).await, ConnectError::NoEndpoint));
        let said = opened(&["http://127.0.0.1:2379", "https://not a host"]).await.to_string();
        assert!(said.starts_with("cannot use etcd endpoint https://not a host: "), "{said}");
    }
}
