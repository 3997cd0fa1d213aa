//! A home: its holder, a log that is nothing but cuts, and a publisher that sends media or not.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use headwater_media::{
    Clock, Cut, CutKind, Epoch, FrameRate, MediaSequence, SessionId, StreamName, Timestamp, WallTime,
};
use headwater_router::claim::{
    Claimed, Event, Holder, PeerReply, RegistryReply, RequestId, Sealed, Stop, Waits, Yield, YieldId, takeover,
};
use headwater_router::{BoxFuture, NodeId, Outline, Registry};
use headwater_segmenter::{Grid, Profile};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::{Node, TestClock, some};

/// Time between two pictures.
const MEDIA_EVERY: Duration = Duration::from_millis(20);

/// A running home, or one that has stopped.
#[derive(Clone, Debug)]
pub(crate) struct Home {
    epoch: Epoch,
    session: SessionId,
    first: MediaSequence,
    commands: mpsc::UnboundedSender<Command>,
    /// The newest cut in an acknowledged write.
    recorded: watch::Receiver<MediaSequence>,
    stopped: watch::Receiver<Option<Stop>>,
}

#[derive(Debug)]
enum Command {
    Cut(oneshot::Sender<MediaSequence>),
    Gone { clean: bool },
    Silent,
    Ask(Yield, oneshot::Sender<PeerReply>),
}

impl Home {
    pub(super) fn start(node: &Node, stream: &StreamName, claimed: &Claimed, priority: i32, waits: Waits) -> Self {
        let lease = node.registry.lease();
        let holder = Holder::new(node.clock.now(), claimed, *lease.borrow(), priority, waits);
        let (commands, inbox) = mpsc::unbounded_channel();
        let (recorded, recorded_now) = watch::channel(MediaSequence(0));
        let (stopped, stopped_now) = watch::channel(None);
        let task = Task {
            registry: node.registry.clone(),
            clock: node.clock.clone(),
            node: node.id().clone(),
            stream: stream.clone(),
            holder,
            outline: claimed.record.outline.clone(),
            inbox,
            asked: HashMap::new(),
            last_question: 0,
            has_media: true,
            recorded,
            stopped,
        };
        tokio::spawn(task.run());
        let (epoch, session, first) = (claimed.record.epoch, claimed.record.session, claimed.first());
        Self { epoch, session, first, commands, recorded: recorded_now, stopped: stopped_now }
    }

    pub(crate) fn epoch(&self) -> Epoch {
        self.epoch
    }

    pub(crate) fn session(&self) -> SessionId {
        self.session
    }

    /// Its first number.
    pub(crate) fn first(&self) -> MediaSequence {
        self.first
    }

    pub(crate) fn runs(&self) -> bool {
        self.stopped.borrow().is_none()
    }

    /// Cuts the session, and waits until the cut is recorded. `Err` when the home has stopped.
    pub(crate) async fn cut(&mut self) -> Result<MediaSequence, Stop> {
        let (reply, cut) = oneshot::channel();
        let _ = self.commands.send(Command::Cut(reply));
        if let Ok(msn) = cut.await {
            tokio::select! {
                recorded = self.recorded.wait_for(|recorded| *recorded >= msn) => {
                    if recorded.is_ok() {
                        return Ok(msn);
                    }
                }
                _ = self.stopped.wait_for(Option::is_some) => {}
            }
        }
        Err(self.stopped().await)
    }

    /// The publisher is gone.
    pub(crate) fn gone(&self, clean: bool) {
        let _ = self.commands.send(Command::Gone { clean });
    }

    /// The publisher sends nothing more, and its connection stays open.
    pub(crate) fn silent(&self) {
        let _ = self.commands.send(Command::Silent);
    }

    /// Waits until it has stopped.
    pub(crate) async fn stopped(&mut self) -> Stop {
        self.stopped.wait_for(Option::is_some).await.ok().and_then(|stop| *stop).expect("a home says why it stops")
    }

    pub(super) async fn ask(&self, asked: Yield) -> Option<PeerReply> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(Command::Ask(asked, reply)).ok()?;
        answer.await.ok()
    }
}

struct Task {
    registry: Arc<headwater_cluster::etcd::EtcdRegistry>,
    clock: Arc<TestClock>,
    node: NodeId,
    stream: StreamName,
    holder: Holder,
    outline: Option<Arc<Outline>>,
    inbox: mpsc::UnboundedReceiver<Command>,
    asked: HashMap<YieldId, oneshot::Sender<PeerReply>>,
    last_question: u64,
    has_media: bool,
    recorded: watch::Sender<MediaSequence>,
    stopped: watch::Sender<Option<Stop>>,
}

