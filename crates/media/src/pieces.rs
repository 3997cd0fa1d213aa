//! Bytes that lie in several places and are not put together.

use std::sync::Arc;

use bytes::Bytes;

/// Bytes in pieces that are shared with whoever has them, too: what is written of a sample that the log keeps anyway costs
/// no memory. To be cloned like [`Bytes`].
#[derive(Clone, Debug, Default)]
pub struct Pieces {
    pieces: Arc<[Bytes]>,
    length: usize,
}

impl Pieces {
    /// How many bytes there are.
    pub const fn len(&self) -> usize {
        self.length
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// The pieces in order.
    pub fn iter(&self) -> impl Iterator<Item = &Bytes> {
        self.pieces.iter()
    }

    /// All bytes in one place; a copy, unless they are one piece.
    pub fn to_bytes(&self) -> Bytes {
        match &*self.pieces {
            [piece] => piece.clone(),
            pieces => pieces.concat().into(),
        }
    }
}

impl FromIterator<Bytes> for Pieces {
    fn from_iter<I: IntoIterator<Item = Bytes>>(pieces: I) -> Self {
        let pieces: Arc<[Bytes]> = pieces.into_iter().collect();
        Self { length: pieces.iter().map(Bytes::len).sum(), pieces }
    }
}

impl From<Bytes> for Pieces {
    fn from(bytes: Bytes) -> Self {
        Self::from_iter([bytes])
    }
}

/// Where bytes are cut does not matter.
impl PartialEq for Pieces {
    fn eq(&self, other: &Self) -> bool {
        self.length == other.length && self.to_bytes() == other.to_bytes()
    }
}
impl Eq for Pieces {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_their_bytes() {
        let pieces: Pieces = ["one ", "", "two"].map(Bytes::from).into_iter().collect();
        assert_eq!((pieces.len(), pieces.iter().count(), pieces.is_empty()), (7, 3, false));
        assert_eq!(pieces.to_bytes(), "one two");
        assert_eq!(pieces, Bytes::from_static(b"one two").into());
        assert_ne!(pieces, Bytes::from_static(b"one too").into());
        assert!(Pieces::default().is_empty() && Pieces::default().to_bytes().is_empty());
    }
}
