//! What the server's process holds, by /proc.

use std::time::Duration;

use crate::clock::poll;

/// The process at one moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Sample {
    /// Resident memory.
    pub(super) kib: u64,
    pub(super) threads: u64,
    /// Open file descriptors.
    pub(super) files: u64,
}

/// How long the allocator's pools, threads and caches take to fill.
const WARM_UP: Duration = Duration::from_secs(60);
/// Below this, a comparison of halves says nothing.
const LENGTH_MIN: Duration = Duration::from_secs(150);
/// How much more the second half may hold than the first: a tenth, and what one session more or less makes.
const GROWTH: u64 = 10;
const GROWTH_KIB: u64 = 8 << 10;
/// Descriptors that a runtime opens when it is used.
const FILES_MORE: u64 = 4;

impl Sample {
    pub(super) fn of(pid: u32) -> Option<Self> {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let number = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.split_whitespace().next()?.parse().ok()
        };
        let files = std::fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count() as u64;
        Some(Self { kib: number("VmRSS:")?, threads: number("Threads:")?, files })
    }
}

/// Smallest, middle and largest; zeros of nothing.
pub(super) fn spread(samples: &[Sample], of: impl Fn(&Sample) -> u64) -> [u64; 3] {
    let mut values: Vec<u64> = samples.iter().map(of).collect();
    values.sort_unstable();
    match values[..] {
        [] => [0; 3],
        [first, ..] => [first, values[values.len() / 2], values[values.len() - 1]],
    }
}

/// Medians of the memory after the warm-up, by quarters of the time, in KiB.
pub(super) fn quarters(samples: &[Sample], length: Duration) -> Option<[u64; 4]> {
    let all = warm(samples, length)?;
    let at = |quarter: usize| all.len() * quarter / 4;
    Some([0, 1, 2, 3].map(|quarter| spread(&all[at(quarter)..at(quarter + 1)], |sample| sample.kib)[1]))
}

/// The samples after the warm-up, if enough are left.
fn warm(samples: &[Sample], length: Duration) -> Option<&[Sample]> {
    let cold = samples.len() * usize::try_from(WARM_UP.as_millis() * 1000 / length.as_millis().max(1)).ok()? / 1000;
    if length < LENGTH_MIN { None } else { samples.get(cold..) }
}

/// What is wrong with the course of memory.
pub(super) fn not_flat(samples: &[Sample], length: Duration) -> Option<String> {
    let all = warm(samples, length)?;
    let (first, second) = all.split_at(all.len() / 2);
    let [first, second] = [first, second].map(|half| spread(half, |sample| sample.kib)[1]);
    let limit = first + first / GROWTH + GROWTH_KIB;
    (second > limit).then(|| format!("memory grows: {first} KiB in the first half, {second} KiB in the second"))
}

/// What is still open `calm` after everybody has left, beyond what was open `before` anybody came.
pub(super) fn left_open(pid: u32, before: Sample, calm: Duration) -> Option<String> {
    let files = || Sample::of(pid).map_or(0, |sample| sample.files);
    let limit = before.files + FILES_MORE;
    match poll(calm, || (files() <= limit).then_some(())) {
        Some(()) => None,
        None => Some(format!("{} descriptors are open, {} were in the beginning", files(), before.files)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(kib: impl Fn(u64) -> u64) -> Vec<Sample> {
        (0..200).map(|second| Sample { kib: kib(second), threads: 1, files: 1 }).collect()
    }

    #[test]
    fn growth_after_the_warm_up_is_found() {
        let length = Duration::from_secs(200);
        assert_eq!(not_flat(&samples(|second| 100_000 + second.min(60) * 1000), length), None);
        assert_eq!(not_flat(&samples(|second| 100_000 + second % 7 * 1000), length), None);
        assert!(not_flat(&samples(|second| 100_000 + second * 500), length).is_some());
        assert_eq!(not_flat(&samples(|second| 100_000 + second * 500), Duration::from_secs(30)), None);
    }

    #[test]
    fn a_process_can_be_looked_at() {
        let own = Sample::of(std::process::id()).unwrap();
        assert!(own.kib > 0 && own.threads > 0 && own.files > 2, "{own:?}");
        assert_eq!(spread(&[], |sample| sample.kib), [0; 3]);
    }
}
