//! Progress on standard error, for anything that takes longer than a moment.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Whether and where progress is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// On standard error, if that is a terminal.
    Shown,
    /// Nowhere.
    Hidden,
}

impl Progress {
    /// A bar of `length` steps.
    #[must_use]
    pub fn bar(&self, length: u64, what: &'static str) -> ProgressBar {
        let target = match self {
            Self::Shown => ProgressDrawTarget::stderr(),
            Self::Hidden => ProgressDrawTarget::hidden(),
        };
        let style = ProgressStyle::with_template("{msg:>12} [{bar:40}] {pos}/{len}  {elapsed} of {duration}");
        let bar = ProgressBar::with_draw_target(Some(length), target).with_message(what);
        // The template is a constant that parses; a bar without style would do as well.
        style.map_or(bar.clone(), |style| bar.with_style(style.progress_chars("=> ")))
    }
}
