//! Has a session's gears made while somebody watches (architecture 4).

use std::sync::Arc;
use std::time::Duration;

use headwater_media::Clock;
use headwater_router::{Job, Queue, State};
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

/// Posts the session's job whenever the ladder is woken, and takes it off the board when nobody watches any more.
pub(crate) async fn keep(when: When, clock: Arc<dyn Clock>, queue: Arc<dyn Queue>, home: Arc<Home>) {
    let Some(Wanted { log, gears, standby }) = home.wanted().await else { return };
    if gears.is_empty() && standby.is_none() {
        return;
    }
    if when == When::Always {
        log.watched(clock.now());
    }
    let mut state = log.state();
    let session_over = async {
        let _ = state.wait_for(|state| state.state == State::Ended).await;
    };
    let ladder = async {
        let mut demand = log.demand();
        loop {
            let Ok(woken) = demand.wait_for(|demand| demand.since.is_some()).await.map(|demand| *demand) else {
                return;
            };
            let job = Job {
                stream: home.stream().clone(),
                session: home.session(),
                epoch: *home.epoch().borrow(),
                waking: woken.waking,
                gears: gears.clone(),
                standby: standby.clone(),
            };
            let id = queue.post(job).await;
            let When::Watched { cold_after } = when else { return };
            loop {
                let last = log.last_watched();
                let unwatched = clock.now().saturating_since(last);
                if unwatched >= cold_after && log.cool(last) {
                    break;
                }
                sleep(cold_after.saturating_sub(unwatched).max(LOOK_MIN)).await;
            }
            info!(stream = %home.stream(), session = %home.session(), "nobody watches: gears stop");
            queue.complete(id).await;
        }
    };
    tokio::select! {
        () = session_over => {}
        () = ladder => {}
    }
}

/// Never look more often than this.
const LOOK_MIN: Duration = Duration::from_millis(10);
