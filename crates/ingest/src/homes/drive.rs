//! Drives a home's hold on its stream: requests, time and the lease.

use std::pin::Pin;
use std::time::Duration;

use headwater_media::{Clock, Instant};
use headwater_router::claim::Stop;
use tokio::sync::watch;
use tokio::time::sleep;

use crate::home::Home;
use crate::{Deps, Sessions};

/// With nothing to wait for, a day is as good as for ever.
const FOREVER: Duration = Duration::from_secs(86_400);

/// Something that is awaited beside other things, or nothing.
pub(super) struct Pending<'a, T>(Option<Pin<Box<dyn Future<Output = T> + Send + 'a>>>);

impl<T> Default for Pending<'_, T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<'a, T> Pending<'a, T> {
    /// Awaits this from now on, and what there was no longer.
    pub(super) fn set(&mut self, future: impl Future<Output = T> + Send + 'a) {
        self.0 = Some(Box::pin(future));
    }

    /// Waits until it is there. Cancel safe.
    pub(super) async fn next(&mut self) -> T {
        match &mut self.0 {
            Some(future) => {
                let done = future.await;
                self.0 = None;
                done
            }
            None => std::future::pending().await,
        }
    }
}

/// Waits until `time`; for ever without one.
pub(super) async fn at(clock: &dyn Clock, time: Option<Instant>) {
    let left = time.map_or(FOREVER, |time| time.saturating_since(clock.now()));
    sleep(left.min(FOREVER)).await;
}

/// Runs until the home holds its stream no longer. When the service stops and keeps its sessions, time stands still.
pub(super) async fn drive(home: &Home, deps: &Deps, mut stopping: watch::Receiver<Option<Sessions>>) -> Stop {
    let mut lease = deps.registry.lease();
    let mut request = Pending::default();
    loop {
        let (asked, timeout) = home.poll();
        if let Some(asked) = asked {
            request
                .set(async move { (asked.epoch, asked.id, deps.registry.request(home.stream(), asked.request).await) });
        }
        let keeps = *stopping.borrow_and_update() == Some(Sessions::Keep);
        tokio::select! {
            stop = home.stopped() => return stop,
            (epoch, id, reply) = request.next() => home.handle_reply(epoch, id, reply),
            () = home.woken() => {}
            Ok(()) = stopping.changed() => {}
            Ok(()) = lease.changed() => home.handle_time(),
            () = at(&*deps.clock, timeout), if !keeps => home.handle_time(),
        }
    }
}
