package archtest

import (
	"go/ast"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// verb is where a format has something that differs.
var verb = regexp.MustCompile(`%[-+#0-9.]*[a-zA-Z]`)

// TestPageOfErrors holds docs/errors.md to the code: each text is one that the code has in one place, and each kind of
// error that runtime exports is on the page.
func TestPageOfErrors(t *testing.T) {
	page, err := os.ReadFile(filepath.Join(root, "docs", "errors.md"))
	require.NoError(t, err)
	texts := errorTexts(t)
	rows := 0
	for _, line := range strings.Split(string(page), "\n") {
		if !strings.HasPrefix(line, "| `") {
			continue
		}
		rows++
		text, _, _ := strings.Cut(strings.TrimPrefix(line, "| `"), "`")
		isSaid := slices.ContainsFunc(texts, func(made string) bool { return says(made, text) })
		assert.True(t, isSaid, "no error says %s", text)
	}
	require.Greater(t, rows, 25)
	for _, line := range strings.Split(surface(t, "runtime"), "\n") {
		if name, found := strings.CutPrefix(line, "var Err"); found {
			assert.Contains(t, string(page), "`Err"+name+"`", "the page does not have it")
		}
	}
}

// says tells whether a text has the pieces of a row, in their order.
func says(text, row string) bool {
	for piece := range strings.SplitSeq(row, "…") {
		_, rest, found := strings.Cut(text, strings.Trim(piece, " :.,;"))
		if !found {
			return false
		}
		text = rest
	}
	return true
}

// errorTexts are all strings of code that is not a test, with those that are put together from several lines as one.
func errorTexts(t *testing.T) (all []string) {
	for _, f := range sourceFiles(t) {
		if f.test {
			continue
		}
		ast.Inspect(f.file, func(n ast.Node) bool {
			e, ok := n.(ast.Expr)
			if !ok {
				return true
			}
			text, ok := constant(e)
			if ok {
				all = append(all, verb.ReplaceAllString(text, "…"))
			}
			return !ok
		})
	}
	return all
}

// constant is a string that is written down, perhaps in pieces. What is not stands for something that differs.
func constant(e ast.Expr) (text string, ok bool) {
	switch e := e.(type) {
	case *ast.BasicLit:
		if e.Kind == token.STRING {
			text, err := strconv.Unquote(e.Value)
			return text, err == nil
		}
	case *ast.BinaryExpr:
		left, okLeft := constant(e.X)
		right, okRight := constant(e.Y)
		return left + right, e.Op == token.ADD && (okLeft || okRight)
	}
	return "…", false
}
