package runtime_test

import (
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"thalweg/runtime"
)

// longCall is a word count in which the line "wait" takes until release.
type longCall struct {
	*harness
	entered chan struct{}
	release chan struct{}
}

func newLongCall(t *testing.T) *longCall {
	return &longCall{newHarness(t), make(chan struct{}, 1), make(chan struct{})}
}

func (l *longCall) begin(cfg runtime.Config) *running {
	return l.start(wordsUnless(l.t, byWord, func(line string) error {
		if line == "wait" {
			l.entered <- struct{}{}
			<-l.release
		}
		return nil
	}), cfg)
}

// call lets an application begin the call.
func (l *longCall) call() {
	l.produce(&kgo.Record{Topic: "lines", Key: []byte("k"), Value: []byte("wait")})
	l.want["wait"]++
	l.total++
	<-l.entered
}

// taskMoves are the states that a process' tasks went through, by task.
type taskMoves struct {
	mu sync.Mutex
	of map[runtime.TaskID][]string
}

func movesOf(cfg *runtime.Config) *taskMoves {
	m := &taskMoves{of: map[runtime.TaskID][]string{}}
	cfg.Hooks.TaskChanged = func(e runtime.TaskEvent) {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.of[e.Task] = append(m.of[e.Task], e.State)
	}
	return m
}

func (m *taskMoves) count(state string) (n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, states := range m.of {
		for _, s := range states {
			if s == state {
				n++
			}
		}
	}
	return n
}

func (h *harness) members() (n int, state string) {
	groups, err := h.admin.DescribeGroups(h.ctx, "wordcount")
	require.NoError(h.t, err)
	g := groups["wordcount"]
	return len(g.Members), g.State
}

// The group does not wait for a worker that is in a call. What the call has done is committed when it returns, and its
// tasks move then.
func TestACallOutlastsARevocation(t *testing.T) {
	for _, guarantee := range []runtime.Guarantee{runtime.ExactlyOnce, runtime.AtLeastOnce} {
		t.Run(guarantee.String(), func(t *testing.T) {
			h := newLongCall(t)
			cfg := h.config()
			cfg.Guarantee = guarantee
			log := loggedTo(&cfg)
			first := h.begin(cfg).settled()
			h.feed(50)
			h.await()
			h.call()
			another := h.config()
			another.Guarantee, another.State.FS = guarantee, vfs.NewMem()
			second := h.begin(another)
			require.Eventually(t, func() bool {
				n, state := h.members()
				return strings.Contains(log.String(), "the group goes on before all tasks") && n == 2 && state == "Stable"
			}, patience, poll)
			close(h.release)
			require.Eventually(t, func() bool { return tasks(first) == 4 && tasks(second) == 4 }, patience, poll)
			h.feed(50)
			h.await()
			require.Zero(t, rewinds(first.Stats()))
			first.stop()
			second.stop()
			h.exact()
		})
	}
}

// What comes back to a process is resumed: nothing is closed, and nothing is read again.
func TestTasksThatComeBackAreResumed(t *testing.T) {
	h := newLongCall(t)
	cfg := h.config()
	moves := movesOf(&cfg)
	log := loggedTo(&cfg)
	first := h.begin(cfg).settled()
	h.feed(50)
	h.await()
	h.call()
	another := h.config()
	another.State.FS = vfs.NewMem()
	second := h.begin(another)
	goesOn := func() bool { return strings.Contains(log.String(), "the group goes on before all tasks") }
	require.Eventually(t, goesOn, patience, poll)
	second.stop()
	require.Eventually(t, func() bool {
		n, state := h.members()
		return n == 1 && state == "Stable"
	}, patience, poll)
	close(h.release)
	require.Eventually(t, func() bool { return tasks(first) == 8 && moves.count("suspended") == 4 }, patience, poll)
	first.settled()
	h.feed(50)
	h.await()
	require.Zero(t, rewinds(first.Stats()))
	require.Equal(t, 12, moves.count("running"))
	require.Zero(t, moves.count("closed"))
	first.stop()
	h.exact()
}

// A task that is suspended holds no records. Those that it had are fetched again.
func TestASuspendedTaskLetsRecordsGo(t *testing.T) {
	h := newHarness(t)
	entered, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	for p := range int32(4) {
		h.produce(&kgo.Record{Topic: "lines", Partition: p, Key: []byte("k"), Value: []byte("first")})
		h.want["first"]++
		h.total++
	}
	h.feed(200)
	cfg := h.config()
	log := loggedTo(&cfg)
	first := h.start(wordsUnless(t, byWord, func(string) error {
		once.Do(func() {
			close(entered)
			<-release
		})
		return nil
	}), cfg)
	<-entered
	another, joins := h.config(), newToll(kmsg.JoinGroup)
	another.State.FS, another.ClientOptions = vfs.NewMem(), h.over(func(c net.Conn) net.Conn { return tolled{c, joins} })
	second := h.start(words(t, byWord), another)
	require.Eventually(t, func() bool {
		n, state := h.members()
		return strings.Contains(log.String(), "the group goes on before all tasks") && n == 2 && state == "Stable"
	}, patience, poll)
	joins.close() // the group waits for it to join again
	close(release)
	var buffered int
	require.Eventually(t, func() bool {
		behind := 0
		for _, w := range first.Stats().Workers {
			for _, task := range w.Tasks {
				for _, in := range task.Inputs {
					if task.State == "suspended" && in.Lag > 0 {
						behind++
						buffered += in.BufferedBytes
					}
				}
			}
		}
		return behind > 0
	}, patience, poll)
	require.Zero(t, buffered)
	joins.release()
	require.Eventually(t, func() bool { return tasks(first) == 4 && tasks(second) == 4 }, patience, poll)
	h.feed(50)
	h.await()
	first.stop()
	second.stop()
	h.exact()
}
