//! What the crates we build on may be: under which licences, and which of them may be there twice.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop there")]

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value as Json;

/// Licences that ask for no more than to be named; for the Mozilla licence see below.
const ALLOWED: [&str; 11] = [
    "0BSD",
    "Apache-2.0",
    "BSD-3-Clause",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
    "Apache-2.0 WITH LLVM-exception",
];

/// Under the Mozilla licence, which asks for the source of these files themselves. Only tests use them; nothing of them is
/// handed on.
const MOZILLA: [&str; 6] = [
    "cssparser",
    "cssparser-macros",
    "dtoa-short",
    "selectors",
    "sse-codec",
    "webdriver",
];

/// What is there in two versions, by why it is. Whatever goes away here is taken off the list.
const TWICE: [(&str, &[&str]); 9] = [
    // The database's protocol hashes with the generation of crates before ours, and so do poem's headers.
    (
        "mysql_async, poem",
        &[
            "base64",
            "block-buffer",
            "cpufeatures",
            "crypto-common",
            "digest",
            "generic-array",
            "sha1",
            "sha2",
        ],
    ),
    ("mysql_async", &["num-bigint"]),
    // Each asks the system for randomness in its own way: ring, mysql_async, and ours.
    ("ring, mysql_async", &["getrandom"]),
    ("saphyr", &["cfg-if", "encoding_rs"]),
    // Reads the texts while the program is built.
    ("rust-i18n", &["bitflags", "toml_datetime", "toml_edit", "winnow"]),
    ("poem, russh", &["nix"]),
    // Macros move to the new generation of `syn` one by one; nothing of them is in the program.
    ("macros", &["syn", "synstructure"]),
    // Tests: reads certificates for rcgen.
    ("rcgen", &["nom"]),
    // Tests: what speaks to the browser.
    (
        "fantoccini",
        &[
            "cookie",
            "http",
            "icu_collections",
            "icu_provider",
            "litemap",
            "thiserror",
            "thiserror-impl",
            "tinystr",
            "writeable",
            "yoke",
            "yoke-derive",
            "zerovec",
            "zerovec-derive",
        ],
    ),
];

/// What `cargo metadata` says of the crates that are built for this machine. It needs no network where they were built.
fn metadata() -> Json {
    let told = Command::new("rustc").arg("-vV").output().unwrap();
    let told = String::from_utf8(told.stdout).unwrap();
    let host = told.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
    let asked = [
        "metadata",
        "--format-version",
        "1",
        "--locked",
        "--offline",
        "--filter-platform",
        host,
    ];
    serde_json::from_str(&cargo(&asked)).unwrap()
}

fn cargo(asked: &[&str]) -> String {
    let folder = env!("CARGO_MANIFEST_DIR");
    let told = Command::new(env!("CARGO"))
        .args(asked)
        .current_dir(folder)
        .output()
        .unwrap();
    assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
    String::from_utf8(told.stdout).unwrap()
}

/// Whether an expression of licences (SPDX; `/` is the former `OR`) can be kept with what is allowed.
fn is_met(expression: &str, allowed: &dyn Fn(&str) -> bool) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut rest = words.as_slice();
    let met = any_of(&mut rest, allowed);
    met && rest.is_empty()
}

fn any_of(rest: &mut &[&str], allowed: &dyn Fn(&str) -> bool) -> bool {
    let mut met = all_of(rest, allowed);
    while let ["OR", after @ ..] = *rest {
        *rest = after;
        met |= all_of(rest, allowed);
    }
    met
}

fn all_of(rest: &mut &[&str], allowed: &dyn Fn(&str) -> bool) -> bool {
    let mut met = one(rest, allowed);
    while let ["AND", after @ ..] = *rest {
        *rest = after;
        met &= one(rest, allowed);
    }
    met
}

fn one(rest: &mut &[&str], allowed: &dyn Fn(&str) -> bool) -> bool {
    match *rest {
        ["(", after @ ..] => {
            *rest = after;
            let met = any_of(rest, allowed);
            let is_closed = rest.first() == Some(&")");
            *rest = rest.get(1..).unwrap_or_default();
            met && is_closed
        }
        [licence, "WITH", exception, after @ ..] => {
            *rest = after;
            allowed(&format!("{licence} WITH {exception}"))
        }
        [licence, after @ ..] => {
            *rest = after;
            allowed(licence)
        }
        [] => false,
    }
}

#[test]
fn an_expression_of_licences_is_read() {
    let allowed = |licence: &str| ["MIT", "ISC", "Apache-2.0 WITH LLVM-exception"].contains(&licence);
    for (expression, met) in [
        ("MIT", true),
        ("GPL-3.0 OR MIT", true),
        ("GPL-3.0/MIT", true),
        ("GPL-3.0 AND MIT", false),
        ("(GPL-3.0 OR MIT) AND ISC", true),
        ("(GPL-3.0 OR MIT) AND GPL-3.0", false),
        ("MIT AND ISC OR GPL-3.0", true),
        ("Apache-2.0 WITH LLVM-exception", true),
        ("Apache-2.0", false),
        ("(MIT", false),
        ("MIT ISC", false),
        ("", false),
    ] {
        assert_eq!(is_met(expression, &allowed), met, "{expression}");
    }
}

#[test]
fn every_crate_may_be_used_and_handed_on() {
    let metadata = metadata();
    let (mut offences, mut mozilla) = (Vec::new(), Vec::new());
    for package in metadata["packages"].as_array().unwrap() {
        let name = package["name"].as_str().unwrap();
        let licence = package["license"].as_str().unwrap_or_default();
        if licence == "MPL-2.0" {
            mozilla.push(name);
        } else if !is_met(licence, &|one| ALLOWED.contains(&one)) {
            offences.push(format!("{name} {}: {licence:?}", package["version"]));
        }
    }
    assert!(offences.is_empty(), "\n{}", offences.join("\n"));
    mozilla.sort_unstable();
    assert_eq!(mozilla, MOZILLA);
    // The features of the tests' own crates are not in this.
    let inside = cargo(&[
        "tree",
        "--edges",
        "normal",
        "--prefix",
        "none",
        "--format",
        "{p}",
        "--locked",
        "--offline",
    ]);
    let inside: BTreeSet<&str> = inside.lines().filter_map(|line| line.split(' ').next()).collect();
    assert!(inside.contains("poem"), "{inside:?}");
    let handed_on: Vec<&str> = MOZILLA.into_iter().filter(|name| inside.contains(name)).collect();
    assert!(handed_on.is_empty(), "{handed_on:?}");
}

#[test]
fn no_crate_is_there_twice_without_a_reason() {
    let metadata = metadata();
    let mut versions: BTreeMap<&str, usize> = BTreeMap::new();
    for package in metadata["packages"].as_array().unwrap() {
        *versions.entry(package["name"].as_str().unwrap()).or_default() += 1;
    }
    let found: BTreeSet<&str> = versions
        .iter()
        .filter(|(_, count)| **count > 1)
        .map(|(name, _)| *name)
        .collect();
    let known: BTreeSet<&str> = TWICE.iter().flat_map(|(_, names)| *names).copied().collect();
    let new: Vec<&&str> = found.difference(&known).collect();
    let gone: Vec<&&str> = known.difference(&found).collect();
    assert!(new.is_empty(), "there twice, and not on the list: {new:?}");
    assert!(gone.is_empty(), "on the list, and not there twice any more: {gone:?}");
}
