//! A stream's poster: made because it is asked for, and for some seconds the same for all.

use std::sync::Arc;
use std::time::Duration;

use headwater_media::StreamName;
use http::{Response, StatusCode};
use tokio::time::timeout_at;

use crate::Edge;
use crate::body::Buffers;
use crate::response::{self, Caching, refusal};
use crate::routes::{deadline, not_live};

/// A picture is made within some hundredths of a second; there may be some others to make first.
const WAIT: Duration = Duration::from_secs(1);

/// The poster of `stream`. One that is too old is made anew, for which the request is held; the old one is sent when
/// that takes too long.
pub(crate) async fn answer(edge: &Arc<Edge>, stream: &StreamName, may_wait: bool) -> Response<Buffers> {
    let Some(log) = edge.deps.log.find(stream).await else { return not_live(stream) };
    let posters = &edge.deps.posters;
    let Some(interval) = posters.interval() else {
        return refusal(StatusCode::NOT_FOUND, Caching::Seconds(60), "this server makes no posters");
    };
    let mut newest = log.poster();
    if may_wait && posters.is_due(&log, edge.deps.clock.now()) {
        let Some(_hold) = edge.hold() else { return response::overloaded() };
        posters.want(&log);
        let _ = timeout_at(deadline(WAIT), newest.changed()).await.map(drop);
    }
    let jpeg = newest.borrow().as_ref().and_then(|poster| poster.jpeg.clone());
    match jpeg {
        Some(jpeg) => {
            let seconds = u32::try_from(interval.as_secs() / 2).unwrap_or(u32::MAX);
            response::with(StatusCode::OK, response::JPEG_TYPE, Caching::Seconds(seconds), jpeg)
        }
        None => refusal(StatusCode::NOT_FOUND, Caching::Seconds(1), &format!("{stream} has no poster")),
    }
}
