//! Publishers of all kinds come, go, die, freeze and return at random to one server, and players watch, while the
//! architecture's invariants are checked. What happens is a function of a seed; when it happens is the machine's affair.

mod disturb;
mod journal;
mod process;
mod publishers;
mod random;
mod report;
mod stream;

use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

pub use publishers::Kind;
pub use report::Report;

use crate::clock::Stopwatch;
use crate::log::Lines;
use crate::seen::Seen;
use crate::server::Server;
use process::Sample;
use random::Random;
use report::Counts;

/// What is to happen.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// For how long.
    pub length: Duration,
    /// What is drawn from it is always the same.
    pub seed: u64,
    /// Streams at once.
    pub streams: usize,
}

/// Small windows, so that much happens in a short time.
const CONFIG: &str = "
ladder = 'small'
[session]
reconnect_window_seconds = 4
end_grace_seconds = 1
[transcode]
cold_after_seconds = 5
[timeouts]
rtmp_handshake_seconds = 2
rtmp_publish_seconds = 3
rtmp_media_seconds = 10
[[ladders]]
name = 'small'
gears = [{ width = 160, height = 90, bitrate_kbps = 100 }]
";
/// How often the server's memory is looked at.
const SAMPLE: Duration = Duration::from_secs(1);
/// How long the server has to forget all that was there: an ended session is kept for a minute.
const CALM: Duration = Duration::from_secs(10);

/// What the threads of a soak share.
struct Scene<'a> {
    server: &'a Server,
    seen: Seen,
    watch: Stopwatch,
    plan: Plan,
    counts: Mutex<Counts>,
}

impl Scene<'_> {
    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap()
    }

    fn log(&self) -> &Lines {
        self.server.log()
    }

    fn is_over(&self) -> bool {
        self.watch.elapsed() >= self.plan.length
    }

    /// Lets `pause` pass, or what is left of the whole if that is less.
    fn rest(&self, pause: Duration) {
        std::thread::sleep(pause.min(self.watch.left(self.plan.length)));
    }

    fn broken(&self, what: impl IntoIterator<Item = String>) {
        self.counts().violations.extend(what);
    }

    /// Something odd that breaks no rule of ours.
    fn note(&self, what: String) {
        self.counts().notes.push(what);
    }
}

/// Does all of it and ends the server.
pub fn run(plan: &Plan) -> Report {
    let server = Server::start(CONFIG);
    let before = Sample::of(server.pid());
    let scene = Scene {
        server: &server,
        seen: Seen::default(),
        watch: Stopwatch::start(),
        plan: *plan,
        counts: Mutex::default(),
    };
    let samples = std::thread::scope(|threads| {
        for index in 0..plan.streams {
            let (scene, random) = (&scene, Random::new(plan.seed, index));
            threads.spawn(move || stream::live(scene, index, random));
        }
        let (scene, random) = (&scene, Random::new(plan.seed, usize::MAX));
        threads.spawn(move || disturb::all_the_time(scene, random));
        let mut samples = Vec::new();
        while !scene.is_over() {
            samples.extend(Sample::of(server.pid()));
            scene.rest(SAMPLE);
        }
        samples
    });
    let minutes = scene.watch.elapsed().as_secs_f64() / 60.0;
    let (slowest, late) = scene.seen.slow();
    scene.broken(late);
    scene.broken(before.into_iter().filter_map(|before| process::left_open(server.pid(), before, CALM)));
    let (requests, names) = (scene.seen.requests(), scene.seen.names());
    let mut counts = scene.counts.into_inner().unwrap();

    let ending = Stopwatch::start();
    server.interrupt();
    let finished = server.finish();
    if !finished.status.success() {
        counts.violations.push(format!("the server ended with {}", finished.status));
    }
    let journal = journal::read(&finished.err);
    counts.violations.extend(journal.violations.iter().cloned());
    counts.violations.extend(process::not_flat(&samples, plan.length));
    let context = journal::about(&finished.err, &counts.violations);
    Report {
        plan: *plan,
        minutes,
        counts,
        journal,
        requests,
        names,
        slowest,
        samples,
        ending: ending.elapsed(),
        context,
    }
}
