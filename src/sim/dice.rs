//! Dice that fall the same way for the same seed, on every machine and in every version.

/// A stream of numbers from a seed (SplitMix64).
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    /// Makes dice.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Returns the next number.
    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Returns a number below `end`, which is at least 1.
    pub fn below(&mut self, end: usize) -> usize {
        let end = end.max(1) as u64;
        usize::try_from(self.roll() % end).expect("below a usize")
    }

    /// Says yes once in so many times.
    pub fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    /// Returns a time a quarter longer or shorter than this, in milliseconds.
    pub fn about(&mut self, ms: u64) -> u64 {
        let half = usize::try_from(ms / 2).unwrap_or(usize::MAX - 1);
        ms - ms / 4 + self.below(half + 1) as u64
    }

    /// Picks one.
    ///
    /// # Panics
    /// If there is none.
    pub fn pick<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_always_falls_the_same_way() {
        let falls = |seed| {
            let mut dice = Dice::new(seed);
            (dice.roll(), dice.below(10), dice.about(1000))
        };
        assert_eq!(falls(7), falls(7));
        assert_ne!(falls(7), falls(8));
        // The numbers themselves, so that kept seeds stay what they were.
        assert_eq!(Dice::new(0).roll(), 0xe220_a839_7b1d_cdaf);
        assert!((750..=1250).contains(&falls(3).2));
    }
}
