//! The router: each stream's log, the claim on it, and the queue of transcoding jobs.
//!
//! [`Registry`], [`Log`] and [`Queue`] are the three things that a cluster shares; [`embedded`] has them for one machine.
//! [`claim`] has the state machines by which machines share streams: one publisher per stream key, whatever goes wrong.
//! Nothing here opens a socket or reads a clock. Waiting is done with `tokio::sync`, which needs no runtime; the embedded
//! registry writes its file in a thread of its own.

mod audio;
pub mod claim;
pub mod embedded;
mod ladder;
pub mod log;
mod outline;
mod peers;
mod posters;
mod queue;
mod registry;
mod session;
pub mod written;

use std::pin::Pin;

pub use audio::{AudioGear, AudioGroup};
pub use ladder::{Gear, Ladder, Source};
pub use log::{
    Demand, FeedItem, Follower, GoingOn, IFrameRates, Item, Limits, LocalWriter, Log, Mirrored, NoWriter, PartReader,
    Progress as RenditionProgress, PutOutcome, ReadError, SampleReader, SamplesFrom, Snapshot, StaleEpoch, Standing,
    StreamLog, Unannounced, Wished, Writer,
};
pub use outline::{Outline, OutlinedRendition};
pub use peers::{Holders, Peers};
pub use posters::{Poster, Posters};
pub use queue::{Job, JobId, Queue};
pub use registry::{Found, NodeId, Record, RecordState, Registry, Unavailable};
pub use session::{PublisherInfo, Rendition, RenditionKind, Session, SessionState, State};

/// A future behind a trait object.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;
