//! The step that lints and tests what networks are trained with: a workspace of its own.

use crate::setup::Need;
use crate::steps::{Step, cargo, within};

/// The training program and its layers.
pub(crate) const STEP: Step = Step {
    name: "training",
    what: "the training program's lints and tests: searches, gradients, and layers against their definition",
    needs: &[Need::Component("rustfmt"), Need::Component("clippy")],
    commands: || {
        let commands: [&[&str]; 3] = [
            &["fmt", "--all", "--check"],
            &["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"],
            // Its dev profile optimises what the tests spend their time in, and little else: it is built in
            // a part of the release's time.
            &["test", "--workspace", "--no-fail-fast"],
        ];
        commands.map(|arguments| within("training", cargo(arguments))).into()
    },
    runs_tests: true,
    ..Step::PLAIN
};
