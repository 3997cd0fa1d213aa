//! The clock picture as raw yuv420p. Grey frames until the picture itself is drawn.

use std::io::Write;
use std::time::Duration;

use anyhow::Result;

/// Writes `fps` frames a second of `width` x `height` to `out`, in real time, for `seconds` or until `out` is closed.
pub(crate) fn run(width: u32, height: u32, fps: u32, seconds: Option<u64>, out: &mut impl Write) -> Result<()> {
    let bytes = usize::try_from(width * height * 3 / 2)?;
    let frame = vec![128; bytes];
    for _ in 0..seconds.map_or(u64::MAX, |seconds| seconds * u64::from(fps)) {
        out.write_all(&frame)?;
        std::thread::sleep(Duration::from_secs(1) / fps);
    }
    Ok(())
}
