//! What the registry keeps of a home, and a home made of what the registry has kept (architecture 5).

use std::sync::Arc;

use headwater_media::captions::Channels;
use headwater_media::{Cut, CutKind, Epoch, MediaSequence, StreamName, Timestamp};
use headwater_router::log::GoingOn;
use headwater_router::{Log, Outline, Progress, Record, RenditionKind, Session, SessionState, State};
use headwater_segmenter::Timeline;
use headwater_segmenter::timeline::{Config, Lost};
use tokio::sync::watch;

use super::{Home, Inner, Open, Wanted};
use crate::Settings;
use crate::lockstep::Lockstep;
use crate::metrics::Metrics;

/// Cuts that are recorded beyond those that a playlist lists.
const EXTRA_CUTS: usize = 4;

impl Home {
    /// The home of a session that another one began. It has no publisher, and nothing of what was made: the playlists
    /// stand still with the last number that may have been used.
    pub(crate) fn resume(
        stream: StreamName,
        record: &Record,
        outline: &Outline,
        settings: Arc<Settings>,
        log: Arc<dyn Log>,
        metrics: Arc<Metrics>,
    ) -> Option<Self> {
        let home = Self::new(stream, record.session, settings, log, metrics);
        let has = |kind: fn(&RenditionKind) -> bool| outline.renditions.iter().any(|known| kind(&known.kind));
        let lost = Lost {
            grid: outline.grid,
            has_video: has(|kind| *kind == RenditionKind::Source),
            audio: outline.audio.clone(),
            last: outline.cuts.last()?.clone(),
            next: record.reserved,
        };
        let has_gears = has(|kind| matches!(kind, RenditionKind::Gear(_)));
        let config = Config { profile: outline.grid.profile, source_may_be_off: has_gears };
        let gap = Arc::new(lost.gap());
        let opened = home.log.open(SessionState {
            session: Arc::new(Session {
                stream: home.stream.clone(),
                id: record.session,
                grid: outline.grid,
                window_segments: outline.window_segments,
                since: outline.since,
            }),
            epoch: record.epoch,
            state: State::Waiting,
            publisher: None,
            renditions: outline.renditions(),
            captions: Channels::default(),
        });
        let first = Arc::new(Cut {
            msn: gap.msn.next(),
            start: lost.end(),
            discontinuity: gap.discontinuity + 1,
            program_date_time: gap.program_date_time.plus(Timestamp::video(lost.end().ticks - gap.start.ticks)),
            kind: CutKind::Media,
            ..Cut::clone(&gap)
        });
        let stands = GoingOn { epoch: record.epoch, cuts: vec![gap.clone(), first], writable: Vec::new() };
        // It has had no other epoch.
        let _ = opened.go_on(&stands);
        let mut open = Open::new(opened, outline.grid, outline.audio.clone());
        open.give_turns();
        home.wanted.send_replace(Some(Wanted::of(&open.log)));
        {
            let mut inner = home.inner();
            inner.timeline = Timeline::resume(config, &lost);
            inner.reserved = record.reserved;
            inner.recorded = lost.last.msn;
            inner.cuts = outline.cuts.iter().cloned().collect();
            inner.note(&gap, outline.window_segments);
            inner.lockstep = Lockstep::of(open.tracks.keys().copied());
            inner.open = Some(open);
        }
        home.epoch.send_replace(record.epoch);
        Some(home)
    }

    /// Up to where numbers should be reserved, now and later.
    pub(crate) fn reserve(&self) -> watch::Receiver<MediaSequence> {
        self.reserve.subscribe()
    }

    /// What is to be recorded now, and the newest cut in it.
    pub(crate) fn progress(&self) -> (Progress, Option<MediaSequence>) {
        let inner = self.inner();
        let below = *self.reserve.borrow();
        let outline = inner.open.as_ref().filter(|_| !inner.cuts.is_empty()).map(|open| {
            let state = open.log.state().borrow().clone();
            Arc::new(Outline::new(&state, open.audio_config.clone(), inner.cuts.iter().cloned().collect()))
        });
        let newest = outline.as_ref().and_then(|outline| Some(outline.cuts.last()?.msn));
        (Progress { below, outline }, newest)
    }

    /// Numbers below `reserved` and cuts up to `recorded` are acknowledged.
    pub(crate) fn acknowledge(&self, reserved: MediaSequence, recorded: Option<MediaSequence>) {
        let mut inner = self.inner();
        inner.reserved = inner.reserved.max(reserved);
        inner.recorded = inner.recorded.max(recorded.unwrap_or_default());
        let epoch: Epoch = *self.epoch.borrow();
        self.flush(&mut inner, epoch);
    }

    /// Has a cut recorded, and the numbers after it reserved.
    pub(super) fn announce(&self, inner: &mut Inner, cut: &Arc<Cut>) {
        if inner.note(cut, self.settings.window_segments) {
            self.reserve.send_replace(MediaSequence(cut.msn.0 + 2));
        }
    }
}

impl Inner {
    /// Remembers a cut. `false` when it is known.
    fn note(&mut self, cut: &Arc<Cut>, window_segments: u32) -> bool {
        if self.cuts.back().is_some_and(|last| last.msn >= cut.msn) {
            // A takeover closes the last one that was recorded.
            return false;
        }
        self.cuts.push_back(cut.clone());
        let limit = usize::try_from(window_segments).unwrap_or(usize::MAX).saturating_add(EXTRA_CUTS);
        while self.cuts.len() > limit {
            self.cuts.pop_front();
        }
        true
    }

    /// Whether the cut's number is reserved, and the cut recorded if it begins with a discontinuity: another home would
    /// not know of that one.
    pub(super) fn may_leave(&self, cut: &Cut) -> bool {
        let before = self.cuts.iter().rev().find(|known| known.msn < cut.msn);
        let discontinuity = before.is_some_and(|before| before.discontinuity < cut.discontinuity);
        cut.msn < self.reserved && (!discontinuity || cut.msn <= self.recorded)
    }
}
