//! FLV tags and files, sans-IO.
