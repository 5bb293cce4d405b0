// Package readme finds the blocks of the README, so that tests can run them.
package readme

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Block returns the text of the fenced block that follows the comment "<!-- name -->" in the README.
func Block(t testing.TB, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root(t), "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, after, found := strings.Cut(string(text), "<!-- "+name+" -->\n```")
	if !found {
		t.Fatalf("the README has no block %q", name)
	}
	_, after, _ = strings.Cut(after, "\n")
	block, _, found := strings.Cut(after, "```\n")
	if !found {
		t.Fatalf("block %q of the README does not end", name)
	}
	return block
}

// Commands are the lines of a block of shell commands, without comments.
func Commands(t testing.TB, name string) (lines []string) {
	t.Helper()
	for line := range strings.Lines(Block(t, name)) {
		if line, _, _ = strings.Cut(line, " #"); strings.TrimSpace(line) != "" {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	return lines
}

// root is the directory of the module.
func root(t testing.TB) string {
	t.Helper()
	start, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for dir := start; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		if dir == filepath.Dir(dir) {
			t.Fatalf("no go.mod in or above %s", start)
		}
	}
}
