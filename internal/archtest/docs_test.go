package archtest

import (
	"go/ast"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// codeSpan is a piece of a page that is set as code. Blocks of code are programs, which other tests compile.
var codeSpan = regexp.MustCompile("`([^`\n]+)`")

// qualified is a name behind the package or the type that it belongs to.
var qualified = regexp.MustCompile(`\b([A-Za-z]\w*)\.([A-Z]\w*)`)

// TestPagesNameWhatExists keeps pages true when a name changes: pkg.Name and Type.Member have to be declared, where pkg
// is a public package and Type an exported type of one.
func TestPagesNameWhatExists(t *testing.T) {
	declared, members := declarations(t)
	pages, err := filepath.Glob(filepath.Join(root, "docs", "*.md"))
	require.NoError(t, err)
	pages = append(pages, filepath.Join(root, "README.md"))
	checked := 0
	for _, page := range pages {
		text, err := os.ReadFile(page)
		require.NoError(t, err)
		for _, span := range codeSpan.FindAllStringSubmatch(withoutBlocks(string(text)), -1) {
			for _, name := range qualified.FindAllStringSubmatch(span[1], -1) {
				known, isPackage := declared[name[1]]
				if !isPackage {
					known = members[name[1]]
				}
				if known == nil {
					continue
				}
				checked++
				assert.True(t, known[name[2]], "%s names `%s`, which does not exist", filepath.Base(page), name[0])
			}
		}
	}
	require.Greater(t, checked, 100)
}

// withoutBlocks removes fenced blocks from a page.
func withoutBlocks(page string) string {
	parts := strings.Split(page, "\n```")
	var kept []string
	for i := 0; i < len(parts); i += 2 {
		kept = append(kept, parts[i])
	}
	return strings.Join(kept, "\n")
}

// declarations are the exported names of each public package, and the exported fields and methods of their types. Types
// of the same name in several packages share one entry.
func declarations(t *testing.T) (declared, members map[string]map[string]bool) {
	declared, members = map[string]map[string]bool{}, map[string]map[string]bool{}
	add := func(to map[string]map[string]bool, of, name string) {
		if to[of] == nil {
			to[of] = map[string]bool{}
		}
		to[of][name] = true
	}
	for _, f := range sourceFiles(t) {
		if !isPublic(f.pkg) || f.test {
			continue
		}
		for _, d := range f.file.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				if d.Recv == nil {
					add(declared, path.Base(f.pkg), d.Name.Name)
				} else {
					add(members, receiverName(d.Recv.List[0].Type), d.Name.Name)
				}
			case *ast.GenDecl:
				for _, s := range d.Specs {
					switch s := s.(type) {
					case *ast.ValueSpec:
						for _, id := range s.Names {
							add(declared, path.Base(f.pkg), id.Name)
						}
					case *ast.TypeSpec:
						add(declared, path.Base(f.pkg), s.Name.Name)
						for _, name := range fieldNames(s.Type) {
							add(members, s.Name.Name, name)
						}
					}
				}
			}
		}
	}
	return declared, members
}

// receiverName is the name of the type in a receiver, which may be a pointer and have type parameters.
func receiverName(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.StarExpr:
		return receiverName(e.X)
	case *ast.IndexExpr:
		return receiverName(e.X)
	case *ast.IndexListExpr:
		return receiverName(e.X)
	case *ast.Ident:
		return e.Name
	}
	return ""
}

// fieldNames are the fields of a struct, and the methods of an interface. An embedded one has the name of its type.
func fieldNames(e ast.Expr) (names []string) {
	var list *ast.FieldList
	switch e := e.(type) {
	case *ast.StructType:
		list = e.Fields
	case *ast.InterfaceType:
		list = e.Methods
	default:
		return nil
	}
	for _, f := range list.List {
		for _, id := range f.Names {
			names = append(names, id.Name)
		}
		if s, ok := f.Type.(*ast.SelectorExpr); ok && len(f.Names) == 0 {
			names = append(names, s.Sel.Name)
		}
	}
	return slices.Compact(names)
}
