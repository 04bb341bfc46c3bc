//! Compilers and programs: each is run with its output shown when it fails; a tool that is missing is a clear failure.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use super::header::root;

/// Warnings are errors in all C and C++ of this repository.
pub const STRICT: [&str; 4] = ["-Wall", "-Wextra", "-Wpedantic", "-Werror"];

/// A folder of its own under the build folder, emptied at the start.
pub struct Scratch(pub PathBuf);

impl Scratch {
    pub fn new(name: &str) -> Self {
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).expect("a scratch folder");
        Self(path)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, text).expect("a scratch file");
        path
    }
}

/// Runs a command to success.
pub fn run(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}: is the tool installed?"));
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    output
}

/// Compiles one source file strictly, with the committed header on the path.
pub fn compile<S: AsRef<OsStr>>(compiler: &str, args: &[S], source: &Path) {
    run(Command::new(compiler).args(STRICT).arg("-I").arg(root().join("include")).arg(source).args(args));
}

/// Folder where cargo puts what the tests link with.
fn deps() -> PathBuf {
    let program = std::env::current_exe().expect("the path of the test program");
    program.parent().expect("a folder").to_owned()
}

/// The shared library of this build.
pub fn shared_library() -> PathBuf {
    deps().join("libcyborg.so")
}

/// The static library of this build.
pub fn static_library() -> PathBuf {
    deps().join("libcyborg.a")
}

/// A folder with the library under the names that linkers and loaders look for.
pub fn link_folder(scratch: &Scratch) -> PathBuf {
    let folder = scratch.path("lib");
    fs::create_dir_all(&folder).expect("a folder for the library");
    for (name, library) in
        [("libcyborg.so", shared_library()), ("libcyborg.so.0", shared_library()), ("libcyborg.a", static_library())]
    {
        std::os::unix::fs::symlink(&library, folder.join(name)).expect("a link to the library");
    }
    folder
}
