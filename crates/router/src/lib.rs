//! The stream's log, the claim, the transcoder queue: traits and embedded backends.
