//! An ingest node: the real state machines of the claim, around a model of the log.

mod driving;

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use headwater_media::{Epoch, Instant, MediaSequence, SessionId};
use headwater_router::NodeId;
use headwater_router::claim::{
    Claimant, Ending, Holder, Lease, Newcomer, NotHolding, PeerReply, RegistryReply, RegistryRequest, RequestId, Waits,
    YieldId,
};

use crate::bug::Bug;
use crate::checks::Place;
use crate::clock::Clock;
use crate::context::{Address, Caller, Context, Happening, Message, REGISTRY, WORKERS};
use crate::log::{Log, Piece};

const WAITS: Waits = Waits { reconnect: Duration::from_secs(12), clean_end: Duration::from_secs(4) };
const KEEP_ALIVE_EVERY: Duration = Duration::from_secs(1);
const TICK: Duration = Duration::from_millis(200);
const LOOK_EVERY: Duration = Duration::from_secs(2);
const FETCH_TIME: Duration = Duration::from_millis(2500);
/// Silence after which a worker is taken for lost.
const WORKER_SILENCE: Duration = Duration::from_millis(800);
/// Media that waits for a reservation.
const QUEUE_MAX: usize = 20;

#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) address: Address,
    pub(crate) clock: Clock,
    pub(crate) up: bool,
    /// Messages and timers of a stopped process wait.
    pub(crate) paused_until: u64,
    instance: u32,
    pub(crate) id: NodeId,
    lease: Lease,
    kept_alive: u64,
    sent: HashMap<u64, Instant>,
    next_keep_alive: Instant,
    pub(crate) holder: Option<Holder>,
    pub(crate) log: Option<Log>,
    /// The log of the epoch before, for the next home, which may be this node.
    old: Option<Log>,
    claim: Option<Claim>,
    /// The encoder that publishes: its address and its connection.
    publisher: Option<(Address, u64)>,
    /// Half seconds of media that have no number yet.
    queue: VecDeque<()>,
    ending: Ending,
    next_look: Instant,
    looks: u64,
    next_tick: Instant,
    questions: HashMap<u64, (Address, u64)>,
    last_question: u64,
    fetch: Option<Fetch>,
    worker_heard: Instant,
    wakes: u64,
    /// For a planted bug.
    sent_reserved: u64,
}

#[derive(Debug)]
struct Claim {
    claimant: Claimant,
    from: Address,
    connection: u64,
    priority: i32,
}

#[derive(Debug)]
struct Fetch {
    from: Address,
    epoch: Epoch,
    until: Instant,
}

/// The node that an id names.
pub(crate) fn address_of(id: &NodeId) -> Address {
    id.0.split('.').next().and_then(|number| number.parse().ok()).expect("ids are address.instance")
}

impl Node {
    pub(crate) fn new(address: Address, clock: Clock) -> Self {
        Self {
            address,
            clock,
            up: true,
            paused_until: 0,
            instance: 0,
            id: NodeId(format!("{address}.0")),
            lease: Lease::default(),
            kept_alive: 0,
            sent: HashMap::new(),
            next_keep_alive: Instant::default(),
            holder: None,
            log: None,
            old: None,
            claim: None,
            publisher: None,
            queue: VecDeque::new(),
            ending: Ending::new(WAITS.reconnect),
            next_look: Instant::default(),
            looks: 0,
            next_tick: Instant::default(),
            questions: HashMap::new(),
            last_question: 0,
            fetch: None,
            worker_heard: Instant::default(),
            wakes: u64::MAX,
            sent_reserved: 0,
        }
    }

    pub(crate) fn crash(&mut self, cx: &mut Context) {
        cx.trace(|| format!("node {} crashes", self.id.0));
        let connections = self.publisher.take().into_iter().chain(self.claim.take().map(|c| (c.from, c.connection)));
        for (encoder, connection) in connections {
            cx.send_in_order(self.address, encoder, Message::Closed { connection });
        }
        let instance = self.instance + 1;
        *self = Self { up: false, instance, ..Self::new(self.address, self.clock) };
        self.id = NodeId(format!("{}.{instance}", self.address));
    }

    pub(crate) fn restart(&mut self, cx: &mut Context) {
        cx.trace(|| format!("node {} is up", self.id.0));
        self.up = true;
        self.wake(cx);
    }

