//! The shape of the source tree, kept: imports point downwards, and what can block, order or reclaim is named in one
//! place. It reads the paths in `src/`; comments, texts and `mod tests` do not count.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// Each module of the crate with those it may use, from the ground up: a row only names rows above it.
const LAYERS: &[(&str, &[&str])] = &[
    // Vocabulary: plain data.
    ("error", &[]),
    ("policy", &[]),
    ("clock", &[]),
    ("config", &["error", "policy"]),
    // What a user's key has to be.
    ("UserKey", &[]),
    // The sequential reference model.
    ("spec", &["error", "policy", "clock", "config"]),
    // The primitives.
    ("sync", &[]),
    // All the concurrency.
    (
        "core",
        &["error", "policy", "clock", "config", "UserKey", "sync"],
    ),
    // The public types.
    (
        "facade",
        &["error", "policy", "clock", "config", "UserKey", "core"],
    ),
];

/// Files that may look upwards, and why.
const UPWARDS: &[(&str, &str)] = &[(
    "core/models.rs",
    "the models drive the core through the public types, as a program does",
)];

/// What is named in `src/sync/` only, so that the model checker can take its place.
const PRIMITIVES: &[&str] = &[
    "std::sync::atomic",
    "std::sync::Mutex",
    "std::sync::RwLock",
    "std::sync::Condvar",
    "std::sync::Barrier",
    "std::sync::Once",
    "std::sync::OnceLock",
    "std::sync::LazyLock",
    "std::sync::mpsc",
    "std::cell",
    "std::thread",
    "std::hint::spin_loop",
    "std::time::Instant",
    "std::time::SystemTime",
    "arc_swap",
    "crossbeam",
    "crossbeam_skiplist",
    "dashmap",
    "loom",
];

/// Where else one of them is named, and why.
const EXCEPTIONS: &[(&str, &str, &str)] = &[
    (
        "clock.rs",
        "std::sync::atomic",
        "the pretended time: the same in a model, where it is no part of what is explored",
    ),
    (
        "clock.rs",
        "std::sync::Mutex",
        "the lists of the FakeClock, which is for tests",
    ),
    (
        "clock.rs",
        "std::sync::OnceLock",
        "the first look at the real clock of a process fixes its zero",
    ),
    (
        "clock.rs",
        "std::time::Instant",
        "the one place that reads the real clock for deadlines",
    ),
    (
        "core/deadline.rs",
        "std::sync::OnceLock",
        "the handle of the helper thread, set once by that thread and only tried by others",
    ),
    (
        "core/deadline.rs",
        "std::thread",
        "the helper thread: started, parked and unparked here",
    ),
    (
        "core/dispatch.rs",
        "std::thread",
        "whether a panic is under way decides if another one may go on",
    ),
    (
        "core/line_models.rs",
        "loom",
        "the models are written for the checker",
    ),
    (
        "core/models.rs",
        "loom",
        "the models are written for the checker",
    ),
    (
        "core/totals.rs",
        "std::sync::atomic",
        "statistics: no part of the protocol, so not explored by the checker",
    ),
    (
        "core/users.rs",
        "std::sync::Mutex",
        "one reload, close or reset at a time; no request takes it",
    ),
    (
        "facade/limiter.rs",
        "std::thread",
        "drained_blocking parks the caller",
    ),
    (
        "facade/limiter.rs",
        "std::time::Instant",
        "drained_blocking goes by real time",
    ),
    (
        "facade/process.rs",
        "std::sync::OnceLock",
        "the limiter of the process, made once",
    ),
    (
        "facade/ticket.rs",
        "std::thread",
        "waiting on a thread parks it",
    ),
];

#[test]
fn a_layer_names_only_layers_above_it_in_the_table() {
    for (row, (module, may_use)) in LAYERS.iter().enumerate() {
        for used in *may_use {
            let is_above = LAYERS[..row].iter().any(|(name, _)| name == used);
            assert!(is_above, "{module} may use {used}, which is no row above");
        }
    }
}

