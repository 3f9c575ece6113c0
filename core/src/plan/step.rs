//! What frames and sections are called: the steps of a layer's exchange, and the kinds of correlated words
//! that they use up.

/// Steps of one group, at most: opening, polynomials, five levels, t, ReLUs, pool; or those of a tournament.
pub const MAX_STEPS: usize = 80;
/// Levels of a tournament, at most: 1,024 classes.
pub const MAX_TOURNAMENT: usize = 10;
// The longest list of steps is a tournament's, and the output.
const _: () = assert!(MAX_TOURNAMENT * (crate::gate::comparison::MAX_LEVELS + 2) + 2 <= MAX_STEPS);

/// One step of the exchange. The name of a frame is (layer, step, tile).
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Step {
    /// Opening 1 of every element.
    Open,
    /// Opening 2 of polynomial elements.
    OpenPolynomial,
    /// One level of the comparison tree.
    Tree(u8),
    /// t = s ⊕ ρ.
    Sign,
    /// Opening 2 of ReLU elements.
    OpenRelu,
    /// Opening 2 of pooled windows.
    OpenPool,
    /// Opening 2 directly after a linear layer.
    OpenLinear,
    /// P0's share of the logits (S).
    Release,
    /// A tournament's differences and masked index choices.
    TournamentOpen(u8),
    /// A level of the comparison tree of a tournament's round.
    TournamentTree(u8, u8),
    /// t of a tournament's round.
    TournamentSign(u8),
    /// P1's words of the output, to P0 as the client.
    Output,
}

impl Step {
    /// The byte that names the step in a frame.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Open => 1,
            Self::OpenPolynomial => 2,
            Self::Sign => 3,
            Self::OpenRelu => 4,
            Self::OpenPool => 5,
            Self::OpenLinear => 6,
            Self::Release => 7,
            Self::Output => 8,
            Self::Tree(level) => 16 + level,
            Self::TournamentOpen(round) => 32 + 8 * round,
            Self::TournamentTree(round, level) => 33 + 8 * round + level,
            Self::TournamentSign(round) => 39 + 8 * round,
        }
    }
}

/// A block of correlations: a stream of P0, a section of P1's bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    /// U: a word of Z_b an element (in H, P1's alone, except before a tournament).
    Sum,
    /// β_0, β_1, γ_0, γ_1 of polynomial elements.
    Polynomial,
    /// Leaf planes of comparisons.
    Leaf,
    /// Planes of a tree level.
    Tree(u8),
    /// ρ, R_0, R_1, ρ·R_0, ρ·R_1 and the mask of ReLU elements.
    Relu,
    /// The mask of a pooled window, or U of a pooled linear sum.
    Window,
    /// R of the released logits.
    Output,
    /// r of a round's differences.
    TournamentMask(u8),
    /// Leaf planes of a round.
    TournamentLeaf(u8),
    /// Tree planes of a round.
    TournamentTree(u8, u8),
    /// ρ, R_0, R_1, ρ·R_0, ρ·R_1 of a round's differences and, from the second, a and ρ·a of the index
    /// choice.
    TournamentSelect(u8),
}

impl Section {
    /// The number that tells its stream from a layer's others.
    #[must_use]
    pub const fn kind(self) -> u64 {
        match self {
            Self::Sum => 1,
            Self::Polynomial => 2,
            Self::Leaf => 3,
            Self::Relu => 4,
            Self::Window => 5,
            Self::Output => 6,
            Self::Tree(level) => 16 + level as u64,
            Self::TournamentMask(round) => 256 + 16 * round as u64,
            Self::TournamentLeaf(round) => 257 + 16 * round as u64,
            Self::TournamentSelect(round) => 258 + 16 * round as u64,
            Self::TournamentTree(round, level) => 260 + 16 * round as u64 + level as u64,
        }
    }
}

/// Elements of a tournament's rounds for so many classes: (pairs, does the last entry pass on).
#[must_use]
pub const fn tournament_round(classes: usize, round: u8) -> (usize, bool) {
    let mut entries = classes;
    let mut at = 0;
    while at < round {
        entries = entries.div_ceil(2);
        at += 1;
    }
    (entries / 2, entries % 2 == 1)
}

/// Rounds of a tournament.
#[must_use]
pub const fn tournament_rounds(classes: usize) -> u8 {
    let mut rounds = 0;
    while tournament_round(classes, rounds).0 > 0 {
        rounds += 1;
    }
    rounds
}
