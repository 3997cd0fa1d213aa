//! The timeline that stamps samples at ingest, and the packager that turns samples into parts. Sans-IO.