#[test]
fn imports_point_downwards() {
    let sources = sources();
    let root_names = root_names(&sources);
    let mut faults = String::new();
    let mut used_upwards = BTreeSet::new();
    for source in sources.iter().filter(|source| source.name != "lib.rs") {
        let own = source.module[0].as_str();
        let Some((_, may_use)) = LAYERS.iter().find(|(module, _)| *module == own) else {
            let _ = writeln!(
                faults,
                "{}: {own} is in no row of the table of layers",
                source.name
            );
            continue;
        };
        for path in &source.inside {
            let Some(name) = path.first() else { continue };
            let used = root_names.get(name).unwrap_or(name).as_str();
            if used == own || may_use.contains(&used) {
                continue;
            }
            if UPWARDS.iter().any(|(file, _)| *file == source.name) {
                used_upwards.insert(source.name.clone());
                continue;
            }
            let path = path.join("::");
            let _ = writeln!(
                faults,
                "{}: {own} may not use {used} (crate::{path})",
                source.name
            );
        }
    }
    for (file, reason) in UPWARDS {
        if !used_upwards.contains(*file) {
            let _ = writeln!(
                faults,
                "{file} does not look upwards any more: {reason:?} can go"
            );
        }
    }
    assert!(faults.is_empty(), "\n{faults}");
}

#[test]
fn primitives_are_named_in_sync_only() {
    let mut faults = String::new();
    let mut used = BTreeSet::new();
    for source in sources() {
        if source.name.starts_with("sync/") || source.name.contains("/tests/") {
            continue;
        }
        for path in &source.outside {
            for primitive in PRIMITIVES.iter().filter(|name| names(path, name)) {
                let exception = EXCEPTIONS
                    .iter()
                    .position(|(file, name, _)| *file == source.name && name == primitive);
                match exception {
                    Some(row) => {
                        used.insert(row);
                    }
                    None => {
                        let _ = writeln!(
                            faults,
                            "{}: {path} belongs into src/sync, or into the exceptions with a reason",
                            source.name
                        );
                    }
                }
            }
        }
    }
    for (row, (file, name, _)) in EXCEPTIONS.iter().enumerate() {
        if !used.contains(&row) {
            let _ = writeln!(
                faults,
                "{file} does not name {name} any more: the exception can go"
            );
        }
    }
    assert!(faults.is_empty(), "\n{faults}");
}

/// Whether a path is the primitive, or inside it, or takes it along by a glob.
fn names(path: &str, primitive: &str) -> bool {
    let inside = |outer: &str, inner: &str| {
        inner
            .strip_prefix(outer)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
    };
    match path.strip_suffix("::*") {
        Some(glob) => inside(glob, primitive) || inside(primitive, glob),
        None => inside(primitive, path),
    }
}

/// The public names at the root, with the module that each comes from.
fn root_names(sources: &[Source]) -> BTreeMap<String, String> {
    let lib = sources
        .iter()
        .find(|source| source.name == "lib.rs")
        .expect("there is a lib.rs");
    lib.uses
        .iter()
        .filter_map(|(name, path)| Some((name.clone(), path.first()?.clone())))
        .collect()
}

/// One file of `src/`.
struct Source {
    /// Relative to `src/`.
    name: String,
    module: Vec<String>,
    /// Local names that `use` made, with what they stand for.
    uses: BTreeMap<String, Vec<String>>,
    /// Paths into this crate, from its root.
    inside: Vec<Vec<String>>,
    /// All other paths, written out as far as the file's own `use` says.
    outside: BTreeSet<String>,
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&root, &mut files);
    assert!(files.len() > 20, "the source tree is here");
    files.sort();
    files.iter().map(|file| Source::read(&root, file)).collect()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder of src is readable") {
        let path = entry.expect("an entry of src is readable").path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

impl Source {
    fn read(root: &Path, file: &Path) -> Self {
        let text = fs::read_to_string(file).expect("a source is readable");
        let parts: Vec<_> = file
            .strip_prefix(root)
            .expect("a source is below the root")
            .iter()
            .map(|part| part.to_str().expect("names are plain"))
            .collect();
        let name = parts.join("/");
        let module: Vec<String> = parts
            .iter()
            .map(|part| part.trim_end_matches(".rs").to_owned())
            .filter(|part| part != "mod" && part != "lib")
            .collect();
        let is_root = module.is_empty();
        let mut paths = Reader::new(&text).read();
        if name.starts_with("spec/tests/") {
            // A file that is a test from end to end.
            paths.iter_mut().for_each(|path| path.is_test = false);
        }

        let mut source = Self {
            name,
            module,
            uses: BTreeMap::new(),
            inside: Vec::new(),
            outside: BTreeSet::new(),
        };
        for path in paths.iter().filter(|path| path.is_use && !path.is_test) {
            let mut full = path.segments.clone();
            if full.last().is_some_and(|last| last == "self") {
                full.pop();
            }
            if is_root && matches!(full[0].as_str(), "crate" | "self") {
                full.remove(0);
            }
            if let Some(name) = path.alias.clone().or_else(|| full.last().cloned()) {
                source.uses.insert(name, full);
            }
        }
        for path in paths.iter().filter(|path| !path.is_test) {
            source.take(path);
        }
        source
    }

