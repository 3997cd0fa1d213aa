//! Records and nodes as they change.
//!
//! One watch stream, with a watch on all nodes and one on each stream that somebody wants to know about. A stream's record
//! is read first and watched from there on; a watch that is made again goes on where it was, or is read anew when etcd has
//! compacted that away. What is known is only ever replaced by what has a higher revision.

mod nodes;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use etcd_client::{EventType, KeyValue, WatchOptions, WatchResponse, WatchStream};
use headwater_media::StreamName;
use headwater_router::Record;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use tracing::{error, info, warn};

pub use self::nodes::Nodes;

use super::connection::{Connection, MESSAGE_BYTES_MAX, prefixed};
use super::failure::Failure;
use super::keys::Keys;
use super::metrics::Metrics;
use super::{READ, record, revision};

/// Streams that are watched at once: what edges of one node serve.
const STREAMS_MAX: usize = 10_000;
/// Time between two questions for a sign of life.
pub(super) const ASK_EVERY: Duration = Duration::from_secs(1);
/// Silence after which the member is left.
pub(super) const SILENCE: Duration = Duration::from_secs(3);
/// Time between two looks for streams that nobody wants to know about any more, in questions.
const SWEEP_EVERY: u32 = 5;
/// Time until a watch stream that failed is made again.
const RETRY: Duration = Duration::from_millis(200);
/// The watch on all nodes; streams have higher ones.
const NODES: i64 = 1;

/// What is known of a stream.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Watched {
    /// Its record.
    pub record: Option<Record>,
    /// The node that the record names is there and is the process that it names. May be early or late against `record`: a
    /// claim does not rely on it.
    pub home_lives: bool,
}

/// Where others subscribe.
#[derive(Clone, Debug)]
pub(super) struct Watching(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    streams: Mutex<HashMap<StreamName, watch::Sender<Option<Watched>>>>,
    nodes: watch::Sender<Arc<Nodes>>,
    /// A stream was added.
    added: Notify,
}

impl Watching {
    pub(super) fn watch(&self, stream: &StreamName) -> watch::Receiver<Option<Watched>> {
        let mut streams = self.0.streams();
        if let Some(known) = streams.get(stream) {
            return known.subscribe();
        }
        let sender = watch::Sender::new(None);
        let receiver = sender.subscribe();
        if streams.len() < STREAMS_MAX {
            streams.insert(stream.clone(), sender);
            self.0.added.notify_one();
        }
        receiver
    }

    pub(super) fn nodes(&self) -> watch::Receiver<Arc<Nodes>> {
        self.0.nodes.subscribe()
    }
}

impl Shared {
    fn streams(&self) -> MutexGuard<'_, HashMap<StreamName, watch::Sender<Option<Watched>>>> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_record(&self, stream: &StreamName, record: Option<Record>) {
        let home_lives = record.as_ref().is_some_and(|record| self.nodes.borrow().is_home(record));
        if let Some(known) = self.streams().get(stream) {
            known.send_replace(Some(Watched { record, home_lives }));
        }
    }

    fn set_nodes(&self, nodes: Nodes) {
        for known in self.streams().values() {
            known.send_if_modified(|known| {
                let Some(Watched { record: Some(record), home_lives }) = known else { return false };
                let was = std::mem::replace(home_lives, nodes.is_home(record));
                was != *home_lives
            });
        }
        self.nodes.send_replace(Arc::new(nodes));
    }
}

/// Where others subscribe, and the task that follows etcd.
pub(super) fn start(
    connection: Arc<Connection>,
    keys: Keys,
    metrics: Arc<Metrics>,
) -> (Watching, impl Future<Output = ()>) {
    let shared = Arc::new(Shared::default());
    let (reads, read) = mpsc::channel(64);
    let followed = Follower {
        connection,
        keys,
        metrics,
        shared: shared.clone(),
        streams: HashMap::new(),
        watches: HashMap::new(),
        last_watch: NODES,
        nodes: Nodes::default(),
        reads,
    };
    (Watching(shared), followed.run(read))
}

/// What a read of a stream's record found, and etcd's revision then.
type Read = (StreamName, Result<(Option<KeyValue>, i64), Failure>);

struct Follower {
    connection: Arc<Connection>,
    keys: Keys,
    metrics: Arc<Metrics>,
    shared: Arc<Shared>,
    streams: HashMap<StreamName, Followed>,
    watches: HashMap<i64, StreamName>,
    last_watch: i64,
    nodes: Nodes,
    reads: mpsc::Sender<Read>,
}

