//! What the kernel knows of this process, under the names that every Prometheus dashboard expects.

use std::fs;

/// Everything is zero where there is no `/proc`.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Process {
    pub(super) resident_bytes: i64,
    pub(super) cpu_seconds: f64,
    pub(super) open_files: i64,
}

/// The kernel counts in these, to user space, on every architecture we build for.
const TICKS_PER_SECOND: f64 = 100.0;

impl Process {
    pub(super) fn read() -> Self {
        let read = |name: &str| fs::read_to_string(format!("/proc/self/{name}")).unwrap_or_default();
        Self {
            resident_bytes: resident_bytes(&read("status")).unwrap_or_default(),
            cpu_seconds: cpu_seconds(&read("stat")).unwrap_or_default(),
            // One of them is the folder itself.
            open_files: fs::read_dir("/proc/self/fd").map_or(0, |files| files.count() as i64 - 1),
        }
    }
}

fn resident_bytes(status: &str) -> Option<i64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: i64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

/// Of the user and the system, which are the 14th and 15th field; the 2nd is a name that may hold anything.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let ticks: Vec<f64> = fields.split_whitespace().skip(11).take(2).filter_map(|field| field.parse().ok()).collect();
    (ticks.len() == 2).then(|| ticks.iter().sum::<f64>() / TICKS_PER_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_words_are_understood() {
        assert_eq!(resident_bytes("Name:\tx\nVmRSS:\t    5900 kB\nThreads:\t1\n"), Some(5900 * 1024));
        assert_eq!(cpu_seconds("1 (a) b) S 1 1 1 0 -1 4 9 0 0 0 150 50 0 0 20 0"), Some(2.0));
        assert_eq!((resident_bytes(""), cpu_seconds("1 (a) S 1")), (None, None));
    }

    #[test]
    fn a_process_has_memory_and_files() {
        let process = Process::read();
        assert!(process.resident_bytes > 100_000 && process.open_files >= 3, "{process:?}");
    }
}
