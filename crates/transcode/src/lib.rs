//! The transcoding service: one decode, scaled and encoded per gear.