/// A stream that is followed.
#[derive(Default)]
struct Followed {
    /// The revision from which it is to be watched; `None` while it has to be read.
    from: Option<i64>,
    /// Its watch in this watch stream.
    watch: Option<i64>,
    /// The highest revision of what is known; 0 when nothing is.
    known: u64,
}

impl Follower {
    async fn run(mut self, mut read: mpsc::Receiver<Read>) {
        let mut is_broken = false;
        loop {
            let member = self.connection.member().await;
            let mut client = member.client.clone();
            let failure = match self.begin(&mut client).await {
                Ok(mut stream) => {
                    if std::mem::take(&mut is_broken) {
                        info!("etcd is watched again");
                    }
                    self.follow(&mut stream, &mut read).await
                }
                Err(failure) => failure,
            };
            if !std::mem::replace(&mut is_broken, true) {
                self.metrics.watch_restarted();
                warn!(%failure, "the watch on etcd has ended, and is made again");
            }
            self.connection.leave_if_blamed(&member, &failure).await;
            sleep(RETRY).await;
        }
    }

    /// Reads the nodes, and opens a watch stream that goes on from there.
    async fn begin(&mut self, client: &mut etcd_client::Client) -> Result<WatchStream, Failure> {
        let (nodes, revision) = Nodes::read(&self.connection, &self.keys).await?;
        self.nodes = nodes;
        self.shared.set_nodes(self.nodes.clone());
        self.watches.clear();
        for followed in self.streams.values_mut() {
            followed.watch = None;
        }
        let options = WatchOptions::new().with_start_revision(revision + 1).with_watch_id(NODES);
        let options = prefixed(options, &self.keys.nodes());
        let mut watcher = client.watch_client().max_decoding_message_size(MESSAGE_BYTES_MAX);
        let opened = timeout(READ, watcher.watch(self.keys.nodes(), Some(options))).await;
        Ok(opened.map_err(|_| Failure::late())??)
    }

    /// Goes on until the watch stream fails.
    async fn follow(&mut self, stream: &mut WatchStream, read: &mut mpsc::Receiver<Read>) -> Failure {
        let shared = self.shared.clone();
        let mut ask = interval(ASK_EVERY);
        ask.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut heard, mut asked) = (Instant::now(), 0u32);
        if let Err(failure) = self.take_up(stream).await {
            return failure;
        }
        loop {
            let done = tokio::select! {
                answer = stream.message() => {
                    heard = Instant::now();
                    match answer {
                        Ok(Some(answer)) => self.handle(&answer),
                        Ok(None) => Err(Failure::Unknown("the watch stream has ended".to_owned())),
                        Err(error) => Err(error.into()),
                    }
                }
                Some((name, found)) = read.recv() => self.handle_read(stream, name, found).await,
                () = shared.added.notified() => self.take_up(stream).await,
                _ = ask.tick() => {
                    asked += 1;
                    if asked % SWEEP_EVERY == 0 {
                        self.sweep(stream).await;
                    }
                    match heard.elapsed() {
                        silence if silence > SILENCE => Err(Failure::late()),
                        // The answer says that the member is there, and nothing else.
                        _ => stream.request_progress().await.map_err(Failure::from),
                    }
                }
            };
            if let Err(failure) = done {
                return failure;
            }
        }
    }

    /// Watches what is not watched yet.
    async fn take_up(&mut self, stream: &mut WatchStream) -> Result<(), Failure> {
        for name in self.shared.streams().keys() {
            self.streams.entry(name.clone()).or_insert_with(|| {
                Self::read(&self.connection, &self.keys, &self.reads, name.clone());
                Followed::default()
            });
        }
        self.metrics.set_watched(self.streams.len());
        let ready = self.streams.iter().filter(|(_, followed)| followed.watch.is_none() && followed.from.is_some());
        for name in ready.map(|(name, _)| name.clone()).collect::<Vec<_>>() {
            self.watch(stream, &name).await?;
        }
        Ok(())
    }

    /// Has a record read beside.
    fn read(connection: &Arc<Connection>, keys: &Keys, reads: &mpsc::Sender<Read>, name: StreamName) {
        let (connection, reads, key) = (connection.clone(), reads.clone(), keys.stream(&name));
        tokio::spawn(async move {
            let found = connection.get(key).await;
            if found.is_err() {
                sleep(RETRY).await;
            }
            // The follower may have ended.
            let _ = reads.send((name, found)).await;
        });
    }

    async fn handle_read(
        &mut self,
        stream: &mut WatchStream,
        name: StreamName,
        found: Result<(Option<KeyValue>, i64), Failure>,
    ) -> Result<(), Failure> {
        // It may have been forgotten and wanted again meanwhile, and read twice.
        let Some(followed) = self.streams.get_mut(&name).filter(|followed| followed.watch.is_none()) else {
            return Ok(());
        };
        let Ok((found, read_at)) = found else {
            Self::read(&self.connection, &self.keys, &self.reads, name);
            return Ok(());
        };
        followed.from = Some(read_at + 1);
        // Of a key that is not there all that is known is that it was not there then.
        let at = found.as_ref().map_or(u64::try_from(read_at).unwrap_or(0), revision);
        self.learn(&name, at, found.as_ref());
        self.watch(stream, &name).await
    }

    async fn watch(&mut self, stream: &mut WatchStream, name: &StreamName) -> Result<(), Failure> {
        let Some(followed) = self.streams.get_mut(name) else { return Ok(()) };
        let Some(from) = followed.from else { return Ok(()) };
        self.last_watch += 1;
        followed.watch = Some(self.last_watch);
        self.watches.insert(self.last_watch, name.clone());
        let options = WatchOptions::new().with_start_revision(from).with_watch_id(self.last_watch);
        let sent = timeout(READ, stream.watch(self.keys.stream(name), Some(options))).await;
        Ok(sent.map_err(|_| Failure::late())??)
    }

    fn handle(&mut self, answer: &WatchResponse) -> Result<(), Failure> {
        let compacted = answer.compact_revision() > 0;
        if answer.canceled() && compacted {
            self.metrics.watch_compacted();
        }
        let Some(name) = self.watches.get(&answer.watch_id()).cloned() else {
            return match answer.watch_id() {
                _ if answer.canceled() && answer.watch_id() <= NODES => {
                    Err(Failure::Unknown(format!("a watch was ended: {}", answer.cancel_reason())))
                }
                NODES => {
                    self.handle_nodes(answer);
                    Ok(())
                }
                _ => Ok(()),
            };
        };
        if answer.canceled() {
            self.watches.remove(&answer.watch_id());
            if !compacted {
                return Err(Failure::Unknown(format!("a watch was ended: {}", answer.cancel_reason())));
            }
            if let Some(followed) = self.streams.get_mut(&name) {
                *followed = Followed { from: None, watch: None, ..*followed };
                Self::read(&self.connection, &self.keys, &self.reads, name);
            }
            return Ok(());
        }
        for event in answer.events() {
            let Some(kv) = event.kv() else { continue };
            if let Some(followed) = self.streams.get_mut(&name) {
                followed.from = followed.from.max(Some(kv.mod_revision() + 1));
            }
            self.learn(&name, revision(kv), (event.event_type() == EventType::Put).then_some(kv));
        }
        Ok(())
    }

    /// At revision `at` the record was what is `found`.
    fn learn(&mut self, name: &StreamName, at: u64, found: Option<&KeyValue>) {
        let Some(followed) = self.streams.get_mut(name) else { return };
        if at <= followed.known {
            return;
        }
        followed.known = at;
        match found.map(record).transpose() {
            Ok(record) => self.shared.set_record(name, record.map(|(_, record)| record)),
            Err(failure) => error!(stream = %name, %failure, "a stream's record cannot be read"),
        }
    }

    fn handle_nodes(&mut self, answer: &WatchResponse) {
        for event in answer.events() {
            if let Some(kv) = event.kv() {
                self.nodes.set(&self.keys, kv, event.event_type() == EventType::Put);
            }
        }
        if !answer.events().is_empty() {
            self.shared.set_nodes(self.nodes.clone());
        }
    }

    /// Forgets streams that nobody wants to know about.
    async fn sweep(&mut self, stream: &mut WatchStream) {
        let unwanted: Vec<_> = {
            let mut streams = self.shared.streams();
            streams.extract_if(|_, known| known.receiver_count() == 0).map(|(name, _)| name).collect()
        };
        for name in unwanted {
            if let Some(watch) = self.streams.remove(&name).and_then(|followed| followed.watch) {
                self.watches.remove(&watch);
                // A watch stream that fails is made anew without it.
                let _ = timeout(READ, stream.cancel(watch)).await;
            }
        }
        self.metrics.set_watched(self.streams.len());
    }
}
