//! CPU time by the operating system's account.

use std::time::Duration;

use crate::BenchError;

/// Ticks per second of the times in /proc: USER_HZ, 100 on every Linux.
const TICKS_PER_SECOND: u64 = 100;
/// Fields of /proc/PID/stat, counted from the one behind the program's name: cutime and cstime, user and system time of
/// the children that have been waited for (proc(5), fields 16 and 17).
const CHILDREN: [usize; 2] = [13, 14];

/// CPU time of all child processes of this one that have ended, to 10 ms.
pub(crate) fn of_children() -> Result<Duration, BenchError> {
    let stat = std::fs::read_to_string("/proc/self/stat").map_err(|_| BenchError::NoAccount)?;
    parse(&stat).ok_or(BenchError::NoAccount)
}

fn parse(stat: &str) -> Option<Duration> {
    // The name is in parentheses and may hold anything.
    let (_, fields) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let mut ticks = 0;
    for index in CHILDREN {
        ticks += fields.get(index)?.parse::<u64>().ok()?;
    }
    Some(Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_children_stand_behind_any_name() {
        let stat = "12 (a ) b) S 1 1 1 0 -1 4194560 70 0 0 0 500 600 123 45 20 0 1 0 88 1 1";
        assert_eq!(parse(stat), Some(Duration::from_millis(1680)));
        assert_eq!(parse("12 (a) S 1"), None);
    }
}