    fn take(&mut self, path: &Found) {
        let first = path.segments[0].as_str();
        let mut module = self.module.clone();
        module.extend(path.inline.iter().cloned());
        let rest = match first {
            "crate" => {
                module.clear();
                &path.segments[1..]
            }
            "self" | "super" => {
                let mut rest = path.segments.as_slice();
                while let Some((head, tail)) = rest.split_first() {
                    match head.as_str() {
                        "super" => {
                            module.pop();
                        }
                        "self" => {}
                        _ => break,
                    }
                    rest = tail;
                }
                rest
            }
            _ => {
                let mut full = path.segments.clone();
                if !path.is_use {
                    if let Some(meant) = self.uses.get(first) {
                        full.splice(..1, meant.iter().cloned());
                    }
                }
                if matches!(full[0].as_str(), "core" | "alloc") && !self.module.is_empty() {
                    full[0] = "std".to_owned();
                }
                if full.last().is_some_and(|last| last == "self") {
                    full.pop();
                }
                self.outside.insert(full.join("::"));
                return;
            }
        };
        module.extend(rest.iter().cloned());
        self.inside.push(module);
    }
}

/// A path as it is written.
struct Found {
    segments: Vec<String>,
    alias: Option<String>,
    is_use: bool,
    is_test: bool,
    /// Modules opened in the file around it.
    inline: Vec<String>,
}

/// Reads the paths of a source, with no more grammar than that takes.
struct Reader {
    tokens: Vec<String>,
    at: usize,
    found: Vec<Found>,
}

impl Reader {
    fn new(text: &str) -> Self {
        Self {
            tokens: tokens(text),
            at: 0,
            found: Vec::new(),
        }
    }

    fn read(mut self) -> Vec<Found> {
        let mut depth = 0;
        // Modules opened here, with the depth of the braces they end at.
        let mut open: Vec<(String, usize)> = Vec::new();
        let mut is_use = false;
        while let Some(token) = self.tokens.get(self.at).cloned() {
            match token.as_str() {
                "mod" if self.peek(2) == "{" => {
                    open.push((self.peek(1).to_owned(), depth));
                    depth += 1;
                    self.at += 3;
                }
                "{" => {
                    depth += 1;
                    self.at += 1;
                }
                "}" => {
                    depth -= 1;
                    if open.last().is_some_and(|(_, opened)| *opened == depth) {
                        open.pop();
                    }
                    self.at += 1;
                }
                "use" => {
                    // `use<..>` in a type is no import.
                    is_use = self.peek(1) != "<";
                    self.at += 1;
                }
                _ if is_name(&token) => {
                    let from = self.found.len();
                    self.path(Vec::new(), is_use);
                    is_use = false;
                    let inline: Vec<_> = open.iter().map(|(name, _)| name.clone()).collect();
                    for found in &mut self.found[from..] {
                        found.is_test = inline.iter().any(|name| name == "tests");
                        found.inline.clone_from(&inline);
                    }
                }
                _ => self.at += 1,
            }
        }
        self.found
    }

    fn peek(&self, ahead: usize) -> &str {
        self.tokens
            .get(self.at + ahead)
            .map_or("", |token| token.as_str())
    }

    /// A path, or a tree of them, that goes on from `segments`.
    fn path(&mut self, mut segments: Vec<String>, is_use: bool) {
        loop {
            match self.peek(0) {
                "{" => {
                    self.at += 1;
                    while self.peek(0) != "}" {
                        if self.peek(0) == "," {
                            self.at += 1;
                        } else {
                            self.path(segments.clone(), is_use);
                        }
                    }
                    self.at += 1;
                    return;
                }
                // A turbofish: what is inside is read as paths of its own.
                "<" => break,
                part => {
                    segments.push(part.to_owned());
                    self.at += 1;
                }
            }
            if self.peek(0) != "::" {
                break;
            }
            self.at += 1;
        }
        let alias = (is_use && self.peek(0) == "as").then(|| self.peek(1).to_owned());
        if alias.is_some() {
            self.at += 2;
        }
        self.found.push(Found {
            segments,
            alias,
            is_use,
            is_test: false,
            inline: Vec::new(),
        });
    }
}