    /// The operator drains it.
    pub(crate) fn drain(&mut self, cx: &mut Context) {
        if let Some(holder) = &mut self.holder {
            holder.seal(self.clock.now(cx.now));
            self.drive(cx);
        }
    }

    /// Whether it has the connection of an encoder, or claims for it.
    pub(crate) fn knows(&self, connection: u64) -> bool {
        self.publisher.is_some_and(|(_, known)| known == connection)
            || self.claim.as_ref().is_some_and(|claim| claim.connection == connection)
    }

    pub(crate) fn is_home_with_publisher(&self) -> bool {
        self.publisher.is_some() && self.holder.as_ref().is_some_and(Holder::is_holding)
    }

    pub(crate) fn handle(&mut self, cx: &mut Context, from: Address, message: Message) {
        let now = self.clock.now(cx.now);
        match message {
            Message::Answer { caller, id, reply } => self.handle_answer(cx, now, caller, id, reply),
            Message::KeptAlive { node, number, lives } if node == self.id => {
                if !lives {
                    return self.come_back(cx, now);
                }
                if let Some(sent) = self.sent.remove(&number) {
                    self.lease.kept_alive(if cx.bug == Bug::LeaseFromAnswer { now } else { sent });
                    if cx.bug == Bug::LeaseIgnored {
                        self.lease.kept_alive(sent + Duration::from_secs(1_000_000));
                    }
                    if let Some(holder) = &mut self.holder {
                        holder.handle_lease(now, self.lease);
                    }
                }
            }
            Message::Yield { question, asked } => {
                let unsure = self.claim.as_ref().is_some_and(|claim| claim.claimant.may_have_won(asked.epoch));
                self.last_question += 1;
                match &mut self.holder {
                    Some(holder) if holder.epoch() >= asked.epoch => {
                        self.questions.insert(self.last_question, (from, question));
                        holder.handle_yield(now, YieldId(self.last_question), asked);
                    }
                    _ if unsure => {}
                    _ => {
                        let reply = Message::Yielded { epoch: asked.epoch, reply: PeerReply::NotHeld };
                        cx.send(self.address, from, reply);
                    }
                }
            }
            Message::Yielded { epoch, reply } => {
                if let Some(claim) = &mut self.claim {
                    claim.claimant.handle_peer(now, epoch, reply);
                }
            }
            Message::Fetch { epoch } => {
                let log = [&self.log, &self.old].into_iter().flatten().find(|log| log.epoch == epoch);
                if let Some(log) = log.filter(|log| !log.fetching) {
                    let reply = Message::Fetched { epoch, whole_from: log.holes_below, pieces: log.all_pieces() };
                    cx.send(self.address, from, reply);
                }
            }
            Message::Fetched { epoch, whole_from, pieces }
                if self.fetch.as_ref().is_some_and(|fetch| fetch.epoch == epoch) =>
            {
                self.fetch = None;
                if let Some(log) = self.log.as_mut().filter(|log| log.fetching) {
                    cx.trace(|| format!("node {} fetched {:?}'s parts", self.id.0, epoch));
                    log.fetched(whole_from, pieces);
                }
            }
            Message::Put { session, place, piece } => self.handle_put(cx, now, from, session, place, piece),
            Message::Pull { process, epoch, version } => {
                if let Some(log) = &self.log {
                    let feed = log.feed(epoch, version);
                    cx.send(self.address, from, Message::Fed { process, feed: feed.into() });
                }
            }
            Message::Publish { connection, priority } => self.handle_publish(cx, now, from, connection, priority),
            Message::Media { connection } => self.handle_media(cx, now, connection),
            Message::Leave { connection, clean } => {
                if self.publisher.is_some_and(|(_, known)| known == connection) {
                    self.publisher = None;
                    if let Some(holder) = &mut self.holder {
                        holder.handle_publisher_gone(now, clean);
                    }
                }
                if self.claim.as_ref().is_some_and(|claim| claim.connection == connection) {
                    self.claim = None;
                }
            }
            _ => {}
        }
        self.drive(cx);
    }

