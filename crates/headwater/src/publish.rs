//! `headwater publish`: sends an FLV file to an RTMP server in real time, its tag bodies as they are.

mod connect;
mod pace;
mod source;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use bytes::{Buf, Bytes, BytesMut};
use headwater_media::{Clock, Instant};
use headwater_rtmp::{ClientConfig, ClientEvent, ClientSession, CodecUse, Extensions, Offers, PublishUrl, Scheme};
use tokio::io::{AsyncReadExt, AsyncWriteExt, split};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use connect::Socket;
use source::TimedTag;

/// What is published where.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) file: PathBuf,
    pub(crate) url: PublishUrl,
    /// Certificates to trust in place of the system's.
    pub(crate) tls_ca: Option<PathBuf>,
    /// From the front again at the end of the file, for ever.
    pub(crate) repeat: bool,
}

/// Publishes until the end of the file or `shutdown`, and unpublishes cleanly. The error is a sentence for the person
/// who started it.
pub(crate) async fn run(job: Job, clock: Arc<dyn Clock>, shutdown: impl Future<Output = ()>) -> Result<()> {
    let mut shutdown = std::pin::pin!(shutdown);
    ensure!(job.tls_ca.is_none() || job.url.scheme == Scheme::Rtmps, "--tls-ca is for a URL that begins with rtmps://");
    // A file that is none is found before anyone is asked to take it.
    let mut tags = source::open(&job.file, job.repeat)?;
    let first = tags.recv().await.context("the file has no tags")??;
    let socket = tokio::select! {
        socket = connect::open(&job.url, job.tls_ca.as_deref()) => socket?,
        () = &mut shutdown => return Ok(()),
    };

    let now = clock.now();
    let config = ClientConfig::new(&job.url, concat!("headwater/", env!("CARGO_PKG_VERSION")));
    let config = ClientConfig { offers: OFFERS, ..config };
    let mut publisher = Publisher {
        server: format!("{}:{}", job.url.host, job.url.port),
        session: ClientSession::new(now, config, now.as_nanos()),
        clock,
        socket,
        outgoing: Bytes::new(),
        unflushed: false,
        next: Some(first),
        tags,
        phase: Phase::Asking,
    };
    publisher.drive(shutdown).await
}

struct Publisher {
    /// `host:port`, for messages. The rest of the URL may be a key.
    server: String,
    session: ClientSession,
    clock: Arc<dyn Clock>,
    socket: Socket,
    /// What the socket has not taken yet. No tag is sent before it has.
    outgoing: Bytes,
    /// The socket may keep some of what it took: TLS keeps what it could not write at once.
    unflushed: bool,
    /// The tag that is sent when its time has come.
    next: Option<TimedTag>,
    tags: mpsc::Receiver<Result<TimedTag>>,
    phase: Phase,
}

enum Phase {
    /// The server has not said yes.
    Asking,
    /// It has, at `since`: tags count their time from there.
    Sending { since: Instant },
    /// Unpublished; the server may take until `until` to read and confirm it.
    Ending { until: Instant, failure: Option<anyhow::Error> },
}

/// What ended a wait.
enum Woken {
    Read(std::io::Result<usize>),
    /// So many bytes; none: all that was written before is on its way.
    Written(std::io::Result<usize>),
    Tag(Option<Result<TimedTag>>),
    Due,
    Time,
    Stop,
}

impl Publisher {
    async fn drive(&mut self, mut shutdown: impl Future<Output = ()> + Unpin) -> Result<()> {
        let mut input = BytesMut::with_capacity(READ_BYTES);
        loop {
            if self.handle_events()? {
                return self.leave().await;
            }
            if self.outgoing.is_empty() {
                self.outgoing = self.session.poll_transmit().unwrap_or_default();
            }
            input.clear();
            let woken = self.wait(&mut input, &mut shutdown).await;
            let now = self.clock.now();
            match woken {
                Woken::Read(Ok(0) | Err(_)) if self.is_ending() => return self.leave().await,
                Woken::Read(Ok(0)) => bail!("{} closed the connection", self.server),
                Woken::Read(Ok(_)) => {
                    self.session.handle_input(now, &input).with_context(|| self.server.clone())?;
                }
                Woken::Read(Err(error)) => return Err(self.lost(error)),
                Woken::Written(Ok(length)) => {
                    self.outgoing.advance(length);
                    self.unflushed = length > 0;
                }
                Woken::Written(Err(error)) => return Err(self.last_status(error).await),
                Woken::Tag(Some(Ok(tag))) => self.next = Some(tag),
                Woken::Tag(Some(Err(error))) => self.end(now, Some(error)),
                Woken::Tag(None) => self.end(now, None),
                Woken::Due => self.send()?,
                Woken::Time if self.is_ending() => return self.leave().await,
                Woken::Time => self.session.handle_timeout(now).with_context(|| self.server.clone())?,
                Woken::Stop => self.end(now, None),
            }
        }
    }

