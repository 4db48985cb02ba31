//! The fuzz targets on their seeds, on inputs that broke one once, and on mutations of all of them. Quick, and the
//! same in each run; `cargo fuzz` goes on from there.

use std::path::Path;

use tributary_tests::fuzz::{TARGETS, seeds};

/// Of each seed.
const MUTATIONS: u64 = 4_000;

/// SplitMix64: the same mutations in each run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % bound.max(1) as u64) as usize
    }
}

/// A few small changes.
fn mutate(random: &mut Random, input: &mut Vec<u8>) {
    for _ in 0..=random.below(3) {
        let at = random.below(input.len());
        match random.below(6) {
            _ if input.is_empty() => input.push(random.below(256) as u8),
            0 => input[at] ^= 1 << random.below(8),
            1 => input[at] = random.below(256) as u8,
            2 => input.truncate(at),
            3 => input.insert(at, random.below(256) as u8),
            4 => drop(input.drain(at..(at + random.below(16)).min(input.len()))),
            _ => {
                let piece: Vec<u8> = input[at..(at + random.below(32)).min(input.len())].to_vec();
                let to = random.below(input.len());
                input.splice(to..to, piece);
            }
        }
    }
}

/// Inputs that broke a target once, as files.
fn regressions(target: &str) -> Vec<Vec<u8>> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../fuzz/regressions")
        .join(target);
    let Ok(files) = std::fs::read_dir(dir) else {
        // none was found yet
        return Vec::new();
    };
    files
        .map(|file| std::fs::read(file.expect("a file").path()).expect("its bytes"))
        .collect()
}

#[test]
fn no_bytes_make_a_parser_of_untrusted_input_panic_or_break_its_promise() {
    for (target, run) in TARGETS {
        let inputs = [seeds(target), regressions(target)].concat();
        assert!(!inputs.is_empty(), "{target} has seeds");
        for (number, input) in inputs.iter().enumerate() {
            run(input);
            let mut random = Random(number as u64);
            for mutation in 0..MUTATIONS {
                let mut input = input.clone();
                mutate(&mut random, &mut input);
                let right = std::panic::catch_unwind(|| run(&input));
                if right.is_err() {
                    let file = std::env::temp_dir().join(format!("tributary-{target}-{number}-{mutation}"));
                    std::fs::write(&file, &input).expect("the temporary directory");
                    let dir = format!("fuzz/regressions/{target}");
                    panic!("{target} broke: repair it, and keep {} in {dir}", file.display());
                }
            }
        }
    }
}

#[test]
fn seeds_are_small_and_those_that_should_pass_do() {
    use aggregator::view::ViewPlan;
    use edge_agent::intake::payload::document;

    for (target, _) in TARGETS {
        for seed in seeds(target) {
            assert!(seed.len() <= 2_048, "{target}: {} bytes", seed.len());
        }
    }
    let views = seeds("view_sql");
    let compiled = views
        .iter()
        .filter(|sql| ViewPlan::compile("v", std::str::from_utf8(sql).expect("text")).is_ok());
    assert!(compiled.count() >= 3, "mutations start from views that compile");
    assert_eq!(
        document(&seeds("intake")[1], 1_024, None)
            .expect("good events")
            .count,
        3
    );
}
