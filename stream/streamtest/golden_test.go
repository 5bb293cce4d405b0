package streamtest_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"thalweg/stream/streamtest"
)

// failing is a test that keeps what it would print.
type failing struct{ said []string }

func (f *failing) Helper()                        {}
func (f *failing) Cleanup(func())                 {}
func (f *failing) Logf(string, ...any)            {}
func (f *failing) Errorf(format string, a ...any) { f.said = append(f.said, fmt.Sprintf(format, a...)) }
func (f *failing) Fatalf(format string, a ...any) { panic(fmt.Sprintf(format, a...)) }

func TestGoldenPrintsWhatDiffers(t *testing.T) {
	streamtest.Golden(t, "testdata/alphabet.golden", alphabet()...)
	f := &failing{}
	lines := alphabet()
	lines[9] = "J"
	lines = append(lines[:15:15], lines[16:]...) // without p
	lines = append(lines, "trailing ")
	streamtest.Golden(f, "testdata/alphabet.golden", lines...)
	require.Equal(t, []string{`streamtest: not as in testdata/alphabet.golden (- in the file, + now; ` +
		`-streamtest.update writes the file):
line 7:
    g
    h
    i
  - j
  + J
    k
    l
    m
    n
    o
  - p
    q
    r
    s
line 24:
    x
    y
    z
  + "trailing "
    
`}, f.said)
}

func alphabet() (lines []string) {
	for c := 'a'; c <= 'z'; c++ {
		lines = append(lines, string(c))
	}
	return lines
}

func TestGoldenOfLargeTexts(t *testing.T) {
	file := filepath.Join(t.TempDir(), "large.golden")
	var was, is []string
	for i := range 3000 {
		was, is = append(was, fmt.Sprint("was ", i)), append(is, fmt.Sprint("is ", i))
	}
	require.NoError(t, os.WriteFile(file, []byte(strings.Join(was, "\n")+"\n"), 0o644))
	f := &failing{}
	streamtest.Golden(f, file, is...)
	require.Len(t, f.said, 1)
	require.Contains(t, f.said[0], "  - was 2999\n  + is 0\n")
}

func TestGoldenIsWritten(t *testing.T) {
	file := filepath.Join(t.TempDir(), "new", "file.golden")
	require.PanicsWithValue(t, "streamtest: there is no golden file "+file+
		": run the test with -streamtest.update to write it, and read it", func() {
		streamtest.Golden(&failing{}, file, "a")
	})
	require.NoError(t, flag.Set("streamtest.update", "true"))
	streamtest.Golden(t, file, "a", "b")
	require.NoError(t, flag.Set("streamtest.update", "false"))
	streamtest.Golden(t, file, "a", "b")
}
