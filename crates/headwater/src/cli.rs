//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use headwater_rtmp::PublishUrl;

use crate::config::{Address, Latency, Members};

/// A live-streaming platform: RTMP in, an adaptive ladder, Low-Latency HLS out.
#[derive(Debug, Parser)]
#[command(name = "headwater", version)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Takes streams over RTMP and serves them as Low-Latency HLS: all in one process, alone or as one of several nodes.
    Serve(ServeArgs),
    /// Takes publishers, as one of several nodes that share an etcd.
    Ingest(ServeArgs),
    /// Makes gears of other nodes' streams, as one of several nodes that share an etcd.
    Transcode(ServeArgs),
    /// Serves players with other nodes' streams, as one of several nodes that share an etcd.
    Edge(ServeArgs),
    /// Publishes an FLV file to an RTMP server, in real time and as it is.
    Publish(PublishArgs),
    /// Takes one publisher over RTMP and writes what it sends into an FLV file, for a closer look or a bug report.
    Record(RecordArgs),
    /// Makes stream keys and hashes them for the configuration.
    #[command(subcommand)]
    Key(KeyCommand),
    /// Makes certificates for the nodes of a cluster and for etcd: an authority of its own, and what it signs.
    Cert(CertArgs),
    /// Measures, and prints Markdown.
    #[command(subcommand)]
    Bench(BenchCommand),
}

/// The subcommands of `headwater key`.
#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// Draws a stream key at random and prints it with its hash.
    New,
    /// Reads a stream key from standard input and prints its hash.
    Hash,
}

/// The subcommands of `headwater bench`.
#[derive(Debug, Subcommand)]
pub(crate) enum BenchCommand {
    /// Makes a ladder of a file, and has the FFmpeg command-line tool make the same one: CPU time and quality of both.
    Transcode(TranscodeArgs),
    /// Publishes many streams at once: what they cost the server, and how soon they may publish.
    Ingest(IngestArgs),
}

/// Arguments of `headwater bench transcode`.
#[derive(Args, Debug)]
#[command(after_help = "\
The file is FLV with H.264 that has a keyframe every two seconds; its rate decides which gears of its own size are \
made. Another file becomes one with:

  ffmpeg -i FILE -an -c:v libx264 -preset veryfast -bf 0 -force_key_frames 'expr:gte(t,n_forced*2)' -b:v 12M clip.flv

Both sides take turns, with one thread for the decoder and each encoder, and the start of each program counts: take a \
clip of half a minute and a machine that does nothing else.")]
pub(crate) struct TranscodeArgs {
    /// The file.
    #[arg(value_name = "FILE.flv")]
    pub(crate) file: PathBuf,
    /// Which ladder: `hd`, `apple` or `bipbop`.
    #[arg(long, value_name = "NAME", default_value = "hd")]
    pub(crate) ladder: String,
    /// How often each side makes it.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) runs: u32,
    /// Only our side, once, into this folder.
    #[arg(long, value_name = "FOLDER", hide = true)]
    pub(crate) into: Option<PathBuf>,
}

/// Arguments of `headwater bench ingest`.
#[derive(Args, Debug)]
#[command(after_help = "\
The publishers are in this process, on loopback, in real time. Without --url a server is started: this program with \
`--ladder none`, so that it packages the source rendition of each stream and encodes nothing. With --nginx also nginx with \
libnginx-mod-rtmp, as a plain relay and writing HLS, in turns with ours; `cargo xtask bench-ingest` installs it.

Processor time is the server's own account (user and system); the publishers take about as much beside it.")]
pub(crate) struct IngestArgs {
    /// How many publishers.
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    pub(crate) publishers: u32,
    /// Rate of each stream in kbit/s, with its sound.
    #[arg(long, value_name = "KBPS", default_value_t = 6000, value_parser = clap::value_parser!(u32).range(100..=100_000))]
    pub(crate) bitrate: u32,
    /// Chunk size of the publishers.
    #[arg(long, value_name = "BYTES", default_value_t = 4096, value_parser = clap::value_parser!(u32).range(128..=0xFF_FFFF))]
    pub(crate) chunk_size: u32,
    /// All connect at once, not 100 a second.
    #[arg(long)]
    pub(crate) at_once: bool,
    /// How long they publish before the time that is measured.
    #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u64).range(0..=3600))]
    pub(crate) settle: u64,
    /// The time that is measured.
    #[arg(long, value_name = "SECONDS", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub(crate) seconds: u64,
    /// How often each server is measured.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) runs: u32,
    /// nginx-rtmp as well.
    #[arg(long)]
    pub(crate) nginx: bool,
    /// A server that runs already, in place of ours: rtmp://HOST/APP, behind which each publisher puts a name.
    #[arg(long, value_name = "URL", requires = "pid")]
    pub(crate) url: Option<String>,
    /// Its process.
    #[arg(long, value_name = "PID", requires = "url")]
    pub(crate) pid: Option<u32>,
}

/// Arguments of `headwater publish`.
#[derive(Args, Debug)]
pub(crate) struct PublishArgs {
    /// The file. Its tags are sent unchanged.
    #[arg(value_name = "FILE.flv")]
    pub(crate) file: PathBuf,
    /// Where it goes: rtmp://HOST/APP/NAME or rtmps://HOST/APP/NAME, or a stream key in place of the name.
    #[arg(value_name = "URL")]
    pub(crate) url: PublishUrl,
    /// Trusts these certificates (PEM), and what they have signed, in place of the system's: a server's own, for
    /// rtmps://.
    #[arg(long, value_name = "FILE")]
    pub(crate) tls_ca: Option<PathBuf>,
    /// Begins again at the end of the file, with timestamps that go on rising.
    #[arg(long = "loop")]
    pub(crate) repeat: bool,
}

