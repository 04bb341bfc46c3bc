//! Runs the C programs of `tests/c` three times: as they are, under AddressSanitizer and UBSan, and under valgrind.
//!
//! A program must end with 0 and print nothing: neither it, nor the library, nor the tool that watches it. A missing tool
//! fails the test, since a check that did not run proves nothing.

mod support;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use support::header::root;
use support::tools::{Scratch, compile, link_folder, run};

/// Longest a program may take, in seconds; valgrind slows it down about thirty times.
const PATIENCE: &str = "300";

fn build(name: &str, mode: &str, flags: &[&str]) -> PathBuf {
    let scratch = Scratch::new(&format!("c-{mode}-{name}"));
    let libraries = link_folder(&scratch);
    let program = scratch.path(name);
    let mut args: Vec<OsString> = ["-std=c11", "-g", "-O1"].iter().chain(flags).map(Into::into).collect();
    args.extend(["-o".into(), program.clone().into(), "-L".into(), libraries.clone().into()]);
    // `loading` calls the library only through dlopen, and must not be linked with it.
    args.extend(["-Wl,--as-needed", "-lcyborg", "-lpthread", "-ldl", "-lm"].map(Into::into));
    args.push(format!("-Wl,-rpath,{}", libraries.display()).into());
    compile("gcc", &args, &root().join("tests/c").join(name).with_extension("c"));
    program
}

fn silent(command: &mut Command) {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}: is the tool installed?"));
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(output.status.success() && said.is_empty(), "{command:?}: {}\n{said}", output.status);
}

fn timed(program: &Path) -> Command {
    let mut command = Command::new("timeout");
    command.arg(PATIENCE).arg(program);
    command
}

fn plain(name: &str) {
    silent(&mut timed(&build(name, "plain", &[])));
}

fn sanitized(name: &str) {
    let flags = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer"];
    let program = build(name, "sanitized", &flags);
    silent(
        timed(&program)
            // The sanitizer calls dlopen in the program's stead and does not know its run path.
            .env("LD_LIBRARY_PATH", program.with_file_name("lib"))
            .env("ASAN_OPTIONS", "detect_leaks=1:abort_on_error=0")
            .env("UBSAN_OPTIONS", "print_stacktrace=1"),
    );
}

fn valgrind(name: &str) {
    let program = build(name, "valgrind", &[]);
    let suppressions = root().join("tests/c/valgrind.supp");
    let log = program.with_extension("log");
    // A forked child keeps the parent's objects but not the threads whose stacks point to some of them: lost by design.
    let leaks = if name == "forking" { "no" } else { "full" };
    let mut command = timed(Path::new("valgrind"));
    command
        .args(["--quiet", "--error-exitcode=99", "--errors-for-leak-kinds=definite", "--show-leak-kinds=definite"])
        .args(["--fair-sched=yes".into(), format!("--leak-check={leaks}")])
        .arg(format!("--suppressions={}", suppressions.display()))
        .arg(format!("--log-file={}", log.display()))
        .arg(program);
    let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}: is the tool installed?"));
    // Valgrind's reports start with ==; its remarks on system calls that it does not know, with --.
    let log = std::fs::read_to_string(&log).unwrap_or_default();
    let reports: Vec<&str> = log.lines().filter(|l| l.starts_with("==")).collect();
    let said = String::from_utf8_lossy(&output.stderr);
    let clean = output.status.success() && reports.is_empty() && said.is_empty() && output.stdout.is_empty();
    assert!(clean, "{command:?}: {}\n{said}\n{}", output.status, reports.join("\n"));
}

macro_rules! programs {
    ($($name:ident)*) => {
        mod as_it_is { $(#[test] fn $name() { super::plain(stringify!($name)); })* }
        mod sanitizers { $(#[test] fn $name() { super::sanitized(stringify!($name)); })* }
        mod memcheck { $(#[test] fn $name() { super::valgrind(stringify!($name)); })* }

        #[test]
        fn every_program_is_run() {
            let mut there: Vec<String> = std::fs::read_dir(root().join("tests/c")).expect("tests/c")
                .filter_map(|f| f.ok()?.file_name().to_str()?.strip_suffix(".c").map(str::to_owned))
                .collect();
            there.sort_unstable();
            let mut run = vec![$(stringify!($name)),*];
            run.sort_unstable();
            assert_eq!(there, run);
        }
    };
}

/// The examples give what they promise, and what `make install` puts down is found and linked by pkg-config and CMake.
#[test]
fn examples_and_consumers_work() {
    for libdir in ["lib", "lib/x86_64-linux-gnu"] {
        let scratch = Scratch::new(&format!("bindings-c-{}", libdir.len()));
        let mut command = Command::new("make");
        command.arg("-C").arg(root().join("bindings/c")).arg("test").arg(format!("LIBDIR={libdir}"));
        command.arg(format!("LIB={}", link_folder(&scratch).display())).arg(format!("OUT={}", scratch.0.display()));
        run(&mut command);
    }
}

programs! { closing crowd exiting file forking handles items keys loading logs model pointers quantizers search structs training }
