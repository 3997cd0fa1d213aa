//! `headwater record`: takes one publisher, whatever it sends, and writes it down.
//!
//! Nothing is decoded or decided here: a file shows what an encoder really sends, also when it is nothing that could be
//! served.

mod files;
mod report;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bytes::BytesMut;
use headwater_flv::{Tag, TagType};
use headwater_media::Clock;
use headwater_rtmp::{Event, MediaMessage, ServerConfig, ServerSession, StatusCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};

use files::Files;
pub(crate) use report::Report;

/// What is recorded where.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) address: SocketAddr,
    pub(crate) file: PathBuf,
    /// For the bytes of the connection.
    pub(crate) raw: Option<PathBuf>,
    /// Files that are there are written over.
    pub(crate) force: bool,
}

/// Records one publisher to its end, or to `shutdown`. The error is a sentence for the person who started it.
pub(crate) async fn run(job: &Job, clock: &dyn Clock, shutdown: impl Future<Output = ()>) -> Result<Report> {
    let listener = TcpListener::bind(job.address).await.with_context(|| format!("cannot listen on {}", job.address))?;
    record(job, listener, clock, shutdown).await
}

async fn record(
    job: &Job,
    listener: TcpListener,
    clock: &dyn Clock,
    shutdown: impl Future<Output = ()>,
) -> Result<Report> {
    let mut shutdown = std::pin::pin!(shutdown);
    let mut files = Files::create(&job.file, job.raw.as_deref(), job.force)?;
    tracing::info!(address = %listener.local_addr()?, "listening for one RTMP publisher");
    if let Some(raw) = &job.raw {
        tracing::warn!(file = %raw.display(), "the stream key is in this file: change the key before you hand it on");
    }
    loop {
        let (socket, peer) = tokio::select! {
            accepted = listener.accept() => accepted.context("cannot accept a connection")?,
            () = &mut shutdown => {
                files.remove();
                bail!("nobody published, nothing was recorded");
            }
        };
        // Without this a publisher waits 40 ms for each of our replies.
        socket.set_nodelay(true).context("cannot set TCP_NODELAY")?;
        let mut connection = Connection::new(socket, clock, &mut files);
        let reason = connection.drive(&mut shutdown).await?;
        if let Some(report) = connection.report.take() {
            files.finish(report.has_audio(), report.has_video())?;
            return Ok(report.ended(reason));
        }
        tracing::info!(%peer, reason, "this one did not publish; listening on");
        files.rewind()?;
    }
}

/// A connection that may become a recording.
struct Connection<'a> {
    socket: TcpStream,
    clock: &'a dyn Clock,
    session: ServerSession,
    files: &'a mut Files,
    /// What came since a publish was accepted.
    report: Option<Report>,
}

/// What ended a wait.
enum Woken {
    Read(std::io::Result<usize>),
    Time,
    Stop,
}

impl<'a> Connection<'a> {
    fn new(socket: TcpStream, clock: &'a dyn Clock, files: &'a mut Files) -> Self {
        let now = clock.now();
        let session = ServerSession::new(now, ServerConfig::default(), now.as_nanos());
        Self { socket, clock, session, files, report: None }
    }

    /// Runs until the connection is over. Gives the reason; an error is one of our own files.
    async fn drive(&mut self, shutdown: &mut (impl Future<Output = ()> + Unpin)) -> Result<String> {
        let mut input = BytesMut::with_capacity(READ_BYTES);
        let mut stopping = false;
        let mut ended = None;
        loop {
            while let Some(event) = self.session.poll_event() {
                match event {
                    Event::PublishEnded { clean: true } => ended = Some("the publisher unpublished".to_owned()),
                    Event::Close => return Ok(ended.unwrap_or_default()),
                    event => {
                        if let Some(reason) = self.handle(event)? {
                            return Ok(reason);
                        }
                    }
                }
            }
            if !self.transmit().await {
                return Ok(ended.unwrap_or_else(|| "the publisher took no more replies".to_owned()));
            }
            let pause = self.session.poll_timeout().map_or(FOREVER, |at| at.saturating_since(self.clock.now()));
            input.clear();
            let woken = tokio::select! {
                read = self.socket.read_buf(&mut input) => Woken::Read(read),
                () = sleep(pause) => Woken::Time,
                () = &mut *shutdown, if !stopping => Woken::Stop,
            };
            let now = self.clock.now();
            let done = match woken {
                Woken::Read(Ok(0)) => Err("the publisher closed the connection without a word".to_owned()),
                Woken::Read(Ok(_)) => {
                    self.files.write_raw(&input)?;
                    self.session.handle_input(now, &input).map_err(|error| not_rtmp(&error))
                }
                Woken::Read(Err(error)) => Err(format!("the connection broke: {error}")),
                Woken::Time => self.session.handle_timeout(now).map_err(|error| error.to_string()),
                Woken::Stop => {
                    stopping = true;
                    ended.get_or_insert_with(|| "stopped here".to_owned());
                    self.session.close_with_status(now, StatusCode::AppShutdown, "The recording has ended.");
                    Ok(())
                }
            };
            if let Err(reason) = done {
                // What came before the end is still in line.
                while let Some(event) = self.session.poll_event() {
                    self.handle(event)?;
                }
                return Ok(ended.unwrap_or(reason));
            }
        }
    }

    /// Takes part, and writes down. Gives the reason when the connection is over by that.
    fn handle(&mut self, event: Event) -> Result<Option<String>> {
        let now = self.clock.now();
        let answered = match event {
            Event::ConnectRequest(_) => self.session.accept_connect(now),
            Event::PublishRequest(request) => {
                let report = Report::new(&request.connect);
                tracing::info!(encoder = report.encoder(), "recording");
                self.report = Some(report);
                self.session.accept_publish(now, request.id)
            }
            Event::Audio(message) => return self.record(TagType::Audio, message),
            Event::Video(message) => return self.record(TagType::Video, message),
            Event::Data(message) => return self.record(TagType::Script, message),
            _ => Ok(()),
        };
        Ok(answered.err().map(|error| not_rtmp(&error)))
    }

    fn record(&mut self, kind: TagType, message: MediaMessage) -> Result<Option<String>> {
        let tag = Tag { kind, timestamp: message.timestamp, body: message.payload };
        if let Some(report) = &mut self.report {
            report.add(&tag);
        }
        self.files.write(&tag)?;
        Ok(None)
    }

    /// `false` when the peer does not take what it is told.
    async fn transmit(&mut self) -> bool {
        let write = async {
            while let Some(bytes) = self.session.poll_transmit() {
                self.socket.write_all(&bytes).await?;
            }
            std::io::Result::Ok(())
        };
        // A publisher that has closed still has bytes on their way to us: reading finds the end.
        timeout(WRITE_TIMEOUT, write).await.is_ok()
    }
}

fn not_rtmp(error: &headwater_rtmp::Error) -> String {
    format!("the publisher broke the protocol: {error}")
}

/// Bytes taken from the socket at once.
const READ_BYTES: usize = 64 << 10;
/// A peer that does not take our few replies for this long is gone.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// With nothing to wait for, a day is as good as for ever.
const FOREVER: Duration = Duration::from_secs(86_400);

#[cfg(test)]
mod tests;
