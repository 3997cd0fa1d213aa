//! `headwater serve`: all services in one process, with the embedded backends.

use std::sync::Arc;

use anyhow::{Context, Result};
use headwater_av::{Size, VideoEncoderConfig};
use headwater_edge::Edge;
use headwater_ingest::{Ingest, Listeners, Sessions, Tls, TlsError};
use headwater_media::{Clock, FrameRate, VideoCoding};
use headwater_router::{Ladder, Posters};
use headwater_transcode::Faults;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry as Metrics, Unit};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Mutex, watch};

use crate::admin::{self, Admin};
use crate::backends::Backends;
use crate::clock::SystemClock;
use crate::config::{Config, ConfigError, Notice};
use crate::shutdown::{Request, Requests};
use crate::sockets::Sockets;
use crate::{pages, reload};

/// What a process does.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Role {
    /// Everything.
    Serve,
    /// Takes publishers.
    Ingest,
    /// Makes gears.
    Transcode,
    /// Serves players.
    Edge,
}

impl Role {
    fn takes(self) -> bool {
        matches!(self, Self::Serve | Self::Ingest)
    }

    pub(crate) fn makes(self) -> bool {
        matches!(self, Self::Serve | Self::Transcode)
    }

    fn serves(self) -> bool {
        matches!(self, Self::Serve | Self::Edge)
    }

    /// The subcommand.
    pub(crate) fn command(self) -> &'static str {
        match self {
            Self::Serve => "serve",
            Self::Ingest => "ingest",
            Self::Transcode => "transcode",
            Self::Edge => "edge",
        }
    }
}

/// Runs until it is asked to stop: then publishers are told, sessions end, and players get EXT-X-ENDLIST; with a `state_dir` and
/// SIGTERM sessions do not end, the next process goes on with them. `read` reads the configuration again, on SIGHUP.
pub(crate) async fn run(
    role: Role,
    config: Config,
    mut sockets: Sockets,
    read: impl Fn() -> Result<(Config, Vec<Notice>), ConfigError>,
) -> Result<()> {
    // It listens for signals before anybody is told that we are there.
    let requests = Mutex::new(Requests::listen());
    if role.makes() {
        check_encoder(&config.ladder, headwater_av::probe)?;
        for coding in VideoCoding::ALL {
            if let Err(error) = headwater_av::probe_decoder(coding) {
                tracing::warn!(%error, %coding, "streams of this codec will have no gears and no posters");
            }
        }
    }
    let certificate = tls(&config)?;
    // Without a listener the signal would end the process.
    let hangup = signal(SignalKind::hangup()).context("cannot listen for SIGHUP")?;
    let taking = match role.takes() {
        true => Some(Listeners {
            rtmp: sockets.listen("RTMP", config.rtmp)?,
            rtmps: match &config.rtmps {
                Some(rtmps) => Some(sockets.listen("RTMPS", rtmps.address)?),
                None => None,
            },
        }),
        false => None,
    };
    let http = if role.serves() { Some(sockets.listen("HTTP", config.http)?) } else { None };
    let admin = sockets.listen("the API and metrics", config.admin)?;

    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let mut metrics = Metrics::with_prefix("headwater");
    let Backends { registry, peers, log, queue, pool } =
        Backends::open(&config, &clock, &mut metrics, &mut sockets).await?;
    drop(sockets);
    // They are made where they are asked for.
    let posters = Arc::new(Posters::new(config.transcode.poster_interval.filter(|_| role.makes())));
    let ingest_deps = headwater_ingest::Deps {
        clock: clock.clone(),
        registry,
        peers,
        log: log.clone(),
        queue: queue.clone(),
        metrics: Arc::new(headwater_ingest::Metrics::new(&mut metrics, clock.clone())),
    };
    let ingest = Arc::new(Ingest::new(config.ingest(certificate), ingest_deps));
    let faults = Arc::new(Faults::default());
    let transcode_deps = headwater_transcode::Deps {
        clock: clock.clone(),
        log: log.clone(),
        queue,
        faults: faults.clone(),
        posters: posters.clone(),
        metrics: Arc::new(headwater_transcode::Metrics::new(&mut metrics, clock.clone())),
    };
    let edge_deps = headwater_edge::Deps {
        clock: clock.clone(),
        log: log.clone(),
        posters,
        metrics: Arc::new(headwater_edge::Metrics::new(&mut metrics, clock.clone())),
        assets: pages::find,
    };
    let edge = Arc::new(Edge::new(config.edge(), edge_deps));
    let faults = config.fault_points.then_some(faults);
    let log_media = Gauge::default();
    metrics.register_with_unit("log_media", "Media that the streams' logs keep", Unit::Bytes, log_media.clone());
    let admin_state = Admin {
        clock,
        log,
        edge: edge.clone(),
        ingest: ingest.clone(),
        token: config.admin_token.clone(),
        metrics,
        log_media,
        faults,
    };

    if role.takes() {
        // Before anybody is answered: players that were here before would take 404 for the end.
        ingest.resume().await;
    }
    let when_terminated = match (&pool, &config.state_dir) {
        (Some(_), _) => Sessions::HandOver,
        (None, Some(_)) => Sessions::Keep,
        (None, None) => Sessions::End,
    };
    let asked = async {
        let request = requests.lock().await.next().await;
        if request == Request::Terminate { when_terminated } else { Sessions::End }
    };
    let asked_again = async { _ = requests.lock().await.next().await };

    // Services that follow streams stop when ingest has ended them all, so that the last parts are made and served.
    let ended = watch::Sender::new(false);
    let stopped = || {
        let mut ended = ended.subscribe();
        async move {
            let _ = ended.wait_for(|ended| *ended).await;
        }
    };
    let taking = async {
        match taking {
            Some(listeners) => headwater_ingest::run(listeners, ingest.clone(), asked, asked_again).await,
            None => _ = asked.await,
        }
        ended.send_replace(true);
    };
    let making = async {
        if role.makes() {
            headwater_transcode::run(config.transcode(), transcode_deps, stopped()).await;
        }
    };
    let serving = async {
        if let Some(http) = http {
            headwater_edge::run(http, edge, stopped()).await;
        }
    };
    let pooling = async {
        match pool {
            Some(pool) => pool.serve(ingest.clone(), stopped()).await,
            None => Ok(()),
        }
    };
    let services = async { tokio::join!(taking, making, serving, pooling, admin::run(admin, admin_state, stopped())) };
    tokio::select! {
        (_, _, _, pool, admin) = services => pool.and(admin.context("the admin server failed")),
        () = reload::follow(hangup, role, &config, read, &ingest) => Ok(()),
    }
}

