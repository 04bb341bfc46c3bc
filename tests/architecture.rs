//! Holds the sources to the floor plan of ARCHITECTURE.md.
//!
//! The table there is the law: a module may name only the modules of its row, and a row only modules of rows above it,
//! so that imports go down. Sources are cut into tokens first (comments dropped, string contents kept apart), so a path
//! in a doc comment is no import and a comment cannot hide one. Files of tests may be long, may print and read the
//! environment (a test that kills its own child needs both), and below `engine` may use what stands above them; all else
//! holds for them too. The second half of this file shows the checker each kind of offence and that it speaks up.

use std::fs;
use std::path::{Path, PathBuf};

const LONGEST_FILE: usize = 450;
const UNSAFE_ALLOWED: [&str; 3] = ["src/kernels/", "src/ffi/", "src/crypto/keys.rs"];
const MACROS_FORBIDDEN: [&str; 7] = ["print", "println", "eprint", "eprintln", "dbg", "todo", "unimplemented"];
const ENV_FORBIDDEN: [&str; 5] = ["var", "vars", "var_os", "vars_os", "set_var"];

#[derive(Debug)]
struct Row {
    module: String,
    floor: String,
    imports: Vec<String>,
}

#[derive(Debug)]
struct Plan(Vec<Row>);

impl Plan {
    /// Reads the table whose header is `| module | floor | may import | ... |`.
    fn parse(markdown: &str) -> Result<Self, String> {
        let cells = |line: &str| -> Vec<String> {
            line.trim().trim_matches('|').split('|').map(|c| c.trim().to_string()).collect()
        };
        let mut lines = markdown.lines().skip_while(|l| {
            let c = cells(l);
            c.len() < 3 || c[0] != "module" || c[1] != "floor" || c[2] != "may import"
        });
        lines.next().ok_or("no table with the columns module, floor, may import")?;
        lines.next();
        let mut plan = Self(Vec::new());
        for line in lines.take_while(|l| l.trim_start().starts_with('|')) {
            let c = cells(line);
            let names = |cell: &str| -> Vec<String> { cell.split('`').skip(1).step_by(2).map(String::from).collect() };
            let [module] = names(&c[0]).try_into().map_err(|n| format!("not one module: {n:?}"))?;
            let mut imports = Vec::new();
            for name in names(&c[2]) {
                let before = imports.len();
                let above = |r: &&Row| r.module == name || r.floor == name;
                imports.extend(plan.0.iter().filter(above).map(|r| r.module.clone()));
                if imports.len() == before {
                    return Err(format!("`{module}` may not import `{name}`: it is in no row above"));
                }
            }
            if plan.row(&module).is_some() {
                return Err(format!("`{module}` has two rows"));
            }
            plan.0.push(Row { module, floor: c[1].clone(), imports });
        }
        if plan.0.is_empty() { Err("the table has no rows".into()) } else { Ok(plan) }
    }

    fn row(&self, module: &str) -> Option<&Row> {
        self.0.iter().find(|r| r.module == module)
    }
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Ident(String),
    Text,
    Path, // `::`
    Sign(char),
}

