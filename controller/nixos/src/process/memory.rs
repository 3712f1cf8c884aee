//! How much memory a program and what it forked hold.

use std::fs;
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::sleep;

use super::group::Group;

/// Between two looks. At first shorter, so that a short run is seen at all.
const MAX_PAUSE: Duration = Duration::from_millis(100);
const FIRST_PAUSE: Duration = Duration::from_millis(5);

/// Watches the resident memory of a process group.
#[derive(Debug)]
pub(super) struct Memory {
    group: Option<i32>,
    peak: u64,
}

impl Memory {
    pub(super) fn of(group: &Group) -> Self {
        Self { group: group.id(), peak: 0 }
    }

    /// The most that was seen so far, in bytes.
    pub(super) fn peak(&self) -> u64 {
        self.peak
    }

    /// Returns when the group holds more than `limit` bytes; never, if it does not.
    pub(super) async fn exceeds(&mut self, limit: u64) {
        let Some(group) = self.group else { return std::future::pending().await };
        let mut pause = FIRST_PAUSE;
        while self.peak <= limit {
            sleep(pause).await;
            pause = (pause * 2).min(MAX_PAUSE);
            let now = spawn_blocking(move || resident(group)).await.unwrap_or_default();
            self.peak = self.peak.max(now);
        }
    }
}

/// Bytes of memory that the processes of `group` hold. What they share is counted for each of them:
/// a program that forks to do the same work twice is about to hold it twice.
fn resident(group: i32) -> u64 {
    let Ok(processes) = fs::read_dir("/proc") else { return 0 };
    let ids = processes.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    // Processes come and go while we look: what cannot be read is gone.
    ids.filter(|id| id.bytes().all(|b| b.is_ascii_digit()))
        .filter(|id| {
            fs::read_to_string(format!("/proc/{id}/stat"))
                .is_ok_and(|stat| group_of(&stat) == Some(group))
        })
        .filter_map(|id| resident_of(&fs::read_to_string(format!("/proc/{id}/status")).ok()?))
        .sum()
}

/// The process group in a line of proc_pid_stat(5): the fifth field. The second is the program's
/// name in parentheses, which may itself have spaces and parentheses.
fn group_of(stat: &str) -> Option<i32> {
    let (_, behind_name) = stat.rsplit_once(')')?;
    behind_name.split_ascii_whitespace().nth(2)?.parse().ok()
}

/// `VmRSS` of proc_pid_status(5), in bytes. A zombie has none.
fn resident_of(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_lines_are_understood() {
        assert_eq!(group_of("4242 (a ) b) S 1 4240 4240 0 -1 4194560"), Some(4240));
        assert_eq!(group_of(""), None);
        let status = "Name:\tnix\nVmHWM:\t   65536 kB\nVmRSS:\t    2048 kB\nThreads:\t1\n";
        assert_eq!(resident_of(status), Some(2 << 20));
        assert_eq!(resident_of("Name:\tnix\nState:\tZ (zombie)\n"), None);
    }
}
