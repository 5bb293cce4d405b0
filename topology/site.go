package topology

import (
	"fmt"
	"reflect"
	"runtime"
	"slices"
	"strings"
)

// caller is the line of the program that called into this package.
func caller() string { return lineOutside(packageOf[Node]()) }

// lineOutside is the nearest line, up the stack, that is in none of the packages.
func lineOutside(packages ...string) string {
	var pcs [16]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs[:])])
	for {
		f, more := frames.Next()
		inside := func(pkg string) bool { return strings.HasPrefix(f.Function, pkg+".") }
		if !more || !slices.ContainsFunc(packages, inside) {
			return fmt.Sprintf("%s:%d", f.File, f.Line)
		}
	}
}

func packageOf[T any]() string { return reflect.TypeFor[T]().PkgPath() }
