//! Who publishes a home's stream.

/// A publisher's place: counted up with each one. Every call of a connection names its seat, so that nothing of a publisher
/// that lost the stream gets in.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Seat {
    /// Counts publishers of this home.
    pub(crate) number: u64,
    /// Why the publisher has to go.
    pub(crate) gone: Option<Gone>,
}

/// Why a publisher has to go.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum Gone {
    /// Another one has the stream.
    #[error("another publisher has taken the stream over")]
    TakenOver,
    /// The operator said so.
    #[error("the operator has ended this stream")]
    Kicked,
    /// This node does not know any more whether the stream is its own.
    #[error("the server has lost touch with its registry; try again")]
    LeaseOver,
}

impl Seat {
    /// Why the publisher of seat `own` has to go, if it has to.
    pub(crate) fn gone_for(self, own: u64) -> Option<Gone> {
        if self.number == own { self.gone } else { Some(Gone::TakenOver) }
    }
}
