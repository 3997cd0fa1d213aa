//! Starting the program: `run`, and `demo` with a picture to look at.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::process::{Running, built, cargo, now, say, succeed};
use crate::{http, packages, web};

/// The stream that the demo publishes.
const STREAM: &str = "live/demo";
/// How long the stream may take to come up.
const START: Duration = Duration::from_secs(30);
/// How often the demo looks whether something changed.
const LOOK: Duration = Duration::from_millis(100);

/// `cargo xtask run -- <args>`: becomes `headwater serve <args>`.
pub(crate) fn serve(arguments: &[String]) -> Result<()> {
    use std::os::unix::process::CommandExt;
    let arguments = arguments.strip_prefix(&["--".to_owned()]).unwrap_or(arguments);
    packages::ensure(packages::For::Building)?;
    web::ensure_page()?;
    build_release()?;
    let program = built("release", "headwater")?;
    let error = Command::new(&program).arg("serve").args(arguments).exec();
    Err(error).with_context(|| format!("starting {}", program.display()))
}

/// `cargo xtask demo`: server, clock picture, FFmpeg; ends with Ctrl-C or after `seconds`.
pub(crate) fn run(seconds: Option<u64>) -> Result<()> {
    packages::ensure(packages::For::Demo)?;
    web::ensure_page()?;
    build_release()?;
    let stop = stop_on_signal()?;

    let (rtmp, http, admin) = (free_or(1935)?, free_or(8080)?, free_or(9090)?);
    let mut server = start_server(&built("release", "headwater")?, rtmp, http, admin)?;
    wait_until(&stop, &mut [&mut server], || http::get(admin, "/readyz").is_ok_and(|(status, _)| status == 200))
        .context("waiting for the server")?;
    let mut picture = start_picture()?;
    let mut encoder = start_encoder(&mut picture, rtmp)?;
    let live =
        || http::get(admin, "/api/v1/streams").is_ok_and(|(status, body)| status == 200 && body.contains(STREAM));
    wait_until(&stop, &mut [&mut server, &mut picture, &mut encoder], live).context("waiting for the stream")?;

    if !stop.load(Ordering::Relaxed) {
        say(&format!("\nThe stream is live. Open  http://{http}/watch/{STREAM}\n"));
        say(&match seconds {
            Some(seconds) => format!("It ends after {seconds} s, or with Ctrl-C."),
            None => "Ctrl-C ends it.".to_owned(),
        });
    }
    let end = seconds.map(|seconds| now() + Duration::from_secs(seconds));
    while !stop.load(Ordering::Relaxed) && end.is_none_or(|end| now() < end) {
        for program in [&mut server, &mut picture, &mut encoder] {
            program.still_runs()?;
        }
        std::thread::sleep(LOOK);
    }

    // The encoder first, so that the server sees the stream end and not break; its picture goes with it.
    encoder.end()?;
    picture.end()?;
    let status = server.end()?;
    if !status.success() {
        bail!("the server ended with {status}");
    }
    say("Everything that the demo started has ended.");
    Ok(())
}

fn build_release() -> Result<()> {
    say("Building in release; the first time takes some minutes.");
    succeed(cargo().args(["build", "--release", "--package", "headwater"]))
}

fn start_server(program: &Path, rtmp: SocketAddr, http: SocketAddr, admin: SocketAddr) -> Result<Running> {
    let mut command = Command::new(program);
    command.arg("serve");
    for (flag, address) in [("--rtmp", rtmp), ("--http", http), ("--admin", admin)] {
        command.arg(flag).arg(address.to_string());
    }
    // The demo is the same wherever it runs.
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("HEADWATER_")) {
        command.env_remove(name);
    }
    Running::start("headwater serve", &mut command)
}

fn start_picture() -> Result<Running> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["clock", "--size", "1280x720", "--fps", "30"]).stdout(Stdio::piped()).stderr(Stdio::null());
    Running::start("the clock picture", &mut command)
}

/// FFmpeg as a live encoder would be: no B-frames, a keyframe each 2 s, a steady tone.
fn start_encoder(picture: &mut Running, rtmp: SocketAddr) -> Result<Running> {
    let frames = picture.child().stdout.take().context("the clock picture has no output")?;
    let mut command = Command::new("ffmpeg");
    command.args(["-hide_banner", "-loglevel", "error", "-nostdin"]);
    command.args(["-f", "rawvideo", "-pixel_format", "yuv420p", "-video_size", "1280x720", "-framerate", "30"]);
    command.args(["-i", "pipe:0", "-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000,volume=0.1"]);
    command.args(["-c:v", "libx264", "-preset", "veryfast", "-tune", "zerolatency", "-profile:v", "high"]);
    command.args(["-b:v", "3000k", "-maxrate", "3000k", "-bufsize", "3000k", "-g", "60", "-keyint_min", "60"]);
    command.args(["-sc_threshold", "0", "-c:a", "aac", "-b:a", "128k", "-ac", "2", "-flush_packets", "1", "-f", "flv"]);
    command.arg(format!("rtmp://{rtmp}/{STREAM}"));
    Running::start("ffmpeg", command.stdin(frames))
}

/// `port` on loopback, or one that is free when it is taken.
fn free_or(port: u16) -> Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
        .or_else(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))
        .context("finding a free port")?;
    let address = listener.local_addr()?;
    if address.port() != port {
        say(&format!("Port {port} is taken, {} will do.", address.port()));
    }
    Ok(address)
}

/// Set by Ctrl-C and SIGTERM.
fn stop_on_signal() -> Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&stop)).context("listening for Ctrl-C")?;
    }
    Ok(stop)
}

/// Returns when `done` says so or `stop` is set; fails when a program ends or it takes too long.
fn wait_until(stop: &AtomicBool, programs: &mut [&mut Running], done: impl Fn() -> bool) -> Result<()> {
    let begin = now();
    while !stop.load(Ordering::Relaxed) && !done() {
        programs.iter_mut().try_for_each(|program| program.still_runs())?;
        if begin.elapsed() > START {
            bail!("it took longer than {} s", START.as_secs());
        }
        std::thread::sleep(LOOK);
    }
    Ok(())
}
