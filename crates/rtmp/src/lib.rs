//! RTMP 1.0, sans-IO: server session and publishing client.
