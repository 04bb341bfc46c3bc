package cyborgdb_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The README's program, in a module of its own outside this tree and without a network: linked statically from a
// vendored copy (which holds the library and its header), and with the system's shared library by pkg-config.
func TestTheReadmeProgramOutsideOfTheTree(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles the package twice")
	}
	here, err := os.Getwd()
	ok(t, err)
	readme, err := os.ReadFile("README.md")
	ok(t, err)
	program := regexp.MustCompile("(?s)```go\n(.*?)```").FindSubmatch(readme)
	if program == nil {
		t.Fatal("the README has no program")
	}
	folder := t.TempDir()
	ok(t, os.WriteFile(filepath.Join(folder, "main.go"), program[1], 0o600))
	run := func(environment []string, name string, arguments ...string) string {
		t.Helper()
		c := exec.Command(name, arguments...)
		c.Dir, c.Env = folder, append(append(os.Environ(), "GOPROXY=off", "GOFLAGS="), environment...)
		out, err := c.CombinedOutput()
		if err != nil {
			t.Fatalf("%s %s: %v\n%s", name, strings.Join(arguments, " "), err, out)
		}
		return string(out)
	}
	const want = "item_1 0.006000936 Alice\n"
	check := func(program string, environment ...string) {
		t.Helper()
		os.Remove(filepath.Join(folder, "first.cyborg"))
		if got := run(environment, program); !strings.HasPrefix(got, "item_1 0.00600") || !strings.HasSuffix(got, " Alice\n") {
			t.Errorf("got %q, want about %q", got, want)
		}
	}

	run(nil, "go", "mod", "init", "consumer")
	run(nil, "go", "mod", "edit", "-require", "cyborg.invalid/cyborgdb@v0.0.0", "-replace", "cyborg.invalid/cyborgdb="+here)
	run(nil, "go", "mod", "vendor")
	run(nil, "go", "build", "-mod=vendor", "-o", "static", ".")
	check("./static")

	shared, err := filepath.Abs("../../target/release")
	ok(t, err)
	if _, err := os.Stat(filepath.Join(shared, "libcyborg.so.0")); err != nil {
		t.Skip("no shared library: make lib")
	}
	if _, err := exec.LookPath("pkg-config"); err != nil {
		t.Skip("no pkg-config")
	}
	include, err := filepath.Abs("../../include")
	ok(t, err)
	ok(t, os.WriteFile(filepath.Join(folder, "cyborg.pc"), []byte("Name: cyborg\nDescription: cyborg\nVersion: 0.1.0\nLibs: -L"+
		shared+" -lcyborg\nCflags: -I"+include+"\n"), 0o600))
	run([]string{"PKG_CONFIG_PATH=" + folder}, "go", "build", "-mod=mod", "-tags", "cyborg_use_lib", "-o", "shared", ".")
	check("./shared", "LD_LIBRARY_PATH="+shared)
}
