//! Runs a target on one input after the other and says exactly which one it could not take.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use spandrel_crypto::hex;

use crate::Mutator;

/// An input that takes longer has failed: a parser is linear in its few kilobytes.
pub const SLOW: Duration = Duration::from_secs(1);

/// A committed input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seed {
    /// Name of its file.
    pub name: String,
    /// Its content.
    pub bytes: Vec<u8>,
}

/// An input that a target could not take. `Display` gives all there is to run it again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The name of the target.
    pub target: String,
    /// The file of the seed, or the number of the mutation and the generator's seed.
    pub origin: String,
    /// The panic message, or how long it took.
    pub why: String,
    /// The input.
    pub input: Vec<u8>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { target, origin, why, input } = self;
        write!(f, "target {target}, {origin}: {why}\ninput in hex: {}", hex(input))
    }
}

impl std::error::Error for Failure {}

/// The folder with the seeds of a target.
#[must_use]
pub fn seeds_dir(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds").join(target)
}

/// Reads the seeds of a target, sorted by name.
///
/// # Errors
///
/// Those of reading the folder and its files.
pub fn seeds(target: &str) -> std::io::Result<Vec<Seed>> {
    let mut seeds = std::fs::read_dir(seeds_dir(target))?
        .map(|entry| {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            Ok(Seed { name, bytes: std::fs::read(entry.path())? })
        })
        .collect::<std::io::Result<Vec<_>>>()?;
    seeds.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(seeds)
}

impl Seed {
    /// Runs a target on this seed.
    ///
    /// # Errors
    ///
    /// [`Failure`] with the name of the file.
    pub fn run(&self, target: &str, run: fn(&[u8])) -> Result<(), Failure> {
        one(run, &self.bytes).map_err(|why| Failure {
            target: target.to_owned(),
            origin: format!("seed {}", self.name),
            why,
            input: self.bytes.clone(),
        })
    }
}

/// Runs a target on mutations of `seeds` until `time` has passed; gives how many it took.
///
/// # Errors
///
/// [`Failure`] with the number of the mutation: the generator's `seed` makes it again.
pub fn mutations(
    target: &str,
    run: fn(&[u8]),
    seeds: &[Seed],
    seed: u64,
    time: Duration,
) -> Result<u64, Failure> {
    let bytes: Vec<&[u8]> = seeds.iter().map(|seed| seed.bytes.as_slice()).collect();
    let (start, mut mutator, mut count) = (now(), Mutator::new(seed), 0);
    while now().duration_since(start) < time {
        let input = mutator.next_input(&bytes);
        count += 1;
        one(run, &input).map_err(|why| Failure {
            target: target.to_owned(),
            origin: format!("mutation {count} of SPANDREL_SEED={seed}"),
            why,
            input,
        })?;
    }
    Ok(count)
}

fn one(run: fn(&[u8]), input: &[u8]) -> Result<(), String> {
    let start = now();
    catch_unwind(AssertUnwindSafe(|| run(input))).map_err(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        format!("panicked: {}", text.unwrap_or("(no message)"))
    })?;
    let took = now().duration_since(start);
    if took > SLOW { Err(format!("took {} ms", took.as_millis())) } else { Ok(()) }
}

#[expect(clippy::disallowed_methods, reason = "the driver owns the clock")]
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fails_on_x(data: &[u8]) {
        assert!(!data.contains(&b'x'), "an x");
    }

    #[test]
    fn a_panic_names_the_seed_and_shows_the_input() {
        let seed = Seed { name: "bad".into(), bytes: b"ax".to_vec() };
        let failure = seed.run("t", fails_on_x).unwrap_err();
        assert_eq!(failure.to_string(), "target t, seed bad: panicked: an x\ninput in hex: 6178");
    }

    #[test]
    fn a_failing_mutation_is_found_again_by_its_seed() {
        let seeds = [Seed { name: "w".into(), bytes: b"w".to_vec() }];
        let find = || mutations("t", fails_on_x, &seeds, 3, Duration::from_secs(60)).unwrap_err();
        let failure = find();
        assert!(failure.input.contains(&b'x'), "{failure}");
        assert!(failure.origin.ends_with("of SPANDREL_SEED=3"), "{failure}");
        assert_eq!(find(), failure);
    }

    #[test]
    fn a_slow_input_fails() {
        let sleepy = |_: &[u8]| {
            let (lock, bell) = (std::sync::Mutex::new(()), std::sync::Condvar::new());
            let guard = lock.lock().unwrap();
            let _ = bell.wait_timeout(guard, SLOW + Duration::from_millis(50));
        };
        let failure = Seed { name: "s".into(), bytes: vec![] }.run("t", sleepy).unwrap_err();
        assert!(failure.why.starts_with("took 1"), "{failure}");
    }
}
