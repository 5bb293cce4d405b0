package stream_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// methodsOf are the exported methods of the package's types, by "Type.Method".
func methodsOf(t *testing.T) map[string]*ast.FuncDecl {
	t.Helper()
	methods := map[string]*ast.FuncDecl{}
	files, err := os.ReadDir(".")
	require.NoError(t, err)
	for _, f := range files {
		if !strings.HasSuffix(f.Name(), ".go") || strings.HasSuffix(f.Name(), "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), f.Name(), nil, parser.SkipObjectResolution)
		require.NoError(t, err)
		for _, d := range parsed.Decls {
			if m, ok := d.(*ast.FuncDecl); ok && m.Recv != nil && m.Name.IsExported() {
				of, _, _ := strings.Cut(types.ExprString(m.Recv.List[0].Type), "[")
				methods[of+"."+m.Name.Name] = m
			}
		}
	}
	return methods
}

// signature is a function's parameters and results, as text.
type signature struct{ takes, returns []string }

func fields(list *ast.FieldList) (texts []string) {
	if list == nil {
		return nil
	}
	for _, f := range list.List {
		for range max(len(f.Names), 1) {
			texts = append(texts, types.ExprString(f.Type))
		}
	}
	return texts
}

// functionsOf are the functions that a method takes, those without parameters aside: they see no record.
func functionsOf(m *ast.FuncDecl) (all []signature) {
	constraints := map[string]ast.Expr{}
	if m.Type.TypeParams != nil {
		for _, p := range m.Type.TypeParams.List {
			for _, name := range p.Names {
				constraints[name.Name] = p.Type
			}
		}
	}
	for _, p := range m.Type.Params.List {
		expr := p.Type
		if v, ok := expr.(*ast.Ellipsis); ok {
			expr = v.Elt
		}
		if name, ok := expr.(*ast.Ident); ok && constraints[name.Name] != nil {
			expr = constraints[name.Name]
		}
		if tilde, ok := expr.(*ast.UnaryExpr); ok {
			expr = tilde.X
		}
		f, ok := expr.(*ast.FuncType)
		if !ok || len(f.Params.List) == 0 {
			continue
		}
		for range max(len(p.Names), 1) {
			all = append(all, signature{fields(f.Params), fields(f.Results)})
		}
	}
	return all
}

// Every operator that takes a function has a twin that takes the full one: the call, the key, what the plain function
// takes; an error last. A method of a Try type costs nothing before it is called, which takes type parameters.
func TestEveryFunctionHasItsFullForm(t *testing.T) {
	methods, twins := methodsOf(t), 0
	for name, plain := range methods {
		of, _, _ := strings.Cut(name, ".")
		if strings.HasPrefix(of, "Try") {
			require.NotNil(t, plain.Type.TypeParams, "%s has no type parameters of its own", name)
			require.Contains(t, methods, strings.TrimPrefix(name, "Try"))
			continue
		}
		functions := functionsOf(plain)
		if methods[of+".Try"] == nil || len(functions) == 0 || name == "Stream.MapAsync" { // whose function fails, too
			continue
		}
		full := methods["Try"+name]
		require.NotNil(t, full, "%s takes a function: Try%s is missing", name, name)
		require.Equal(t, fields(plain.Type.Results), fields(full.Type.Results), name)
		fulls := functionsOf(full)
		require.Len(t, fulls, len(functions), name)
		for i, f := range fulls {
			p := functions[i]
			require.Equal(t, "*Call", f.takes[0], name)
			require.Equal(t, append(slices.Clip(p.returns), "error"), f.returns, name)
			key := []string{"K"}
			if strings.HasPrefix(of, "Window") && of != "WindowedGroup" {
				key = []string{"K", "Span"}
			}
			if !slices.Equal(p.takes[:min(len(key), len(p.takes))], key) {
				p.takes = slices.Concat(key, p.takes)
			}
			require.Equal(t, p.takes, f.takes[1:], name)
		}
		twins++
	}
	require.Greater(t, twins, 40)
	for _, of := range []string{"Stream", "Table", "Grouped", "WindowedGroup", "SessionGroup", "GroupedTable",
		"WindowTable", "Cogrouped", "SessionCogroup"} {
		require.Contains(t, methods, of+".Try")
	}
	for name, m := range methods { // and no other type takes functions of records
		of, _, _ := strings.Cut(name, ".")
		if methods[of+".Try"] == nil && !strings.HasPrefix(of, "Try") && of != "Within" {
			require.Empty(t, functionsOf(m), "%s takes a function, but %s has no Try", name, of)
		}
	}
}
