//! Who is woken by news of a rendition: its readers, and those who follow the whole log.

use tokio::sync::watch;

/// Wakes both.
#[derive(Debug)]
pub(super) struct Wake {
    readers: watch::Sender<()>,
    followers: watch::Sender<()>,
}

impl Wake {
    pub(super) fn new(followers: &watch::Sender<()>) -> Self {
        Self { readers: watch::Sender::new(()), followers: followers.clone() }
    }

    pub(super) fn send_replace(&self, (): ()) {
        wake(&self.readers);
        wake(&self.followers);
    }

    /// Those who read now are at their end, and are readers no more.
    pub(super) fn renew(&mut self) {
        self.readers = watch::Sender::new(());
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<()> {
        self.readers.subscribe()
    }

    /// The rendition has readers.
    pub(super) fn is_listened_to(&self) -> bool {
        self.readers.receiver_count() > 0
    }
}

/// Wakes whoever listens. Who begins to listen looks afterwards whether there is something, and finds it.
pub(super) fn wake(listeners: &watch::Sender<()>) {
    if listeners.receiver_count() > 0 {
        listeners.send_replace(());
    }
}
