//! Each target takes its seeds and mutations of them. 2 s per target, 60 s with `SPANDREL_LONG=1`;
//! `SPANDREL_SEED=<number>` chooses the mutations.

#![expect(clippy::print_stdout, reason = "the seed of the mutations is printed")]

use std::time::Duration;

use spandrel_fuzz::{TARGETS, for_each_target, mutations, seeds, seeds_dir, target};

const SEEDS_MIN: usize = 20;
const SEED_BYTES_MAX: usize = 4096;

fn take_seeds(name: &str) {
    let run = target(name).expect("in the table");
    let seeds = seeds(name).unwrap_or_else(|e| panic!("seeds of {name}: {e}"));
    assert!(seeds.len() >= SEEDS_MIN, "{name} has {} seeds, wants {SEEDS_MIN}", seeds.len());
    for seed in seeds {
        assert!(seed.bytes.len() <= SEED_BYTES_MAX, "seed {} of {name} is too long", seed.name);
        seed.run(name, run).unwrap_or_else(|failure| panic!("{failure}"));
    }
}

fn take_mutations(name: &str) {
    let run = target(name).expect("in the table");
    let seeds = seeds(name).unwrap_or_else(|e| panic!("seeds of {name}: {e}"));
    let seed = match std::env::var("SPANDREL_SEED") {
        Ok(text) => text.parse().expect("SPANDREL_SEED is a number"),
        Err(_) => 0x5eed,
    };
    let long = std::env::var("SPANDREL_LONG").is_ok_and(|value| value == "1");
    let time = Duration::from_secs(if long { 60 } else { 2 });
    println!("{name}: SPANDREL_SEED={seed}, {} s", time.as_secs());
    let count = mutations(name, run, &seeds, seed, time).unwrap_or_else(|failure| panic!("{failure}"));
    println!("{name}: {count} mutations");
    assert!(count > 100, "only {count} mutations: the target is too slow to be tried");
}

macro_rules! tests {
    ($($name:ident => $run:path),* $(,)?) => {
        $(mod $name {
            #[test]
            fn takes_its_seeds() {
                crate::take_seeds(stringify!($name));
            }

            #[test]
            fn takes_mutations() {
                crate::take_mutations(stringify!($name));
            }
        })*
    };
}
for_each_target!(tests);

#[test]
fn every_folder_of_seeds_has_its_target() {
    let folders = std::fs::read_dir(seeds_dir("")).unwrap();
    for folder in folders {
        let name = folder.unwrap().file_name().into_string().unwrap();
        assert!(TARGETS.iter().any(|(own, _)| *own == name), "seeds of {name}, but no such target");
    }
}
