//! What processes take, by the operating system's account.

use std::time::Duration;

use crate::BenchError;

/// Ticks per second of the times in /proc: USER_HZ, 100 on every Linux.
const TICKS_PER_SECOND: u64 = 100;
/// Fields of /proc/PID/stat, counted from the one behind the program's name: user and system time of all threads, and of
/// the children that have been waited for (proc(5), fields 14 to 17).
const OWN: [usize; 2] = [11, 12];
const CHILDREN: [usize; 2] = [13, 14];

/// CPU time of all child processes of this one that have ended, to 10 ms.
pub(crate) fn cpu_of_children() -> Result<Duration, BenchError> {
    cpu(None, CHILDREN)
}

/// CPU time of this process, to 10 ms.
pub(crate) fn own_cpu() -> Result<Duration, BenchError> {
    cpu(None, OWN)
}

/// CPU time of a process that runs, to 10 ms.
pub(crate) fn cpu_of(pid: u32) -> Result<Duration, BenchError> {
    cpu(Some(pid), OWN)
}

fn cpu(pid: Option<u32>, fields: [usize; 2]) -> Result<Duration, BenchError> {
    let path = path(pid, "stat");
    let stat = std::fs::read_to_string(&path).ok();
    stat.and_then(|stat| parse(&stat, fields)).ok_or(BenchError::NoAccount { path })
}

/// Memory of a process that is in RAM; what it shares with others counts by its share.
pub(crate) fn resident_bytes(pid: u32) -> Result<u64, BenchError> {
    let path = path(Some(pid), "smaps_rollup");
    let text = std::fs::read_to_string(&path).ok();
    text.and_then(|text| parse_pss(&text)).ok_or(BenchError::NoAccount { path })
}

fn path(pid: Option<u32>, name: &str) -> String {
    pid.map_or_else(|| format!("/proc/self/{name}"), |pid| format!("/proc/{pid}/{name}"))
}

fn parse(stat: &str, wanted: [usize; 2]) -> Option<Duration> {
    // The name is in parentheses and may hold anything.
    let (_, fields) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let mut ticks = 0;
    for index in wanted {
        ticks += fields.get(index)?.parse::<u64>().ok()?;
    }
    Some(Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND))
}

fn parse_pss(rollup: &str) -> Option<u64> {
    let kib = rollup.lines().find_map(|line| line.strip_prefix("Pss:")?.trim().strip_suffix(" kB"))?;
    Some(kib.trim().parse::<u64>().ok()? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_stand_behind_any_name() {
        let stat = "12 (a ) b) S 1 1 1 0 -1 4194560 70 0 0 0 500 600 123 45 20 0 1 0 88 1 1";
        assert_eq!(parse(stat, CHILDREN), Some(Duration::from_millis(1680)));
        assert_eq!(parse(stat, OWN), Some(Duration::from_millis(11_000)));
        assert_eq!(parse("12 (a) S 1", OWN), None);
    }

    #[test]
    fn memory_is_the_proportional_share() {
        let rollup = "55d0-7ffd ---p 00000000 00:00 0 [rollup]\nRss:    9 kB\nPss:    2048 kB\nPss_Anon: 1 kB\n";
        assert_eq!(parse_pss(rollup), Some(2 << 20));
        assert_eq!(parse_pss(""), None);
    }
}
