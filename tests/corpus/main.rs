//! What the fuzz targets do with their input, and the inputs they have kept: each is run again here.
//!
//! `fuzz/README.md` tells how to look for more. An input that fails is kept as well, with a test of its own.

mod bytes;
mod config_from_pairs;
#[path = "../lockstep/driver.rs"]
mod driver;
mod script_against_model;
mod virtual_time;

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;

#[test]
fn config_from_pairs() {
    replay("config_from_pairs", config_from_pairs::run);
}

#[test]
fn script_against_model() {
    replay("script_against_model", script_against_model::run);
}

#[test]
fn line_alone() {
    replay("line_alone", admit::line_script);
}

#[test]
fn virtual_time() {
    replay("virtual_time", virtual_time::run);
}

fn replay(target: &str, run: impl Fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/corpus")
        .join(target);
    let mut files: Vec<_> = fs::read_dir(&folder)
        .expect("a target has a corpus")
        .map(|entry| entry.expect("an entry is readable").path())
        .collect();
    files.sort();
    assert!(!files.is_empty(), "a corpus has an input");
    for file in files {
        let input = fs::read(&file).expect("an input is readable");
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| run(&input))) {
            eprintln!("the input is {}", file.display());
            resume_unwind(panic);
        }
    }
}
