//! Makes the text of `include/cyborg.h` from `src/ffi`: a preamble, then one section per noun.
//!
//! cbindgen runs once per file, so that the constants, types and functions of a noun stand together under its banner,
//! which is the file's `//!` page. Every struct that starts with `struct_size` gets its `CYBORG_..._INIT`.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// Files of `src/ffi` in the order of the header. A section may name types of the sections before it.
pub const SECTIONS: [&str; 15] = [
    "error", "version", "call", "names", "queue", "db", "index", "describe", "columns", "items", "training", "record",
    "model", "search", "upkeep",
];

pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

pub fn committed() -> PathBuf {
    root().join("include/cyborg.h")
}

/// The whole header.
pub fn generate() -> String {
    let ffi = root().join("src/ffi");
    let mut text = read(&ffi.join("preamble.h"));
    for name in SECTIONS {
        let path = ffi.join(name).with_extension("rs");
        text.push_str(&banner(&read(&path)));
        text.push_str(&section(&path));
    }
    text.push_str("\n#ifdef __cplusplus\n}\n#endif\n\n#endif /* CYBORG_H */\n");
    text
}

pub fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The `//!` page of a file as a comment between rules.
fn banner(source: &str) -> String {
    let rule = "=".repeat(107);
    let mut text = format!("\n/* {rule}\n");
    for line in source.lines().map_while(|l| l.strip_prefix("//!")) {
        let _ = writeln!(text, " *{}", line.trim_end());
    }
    let _ = writeln!(text, " * {rule} */\n");
    text
}

fn section(path: &Path) -> String {
    let config = cbindgen::Config::from_file(root().join("cbindgen.toml")).expect("cbindgen.toml");
    let bindings = cbindgen::Builder::new().with_config(config).with_src(path).generate().expect("cbindgen");
    let mut bytes = Vec::new();
    bindings.write(&mut bytes);
    with_initialisers(&tidy(&String::from_utf8(bytes).expect("UTF-8")))
}

/// Widest line of a tidied declaration or comment.
const WIDTH: usize = 118;

/// Brings what cbindgen writes into a form that is read more easily: a comment of one line takes one line, constants
/// stand together, functions carry `CYBORG_API` and are broken at commas only where they are too long.
fn tidy(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    let (mut out, mut i, mut in_struct) = (Vec::<String>::new(), 0, false);
    while i < lines.len() {
        let line = lines[i];
        let indent = &line[..line.len() - line.trim_start().len()];
        let short = line.trim() == "/**" && lines.get(i + 2).is_some_and(|l| l.trim() == "*/");
        let text = lines.get(i + 1).and_then(|l| l.trim().strip_prefix("* ")).unwrap_or_default();
        if short && text.len() + indent.len() + "/**  */".len() <= WIDTH {
            if let [.., before, blank] = out.as_slice() {
                let family = constant_family(before);
                let same = family.is_some() && lines.get(i + 3).is_some_and(|l| constant_family(l) == family);
                if same && blank.is_empty() {
                    out.pop();
                }
            }
            out.push(format!("{indent}/** {text} */"));
            i += 3;
            continue;
        }
        let starts_function = !in_struct
            && line.starts_with(|c: char| c.is_ascii_lowercase())
            && !line.starts_with("typedef")
            && line.contains('(');
        if starts_function {
            let end = i + lines[i..].iter().position(|l| l.ends_with(");")).expect("an end of the declaration");
            let joined: Vec<&str> = lines[i..=end].iter().map(|l| l.trim()).collect();
            out.extend(wrap(&format!("CYBORG_API {}", joined.join(" ").replace("struct cyborg_", "cyborg_"))));
            i = end + 1;
            continue;
        }
        in_struct = (in_struct || line.ends_with('{')) && !line.starts_with('}');
        let tagged = line.starts_with("typedef struct");
        out.push(if tagged { line.to_owned() } else { line.replace("struct cyborg_", "cyborg_") });
        i += 1;
    }
    out.join("\n") + "\n"
}

/// `STATUS` of `#define CYBORG_STATUS_OK 0`.
fn constant_family(line: &str) -> Option<&str> {
    line.strip_prefix("#define CYBORG_")?.split('_').next()
}

/// Breaks a declaration at commas, further lines indented.
fn wrap(declaration: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in declaration.split_inclusive(", ") {
        let last = lines.last_mut().expect("a line");
        if last.len() + word.trim_end().len() > WIDTH {
            *last = last.trim_end().to_owned();
            lines.push(format!("        {word}"));
        } else {
            last.push_str(word);
        }
    }
    lines
}

/// Appends `#define CYBORG_X_INIT {sizeof(cyborg_x), 0, ...}` to every struct that starts with `struct_size`. All
/// fields are named by position (an array as `{0}`), so that neither C nor C++ warns of missing ones.
fn with_initialisers(text: &str) -> String {
    let (mut out, mut fields, mut sized) = (String::new(), Vec::new(), false);
    for line in text.lines() {
        out.push_str(line.trim_end());
        out.push('\n');
        let code = line.trim();
        if line.starts_with("typedef struct") && code.ends_with('{') {
            (fields, sized) = (Vec::new(), false);
        } else if line.starts_with(' ') && code.ends_with(';') && !code.starts_with('*') {
            sized |= fields.is_empty() && code == "uint32_t struct_size;";
            fields.push(if code.ends_with("];") { ", {0}" } else { ", 0" });
        } else if let Some(name) = line.strip_prefix("} ").and_then(|l| l.strip_suffix(';')) {
            if sized {
                let zeroes = fields[1..].concat();
                let _ = writeln!(out, "\n/** Sets struct_size and zeroes all other fields. */");
                let _ = writeln!(out, "#define {}_INIT {{sizeof({name}){zeroes}}}", name.to_uppercase());
            }
            fields.clear();
        }
    }
    out
}