    /// Its lease ended at the registry: the node is another instance from now on, and holds nothing.
    fn come_back(&mut self, cx: &mut Context, now: Instant) {
        self.lease = Lease::default();
        if let Some(holder) = &mut self.holder {
            holder.handle_lease(now, self.lease);
        }
        if let Some(claim) = self.claim.take() {
            cx.send_in_order(self.address, claim.from, Message::Closed { connection: claim.connection });
        }
        self.drive(cx);
        self.instance += 1;
        self.id = NodeId(format!("{}.{}", self.address, self.instance));
        self.sent.clear();
        self.next_keep_alive = now;
        cx.trace(|| format!("node {} has a new lease", self.id.0));
        self.drive(cx);
    }

    fn handle_answer(&mut self, cx: &mut Context, now: Instant, caller: Caller, id: RequestId, reply: RegistryReply) {
        match caller {
            Caller::Claimant(connection) => {
                if let Some(claim) = self.claim.as_mut().filter(|claim| claim.connection == connection) {
                    claim.claimant.handle_reply(now, id, reply);
                }
            }
            Caller::Holder(epoch) => {
                if let Some(holder) = self.holder.as_mut().filter(|holder| holder.epoch() == epoch) {
                    cx.checks.stats.read_back += u64::from(matches!(reply, RegistryReply::Record { .. }));
                    holder.handle_reply(now, id, reply);
                }
            }
            Caller::Ending if id.0 == self.looks => {
                if let RegistryReply::Record { record, home_lives } = reply
                    && let Some(write) = self.ending.handle_record(now, record.as_ref(), home_lives)
                {
                    self.ask(cx, Caller::Ending, RequestId(0), write);
                }
            }
            Caller::Ending | Caller::Edge => {}
        }
    }

    fn handle_publish(&mut self, cx: &mut Context, now: Instant, from: Address, connection: u64, priority: i32) {
        if self.claim.is_some() || !self.lease.holds(now) {
            return cx.send_in_order(self.address, from, Message::Closed { connection });
        }
        if let Some(holder) = &mut self.holder
            && !holder.has_publisher()
            && holder.may_append(now).is_ok()
        {
            cx.trace(|| format!("node {}: publisher {from} is back in {:?}", self.id.0, holder.epoch()));
            holder.handle_publisher(now, priority);
            if let Some(log) = &mut self.log {
                log.join();
            }
            self.queue.clear();
            self.publisher = Some((from, connection));
            return cx.send_in_order(self.address, from, Message::Accepted { connection });
        }
        cx.trace(|| format!("node {}: publisher {from} comes", self.id.0));
        let random = cx.rng.next().to_be_bytes();
        let fresh = SessionId::from_random(std::array::from_fn(|index| random[index % 8]));
        let newcomer = Newcomer { node: self.id.clone(), fresh, priority };
        let claimant = Claimant::new(now, self.clock.wall(cx.now), newcomer);
        self.claim = Some(Claim { claimant, from, connection, priority });
    }

    fn handle_media(&mut self, cx: &mut Context, now: Instant, connection: u64) {
        if self.publisher.is_none_or(|(_, known)| known != connection) {
            return;
        }
        let Some(holder) = &mut self.holder else { return };
        holder.handle_media(now);
        if takes(holder.may_append(now), cx.bug, Bug::SealIgnored) && self.queue.len() < QUEUE_MAX {
            self.queue.push_back(());
        }
        self.stamp(cx, now);
    }

    /// Gives numbers to what came, as far as they are reserved.
    fn stamp(&mut self, cx: &mut Context, now: Instant) {
        let (Some(holder), Some(log)) = (&mut self.holder, &mut self.log) else { return };
        while !self.queue.is_empty() {
            let number = log.next_number();
            let may = match cx.bug {
                Bug::NoReserve => true,
                Bug::ReserveNotAwaited => number < self.sent_reserved || holder.may_stamp(MediaSequence(number)),
                _ => holder.may_stamp(MediaSequence(number)),
            };
            if !may {
                cx.checks.stats.waited_for_reserve += 1;
                break;
            }
            if !takes(holder.may_append(now), cx.bug, Bug::SealIgnored) {
                self.queue.clear();
                break;
            }
            self.queue.pop_front();
            cx.checks.appended(cx.now, log.epoch, &self.id);
            cx.checks.stamped(log.session, number, log.epoch);
            if log.stamp(&mut cx.rng, self.clock.wall(cx.now))
                && let Some(outline) = log.outline()
            {
                cx.trace(|| format!("node {} cuts {number} in {:?}", self.id.0, log.epoch));
                holder.handle_cut(now, outline);
            }
        }
    }

