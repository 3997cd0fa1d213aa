//! What a job writes with: the turns of its renditions, at the session's home, wherever that is (architecture 5).

use std::sync::Arc;

use headwater_media::{Init, MediaSequence, Part, PartIndex, RenditionName, Timestamp, Turn};
use tokio::sync::watch;

use super::{PutOutcome, StreamLog};
use crate::{BoxFuture, Job};

/// The turns of a job's renditions. Another writer of a rendition takes its turn away.
pub trait Writer: Send + Sync + 'static {
    /// The session's log, to read from.
    fn log(&self) -> &Arc<StreamLog>;

    /// Whether the session has such a rendition: others cannot be written.
    fn has(&self, rendition: &RenditionName) -> bool;

    /// The part of the rendition that is missing next: where this writer's parts begin to be taken. `None` before the first
    /// part of all.
    fn next_part(&self, rendition: &RenditionName) -> Option<(MediaSequence, PartIndex)>;

    /// Where the newest part of the rendition ends. `None` before the first.
    fn covered(&self, rendition: &RenditionName) -> Option<Timestamp>;

    /// The segment with which windows begin: see [`StreamLog::begins`].
    fn begins(&self) -> MediaSequence;

    /// Puts the next part of a rendition. It is [`PutOutcome::Put`] when it is in the log, or on its way there.
    fn put_part<'a>(&'a self, rendition: &'a RenditionName, part: Part) -> BoxFuture<'a, PutOutcome>;

    /// Switches a rendition off, or on again: see [`StreamLog::switch`].
    fn switch(&self, rendition: &RenditionName, off: Option<Arc<str>>);

    /// The rendition's encoder is open: its init segment is known.
    fn opened(&self, rendition: &RenditionName, init: Arc<Init>);

    /// The job has read so many items. Where its home is elsewhere, this is the sign of its life.
    fn set_read(&self, items: u64);

    /// Turns true when what is put is not taken any more: another writer has a turn, the session has another home, or this
    /// one cannot be reached. Then the job is somebody else's.
    fn lost(&self) -> watch::Receiver<bool>;
}

/// Why a job cannot be written.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum NoWriter {
    /// The session is over, or nobody watches it any more, and so is the job.
    #[error("the job is over")]
    Over,
    /// Its home does not answer, or is another one now: perhaps another worker has more luck.
    #[error("the session's home cannot be reached: {reason}")]
    NotNow {
        /// What happened.
        reason: String,
    },
}

/// Writes into a log of this process.
#[derive(Debug)]
pub struct LocalWriter {
    log: Arc<StreamLog>,
    turns: Vec<(RenditionName, Turn)>,
    lost: watch::Sender<bool>,
}

impl Job {
    /// What it makes.
    pub fn renditions(&self) -> impl Iterator<Item = &RenditionName> {
        let gears = self.standby.iter().chain(self.gears.iter()).map(|gear| &gear.name);
        gears.chain(self.audio.iter().map(|gear| &gear.name))
    }
}

impl LocalWriter {
    /// Takes the turns of those of `renditions` that the session has; nobody else's parts of them are taken any more.
    pub fn new<'a>(log: Arc<StreamLog>, renditions: impl IntoIterator<Item = &'a RenditionName>) -> Self {
        let turns = renditions.into_iter().filter_map(|name| Some((name.clone(), log.give_turn(name)?)));
        Self { turns: turns.collect(), log, lost: watch::Sender::new(false) }
    }

    /// Its turns.
    pub fn turns(&self) -> &[(RenditionName, Turn)] {
        &self.turns
    }

    /// Looks whether the log takes what it puts; from then on it is [`lost`](Writer::lost) for good.
    pub fn is_lost(&self) -> bool {
        let holds = self.turns.iter().all(|(rendition, turn)| self.log.takes(rendition, *turn));
        !holds && {
            self.lost.send_replace(true);
            true
        }
    }

    /// Puts a part: see [`StreamLog::put_part`].
    pub fn put(&self, rendition: &RenditionName, part: Part) -> PutOutcome {
        let Some(turn) = self.turn(rendition) else { return PutOutcome::Dropped };
        let outcome = self.log.put_part(rendition, turn, part);
        if outcome == PutOutcome::Dropped {
            self.is_lost();
        }
        outcome
    }

    fn turn(&self, rendition: &RenditionName) -> Option<Turn> {
        self.turns.iter().find(|(name, _)| name == rendition).map(|(_, turn)| *turn)
    }
}

impl Writer for LocalWriter {
    fn log(&self) -> &Arc<StreamLog> {
        &self.log
    }

    fn has(&self, rendition: &RenditionName) -> bool {
        self.turn(rendition).is_some()
    }

    fn next_part(&self, rendition: &RenditionName) -> Option<(MediaSequence, PartIndex)> {
        self.log.next_part(rendition)
    }

    fn covered(&self, rendition: &RenditionName) -> Option<Timestamp> {
        self.log.covered(rendition)
    }

    fn begins(&self) -> MediaSequence {
        self.log.begins()
    }

    fn put_part<'a>(&'a self, rendition: &'a RenditionName, part: Part) -> BoxFuture<'a, PutOutcome> {
        Box::pin(async move { self.put(rendition, part) })
    }

    fn switch(&self, rendition: &RenditionName, off: Option<Arc<str>>) {
        if let Some(turn) = self.turn(rendition) {
            self.log.switch(rendition, turn, off);
        }
    }

    fn opened(&self, rendition: &RenditionName, init: Arc<Init>) {
        if self.turn(rendition).is_some_and(|turn| self.log.takes(rendition, turn)) {
            self.log.describe(rendition, |rendition| rendition.init = Some(init));
        }
    }

    fn set_read(&self, _: u64) {}

    fn lost(&self) -> watch::Receiver<bool> {
        self.lost.subscribe()
    }
}

impl StreamLog {
    /// Whether a writer with this turn may still put parts of the rendition.
    pub fn takes(&self, rendition: &RenditionName, turn: Turn) -> bool {
        self.inner().takes(rendition, turn)
    }
}