impl Task {
    async fn run(mut self) {
        let mut lease = self.registry.lease();
        let mut media = interval(MEDIA_EVERY);
        media.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut request: Option<BoxFuture<'static, (RequestId, RegistryReply)>> = None;
        loop {
            if let Some(stop) = self.drain() {
                self.stopped.send_replace(Some(stop));
                return;
            }
            if let Some((id, asked)) = self.holder.poll_request() {
                let (registry, stream) = (self.registry.clone(), self.stream.clone());
                request = Some(Box::pin(async move { (id, registry.request(&stream, asked).await) }));
            }
            let timeout = self.holder.poll_timeout().map(|at| at.saturating_since(self.clock.now()));
            tokio::select! {
                (id, reply) = some(&mut request) => self.holder.handle_reply(self.clock.now(), id, reply),
                command = self.inbox.recv() => match command {
                    Some(command) => self.handle(command),
                    // The test has ended.
                    None => return,
                },
                Ok(()) = lease.changed() => {
                    let lease = *lease.borrow_and_update();
                    self.holder.handle_lease(self.clock.now(), lease);
                }
                _ = media.tick(), if self.has_media => self.holder.handle_media(self.clock.now()),
                () = sleep(timeout.unwrap_or(Duration::MAX)), if timeout.is_some() => {
                    self.holder.handle_timeout(self.clock.now());
                }
            }
        }
    }

    fn handle(&mut self, command: Command) {
        let now = self.clock.now();
        match command {
            Command::Cut(reply) => {
                let outline = Arc::new(cut(self.outline.as_deref(), self.clock.wall()));
                let _ = reply.send(outline.cuts.last().expect("it was just cut").msn);
                self.outline = Some(outline.clone());
                self.holder.handle_cut(now, outline);
            }
            Command::Gone { clean } => {
                self.has_media = false;
                self.holder.handle_publisher_gone(now, clean);
            }
            Command::Silent => self.has_media = false,
            Command::Ask(asked, reply) => {
                self.last_question += 1;
                let id = YieldId(self.last_question);
                self.asked.insert(id, reply);
                self.holder.handle_yield(now, id, asked);
            }
        }
    }

    /// Does what the holder wants. Answers why it has stopped, if it has.
    fn drain(&mut self) -> Option<Stop> {
        let now = self.clock.now();
        let mut stopped = None;
        while let Some(event) = self.holder.poll_event() {
            match event {
                Event::Acknowledged => {
                    let cut = self.outline.as_ref().and_then(|outline| outline.cuts.last());
                    if let Some(cut) = cut.filter(|cut| self.holder.may_leave(None, cut)) {
                        self.recorded.send_replace(cut.msn);
                    }
                }
                Event::Seal => {
                    self.has_media = false;
                    let last = self.outline.as_ref().and_then(|outline| outline.cuts.last());
                    let end = last.map_or(0, |cut| cut.start.ticks) + 120_000;
                    let sealed = Sealed {
                        epoch: self.holder.epoch(),
                        home: self.node.clone(),
                        outline: self.outline.clone(),
                        stamped: true,
                        end: Timestamp::video(end),
                        renditions: Vec::new(),
                        by_priority: Vec::new(),
                    };
                    self.holder.handle_sealed(now, sealed);
                }
                Event::End => {
                    let ended = self.outline.as_deref().and_then(|outline| {
                        let last = outline.cuts.last()?;
                        let end = takeover::end(last, true, Timestamp::video(last.start.ticks + 240_000));
                        Some(Arc::new(with(outline, end)))
                    });
                    self.holder.handle_end(now, ended);
                }
                Event::Stopped(stop) => stopped = Some(stop),
            }
        }
        while let Some((id, reply)) = self.holder.poll_reply() {
            if let Some(asked) = self.asked.remove(&id) {
                // Who asked may have given up.
                let _ = asked.send(reply);
            }
        }
        stopped
    }
}

/// The outline after one more cut, 2 s after the last one.
pub(crate) fn cut(outline: Option<&Outline>, wall: WallTime) -> Outline {
    match outline.and_then(|outline| Some((outline, outline.cuts.last()?))) {
        Some((outline, last)) => {
            let next = Cut {
                msn: last.msn.next(),
                start: Timestamp::video(last.start.ticks + 240_000),
                program_date_time: wall,
                kind: CutKind::Media,
                ..Cut::clone(last)
            };
            with(outline, next)
        }
        None => Outline {
            grid: Grid::new(Profile::Low, FrameRate::FPS_30),
            window_segments: 6,
            since: wall,
            renditions: Vec::new(),
            audio: None,
            cuts: vec![Arc::new(Cut {
                msn: MediaSequence(1),
                start: Timestamp::video(0),
                discontinuity: 0,
                program_date_time: wall,
                kind: CutKind::Media,
                renditions: [].into(),
            })],
        },
    }
}

/// `outline` with one more cut, of which it keeps ten.
fn with(outline: &Outline, next: Cut) -> Outline {
    let mut cuts = outline.cuts.clone();
    cuts.push(Arc::new(next));
    let too_many = cuts.len().saturating_sub(10);
    cuts.drain(..too_many);
    Outline { cuts, ..outline.clone() }
}