    fn handle_put(
        &mut self,
        cx: &mut Context,
        now: Instant,
        from: Address,
        session: SessionId,
        place: Place,
        piece: Piece,
    ) {
        let (Some(holder), Some(log)) = (&mut self.holder, &mut self.log) else { return };
        if log.session != session || log.epoch != holder.epoch() {
            return;
        }
        if !takes(holder.may_append(now), cx.bug, Bug::SealedTakesPart) {
            return;
        }
        if log.worker == Some(from) {
            self.worker_heard = now;
        }
        if log.put(&mut cx.checks, cx.bug, place, piece) {
            cx.checks.appended(cx.now, log.epoch, &self.id);
        }
    }

    pub(crate) fn handle_wake(&mut self, cx: &mut Context) {
        self.wakes = u64::MAX;
        let now = self.clock.now(cx.now);
        if now >= self.next_keep_alive {
            self.kept_alive += 1;
            self.sent.insert(self.kept_alive, now);
            self.next_keep_alive = now + KEEP_ALIVE_EVERY;
            let message = Message::KeepAlive { node: self.id.clone(), number: self.kept_alive };
            cx.send(self.address, REGISTRY, message);
        }
        if now >= self.next_look {
            self.next_look = now + LOOK_EVERY;
            if self.holder.is_none() {
                self.looks += 1;
                self.ask(cx, Caller::Ending, RequestId(self.looks), RegistryRequest::Read);
            }
        }
        if now >= self.next_tick {
            self.next_tick = now + TICK;
            self.tick(cx, now);
        }
        if let Some(claim) = &mut self.claim {
            claim.claimant.handle_timeout(now);
        }
        if let Some(holder) = &mut self.holder {
            holder.handle_timeout(now);
        }
        self.drive(cx);
    }

    /// Work, workers, gaps and the parts of the home before.
    fn tick(&mut self, cx: &mut Context, now: Instant) {
        let (Some(holder), Some(log)) = (&mut self.holder, &mut self.log) else { return };
        if !holder.is_holding() || log.epoch != holder.epoch() {
            return;
        }
        if let Some(fetch) = &self.fetch {
            if now >= fetch.until {
                cx.checks.stats.fetch_failed += 1;
                self.fetch = None;
                log.give_up_fetching();
            } else {
                cx.send(self.address, fetch.from, Message::Fetch { epoch: fetch.epoch });
            }
        }
        cx.checks.stats.gaps += log.declare_gaps();
        let pieces = log.work();
        if pieces.is_empty() {
            self.worker_heard = now;
            return;
        }
        if log.worker.is_none() || now >= self.worker_heard + WORKER_SILENCE {
            let others: Vec<_> = WORKERS.filter(|worker| Some(*worker) != log.worker).collect();
            log.give_turn(others[cx.rng.index(others.len())]);
            self.worker_heard = now;
            cx.checks.stats.turns += 1;
        }
        if let Some(worker) = log.worker {
            cx.send(self.address, worker, Message::Work { turn: log.turn, session: log.session, pieces });
        }
    }

    fn ask(&self, cx: &mut Context, caller: Caller, id: RequestId, request: RegistryRequest) {
        cx.send(self.address, REGISTRY, Message::Ask { caller, id, request });
    }

    /// Sets the next timer.
    fn wake(&mut self, cx: &mut Context) {
        let machines = [
            self.holder.as_ref().and_then(Holder::poll_timeout),
            self.claim.as_ref().and_then(|claim| claim.claimant.poll_timeout()),
        ];
        let own = [self.next_keep_alive, self.next_look, self.next_tick];
        let next = machines.into_iter().flatten().chain(own).min().expect("there are own timers");
        let at = self.clock.when(next).max(cx.now + 1);
        if at < self.wakes {
            self.wakes = at;
            cx.at(at, Happening::Wake(self.address));
        }
    }
}

/// Whether a sample or part is taken; one of the bugs is that a sealed home takes it.
fn takes(may: Result<(), NotHolding>, bug: Bug, ignores_seal: Bug) -> bool {
    may.is_ok() || (may == Err(NotHolding::Sealed) && bug == ignores_seal)
}
