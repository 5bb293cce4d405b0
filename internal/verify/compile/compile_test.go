package compile

import (
	"bufio"
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// ceiling is the most that the packages of a program may have of the code of generic types.
type ceiling struct {
	packages  []string // below testdata
	functions int
	text      int // bytes
}

// The ceilings stand a little above what was measured. Lower them when the count falls; see CONTRIBUTING.md, "When you
// add a method to a generic type", before you raise one.
var ceilings = map[string]ceiling{
	"word count":         {[]string{"wordcount", "wordcount/program"}, 330, 95_000},
	"word count's main":  {[]string{"wordcount"}, 30, 2_000},
	"twelve queries":     {[]string{"queries"}, 3000, 1_060_000},
	"a package with New": {[]string{"newapp"}, 5, 1_000},
}

func TestCompileCost(t *testing.T) {
	dependOnSources(t)
	for name, c := range ceilings {
		t.Run(name, func(t *testing.T) {
			byType := map[string]cost{}
			var sum cost
			for _, p := range c.packages {
				for _, f := range instances(t, p) {
					sum = sum.plus(f.cost)
					byType[f.of] = byType[f.of].plus(f.cost)
				}
			}
			t.Logf("%d functions, %d bytes", sum.functions, sum.text)
			if sum.functions > c.functions || sum.text > c.text {
				t.Errorf("%d functions of generic types (at most %d), %d bytes of text (at most %d):\n%s",
					sum.functions, c.functions, sum.text, c.text, dearest(byType))
			}
		})
	}
}

// dependOnSources opens the sources of the programs: what the go command opens is not known to the cache of test
// results, which would say "ok" after every change.
func dependOnSources(t *testing.T) {
	t.Helper()
	list := []string{"list", "-deps", "-f",
		`{{$d := .Dir}}{{if .Module}}{{if .Module.Main}}{{range .GoFiles}}{{$d}}/{{.}}
{{end}}{{end}}{{end}}`}
	list = append(list, "./testdata/wordcount", "./testdata/queries", "./testdata/newapp")
	files := strings.Fields(run(t, "go", list...))
	require.Greater(t, len(files), 100)
	for _, name := range files {
		f, err := os.Open(name)
		require.NoError(t, err)
		require.NoError(t, f.Close())
	}
}

type cost struct{ functions, text int }

func (c cost) plus(o cost) cost { return cost{c.functions + o.functions, c.text + o.text} }

// function is one function of a generic type or a generic function, instantiated.
type function struct {
	of string // the type or function without its type arguments
	cost
}

// instances are the functions with type arguments in a package's own archive: all that the compiler made there,
// whether or not the linker keeps them.
func instances(t *testing.T, pkg string) []function {
	t.Helper()
	archive := strings.TrimSpace(run(t, "go", "list", "-export", "-f", "{{.Export}}", "./testdata/"+pkg))
	require.NotEmpty(t, archive, "go list -export names no archive of %s", pkg)
	var all []function
	lines := bufio.NewScanner(strings.NewReader(run(t, "go", "tool", "nm", "-size", archive)))
	lines.Buffer(nil, 1<<20)
	functions := 0
	for lines.Scan() {
		// The address, the size, the kind, the name, which may have spaces.
		fields := strings.Fields(lines.Text())
		if len(fields) < 4 || !strings.EqualFold(fields[2], "t") {
			continue
		}
		functions++
		name := strings.Join(fields[3:], " ")
		if !strings.Contains(name, "[") {
			continue
		}
		size, err := strconv.Atoi(fields[1])
		require.NoError(t, err, lines.Text())
		all = append(all, function{generic(name), cost{1, size}})
	}
	require.NoError(t, lines.Err())
	require.Positive(t, functions, "the archive of %s has no function: is the count broken?", pkg)
	return all
}

// generic is the name of the type or function that a symbol is an instance of: what is in brackets is removed, and a
// closure counts with the function that has it.
func generic(symbol string) string {
	var b strings.Builder
	depth := 0
	for _, c := range symbol {
		switch {
		case c == '[':
			depth++
		case c == ']':
			depth--
		case depth == 0 && !strings.ContainsRune("(*)", c):
			b.WriteRune(c)
		}
	}
	name := b.String()
	slash := strings.LastIndexByte(name, '/') + 1
	parts := strings.Split(name[slash:], ".")
	return name[:slash] + strings.Join(parts[:min(len(parts), 2)], ".")
}

// dearest lists what has the most functions, with their bytes.
func dearest(byType map[string]cost) string {
	names := slices.SortedFunc(maps.Keys(byType), func(a, b string) int {
		return cmp.Or(cmp.Compare(byType[b].functions, byType[a].functions), cmp.Compare(a, b))
	})
	var b strings.Builder
	for _, n := range names[:min(len(names), 40)] {
		fmt.Fprintf(&b, "%6d functions %8d bytes  %s\n", byType[n].functions, byType[n].text, n)
	}
	return b.String()
}

func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	var stderr bytes.Buffer
	c := exec.CommandContext(t.Context(), name, args...)
	c.Stderr = &stderr
	out, err := c.Output()
	require.NoError(t, err, "%s %s: %s", name, strings.Join(args, " "), &stderr)
	return string(out)
}

func TestGeneric(t *testing.T) {
	require.Equal(t, "thalweg/state.KVStore", generic("thalweg/state.(*KVStore[go.shape.string,int64]).Get.func1"))
	require.Equal(t, "thalweg/state.send", generic("thalweg/state.send[[]uint8,struct { A int }].func1.2"))
}
