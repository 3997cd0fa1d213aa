use headwater_ingest::KeyHash;
use serde_json::Value;

use super::environment::KEYS;
use super::*;

const EXAMPLE: &str = include_str!("../../../../headwater.example.toml");

fn parsed(text: &str) -> Result<File, String> {
    File::parse(text, "test.toml").map_err(|error| error.to_string())
}

fn config(file: &str, environment: &[(&str, &str)], arguments: &ServeArgs) -> Result<(Config, Vec<Notice>), String> {
    let variables = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let (over, mut notices) = Environment(variables).layer().map_err(|error| error.to_string())?;
    let merged = File::from_flags(arguments).over(over).over(parsed(file)?);
    let config = Config::from_layers(merged, &mut notices).map_err(|error| error.to_string())?;
    Ok((config, notices))
}

fn defaults() -> Config {
    config("", &[], &ServeArgs::default()).unwrap().0
}

/// The example with its commented-out lines switched on: those that begin with `#` and no space.
fn example_in_full() -> String {
    let lines = EXAMPLE.lines().map(|line| match line.strip_prefix('#') {
        Some(rest) if !rest.is_empty() && !rest.starts_with(' ') => rest,
        _ => line,
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// `(path, value)` of all single values; what is missing in one element of a list may be in another.
fn leaves(value: &Value, path: &str) -> Vec<(String, Value)> {
    let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    match value {
        Value::Object(map) => map.iter().flat_map(|(name, value)| leaves(value, &below(name))).collect(),
        Value::Array(list) => list.iter().flat_map(|element| leaves(element, &below("*"))).collect(),
        single => vec![(path.to_owned(), single.clone())],
    }
}

#[test]
fn the_example_describes_every_key_of_the_types() {
    let file = parsed(&example_in_full()).unwrap();
    assert!(!file.streams.is_empty() && !file.ladders.is_empty());
    let leaves = leaves(&serde_json::to_value(&file).unwrap(), "");
    for (path, _) in &leaves {
        let described = leaves.iter().any(|(other, value)| other == path && !value.is_null());
        assert!(described, "the example lacks {path}");
    }
}

#[test]
fn the_example_as_it_stands_gives_the_defaults() {
    let (example, notices) = config(EXAMPLE, &[], &ServeArgs::default()).unwrap();
    assert_eq!(format!("{example:?}"), format!("{:?}", defaults()));
    assert_eq!(notices, []);
}

#[test]
fn the_examples_commented_out_ladder_names_a_gear_as_it_would_be_named() {
    let file = parsed(&example_in_full()).unwrap();
    let ladder = ladder::find("small", &file.ladders).unwrap();
    assert_eq!(ladder.gears, [headwater_router::Gear::new(960, 540, 1800, "superfast")]);
}

#[test]
fn a_gear_says_how_it_is_encoded() {
    let ladder = |more: &str| {
        let gear = format!("width = 640\nheight = 360\nbitrate_kbps = 700\n{more}");
        let file = parsed(&format!("[[ladders]]\nname = 'a'\n[[ladders.gears]]\n{gear}")).unwrap();
        ladder::find("a", &file.ladders).unwrap().gears.remove(0)
    };
    let rates = |gear: &headwater_router::Gear| (gear.maxrate_kbps, gear.bufsize_kbit);
    let plain = ladder("");
    assert_eq!(rates(&plain), (700, 700));
    assert_eq!((&*plain.preset, &*plain.tune, &*plain.profile), ("superfast", "zerolatency", "high"));
    assert_eq!(rates(&ladder("maxrate_kbps = 900")), (900, 900));
    assert_eq!(plain.audio, headwater_router::AudioGroup::Main);
    assert_eq!(ladder("audio = 'low'").audio, headwater_router::AudioGroup::Low);
    let given = ladder("maxrate_kbps = 900\nbufsize_kbit = 450\npreset = 'fast'\ntune = 'none'\nprofile = 'main'");
    assert_eq!(rates(&given), (900, 450));
    assert_eq!((&*given.preset, &*given.tune, &*given.profile), ("fast", "", "main"));
    assert_eq!((plain.halve, ladder("halve = true").halve), (false, true));
}

#[test]
fn the_examples_limits_are_those_of_the_rtmp_crate() {
    let (example, _) = config(EXAMPLE, &[], &ServeArgs::default()).unwrap();
    assert_eq!(example.ingest(None).rtmp.limits, headwater_rtmp::Limits::default());
    assert_eq!(example.ingest(None).rtmp.timeouts, headwater_rtmp::Timeouts::default());
    let (changed, _) =
        config("limits.rtmp_video_kib = 512", &[("HEADWATER_TIMEOUTS_RTMP_MEDIA_SECONDS", "5")], &ServeArgs::default())
            .unwrap();
    assert_eq!(changed.ingest(None).rtmp.limits.video_bytes_max, 512 << 10);
    assert_eq!(changed.ingest(None).rtmp.timeouts.media, Duration::from_secs(5));
}

#[test]
fn every_single_value_can_come_from_the_environment() {
    let file = serde_json::to_value(parsed(&example_in_full()).unwrap()).unwrap();
    let mut single: Vec<String> =
        leaves(&file, "").into_iter().map(|(path, _)| path).filter(|path| !path.contains('*')).collect();
    single.sort();
    let mut keys = KEYS.map(str::to_owned);
    keys.sort();
    assert_eq!(single, keys);
}

#[test]
fn every_flag_is_a_key_of_the_file() {
    use clap::CommandFactory;
    let command = crate::cli::Cli::command();
    let serve = command.find_subcommand("serve").unwrap();
    let shown = serve.get_arguments().filter(|argument| !argument.is_hide_set());
    for flag in shown.map(|argument| argument.get_id().as_str()) {
        let in_cluster = format!("cluster.{flag}");
        let known = KEYS.iter().any(|key| *key == flag || *key == in_cluster);
        assert!(flag == "config" || known, "--{flag}");
    }
}

#[test]
fn help_and_example_tell_the_same_defaults_as_the_code() {
    use clap::CommandFactory;
    let help = crate::cli::Cli::command().find_subcommand_mut("serve").unwrap().render_long_help().to_string();
    let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
    let defaults = defaults();
    for told in [
        format!("port {}", defaults.rtmp.port()),
        format!("port {}", defaults.http.port()),
        format!("[default: {}]", defaults.admin),
        format!("[default: {}]", defaults.latency.name()),
        "[default: hd]".to_owned(),
        Profile::ALL.map(Profile::name).join("|"),
    ] {
        assert!(help.contains(&told), "--help lacks {told:?}: {help}");
    }
    for profile in Profile::ALL {
        assert!(EXAMPLE.contains(&format!("\n#   {} ", profile.name())), "{}", profile.name());
    }
}

#[test]
fn flags_go_over_the_environment_and_the_environment_over_the_file() {
    let file = "rtmp = '127.0.0.1:1'\nhttp = '127.0.0.1:1'\nadmin = '127.0.0.1:1'\n[log]\nlevel = 'warn'";
    let environment =
        [("HEADWATER_HTTP", "127.0.0.1:2"), ("HEADWATER_ADMIN", "127.0.0.1:2"), ("HEADWATER_LOG_LEVEL", "debug")];
    let flags = ServeArgs { admin: Some("127.0.0.1:3".parse().unwrap()), ..ServeArgs::default() };
    let (config, _) = config(file, &environment, &flags).unwrap();
    assert_eq!([config.rtmp, config.http, config.admin].map(|address| address.port()), [1, 2, 3]);
    assert_eq!(config.log.level, LevelFilter::DEBUG);
}

#[test]
fn the_environment_has_texts_numbers_and_switches() {
    let environment = [
        ("HEADWATER_LATENCY", "ultra"),
        ("HEADWATER_LADDER", "none"),
        ("HEADWATER_PLAYLIST_WINDOW_SEGMENTS", "12"),
        ("HEADWATER_PLAYLIST_PRELOAD_HINTS", "false"),
    ];
    let (config, _) = config("", &environment, &ServeArgs::default()).unwrap();
    assert_eq!(config.latency, Profile::Ultra);
    assert_eq!(config.ladder, Ladder::default());
    assert_eq!(config.playlist.window_segments, 12);
    assert!(!config.playlist.preload_hints);
}

#[test]
fn a_bad_variable_is_named() {
    for (name, value) in
        [("HEADWATER_RTMP", "nowhere"), ("HEADWATER_LIMITS_PUBLISHERS", "0"), ("HEADWATER_LATENCY", "a\nb")]
    {
        let error = config("", &[(name, value)], &ServeArgs::default()).unwrap_err();
        assert!(error.starts_with(&format!("{name}: ")), "{error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
}

#[test]
fn a_variable_that_is_no_key_is_a_warning() {
    let (_, notices) = config("", &[("HEADWATER_PORT", "tcp://10.0.0.1:80")], &ServeArgs::default()).unwrap();
    let warned = |notice: &Notice| matches!(notice, Notice::Warning(text) if text.contains("HEADWATER_PORT"));
    assert!(notices.iter().any(warned), "{notices:?}");
}

#[test]
fn bad_files_name_the_line() {
    let gear = "width = 640\nheight = 360\nbitrate_kbps = 730\n";
    let ladder = format!("[[ladders]]\nname = 'a'\n[[ladders.gears]]\n{gear}");
    let cases = [
        // Not TOML.
        ("\nrtmp =\n".to_owned(), 2, "value"),
        // Keys.
        ("\n\nport = 1\n".to_owned(), 3, "unknown key `port`"),
        ("[log]\nlevel = 'info'\ncolour = true".to_owned(), 3, "unknown key `colour`"),
        ("rtmp = '127.0.0.1:1'\nrtmp = '127.0.0.1:2'".to_owned(), 2, "duplicate key"),
        // Values.
        ("\nrtmp = 'localhost'".to_owned(), 2, "expected an IP address and a port"),
        ("\nlatency = 'lowest'".to_owned(), 2, "expected one of ultra, low, relaxed, standard"),
        ("\n[log]\nlevel = 'loud'".to_owned(), 3, "expected one of error"),
        ("[log]\nformat = 'xml'".to_owned(), 2, "expected one of text, json"),
        ("[playlist]\n\nwindow_segments = 2".to_owned(), 3, "2 is not from 6 to 3600"),
        ("[playlist]\npreload_hints = 'yes'".to_owned(), 2, "expected a boolean"),
        ("[limits]\npublishers = -1".to_owned(), 2, "-1 is not from 1"),
        // Streams.
        ("[[streams]]\nname = 'show'\nkey = 'k'".to_owned(), 2, "a stream is called app/name"),
        ("[[streams]]\nname = 'live/a'".to_owned(), 2, "live/a needs either key or key_sha256"),
        ("[[streams]]\nname = 'live/a'\nkey = 'k'\nkey_sha256 = 'k'".to_owned(), 4, "64 hexadecimal digits"),
        (format!("[[streams]]\nname = 'live/a'\nkey = 'k'\nkey_sha256 = '{:064}'", 0), 2, "either key or key_sha256"),
        ("[[streams]]\nname = 'live/sh*'\nkey = 'k'".to_owned(), 2, "an element of a stream's name"),
        (
            format!(
                "[[streams]]\nname = 'a/*'\nkey_sha256 = '{}'\n[[streams]]\nname = 'a/b'\nkey = 'k'",
                KeyHash::of("k")
            ),
            6,
            "line 3 has the same key",
        ),
        ("[[streams]]\nname = 'live/a'\nkey = 'a'".to_owned(), 3, "cannot be the name of a stream"),
        ("[[streams]]\nname = 'live/a'\nkey = 'k/1'".to_owned(), 3, "a stream key has"),
        (format!("[[streams]]\nname = 'live/a'\nkey = '{}'", "k".repeat(513)), 3, "a stream key has 1 to 512"),
        ("[[streams]]\nname = 'live/a'\nkey = 123456".to_owned(), 3, "a text in quotes"),
        (
            "[[streams]]\nname = 'live/a'\nkey = 'k'\n[[streams]]\nname = 'live/a'\nkey = 'l'".to_owned(),
            5,
            "live/a is in line 2 already",
        ),
        (
            "[[streams]]\nname = 'live/a'\nkey = 'k'\n[[streams]]\nname = 'live/b'\nkey = 'k'".to_owned(),
            6,
            "line 3 has the same key",
        ),
        // Tokens, webhook, secrets.
        ("[jwt]\njwks = 'http://id.example/'".to_owned(), 2, "over https, or over http from this machine"),
        ("[jwt]\nsecret = 'too short'".to_owned(), 2, "at least 32"),
        ("[webhook]\nurl = 'example.org'".to_owned(), 2, "expected a URL"),
        ("[webhook]\nwhen_down = 'maybe'".to_owned(), 2, "expected one of allow, refuse"),
        ("admin_token = 'short'".to_owned(), 1, "at least 16"),
        // Ladders.
        ("\nladder = 'uhd'".to_owned(), 2, "there is no ladder \"uhd\"; there are hd, apple, bipbop, none"),
        ("[[ladders]]\nname = 'hd'\ngears = []".to_owned(), 2, "built in"),
        ("[[ladders]]\nname = 'a'\ngears = []".to_owned(), 2, "no gears"),
        (format!("{ladder}{ladder}"), 8, "the ladder a is in line 2 already"),
        (format!("{ladder}[[ladders.gears]]\n{gear}"), 7, "the gear 360p-730 is in line 3 already"),
        (format!("{ladder}name = 'A b'"), 7, "a gear's name"),
        (format!("{ladder}name = 'source'"), 7, "another rendition"),
        (format!("{ladder}preset = 'placebo'"), 7, "expected one of ultrafast"),
        (format!("{ladder}tune = 'psnr'"), 7, "expected one of zerolatency"),
        (format!("{ladder}profile = 'high10'"), 7, "expected one of baseline"),
        (format!("{ladder}b_frames = 2"), 7, "unknown key `b_frames`"),
        (format!("{ladder}maxrate_kbps = 700"), 7, "maxrate_kbps is below bitrate_kbps"),
        (ladder.replace("730", "7"), 6, "7 is not from 50"),
    ];
    for (text, line, problem) in cases {
        let error = parsed(&text).expect_err(&text);
        assert!(error.starts_with(&format!("test.toml, line {line}: ")), "{error}, for\n{text}");
        assert!(error.contains(problem), "{error}, for\n{text}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
}

#[test]
fn no_error_and_no_debug_text_shows_a_key() {
    let stream = |name: &str, key: &str| format!("[[streams]]\nname = '{name}'\nkey = {key}\n");
    let bad = [
        stream("live/a", "'hunter2 hunter2'"),
        stream("live/a", "'hunter2"),
        stream("live/a", "['hunter2']"),
        stream("live/hunter2", "'hunter2'").replace("live/hunter2", "live/x") + &stream("live/b", "\"hunter2/\""),
        stream("live/a", "'hunter2'") + &stream("live/b", "'hunter2'"),
    ];
    for text in bad {
        let error = parsed(&text).expect_err(&text);
        assert!(!error.contains("hunter2"), "{error}");
    }
    let (config, _) = config(&stream("live/a", "'hunter2'"), &[], &ServeArgs::default()).unwrap();
    assert!(!format!("{config:?}").contains("hunter2"));
}

#[test]
fn without_keys_it_is_on_loopback_and_says_so() {
    let (config, notices) = config("", &[], &ServeArgs::default()).unwrap();
    assert!([config.rtmp, config.http, config.admin].iter().all(|address| address.ip().is_loopback()));
    assert!(matches!(&notices[..], [Notice::Info(text)] if text.contains("loopback")), "{notices:?}");
}

#[test]
fn with_keys_it_is_on_all_interfaces_but_for_the_admin_address() {
    let file = "[[streams]]\nname = 'live/a'\nkey = 'k'";
    let (config, notices) = config(file, &[], &ServeArgs::default()).unwrap();
    assert!(config.rtmp.ip().is_unspecified() && config.http.ip().is_unspecified());
    assert!(config.admin.ip().is_loopback());
    assert_eq!(notices, []);
}

#[test]
fn tokens_and_a_webhook_are_as_good_as_keys() {
    for file in
        ["jwt.jwks = '/etc/jwks.json'", "jwt.secret = '0123456789abcdef0123456789abcdef'", "webhook.url = 'https://h/'"]
    {
        let (config, notices) = config(file, &[], &ServeArgs::default()).unwrap();
        assert!(!config.is_open() && config.rtmp.ip().is_unspecified(), "{file}");
        assert_eq!(notices, [], "{file}");
    }
    let (config, _) =
        config("jwt.issuer = 'https://id.example'\nwebhook.retries = 3", &[], &ServeArgs::default()).unwrap();
    assert!(config.is_open() && config.rtmp.ip().is_loopback());
}

#[test]
fn a_webhook_that_is_not_asked_over_tls_is_warned_about() {
    let warned = |url: &str| {
        let (_, notices) = config(&format!("webhook.url = '{url}'"), &[], &ServeArgs::default()).unwrap();
        notices.iter().any(|notice| matches!(notice, Notice::Warning(text) if text.contains("over TLS")))
    };
    assert!(warned("http://hooks.example/publish"));
    assert!(!warned("http://127.0.0.1:8000/publish") && !warned("https://hooks.example/publish"));
}

#[test]
fn rtmps_needs_an_address_a_certificate_and_a_key() {
    let half = "RTMPS needs an address, a certificate and its key: rtmps, tls_cert and tls_key";
    for file in ["rtmps = '0.0.0.0:1936'", "tls_cert = 'a'\ntls_key = 'b'", "rtmps = '0.0.0.0:1936'\ntls_key = 'b'"] {
        assert_eq!(config(file, &[], &ServeArgs::default()).unwrap_err(), half);
    }
    let flags = ServeArgs { rtmps: Some("0.0.0.0:1936".parse().unwrap()), ..ServeArgs::default() };
    let (config, _) = config("tls_cert = 'a'\ntls_key = 'b'", &[], &flags).unwrap();
    let rtmps = config.rtmps.unwrap();
    assert_eq!((rtmps.address.port(), rtmps.certificate.to_str(), rtmps.key.to_str()), (1936, Some("a"), Some("b")));
}

#[test]
fn no_secret_shows_itself() {
    let secret = "hunter2-hunter2-hunter2-hunter2-hunter2";
    let keys = ["admin_token", "jwt.secret", "webhook.token"];
    let file: String = keys.iter().map(|key| format!("{key} = '{secret}'\n")).collect();
    let (all, _) =
        config(&format!("{file}webhook.url = 'https://u:{secret}@h/?{secret}'"), &[], &ServeArgs::default()).unwrap();
    assert!(all.admin_token.is_some() && all.jwt.is_some() && all.webhook.is_some());
    assert!(!format!("{all:?}").contains("hunter2"), "{all:?}");
    for key in keys {
        for bad in [format!("'{secret}\u{fc}'"), format!("['{secret}']"), format!("'{secret}")] {
            let error = parsed(&format!("{key} = {bad}")).unwrap_err();
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}

#[test]
fn what_only_a_restart_changes_is_listed() {
    let running = defaults();
    assert_eq!(running.needs_restart(&defaults()), [""; 0]);
    let file = "rtmp = '127.0.0.1:1'\nlatency = 'ultra'\n[limits]\nring_mib = 32\nrtmp_video_kib = 512\n\
                [transcode]\nwhen = 'always'\ncpu_percent = 50\n[log]\nlevel = 'debug'";
    let (changed, _) = config(file, &[], &ServeArgs::default()).unwrap();
    assert_eq!(changed.needs_restart(&running), ["rtmp", "transcode.cpu_percent", "limits.ring_mib", "log.level"]);
}

#[test]
fn a_public_address_without_keys_is_obeyed_with_a_warning() {
    let (config, notices) = config("rtmp = '0.0.0.0:1935'\nhttp = '[::1]:80'", &[], &ServeArgs::default()).unwrap();
    assert!(config.rtmp.ip().is_unspecified());
    assert!(matches!(&notices[..], [Notice::Warning(text)] if text.contains("RTMP is on 0.0.0.0:1935")), "{notices:?}");
}

#[test]
fn a_public_admin_address_is_warned_about_even_with_keys() {
    let file = "admin = '0.0.0.0:9090'\n[[streams]]\nname = 'live/a'\nkey = 'k'";
    let (_, notices) = config(file, &[], &ServeArgs::default()).unwrap();
    assert!(matches!(&notices[..], [Notice::Warning(text)] if text.contains("0.0.0.0:9090")), "{notices:?}");
}

#[test]
fn a_ladder_of_the_file_can_be_chosen_by_flag() {
    let file = "[[ladders]]\nname = 'small'\n[[ladders.gears]]\nwidth = 640\nheight = 360\nbitrate_kbps = 730\n\
                [[ladders.gears]]\nwidth = 854\nheight = 480\nbitrate_kbps = 1400";
    let flags = |name: &str| ServeArgs { ladder: Some(name.to_owned()), ..ServeArgs::default() };
    let (chosen, _) = config(file, &[], &flags("small")).unwrap();
    assert_eq!(chosen.ladder.gears.iter().map(|gear| gear.height).collect::<Vec<_>>(), [480, 360]);
    let error = config(file, &[], &flags("large")).unwrap_err();
    assert_eq!(error, "there is no ladder \"large\"; there are hd, apple, bipbop, none, small");
}
