//! This node's key and its lease.
//!
//! ```text
//!  registered --the lease has ended--------------> lost ----the key is free, or our own----> registered
//!      |  \---another process has written its key---> replaced --the key is free--------------^
//!      \------no answer: the same lease, by another member, for as long as it is not known to have ended
//! ```
//!
//! A process that starts replaces what is at its key: it is the successor of a process that has just ended, and others are
//! not to wait for the old one's lease. From then on it only takes a key that is free or its own: of two processes that are
//! configured with one address the second one runs, and the first one says so.
//!
//! A lost lease is followed by another one for the same instance, under a key that is created anew. A record that is older
//! than the key counts as one without a home, for all ([`Nodes::is_home`](super::Nodes::is_home)): the homes that wrote it
//! have stopped.

use std::sync::Arc;
use std::time::Duration;

use etcd_client::{Compare, CompareOp, LeaseKeepAliveStream, LeaseKeeper, PutOptions, Txn, TxnOp, TxnOpResponse};
use headwater_media::Clock;
use headwater_router::claim::Lease;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tracing::{error, info};

use super::connection::{ConnectError, Connection, Member};
use super::failure::Failure;
use super::keys::Keys;
use super::metrics::Metrics;
use super::{READ, WRITE};

/// Time between two keepalives: three can be lost before homes stop.
const BEAT: Duration = Duration::from_secs(1);
/// Time until a keepalive that failed is tried with the next member.
const RETRY: Duration = Duration::from_millis(100);
/// How long a starting process tries to register.
const START: Duration = Duration::from_secs(5);
/// Between two lines of log about a state that goes on.
const SAY_EVERY: Duration = Duration::from_secs(60);

/// A registered node.
pub(super) struct Node {
    connection: Arc<Connection>,
    key: Vec<u8>,
    address: String,
    instance: String,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    lease: watch::Sender<Lease>,
    /// The lease's number at etcd, while it has one.
    id: watch::Sender<Option<i64>>,
}

/// Why a node is not registered, or not any more.
#[derive(Debug, thiserror::Error)]
enum NotThere {
    #[error("the node's lease has ended at the registry")]
    Lost,
    #[error("another process is registered at this node's address: instance {instance}")]
    Replaced { instance: String },
    #[error(transparent)]
    Failed(#[from] Failure),
    #[error("etcd gives leases of {found} s, {expected} s are needed")]
    ShortLease { found: i64, expected: i64 },
}

/// What to do about another instance at the node's key.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Others {
    Replace,
    Respect,
}

/// A keepalive stream to a member.
type Stream = (Member, LeaseKeeper, LeaseKeepAliveStream);

impl Node {
    /// Registers a process that starts. Its lease and its lease's number change while [`run`](Self::run) goes on.
    pub(super) async fn register(
        connection: Arc<Connection>,
        keys: &Keys,
        address: String,
        instance: String,
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
    ) -> Result<(Self, watch::Receiver<Lease>, watch::Receiver<Option<i64>>), ConnectError> {
        let (lease, id) = (watch::Sender::new(Lease::default()), watch::Sender::new(None));
        let receivers = (lease.subscribe(), id.subscribe());
        let key = keys.node(&address);
        let node = Self { connection, key, address, instance, clock, metrics, lease, id };
        let mut last = None;
        let registered = timeout(START, async {
            while let Err(why) = node.enter(Others::Replace).await {
                last = Some(why);
                sleep(RETRY).await;
            }
        });
        if registered.await.is_err() {
            let reason = last.map_or_else(|| "etcd does not answer".to_owned(), |why| why.to_string());
            return Err(ConnectError::NotRegistered { reason });
        }
        Ok((node, receivers.0, receivers.1))
    }

    /// Keeps the node registered.
    pub(super) async fn run(self) {
        loop {
            let Some(id) = *self.id.borrow() else { return };
            let why = self.keep(id).await;
            self.id.send_replace(None);
            // Homes see this before they see the next lease: it comes a beat later.
            self.lease.send_replace(Lease::default());
            self.metrics.lease_lost();
            error!(node = %self.address, reason = %why, "this node is not registered any more: its streams can be taken over");
            if matches!(why, NotThere::Replaced { .. }) {
                self.give_back(id).await;
            }
            self.come_back().await;
            info!(node = %self.address, "this node is registered again");
        }
    }

