//! The workflow that runs the steps side by side has a job for every step.

use std::fs;

use crate::steps::{self, root};

#[test]
fn workflow_runs_every_step() {
    let text = fs::read_to_string(root().join(".github/workflows/test.yml")).unwrap();
    let listed = text.lines().filter_map(|line| line.strip_prefix("          - ")).map(str::trim);
    let names = steps::ALL.iter().map(|step| step.name);
    assert!(listed.eq(names), "the steps in .github/workflows/test.yml are not those of xtask/src/steps.rs");
}
