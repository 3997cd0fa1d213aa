//! Watches over one job: ends it when it is not wanted any more, and gives it up when it hangs.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::Builder;
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tracing::{error, info};

use crate::activity::{Hung, Pulse, TICK};
use crate::job::{JobContext, Outcome};

/// How a job came to its end.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Ending {
    /// The session is over.
    Ended,
    /// Nobody watches.
    Cold,
    /// The service stops.
    Stopped,
    /// No gear works.
    Failed,
    /// A thread panicked.
    Panicked,
    /// The job is another worker's now, or its home cannot be reached.
    Lost,
    /// A thread hangs; it is left behind.
    Hung(Hung),
}

/// Does a job in threads of its own until it ends or is lost. `left_behind` counts threads that hang.
pub(crate) async fn supervise(
    context: JobContext,
    hang: Option<Duration>,
    mut stop: watch::Receiver<bool>,
    left_behind: Arc<AtomicUsize>,
) -> Ending {
    let (log, state) = (context.log.clone(), context.state.clone());
    let waking = context.job.waking;
    let mut lost = context.writer.lost();
    let cancel = watch::Sender::new(false);
    let (done, outcome) = oneshot::channel();
    let mut outcome = outcome;
    let cancelled = cancel.subscribe();
    let thread = Builder::new().name("job".to_owned()).spawn(move || {
        // Nobody waits for the outcome of a job that was given up.
        let _ = done.send(context.run(cancelled));
    });
    if let Err(error) = thread {
        error!(stream = %log.stream(), %error, "no thread for a job");
        return Ending::Panicked;
    }
    let mut demand = log.demand();
    let mut ending = None;
    let mut pulse = hang.map(|hang| Pulse::new(&state, hang));
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last = Instant::now();
    loop {
        tokio::select! {
            ended = &mut outcome => return match ended {
                // What it put last may not have come to its home.
                Ok(Outcome::Ended) if ending == Some(Ending::Lost) => Ending::Lost,
                Ok(Outcome::Ended) => Ending::Ended,
                Ok(Outcome::Failed) => Ending::Failed,
                Ok(Outcome::Stopped) => ending.unwrap_or(Ending::Stopped),
                Err(_) => Ending::Panicked,
            },
            Ok(_) = stop.wait_for(|stop| *stop), if ending.is_none() => {
                ending = Some(Ending::Stopped);
                cancel.send_replace(true);
            }
            Ok(_) = lost.wait_for(|lost| *lost), if ending.is_none() => {
                // A ladder that goes cold takes the turns away, too.
                let is_awake = log.demand().borrow().is_awake_for(waking);
                ending = Some(if is_awake { Ending::Lost } else { Ending::Cold });
                cancel.send_replace(true);
            }
            Ok(_) = demand.wait_for(|demand| !demand.is_awake_for(waking)), if ending.is_none() => {
                ending = Some(Ending::Cold);
                cancel.send_replace(true);
            }
            now = ticks.tick() => {
                // Ticks that come late say that everything stood still, or has too little of the processor.
                let on_time = now - last < 2 * TICK;
                last = now;
                if on_time
                    && let Some(pulse) = &mut pulse
                    // A job that was told to stop need not read on.
                    && let Some(hung) = pulse.look(&state, ending.is_none().then(|| log.appended()))
                {
                    cancel.send_replace(true);
                    leave_behind(outcome, left_behind);
                    return Ending::Hung(hung);
                }
            }
        }
    }
}

/// Counts a job that hangs until it comes back, if it ever does. What it makes is dropped: its turns are over.
fn leave_behind(outcome: oneshot::Receiver<Outcome>, left_behind: Arc<AtomicUsize>) {
    left_behind.fetch_add(1, Ordering::Relaxed);
    tokio::spawn(async move {
        let _ = outcome.await;
        left_behind.fetch_sub(1, Ordering::Relaxed);
        info!("a job that hung came back; its threads have ended");
    });
}