    /// Waits for whatever comes first.
    async fn wait(&mut self, input: &mut BytesMut, shutdown: &mut (impl Future<Output = ()> + Unpin)) -> Woken {
        let now = self.clock.now();
        let ending = self.is_ending();
        let due = match (&self.phase, &self.next) {
            (Phase::Sending { since }, Some(tag)) if !self.is_writing() => Some(*since + tag.after),
            _ => None,
        };
        let limit = match &self.phase {
            Phase::Ending { until, .. } => Some(*until),
            _ => self.session.poll_timeout(),
        };
        let until = |at: Option<Instant>| at.map_or(FOREVER, |at| at.saturating_since(now));
        let writes = self.is_writing();
        let outgoing = &self.outgoing;
        let (mut reading, mut writing) = split(&mut self.socket);
        let write = async {
            if outgoing.is_empty() { writing.flush().await.map(|()| 0) } else { writing.write(outgoing).await }
        };
        tokio::select! {
            read = reading.read_buf(input) => Woken::Read(read),
            written = write, if writes => Woken::Written(written),
            tag = self.tags.recv(), if self.next.is_none() && !ending => Woken::Tag(tag),
            () = sleep(until(due)), if due.is_some() => Woken::Due,
            () = sleep(until(limit)) => Woken::Time,
            () = shutdown, if !ending => Woken::Stop,
        }
    }

    /// The socket has not taken or not sent all that it was given.
    fn is_writing(&self) -> bool {
        !self.outgoing.is_empty() || self.unflushed
    }

    /// Whether it is over.
    fn handle_events(&mut self) -> Result<bool> {
        while let Some(event) = self.session.poll_event() {
            match event {
                ClientEvent::Accepted => {
                    tracing::info!(server = self.server, "publishing");
                    self.phase = Phase::Sending { since: self.clock.now() };
                }
                ClientEvent::Rejected { code, description } => return Err(self.rejected(&code, &description)),
                ClientEvent::Unpublished if self.is_ending() => return Ok(true),
                _ => {}
            }
        }
        Ok(false)
    }

    /// Sends the tag whose time has come.
    fn send(&mut self) -> Result<()> {
        let Some(tag) = self.next.take() else { return Ok(()) };
        self.session.send(tag.kind, tag.timestamp, &tag.body).context("a tag of the file cannot be sent")
    }

    /// No more tags are sent.
    fn end(&mut self, now: Instant, failure: Option<anyhow::Error>) {
        // Without a yes there is nothing that the server could confirm.
        let patience = if let Phase::Sending { .. } = self.phase { UNPUBLISH_TIMEOUT } else { Duration::ZERO };
        self.session.unpublish();
        self.phase = Phase::Ending { until: now + patience, failure };
    }

    fn is_ending(&self) -> bool {
        matches!(self.phase, Phase::Ending { .. })
    }

    /// The connection is closed in order, as far as the server still takes part.
    async fn leave(&mut self) -> Result<()> {
        let _ = timeout(UNPUBLISH_TIMEOUT, self.socket.shutdown()).await;
        match &mut self.phase {
            Phase::Ending { failure: Some(_), .. } => {}
            _ => tracing::info!(server = self.server, "unpublished"),
        }
        match &mut self.phase {
            Phase::Ending { failure, .. } => failure.take().map_or(Ok(()), Err),
            _ => Ok(()),
        }
    }

    /// The server took no more bytes. It may have said why just before.
    async fn last_status(&mut self, error: std::io::Error) -> anyhow::Error {
        let mut input = BytesMut::with_capacity(READ_BYTES);
        let read_on = async {
            while let Ok(1..) = self.socket.read_buf(&mut input).await {
                if self.session.handle_input(self.clock.now(), &input.split()).is_err() {
                    return;
                }
            }
        };
        let _ = timeout(UNPUBLISH_TIMEOUT, read_on).await;
        self.handle_events().err().unwrap_or_else(|| self.lost(error))
    }

    fn lost(&self, error: std::io::Error) -> anyhow::Error {
        anyhow::Error::new(error).context(format!("the connection to {} broke", self.server))
    }

    fn rejected(&self, code: &str, description: &str) -> anyhow::Error {
        let what = if let Phase::Asking = self.phase { "refused" } else { "ended" };
        // What a server writes goes to a terminal: one line, nothing that controls it.
        let plain = |text: &str| -> String {
            text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(STATUS_CHARS_MAX).collect()
        };
        anyhow!("{} {what} the stream: {}: {}", self.server, plain(code), plain(description))
    }
}

/// A file may have any codec and anything that tags can say.
const OFFERS: Offers = Offers {
    video: &[("*", CodecUse::FORWARD)],
    audio: &[("*", CodecUse::FORWARD)],
    extensions: Extensions::MULTITRACK.with(Extensions::MOD_EX).with(Extensions::NANOSECONDS),
};
/// Bytes taken from the socket at once.
const READ_BYTES: usize = 16 << 10;
/// How long the server may take to read the rest and confirm the end.
const UNPUBLISH_TIMEOUT: Duration = Duration::from_secs(1);
/// With nothing to wait for, a day is as good as for ever.
const FOREVER: Duration = Duration::from_secs(86_400);
/// What is shown of a status.
const STATUS_CHARS_MAX: usize = 300;

#[cfg(test)]
mod tests;