    async fn come_back(&self) {
        let mut beat = interval(BEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        beat.tick().await;
        let mut said = self.clock.now();
        loop {
            beat.tick().await;
            match self.enter(Others::Respect).await {
                Ok(()) => return,
                Err(why) if self.clock.now() >= said + SAY_EVERY => {
                    said = self.clock.now();
                    error!(node = %self.address, reason = %why, "this node cannot be registered");
                }
                Err(_) => {}
            }
        }
    }

    /// Gets a lease and puts the node's key under it.
    async fn enter(&self, others: Others) -> Result<(), NotThere> {
        let sent = self.clock.now();
        let expected = i64::try_from(Lease::AT_REGISTRY.as_secs()).unwrap_or(i64::MAX);
        let granted = self.connection.call(WRITE, async |mut client| client.lease_grant(expected, None).await).await?;
        let entered = if granted.ttl() < expected {
            Err(NotThere::ShortLease { found: granted.ttl(), expected })
        } else {
            self.put(granted.id(), others).await
        };
        match entered {
            Ok(()) => {
                self.id.send_replace(Some(granted.id()));
                self.lease.send_modify(|lease| lease.kept_alive(sent));
            }
            // One that nobody keeps ends by itself; there can be many until then.
            Err(_) => self.give_back(granted.id()).await,
        }
        entered
    }

    async fn give_back(&self, id: i64) {
        let _ = self.connection.call(READ, async |mut client| client.lease_revoke(id).await).await;
    }

    /// Puts the key under lease `id`, if it is free, this instance's own, or to be replaced.
    async fn put(&self, id: i64, others: Others) -> Result<(), NotThere> {
        let (found, _) = self.connection.get(self.key.clone()).await?;
        if let Some(found) = &found
            && found.value() != self.instance.as_bytes()
        {
            let instance = String::from_utf8_lossy(found.value()).into_owned();
            if others == Others::Respect {
                return Err(NotThere::Replaced { instance });
            }
            info!(node = %self.address, %instance, "an earlier process at this address is replaced");
        }
        let there = found.map_or(0, |found| found.mod_revision());
        let put = TxnOp::put(self.key.clone(), self.instance.clone(), Some(PutOptions::new().with_lease(id)));
        let look = TxnOp::get(self.key.clone(), None);
        let unchanged = Compare::mod_revision(self.key.clone(), CompareOp::Equal, there);
        let transaction = Txn::new().when([unchanged]).and_then([put]).or_else([look]);
        let answer = self.connection.call(WRITE, async |mut client| client.txn(transaction).await).await?;
        if answer.succeeded() {
            return Ok(());
        }
        let instance = match answer.op_responses().pop() {
            Some(TxnOpResponse::Get(found)) => {
                found.kvs().first().map(|it| String::from_utf8_lossy(it.value()).into_owned())
            }
            _ => None,
        };
        Err(NotThere::Replaced { instance: instance.unwrap_or_default() })
    }

    /// Keeps the lease alive until it has ended or the key is another's.
    async fn keep(&self, id: i64) -> NotThere {
        let mut stream: Option<Stream> = None;
        let mut beat = interval(BEAT);
        // A process that was stopped does not make up for what it missed.
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            beat.tick().await;
            let mut was_said = false;
            while let Err(failure) = self.keep_alive(&mut stream, id).await {
                if matches!(failure, Failure::NoLease) {
                    return NotThere::Lost;
                }
                let is_over = !self.lease.borrow().holds(self.clock.now());
                if is_over && !std::mem::replace(&mut was_said, true) {
                    error!(node = %self.address, %failure, "this node's lease is not confirmed any more: its homes stop");
                }
                sleep(RETRY).await;
            }
            if was_said {
                info!(node = %self.address, "this node's lease is confirmed again");
            }
            match self.look(id).await {
                Ok(()) | Err(NotThere::Failed(_)) => {}
                Err(why) => return why,
            }
        }
    }

    /// One keepalive. Counts from when it is sent.
    async fn keep_alive(&self, stream: &mut Option<Stream>, id: i64) -> Result<(), Failure> {
        let sent = self.clock.now();
        let alive = match stream {
            Some((_, keeper, answers)) => {
                timeout(READ, async {
                    keeper.keep_alive().await?;
                    match answers.message().await? {
                        Some(answer) if answer.ttl() <= 0 => Err(Failure::NoLease),
                        Some(_) => Ok(()),
                        None => Err(Failure::Unknown("the stream of keepalives has ended".to_owned())),
                    }
                })
                .await
            }
            None => {
                let member = self.connection.member().await;
                let mut client = member.client.clone();
                match timeout(READ, client.lease_keep_alive(id)).await {
                    Ok(Ok((keeper, answers))) => {
                        *stream = Some((member, keeper, answers));
                        Ok(Ok(()))
                    }
                    Ok(Err(error)) => {
                        let failure = Failure::from(error);
                        self.connection.leave_if_blamed(&member, &failure).await;
                        return Err(failure);
                    }
                    Err(_) => {
                        self.connection.leave(&member, &Failure::late()).await;
                        return Err(Failure::late());
                    }
                }
            }
        };
        match alive.unwrap_or_else(|_| Err(Failure::late())) {
            Ok(()) => {
                self.lease.send_modify(|lease| lease.kept_alive(sent));
                Ok(())
            }
            Err(failure) => {
                // An answer that comes later must not be taken for that of the next keepalive.
                if let Some((member, ..)) = stream.take() {
                    self.connection.leave_if_blamed(&member, &failure).await;
                }
                Err(failure)
            }
        }
    }

    /// Whether the key is still this node's. Puts it again when somebody has deleted it.
    async fn look(&self, id: i64) -> Result<(), NotThere> {
        let (found, _) = self.connection.get(self.key.clone()).await?;
        match found {
            Some(found) if found.value() == self.instance.as_bytes() => Ok(()),
            Some(found) => Err(NotThere::Replaced { instance: String::from_utf8_lossy(found.value()).into_owned() }),
            None => match self.put(id, Others::Respect).await {
                Err(NotThere::Failed(Failure::NoLease)) => Err(NotThere::Lost),
                put => put,
            },
        }
    }
}
