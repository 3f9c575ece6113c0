//! What is used once: P1's bundles and P0's counter. Both are burned durably before anything that depends on
//! data leaves a party.

mod bundles;
mod counter;
mod window;

pub use bundles::{Bundle, BundleHeader, BundleStore, BundleWriter, StoreError};
pub use counter::Counter;
pub use window::Windows;
