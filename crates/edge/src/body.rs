//! A response body of several shared buffers: a segment is sent as its parts, without putting them together.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use headwater_media::Pieces;
use http_body::{Body, Frame, SizeHint};

/// Buffers to send one after another.
#[derive(Debug, Default)]
pub(crate) struct Buffers(VecDeque<Bytes>);

impl Buffers {
    /// Leaves empty buffers out.
    pub(crate) fn new(buffers: impl IntoIterator<Item = Bytes>) -> Self {
        Self(buffers.into_iter().filter(|buffer| !buffer.is_empty()).collect())
    }

    /// The parts of a segment.
    pub(crate) fn of(parts: &[Pieces]) -> Self {
        Self::new(parts.iter().flat_map(Pieces::iter).cloned())
    }

    /// `length` bytes from `start`, as far as they are there.
    pub(crate) fn slice(self, mut start: u64, mut length: u64) -> Self {
        Self::new(self.0.into_iter().map(|buffer| {
            let size = buffer.len() as u64;
            let from = start.min(size);
            let taken = length.min(size - from);
            (start, length) = (start - from, length - taken);
            // Both are at most the buffer's length.
            let end = usize::try_from(from + taken).unwrap_or(buffer.len());
            buffer.slice(usize::try_from(from).unwrap_or(end)..end)
        }))
    }

    #[cfg(test)]
    pub(crate) fn concat(self) -> Bytes {
        self.0.into_iter().flatten().collect()
    }
}

impl From<Pieces> for Buffers {
    fn from(pieces: Pieces) -> Self {
        Self::of(&[pieces])
    }
}

impl From<Bytes> for Buffers {
    fn from(buffer: Bytes) -> Self {
        Self::new([buffer])
    }
}

impl Body for Buffers {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        Poll::Ready(self.0.pop_front().map(|buffer| Ok(Frame::data(buffer))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.iter().map(|buffer| buffer.len() as u64).sum())
    }
}
