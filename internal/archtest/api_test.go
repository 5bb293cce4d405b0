package archtest

import (
	"bytes"
	"flag"
	"go/ast"
	"go/printer"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var rewrite = flag.Bool("rewrite", false, "write the golden files of the exported surface anew")

// public packages are those that a user's program may import. Their exported surface is a golden file each: a
// reviewer of a change sees what it does to them.
func publicPackages() []string {
	return []string{
		"serde", "serde/serdetest", "state", "state/engine", "state/memory", "state/pebble", "state/statetest",
		"topology", "stream", "stream/streamtest", "runtime", "broker", "broker/brokertest",
	}
}

func isPublic(pkg string) bool { return slices.Contains(publicPackages(), pkg) }

// To accept a change of the surface: go test ./internal/archtest -run TestExportedSurface -rewrite
func TestExportedSurface(t *testing.T) {
	for _, pkg := range publicPackages() {
		t.Run(pkg, func(t *testing.T) {
			golden := filepath.Join("testdata", "api", strings.ReplaceAll(pkg, "/", "_")+".txt")
			got := surface(t, pkg)
			require.NotEmpty(t, got, "package %s exports nothing", pkg)
			if *rewrite {
				require.NoError(t, os.MkdirAll(filepath.Dir(golden), 0o755))
				require.NoError(t, os.WriteFile(golden, []byte(got), 0o644))
				return
			}
			want, err := os.ReadFile(golden)
			require.NoError(t, err, "run with -rewrite and commit the file")
			require.Equal(t, string(want), got, "the exported surface of %s changed: if that is meant, -rewrite", pkg)
		})
	}
}

// surface prints every exported declaration of pkg, one a line where it fits, sorted, without bodies, comments and what
// is not exported.
func surface(t *testing.T, pkg string) string {
	t.Helper()
	var lines []string
	for _, f := range sourceFiles(t) {
		if f.pkg != pkg || f.test {
			continue
		}
		for _, d := range f.file.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				if d.Name.IsExported() && receiverExported(d) {
					lines = append(lines, render(t, f, &ast.FuncDecl{Recv: d.Recv, Name: d.Name, Type: d.Type}))
				}
			case *ast.GenDecl:
				lines = append(lines, exportedSpecs(t, f, d)...)
			}
		}
	}
	slices.Sort(lines)
	if len(lines) == 0 {
		return ""
	}
	return strings.Join(lines, "\n") + "\n"
}

func receiverExported(d *ast.FuncDecl) bool {
	if d.Recv == nil || len(d.Recv.List) == 0 {
		return true
	}
	return ast.IsExported(receiverName(d.Recv.List[0].Type))
}

func exportedSpecs(t *testing.T, f source, d *ast.GenDecl) []string {
	var lines []string
	for _, s := range d.Specs {
		switch s := s.(type) {
		case *ast.TypeSpec:
			if s.Name.IsExported() {
				c := *s
				c.Doc, c.Comment, c.Type = nil, nil, exportedType(s.Type)
				lines = append(lines, "type "+render(t, f, &c))
			}
		case *ast.ValueSpec:
			for i, id := range s.Names {
				if id.IsExported() {
					lines = append(lines, exportedValue(t, f, d.Tok, s, i))
				}
			}
		}
	}
	return lines
}

// exportedValue leaves out the value of a variable, which is no part of the surface.
func exportedValue(t *testing.T, f source, tok token.Token, s *ast.ValueSpec, i int) string {
	line := tok.String() + " " + s.Names[i].Name
	if s.Type != nil {
		line += " " + render(t, f, s.Type)
	}
	if tok == token.CONST && i < len(s.Values) {
		line += " = " + render(t, f, s.Values[i])
	}
	return line
}

// exportedType returns e without the fields of a struct that are not exported, and without comments.
func exportedType(e ast.Expr) ast.Expr {
	switch e := e.(type) {
	case *ast.StructType:
		fields, hidden := &ast.FieldList{Opening: 1, Closing: 1}, false
		for _, f := range e.Fields.List {
			c := &ast.Field{Type: exportedType(f.Type), Tag: f.Tag}
			for _, id := range f.Names {
				if id.IsExported() {
					c.Names = append(c.Names, ast.NewIdent(id.Name))
				}
			}
			if len(c.Names) > 0 || len(f.Names) == 0 {
				fields.List = append(fields.List, c)
			} else {
				hidden = true
			}
		}
		if hidden {
			fields.List = append(fields.List, &ast.Field{Type: ast.NewIdent("_ /* … */")})
		}
		return &ast.StructType{Fields: fields}
	case *ast.InterfaceType:
		methods := &ast.FieldList{Opening: 1, Closing: 1}
		for _, m := range e.Methods.List {
			methods.List = append(methods.List, &ast.Field{Names: m.Names, Type: m.Type})
		}
		return &ast.InterfaceType{Methods: methods}
	default:
		return e
	}
}

// render prints a node in one line.
func render(t *testing.T, f source, node any) string {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, (&printer.Config{Mode: printer.RawFormat}).Fprint(&b, f.fset, node))
	var lines []string
	for line := range strings.Lines(b.String()) {
		if line = strings.Join(strings.Fields(line), " "); line != "" {
			lines = append(lines, line)
		}
	}
	tidy := strings.NewReplacer("{; ", "{ ", "(; ", "(", ",; )", ")", ",; ", ", ", "; }", " }")
	return tidy.Replace(strings.Join(lines, "; "))
}
