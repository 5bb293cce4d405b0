package archtest

import (
	"go/ast"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// badPhrases are turns of phrase that a reader has to translate, each with what to write instead.
var badPhrases = []struct {
	found   *regexp.Regexp
	instead string
}{
	{regexp.MustCompile(`(?i)\b(tell|tells|telling|told) of\b`), "report, emit, say that"},
	{regexp.MustCompile(`(?i)\banew\b`), "again, a new"},
	{regexp.MustCompile(`(?i), be (it|they|there)\b`), "whether, even if"},
	{regexp.MustCompile(`(?i)\bfor ever\b`), "forever, never expires"},
	{regexp.MustCompile(`(?i)\b(goes|go|going|went) on\b`), "continues, resumes, passes on"},
	{regexp.MustCompile(`(?i)\b(comes|come|came) of\b`), "results from, is derived from"},
	{regexp.MustCompile(`(?i)\b(lets|let) go\b`), "releases, frees"},
	{regexp.MustCompile(`(?i)\bunder way\b`), "in progress"},
	// A subject of its own, without a noun that it refers to.
	{regexp.MustCompile(`(^|[.;:] |\b(to|of|for|by|from|and|or|but|where|what|whether) )[Ww]ho(ever)?\b`),
		"a noun: the caller that"},
	{regexp.MustCompile(`(?i)\b(shelf|shelves|vault|keyring|diarist|thrifty|teller|forced to (the )?disk)\b`),
		"the field's word: cache, storage, codec, writer, pool, emitter, synced"},
	{britishSpelling, "American spelling"},
}

// britishSpelling matches words, and parts of identifiers.
var britishSpelling = regexp.MustCompile(`(?i)(colour|behaviour|neighbour|favour|(optim|recogn|initial|serial|normal|` +
	`organ|minim|maxim|summar|synchron|final|categor|prior(it)?)is(e|ed|es|er|ing|ation)(\b|[A-Z_])|cancelled|` +
	`cancelling|labelled|travelled|catalogue)`)

// phraseCeilings are how often directories have bad phrases, in comments, strings and pages. Others have none. They
// only go down: lower them when the count falls.
var phraseCeilings = map[string]int{
	".":                                     1,
	"cmd/thalweg":                           9,
	"cmd/thalweg/internal/project/skeleton": 1,
	"cmd/thalweg/internal/workload":         4,
	"docs":                                  36,
	"docs/adr":                              20,
	"examples/jobs":                         1,
	"examples/joins":                        1,
	"examples/late":                         1,
	"examples/windows":                      1,
	"examples/windows/program":              1,
	"examples/wordcount":                    2,
	"examples/wordcount/program":            1,
	"internal/align":                        5,
	"internal/assign":                       4,
	"internal/clock":                        1,
	"internal/direct":                       1,
	"internal/invariant":                    2,
	"internal/kafkatest":                    7,
	"internal/kclient":                      36,
	"internal/memory":                       2,
	"internal/oracle":                       7,
	"internal/origin":                       13,
	"internal/plan":                         1,
	"internal/sim":                          6,
	"internal/task":                         57,
	"internal/tasks":                        6,
	"internal/verify":                       3,
	"internal/verify/history":               2,
	"runtime":                               120,
	"serde":                                 3,
	"stream":                                26,
	"stream/streamtest":                     1,
	"topology":                              19,
}

func TestPhrases(t *testing.T) {
	counts := map[string]int{}
	var found findings
	count := func(file string, line int, text string) {
		dir := path.Dir(file)
		for _, bad := range badPhrases {
			for _, hit := range bad.found.FindAllString(text, -1) {
				if counts[dir]++; counts[dir] > phraseCeilings[dir] {
					found.addLine(source{path: file}, line, "%q: say it in plain American English: %s", hit, bad.instead)
				}
			}
		}
	}
	for _, f := range sourceFiles(t) {
		if f.pkg == "internal/archtest" {
			continue // it names them
		}
		eachText(f, func(at token.Pos, text string) { count(f.path, f.fset.Position(at).Line, text) })
	}
	eachPage(t, func(file, text string) { count(file, 1, text) })
	for _, dir := range slices.Sorted(maps.Keys(phraseCeilings)) {
		if counts[dir] < phraseCeilings[dir] {
			t.Errorf("lower the ceiling of %s to %d", dir, counts[dir])
		}
	}
	if len(found) > 0 {
		now := map[string]int{}
		for dir, n := range counts {
			if n > phraseCeilings[dir] {
				now[dir] = n
			}
		}
		t.Logf("more than their ceilings have: %v", now)
	}
	found.report(t)
}

// eachText calls f with the comments of a file, each group as one text, with its strings, unless it is a test, and with
// the names that it declares.
func eachText(s source, f func(at token.Pos, text string)) {
	for _, g := range s.file.Comments {
		f(g.Pos(), oneLine(g.Text()))
	}
	ast.Inspect(s.file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.ImportSpec:
			return false
		case *ast.BasicLit:
			if n.Kind == token.STRING && !s.test {
				f(n.Pos(), oneLine(n.Value))
			}
		case *ast.FuncDecl:
			f(n.Pos(), n.Name.Name)
		case *ast.TypeSpec:
			f(n.Pos(), n.Name.Name)
		}
		return true
	})
}

// eachPage calls f with the text of each page of documentation.
func eachPage(t *testing.T, f func(file, text string)) {
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "bin" || d.Name() == "testdata" || len(d.Name()) > 2 && d.Name()[0] == '.'):
			return filepath.SkipDir
		case d.IsDir() || filepath.Ext(name) != ".md":
			return nil
		}
		text, err := os.ReadFile(name)
		if err == nil {
			rel, _ := filepath.Rel(root, name)
			f(filepath.ToSlash(rel), oneLine(string(text)))
		}
		return err
	})
	require.NoError(t, err)
}

func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }
