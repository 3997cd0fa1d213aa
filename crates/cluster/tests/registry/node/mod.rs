//! Nodes in this process: what ingest does with claims, without media. Each has its own registry; questions go from node to
//! node by a call.

mod home;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use headwater_cluster::etcd::{EtcdRegistry, Metrics, Settings};
use headwater_e2e::clock::Stopwatch;
use headwater_e2e::history::{Claim, History, Outcome as Seen};
use headwater_media::{Clock, Instant, SessionId, StreamName, WallTime};
use headwater_router::claim::{
    Claimant, Denied, Newcomer, Outcome, PeerReply, RegistryReply, RegistryRequest, Waits, Yield,
};
use headwater_router::{BoxFuture, Holders, NodeId, Registry};
use prometheus_client::registry::Registry as Counted;

pub(crate) use self::home::Home;

/// Sessions end a second after their publisher's clean end, and five after it was lost.
pub(crate) const WAITS: Waits = Waits { reconnect: Duration::from_secs(5), clean_end: Duration::from_secs(1) };

/// One clock for all nodes of a test: a history needs that.
#[derive(Debug)]
pub(crate) struct TestClock(Stopwatch);

impl TestClock {
    pub(crate) fn start() -> Arc<Self> {
        Arc::new(Self(Stopwatch::start()))
    }
}

impl Clock for TestClock {
    fn now(&self) -> Instant {
        self.0.now()
    }

    fn wall(&self) -> WallTime {
        let millis = i64::try_from(self.0.elapsed().as_millis()).unwrap();
        WallTime { unix_millis: 1_800_000_000_000 + millis }
    }
}

/// What all nodes of a test share: who they are, and what was seen of their claims.
#[derive(Debug, Default)]
pub(crate) struct Network {
    nodes: Mutex<HashMap<String, Weak<Node>>>,
    pub(crate) history: History,
}

impl Network {
    async fn ask(&self, home: &NodeId, stream: &StreamName, asked: Yield) -> Option<PeerReply> {
        let (address, _) = home.0.rsplit_once('~').unwrap();
        let node = locked(&self.nodes).get(address).and_then(Weak::upgrade);
        match node {
            None => Some(PeerReply::Unreachable),
            Some(node) if node.id() != home => Some(PeerReply::NotHeld),
            Some(node) => node.asked(stream, asked).await,
        }
    }
}

/// A node.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) registry: Arc<EtcdRegistry>,
    pub(crate) clock: Arc<TestClock>,
    network: Arc<Network>,
    counted: Counted,
    waits: Waits,
    streams: Mutex<HashMap<StreamName, Arc<Slot>>>,
}

/// A stream at a node.
#[derive(Debug, Default)]
struct Slot {
    /// Newcomers take turns.
    claiming: tokio::sync::Mutex<()>,
    state: Mutex<SlotState>,
}

#[derive(Debug, Default)]
struct SlotState {
    claimant: Option<Claimant>,
    home: Option<Home>,
}

pub(crate) fn settings(endpoints: Vec<String>, address: &str) -> Settings {
    Settings { endpoints, prefix: "headwater".into(), address: address.into(), tls: None }
}

pub(crate) fn random() -> [u8; 10] {
    let mut bytes = [0; 10];
    getrandom::fill(&mut bytes).unwrap();
    bytes
}

impl Node {
    /// Starts a process that others reach at `address`.
    pub(crate) async fn start(
        endpoints: Vec<String>,
        address: &str,
        clock: &Arc<TestClock>,
        network: &Arc<Network>,
    ) -> Arc<Self> {
        Self::start_as(settings(endpoints, address), WAITS, clock, network).await
    }

    pub(crate) async fn start_as(
        settings: Settings,
        waits: Waits,
        clock: &Arc<TestClock>,
        network: &Arc<Network>,
    ) -> Arc<Self> {
        let mut counted = Counted::default();
        let metrics = Arc::new(Metrics::new(&mut counted));
        let address = settings.address.clone();
        let registry = EtcdRegistry::connect(settings, random(), clock.clone(), metrics).await.unwrap();
        let node = Arc::new(Self {
            registry: Arc::new(registry),
            clock: clock.clone(),
            network: network.clone(),
            counted,
            waits,
            streams: Mutex::default(),
        });
        locked(&network.nodes).insert(address, Arc::downgrade(&node));
        node
    }

    pub(crate) fn id(&self) -> &NodeId {
        self.registry.node()
    }

