//! The binary interface has golden copies: exported symbols, constants, struct layouts.
//!
//! A difference is a change that programs compiled earlier can feel. Additions are fine before they are released:
//! `CYBORG_UPDATE=1 cargo test --test abi` rewrites the copies, and the diff of the commit says what changed.

mod support;

use std::fmt::Write as _;
use std::fs;
use std::process::Command;

use support::header::{committed, read, root};
use support::tools::{Scratch, compile, run, shared_library};

fn golden(name: &str, fresh: &str) {
    let path = root().join("tests/abi").join(name);
    if std::env::var_os("CYBORG_UPDATE").is_some() {
        fs::write(&path, fresh).expect("a golden file");
    }
    let old = read(&path);
    let gone = old.lines().find(|l| !fresh.lines().any(|f| f == *l));
    assert_eq!(gone, None, "{name}: gone or changed");
    assert_eq!(old, fresh, "{name} has grown; run CYBORG_UPDATE=1 cargo test --test abi");
}

#[test]
fn exported_symbols_are_the_functions_of_the_header() {
    let nm = run(Command::new("nm").args(["-D", "--defined-only"]).arg(shared_library()));
    let text = String::from_utf8(nm.stdout).expect("UTF-8");
    let mut exported: Vec<&str> = text.lines().filter_map(|l| l.split(' ').nth(2)).collect();
    exported.sort_unstable();
    golden("symbols.txt", &(exported.join("\n") + "\n"));

    let header = read(&committed());
    let declarations = header.lines().filter(|l| l.starts_with("CYBORG_API "));
    let mut declared: Vec<&str> =
        declarations.map(|l| l.split('(').next().and_then(|l| l.rsplit([' ', '*']).next()).expect("a name")).collect();
    declared.sort_unstable();
    assert_eq!(exported, declared, "left: exported, right: declared");
}

#[test]
fn the_shared_library_carries_its_abi_number() {
    let dynamic = run(Command::new("readelf").arg("-d").arg(shared_library()));
    let text = String::from_utf8(dynamic.stdout).expect("UTF-8");
    let soname = format!("[libcyborg.so.{}]", cyborg::ffi::version::CYBORG_ABI_VERSION);
    assert!(text.lines().any(|l| l.contains("SONAME") && l.contains(&soname)), "{text}");
}

#[test]
fn constants_keep_their_values() {
    let header = read(&committed());
    let constants = header.lines().filter_map(|l| l.strip_prefix("#define CYBORG_"));
    let constants = constants.filter(|l| l.contains(' ') && !l.contains('{') && !l.starts_with("API "));
    let mut text = String::new();
    for constant in constants.filter(|l| !l.starts_with("VERSION_")) {
        let _ = writeln!(text, "CYBORG_{constant}");
    }
    golden("constants.txt", &text);
}

/// `(struct, fields)` for every struct of the header whose fields are public.
fn structs(header: &str) -> Vec<(String, Vec<String>)> {
    let (mut all, mut fields) = (Vec::new(), Vec::new());
    for line in header.lines() {
        if line.starts_with("typedef struct") {
            fields.clear();
        } else if let Some(name) = line.strip_prefix("} ").and_then(|l| l.strip_suffix(';')) {
            all.push((name.to_owned(), std::mem::take(&mut fields)));
        } else if let Some(field) = line.strip_prefix("    ").and_then(|l| l.strip_suffix(';')) {
            let name = field.rsplit([' ', '*']).next().and_then(|name| name.split('[').next());
            fields.extend(name.map(str::to_owned));
        }
    }
    all
}

/// The golden copy is a C file of static assertions, which the compiler of the platform checks.
#[test]
fn struct_layouts_keep_their_sizes_and_offsets() {
    let mut source = String::from("#include <cyborg.h>\n#include <stdio.h>\nint main(void) {\n");
    let mut say = |what: String| {
        let _ = writeln!(source, "    printf(\"_Static_assert({what} == %u, \\\"{what}\\\");\\n\", (unsigned){what});");
    };
    for (name, fields) in structs(&read(&committed())) {
        say(format!("sizeof({name})"));
        for field in fields {
            say(format!("offsetof({name}, {field})"));
        }
    }
    source += "    return 0;\n}\n";
    let scratch = Scratch::new("layout");
    let program = scratch.path("layout");
    compile("gcc", &["-std=c11".as_ref(), "-o".as_ref(), program.as_os_str()], &scratch.file("print.c", &source));
    let asserts = String::from_utf8(run(&mut Command::new(program)).stdout).expect("UTF-8");
    let head = "/* Golden copy of every struct of the C ABI on 64-bit platforms; see tests/abi.rs. */\n\
                #include <cyborg.h>\n#include <stddef.h>\n\n";
    golden("layout.c", &format!("{head}{asserts}"));
    compile("gcc", &["-std=c11", "-c", "-o", "/dev/null"], &root().join("tests/abi/layout.c"));
}
