//! Claims and node leases in etcd (3.4 or newer, its v3 API).
//!
//! ```text
//!  PREFIX/nodes/{address}        the instance of the process at that address, under its lease
//!  PREFIX/streams/{app}/{name}   a stream's record, as JSON; its mod_revision is the record's revision
//!  PREFIX/jobs/{id}              a transcoding job, as JSON, under the lease of the node that posted it
//!  PREFIX/taken/{id}             which process makes it, under that one's lease
//! ```
//!
//! Five tasks: `node` keeps the lease, `writes` puts writes of several streams into one transaction, `watching` follows
//! records and nodes, `health` looks at etcd itself, `retention` deletes what is old. All use one `Connection`, to one
//! member at a time.
//!
//! Not here: what is written and when. That is for the machines of `router::claim`, which this carries out.

mod connection;
mod failure;
mod health;
mod keys;
mod metrics;
mod node;
mod queue;
mod retention;
mod watching;
mod writes;

use std::sync::Arc;
use std::time::Duration;

use etcd_client::KeyValue;
use headwater_media::{Clock, Instant, StreamName};
use headwater_router::claim::{Lease, RegistryReply, RegistryRequest};
use headwater_router::{BoxFuture, Found, NodeId, Record, RecordState, Registry, Unavailable, written};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tracing::error;

pub use self::connection::ConnectError;
pub use self::metrics::Metrics;
pub use self::queue::EtcdQueue;
pub use self::watching::{Nodes, Watched};

use crate::Tls;

use self::connection::Connection;
use self::failure::Failure;
use self::keys::Keys;
use self::metrics::Kind;
use self::node::Node;
use self::watching::Watching;
use self::writes::{Made, Writes};

/// How long a request of a machine may take. It waits for as long before it reads what became of a write.
const REQUEST: Duration = Duration::from_secs(1);
/// How long a member may take for one. Then the next member is asked the next time.
const WRITE: Duration = Duration::from_millis(900);
const READ: Duration = Duration::from_millis(450);

/// Where etcd is, and who this node is in it.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Its members, such as `https://10.0.0.1:2379`. Which of them may be plain HTTP is for whoever reads
    /// the configuration to say.
    pub endpoints: Vec<String>,
    /// What all keys begin with, without a slash at its end.
    pub prefix: String,
    /// `host:port` at which other nodes reach this node's log service. No two nodes have the same.
    pub address: String,
    /// For `https` endpoints: the cluster's certificates; `None` for the system's authorities and none of our own.
    pub tls: Option<Tls>,
}

/// The registry in etcd, for one process. Ends its tasks when it is dropped.
pub struct EtcdRegistry {
    node: NodeId,
    keys: Keys,
    connection: Arc<Connection>,
    lease: watch::Receiver<Lease>,
    lease_id: watch::Receiver<Option<i64>>,
    writes: Writes,
    watching: Watching,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    tasks: Vec<JoinHandle<()>>,
}

impl std::fmt::Debug for EtcdRegistry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EtcdRegistry").field("node", &self.node).finish_non_exhaustive()
    }
}

impl EtcdRegistry {
    /// Registers this process, whose instance is made of `random`, in place of an earlier one at the same address: that one
    /// is gone for all others from now on. Fails when that takes longer than 5 s.
    pub async fn connect(
        settings: Settings,
        random: [u8; 10],
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
    ) -> Result<Self, ConnectError> {
        let keys = Keys::new(settings.prefix.clone());
        let connection = Arc::new(Connection::open(&settings).await?);
        let instance: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        let node = NodeId(format!("{}{}{instance}", settings.address, keys::SEPARATOR));
        let (registered, lease, lease_id) =
            Node::register(connection.clone(), &keys, settings.address, instance, clock.clone(), metrics.clone())
                .await?;
        metrics.watch_lease(lease.clone(), clock.clone());
        let (writes, writing) = writes::start(connection.clone(), metrics.clone());
        let (watching, followed) = watching::start(connection.clone(), keys.clone(), metrics.clone());
        let tasks = vec![
            tokio::spawn(registered.run()),
            tokio::spawn(writing),
            tokio::spawn(followed),
            tokio::spawn(health::run(connection.clone(), metrics.clone())),
            tokio::spawn(retention::run(connection.clone(), keys.clone(), clock.clone())),
        ];
        Ok(Self { node, keys, connection, lease, lease_id, writes, watching, clock, metrics, tasks })
    }

    /// The record of `stream` and whether its home lives, now and whenever that changes; `None` until it is known. Never goes
    /// back to an older record, and stays as it is while etcd cannot be reached. The receivers of a stream share one watch,
    /// which ends some seconds after the last of them is dropped. Without a value for ever beyond 10,000 streams at once.
    pub fn watch(&self, stream: &StreamName) -> watch::Receiver<Option<Watched>> {
        self.watching.watch(stream)
    }

    /// All nodes that are there.
    pub fn nodes(&self) -> watch::Receiver<Arc<Nodes>> {
        self.watching.nodes()
    }

