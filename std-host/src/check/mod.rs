//! Whether two parties answer what they must.
//!
//! [`predict`] knows it beforehand from the dealer's state and its [`coins`], [`pair`] runs both processes,
//! [`trial`] deals for them and judges them, [`mod@bench`] has networks to measure on, and [`inspection`] says what a
//! model costs before it runs. [`compare`] and [`transcript`] look into a [`rehearsal`] of both parties in one
//! process. [`interrupt`] removes what none of them may leave behind.

pub mod bench;
pub mod coins;
pub mod compare;
pub mod inspection;
pub mod interrupt;
pub mod pair;
pub mod predict;
pub mod rehearsal;
pub mod transcript;
pub mod trial;
