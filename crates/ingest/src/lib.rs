//! The RTMP service: listener and connections.
