//! Posters: the newest IDR of a stream as a small JPEG, for whoever asks. One at a time, in the order of asking.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use headwater_av::{Error, Size, VideoDecoder, jpeg};
use headwater_media::{StampedVideo, Timescale};
use headwater_router::{Poster, StreamLog};
use tokio::sync::watch;
use tokio::time::timeout;
use tracing::warn;

use crate::Deps;

/// Longest side of a poster in pixels. Smaller pictures keep their size.
const SIDE_MAX: u32 = 640;
/// A picture takes some milliseconds; one that takes this long is left behind.
const PATIENCE: Duration = Duration::from_secs(2);

/// Makes posters until `stop`.
pub(crate) async fn run(deps: Deps, mut stop: watch::Receiver<bool>) {
    loop {
        let log = tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            log = deps.posters.next() => log,
        };
        // It may have been made while this request waited.
        if deps.posters.is_due(&log, deps.clock.now()) {
            log.put_poster(make(&deps, &log).await);
        }
    }
}

/// The poster after the one that the log has: of the newest IDR, or the same when that one was looked at already.
async fn make(deps: &Deps, log: &Arc<StreamLog>) -> Poster {
    let last = log.poster().borrow().as_deref().cloned().unwrap_or_default();
    let poster = Poster { looked: deps.clock.now(), ..last };
    let Some(idr) = log.newest_idr().filter(|idr| Some(idr.slot) != poster.slot) else { return poster };
    let slot = Some(idr.slot);
    let problem = match timeout(PATIENCE, tokio::task::spawn_blocking(move || picture(&idr))).await {
        Ok(Ok(Ok(jpeg))) => {
            deps.metrics.posters.inc();
            return Poster { slot, jpeg: Some(jpeg), ..poster };
        }
        Ok(Ok(Err(error))) => error.to_string(),
        Ok(Err(panic)) => panic.to_string(),
        Err(_) => "the decoder hangs".to_owned(),
    };
    deps.metrics.decode_errors.inc();
    if poster.failures == 0 {
        let session = log.session();
        warn!(stream = %session.stream, session = %session.id, %problem, "no poster can be made");
    }
    Poster { slot, failures: poster.failures.saturating_add(1), ..poster }
}

/// An IDR as a JPEG.
fn picture(idr: &StampedVideo) -> Result<Bytes, Error> {
    let mut decoder = VideoDecoder::new(&idr.config, Timescale::VIDEO)?;
    decoder.send(&idr.data, 0, 0)?;
    decoder.finish()?;
    let damaged = |text: &str| Error::Damaged { action: "decoding", text: text.to_owned() };
    let frame = decoder.receive()?.ok_or_else(|| damaged("no picture"))?;
    if frame.is_damaged() {
        return Err(damaged("parts of a picture"));
    }
    jpeg(&frame, fitted(frame.size(), frame.sample_aspect()))
}

/// The size in which a picture of `size` is shown, made to fit into a square of [`SIDE_MAX`].
fn fitted(size: Size, sample_aspect: (u32, u32)) -> Size {
    let shown_width = u64::from(size.width) * u64::from(sample_aspect.0) / u64::from(sample_aspect.1.max(1));
    let side = u32::try_from(shown_width.max(size.height.into())).unwrap_or(SIDE_MAX).min(SIDE_MAX);
    size.fit_within(sample_aspect, Size { width: side, height: side })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn posters_have_the_shape_of_the_shown_picture_and_are_never_larger() {
        for (size, sample_aspect, wanted) in [
            ((1920, 1080), (1, 1), (640, 360)),
            ((1080, 1920), (1, 1), (360, 640)),
            ((320, 180), (1, 1), (320, 180)),
            ((720, 576), (64, 45), (640, 360)),
            ((352, 288), (12, 11), (384, 288)),
            ((640, 480), (1, 2), (320, 480)),
        ] {
            let fitted = fitted(Size { width: size.0, height: size.1 }, sample_aspect);
            assert_eq!((fitted.width, fitted.height), wanted, "{size:?} {sample_aspect:?}");
        }
    }
}
