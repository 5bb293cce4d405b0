package archtest

import (
	"go/ast"
	"maps"
	"path"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// methodsMax is how many methods a type of the machine may have, with those of the types that it embeds. One with more
// does more than one thing: find what in it has fields of its own, and make that a type.
const methodsMax = 40

var packagesOfSmallTypes = []string{"runtime", "internal/tasks", "internal/task", "internal/kclient"}

func TestTypesHaveFewMethods(t *testing.T) {
	types := methodSets(t)
	var found findings
	for _, pkg := range packagesOfSmallTypes {
		some := false
		for name, typ := range types {
			if typ.source.pkg != pkg {
				continue
			}
			some = true
			if n := len(types.methods(name)); n > methodsMax {
				found.add(typ.source, typ.spec.Pos(), "type %s has %d methods, %d are allowed", name, n, methodsMax)
			}
		}
		require.True(t, some, "package %s has no types", pkg)
	}
	found.report(t)
}

// methodTypes are the types of the repository, by package and name.
type methodTypes map[string]*methodType

type methodType struct {
	source  source
	spec    *ast.TypeSpec
	methods map[string]bool // its own
	embeds  []string
}

// methodSets finds the methods of all types, and what they embed.
func methodSets(t *testing.T) methodTypes {
	types := methodTypes{}
	for _, f := range sourceFiles(t) {
		for _, d := range f.file.Decls {
			g, ok := d.(*ast.GenDecl)
			if !ok || f.test {
				continue
			}
			for _, s := range g.Specs {
				if spec, ok := s.(*ast.TypeSpec); ok {
					types[f.pkg+"."+spec.Name.Name] = &methodType{f, spec, map[string]bool{}, embedded(f, spec.Type)}
				}
			}
		}
	}
	for _, f := range sourceFiles(t) {
		for _, d := range f.file.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv != nil && !f.test {
				if typ := types[typeName(f, fn.Recv.List[0].Type)]; typ != nil {
					typ.methods[fn.Name.Name] = true
				}
			}
		}
	}
	return types
}

// methods returns the names of a type's methods, promoted ones included. Types of other modules have none.
func (ts methodTypes) methods(name string) map[string]bool {
	typ := ts[name]
	if typ == nil {
		return nil
	}
	all := maps.Clone(typ.methods)
	if in, ok := typ.spec.Type.(*ast.InterfaceType); ok {
		for _, m := range in.Methods.List {
			for _, n := range m.Names {
				all[n.Name] = true
			}
		}
	}
	for _, e := range typ.embeds {
		maps.Copy(all, ts.methods(e))
	}
	return all
}

// embedded returns the types that a struct or an interface embeds.
func embedded(f source, expr ast.Expr) (names []string) {
	var fields *ast.FieldList
	switch t := expr.(type) {
	case *ast.StructType:
		fields = t.Fields
	case *ast.InterfaceType:
		fields = t.Methods
	default:
		return nil
	}
	for _, field := range fields.List {
		if len(field.Names) == 0 {
			names = append(names, typeName(f, field.Type))
		}
	}
	return names
}

// typeName returns the package and name of a type that a file mentions, without type parameters; empty for what is none
// of this module's.
func typeName(f source, expr ast.Expr) string {
	switch t := expr.(type) {
	case *ast.StarExpr:
		return typeName(f, t.X)
	case *ast.IndexExpr:
		return typeName(f, t.X)
	case *ast.IndexListExpr:
		return typeName(f, t.X)
	case *ast.Ident:
		return f.pkg + "." + t.Name
	case *ast.SelectorExpr:
		x, ok := t.X.(*ast.Ident)
		if !ok {
			return ""
		}
		for _, i := range f.file.Imports {
			imported, err := strconv.Unquote(i.Path.Value)
			if err != nil || !strings.HasPrefix(imported, module+"/") {
				continue
			}
			if i.Name != nil && i.Name.Name == x.Name || i.Name == nil && path.Base(imported) == x.Name {
				return strings.TrimPrefix(imported, module+"/") + "." + t.Sel.Name
			}
		}
	}
	return ""
}
