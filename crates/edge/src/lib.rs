//! The HTTP service: playlists, parts, waiting, cache headers.