/// Arguments of `headwater cert`.
#[derive(Args, Debug)]
#[command(after_help = "\
FOLDER gets the authority, ca.pem with its key ca.key, unless it is there already, and for each node NAME.pem and NAME.key. \
Nothing is written over. All nodes and etcd get ca.pem; each gets its own two files; ca.key stays where you keep secrets: \
whoever has it can be any node. The certificates do not expire.")]
pub(crate) struct CertArgs {
    /// The folder.
    #[arg(value_name = "FOLDER")]
    pub(crate) folder: PathBuf,
    /// A node: the host names and addresses under which others reach it, with commas between them. The first one names
    /// its files.
    #[arg(long = "node", value_name = "NAME[,NAME...]")]
    pub(crate) nodes: Vec<crate::cert::Node>,
}

/// Arguments of `headwater record`.
#[derive(Args, Debug)]
#[command(after_help = "\
Whatever name or key the publisher gives is taken, and is written neither into FILE.flv nor anywhere else but --raw. The \
recording ends when the publisher does, or with Ctrl-C, and says what came.")]
pub(crate) struct RecordArgs {
    /// Where to listen, such as 127.0.0.1:1935.
    #[arg(value_name = "ADDR")]
    pub(crate) address: Address,
    /// The file: audio, video and data as they come, with their timestamps.
    #[arg(value_name = "FILE.flv")]
    pub(crate) file: PathBuf,
    /// Also writes every byte of the connection that the publisher sends. The stream key is in it.
    #[arg(long, value_name = "FILE")]
    pub(crate) raw: Option<PathBuf>,
    /// Writes over files that are there already.
    #[arg(long)]
    pub(crate) force: bool,
}

/// Flags of `headwater serve`, `ingest`, `transcode` and `edge`. Each stands for the key of the same name in the configuration file.
#[derive(Args, Debug, Default)]
#[command(after_help = "\
Every key of the file can also be given in the environment, the dots of its name being underlines: HEADWATER_RTMP, \
HEADWATER_LOG_LEVEL, HEADWATER_PLAYLIST_WINDOW_SEGMENTS. The environment goes over the file, flags over both.

headwater.example.toml describes every key.")]
pub(crate) struct ServeArgs {
    /// Configuration file (TOML).
    #[arg(long, value_name = "FILE", env = "HEADWATER_CONFIG", hide_env_values = true)]
    pub(crate) config: Option<PathBuf>,
    /// Where encoders publish [default: port 1935, on loopback only while anyone may publish: without keys, tokens and
    /// webhook].
    #[arg(long, value_name = "ADDR")]
    pub(crate) rtmp: Option<Address>,
    /// Where players and the built-in page are served [default: port 8080, on loopback only while anyone may publish].
    #[arg(long, value_name = "ADDR")]
    pub(crate) http: Option<Address>,
    /// Where metrics and the API are served [default: 127.0.0.1:9090].
    #[arg(long, value_name = "ADDR")]
    pub(crate) admin: Option<Address>,
    /// Where encoders publish over TLS, usually port 443 or 1936; needs --tls-cert and --tls-key.
    #[arg(long, value_name = "ADDR")]
    pub(crate) rtmps: Option<Address>,
    /// Certificate of RTMPS, followed by what signed it (PEM). Read again on SIGHUP.
    #[arg(long, value_name = "FILE")]
    pub(crate) tls_cert: Option<PathBuf>,
    /// Private key of the certificate (PEM).
    #[arg(long, value_name = "FILE")]
    pub(crate) tls_key: Option<PathBuf>,
    /// Folder for what has to outlive a restart, so that players stay in their sessions. Not used with --etcd.
    #[arg(long, value_name = "DIR")]
    pub(crate) state_dir: Option<PathBuf>,
    /// etcd's members, URLs with commas between them: this machine is one of several.
    #[arg(long, value_name = "URL,...")]
    pub(crate) etcd: Option<Members>,
    /// How low the latency is to be, `ultra`, `low`, `relaxed` or `standard` [default: low].
    #[arg(long, value_name = "ultra|low|relaxed|standard", hide_possible_values = true)]
    pub(crate) latency: Option<Latency>,
    /// Which gears (sizes and rates to which it is encoded) a stream gets: `hd` (720p, 480p, 360p), `apple` or `bipbop` (nine from 1080p to 234p), `none`, or a
    /// ladder of the configuration file [default: hd].
    #[arg(long, value_name = "hd|apple|bipbop|none|NAME")]
    pub(crate) ladder: Option<String>,
    /// Lets `POST /api/v1/faults/panic|hang|stop` on the admin address make a transcoding job fail: for tests.
    #[arg(long, hide = true)]
    pub(crate) fault_points: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn bad_addresses_and_profiles_are_usage_errors() {
        for bad in [["--rtmp", "localhost"], ["--latency", "lowest"], ["--http", "8080"]] {
            let error = Cli::try_parse_from([&["headwater", "serve"][..], &bad].concat()).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{error}");
        }
    }
}
