//! What the kernel tells of a process: its memory, its files, its threads, its time.

use std::fs;

/// As it is now.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Vitals {
    pub(crate) resident_mb: f64,
    /// What of that is its own data, in bytes: the pages of the program itself come as they are first used.
    pub(crate) data: f64,
    /// The most that was ever resident.
    pub(crate) peak_mb: f64,
    pub(crate) files: usize,
    pub(crate) threads: usize,
    /// For how many seconds it would have run, and the processor was busy with others.
    pub(crate) waited: f64,
}

impl Vitals {
    /// None once it has ended.
    pub(crate) fn of(process: u32) -> Option<Self> {
        let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
        Some(Self {
            resident_mb: bytes(&status, "VmRSS:")? / 1_000_000.0,
            data: bytes(&status, "RssAnon:")?,
            peak_mb: bytes(&status, "VmHWM:")? / 1_000_000.0,
            files: fs::read_dir(format!("/proc/{process}/fd")).ok()?.count(),
            threads: fs::read_dir(format!("/proc/{process}/task")).ok()?.count(),
            waited: waited(&fs::read_to_string(format!("/proc/{process}/schedstat")).ok()?)?,
        })
    }
}

fn bytes(status: &str, field: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    let kibibytes: f64 = line.trim().trim_end_matches(" kB").parse().ok()?;
    Some(kibibytes * 1024.0)
}

/// Time on the processor, time in its queue, and how often, in nanoseconds: of the main thread, on which all is done.
fn waited(schedstat: &str) -> Option<f64> {
    let nanoseconds: f64 = schedstat.split_whitespace().nth(1)?.parse().ok()?;
    Some(nanoseconds / 1e9)
}
