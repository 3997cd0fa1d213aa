//! What a replica asks of its home: parts and samples that somebody reads here, and that somebody watches.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use headwater_media::{Clock, Epoch, Instant, MediaSequence, RenditionName};
use headwater_router::{Item, NodeId, SamplesFrom, StreamLog};
use tokio::sync::watch;
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::log::convert::Wishes;
use crate::log::wire;

/// How often it is looked what is read here, and the home is told that somebody watches.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// What nobody reads any more is asked for so much longer: the next reader may be on its way.
const LINGER: Duration = Duration::from_secs(5);

/// What one home was asked.
pub(super) struct Wishing {
    clock: Arc<dyn Clock>,
    looks: Interval,
    log: Option<Arc<StreamLog>>,
    wishes: Option<watch::Receiver<()>>,
    /// Renditions that were asked for, and since when nobody reads them.
    renditions: BTreeMap<RenditionName, Option<Instant>>,
    /// The same of the samples.
    samples: Option<Option<Instant>>,
    /// Whose samples are here up to which item.
    position: Option<(NodeId, Epoch, u64)>,
    home: Option<(NodeId, Epoch)>,
    /// Samples of a new home are taken from this segment on.
    samples_after: Option<MediaSequence>,
    /// The home's ladder is awake.
    is_awake: bool,
    /// When the home was last told that somebody watches.
    told_watched: Instant,
}

impl Wishing {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        let mut looks = interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            clock,
            looks,
            log: None,
            wishes: None,
            renditions: BTreeMap::new(),
            samples: None,
            position: None,
            home: None,
            samples_after: None,
            is_awake: false,
            told_watched: Instant::default(),
        }
    }

    /// The first request to a home. Parts go on where they stopped, and so do the samples of the same home; those of another
    /// one when its first number is known.
    pub(super) fn begin(&mut self, log: Option<Arc<StreamLog>>, home: &NodeId, epoch: Epoch) -> wire::SubscribeRequest {
        self.home = Some((home.clone(), epoch));
        self.wishes = log.as_ref().map(|log| log.wishes());
        self.log = log;
        self.renditions.clear();
        self.samples = None;
        self.samples_after = None;
        self.request(false).unwrap_or_default()
    }

    /// The home's snapshot came: the log is there, and its epoch begins with segment `first`.
    pub(super) fn told(&mut self, is_awake: bool, epoch: Epoch, first: MediaSequence, log: &Arc<StreamLog>) {
        self.is_awake = is_awake;
        let home = self.home.as_mut().map(|(home, known)| {
            *known = epoch;
            home.clone()
        });
        let continues = self.position.as_ref().is_some_and(|(of, at, _)| Some(of) == home.as_ref() && *at == epoch);
        if self.position.is_some() && !continues {
            self.samples_after = Some(first);
        }
        if self.log.is_none() {
            self.wishes = Some(log.wishes());
            self.log = Some(log.clone());
        }
        // What was not asked before the snapshot is asked now.
        self.looks.reset_immediately();
    }

    pub(super) fn awake(&mut self, is_awake: bool) {
        self.is_awake = is_awake;
    }

    /// The home stopped this rendition, and sends it again when it is asked.
    pub(super) fn stopped(&mut self, rendition: &RenditionName) {
        self.renditions.remove(rendition);
    }

    /// All samples before this position of the home's ring are here.
    pub(super) fn sampled(&mut self, position: u64) {
        self.position = self.home.clone().map(|(home, epoch)| (home, epoch, position));
    }

    /// Whether a sample follows what is here: of a new home those from its first segment on do.
    pub(super) fn continues(&mut self, item: &Item, log: &StreamLog) -> bool {
        let Some(after) = self.samples_after else { return true };
        match item {
            Item::Cut(cut) if cut.msn >= after => {
                if cut.msn > after {
                    log.move_samples_on();
                }
                self.samples_after = None;
                true
            }
            _ => false,
        }
    }

    /// Waits for the next request. Cancel safe.
    pub(super) async fn next(&mut self) -> wire::SubscribeRequest {
        loop {
            let wished = async {
                match &mut self.wishes {
                    // The sender lives in the log.
                    Some(wishes) => drop(wishes.changed().await),
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = wished => {}
                _ = self.looks.tick() => {}
            }
            if let Some(request) = self.request(true) {
                return request;
            }
        }
    }

    /// What is to be asked now; `None` when nothing is new.
    fn request(&mut self, after_snapshot: bool) -> Option<wire::SubscribeRequest> {
        let log = self.log.clone()?;
        let now = self.clock.now();
        let wished = log.wished();
        let mut changed = false;
        for (name, _) in &wished.renditions {
            changed |= self.renditions.insert(name.clone(), None).is_none();
        }
        self.renditions.retain(|name, unread| {
            if wished.renditions.iter().any(|(read, _)| read == name) {
                return true;
            }
            let lingers = now.saturating_since(*unread.get_or_insert(now)) < LINGER;
            if !lingers {
                log.forget(Some(name));
                changed = true;
            }
            lingers
        });
        changed |= self.look_at_samples(&log, wished.samples.is_some(), after_snapshot, now);
        let last = log.last_watched();
        let watched = last > self.told_watched
            && (!self.is_awake || now.saturating_since(self.told_watched) >= LOOK_EVERY / 2)
            && after_snapshot;
        if watched {
            self.told_watched = now;
        }
        let wishes = changed.then(|| {
            let from = |name: &RenditionName| {
                let read = wished.renditions.iter().find(|(read, _)| read == name);
                (name.clone(), read.map_or_else(Default::default, |(_, from)| *from))
            };
            let samples = self.samples.is_some().then(|| self.samples_from(wished.samples.unwrap_or_default()));
            let wishes = Wishes { renditions: self.renditions.keys().map(from).collect(), samples };
            wire::Wishes::from(&wishes)
        });
        (watched || wishes.is_some()).then(|| wire::SubscribeRequest { watched, wishes, ..Default::default() })
    }

    fn look_at_samples(&mut self, log: &StreamLog, are_read: bool, after_snapshot: bool, now: Instant) -> bool {
        match &mut self.samples {
            None if are_read => {
                // Where those of another home begin is known with its snapshot.
                let is_known = after_snapshot || self.is_same_home();
                if is_known {
                    self.samples = Some(None);
                }
                is_known
            }
            None => false,
            Some(unread) if are_read => {
                *unread = None;
                false
            }
            Some(unread) => {
                let over = now.saturating_since(*unread.get_or_insert(now)) >= LINGER;
                if over {
                    self.samples = None;
                    self.position = None;
                    log.forget(None);
                }
                over
            }
        }
    }

    fn is_same_home(&self) -> bool {
        let home = self.home.as_ref().map(|(home, epoch)| (home, *epoch));
        self.position.as_ref().is_some_and(|(of, at, _)| home == Some((of, *at)))
    }

    fn samples_from(&self, wished: MediaSequence) -> SamplesFrom {
        match (&self.position, self.samples_after) {
            (_, Some(after)) => SamplesFrom::Segment(after),
            (Some((_, _, position)), None) if self.is_same_home() => SamplesFrom::Position(*position),
            _ => SamplesFrom::Segment(wished),
        }
    }
}