/// The tokens of a source with their lines. Numbers and lifetimes come out as identifiers, which no rule looks for.
fn tokens(source: &str) -> Vec<(usize, Token)> {
    let s: Vec<char> = source.chars().collect();
    let at = |i: usize| s.get(i).copied().unwrap_or('\0');
    let word = |c: char| c.is_alphanumeric() || c == '_';
    let (mut out, mut i, mut line) = (Vec::new(), 0, 1);
    while i < s.len() {
        let start = i;
        match (at(i), at(i + 1)) {
            ('/', '/') => i += s[i..].iter().take_while(|&&c| c != '\n').count(),
            ('/', '*') => {
                let mut depth = 0;
                loop {
                    match (at(i), at(i + 1)) {
                        ('/', '*') => (depth, i) = (depth + 1, i + 2),
                        ('*', '/') => (depth, i) = (depth - 1, i + 2),
                        _ => i += 1,
                    }
                    if depth == 0 || i >= s.len() {
                        break;
                    }
                }
            }
            ('"', _) => {
                i = end_of_text(&s, i);
                out.push((line, Token::Text));
            }
            ('\'', c) if c != '\\' && at(i + 2) != '\'' => i += 1, // a lifetime: its name follows
            ('\'', _) => {
                i += if at(i + 1) == '\\' { 3 } else { 2 };
                i += s[i.min(s.len())..].iter().take_while(|&&c| c != '\'').count() + 1;
                out.push((line, Token::Text));
            }
            (':', ':') => {
                i += 2;
                out.push((line, Token::Path));
            }
            (c, _) if word(c) => {
                i += s[i..].iter().take_while(|&&c| word(c)).count();
                let name: String = s[start..i].iter().collect();
                let hashes = s[i..].iter().take_while(|&&c| c == '#').count();
                if matches!(name.as_str(), "r" | "br" | "cr") && at(i + hashes) == '"' {
                    i = end_of_raw_text(&s, i + hashes, hashes);
                    out.push((line, Token::Text));
                } else {
                    out.push((line, Token::Ident(name)));
                }
            }
            (c, _) => {
                i += 1;
                if !c.is_whitespace() {
                    out.push((line, Token::Sign(c)));
                }
            }
        }
        line += s[start..i.min(s.len())].iter().filter(|&&c| c == '\n').count();
    }
    out
}

fn end_of_text(s: &[char], quote: usize) -> usize {
    let mut i = quote + 1;
    while i < s.len() && s[i] != '"' {
        i += if s[i] == '\\' { 2 } else { 1 };
    }
    i + 1
}

fn end_of_raw_text(s: &[char], quote: usize, hashes: usize) -> usize {
    let closes = |i: &usize| s[*i] == '"' && s[i + 1..].iter().take(hashes).filter(|&&c| c == '#').count() == hashes;
    (quote + 1..s.len()).find(closes).map_or(s.len(), |i| i + 1 + hashes)
}

/// `src/engine/search/scan.rs` is `engine`, `search`, `scan`; `mod.rs` names its folder.
fn module_path(path: &str) -> Vec<String> {
    let inner = path.trim_start_matches("src/").trim_end_matches(".rs");
    inner.split('/').filter(|p| *p != "mod").map(String::from).collect()
}

fn is_test_file(path: &str) -> bool {
    path.ends_with("/tests.rs") || path.contains("/tests/")
}

/// The names that a path of the crate root reaches, `i` being the place after its `::`: one, or those of a group.
fn reached(tokens: &[(usize, Token)], mut i: usize) -> Vec<String> {
    let name = |i: usize| match tokens.get(i).map(|t| &t.1) {
        Some(Token::Ident(n)) => Some(n.clone()),
        Some(Token::Sign('*')) => Some("*".into()),
        _ => None,
    };
    if tokens.get(i).map(|t| &t.1) != Some(&Token::Sign('{')) {
        return name(i).into_iter().collect();
    }
    let (mut names, mut depth) = (Vec::new(), 0);
    while let Some((_, token)) = tokens.get(i) {
        match token {
            Token::Sign('{') => depth += 1,
            Token::Sign('}') => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            break;
        }
        if depth == 1 && matches!(token, Token::Sign('{' | ',')) {
            names.extend(name(i + 1));
        }
        i += 1;
    }
    names
}

