package main

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"thalweg/broker"
	"thalweg/broker/brokertest"
	"thalweg/internal/verify/readme"
)

// text is some files below a directory, and what "-all" has to print of them.
func text(t *testing.T) (dir, want string) {
	dir = t.TempDir()
	counts := map[string]int{}
	write := func(name, content string) {
		path := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(content), 0o644))
		if filepath.Ext(name) == ".go" {
			for word := range strings.FieldsSeq(strings.ToLower(content)) {
				counts[word]++
			}
		}
	}
	var long strings.Builder
	for i := range 3000 {
		fmt.Fprintf(&long, "Word%d and\tAND Ünï%d \r\n", i%97, i%13)
	}
	write("long.go", long.String())
	write("deep/er/few.go", "\n\n  a line  without an end")
	write("empty.go", "")
	write("other.txt", "not counted")
	for _, word := range slices.Sorted(maps.Keys(counts)) {
		want += fmt.Sprintf("%s\t%d\n", word, counts[word])
	}
	return dir, want
}

// count runs the program as the command line would.
func count(t *testing.T, args ...string) string {
	t.Helper()
	o, err := parse(args)
	require.NoError(t, err)
	var out, status bytes.Buffer
	require.NoError(t, run(t.Context(), o, &out, &status), &status)
	require.Empty(t, status.String(), "nothing goes wrong")
	return out.String()
}

func TestCounts(t *testing.T) {
	dir, want := text(t)
	for _, flags := range [][]string{{"-workers", "3"}, {"-workers", "1", "-alo"}} {
		t.Run(strings.Join(flags, " "), func(t *testing.T) {
			require.Equal(t, want, count(t, slices.Concat([]string{"-all"}, flags, []string{dir})...))
		})
	}
}

func TestTheSameDirectoryCountsEachTextOnce(t *testing.T) {
	dir, want := text(t)
	there := t.TempDir()
	for range 2 {
		require.Equal(t, want, count(t, "-all", "-dir", there, dir))
	}
	other := filepath.Join(t.TempDir(), "other")
	require.NoError(t, os.WriteFile(other, []byte("b a b"), 0o644))
	require.Equal(t, "a\t1\nb\t2\n", count(t, "-all", "-dir", there, other), "another text is another count")
}

func TestSummary(t *testing.T) {
	path := filepath.Join(t.TempDir(), "text")
	require.NoError(t, os.WriteFile(path, []byte("b a b\nc b\n"), 0o644))
	lines := strings.Split(count(t, path), "\n")
	require.Equal(t, []string{"        3  b", "        1  a", "        1  c"}, lines[:3])
	require.Contains(t, lines[3], "2 lines, 5 words, 3 distinct, ")
}

func TestALongLineIsCutBetweenWords(t *testing.T) {
	path := filepath.Join(t.TempDir(), "text")
	line := strings.Repeat("some words\t", 3*pieceBytesMax/11)
	require.NoError(t, os.WriteFile(path, []byte(line+"\nend"), 0o644))
	in, err := findInput(t.Context(), []string{path})
	require.NoError(t, err)
	var words []string
	pieces := 0
	for piece, err := range in.lines() {
		require.NoError(t, err)
		words = append(words, strings.Fields(string(piece))...)
		pieces++
	}
	require.Greater(t, pieces, 3)
	require.Equal(t, strings.Fields(line+"\nend"), words)
}

func TestAWordThatIsTooLong(t *testing.T) {
	path := filepath.Join(t.TempDir(), "text")
	require.NoError(t, os.WriteFile(path, []byte(strings.Repeat("x", pieceBytesMax+1)), 0o644))
	o, err := parse([]string{path})
	require.NoError(t, err)
	err = run(t.Context(), o, &bytes.Buffer{}, &bytes.Buffer{})
	require.ErrorContains(t, err, "a word of more than")
	require.ErrorContains(t, err, path)
}

func TestBadFlags(t *testing.T) {
	for _, args := range [][]string{{"-workers", "0"}, {"-unknown"}, {"-join"}} {
		_, err := parse(args)
		require.Error(t, err, "%v", args)
	}
}

func TestMissingInput(t *testing.T) {
	for path, says := range map[string]string{
		filepath.Join(t.TempDir(), "none"): "no such file",
		t.TempDir():                        "no *.go files",
	} {
		o, err := parse([]string{path})
		require.NoError(t, err)
		err = run(t.Context(), o, &bytes.Buffer{}, &bytes.Buffer{})
		require.ErrorContains(t, err, says)
		require.ErrorContains(t, err, path)
	}
}

func TestAnUnreachableCluster(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	addr := l.Addr().String()
	require.NoError(t, l.Close())
	dir, _ := text(t)
	o, err := parse([]string{"-brokers", addr, dir})
	require.NoError(t, err)
	err = run(t.Context(), o, &bytes.Buffer{}, &bytes.Buffer{})
	require.ErrorContains(t, err, "no broker answers at "+addr+": is it running?")
}

func TestADirectoryInUse(t *testing.T) {
	dir, _ := text(t)
	o, err := parse([]string{"-dir", t.TempDir(), dir})
	require.NoError(t, err)
	holder, err := broker.Open(broker.Config{Dir: filepath.Join(o.dir, "broker")})
	require.NoError(t, err)
	err = run(t.Context(), o, &bytes.Buffer{}, &bytes.Buffer{})
	require.ErrorContains(t, err, "in use by this process")
	require.NoError(t, holder.Close())
}

func TestInterruption(t *testing.T) {
	dir, want := text(t)
	there := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	o, err := parse([]string{"-all", "-dir", there, dir})
	require.NoError(t, err)
	var out bytes.Buffer
	require.Error(t, run(ctx, o, &out, &bytes.Buffer{}))
	require.Empty(t, out.String())
	require.Equal(t, want, count(t, "-all", "-dir", there, dir))
}

// The README's command for a cluster, with a listener of ours for the cluster and a few files. internal/verify/newcomer
// runs it as it is, with Apache Kafka.
func TestReadmeClusterCommand(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	brokertest.New(t, brokertest.Configure(func(c *broker.Config) { c.Listener = l }))
	commands := readme.Commands(t, "cluster")
	require.Len(t, commands, 1)
	args, ours := strings.CutPrefix(commands[0], "go run ./examples/wordcount ")
	require.True(t, ours, commands[0])
	args = strings.ReplaceAll(args, "127.0.0.1:9092", l.Addr().String())
	dir, want := text(t)
	require.Equal(t, want, count(t, append(strings.Fields(args), "-all", dir)...))
}
