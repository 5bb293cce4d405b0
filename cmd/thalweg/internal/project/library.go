package project

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	goruntime "runtime"
	"runtime/debug"
	"strconv"
	"strings"
)

// module is the library's.
const module = "thalweg"

// Library is what a new project requires: a released version, or the source in a directory.
type Library struct {
	Version string
	Dir     string
}

var release = regexp.MustCompile(`^v\d+\.\d+\.\d+$`)

// FindLibrary finds what this tool was built from. dir, where it is not empty, is where the library's source is.
func FindLibrary(ctx context.Context, dir string) (Library, error) {
	if dir != "" {
		abs, err := filepath.Abs(dir)
		if err == nil {
			err = checkSource(abs)
		}
		return Library{Dir: abs}, err
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Path == module && release.MatchString(info.Main.Version) {
		return Library{Version: info.Main.Version}, nil
	}
	// The path of this file, unless it was built with -trimpath; the module that the current directory belongs to, or
	// requires.
	_, path, _, _ := goruntime.Caller(0)
	candidates := []string{filepath.Join(filepath.Dir(path), "../../../..")}
	if out, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", module).Output(); err == nil {
		candidates = append(candidates, strings.TrimSpace(string(out)))
	}
	for _, dir := range candidates {
		if filepath.IsAbs(dir) && checkSource(dir) == nil {
			return Library{Dir: dir}, nil
		}
	}
	return Library{}, errors.New("the library's source is not where this tool was built from: say where it is with " +
		"-library DIR")
}

// checkSource says whether a directory holds the library's module.
func checkSource(dir string) error {
	text, err := os.ReadFile(filepath.Join(dir, "go.mod"))
	if err != nil {
		return err
	}
	if !strings.HasPrefix(string(text), "module "+module+"\n") {
		return fmt.Errorf("%s does not hold the module %s", dir, module)
	}
	return nil
}

// moduleFiles are go.mod and go.sum of an application of that name, and the toolchain that go.mod names. With a
// directory, go.mod has all requirements of the library's and go.sum all its sums, so that the first build needs the
// module proxy alone, and no checksum database; "go mod tidy" removes what the application does not use.
func (l Library) moduleFiles(name string) (mod, sum []byte, toolchain string, err error) {
	if l.Version != "" {
		toolchain = goruntime.Version()
		mod = fmt.Appendf(nil, "module %s\n\ngo 1.27\n\ntoolchain %s\n\nrequire %s %s\n", name, toolchain, module, l.Version)
		return mod, nil, toolchain, nil
	}
	text, err := os.ReadFile(filepath.Join(l.Dir, "go.mod"))
	if err != nil {
		return nil, nil, "", err
	}
	own, err := parseModule(string(text))
	if err != nil {
		return nil, nil, "", fmt.Errorf("%s/go.mod: %w", l.Dir, err)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "module %s\n\ngo %s\n\ntoolchain %s\n\nrequire %s v0.0.0\n\nreplace %[4]s => %[5]s\n\n", name,
		own.language, own.toolchain, module, quoted(l.Dir))
	fmt.Fprintf(&b, "require (\n")
	for _, r := range own.require {
		fmt.Fprintf(&b, "\t%s // indirect\n", r)
	}
	fmt.Fprintf(&b, ")\n")
	sum, err = os.ReadFile(filepath.Join(l.Dir, "go.sum"))
	return []byte(b.String()), sum, own.toolchain, err
}

// moduleFile is what a new project takes over from the library's go.mod.
type moduleFile struct {
	language, toolchain string
	require             []string // "path version"
}

func parseModule(text string) (m moduleFile, err error) {
	block := false
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "//")
		f := strings.Fields(line)
		switch {
		case len(f) == 0:
		case len(f) == 2 && f[0] == "go":
			m.language = f[1]
		case len(f) == 2 && f[0] == "toolchain":
			m.toolchain = f[1]
		case len(f) == 2 && f[0] == "require" && f[1] == "(":
			block = true
		case f[0] == ")":
			block = false
		case len(f) == 3 && f[0] == "require":
			m.require = append(m.require, f[1]+" "+f[2])
		case len(f) == 2 && block:
			m.require = append(m.require, f[0]+" "+f[1])
		case f[0] != "module":
			return m, fmt.Errorf("line %q is not understood", strings.TrimSpace(line))
		}
	}
	if m.language == "" || m.toolchain == "" {
		return m, errors.New("no go and toolchain lines")
	}
	return m, nil
}

// quoted is a path as go.mod takes it.
func quoted(path string) string {
	if strings.ContainsAny(path, " \t\"'`(),") {
		return strconv.Quote(path)
	}
	return path
}
