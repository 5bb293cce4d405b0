package runtime_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"thalweg/broker/brokertest"
	"thalweg/internal/origin"
	"thalweg/runtime"
	"thalweg/serde"
	"thalweg/state/pebble"
)

var movesCount = flag.Int("moves", 12, "random moves of an application's state and topics")

// moved is an application whose state and topics are restarted, moved, lost, damaged and swapped under it. The model is
// h.want: how often each word was fed.
type moved struct {
	*harness
	cfg  runtime.Config
	disk *vfs.MemFS
	old  []*vfs.MemFS // disks of other machines, or of earlier
	log  []string     // what was done
	hurt bool         // something was done that a later move may bring out
}

func newMoved(t *testing.T) *moved {
	m := &moved{harness: newHarness(t)}
	var cancel context.CancelFunc
	m.ctx, cancel = context.WithTimeout(t.Context(), 2*patience+time.Duration(*movesCount)*10*time.Second)
	t.Cleanup(cancel)
	m.cfg = m.config()
	m.use(m.emptyDisk())
	require.NoError(t, m.run(5))
	return m
}

func (m *moved) use(disk *vfs.MemFS) { m.disk, m.cfg.State.FS = disk, disk }

// emptyDisk has the directories alone, so that a crash does not take them away, and all with them.
func (m *moved) emptyDisk() *vfs.MemFS {
	disk := vfs.NewCrashableMem()
	require.NoError(m.t, disk.MkdirAll("state/wordcount/state", 0o750))
	for _, name := range []string{"", "state", "state/wordcount"} {
		dir, err := disk.OpenDir(name)
		require.NoError(m.t, err)
		require.NoError(m.t, errors.Join(dir.Sync(), dir.Close()))
	}
	return disk
}

// copyDisk is the disk as it would be after a crash at this moment, with so many percent of what was not forced to it.
func (m *moved) copyDisk(percent int) *vfs.MemFS {
	return m.disk.CrashClone(vfs.CrashCloneCfg{
		UnsyncedDataPercent: percent, RNG: rand.New(rand.NewPCG(m.random.Uint64(), 1)),
	})
}

// run starts the application, feeds it, and compares its rows with the model. The error is the application's, or says
// how the rows differ.
func (m *moved) run(lines int) error {
	m.cfg.Guarantee = []runtime.Guarantee{runtime.ExactlyOnce, runtime.AtLeastOnce}[m.random.IntN(2)]
	return m.check(lines, nil)
}

func (m *moved) check(lines int, whileRunning func()) error {
	app := m.start(words(m.t, byWord), m.cfg)
	if err := app.WaitRunning(m.ctx); err != nil {
		<-app.Done()
		return err
	}
	if lines > 0 {
		m.feed(lines)
	}
	if err := app.WaitCaughtUp(m.ctx); err != nil {
		<-app.Done()
		return err
	}
	if whileRunning != nil {
		whileRunning()
	}
	rows := app.rows()
	app.stop()
	if !maps.Equal(rows, m.want) {
		return fmt.Errorf("%w: %v, want %v", errRowsDiffer, rows, m.want)
	}
	return nil
}

var errRowsDiffer = errors.New("the rows differ from the model")

// reset starts from the beginning, as the errors of the application say.
func (m *moved) reset() {
	m.t.Helper()
	client := m.clientOf(m.cfg)
	require.NoError(m.t, client.Reset(m.ctx, m.cfg.ApplicationID))
	if m.random.IntN(2) == 0 { // what is left of the state must not count
		m.use(m.emptyDisk())
	}
	m.hurt = false
	m.old = nil // positions in topics that are gone, of an application that has begun again
	m.reconnect()
}

// swap puts another topic in the place of the changelog, with rows for the same keys that end where its rows end.
func (m *moved) swap() {
	m.t.Helper()
	ends := m.ends(byWordChangelog)
	m.remove(byWordChangelog)
	_, err := m.admin.CreateTopic(m.ctx, int32(len(ends)), 1, map[string]*string{
		"cleanup.policy": kadm.StringPtr("compact"),
	}, byWordChangelog)
	require.NoError(m.t, err)
	manual := brokertest.Client(m.t, m.broker, kgo.RecordPartitioner(kgo.ManualPartitioner()))
	value, err := serde.For[int64]().Append(nil, 1000)
	require.NoError(m.t, err)
	for p, end := range ends {
		for i := range end {
			r := &kgo.Record{Topic: byWordChangelog, Partition: p, Key: fmt.Appendf(nil, "w%d", i), Value: value}
			require.NoError(m.t, manual.ProduceSync(m.ctx, r).FirstErr())
		}
	}
}

// move is one thing that happens. A legal one never stops the application.
type move struct {
	name  string
	legal bool
	do    func(m *moved)
}

