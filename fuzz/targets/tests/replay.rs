//! Every file of the corpora goes through its target, with the compiler that everything else is built with.
#![allow(clippy::unwrap_used, reason = "helpers of tests, too")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use headwater_fuzz_targets::TARGETS;

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The files and folders in a folder, but for README.md.
fn names(folder: &Path) -> BTreeSet<String> {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name != "README.md").collect()
}

#[test]
fn all_corpora_go_through_their_targets() {
    for (name, target) in TARGETS {
        let folder = fuzz().join("corpus").join(name);
        let files = names(&folder);
        assert!(!files.is_empty(), "{} is empty", folder.display());
        for file in files {
            println!("{name}/{file}");
            target(&fs::read(folder.join(file)).unwrap());
        }
    }
}

/// A target that was forgotten would never be run.
#[test]
fn each_target_has_a_corpus_and_a_fuzzer() {
    let targets: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(names(&fuzz().join("corpus")), targets);
    let fuzzers: BTreeSet<String> = targets.iter().map(|name| format!("{name}.rs")).collect();
    assert_eq!(names(&fuzz().join("fuzz_targets")), fuzzers);
    let manifest = fs::read_to_string(fuzz().join("Cargo.toml")).unwrap();
    for name in targets {
        let program = format!("name = \"{name}\"\npath = \"fuzz_targets/{name}.rs\"");
        assert!(manifest.contains(&program), "fuzz/Cargo.toml does not build {name}");
        let text = fs::read_to_string(fuzz().join("fuzz_targets").join(format!("{name}.rs"))).unwrap();
        assert!(text.contains(&format!("run(\"{name}\", data)")), "{name}.rs runs another target");
    }
}

/// A repository is no place for a fuzzer's finds; a corpus is its beginning.
#[test]
fn the_corpora_are_small() {
    let bytes: u64 = TARGETS
        .iter()
        .flat_map(|(name, _)| {
            let folder = fuzz().join("corpus").join(name);
            names(&folder).into_iter().map(move |file| fs::metadata(folder.join(file)).unwrap().len())
        })
        .sum();
    assert!(bytes < 1 << 20, "{bytes} bytes");
}
