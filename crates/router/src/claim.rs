//! The claim on a stream between machines: exactly one publisher per stream key (architecture 8).
//!
//! State machines of one stream on one node; they do no I/O, read no clock and draw no random number:
//!
//! ```text
//!  a publisher comes            its claim is won                the record shows another home, the lease is over,
//!        |                            |                         the session ended
//!        v                            v                                        |
//!    Claimant --reads, asks the --> Holder --reserves numbers, records cuts,   v
//!              home to yield,               answers those who ask it to yield  stopped: the publisher is closed
//!              compare-and-set
//! ```
//!
//! [`Claimant`] is a newcomer's side, [`Holder`] a home's. [`Lease`] says until when a node may go on by itself, [`Ending`]
//! ends sessions that have no home. [`takeover`] has the records that claims write, as functions.
//!
//! Each machine has one request to the registry on its way at most: [`RegistryRequest`] comes out of `poll_request`, what
//! became of it goes in by `handle_reply`. A request without an answer is [`RegistryReply::Unknown`] after a second. What
//! they rely on: a write compares the record's revision in one step with writing it, reads see all acknowledged writes, and
//! `written` is the registry's to fill in. Nothing else: messages may be lost, late, doubled and out of order, a write may
//! be made long after its sender gave up, clocks may differ and leases may end at any time without two homes using one
//! number. Clocks matter for liveness alone, and no node's clock is compared with another's.
//!
//! Not here: the log (who feeds a claim's outcome into it, and its parts from home to home), where nodes are, and which
//! transaction carries a write.

mod claimant;
mod ending;
mod holder;
mod lease;
mod messages;
pub mod takeover;

pub use claimant::{Claimant, Denied, Newcomer, Outcome};
pub use ending::Ending;
pub use holder::{Event, Holder, NotHolding, Stop, Waits};
pub use lease::Lease;
pub use messages::{PeerReply, RegistryReply, RegistryRequest, RequestId, Sealed, SealedRendition, Yield, YieldId};
pub use takeover::{Base, Claimed};
