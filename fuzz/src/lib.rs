//! The bodies of the fuzz targets, which are those of `tests/corpus/`: whatever is found here is run again there.

#[path = "../../tests/corpus/bytes.rs"]
mod bytes;
#[path = "../../tests/corpus/config_from_pairs.rs"]
mod config;
#[path = "../../tests/lockstep/driver.rs"]
mod driver;
#[path = "../../tests/corpus/script_against_model.rs"]
mod script;
#[path = "../../tests/corpus/virtual_time.rs"]
mod time;

pub use admit::line_script as line_alone;

/// Any environment: no panic, and what is said of it is true.
pub fn config_from_pairs(environment: &[u8]) {
    config::run(environment);
}

/// Any script of operations: the limiter does what the sequential model does.
pub fn script_against_model(script: &[u8]) {
    script::run(script);
}

/// Any script of waiting and passing time: what is due has ended, and nothing is left.
pub fn virtual_time(script: &[u8]) {
    time::run(script);
}
