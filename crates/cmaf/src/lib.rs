//! CMAF: init segments and chunks, written and read, sans-IO.
