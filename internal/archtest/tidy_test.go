package archtest

import (
	"go/ast"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

// The limits have no list of exceptions, and get none: what does not fit is split.
const (
	fileLinesMax     = 600 // aim at 400; files of tests are not bound
	functionLinesMax = 70  // not in tests
	lineColumnsMax   = 120 // a tab counts as one
)

// pure packages get the time as data, so that a test or a replay decides what it is.
var pure = []string{
	"serde", "state", "topology", "internal/task", "internal/batch", "internal/assign", "internal/plan",
	"stream/internal/op", "broker/internal/coord", "broker/internal/group", "broker/internal/txn", "broker/internal/meta",
	"internal/verify/history", "internal/tasks",
}

var clockWords = []string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "Tick", "NewTimer", "NewTicker"}

var (
	bannedName = regexp.MustCompile(`Impl$|^I[A-Z][a-z]{2}|Manager$|Helper$|Util|Supplier|Factory|Abstract|Wrapper$`)
	// A type that others build upon says so by what it does. Kafka's BaseOffset and its like are no types.
	bannedType = regexp.MustCompile(`^base[A-Z]|Base[A-Z]`)
	bannedFile = regexp.MustCompile(`^(utils?|helpers?|common|misc|types?_?impl)(_test)?\.go$`)
	fileName   = regexp.MustCompile(`^[a-z0-9]+(_[a-z0-9]+)*\.go$`)
	// In pieces, so that a search of the tree for these words finds nothing.
	leftover      = regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME|XX` + `X|HA` + `CK)\b`)
	sharedState   = regexp.MustCompile(`^(sync\.(Mutex|RWMutex|Map|WaitGroup|Once|Cond|Pool)|atomic\.\w+)$`)
	generatedFile = regexp.MustCompile(`(?m)^// Code generated .* DO NOT EDIT\.$`)
)

func TestSizes(t *testing.T) {
	var found findings
	for _, f := range sourceFiles(t) {
		if generatedFile.Match(f.text) {
			continue
		}
		if !f.test && f.lines() > fileLinesMax {
			found.addLine(f, f.lines(), "file of %d lines, %d are allowed", f.lines(), fileLinesMax)
		}
		f.eachLine(func(n int, line string) {
			if w := utf8.RuneCountInString(line); w > lineColumnsMax {
				found.addLine(f, n, "line of %d columns, %d are allowed", w, lineColumnsMax)
			}
		})
		if f.test {
			continue
		}
		for _, d := range f.file.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Body != nil {
				n := f.fset.Position(fn.End()).Line - f.fset.Position(fn.Pos()).Line + 1
				if n > functionLinesMax {
					found.add(f, fn.Pos(), "function %s of %d lines, %d are allowed", fn.Name.Name, n, functionLinesMax)
				}
			}
		}
	}
	found.report(t)
}

func TestNames(t *testing.T) {
	var found findings
	for _, f := range sourceFiles(t) {
		base := filepath.Base(f.path)
		if !fileName.MatchString(base) || bannedFile.MatchString(base) {
			found.addLine(f, 1, "file name: want a noun, or noun_verb, that answers where something is")
		}
		check := func(id *ast.Ident, isType bool) {
			if id.Name == "Helper" {
				return // what testing.TB calls it
			}
			if bannedName.MatchString(id.Name) || isType && bannedType.MatchString(id.Name) {
				found.add(f, id.Pos(), "name %s says what it is for its author, not what it does", id.Name)
			}
		}
		ast.Inspect(f.file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncDecl:
				check(n.Name, false)
			case *ast.TypeSpec:
				check(n.Name, true)
			case *ast.ValueSpec:
				for _, id := range n.Names {
					check(id, false)
				}
			case *ast.Field:
				for _, id := range n.Names {
					check(id, false)
				}
			}
			return true
		})
	}
	found.report(t)
}

func TestPackageComments(t *testing.T) {
	commented := map[string]bool{}
	first := map[string]source{}
	for _, f := range sourceFiles(t) {
		if _, ok := first[f.pkg]; !ok || first[f.pkg].test {
			first[f.pkg] = f
		}
		commented[f.pkg] = commented[f.pkg] || f.file.Doc != nil
	}
	var found findings
	for pkg, f := range first {
		if !commented[pkg] {
			found.add(f, f.file.Package, "package %s has no package comment", pkg)
		}
	}
	found.report(t)
}

