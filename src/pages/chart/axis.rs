//! An upright axis: from zero to a round number, with few round steps.

/// Ends at a whole number of steps, at the largest value or just above it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Axis {
    step: u64,
    top: u64,
}

/// More lines than this are noise.
const STEPS_MAX: u64 = 4;

impl Axis {
    /// Steps are 1, 2 or 5 times a power of ten. `None` where everything is zero.
    pub(super) fn up_to(largest: u64) -> Option<Axis> {
        if largest == 0 {
            return None;
        }
        let powers = std::iter::successors(Some(1_u64), |power| power.checked_mul(10));
        let mut steps = powers.flat_map(|power| [1, 2, 5].map(|times| power.saturating_mul(times)));
        let step = steps.find(|step| step.saturating_mul(STEPS_MAX) >= largest)?;
        let top = largest.div_ceil(step).saturating_mul(step);
        Some(Axis { step, top })
    }

    /// From zero up.
    pub(super) fn ticks(&self) -> impl Iterator<Item = u64> {
        (0..=self.top / self.step).map(|count| count * self.step)
    }

    /// How high a value stands where the whole axis is `height` high, rounded to the nearest.
    pub(super) fn height(&self, value: u64, height: u32) -> u32 {
        let scaled = u128::from(value.min(self.top)) * u128::from(height);
        let nearest = (scaled + u128::from(self.top) / 2) / u128::from(self.top);
        u32::try_from(nearest).unwrap_or(height)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticks(largest: u64) -> Vec<u64> {
        Axis::up_to(largest).unwrap().ticks().collect()
    }

    #[test]
    fn ticks_are_few_and_round() {
        assert_eq!(ticks(1), [0, 1]);
        assert_eq!(ticks(4), [0, 1, 2, 3, 4]);
        assert_eq!(ticks(5), [0, 2, 4, 6]);
        assert_eq!(ticks(17), [0, 5, 10, 15, 20]);
        assert_eq!(ticks(950), [0, 500, 1_000]);
        assert_eq!(ticks(12_500_000), [0, 5_000_000, 10_000_000, 15_000_000]);
        assert_eq!(Axis::up_to(0), None);
    }

    #[test]
    fn the_largest_there_can_be_is_no_overflow() {
        let axis = Axis::up_to(9_000_000_000_000_000 * 50).unwrap();
        assert_eq!(axis.height(u64::MAX, 160), 160);
    }

    #[test]
    fn heights_are_in_proportion() {
        let axis = Axis::up_to(17).unwrap();
        assert_eq!(
            [0, 5, 10, 20, 99].map(|value| axis.height(value, 160)),
            [0, 40, 80, 160, 160]
        );
    }
}
