package archtest

import (
	"go/ast"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// codeSpan is a piece of a page that is set as code. Blocks of code are programs, which other tests compile.
var codeSpan = regexp.MustCompile("`([^`\n]+)`")

// qualified is a name behind the package or the type that it belongs to, and perhaps names of fields behind it.
var qualified = regexp.MustCompile(`\b[A-Za-z]\w*(?:\.[A-Z]\w*)+`)

// bareName is an exported name with nothing before or behind it.
var bareName = regexp.MustCompile("`([A-Z]\\w*)`")

// TestPagesNameWhatExists keeps pages true when a name changes: pkg.Name and Type.Member have to be declared, where pkg
// is a public package and Type an exported type of one. So does each further name of a chain such as Config.State.Dir.
func TestPagesNameWhatExists(t *testing.T) {
	d := declarations(t)
	pages, err := filepath.Glob(filepath.Join(root, "docs", "*.md"))
	require.NoError(t, err)
	pages = append(pages, filepath.Join(root, "README.md"))
	checked := 0
	for _, page := range pages {
		text, err := os.ReadFile(page)
		require.NoError(t, err)
		for _, span := range codeSpan.FindAllStringSubmatch(withoutBlocks(string(text)), -1) {
			for _, name := range qualified.FindAllString(span[1], -1) {
				known, exists := d.find(strings.Split(name, "."))
				if known {
					checked++
					assert.True(t, exists, "%s names `%s`, which does not exist", filepath.Base(page), name)
				}
			}
		}
	}
	require.Greater(t, checked, 100)
}

// TestFindsNames holds the check of names to what it has to refuse.
func TestFindsNames(t *testing.T) {
	d := declarations(t)
	for name, want := range map[string][2]bool{
		"runtime.Config": {true, true}, "runtime.Config.Limits.CacheBytesMax": {true, true},
		"Config.State.Dir": {true, true}, "Config.State.FS.Open": {true, true}, // what others declare is not looked at
		"runtime.Nothing": {true, false}, "Config.Nothing": {true, false}, "Config.Limits.Nothing": {true, false},
		"runtime.Config.Limits.Nothing": {true, false}, "kgo.Nothing": {false, false},
	} {
		known, exists := d.find(strings.Split(name, "."))
		assert.Equal(t, want, [2]bool{known, exists}, name)
	}
}

// TestSettingsOfKafkaStreams checks the names without a type in the table of settings: they are fields of
// runtime.Config.
func TestSettingsOfKafkaStreams(t *testing.T) {
	fields := declarations(t).members["runtime.Config"]
	text, err := os.ReadFile(filepath.Join(root, "docs", "from-kafka-streams.md"))
	require.NoError(t, err)
	_, section, _ := strings.Cut(string(text), "\n## Settings\n")
	section, _, _ = strings.Cut(section, "\n## ")
	checked := 0
	for _, line := range strings.Split(section, "\n") {
		cells := strings.Split(line, "|")
		if len(cells) != 5 || strings.Contains(line, "| Thalweg |") {
			continue
		}
		for _, name := range bareName.FindAllStringSubmatch(cells[2], -1) {
			checked++
			_, exists := fields[name[1]]
			assert.True(t, exists, "the table names `%s`, which is not a field of runtime.Config", name[1])
		}
	}
	require.Greater(t, checked, 10)
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

// publicNames are what public packages declare.
type publicNames struct {
	declared map[string]map[string]bool   // package → names
	types    map[string][]string          // type → the same behind its package, of which there may be several
	members  map[string]map[string]string // package.type → field or method → package.type of a field, if it has a name
}

// find follows names from a package or a type on. known is false where the first is neither. What comes behind a field
// whose type is declared elsewhere exists.
func (d publicNames) find(chain []string) (known, exists bool) {
	at := d.types[chain[0]]
	chain, first := chain[1:], chain[0]
	if declared := d.declared[first]; declared != nil {
		if !declared[chain[0]] {
			return true, false
		}
		at, chain = []string{first + "." + chain[0]}, chain[1:]
	} else if at == nil {
		return false, false
	}
	for _, name := range chain {
		var next []string
		isMember, isOpen := false, false
		for _, of := range at {
			members, isType := d.members[of]
			to, has := members[name]
			isMember, isOpen = isMember || has, isOpen || !isType
			if has {
				next = append(next, to)
			}
		}
		if !isMember {
			return true, isOpen
		}
		at = next
	}
	return true, true
}

// declarations are the exported names of each public package, and the fields and methods of their types.
func declarations(t *testing.T) publicNames {
	all := publicNames{map[string]map[string]bool{}, map[string][]string{}, map[string]map[string]string{}}
	for _, f := range sourceFiles(t) {
		if !isPublic(f.pkg) || f.test {
			continue
		}
		pkg := path.Base(f.pkg)
		declare := func(name string) {
			if all.declared[pkg] == nil {
				all.declared[pkg] = map[string]bool{}
			}
			all.declared[pkg][name] = true
		}
		member := func(of, name, to string) {
			of = pkg + "." + of
			if all.members[of] == nil {
				all.members[of] = map[string]string{}
			}
			all.members[of][name] = to
		}
		for _, d := range f.file.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				if d.Recv == nil {
					declare(d.Name.Name)
				} else {
					member(receiverName(d.Recv.List[0].Type), d.Name.Name, "")
				}
			case *ast.GenDecl:
				for _, s := range d.Specs {
					switch s := s.(type) {
					case *ast.ValueSpec:
						for _, id := range s.Names {
							declare(id.Name)
						}
					case *ast.TypeSpec:
						declare(s.Name.Name)
						all.types[s.Name.Name] = append(all.types[s.Name.Name], pkg+"."+s.Name.Name)
						for name, to := range fieldsOf(pkg, s.Type) {
							member(s.Name.Name, name, to)
						}
					}
				}
			}
		}
	}
	return all
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

// fieldsOf are the fields of a struct, with their types, and the methods of an interface. An embedded one has the name
// of its type.
func fieldsOf(pkg string, e ast.Expr) map[string]string {
	fields := map[string]string{}
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
		to := fieldType(pkg, f.Type)
		for _, id := range f.Names {
			fields[id.Name] = to
		}
		if len(f.Names) == 0 && to != "" {
			fields[to[strings.LastIndex(to, ".")+1:]] = to
		}
	}
	return fields
}

// fieldType is a named type, or what a pointer points to, behind its package.
func fieldType(pkg string, e ast.Expr) string {
	if star, ok := e.(*ast.StarExpr); ok {
		e = star.X
	}
	if s, ok := e.(*ast.SelectorExpr); ok {
		if from, ok := s.X.(*ast.Ident); ok {
			return from.Name + "." + s.Sel.Name
		}
	}
	if name := receiverName(e); name != "" {
		return pkg + "." + name
	}
	return ""
}