/// Every offence of one source file, each with its line.
fn offences(plan: &Plan, path: &str, source: &str) -> Vec<String> {
    use Token::{Ident, Path, Sign, Text};
    let t = tokens(source);
    let at = |i: usize| t.get(i).map(|t| &t.1);
    let is = |i: usize, name: &str| matches!(at(i), Some(Ident(n)) if n == name);
    let mut out = Vec::new();
    let mut report = |line: usize, what: String| out.push(format!("{path}:{line}: {what}"));

    let test_file = is_test_file(path);
    let length = source.lines().count();
    if length > LONGEST_FILE && !test_file {
        report(length, format!("{length} lines, at most {LONGEST_FILE}"));
    }
    let (home, root_file) = (module_path(path), path == "src/lib.rs");
    let row = plan.row(&home[0]);
    if row.is_none() && !root_file {
        report(1, format!("module `{}` has no row in ARCHITECTURE.md", home[0]));
    }

    // Braces of inline modules deepen `super`; braces of a `use` do not.
    let (mut braces, mut inline, mut in_use) = (0usize, Vec::new(), None::<usize>);
    for (i, (line, token)) in t.iter().enumerate() {
        let line = *line;
        let Ident(name) = token else {
            match token {
                Sign('{') => {
                    braces += 1;
                    if i >= 2 && is(i - 2, "mod") {
                        inline.push(braces);
                    }
                }
                Sign('}') => {
                    if inline.last() == Some(&braces) {
                        inline.pop();
                    }
                    braces = braces.saturating_sub(1);
                }
                Sign(';') => in_use = None,
                _ => {}
            }
            continue;
        };
        match name.as_str() {
            "use" => in_use = Some(braces),
            "crate" if at(i + 1) == Some(&Path) && !root_file => {
                for target in reached(&t, i + 2) {
                    let allowed = row.is_some_and(|r| r.module == target || r.imports.contains(&target));
                    let upwards = test_file && plan.row(&target).is_some() && home[0] != "engine";
                    if !allowed && !upwards {
                        report(line, format!("`{}` may not import `{target}`", home[0]));
                    }
                    if target == "store" && home[0] != "store" && is_exported(&t, i) {
                        report(line, "`store` is passed on by a `pub use`".into());
                    }
                }
            }
            "super" if i >= 2 && at(i - 1) == Some(&Path) && is(i - 2, "super") => {}
            "super" => {
                let climbs = (0..).take_while(|k| is(i + 2 * k, "super")).count();
                let in_group = in_use.is_some_and(|depth| braces > depth);
                if (climbs >= home.len() + inline.len() && !root_file) || in_group {
                    report(line, "the crate root is reached by `super`; write `crate::`".into());
                }
            }
            "unsafe" if !UNSAFE_ALLOWED.iter().any(|p| path.starts_with(p)) => {
                report(line, "`unsafe` outside kernels, ffi and the locked key pages".into());
            }
            "extern" if home[0] != "ffi" && (at(i + 1) == Some(&Text) || is(i + 1, "fn")) => {
                report(line, "`extern` ABI outside src/ffi".into());
            }
            "path" if at(i.wrapping_sub(1)) == Some(&Sign('[')) && at(i + 1) == Some(&Sign('=')) => {
                report(line, "`#[path]` hides where a module lives".into());
            }
            "store" if home[0] == "engine" && (at(i + 1) == Some(&Path) || at(i.wrapping_sub(1)) == Some(&Path)) => {
                report(line, "`engine` names `store`".into());
            }
            "env" if !test_file && at(i + 1) == Some(&Path) && ENV_FORBIDDEN.iter().any(|f| is(i + 2, f)) => {
                report(line, "reads or sets an environment variable".into());
            }
            m if !test_file && at(i + 1) == Some(&Sign('!')) && MACROS_FORBIDDEN.contains(&m) => {
                report(line, format!("`{m}!` in the library"));
            }
            _ => {}
        }
    }
    out
}

