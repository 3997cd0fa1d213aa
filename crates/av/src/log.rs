//! libav's log.

use std::sync::Once;

use ffmpeg_sys_next as ffi;

static QUIET: Once = Once::new();

/// Keeps libav and the libraries behind it (x264 logs through it) from writing to stderr. Called before the first
/// object of each kind is made.
pub(crate) fn silence() {
    QUIET.call_once(|| {
        // SAFETY: av_log_set_level stores one integer and may be called at any time.
        unsafe { ffi::av_log_set_level(ffi::AV_LOG_QUIET) }
    });
}
