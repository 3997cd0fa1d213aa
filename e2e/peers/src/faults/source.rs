//! A publisher that does not give up, and what nodes said to it.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use headwater_flv::Tag;
use headwater_rtmp::Extensions;

use crate::clock::{Stopwatch, poll};
use crate::history::{Claim, Outcome};
use crate::http::{Hangup, Http};
use crate::publisher::{Publisher, tags};
use crate::server::Server;

/// Longer than a claim takes.
const ANSWER: Duration = Duration::from_secs(12);

/// A clip, over and over, at one node after the other. A connection that is not [left](Source::leave) goes on publishing
/// until the server ends it, even when there is a newer one.
pub(super) struct Source {
    watch: Stopwatch,
    stream: String,
    clip: Arc<[Tag]>,
    history: Vec<Claim>,
    newest: Option<Playing>,
    earlier: Vec<Playing>,
}

struct Playing {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Source {
    pub(super) fn new(watch: Stopwatch, stream: &str, clip: &Path) -> Self {
        let clip = tags(clip).into();
        Self { watch, stream: stream.to_owned(), clip, history: Vec::new(), newest: None, earlier: Vec::new() }
    }

    /// Publishes at a node, asking again until it is accepted or `limit` has passed.
    pub(super) fn publish(&mut self, number: u8, node: &Server, limit: Duration) -> bool {
        self.earlier.extend(self.newest.take());
        let (watch, stream) = (self.watch, self.stream.clone());
        let history = &mut self.history;
        let publisher = poll(limit, || {
            let called = watch.elapsed();
            let attempt = Publisher::attempt(node.rtmp, &stream, Extensions::default(), ANSWER);
            let returned = watch.elapsed();
            let (outcome, publisher) = match attempt {
                // It may have lost the stream again by now.
                Some(Ok(publisher)) => (epoch(node, &stream).map_or(Outcome::Unknown, Outcome::Won), Some(publisher)),
                Some(Err(_)) => (Outcome::NotMade, None),
                None => (Outcome::Unknown, None),
            };
            let node = number.to_string();
            // Who is asked is never parted from etcd, and loses no answer.
            history.push(Claim { stream: stream.clone(), node, called, returned, outcome, lost_writes: 0 });
            publisher
        });
        self.newest = publisher.map(|publisher| Playing::start(publisher, self.clip.clone()));
        self.newest.is_some()
    }

    /// Where the newest connection comes from.
    pub(super) fn address(&self) -> SocketAddr {
        self.newest.as_ref().expect("it publishes").address
    }

    /// The newest connection is lost.
    pub(super) fn leave(&mut self) {
        if let Some(playing) = self.newest.take() {
            playing.finish();
        }
    }

    /// Whether the servers have ended all but the newest connection.
    pub(super) fn earlier_are_closed(&mut self, limit: Duration) -> bool {
        let earlier = std::mem::take(&mut self.earlier);
        poll(limit, || earlier.iter().all(|playing| playing.thread.is_finished()).then_some(())).is_some()
    }

    /// Ends all connections. What was asked and answered.
    pub(super) fn finish(mut self) -> Vec<Claim> {
        self.leave();
        self.history
    }
}

/// In which epoch the node has the stream.
fn epoch(node: &Server, stream: &str) -> Option<u64> {
    let answer = Http::new(node.admin, Hangup::default()).request("GET", &format!("/api/v1/streams/{stream}")).ok()?;
    let text = answer.text();
    let (_, rest) = text.split_once("\"epoch\":")?;
    rest.split(|byte: char| !byte.is_ascii_digit()).next()?.parse().ok()
}

impl Playing {
    fn start(mut publisher: Publisher, clip: Arc<[Tag]>) -> Self {
        let (address, stop) = (publisher.address(), Arc::new(AtomicBool::new(false)));
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            let watch = Stopwatch::start();
            let length = clip.last().map_or(0, |tag| tag.timestamp) + 40;
            for round in 0.. {
                for tag in clip.iter() {
                    let timestamp = tag.timestamp + round * length;
                    watch.pace(Duration::from_millis(timestamp.into()));
                    let tag = Tag { timestamp, ..tag.clone() };
                    if stopped.load(Ordering::Relaxed) || !publisher.send_tag(&tag) {
                        return;
                    }
                }
            }
        });
        Self { address, stop, thread }
    }

    fn finish(self) {
        self.stop.store(true, Ordering::Relaxed);
        // A panic of it has been printed.
        let _ = self.thread.join();
    }
}
