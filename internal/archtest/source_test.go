package archtest

import (
	"bufio"
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

const (
	module = "thalweg"
	root   = "../.."
)

// source is one Go file of the repository.
type source struct {
	path string // from the root of the repository
	pkg  string // the directory, which is the import path without the module
	test bool
	text []byte
	fset *token.FileSet
	file *ast.File
}

var parseOnce = sync.OnceValues(parseAll)

func sourceFiles(t *testing.T) []source {
	t.Helper()
	files, err := parseOnce()
	require.NoError(t, err)
	require.NotEmpty(t, files)
	return files
}

func parseAll() ([]source, error) {
	var files []source
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir():
			if name := d.Name(); name == "testdata" || name == "vendor" || name == "bin" ||
				len(name) > 2 && name[0] == '.' {
				return filepath.SkipDir
			}
			return nil
		case !strings.HasSuffix(path, ".go"):
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		fset := token.NewFileSet()
		file, err := parser.ParseFile(fset, rel, text, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		files = append(files, source{
			path: rel, pkg: strings.TrimSuffix(rel, "/"+d.Name()), test: strings.HasSuffix(rel, "_test.go"),
			text: text, fset: fset, file: file,
		})
		return nil
	})
	return files, err
}

func (s source) lines() int { return bytes.Count(s.text, []byte("\n")) }

// eachLine calls f with the number and the text of every line.
func (s source) eachLine(f func(n int, line string)) {
	in := bufio.NewScanner(bytes.NewReader(s.text))
	in.Buffer(nil, len(s.text)+1)
	for n := 1; in.Scan(); n++ {
		f(n, in.Text())
	}
}

// findings collects everything that is wrong, so that one run shows it all.
type findings []string

func (fs *findings) add(s source, at token.Pos, format string, args ...any) {
	fs.addLine(s, s.fset.Position(at).Line, format, args...)
}

func (fs *findings) addLine(s source, line int, format string, args ...any) {
	*fs = append(*fs, fmt.Sprintf("%s:%d: %s", s.path, line, fmt.Sprintf(format, args...)))
}

func (fs findings) report(t *testing.T) {
	t.Helper()
	slices.Sort(fs)
	for _, f := range slices.Compact(fs) {
		t.Error(f)
	}
}
