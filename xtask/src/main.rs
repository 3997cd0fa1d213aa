//! Set-up and chores: `cargo xtask help`.
//!
//! Depends on nothing that needs a system package, because it is what installs them.

mod bench;
mod checks;
mod clock;
mod demo;
mod e2e;
mod faults;
mod fingerprint;
mod fuzz;
mod http;
mod packages;
mod process;
mod soak;
mod tidy;
mod web;

use std::process::ExitCode;

use anyhow::{Context, Result, bail};

const HELP: &str = "\
Headwater's chores. Each sets up what it needs first and says what it installs.

  cargo xtask demo [--seconds N]   builds, starts everything, publishes a test picture with a clock, prints the page
  cargo xtask run -- <args>        builds in release and starts `headwater serve <args>`
  cargo xtask test                 the whole test suite, as CI runs it
  cargo xtask check                formatting, clippy and documentation, warnings being errors
  cargo xtask tidy                 the shape of the code: no runtime in a library and nothing that a browser lacks, test data
                                   with a README, links, docs/conformance.md against its checklist and tests
  cargo xtask e2e [--full]         plays a published clock in a browser and reads the latency from its picture
  cargo xtask e2e --loss           the same while transcoding workers are lost
  cargo xtask e2e --overload       takes the processor away from a server and gives it back
  cargo xtask e2e --cold           starts players of others on a stream that nobody watches, and says what it costs
  cargo xtask e2e --outage         loses publishers and servers while players play, and says when they play on
  cargo xtask bench-ingest [--short]
                                   what publishers cost, beside nginx with its RTMP module, in turns; `--short`: in a minute
  cargo xtask bench-reader         instructions that a megabyte of RTMP costs its reader, and where they go
  cargo xtask bench-claims [--short]
                                   what claims cost etcd, of one member and of three, and how many streams it is good for
  cargo xtask fuzz SECONDS [TARGET]
                                   feeds each decoder what a fuzzer thinks of, for so many seconds
  cargo xtask simulate [SEEDS]     10,000 seeds, or so many, of a simulated cluster in which all goes wrong
  cargo xtask race --rounds N      fifty publishers on three nodes at once for one key, with a real etcd; and the same for N
                                   seconds while members of etcd are killed
  cargo xtask soak --minutes N [--seed N] [--streams N]
                                   publishers come, go, die and return at random while players check every rule
  cargo xtask faults               nodes of a pool are killed, stopped and parted from each other while players check every rule
  cargo xtask deny                 licences and advisories of all dependencies
  cargo xtask clock [--size WxH] [--fps N] [--seconds N]
                                   writes the clock picture to standard output as raw yuv420p
  cargo xtask help                 this text

