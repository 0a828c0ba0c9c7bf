//! The settings of the size-aware policy.
//!
//! Few on purpose: each is one that was seen to be right for some traffic and wrong for
//! other. What is right everywhere (sizes, rounding, ageing) is no setting.

/// The settings `auto` chooses between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tuning {
    /// Frequency from the sketch, which outlives eviction, and not from hits while here.
    pub history: bool,
    /// The frequency beyond which hits make no difference; 1 leaves recency and size.
    pub frequency_max: u8,
    /// Percentage of the room that newcomers queue in before they are tested.
    pub probation: u8,
    /// Whether a newcomer must outrank all it displaces.
    pub test: bool,
}

impl Tuning {
    /// The settings a cache starts with.
    pub const DEFAULT: Tuning =
        Tuning { history: false, frequency_max: u8::MAX, probation: 0, test: true };

    /// For a cache whose victims a disk takes. Newcomers queue long enough to show that
    /// they are asked for again, and frequency does not outlive eviction: what the disk
    /// holds need not be defended here. On video with a disk of ten times the memory
    /// this misses 0.6 points less than the settings that are best for memory alone.
    pub const BEFORE_DISK: Tuning = Tuning { probation: 5, ..Tuning::DEFAULT };
}

/// The settings to choose between. The first is where every cache starts.
pub const CANDIDATES: [Tuning; 4] = [
    Tuning::DEFAULT,
    Tuning { history: true, probation: 1, ..Tuning::DEFAULT },
    Tuning { history: true, probation: 10, ..Tuning::DEFAULT },
    Tuning { frequency_max: 2, ..Tuning::DEFAULT },
];
