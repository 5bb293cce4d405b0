package stream

import (
	"fmt"
	"reflect"
	"runtime"
	"strings"
)

// caller is the file:line of the user's line that called into this package.
func caller() string {
	var pcs [16]uintptr
	own := reflect.TypeFor[Builder]().PkgPath() + "."
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs[:])])
	for {
		f, more := frames.Next()
		if !strings.HasPrefix(f.Function, own) || !more {
			return fmt.Sprintf("%s:%d", f.File, f.Line)
		}
	}
}
