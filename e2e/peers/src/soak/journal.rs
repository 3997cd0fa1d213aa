//! The server's log, read for what it says of publishers, and for what must not be in it.

use std::collections::BTreeMap;

/// What the log says.
#[derive(Debug, Default)]
pub(super) struct Journal {
    pub(super) accepted: u64,
    pub(super) refused: u64,
    pub(super) taken_over: u64,
    pub(super) sessions_ended: u64,
    pub(super) violations: Vec<String>,
}

/// Why a publisher of a soak may leave. All else is the server's doing.
const REASONS: [&str; 5] =
    ["unpublished", "closed by the publisher", "reset by peer", "has taken the stream over", "the server stops"];
/// What the disturber is told when it publishes what cannot be served.
const WRONG_CODEC: &str = "Sorenson H.263 is not supported";
/// A publisher that lost its stream is told at once; its line comes with the other's or just after.
const BESIDE_SECONDS: f64 = 3.0;

/// Reads a whole log, in the format for people.
pub(super) fn read(log: &str) -> Journal {
    let mut journal = Journal::default();
    let mut open: BTreeMap<&str, Vec<(&str, f64)>> = BTreeMap::new();
    for line in log.lines() {
        if line.contains("panicked") || line.contains(" ERROR ") {
            journal.violations.push(format!("in the log: {line}"));
        }
        let (stream, address) = (field(line, "stream="), field(line, "address="));
        let now = seconds(line);
        if line.contains("publisher accepted") {
            journal.accepted += 1;
            open.entry(stream).or_default().push((address, now));
        } else if line.contains("publisher left") {
            let reasoned = REASONS.iter().chain([&WRONG_CODEC]).any(|reason| line.contains(reason));
            if !reasoned {
                journal.violations.push(format!("a publisher was sent away: {line}"));
            }
            let publishers = open.entry(stream).or_default();
            let Some(place) = publishers.iter().position(|(open, _)| *open == address) else {
                journal.violations.push(format!("left without having come: {line}"));
                continue;
            };
            publishers.remove(place);
            // Those that came after it were accepted while it was there.
            let beside = publishers[place..].iter().any(|(_, since)| now - since > BESIDE_SECONDS);
            if beside {
                journal.violations.push(format!("two publishers at once until: {line}"));
            }
        } else if line.contains("publisher refused") {
            journal.refused += 1;
        } else if line.contains("taken over") {
            journal.taken_over += 1;
        } else if line.contains("session ended") {
            journal.sessions_ended += 1;
        }
    }
    for (stream, publishers) in open.into_iter().filter(|(_, publishers)| !publishers.is_empty()) {
        journal.violations.push(format!("{stream}: these never left: {publishers:?}"));
    }
    journal
}

/// Lines about the sessions that `violations` name: a session is named by `~` and letters.
pub(super) fn about(log: &str, violations: &[String]) -> Vec<String> {
    let mut sessions: Vec<&str> =
        violations.iter().filter_map(|text| text.split('/').find(|element| element.starts_with('~'))).collect();
    sessions.sort_unstable();
    sessions.dedup();
    let about = |line: &&str| sessions.iter().any(|session| line.contains(session));
    log.lines().filter(about).take(LINES_MAX).map(str::to_owned).collect()
}

/// Lines of the log that are shown with violations.
const LINES_MAX: usize = 100;

/// The value of a field, up to the next blank.
fn field<'a>(line: &'a str, name: &str) -> &'a str {
    line.split_once(name).and_then(|(_, rest)| rest.split(' ').next()).unwrap_or_default()
}

/// Seconds of the day at which a line was written: it begins with `2026-11-26T06:50:02.123456Z`.
fn seconds(line: &str) -> f64 {
    let time = line.split_once('T').and_then(|(_, rest)| rest.split('Z').next()).unwrap_or_default();
    time.split(':').fold(0.0, |sum, part| sum * 60.0 + part.parse().unwrap_or(0.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepted(second: u32, address: &str) -> String {
        format!(
            "2026-11-26T06:50:{second:02}.5Z  INFO i: publisher accepted stream=soak/a session=~1 address={address} encoder=x\n"
        )
    }

    fn left(second: u32, address: &str, reason: &str) -> String {
        format!(
            "2026-11-26T06:50:{second:02}.5Z  INFO i: publisher left stream=soak/a session=~1 address={address} reason=\"{reason}\" clean=true\n"
        )
    }

    fn violations(lines: &[String]) -> Vec<String> {
        read(&lines.concat()).violations
    }

    #[test]
    fn a_takeover_is_no_violation_and_two_publishers_for_long_are() {
        let took = "another publisher has taken the stream over";
        let good = [accepted(0, "h:1"), accepted(5, "h:2"), left(5, "h:1", took), left(30, "h:2", "unpublished")];
        assert_eq!(violations(&good), [""; 0]);
        let bad = [accepted(0, "h:1"), accepted(5, "h:2"), left(15, "h:1", took), left(30, "h:2", "unpublished")];
        assert!(violations(&bad)[0].starts_with("two publishers at once until: "));
        assert_eq!(violations(&good[..3]).len(), 1, "one never left");
    }

    #[test]
    fn trouble_in_the_log_is_found() {
        let lines = [
            "2026-11-26T06:50:00.5Z ERROR h: it broke\n".to_owned(),
            "thread 'main' panicked at x.rs\n".to_owned(),
            accepted(1, "h:1"),
            left(2, "h:1", "took no reply for 10 s"),
            left(3, "h:9", "unpublished"),
        ];
        let violations = violations(&lines);
        assert_eq!(violations.len(), 4, "{violations:?}");
        let about = about(&lines.concat(), &["/soak/a/~1/source: a part is gone".to_owned()]);
        assert_eq!(about.len(), 3, "{about:?}");
    }
}
