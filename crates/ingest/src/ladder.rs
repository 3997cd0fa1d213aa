//! Has a session's gears made while somebody watches (architecture 6).

use std::sync::Arc;
use std::time::Duration;

use headwater_media::Clock;
use headwater_router::claim::Stop;
use headwater_router::{AudioGear, Demand, Gear, Job, JobId, Queue};
use tokio::sync::watch;
use tokio::time::sleep;
use tracing::info;

use crate::home::{Home, Wanted};

/// When gears are made.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum When {
    /// From the first request on, until nobody has asked for anything for this long.
    Watched {
        /// Time without a request after which the gears stop.
        cold_after: Duration,
    },
    /// As long as the session lasts.
    Always,
}

/// Never look more often than this whether anybody still watches.
const LOOK_MIN: Duration = Duration::from_millis(10);

/// Posts the session's jobs whenever the ladder is woken, and takes them off the board when nobody watches any more.
/// Returns when the session is over, or has another home.
pub(crate) async fn keep(
    when: When,
    gears_per_job: usize,
    clock: Arc<dyn Clock>,
    queue: Arc<dyn Queue>,
    home: Arc<Home>,
) {
    let wanted = home.wanted();
    let mut ladder = Ladder { when, gears_per_job, clock, queue, wanted, home: home.clone(), jobs: Vec::new() };
    let stop = tokio::select! {
        stop = home.stopped() => stop,
        Some(()) = ladder.keep() => Stop::Ended,
    };
    for id in ladder.jobs {
        if stop == Stop::Ended {
            // Workers finish what they have; what still waits for one is wanted by nobody.
            ladder.queue.withdraw(id).await;
        } else {
            // The next home has its own.
            ladder.queue.complete(id).await;
        }
    }
}

/// What was posted for a waking.
#[derive(Default)]
struct Posted {
    video: bool,
    audio: Arc<[AudioGear]>,
}

struct Ladder {
    when: When,
    gears_per_job: usize,
    clock: Arc<dyn Clock>,
    queue: Arc<dyn Queue>,
    home: Arc<Home>,
    wanted: watch::Receiver<Option<Wanted>>,
    /// What was posted for this waking.
    jobs: Vec<JobId>,
}

impl Ladder {
    /// `None` when the home is gone.
    async fn keep(&mut self) -> Option<()> {
        let log = self.wanted.wait_for(Option::is_some).await.ok()?.as_ref()?.log.clone();
        if self.when == When::Always {
            log.watched(self.clock.now());
        }
        let mut demand = log.demand();
        loop {
            let woken = *demand.wait_for(|demand| demand.since.is_some()).await.ok()?;
            let mut posted = Posted::default();
            self.post_what_is_new(woken, &mut posted).await?;
            loop {
                let last = log.last_watched();
                let left = match self.when {
                    When::Watched { cold_after } => {
                        let unwatched = self.clock.now().saturating_since(last);
                        if unwatched >= cold_after && log.cool(last) {
                            break;
                        }
                        Some(cold_after.saturating_sub(unwatched).max(LOOK_MIN))
                    }
                    When::Always => None,
                };
                tokio::select! {
                    () = after(left) => {}
                    changed = self.wanted.changed() => {
                        changed.ok()?;
                        self.post_what_is_new(woken, &mut posted).await?;
                    }
                }
            }
            if !self.jobs.is_empty() {
                info!(stream = %self.home.stream(), session = %self.home.session(), "nobody watches: gears stop");
            }
            for id in std::mem::take(&mut self.jobs) {
                self.queue.complete(id).await;
            }
        }
    }

    /// Posts what is wanted and not posted yet. Gears of video come all at once; sound may get one more, or come later.
    async fn post_what_is_new(&mut self, woken: Demand, posted: &mut Posted) -> Option<()> {
        let Wanted { gears, standby, audio, .. } = self.wanted.borrow_and_update().clone()?;
        if !posted.video && (!gears.is_empty() || standby.is_some()) {
            posted.video = true;
            for (gears, standby) in split(&gears, standby, self.gears_per_job) {
                self.post(woken, gears, standby, [].into()).await;
            }
        }
        let more: Arc<[AudioGear]> = audio.iter().filter(|gear| !posted.audio.contains(gear)).cloned().collect();
        if !more.is_empty() {
            posted.audio = audio;
            self.post(woken, [].into(), None, more).await;
        }
        Some(())
    }

    async fn post(&mut self, woken: Demand, gears: Arc<[Gear]>, standby: Option<Gear>, audio: Arc<[AudioGear]>) {
        let (stream, session) = (self.home.stream().clone(), self.home.session());
        let epoch = self.home.epoch().unwrap_or_default();
        let job = Job { stream, session, epoch, waking: woken.waking, gears, standby, audio };
        self.jobs.push(self.queue.post(job).await);
    }
}

/// The gears of each job when a job has `most` at most, 0 being any number. The stand-in, which is as large as the source,
/// takes a place in the job of the largest gears: it is seldom made.
fn split(gears: &Arc<[Gear]>, standby: Option<Gear>, most: usize) -> Vec<(Arc<[Gear]>, Option<Gear>)> {
    let most = if most == 0 { usize::MAX } else { most };
    let mut jobs: Vec<_> = gears.chunks(most).map(|gears| (gears.into(), None)).collect();
    match jobs.first_mut() {
        Some((_, place)) => *place = standby,
        None => jobs.extend(standby.map(|gear| ([].into(), Some(gear)))),
    }
    jobs
}

/// Waits for this long; for ever without a time.
async fn after(time: Option<Duration>) {
    match time {
        Some(time) => sleep(time).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use headwater_router::Ladder;

    use super::*;

    #[test]
    fn gears_are_split_in_order_and_the_stand_in_goes_with_the_largest() {
        let gears: Arc<[Gear]> = Ladder::hd().gears.into();
        let stand_in = Some(Gear::new(1920, 1080, 6000, "veryfast"));
        let split = |gears, most| -> Vec<(usize, bool)> {
            super::split(gears, stand_in.clone(), most)
                .iter()
                .map(|(gears, standby)| (gears.len(), standby.is_some()))
                .collect()
        };
        assert_eq!(split(&gears, 0), [(3, true)]);
        assert_eq!(split(&gears, 2), [(2, true), (1, false)]);
        assert_eq!(split(&gears, 1), [(1, true), (1, false), (1, false)]);
        assert_eq!(split(&[].into(), 1), [(0, true)]);
    }
}
