//! When an object is looked at again.

use std::time::Duration;

use rand::Rng;

use crate::args::ScheduleArgs;

/// The delays, with jitter, so that objects made together are not visited together for ever.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    min_interval: Duration,
    backoff_base: Duration,
    backoff_max: Duration,
}

impl From<&ScheduleArgs> for Schedule {
    fn from(args: &ScheduleArgs) -> Self {
        Self {
            min_interval: args.min_interval,
            backoff_base: args.backoff_base,
            backoff_max: args.backoff_max.max(args.backoff_base),
        }
    }
}

impl Schedule {
    /// The object's `interval`, not below the floor, ±10 %.
    pub fn interval(&self, interval: Duration, random: &mut impl Rng) -> Duration {
        interval.max(self.min_interval).mul_f64(random.random_range(0.9..=1.1))
    }

    /// The delay after `failures` failures in a row (at least 1): the base doubled for each after
    /// the first, capped, and of that half to the whole.
    pub fn backoff(&self, failures: u32, random: &mut impl Rng) -> Duration {
        let doublings = failures.saturating_sub(1).min(30);
        let full = self.backoff_base.saturating_mul(1 << doublings).min(self.backoff_max);
        full.mul_f64(random.random_range(0.5..=1.0))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand::rngs::SmallRng;

    use super::*;

    const SCHEDULE: Schedule = Schedule {
        min_interval: Duration::from_secs(5),
        backoff_base: Duration::from_secs(1),
        backoff_max: Duration::from_mins(5),
    };

    proptest! {
        #[test]
        fn delays_stay_within_their_bounds(seed: u64, failures in 1_u32.., seconds in 0_u64..100_000) {
            let mut random = SmallRng::seed_from_u64(seed);
            let interval = Duration::from_secs(seconds);
            let next = SCHEDULE.interval(interval, &mut random);
            let wanted = interval.max(SCHEDULE.min_interval);
            prop_assert!(next >= wanted.mul_f64(0.899) && next <= wanted.mul_f64(1.101));

            let delay = SCHEDULE.backoff(failures, &mut random);
            prop_assert!(delay >= Duration::from_millis(500));
            prop_assert!(delay <= SCHEDULE.backoff_max);
        }
    }

    #[test]
    fn each_failure_doubles_the_delay_up_to_the_cap() {
        let mut random = SmallRng::seed_from_u64(1);
        for (failures, full) in [(1, 1), (2, 2), (3, 4), (9, 256), (10, 300), (4_000_000_000, 300)]
        {
            let delay = SCHEDULE.backoff(failures, &mut random).as_secs_f64();
            let full = f64::from(full);
            assert!((full / 2.0..=full).contains(&delay), "{failures}: {delay}");
        }
    }
}
