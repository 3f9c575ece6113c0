//! Two-party private inference, from the ring up, without an operating system.
//!
//! Two computers run a trained network on a picture, which stays with whoever brings it: a third, or one of
//! the two. In two of three modes neither of them has the network. It is made of integers, every value on the
//! way is an additive *share* or stands under a one-time mask, and the answer is exact: what the same
//! integers give in the clear, with every division rounded at random to one of its two neighbours.
//!
//! # Who holds and sees what
//!
//! | | holds | sees |
//! |---|---|---|
//! | **P0**, the *seed party*; may be a microcontroller | the plan, a 32-byte seed, a counter | masked values and noise; as the client, the picture and the answer |
//! | **P1**, the *bundle party*; a host | the plan, its half of the weights, one *bundle* an inference | masked values and noise |
//! | **D**, the *dealer* | the model, P0's seed, randomness of its own | nothing: it makes the files beforehand and is never online |
//! | **client** | the picture | the answer; it is P0 itself, or a third that talks to both parties |
//!
//! | [`Mode`] | the weights | the client |
//! |---|---|---|
//! | `TwoServers` (T) | shared between the parties | a third |
//! | `Shared` (S) | shared | P0, or a third |
//! | `Held` (H) | P1's, whole | P0, or a third; P0 does no linear work and keeps no tensor |
//!
//! # The exchange
//!
//! Mode S, P0 as the client. `[v]_0` is P0's share of `v`; what H leaves out is marked, for P1 knows it.
//!
//! ```text
//!   D ─ seed, once ─▶ P0  Acceptor                      P1  Proposer ◀─ bundle k ─ D
//!                     │                                 │
//!                     │                                 │ Event::Propose: propose(deal, k)
//!                     │◀──── Hello: files, deal, k ─────│
//!         Event::Burn │                                 │
//!    k is written     │                                 │
//!    down: burned()   │───── Reply: accepted ──────────▶│ Event::Burn
//!                     │───── Acknowledge ──────────────▶│ k is written down: burned()
//!                     │◀──── Acknowledge ───────────────│
//!                     │      (till here nothing secret) │
//!                     │───── E = X − A ────────────────▶│ the picture, masked
//!   ┌ a layer         │                                 │
//!   │ linear          │      no message                 │ [z + r] = E ⊗ [Y] + [U]
//!   │ opening 1       │───── [z + r]_0 ──── not in H ──▶│
//!   │                 │◀──── C = (z + r) >> f1 ─────────│ C = y + R, y = z / 2^f1
//!   │ comparison      │◀──── masked bits, by level ────▶│ is C mod 2^k < R mod 2^k ?
//!   │                 │◀──── t = s ⊕ ρ ────────────────▶│ s: is y ≥ 0 ?
//!   │ opening 2       │───── [relu(y) + r2]_0 ─────────▶│
//!   └                 │◀──── E of the next layer ───────│ not in H
//!                     │      …                          │
//!                     │◀──── [label]_1 or [logits]_1 ───│
//!   Event::Done       │                                 │ Event::Done
//!   answer()          │                                 │
//! ```
//!
//! An element that is a polynomial instead of a ReLU skips the comparison. Which bits travel, and why each is
//! uniform to who sees it, is in `docs/PROTOCOL.md`; the names below are that page's.
//!
//! # What to call
//!
//! | who | calls |
//! |---|---|
//! | D, once | [`Model::decode`], or a [`Model`] made of borrowed integers and [`Model::validate`]; [`plan::compile::compile`] into a buffer, a larger one if that is [`error::ModelError::TooLarge`]; draws the seed and an [`Agreement`], whose `plan` is [`Plan::hash`] |
//! | D, for each counter | [`dealer::Secrets::new`], then [`dealer::deal`] with [`dealer::FullWeights`] in a [`party::bundle::PortableModel`] and [`dealer::arena_words`] words of memory: what it writes is P1's bundle |
//! | both, at first | [`Plan::decode`] of the plan's bytes; lend it, the weights and [`Plan::arena_words`] words as [`Lent`] to [`Acceptor::new`] or [`Proposer::new`] |
//! | both, in a loop | answer [`Endpoint::event`]; send what [`Endpoint::poll_transmit`] writes into [`endpoint::longest_between_parties`] bytes; while [`Endpoint::can_receive`], [`Endpoint::handle_frame`] |
//! | P0, at [`Event::Burn`] | [`Acceptor::burned`] with the next counter and a [`party::seed::SeedHalf`] of [`party::seed::inference_key`] |
//! | P1, at [`Event::Burn`] | [`Proposer::burned`] with a [`party::bundle::BundleHalf`] of the bundle and [`plan::cost::input_section_bytes`] |
//!
//! The weights that are lent are in H [`party::seed::NoModel`] to P0, and the model's own to P1.
//!
//! # All of it in one thread
//!
//! `cargo run -p halfnet-core --example two_parties`:
//!
//! ```
#![doc = include_str!("../examples/two_parties.rs")]
//! ```
//!
//! What else it takes:
//!
//! * In T and S the dealer splits every tensor of [`dealer::tensors`] with [`dealer::split_tensor`] under
//!   [`party::seed::model_key`]. P1 keeps the result and gives it to [`party::bundle::PortableModel`] through
//!   [`party::bundle::Tensors`]; P0 regenerates its shares with [`party::seed::SeedModel`].
//! * For a third client there is [`ThirdClient`], and P0 gets [`endpoint::NoPicture`].
//! * A counter is used once. Its store must outlive a loss of power, and must not come back from a backup: see
//!   [`Event::Burn`].
//! * A pixel becomes an integer of the input by [`model::Normalisation::apply`].
//!
//! # The modules, in reading order
//!
//! Each uses only those before it, but for lengths and names that `plan` takes from `wire`.
//!
//! 1. [`error`], [`ring`], [`shape`], [`fixed_point`]: integers modulo 2^b, indices, pixels.
//! 2. [`packing`], [`bits`], [`prg`]: elements as bytes, 64 comparisons a word, streams from keys.
//! 3. [`model`]: a network in integers. [`plan`]: the same network as everybody may see it, and what it costs.
//! 4. [`opening`] and [`gate`]: what is masked and opened, and each gate's `deal`, `evaluate`, `reference`.
//! 5. [`exchange`]: a file each for what is said about a layer: what it moves, when, how, and what is dealt for it.
//!    [`dealer`] and [`party`]: one walk over the plan, once with everything known, once with a half.
//! 6. [`wire`] and [`endpoint`]: frames and messages, and the whole conversation, from Hello to the answer.
//! 7. [`board`]: what a microcontroller is flashed with.
//!
//! # Features
//!
//! * `wide-rings` (default): rings of 33 to 64 bits. Without it plans that have any are refused, and a board
//!   saves flash.
//! * `defmt`: `defmt::Format` on errors, events and public types, for a microcontroller's log.
//!
//! # What it does not do
//!
//! No network, no files, no clock and no randomness: frames, stores, deadlines, keys and memory are the
//! caller's. Nothing is encrypted on its way, nobody is authenticated: put it inside a channel that does both.
//! Both parties are taken to follow the protocol (semi-honest) and not to pool what they know; the dealer is
//! taken not to get hold of a transcript. What the answers themselves tell is not bounded.
//!
//! # Glossary
//!
//! | | |
//! |---|---|
//! | b | bits of the ring of a layer's sum z |
//! | f1 | bits that opening 1 cuts of z |
//! | n | b − f1, the bits that opening 1 opens |
//! | f2 | bits that opening 2 cuts: 0 for a ReLU, f_c for a polynomial, f directly after a linear layer |
//! | W | bits of a wire between layers: what its consumers need |
//! | L | W + f2, the bits of what opening 2 opens |
//! | k | n − 2, the bits that a ReLU's comparison compares |
//! | X | a tensor between layers; no party has it |
//! | A | its mask, uniform in Z_W, known to the dealer alone; of the input, to P0 as the client too |
//! | E | X − A, what the parties have of it (in H P1 alone) |
//! | Y | a layer's weights |
//! | U | A ⊗ Y + bias + the mask of the opening that follows, shared |
//! | y | z cut by f1 bits: what the activation is of |
//! | r, R | the mask of opening 1, and its bits above f1: uniform, the dealer's own |
//! | C | y + R modulo 2^n (plus a constant), what opening 1 opens |
//! | s, ρ, t | the sign of y; a uniform bit of the dealer's; t = s ⊕ ρ, which is opened |
//! | share | one of two numbers, each uniform by itself, whose sum (of bits, whose XOR) is the value |
//! | correlation | shares of random values that fit each other, as A, A ⊗ Y and R do, used once |
//! | opening | both parties learn a value that is under a mask; *mutual* in T, *by turns* in S and H |
//! | seed party, P0 | expands its half of all correlations from 32 bytes |
//! | bundle party, P1 | reads its half from a bundle |
//! | bundle | P1's half of the correlations of one inference |
//! | dealer, D | makes all correlations beforehand |
//! | counter | the name of an inference within a pairing; dealt once, burned once |
//! | deal | one run of the dealer, as an identifier: which bundles a counter is of |
//! | pairing | P0's seed and P1's files as made for each other, as an identifier |
//! | provisioning | one split of the weights, as an identifier |
//! | tile | a run of elements that are computed, sent and taken together |
//! | group | a run of tiles whose comparisons are carried out together |
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

pub mod bits;
pub mod board;
pub mod dealer;
pub mod endpoint;
pub mod error;
pub mod exchange;
pub mod fixed_point;
pub mod gate;
pub mod model;
pub mod opening;
pub mod packing;
pub mod party;
pub mod plan;
pub mod prg;
pub mod ring;
pub mod shape;
pub mod wire;

pub use endpoint::{Acceptor, Endpoint, Event, Lent, Nonces, Proposer, ThirdClient, Who};
pub use model::Model;
pub use plan::{Client, Mode, Options, Plan, Release, Role};
pub use prg::Key;
pub use wire::message::Agreement;