func TestExportedThingsAreDocumented(t *testing.T) {
	var found findings
	for _, f := range sourceFiles(t) {
		if f.test || !isPublic(f.pkg) {
			continue
		}
		for _, d := range f.file.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				if d.Name.IsExported() && d.Doc == nil && receiverExported(d) && !wellKnownMethod(d) {
					found.add(f, d.Pos(), "%s has no comment", d.Name.Name)
				}
			case *ast.GenDecl:
				for _, s := range d.Specs {
					if ts, ok := s.(*ast.TypeSpec); ok && ts.Name.IsExported() && d.Doc == nil && ts.Doc == nil {
						found.add(f, ts.Pos(), "%s has no comment", ts.Name.Name)
					}
				}
			}
		}
	}
	found.report(t)
}

func wellKnownMethod(d *ast.FuncDecl) bool {
	return d.Recv != nil && slices.Contains([]string{"String", "Error", "Unwrap", "Is", "As"}, d.Name.Name)
}

func TestBannedWords(t *testing.T) {
	var found findings
	for _, f := range sourceFiles(t) {
		for _, group := range f.file.Comments {
			for _, c := range group.List {
				if w := leftover.FindString(c.Text); w != "" {
					found.add(f, c.Pos(), "comment with %s: finish it, or file it where the project's tasks are", w)
				}
			}
		}
		ast.Inspect(f.file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncDecl:
				if n.Recv == nil && n.Name.Name == "init" && !handsOver(n) {
					found.add(f, n.Pos(), "init(): say at the call what happens")
				}
			case *ast.StructType:
				findContexts(&found, f, n)
			case *ast.CallExpr:
				if id, ok := n.Fun.(*ast.Ident); ok && id.Name == "panic" && !f.test && f.pkg != "internal/invariant" {
					found.add(f, n.Pos(), "panic: return an error, or say invariant.Never")
				}
			case *ast.SelectorExpr:
				findClock(&found, f, n)
			}
			return true
		})
	}
	found.report(t)
}

// handsOver tells that an init only gives a function to an internal package, which must not import its own package: one
// assignment to a variable of that package.
func handsOver(d *ast.FuncDecl) bool {
	if len(d.Body.List) != 1 {
		return false
	}
	assign, ok := d.Body.List[0].(*ast.AssignStmt)
	if !ok || assign.Tok != token.ASSIGN || len(assign.Lhs) != 1 {
		return false
	}
	_, of := assign.Lhs[0].(*ast.SelectorExpr)
	_, fn := assign.Rhs[0].(*ast.FuncLit)
	return of && fn
}

func findContexts(found *findings, f source, s *ast.StructType) {
	if f.test {
		return
	}
	for _, field := range s.Fields.List {
		if sel, ok := field.Type.(*ast.SelectorExpr); ok && selects(sel, "context", "Context") {
			found.add(f, field.Pos(), "context.Context in a struct: pass it to the call that blocks")
		}
	}
}

func findClock(found *findings, f source, sel *ast.SelectorExpr) {
	if f.test {
		// In a bubble of testing/synctest sleeping takes no time.
		if selects(sel, "time", "Sleep") && !imports(f, "testing/synctest") {
			found.add(f, sel.Pos(), "time.Sleep in a test: wait for the thing itself")
		}
		return
	}
	isPure := slices.ContainsFunc(pure, func(p string) bool { return within(f.pkg, p) })
	if isPure && slices.ContainsFunc(clockWords, func(w string) bool { return selects(sel, "time", w) }) {
		found.add(f, sel.Pos(), "time.%s in a pure package: time comes in as data", sel.Sel.Name)
	}
}

func selects(sel *ast.SelectorExpr, pkg, name string) bool {
	id, ok := sel.X.(*ast.Ident)
	return ok && id.Name == pkg && sel.Sel.Name == name
}

func imports(f source, path string) bool {
	return slices.ContainsFunc(f.file.Imports, func(s *ast.ImportSpec) bool { return s.Path.Value == `"`+path+`"` })
}

