//! The transcoder queue: a board of jobs (architecture 6). A job refers to the log and carries no media, so waiting in
//! the queue adds no latency.

use std::sync::Arc;

use headwater_media::{Epoch, SessionId, StreamName};

use crate::{AudioGear, BoxFuture, Gear};

/// A job's identity on the board.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct JobId(pub u64);

/// The gears of one session for one worker to make: those of its pictures, or those of its sound.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Job {
    /// The stream.
    pub stream: StreamName,
    /// Its session.
    pub session: SessionId,
    /// The epoch in which the job was posted.
    pub epoch: Epoch,
    /// The ladder's waking that it is for ([`Demand`](crate::Demand)); at the next one it is over.
    pub waking: u64,
    /// What to make of its pictures. Empty in a job of sound.
    pub gears: Arc<[Gear]>,
    /// What to make of its pictures from where the source rendition goes off, to take its place.
    pub standby: Option<Gear>,
    /// What to make of its sound. Empty in a job of pictures: sound is not kept up by slow pictures.
    pub audio: Arc<[AudioGear]>,
}

/// The board.
pub trait Queue: Send + Sync + 'static {
    /// Puts a job on the board.
    fn post(&self, job: Job) -> BoxFuture<'_, JobId>;

    /// Waits for a job and takes it: no other worker gets it.
    fn take(&self) -> BoxFuture<'_, (JobId, Job)>;

    /// Gives a taken job back, for another worker to take.
    fn release(&self, id: JobId) -> BoxFuture<'_, ()>;

    /// Takes a job off the board: it is done, or nobody wants it any more.
    fn complete(&self, id: JobId) -> BoxFuture<'_, ()>;

    /// Takes a job off the board that no worker has taken; one that has it finishes it.
    fn withdraw(&self, id: JobId) -> BoxFuture<'_, ()>;

    /// Jobs that wait for a worker.
    fn waiting(&self) -> BoxFuture<'_, usize>;
}
