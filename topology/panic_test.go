package topology_test

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"thalweg/topology"
)

// here is the file:line of the line that calls it.
func here() string {
	_, file, line, _ := runtime.Caller(1)
	return fmt.Sprintf("%s:%d", file, line)
}

func recovered(f func()) (p *topology.Panic) {
	defer func() { p = topology.NewPanic(recover()) }()
	f()
	return nil
}

func TestPanicsNameTheirOwnLine(t *testing.T) {
	boom := errors.New("boom")
	var (
		site    string
		numbers map[string]int
		none    *topology.Metadata
		list    []int
	)
	for name, f := range map[string]func(){
		"panic":       func() { site = here(); panic(boom) },
		"nil map":     func() { site = here(); numbers["a"]++ },
		"nil pointer": func() { site = here(); none.Offset++ },
		"index":       func() { site = here(); list[len(list)] = 1 },
		"division":    func() { site = here(); list = make([]int, 1/len(list)) },
		"again": func() {
			defer func() { _ = recover(); site = here(); panic(boom) }()
			panic("the first")
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := recovered(f)
			require.Equal(t, site, p.Site)
			require.ErrorContains(t, p, site)
			lines := strings.SplitN(string(p.Stack), "\n", 4)
			require.Contains(t, lines[0], "goroutine ")
			require.Contains(t, lines[1], "TestPanicsNameTheirOwnLine", "the stack begins with the function that panicked")
			require.Contains(t, lines[2], "panic_test.go")
			if name == "panic" || name == "again" {
				require.ErrorIs(t, p, boom)
			} else {
				var e runtime.Error
				require.ErrorAs(t, p, &e)
			}
		})
	}
}
