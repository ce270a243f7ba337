//! Input that nobody expects, for the tests of what reads from outside: good samples that somebody damaged, and plain junk.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::RngSeed;

/// What others have stumbled over.
const PIECES: [&str; 38] = [
    "\0",
    "\n",
    "\r\n",
    "\r",
    "\t",
    " ",
    "\"",
    "'",
    "\\",
    "\\\"",
    "{",
    "}",
    "[",
    "]",
    ":",
    ": ",
    "=",
    ",",
    ";",
    "#",
    "://",
    "@",
    "?",
    "/",
    "%",
    "%+1",
    "%zz",
    "&",
    "*",
    "|",
    "-1",
    "18446744073709551615",
    "1e309",
    "NaN",
    "\u{202e}",
    "\u{feff}",
    "👩‍👩‍👧",
    "••••••",
];

/// The same cases in each run, so that a change is judged by what it changed; `PROPTEST_RNG_SEED=N` looks at others, and
/// `PROPTEST_CASES=N` at more of them. What was found once becomes a test of its own, so no files are kept.
pub fn config() -> ProptestConfig {
    let asked = ProptestConfig::default();
    ProptestConfig {
        failure_persistence: None,
        rng_seed: match asked.rng_seed {
            RngSeed::Random => RngSeed::Fixed(7),
            fixed @ RngSeed::Fixed(_) => fixed,
        },
        ..asked
    }
}

/// One harm done to a text.
#[derive(Debug, Clone)]
enum Harm {
    Cut(Index, Index),
    Put(Index, &'static str),
    Own(Index, String),
    Again(Index, Index, usize),
    End(Index),
}

fn harm() -> impl Strategy<Value = Harm> {
    let place = any::<Index>;
    prop_oneof![
        (place(), place()).prop_map(|(from, to)| Harm::Cut(from, to)),
        (place(), select(PIECES.as_slice())).prop_map(|(at, piece)| Harm::Put(at, piece)),
        (place(), any::<String>()).prop_map(|(at, piece)| Harm::Own(at, piece)),
        (place(), place(), 1..20_usize).prop_map(|(from, to, times)| Harm::Again(from, to, times)),
        place().prop_map(Harm::End),
    ]
}

fn harmed(sample: &str, harms: Vec<Harm>) -> String {
    let mut text: Vec<char> = sample.chars().collect();
    let part = |text: &[char], one: Index, other: Index| {
        let (one, other) = (one.index(text.len() + 1), other.index(text.len() + 1));
        // Short ones leave enough of the sample to be read further.
        one.min(other)..one.max(other).min(one.min(other) + 40)
    };
    for harm in harms {
        match harm {
            Harm::Cut(from, to) => drop(text.drain(part(&text, from, to))),
            Harm::Put(at, piece) => insert(&mut text, at, piece),
            Harm::Own(at, piece) => insert(&mut text, at, &piece),
            Harm::Again(from, to, times) => {
                let again = part(&text, from, to);
                let piece: String = text[again.clone()].iter().collect();
                let rest = text.split_off(again.start);
                text.extend(piece.repeat(times).chars());
                text.extend(rest);
            }
            Harm::End(at) => text.truncate(at.index(text.len() + 1)),
        }
    }
    text.into_iter().collect()
}

fn insert(text: &mut Vec<char>, at: Index, piece: &str) {
    let at = at.index(text.len() + 1);
    text.splice(at..at, piece.chars());
}

/// Any characters, also those that control or turn round.
pub fn junk() -> impl Strategy<Value = String> {
    let odd = select(PIECES.as_slice()).prop_map(str::to_owned);
    let piece = prop_oneof![3 => any::<char>().prop_map(String::from), 1 => odd, 1 => "[a-z0-9]{1,8}"];
    vec(piece, 0..60).prop_map(|pieces| pieces.concat())
}

/// One of the samples, as it is or damaged; sometimes junk.
pub fn text(samples: &'static [&'static str]) -> impl Strategy<Value = String> {
    let damaged = (select(samples), vec(harm(), 0..5)).prop_map(|(sample, harms)| harmed(sample, harms));
    prop_oneof![4 => damaged, 1 => junk()]
}

/// [`text`], also as bytes that are no text.
pub fn bytes(samples: &'static [&'static str]) -> impl Strategy<Value = Vec<u8>> {
    let flipped = (text(samples), vec((any::<Index>(), any::<u8>()), 0..3)).prop_map(|(text, flips)| {
        let mut bytes = text.into_bytes();
        for (at, byte) in flips {
            match bytes.len() {
                0 => bytes.push(byte),
                length => bytes[at.index(length)] = byte,
            }
        }
        bytes
    });
    prop_oneof![6 => flipped, 1 => vec(any::<u8>(), 0..300)]
}