/// Whether the path at `i` stands in a `pub use` (or `pub(crate) use`, ...).
fn is_exported(t: &[(usize, Token)], i: usize) -> bool {
    let ident = |k: usize, name: &str| matches!(&t[k].1, Token::Ident(n) if n == name);
    let start = (0..i).rev().find(|&k| matches!(t[k].1, Token::Sign(';' | '}'))).map_or(0, |k| k + 1);
    (start..i).any(|k| ident(k, "pub")) && (start..i).any(|k| ident(k, "use"))
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn plan() -> Plan {
    Plan::parse(&fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap()).unwrap()
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

#[test]
fn sources_keep_to_the_floor_plan() {
    let plan = plan();
    let files = sources(&root().join("src"));
    let found: Vec<String> = files
        .iter()
        .flat_map(|file| {
            let name = file.strip_prefix(root()).unwrap().to_str().unwrap().replace('\\', "/");
            offences(&plan, &name, &fs::read_to_string(file).unwrap())
        })
        .collect();
    assert!(found.is_empty(), "{} offences:\n{}", found.len(), found.join("\n"));

    let rust = |file: &PathBuf| module_path(file.strip_prefix(root()).unwrap().to_str().unwrap());
    for row in &plan.0 {
        assert!(files.iter().any(|f| rust(f)[0] == row.module), "`{}` has a row and no source", row.module);
    }
}

#[test]
fn the_plan_itself_keeps_plaintext_from_storage() {
    let plan = plan();
    for row in &plan.0 {
        let names = |m: &str| row.imports.iter().any(|i| i == m);
        assert_eq!(names("store"), row.module == "crypto", "`{}`: only crypto opens the store", row.module);
        assert_eq!(names("engine"), row.module == "ffi", "`{}`: only ffi stands on the engine", row.module);
        assert!(!names("ffi"), "`{}`: nothing stands on ffi", row.module);
    }
    for module in ["kernels", "kmeans", "quant", "ivf"] {
        let row = plan.row(module).unwrap();
        assert!(!row.imports.iter().any(|i| i == "crypto"), "`{module}` is pure compute");
    }
}

// The checker's own tests: each offence is seen, and what looks like one but is not passes.

const TABLE: &str = "text\n\n| module | floor | may import | owns |\n|---|---|---|---|\n| `error` | base | | errors |\n\
    | `kernels` | 1 | `base` | x |\n| `store` | 1 | `error` | x |\n| `crypto` | 2 | `base`, `store` | x |\n\
    | `engine` | 3 | `base`, `kernels`, `crypto` | x |\n| `ffi` | 4 | `base`, `engine` | x |\n\nafter\n";

fn judged(path: &str, source: &str) -> Vec<String> {
    offences(&Plan::parse(TABLE).unwrap(), path, source)
}

#[test]
fn a_plan_that_goes_up_or_sideways_is_refused() {
    assert_eq!(Plan::parse(TABLE).unwrap().row("engine").unwrap().imports, ["error", "kernels", "crypto"]);
    for (from, to) in [
        ("| `error` | base | |", "| `error` | base | `ffi` |"),
        ("| `kernels` | 1 | `base` |", "| `kernels` | 1 | `store` |"),
        ("| `store` | 1 |", "| `kernels` | 1 |"),
        ("may import", "imports"),
    ] {
        assert!(Plan::parse(&TABLE.replacen(from, to, 1)).is_err(), "{from} -> {to}");
    }
}

#[test]
fn every_offence_is_seen() {
    for (path, source, word) in [
        ("src/kernels/mod.rs", "use crate::engine::Index;", "may not import `engine`"),
        ("src/kernels/mod.rs", "use crate::store;", "may not import `store`"),
        ("src/kernels/mod.rs", "use crate::{error::Error, crypto::{self, Vault}};", "may not import `crypto`"),
        ("src/kernels/mod.rs", "fn f() { let x = crate::ffi::open(); }", "may not import `ffi`"),
        ("src/kernels/mod.rs", "macro_rules! m { () => { $crate::ffi::x } }", "may not import `ffi`"),
        ("src/kernels/mod.rs", "use crate::*;", "may not import `*`"),
        ("src/kernels/mod.rs", "use crate::nowhere::X;", "may not import `nowhere`"),
        ("src/kernels/mod.rs", "use super::engine;", "`super`"),
        ("src/kernels/avx2.rs", "mod tests { use super::super::super::engine; }", "`super`"),
        ("src/kernels/avx2.rs", "use super::{super::engine, x};", "`super`"),
        ("src/kernels/mod.rs", "#[path = \"../engine/x.rs\"] mod x;", "`#[path]`"),
        ("src/engine/mod.rs", "use crate::store::Store;", "`engine` names `store`"),
        ("src/engine/mod.rs", "use crate::crypto::store::Store;", "`engine` names `store`"),
        ("src/crypto/mod.rs", "pub use crate::store::Store;", "passed on"),
        ("src/crypto/mod.rs", "pub(crate) use crate::{error, store};", "passed on"),
        ("src/engine/mod.rs", "fn f() { unsafe { g() } }", "`unsafe`"),
        ("src/crypto/vault.rs", "unsafe impl Send for X {}", "`unsafe`"),
        ("src/engine/mod.rs", "pub extern \"C\" fn f() {}", "`extern`"),
        ("src/kernels/mod.rs", "extern fn f() {}", "`extern`"),
        ("src/error.rs", "fn f() { println!(\"x\") }", "`println!`"),
        ("src/error.rs", "fn f() { eprintln !(\"x\") }", "`eprintln!`"),
        ("src/error.rs", "fn f() { todo!() }", "`todo!`"),
        ("src/error.rs", "fn f() { std::env::var(\"X\"); }", "environment"),
        ("src/lib.rs", "fn f() { std::env::var_os(\"X\"); }", "environment"),
        ("src/engine/tests.rs", "use crate::store::fault::Fault;", "may not import `store`"),
        ("src/kernels/tests.rs", "use crate::nowhere::X;", "may not import `nowhere`"),
        ("src/attic.rs", "", "no row"),
        ("src/error.rs", "// \"\nuse crate::ffi;", "src/error.rs:2: "),
        ("src/error.rs", "const A: char = '\"'; use crate::ffi;", "may not import `ffi`"),
        ("src/error.rs", "const A: char = '\\''; use crate::ffi;", "may not import `ffi`"),
        ("src/error.rs", "const A: &str = r#\" \" \"#; use crate::ffi;", "may not import `ffi`"),
        ("src/error.rs", "/* a /* b */ c */ use crate::ffi;", "may not import `ffi`"),
        ("src/error.rs", "fn f<'a>(x: &'a str) {} use crate::ffi;", "may not import `ffi`"),
    ] {
        let found = judged(path, source);
        assert!(found.iter().any(|f| f.contains(word)), "{path}: {source}\nfound only {found:?}");
    }
    let long = "\n".repeat(LONGEST_FILE + 1);
    assert!(judged("src/error.rs", &long)[0].contains("at most"));
    assert!(judged("src/error/tests.rs", &long).is_empty());
}

#[test]
fn what_is_no_offence_passes() {
    for (path, source) in [
        ("src/engine/search.rs", "use crate::{kernels, crypto::Vault}; use crate::engine::options::*;"),
        ("src/engine/search.rs", "use super::options; mod tests { use super::super::options; use super::*; }"),
        ("src/kernels/avx2.rs", "fn f() { unsafe { g() } } use super::Level;"),
        ("src/crypto/keys.rs", "fn f() { unsafe { g() } }"),
        ("src/crypto/vault.rs", "use crate::store::Store; pub use vault::Vault;"),
        ("src/ffi/db.rs", "pub unsafe extern \"C\" fn f() { crate::engine::g() }"),
        ("src/error.rs", "//! see [`crate::engine`], println!, unsafe\n/* use crate::ffi; */"),
        ("src/error.rs", "const A: &str = \"use crate::ffi; unsafe println!()\"; #![deny(unsafe_code)]"),
        ("src/engine/mod.rs", "let store = 1; self.store.x(); // the Vault's"),
        ("src/kernels/tests.rs", "use crate::crypto::Vault;"),
        ("src/store/file/tests.rs", "fn child() { println!(); std::env::var(\"X\"); }"),
        ("src/lib.rs", "pub mod engine; pub use crate::engine::Index;"),
    ] {
        assert!(judged(path, source).is_empty(), "{path}: {source}\n{:?}", judged(path, source));
    }
}