Browser tests use Debian's chromium, or the browser that the environment variable CHROME names; `--cold` also
firefox-esr, or the Firefox that FIREFOX names.
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match dispatch(&arguments) {
        Ok(code) => code,
        Err(error) => {
            process::say(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn dispatch(arguments: &[String]) -> Result<ExitCode> {
    let (command, rest) = arguments.split_first().map_or(("help", &[][..]), |(first, rest)| (first.as_str(), rest));
    match command {
        "demo" => demo::run(option_number(&only_options(rest, &["--seconds"])?, "--seconds")?)?,
        "run" => demo::serve(rest)?,
        "test" => checks::test(no_arguments(command, rest)?)?,
        "check" => checks::check(no_arguments(command, rest)?)?,
        "tidy" => tidy::run(no_arguments(command, rest)?)?,
        "fuzz" => match rest {
            [seconds] => fuzz::run(whole_seconds(seconds)?, None)?,
            [seconds, target] => fuzz::run(whole_seconds(seconds)?, Some(target))?,
            _ => bail!("`cargo xtask fuzz` takes seconds per target and perhaps a target"),
        },
        "simulate" => match rest {
            [] => checks::simulate(10_000)?,
            [seeds] => checks::simulate(seeds.parse().with_context(|| format!("{seeds} is not a number of seeds"))?)?,
            _ => bail!("`cargo xtask simulate` takes a number of seeds"),
        },
        "race" => {
            let rounds = option_number(&only_options(rest, &["--rounds"])?, "--rounds")?;
            checks::race(rounds.context("`cargo xtask race` needs --rounds")?)?;
        }
        "soak" => {
            let options = only_options(rest, &["--minutes", "--seed", "--streams"])?;
            let [minutes, seed, streams] =
                ["--minutes", "--seed", "--streams"].map(|name| option_number(&options, name));
            soak::run(minutes?.context("`cargo xtask soak` needs --minutes")?, seed?, streams?)?;
        }
        "faults" => faults::run(no_arguments(command, rest)?)?,
        "bench-ingest" => match rest {
            [] => bench::ingest(bench::Length::Full)?,
            [flag] if flag == "--short" => bench::ingest(bench::Length::Short)?,
            _ => bail!("`cargo xtask bench-ingest` takes `--short` or nothing"),
        },
        "bench-claims" => match rest {
            [] => bench::claims(bench::Length::Full)?,
            [flag] if flag == "--short" => bench::claims(bench::Length::Short)?,
            _ => bail!("`cargo xtask bench-claims` takes `--short` or nothing"),
        },
        "bench-reader" => bench::reader(no_arguments(command, rest)?)?,
        "deny" => checks::deny(no_arguments(command, rest)?)?,
        "e2e" => e2e::run(e2e::Form::of(rest)?)?,
        "clock" => {
            let options = only_options(rest, &["--size", "--fps", "--seconds"])?;
            let size = options.iter().find(|(name, _)| name == "--size").map_or("1280x720", |(_, value)| value);
            let Some((Ok(width), Ok(height))) = size.split_once('x').map(|(w, h)| (w.parse(), h.parse())) else {
                bail!("--size takes a size such as 1280x720, not {size}");
            };
            let fps = option_number(&options, "--fps")?.unwrap_or(30);
            let seconds = option_number(&options, "--seconds")?;
            clock::run(width, height, fps.try_into()?, seconds, &mut std::io::stdout().lock())?;
        }
        "help" | "--help" | "-h" => process::say(HELP.trim_end()),
        unknown => {
            process::say(&format!("There is no `cargo xtask {unknown}`.\n\n{HELP}"));
            return Ok(ExitCode::from(2));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Proof that a command without arguments got none.
fn no_arguments(command: &str, rest: &[String]) -> Result<()> {
    if let Some(first) = rest.first() {
        bail!("`cargo xtask {command}` takes no arguments, found {first}");
    }
    Ok(())
}

/// Reads `--name value` pairs, of the names given only.
fn only_options(rest: &[String], names: &[&str]) -> Result<Vec<(String, String)>> {
    rest.chunks(2)
        .map(|pair| match pair {
            [name, value] if names.contains(&name.as_str()) => Ok((name.clone(), value.clone())),
            [name] if names.contains(&name.as_str()) => bail!("{name} needs a value"),
            _ => bail!("expected {}, found {}", names.join(" or "), pair[0]),
        })
        .collect()
}

fn option_number(options: &[(String, String)], name: &str) -> Result<Option<u64>> {
    let Some((_, value)) = options.iter().find(|(found, _)| found == name) else { return Ok(None) };
    match value.parse() {
        Ok(number) => Ok(Some(number)),
        Err(_) => bail!("{name} takes a whole number, not {value}"),
    }
}

fn whole_seconds(text: &str) -> Result<u64> {
    text.parse().with_context(|| format!("{text} is not a whole number of seconds"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn options_are_read_in_pairs() {
        let options = only_options(&words("--seconds 20"), &["--seconds"]).unwrap();
        assert_eq!(option_number(&options, "--seconds").unwrap(), Some(20));
        assert_eq!(option_number(&[], "--seconds").unwrap(), None);
    }

    #[test]
    fn an_option_without_value_or_name_is_refused() {
        for text in ["--seconds", "--second 20", "20"] {
            assert!(only_options(&words(text), &["--seconds"]).is_err(), "{text}");
        }
        let options = only_options(&words("--seconds soon"), &["--seconds"]).unwrap();
        assert!(option_number(&options, "--seconds").is_err());
    }

    #[test]
    fn an_unknown_command_is_a_usage_error() {
        assert_eq!(dispatch(&words("fly")).unwrap(), ExitCode::from(2));
    }
}