fn is_name(token: &str) -> bool {
    token.starts_with(|c: char| c == '_' || c.is_alphabetic())
}

/// Names, `::` and single marks; no comments, texts, numbers or lifetimes.
fn tokens(text: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            block_comment(rest)
        } else if let Some(length) = raw_text(rest) {
            length
        } else if c == '"' || rest.starts_with("b\"") || rest.starts_with("c\"") {
            quoted(rest, '"')
        } else if c == '\'' {
            let mut inner = rest[1..].chars();
            match (inner.next(), inner.next()) {
                (Some('\\'), _) | (Some(_), Some('\'')) => quoted(rest, '\''),
                // A lifetime.
                _ => 1 + word(&rest[1..]),
            }
        } else if c.is_ascii_digit() {
            word(rest)
        } else if is_name(rest) {
            let length = word(rest);
            tokens.push(rest[..length].to_owned());
            length
        } else if rest.starts_with("::") {
            tokens.push("::".to_owned());
            2
        } else {
            if !c.is_whitespace() {
                tokens.push(c.to_string());
            }
            c.len_utf8()
        };
        rest = &rest[length..];
    }
    tokens
}

fn word(text: &str) -> usize {
    text.find(|c: char| c != '_' && !c.is_alphanumeric())
        .unwrap_or(text.len())
}

fn quoted(text: &str, mark: char) -> usize {
    let start = text.find(mark).map_or(text.len(), |at| at + 1);
    let mut is_escaped = false;
    for (at, c) in text[start..].char_indices() {
        if is_escaped {
            is_escaped = false;
        } else if c == '\\' {
            is_escaped = true;
        } else if c == mark {
            return start + at + 1;
        }
    }
    text.len()
}

fn raw_text(text: &str) -> Option<usize> {
    let marked = text
        .strip_prefix("br")
        .or_else(|| text.strip_prefix("cr"))
        .or_else(|| text.strip_prefix('r'))?;
    let hashes = marked.len() - marked.trim_start_matches('#').len();
    marked[hashes..].strip_prefix('"')?;
    let start = text.len() - marked.len() + hashes + 1;
    let end = format!("\"{}", "#".repeat(hashes));
    let length = text[start..].find(&end).map(|at| start + at + end.len());
    Some(length.unwrap_or(text.len()))
}

fn block_comment(text: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < text.len() {
        if text[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if text[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += text[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    at
}

/// The reader itself: what it must see, and what it must not.
#[test]
fn the_reader_finds_every_path_and_nothing_else() {
    let source = r##"
        //! use crate::nothing;
        use std::{sync::{Arc, atomic::AtomicU64 as Plain}, thread::{self, Thread}};
        pub(crate) use super::word::*;
        /* crate::neither /* nested */ std::thread */
        fn f<'a>(text: &'a str) -> impl Sized + use<'a> {
            let _ = ("crate::text", r#"crate::"raw"#, '"', '\'', b"crate::bytes");
            thread::park();
            Vec::<crate::core::Kept>::new()
        }
        mod tests { use crate::facade::Limiter; }
        mod inner { use super::super::error; }
    "##;
    let found: Vec<_> = Reader::new(source)
        .read()
        .into_iter()
        .filter(|path| path.segments.len() > 1)
        .map(|path| {
            let mark = if path.is_test { "test " } else { "" };
            format!("{mark}{}", path.segments.join("::"))
        })
        .collect();
    assert_eq!(
        found,
        [
            "std::sync::Arc",
            "std::sync::atomic::AtomicU64",
            "std::thread::self",
            "std::thread::Thread",
            "super::word::*",
            "thread::park",
            "crate::core::Kept",
            "test crate::facade::Limiter",
            "super::super::error",
        ]
    );
    assert!(names("std::sync::*", "std::sync::Mutex"));
    assert!(names("std::sync::atomic::AtomicU64", "std::sync::atomic"));
    assert!(!names("std::sync::OnceLock", "std::sync::Once"));
    assert!(!names("crossbeam_skiplist::SkipMap", "crossbeam"));
}