    /// Says to all others that this process is gone: it is about to end, and its streams may be taken over at once.
    pub async fn leave(&self) {
        for task in &self.tasks {
            task.abort();
        }
        let Some(id) = *self.lease_id.borrow() else { return };
        let revoked = self.connection.call(REQUEST, async |mut client| client.lease_revoke(id).await).await;
        if let Err(failure) = revoked {
            // It ends by itself.
            tracing::info!(%failure, "the node's lease was not given back");
        }
    }

    async fn read(&self, stream: &StreamName) -> Result<(Option<Record>, bool), Failure> {
        let Some(found) = self.get(self.keys.stream(stream)).await? else { return Ok((None, false)) };
        let record = self.record(&found)?;
        // After the record: whoever it names was there before it was written, or is another one by now.
        let mut nodes = Nodes::default();
        if let Some((address, _)) = keys::split(&record.home)
            && let Some(node) = self.get(self.keys.node(address)).await?
        {
            nodes.set(&self.keys, &node, true);
        }
        let lives = nodes.is_home(&record);
        Ok((Some(record), lives))
    }

    async fn get(&self, key: Vec<u8>) -> Result<Option<KeyValue>, Failure> {
        Ok(self.connection.get(key).await?.0)
    }

    fn record(&self, found: &KeyValue) -> Result<Record, Failure> {
        record(found).map(|(_, record)| record).inspect_err(|failure| {
            error!(key = %String::from_utf8_lossy(found.key()), %failure, "a stream's record cannot be read");
        })
    }

    async fn write(&self, stream: &StreamName, expected: u64, record: Record) -> RegistryReply {
        let key = self.keys.stream(stream);
        let value = written::to_json(stream, &Record { written: self.clock.wall(), ..record });
        match self.writes.make(key.clone(), expected, value.clone().into()).await {
            Made::Written { revision } => RegistryReply::Written { revision },
            Made::Conflict => RegistryReply::Conflict,
            Made::Refused => RegistryReply::Refused,
            Made::Unknown => RegistryReply::Unknown,
            Made::NoSpace => self.read_back(key, expected, value.as_bytes()).await,
        }
    }

    /// etcd said that it is full. It says so, too, of the write that made it full: then the write is there.
    async fn read_back(&self, key: Vec<u8>, expected: u64, value: &[u8]) -> RegistryReply {
        let Ok(found) = self.get(key).await else { return RegistryReply::Unknown };
        match found {
            Some(found) if found.value() == value => RegistryReply::Written { revision: revision(&found) },
            found if found.as_ref().map_or(0, revision) == expected => RegistryReply::Refused,
            _ => RegistryReply::Unknown,
        }
    }

    async fn answer(&self, stream: &StreamName, request: RegistryRequest) -> RegistryReply {
        match request {
            RegistryRequest::Read => match self.read(stream).await {
                Ok((record, home_lives)) => RegistryReply::Record { record, home_lives },
                Err(_) => RegistryReply::Unknown,
            },
            RegistryRequest::Write { expected, record } => self.write(stream, expected, record).await,
        }
    }

    async fn all(&self) -> Result<Vec<Found>, Failure> {
        let mut records = Vec::new();
        self.connection.range(self.keys.streams(), |found| {
            match record(found) {
                Ok((stream, record)) if record.state != RecordState::Ended => records.push((stream, record)),
                Ok(_) => {}
                // The others are none the worse.
                Err(failure) => {
                    error!(key = %String::from_utf8_lossy(found.key()), %failure, "a stream's record cannot be read");
                }
            }
        })
        .await?;
        let nodes = Nodes::read(&self.connection, &self.keys).await?.0;
        let found = |(stream, record): (_, Record)| Found { stream, home_lives: nodes.is_home(&record), record };
        Ok(records.into_iter().map(found).collect())
    }
}

impl Registry for EtcdRegistry {
    fn node(&self) -> &NodeId {
        &self.node
    }

    fn lease(&self) -> watch::Receiver<Lease> {
        self.lease.clone()
    }

    fn request<'a>(&'a self, stream: &'a StreamName, request: RegistryRequest) -> BoxFuture<'a, RegistryReply> {
        Box::pin(async move {
            let (kind, began) = (Kind::of(&request), self.clock.now());
            let answered = tokio::time::timeout(REQUEST, self.answer(stream, request)).await;
            let reply = answered.unwrap_or(RegistryReply::Unknown);
            self.metrics.answered(kind, &reply, self.since(began));
            reply
        })
    }

    fn unfinished(&self) -> BoxFuture<'_, Result<Vec<Found>, Unavailable>> {
        Box::pin(async move { self.all().await.map_err(|failure| Unavailable { reason: failure.to_string() }) })
    }
}

impl EtcdRegistry {
    fn since(&self, began: Instant) -> f64 {
        self.clock.now().saturating_since(began).as_secs_f64()
    }
}

impl Drop for EtcdRegistry {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// A stream's record as etcd has it.
fn record(found: &KeyValue) -> Result<(StreamName, Record), Failure> {
    let (stream, record) = written::from_json(found.value())?;
    Ok((stream, Record { revision: revision(found), ..record }))
}

fn revision(found: &KeyValue) -> u64 {
    u64::try_from(found.mod_revision()).unwrap_or(0)
}