// A variable of a package is a constant that Go can't say: nothing assigns it, counts it up or writes into it, and it
// is no lock, atomic or pool.
func TestPackagesHaveNoState(t *testing.T) {
	var found findings
	byPackage := map[string][]source{}
	for _, f := range sourceFiles(t) {
		if !f.test {
			byPackage[f.pkg] = append(byPackage[f.pkg], f)
		}
	}
	for _, files := range byPackage {
		vars := map[string]bool{}
		for _, f := range files {
			eachPackageVar(f, func(s *ast.ValueSpec) {
				for _, id := range s.Names {
					vars[id.Name] = id.Name != "_"
				}
				if sel, ok := typeOf(s).(*ast.SelectorExpr); ok && sharedState.MatchString(selectorText(sel)) {
					found.add(f, s.Pos(), "package-level %s", selectorText(sel))
				}
			})
		}
		for _, f := range files {
			findWrites(&found, f, vars)
		}
	}
	found.report(t)
}

func eachPackageVar(f source, do func(*ast.ValueSpec)) {
	for _, d := range f.file.Decls {
		if g, ok := d.(*ast.GenDecl); ok && g.Tok == token.VAR {
			for _, s := range g.Specs {
				do(s.(*ast.ValueSpec))
			}
		}
	}
}

// typeOf is the type that a variable is declared with, or that of the literal it starts from.
func typeOf(s *ast.ValueSpec) ast.Expr {
	if s.Type != nil || len(s.Values) == 0 {
		return s.Type
	}
	if lit, ok := s.Values[0].(*ast.CompositeLit); ok {
		return lit.Type
	}
	return nil
}

func selectorText(sel *ast.SelectorExpr) string {
	if id, ok := sel.X.(*ast.Ident); ok {
		return id.Name + "." + sel.Sel.Name
	}
	return sel.Sel.Name
}

// findWrites looks for writes to vars in the functions of f. A local variable of the same name hides it: what is
// declared anywhere in the function counts as local.
func findWrites(found *findings, f source, vars map[string]bool) {
	for _, d := range f.file.Decls {
		fn, ok := d.(*ast.FuncDecl)
		if !ok || fn.Body == nil {
			continue
		}
		local := localNames(fn)
		written := func(e ast.Expr) {
			if id := rootIdent(e); id != nil && vars[id.Name] && !local[id.Name] {
				found.add(f, e.Pos(), "the package-level variable %s is written to", id.Name)
			}
		}
		ast.Inspect(fn.Body, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.AssignStmt:
				if n.Tok != token.DEFINE {
					for _, e := range n.Lhs {
						written(e)
					}
				}
			case *ast.IncDecStmt:
				written(n.X)
			}
			return true
		})
	}
}

func localNames(fn *ast.FuncDecl) map[string]bool {
	local := map[string]bool{}
	ast.Inspect(fn, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.Field:
			for _, id := range n.Names {
				local[id.Name] = true
			}
		case *ast.ValueSpec:
			for _, id := range n.Names {
				local[id.Name] = true
			}
		case *ast.AssignStmt:
			for _, e := range n.Lhs {
				if id, ok := e.(*ast.Ident); ok && n.Tok == token.DEFINE {
					local[id.Name] = true
				}
			}
		case *ast.RangeStmt:
			for _, e := range []ast.Expr{n.Key, n.Value} {
				if id, ok := e.(*ast.Ident); ok && n.Tok == token.DEFINE {
					local[id.Name] = true
				}
			}
		}
		return true
	})
	return local
}

func rootIdent(e ast.Expr) *ast.Ident {
	for {
		switch x := e.(type) {
		case *ast.Ident:
			return x
		case *ast.SelectorExpr:
			e = x.X
		case *ast.IndexExpr:
			e = x.X
		case *ast.StarExpr:
			e = x.X
		case *ast.ParenExpr:
			e = x.X
		default:
			return nil
		}
	}
}

// What is published says nothing of the machine that it was written on.
func TestNothingNamesAWorkplace(t *testing.T) {
	places := regexp.MustCompile(`/` + `work/(main|plan|shared)|shared/` + `docs`)
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if n := d.Name(); n == "bin" || len(n) > 2 && n[0] == '.' && n != ".ci" {
				return filepath.SkipDir
			}
			return nil
		}
		info, err := d.Info()
		if err != nil || !info.Mode().IsRegular() || info.Size() > 1<<20 || d.Name() == ".git" { // a work tree's link
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if place := places.Find(text); place != nil && utf8.Valid(text) {
			t.Errorf("%s: names %s", path, place)
		}
		return nil
	})
	require.NoError(t, err)
}