    /// A metric's value; labels as in `registry_requests_total{kind="read",outcome="read"}`.
    pub(crate) fn metric(&self, name: &str) -> f64 {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.counted).unwrap();
        let found = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        found.map_or(0.0, |value| value.parse().unwrap())
    }

    /// A publisher comes. It sends media from when it is accepted until something is done with the home.
    pub(crate) async fn publish(&self, stream: &StreamName, priority: i32) -> Result<Home, Denied> {
        let called = self.clock.0.elapsed();
        let mut lost_writes = 0;
        let outcome = self.claim(stream, priority, &mut lost_writes).await;
        let seen = match &outcome {
            Ok(home) => Seen::Won(home.epoch().0),
            Err(Denied::Held { epoch }) => Seen::Held(epoch.0),
            Err(Denied::NoAnswer { .. } | Denied::Unavailable) => Seen::Unknown,
        };
        self.network.history.add(Claim {
            stream: stream.to_string(),
            node: self.id().0.clone(),
            called,
            returned: self.clock.0.elapsed(),
            outcome: seen,
            lost_writes,
        });
        outcome
    }

    async fn claim(&self, stream: &StreamName, priority: i32, lost_writes: &mut u64) -> Result<Home, Denied> {
        let slot = locked(&self.streams).entry(stream.clone()).or_default().clone();
        loop {
            let turn = slot.claiming.lock().await;
            let home = locked(&slot.state).home.clone().filter(Home::runs);
            let Some(home) = home else { return self.compete(stream, priority, &slot, lost_writes).await };
            // Those who wait for their turn ask at the same time.
            drop(turn);
            let epoch = home.epoch();
            match home.ask(Yield { epoch, priority }).await {
                Some(PeerReply::Refused) => return Err(Denied::Held { epoch }),
                Some(PeerReply::Sealed(_)) => {
                    let _turn = slot.claiming.lock().await;
                    return self.compete(stream, priority, &slot, lost_writes).await;
                }
                Some(PeerReply::NotHeld | PeerReply::Unreachable) | None => {}
            }
        }
    }

    async fn compete(
        &self,
        stream: &StreamName,
        priority: i32,
        slot: &Slot,
        lost_writes: &mut u64,
    ) -> Result<Home, Denied> {
        let fresh = SessionId::from_random(random());
        let newcomer = Newcomer { node: self.id().clone(), fresh, priority };
        locked(&slot.state).claimant = Some(Claimant::new(self.clock.now(), self.clock.wall(), newcomer));
        let mut request: Option<BoxFuture<'_, _>> = None;
        let mut question: Option<BoxFuture<'_, _>> = None;
        // The answer to the last write is not there.
        let mut open = false;
        loop {
            let timeout = {
                let mut state = locked(&slot.state);
                let claimant = state.claimant.as_mut().expect("it is there until it ends");
                if let Some((id, asked)) = claimant.poll_request() {
                    if matches!(asked, RegistryRequest::Write { .. }) {
                        *lost_writes += u64::from(std::mem::replace(&mut open, true));
                    }
                    request = Some(Box::pin(async move { (id, self.registry.request(stream, asked).await) }));
                }
                if let Some((home, asked)) = claimant.poll_question() {
                    question =
                        Some(Box::pin(async move { (asked.epoch, self.network.ask(&home, stream, asked).await) }));
                }
                if let Some(outcome) = claimant.poll_outcome() {
                    state.claimant = None;
                    return match outcome {
                        Outcome::Denied(why) => {
                            *lost_writes += u64::from(open && matches!(why, Denied::Held { .. }));
                            Err(why)
                        }
                        Outcome::Won(claimed) => {
                            let home = Home::start(self, stream, &claimed, priority, self.waits);
                            state.home = Some(home.clone());
                            Ok(home)
                        }
                    };
                }
                claimant.poll_timeout().expect("it has not ended")
            };
            enum Came<R, P> {
                Reply(R),
                Peer(P),
                Timeout,
            }
            let came = tokio::select! {
                reply = some(&mut request) => Came::Reply(reply),
                answer = some(&mut question) => Came::Peer(answer),
                () = tokio::time::sleep(timeout.saturating_since(self.clock.now())) => Came::Timeout,
            };
            let now = self.clock.now();
            let mut state = locked(&slot.state);
            let claimant = state.claimant.as_mut().expect("it is there until it ends");
            match came {
                Came::Reply((id, reply)) => {
                    open &= !matches!(
                        reply,
                        RegistryReply::Written { .. } | RegistryReply::Conflict | RegistryReply::Refused
                    );
                    claimant.handle_reply(now, id, reply);
                }
                Came::Peer((epoch, Some(answer))) => claimant.handle_peer(now, epoch, answer),
                Came::Peer((_, None)) => {}
                Came::Timeout => claimant.handle_timeout(now),
            }
        }
    }
}

impl Holders for Node {
    fn asked<'a>(&'a self, stream: &'a StreamName, asked: Yield) -> BoxFuture<'a, Option<PeerReply>> {
        let slot = locked(&self.streams).get(stream).cloned();
        Box::pin(async move {
            let Some(slot) = slot else { return Some(PeerReply::NotHeld) };
            let home = {
                let state = locked(&slot.state);
                let home = state.home.clone().filter(|home| home.runs() && home.epoch() == asked.epoch);
                let may_have_won = state.claimant.as_ref().is_some_and(|claimant| claimant.may_have_won(asked.epoch));
                match home {
                    None if may_have_won => return None,
                    home => home,
                }
            };
            match home {
                Some(home) => home.ask(asked).await.or(Some(PeerReply::NotHeld)),
                None => Some(PeerReply::NotHeld),
            }
        })
    }
}

/// What `future` gives, once; never without one.
async fn some<T>(future: &mut Option<BoxFuture<'_, T>>) -> T {
    match future {
        Some(running) => {
            let value = running.await;
            *future = None;
            value
        }
        None => std::future::pending().await,
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
