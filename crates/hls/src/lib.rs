//! Low-Latency HLS playlists: window in, text and decisions out. Sans-IO.
