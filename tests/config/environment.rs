//! The environment of a real process, chosen for a child.

use super::*;

/// Run by the tests below in a process whose environment they choose; by itself it says what this one has.
#[test]
fn child_prints_its_config() {
    match LimitConfig::from_env() {
        Ok(config) => println!("config: {config:?}"),
        Err(error) => println!("error: {error}"),
    }
}

fn child() -> Command {
    let program = std::env::current_exe().expect("the path of this test");
    let mut child = Command::new(program);
    child.args([
        "environment::child_prints_its_config",
        "--exact",
        "--nocapture",
    ]);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("LIMITS_") {
            child.env_remove(name);
        }
    }
    child
}

fn printed(child: &mut Command) -> String {
    let output = child.output().expect("the test starts itself");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("plain text")
}

#[test]
fn the_environment_is_read() {
    let said = printed(
        child()
            .env("LIMITS_MAX_CONCURRENT_GLOBAL", "77")
            .env("LIMITS_QUEUE_TIMEOUT_SECONDS", " 0.25 "),
    );
    assert!(said.contains("max_concurrent_global: 77"), "{said}");
    assert!(said.contains("queue_timeout: 250ms"), "{said}");
    assert!(said.contains("max_concurrent_per_user: 3"), "{said}");

    let said = printed(
        child()
            .env("LIMITS_ENABLED", "")
            .env("LIMITS_MAX_QUEUE_SIZE", "7"),
    );
    assert!(said.contains("the limits have 2 faults:"), "{said}");
    assert!(said.contains("LIMITS_ENABLED = \"\": must be"), "{said}");
    assert!(
        said.contains("LIMITS_MAX_QUEUE_SIZE = \"7\": no setting"),
        "{said}"
    );
}

#[cfg(unix)]
#[test]
fn a_value_that_is_not_unicode_is_a_fault_only_if_it_is_ours() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    let broken = OsStr::from_bytes(b"3\xff");
    let said = printed(child().env("SOMETHING_ELSE", broken));
    assert!(said.contains("config: "), "{said}");

    let said = printed(
        child()
            .env("LIMITS_MAX_CONCURRENT_PER_USER", broken)
            .env(OsStr::from_bytes(b"LIMITS_\xff"), "1")
            .env("LIMITS_ENABELD", broken),
    );
    assert!(said.contains("the limits have 3 faults:"), "{said}");
    assert!(
        said.contains("LIMITS_MAX_CONCURRENT_PER_USER = \"3\u{fffd}\": not Unicode"),
        "{said}"
    );
    assert!(
        said.contains("LIMITS_\u{fffd} = \"1\": no setting"),
        "{said}"
    );
    assert!(said.contains("did you mean LIMITS_ENABLED?"), "{said}");
}
