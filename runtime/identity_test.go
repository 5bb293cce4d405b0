package runtime_test

import (
	"io"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"thalweg/broker/brokertest"
	"thalweg/runtime"
	"thalweg/stream"
)

// processOf is the name of a process in the group.
func processOf(t *testing.T, cfg runtime.Config) string {
	t.Helper()
	f, err := cfg.State.FS.Open(cfg.State.Dir + "/" + cfg.ApplicationID + "/process")
	require.NoError(t, err)
	content, err := io.ReadAll(f)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	name, _, _ := strings.Cut(string(content), "\n")
	return name
}

// A copy of a state directory is another process: under the same name the two would take each other's place in the
// group and abort each other's transactions.
func TestACopiedStateDirectory(t *testing.T) {
	h := newHarness(t)
	cfg := h.config()
	log := loggedTo(&cfg)
	h.counted(cfg, 20)
	name := processOf(t, cfg)
	h.counted(cfg, 20)
	require.Equal(t, name, processOf(t, cfg))
	require.NotContains(t, log.String(), "copied or moved")

	ok, err := vfs.Clone(cfg.State.FS, cfg.State.FS, "state", "copy")
	require.NoError(t, err)
	require.True(t, ok)
	other := cfg
	other.State.Dir = "copy"
	otherLog := loggedTo(&other)
	first, second := h.start(words(t, byWord), cfg).settled(), h.start(words(t, byWord), other)
	require.Eventually(t, func() bool { return tasks(first) == 4 && tasks(second) == 4 }, patience, poll)
	h.feed(200)
	first.caughtUp()
	require.NotEqual(t, name, processOf(t, other))
	require.Equal(t, name, processOf(t, cfg))
	second.stop()
	require.Contains(t, otherLog.String(), "copied or moved")
	require.Contains(t, otherLog.String(), `directory \"state/wordcount\"`)
	first.stop()
	for _, app := range []*running{first, second} {
		for _, w := range app.Stats().Workers {
			require.Zero(t, w.Rewinds)
		}
	}
	h.exact()

	// The file of an older build has the name alone.
	h.writeFile(cfg.State.FS, "state/wordcount/process", []byte(name+"\n"))
	h.counted(cfg, 20)
	require.Equal(t, name, processOf(t, cfg))
	h.exact()
}

// A process that was killed comes back at once, with or without stores, where it has a state directory. Two processes
// without stores may share one.
func TestTheDeadSelf(t *testing.T) {
	h := newHarness(t)
	h.create(1, "ins")
	h.create(1, "copies")
	cfg := h.config()
	first := h.start(copying(t, ins), cfg).settled()
	name := processOf(t, cfg)
	second := h.start(copying(t, ins), cfg) // beside it
	second.settled().stop()
	require.Equal(t, name, processOf(t, cfg))
	clientIDs := func() (ids []string) {
		groups, err := h.admin.DescribeGroups(h.ctx, cfg.ApplicationID)
		require.NoError(t, err)
		for _, m := range groups[cfg.ApplicationID].Members {
			ids = append(ids, m.ClientID)
		}
		return ids
	}
	require.Equal(t, []string{"wordcount-" + name + "-member"}, clientIDs())
	first.stop()
}

// Of two programs under one application id the second ends, and says what differs. The first goes on.
func TestTwoProgramsUnderOneApplicationID(t *testing.T) {
	h := newHarness(t)
	h.create(2, "ins")
	h.create(2, "others")
	h.create(1, "copies")
	others := stream.NewTopic[string, string]("others")
	both := func() *stream.Builder {
		b := stream.NewBuilder()
		b.Stream(ins).To(copies)
		b.Stream(others).To(stream.NewTopic[string, string]("copies"))
		return b
	}
	first := h.start(copying(t, ins), h.config()).settled()
	for name, topo := range map[string]func() *running{
		"another": func() *running { return h.start(copying(t, others), other(h)) },
		"more": func() *running {
			topo, err := both().Build()
			require.NoError(t, err)
			return h.start(topo, other(h))
		},
	} {
		t.Run(name, func(t *testing.T) {
			err := topo().fails()
			require.ErrorContains(t, err, "another topology runs under the application id wordcount")
			require.ErrorIs(t, err, runtime.ErrOtherTopology)
			require.ErrorContains(t, err, "reads others")
		})
	}
	h.sent("ins", 0, 0, 5)
	h.sent("ins", 1, 5, 5)
	first.caughtUp()
	require.ElementsMatch(t, numbers(0, 10), h.values("copies"))

	// What is not durable may differ: so a program can be replaced process by process.
	b := stream.NewBuilder()
	b.Stream(ins).MapValues(func(v string) string { return v }).To(copies)
	topo, err := b.Build()
	require.NoError(t, err)
	second := h.start(topo, other(h)).settled()
	require.Eventually(t, func() bool { return tasks(first) == 1 && tasks(second) == 1 }, patience, poll)
	first.stop()
	second.stop()
}

// other is the configuration of another process.
func other(h *harness) runtime.Config {
	cfg := h.config()
	cfg.State.FS = vfs.NewMem()
	return cfg
}

// A process that waits for a member which does not answer says so, once, with the time that it may take.
func TestTheWaitForADeadMemberIsTold(t *testing.T) {
	clock := brokertest.NewClock() // the session ends when the test has seen the line
	h := newHarness(t, brokertest.At(clock))
	h.create(1, "ins")
	h.create(1, "copies")
	silence := new(gate)
	dead := other(h)
	dead.NoLocal, dead.ClientOptions, dead.SessionTimeout = true, h.over(silence.wrap), 7*time.Second
	h.start(copying(t, ins), dead).settled()
	silence.Lock()
	defer silence.Unlock()
	cfg := other(h)
	cfg.SessionTimeout = 7 * time.Second
	log := loggedTo(&cfg)
	app := h.start(copying(t, ins), cfg)
	const says = "waiting for the group to hand tasks out"
	require.Eventually(t, func() bool { return strings.Contains(log.String(), says) }, patience, poll)
	clock.Advance(cfg.SessionTimeout)
	app.settled().stop()
	require.Equal(t, 1, strings.Count(log.String(), says))
	require.Contains(t, log.String(), `"left at most"=4s`)
}