/// The certificate of RTMPS, if that is on.
pub(crate) fn tls(config: &Config) -> Result<Option<Tls>, TlsError> {
    config.rtmps.as_ref().map(|rtmps| Tls::from_files(&rtmps.certificate, &rtmps.key)).transpose()
}

/// Gears that cannot be made are said at the start and not when the first publisher comes.
pub(crate) fn check_encoder(ladder: &Ladder, probe: impl FnOnce() -> Result<(), headwater_av::Error>) -> Result<()> {
    if ladder.gears.is_empty() {
        return Ok(());
    }
    probe().context("cannot make gears (the ladder `none` needs no encoder)")?;
    for gear in &ladder.gears {
        let size = Size { width: gear.width, height: gear.height };
        let config = VideoEncoderConfig {
            preset: gear.preset.to_string(),
            tune: gear.tune.to_string(),
            profile: gear.profile.to_string(),
            ..VideoEncoderConfig::live(size, FrameRate::FPS_30, gear.bitrate_kbps.saturating_mul(1000))
        };
        config.check().with_context(|| format!("cannot make the gear {}", gear.name))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use headwater_router::Gear;

    use super::*;

    #[test]
    fn a_missing_encoder_is_one_sentence_unless_nothing_is_encoded() {
        let missing = || Err(headwater_av::Error::MissingCodec { name: "libx264", kind: "encoder" });
        check_encoder(&Ladder::default(), missing).unwrap();
        let text = format!("{:#}", check_encoder(&Ladder::hd(), missing).unwrap_err());
        assert!(text.contains("has no libx264 encoder") && text.contains("`none`"), "{text}");
        assert_eq!(text.lines().count(), 1);
    }

    #[test]
    fn every_word_that_the_file_takes_is_one_that_the_encoder_takes() {
        for (preset, tune, profile) in crate::config::encoder_words() {
            let gear = Gear {
                preset: preset.into(),
                tune: tune.into(),
                profile: profile.into(),
                ..Gear::new(640, 360, 730, "superfast")
            };
            check_encoder(&Ladder { gears: vec![gear] }, || Ok(())).unwrap();
        }
    }
}
