//! The test runners' own counts, read from what they print.

use std::ops::AddAssign;

/// Tests that passed and tests that failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
    }
}

impl Counts {
    /// Counts in one line of output: the closing line of a `cargo test` binary (`test result: ok. 3 passed; 0
    /// failed; …`) or of nextest (`Summary [ 1.2s] 5 tests run: 4 passed, 1 failed, 0 skipped`); nothing in
    /// any other line.
    pub(crate) fn in_line(line: &str) -> Self {
        let line = line.trim_start();
        let tail = if line.starts_with("test result:") {
            line
        } else if line.starts_with("Summary [") {
            line.split_once("run:").map_or("", |(_, tail)| tail)
        } else {
            ""
        };
        let mut counts = Self::default();
        let words: Vec<&str> =
            tail.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).collect();
        for pair in words.windows(2) {
            let Ok(number) = pair[0].parse::<u64>() else { continue };
            match pair[1] {
                "passed" => counts.passed += number,
                "failed" | "timed" | "exec" => counts.failed += number,
                _ => {}
            }
        }
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_both_runners() {
        let line = "test result: FAILED. 12 passed; 3 failed; 1 ignored; 0 measured; 7 filtered out; finished in 0.01s";
        assert_eq!(Counts::in_line(line), Counts { passed: 12, failed: 3 });
        let line =
            "     Summary [   0.004s] 9 tests run: 7 passed (1 slow), 1 failed, 1 timed out, 2 skipped";
        assert_eq!(Counts::in_line(line), Counts { passed: 7, failed: 2 });
        let line = "     Summary [   1.204s] 12/30 tests run: 11 passed, 1 exec failed, 0 skipped";
        assert_eq!(Counts::in_line(line), Counts { passed: 11, failed: 1 });
        assert_eq!(Counts::in_line("test gate::relu ... ok"), Counts::default());
        assert_eq!(Counts::in_line("4 passed, 1 failed"), Counts::default());
    }
}
