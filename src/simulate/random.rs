//! Random numbers that a seed determines. Each purpose has its own stream. So the actions of a policy (more members,
//! more polls) do not change the arrivals, and policies are compared on the same input.

use fastrand::Rng;

/// What a stream is for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Purpose {
    Arrivals,
    Bursts,
    Polls,
    /// A member's own stream, by its number.
    Member(u64),
    /// A pod's own stream, by its number.
    Pod(u64),
}

/// The stream of a purpose.
pub(super) fn stream(seed: u64, purpose: Purpose) -> Rng {
    let (kind, number) = match purpose {
        Purpose::Arrivals => (1, 0),
        Purpose::Bursts => (2, 0),
        Purpose::Polls => (3, 0),
        Purpose::Member(number) => (4, number),
        Purpose::Pod(number) => (5, number),
    };
    // Adjacent seeds give similar first numbers in fastrand (Wyrand), so they are hashed first.
    let spread = |x: u64| {
        let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    };
    Rng::with_seed(spread(spread(spread(seed.wrapping_add(1)).wrapping_add(kind)).wrapping_add(number)))
}

/// A number of the standard normal distribution (Box and Muller).
pub(super) fn normal(rng: &mut Rng) -> f64 {
    let u = 1.0 - rng.f64();
    (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * rng.f64()).cos()
}

/// A number with a Poisson distribution: by Knuth's product of uniforms, and by the normal distribution where the
/// difference is negligible.
pub(super) fn poisson(rng: &mut Rng, mean: f64) -> u64 {
    const NORMAL_ABOVE: f64 = 60.0;
    if mean <= 0.0 {
        return 0;
    }
    if mean > NORMAL_ABOVE {
        return (mean + mean.sqrt() * normal(rng)).round().max(0.0) as u64;
    }
    let limit = (-mean).exp();
    let (mut count, mut product) = (0, rng.f64());
    while product > limit {
        count += 1;
        product *= rng.f64();
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_poisson_count_has_its_mean_as_its_variance() {
        for mean in [0.3, 4.0, 50.0, 500.0] {
            let mut rng = stream(7, Purpose::Arrivals);
            let counts: Vec<f64> = (0..20_000).map(|_| poisson(&mut rng, mean) as f64).collect();
            let average = counts.iter().sum::<f64>() / counts.len() as f64;
            let variance = counts.iter().map(|count| (count - average).powi(2)).sum::<f64>() / counts.len() as f64;
            assert!((average / mean - 1.0).abs() < 0.03, "the mean of Poisson({mean}) is {average}");
            assert!((variance / mean - 1.0).abs() < 0.06, "the variance of Poisson({mean}) is {variance}");
        }
    }

    #[test]
    fn streams_of_neighbouring_seeds_and_of_different_purposes_differ() {
        let first = |seed, purpose| stream(seed, purpose).u64(..);
        assert_ne!(first(1, Purpose::Arrivals), first(2, Purpose::Arrivals));
        assert_ne!(first(1, Purpose::Arrivals), first(1, Purpose::Polls));
        assert_ne!(first(1, Purpose::Member(1)), first(1, Purpose::Member(2)));
        assert_eq!(first(1, Purpose::Pod(3)), first(1, Purpose::Pod(3)));
    }
}