var moves = []move{
	{"restart", true, func(*moved) {}},
	{"crash", true, func(m *moved) {
		var disk *vfs.MemFS
		require.NoError(m.t, m.check(m.random.IntN(5), func() { disk = m.copyDisk(m.random.IntN(101)) }))
		m.use(disk)
	}},
	{"lose the disk", true, func(m *moved) { m.use(m.emptyDisk()) }},
	{"move to another machine", true, func(m *moved) {
		was := m.disk
		if len(m.old) > 0 {
			at := m.random.IntN(len(m.old))
			m.use(m.old[at])
			m.old[at] = was
		} else {
			m.old = append(m.old, was)
			m.use(m.emptyDisk())
		}
	}},
	{"keep a copy of the disk", true, func(m *moved) { m.old = append(m.old, m.copyDisk(m.random.IntN(101))) }},
	{"cut the changelog", false, func(m *moved) {
		before := m.ends(byWordChangelog)
		for p, end := range before {
			before[p] = m.random.Int64N(end + 1)
		}
		m.cut(byWordChangelog, before)
	}},
	{"delete the changelog", false, func(m *moved) { m.remove(byWordChangelog) }},
	{"swap the changelog", false, func(m *moved) { m.swap() }},
	{"swap the changelog and forget the topics", false, func(m *moved) {
		m.swap()
		m.remove("wordcount-progress")
	}},
	{"delete a repartition topic", false, func(m *moved) { m.remove("wordcount-words-repartition") }},
	{"lose the offsets", false, func(m *moved) {
		_, err := m.admin.DeleteGroup(m.ctx, m.cfg.ApplicationID)
		require.NoError(m.t, err)
	}},
	{"damage the disk", false, func(m *moved) { m.damage() }},
}

// damage turns the bytes of a table, if there is one.
func (m *moved) damage() {
	dir := "state/wordcount/state"
	names, err := m.disk.List(dir)
	require.NoError(m.t, err)
	for _, name := range names {
		if !strings.HasSuffix(name, ".sst") {
			continue
		}
		f, err := m.disk.OpenReadWrite(dir+"/"+name, vfs.WriteCategoryUnspecified)
		require.NoError(m.t, err)
		info, err := f.Stat()
		require.NoError(m.t, err)
		noise := make([]byte, info.Size())
		for i := range noise {
			noise[i] = byte(m.random.Uint32())
		}
		_, err = f.WriteAt(noise, 0)
		require.NoError(m.t, errors.Join(err, f.Close()))
	}
}

// Whatever happens to state and topics, the application either has the rows of the model, or says that it cannot go on.
func TestMovedState(t *testing.T) {
	m := newMoved(t)
	refusals := 0
	for range *movesCount {
		next := moves[m.random.IntN(len(moves))]
		m.log = append(m.log, next.name)
		next.do(m)
		err := m.run(m.random.IntN(10))
		damaged := next.name == "damage the disk"
		if damaged && err != nil && !errors.Is(err, errRowsDiffer) {
			require.ErrorContains(t, err, "state/wordcount", "it names the place")
			m.use(m.emptyDisk()) // as the error says
			err = m.run(1)
		}
		if err == nil {
			m.hurt = m.hurt || !next.legal && !damaged
			continue
		}
		if errors.Is(err, errRowsDiffer) || (next.legal || damaged) && !m.hurt {
			require.NoError(t, err, "after %v", m.log)
		}
		_, refused := errors.AsType[*origin.Refusal](err)
		require.True(t, refused, "after %v: %v", m.log, err)
		refusals++
		m.reset()
		m.log = append(m.log, "reset")
		require.NoError(t, m.run(m.random.IntN(10)), "after %v", m.log)
	}
	t.Logf("%d refusals in %v", refusals, m.log)
}

// The comparison finds what a defect would leave behind.
func TestMovedStateFindsDefects(t *testing.T) {
	for _, c := range []struct {
		name string
		seed func(m *moved)
	}{
		{"a position of another topic", func(m *moved) { // as before positions named their topics
			require.NoError(m.t, m.check(20, nil)) // each partition has rows now
			was := m.copyDisk(100)
			require.NoError(m.t, m.check(50, nil))
			m.use(was)
			m.swap()
			m.remove("wordcount-progress")
			m.older(m.disk, byWord.Name(), 4)
		}},
		{"a changelog of another topic, without a copy", func(m *moved) {
			m.swap()
			m.remove("wordcount-progress")
			m.use(m.emptyDisk())
		}},
		{"a row applied twice", func(m *moved) { m.alterRow(func(n int64) int64 { return 2 * n }) }},
		{"a row that is not found", func(m *moved) { m.alterRow(func(int64) int64 { return 0 }) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := newMoved(t)
			c.seed(m)
			require.ErrorIs(t, m.check(20, nil), errRowsDiffer)
		})
	}
}

// alterRow changes the row of one word behind the application's back; 0 deletes it.
func (m *moved) alterRow(change func(int64) int64) {
	m.t.Helper()
	words := slices.Sorted(maps.Keys(m.want))
	word := words[m.random.IntN(len(words))]
	e, err := pebble.Open("state/wordcount/state", pebble.Options{FS: m.disk})
	require.NoError(m.t, err)
	altered := 0
	for p := range int32(4) {
		key := append(rowKey(p, byWord.Name(), 1), word...)
		row, found, err := e.Get(nil, key)
		require.NoError(m.t, err)
		if !found {
			continue
		}
		altered++
		b := e.NewBatch(0)
		if n := change(number(m.t, row[8:])); n == 0 {
			err = b.Delete(key)
		} else {
			row, err = serde.For[int64]().Append(row[:8], n)
			require.NoError(m.t, err)
			err = b.Set(key, row)
		}
		require.NoError(m.t, errors.Join(err, b.Commit()))
	}
	require.NoError(m.t, e.Close())
	require.Equal(m.t, 1, altered, "rows of the word %s", word)
}
