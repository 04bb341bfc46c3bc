//! The committed header is what src/ffi says, explains everything it declares, and compiles as C99, C11 and C++17.

mod support;

use std::fs;
use std::process::Command;

use support::header::{committed, generate, read, root};
use support::tools::{Scratch, compile, link_folder, run};

#[test]
fn the_committed_header_is_up_to_date() {
    let (path, fresh) = (committed(), generate());
    if std::env::var_os("CYBORG_UPDATE").is_some() {
        fs::write(&path, &fresh).expect("include/cyborg.h");
    }
    let old = read(&path);
    if let Some((n, (a, b))) = old.lines().zip(fresh.lines()).enumerate().find(|(_, (a, b))| a != b) {
        panic!(
            "include/cyborg.h line {} is\n{a}\nbut src/ffi says\n{b}\nRun CYBORG_UPDATE=1 cargo test --test header",
            n + 1
        );
    }
    assert_eq!(old.len(), fresh.len(), "include/cyborg.h differs; run CYBORG_UPDATE=1 cargo test --test header");
}

/// The comment that ends right before line `i`, `None` when there is none.
fn comment_before(lines: &[&str], i: usize) -> Option<String> {
    let end = lines[..i].iter().rposition(|l| !l.trim().is_empty())?;
    if !lines[end].trim().ends_with("*/") {
        return None;
    }
    let start = lines[..=end].iter().rposition(|l| l.trim().starts_with("/**"))?;
    Some(lines[start..=end].join("\n"))
}

#[test]
fn everything_declared_is_explained() {
    let text = generate();
    let body = text.split("extern \"C\" {\n#endif").nth(1).expect("a body");
    let lines: Vec<&str> = body.lines().collect();
    let mut functions = 0;
    for (i, line) in lines.iter().enumerate() {
        let field = line.starts_with("    ") && !line.starts_with("     ") && line.ends_with(';');
        let declares = ["#define CYBORG_", "typedef ", "CYBORG_API "].iter().any(|s| line.starts_with(s));
        if !(field || declares) {
            continue;
        }
        let comment = comment_before(&lines, i).unwrap_or_else(|| panic!("no comment before: {line}"));
        if line.starts_with("CYBORG_API ") {
            functions += 1;
            assert!(comment.contains("Since: "), "no Since: {line}");
            let fallible = lines[i..].iter().take_while(|l| !l.is_empty()).any(|l| l.contains("cyborg_error **err"));
            assert_eq!(fallible, comment.contains("Statuses: "), "statuses: {line}");
            assert_eq!(
                fallible,
                line.starts_with("CYBORG_API cyborg_status cyborg_")
                    && !line.contains("(cyborg_status")
                    && !line.contains("error_status"),
                "err and cyborg_status go together: {line}"
            );
        }
    }
    assert!(functions > 60, "only {functions} functions found: the check looks at nothing");
}

#[test]
fn names_are_prefixed() {
    for line in generate().lines() {
        if let Some(name) = line.strip_prefix("#define ") {
            assert!(name.starts_with("CYBORG_"), "{line}");
        }
        if let Some(name) = line.strip_prefix("} ") {
            assert!(name.starts_with("cyborg_"), "{line}");
        }
    }
}

const STANDARDS: [(&str, &str); 3] = [("gcc", "-std=c99"), ("gcc", "-std=c11"), ("g++", "-std=c++17")];

#[test]
fn the_header_compiles_alone_twice_and_without_padding() {
    let scratch = Scratch::new("header");
    let source = "#include <cyborg.h>\n#include <cyborg.h>\nint main(void) { return 0; }\n";
    for (compiler, standard) in STANDARDS {
        let file = scratch.file(if compiler == "gcc" { "alone.c" } else { "alone.cc" }, source);
        compile(compiler, &[standard, "-Wpadded", "-c", "-o", "/dev/null"], &file);
    }
}

#[test]
fn every_initialiser_compiles() {
    let text = generate();
    let names = text.lines().filter_map(|l| l.strip_prefix("#define CYBORG_")?.split_once("_INIT {"));
    let mut source = String::from("#include <cyborg.h>\nint main(void) {\n    uint64_t n = 0;\n");
    let mut count = 0;
    for (name, _) in names {
        let ty = name.to_lowercase();
        source += &format!("    {{ cyborg_{ty} x = CYBORG_{name}_INIT; n += x.struct_size != sizeof x; }}\n");
        count += 1;
    }
    source += "    return (int)n;\n}\n";
    assert!(count >= 12, "only {count} initialisers found");
    let scratch = Scratch::new("init");
    for (compiler, standard) in STANDARDS {
        let file = scratch.file(if compiler == "gcc" { "init.c" } else { "init.cc" }, &source);
        compile(compiler, &[standard, "-c", "-o", "/dev/null"], &file);
    }
}

#[test]
fn the_program_of_the_first_screen_works() {
    let text = read(&committed());
    let program: Vec<&str> = text
        .lines()
        .skip_while(|l| !l.contains("#include <cyborg.h>"))
        .take_while(|l| *l != " *")
        .map(|l| l.strip_prefix(" *     ").expect("an indented program"))
        .collect();
    let scratch = Scratch::new("first-screen");
    let libraries = link_folder(&scratch);
    for (compiler, standard) in STANDARDS {
        let file = scratch.file(if compiler == "gcc" { "first.c" } else { "first.cc" }, &program.join("\n"));
        let (binary, rpath) = (scratch.path("first"), format!("-Wl,-rpath,{}", libraries.display()));
        let (binary_name, libraries) = (binary.display().to_string(), libraries.display().to_string());
        compile(compiler, &[standard, "-o", &binary_name, "-L", &libraries, "-lcyborg", &rpath], &file);
        assert_eq!(run(&mut Command::new(&binary)).stdout, b"nearest: 7\n");
    }
}

#[test]
fn limits_in_the_header_are_those_of_the_library() {
    use cyborg::{ffi, types};
    assert_eq!(ffi::index::CYBORG_KEY_LEN as usize, types::KEY_LEN);
    assert_eq!(ffi::index::CYBORG_MAX_NAME_LEN as usize, types::MAX_NAME_LEN);
    assert_eq!(ffi::index::CYBORG_MAX_DIMENSION, types::MAX_DIMENSION);
    assert_eq!(ffi::index::CYBORG_MAX_LISTS, types::MAX_LISTS);
    assert_eq!(ffi::items::CYBORG_MAX_ID_LEN as usize, types::MAX_ID_LEN);
    assert_eq!(ffi::items::CYBORG_MAX_METADATA_LEN as usize, types::MAX_METADATA_LEN);
    assert_eq!(ffi::items::CYBORG_MAX_CONTENTS_LEN as usize, types::MAX_CONTENTS_LEN);
    assert_eq!(ffi::items::CYBORG_MAX_BATCH_BYTES, types::MAX_BATCH_BYTES);
    assert_eq!(ffi::model::CYBORG_MAX_MODEL_ID_LEN as usize, types::MAX_MODEL_ID_LEN);
    assert_eq!(ffi::model::CYBORG_MAX_MODEL_DESCRIPTION as usize, types::MAX_MODEL_DESCRIPTION);
    assert_eq!(ffi::search::CYBORG_MAX_TOP_K, types::MAX_TOP_K);
    assert!(root().join("include").is_dir());
}
