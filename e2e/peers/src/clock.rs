//! The one place that reads a clock: deadlines and the pace of publishers.

use std::time::{Duration, Instant};

/// The time since some moment.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts now.
    #[expect(clippy::disallowed_methods, reason = "this is where the clock is read")]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// Time passed.
    pub fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }

    /// The same in the vocabulary of the libraries.
    pub fn now(&self) -> headwater_media::Instant {
        headwater_media::Instant::default() + self.elapsed()
    }

    /// What is left of `limit`; zero when it has passed.
    pub fn left(&self, limit: Duration) -> Duration {
        limit.saturating_sub(self.elapsed())
    }

    /// Waits until `at` has passed since the start: how media is sent in real time.
    pub fn pace(&self, at: Duration) {
        std::thread::sleep(self.left(at));
    }
}

/// Asks `attempt` again and again until it has an answer or `limit` has passed. For the few things that
/// nobody announces.
pub fn poll<T>(limit: Duration, mut attempt: impl FnMut() -> Option<T>) -> Option<T> {
    let watch = Stopwatch::start();
    loop {
        let answer = attempt();
        if answer.is_some() || watch.elapsed() >= limit {
            return answer;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
