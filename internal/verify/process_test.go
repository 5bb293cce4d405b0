//go:build kill

package verify

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"thalweg/internal/defect"
)

// finishWithin is how long a process may take that nobody disturbs any more.
const finishWithin = 3 * time.Minute

// programs are the commands under test.
type programs struct{ wordcount, thalweg string }

// build makes the programs, or takes them from the directory that VERIFY_BIN names.
var build = sync.OnceValues(func() (programs, error) {
	if dir := os.Getenv("VERIFY_BIN"); dir != "" {
		return programs{filepath.Join(dir, "wordcount"), filepath.Join(dir, "thalweg")}, nil
	}
	dir, err := os.MkdirTemp("", "thalweg-verify-")
	if err != nil {
		return programs{}, err
	}
	p := programs{filepath.Join(dir, "wordcount"), filepath.Join(dir, "thalweg")}
	for path, pkg := range map[string]string{p.wordcount: "thalweg/examples/wordcount", p.thalweg: "thalweg/cmd/thalweg"} {
		args := []string{"build", "-o", path}
		if defect.Enabled {
			args = append(args, "-tags", "defects")
		}
		if out, err := exec.Command("go", append(args, pkg)...).CombinedOutput(); err != nil {
			return p, fmt.Errorf("go build %s: %w\n%s", pkg, err, out)
		}
	}
	return p, nil
})

func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		if run := map[string]func([]string){mixedCommand: mixed, skewCommand: runSkew}[os.Args[1]]; run != nil {
			run(os.Args[2:])
			return
		}
	}
	code := m.Run()
	if p, err := build(); err == nil && os.Getenv("VERIFY_BIN") == "" {
		os.RemoveAll(filepath.Dir(p.wordcount))
	}
	os.Exit(code)
}

func built(t *testing.T) programs {
	p, err := build()
	require.NoError(t, err)
	return p
}

// seeded is a generator whose seed is logged, and taken from VERIFY_SEED where that is set.
func seeded(t *testing.T) *rand.Rand {
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("VERIFY_SEED"); s != "" {
		var err error
		seed, err = strconv.ParseUint(s, 10, 64)
		require.NoError(t, err)
	}
	t.Logf("VERIFY_SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// text is a file of words that are drawn with a few very frequent ones, and how often each occurs.
type text struct {
	path string
	want map[string]int64
}

func newText(t *testing.T, r *rand.Rand, lines int) text {
	zipf := rand.NewZipf(r, 1.05, 4, 50_000)
	out := text{filepath.Join(t.TempDir(), "text"), map[string]int64{}}
	f, err := os.Create(out.path)
	require.NoError(t, err)
	w := bufio.NewWriterSize(f, 1<<20)
	for range lines {
		for n := 1 + r.IntN(14); n > 0; n-- {
			word := fmt.Sprintf("w%d", zipf.Uint64())
			out.want[word]++
			w.WriteString(word)
			w.WriteByte(" \n"[min(1, 1/n)])
		}
	}
	require.NoError(t, w.Flush())
	require.NoError(t, f.Close())
	return out
}

// process is a command that runs.
type process struct {
	t      *testing.T
	cmd    *exec.Cmd
	out    bytes.Buffer
	errs   bytes.Buffer
	exited chan struct{}
	err    error // once exited
}

func start(t *testing.T, path string, args ...string) *process {
	p := &process{t: t, cmd: exec.Command(path, args...), exited: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.errs
	p.run()
	return p
}

func (p *process) run() {
	require.NoError(p.t, p.cmd.Start())
	go func() {
		p.err = p.cmd.Wait()
		close(p.exited)
	}()
	p.t.Cleanup(p.kill)
}

// exitsWithin tells whether the process ends by itself.
func (p *process) exitsWithin(d time.Duration) bool {
	select {
	case <-p.exited:
		return true
	case <-time.After(d):
		return false
	}
}

func (p *process) signal(s os.Signal) { _ = p.cmd.Process.Signal(s) }

// kill is kill -9.
func (p *process) kill() {
	p.signal(os.Kill)
	<-p.exited
}

// succeeds waits for the end and returns what was printed.
func (p *process) succeeds() []byte {
	p.t.Helper()
	if !p.exitsWithin(finishWithin) {
		p.signal(syscall.SIGQUIT) // the goroutines, to be read
		<-p.exited
		require.FailNow(p.t, "a process does not end", "%s\n%s", p.cmd, tail(p.errs.String()))
	}
	require.NoError(p.t, p.err, "%s\n%s", p.cmd, tail(p.errs.String()))
	return p.out.Bytes()
}

func tail(s string) string { return s[max(0, len(s)-50_000):] }

// server is "thalweg broker".
type server struct {
	*process
	addr string
}

// serve starts a broker; an address of port 0 is any port. It returns once the broker listens.
func serve(t *testing.T, dir, addr string, flags ...string) *server {
	s := &server{process: &process{t: t, exited: make(chan struct{})}}
	s.cmd = exec.Command(built(t).thalweg, append([]string{"broker", "-dir", dir, "-listen", addr}, flags...)...)
	s.cmd.Stderr = &s.errs
	out, in, err := os.Pipe()
	require.NoError(t, err)
	s.cmd.Stdout = in
	s.run()
	in.Close()
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		<-s.exited
		require.NoError(t, err, "broker on %s: %v\n%s", addr, s.err, tail(s.errs.String()))
	}
	go func() {
		_, _ = io.Copy(io.Discard, out)
		out.Close()
	}()
	line = strings.TrimPrefix(line, "listening on ")
	s.addr, _, _ = strings.Cut(line, ",")
	_, _, err = net.SplitHostPort(s.addr)
	require.NoError(t, err, line)
	return s
}
