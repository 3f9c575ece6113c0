//! What a process takes: processor time and memory.

use rustix::time::{ClockId, clock_gettime};

/// Processor seconds of this thread so far.
#[must_use]
pub fn thread_seconds() -> f64 {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    now.tv_sec as f64 + now.tv_nsec as f64 * 1e-9
}

/// The most memory that this process ever held resident, in bytes; 0 where the operating system does not say.
#[must_use]
pub fn peak_rss_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"));
    line.and_then(|l| l.split_whitespace().next())
        .and_then(|kib| kib.parse::<u64>().ok())
        .map_or(0, |kib| kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_plausible() {
        let before = thread_seconds();
        let mut sum = 0_u64;
        while thread_seconds() < before + 0.01 {
            sum = sum.wrapping_mul(3).wrapping_add(1);
        }
        assert!(sum != 0 && peak_rss_bytes() > 1 << 20);
    }
}
