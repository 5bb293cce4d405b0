package runtime_test

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"thalweg/broker/brokertest"
	"thalweg/runtime"
	"thalweg/state"
	"thalweg/topology"
)

const byWordChangelog = "wordcount-by-word-changelog"

// cut deletes the records of a compacted topic below the offsets.
func (h *harness) cut(topic string, before map[int32]int64) {
	h.t.Helper()
	h.alter(topic, "cleanup.policy", "compact,delete") // else the broker refuses to cut it
	h.deleteBefore(topic, before)
	h.alter(topic, "cleanup.policy", "compact")
}

func (h *harness) deleteBefore(topic string, before map[int32]int64) {
	h.t.Helper()
	offsets := kadm.Offsets{}
	for p, at := range before {
		offsets.AddOffset(topic, p, at, -1)
	}
	_, err := h.admin.DeleteRecords(h.ctx, offsets)
	require.NoError(h.t, err)
}

func (h *harness) remove(topics ...string) {
	h.t.Helper()
	for _, topic := range topics {
		_, err := h.admin.DeleteTopic(h.ctx, topic)
		require.NoError(h.t, err)
	}
	h.reconnect() // the client would go on with the topics that were
}

// loggedTo lets a configuration log to a text.
func loggedTo(cfg *runtime.Config) *text {
	log := new(text)
	cfg.Logger = logged(log)
	return log
}

// counted runs the word count until it has counted everything.
func (h *harness) counted(cfg runtime.Config, lines int) {
	h.t.Helper()
	app := h.start(words(h.t, byWord), cfg)
	h.feed(lines)
	app.caughtUp().stop()
}

func TestChangelogCutWithoutALocalCopyIsRefused(t *testing.T) {
	h := newHarness(t)
	cfg := h.config()
	h.counted(cfg, 100)
	h.cut(byWordChangelog, map[int32]int64{0: 3, 1: 3, 2: 3, 3: 3})
	cfg.State.FS = vfs.NewMem()
	err := h.start(words(t, byWord), cfg).fails()
	require.ErrorContains(t, err, "store by-word")
	require.ErrorContains(t, err, byWordChangelog+", was cut: it begins at 3")
	for p := range 4 {
		require.ErrorContains(t, err, fmt.Sprintf("task 1_%d: store by-word", p))
	}
	require.Equal(t, 1, strings.Count(err.Error(), "Client.Reset"), "the steps are there once: %v", err)
}

// With everything gone but the committed offsets nothing is left to compare: the log says what that means, once.
func TestNothingIsLeftButCommittedOffsets(t *testing.T) {
	h := newHarness(t)
	cfg := h.config()
	log := loggedTo(&cfg)
	const says = "internal topic " + byWordChangelog + " is made, though the group has committed offsets"
	h.counted(cfg, 20)
	require.NotContains(t, log.String(), says)
	h.remove(byWordChangelog, "wordcount-progress")
	cfg.State.FS = vfs.NewMem()
	h.start(words(t, byWord), cfg).settled().stop()
	h.start(words(t, byWord), cfg).settled().stop()
	require.Equal(t, 1, strings.Count(log.String(), says))
	require.Regexp(t, "WARN.*"+says, log.String())
}

func TestChangelogCutAboveThePositionIsRefused(t *testing.T) {
	h := newHarness(t)
	cfg := h.config()
	h.counted(cfg, 100)
	other := cfg
	other.State.FS = vfs.NewMem()
	h.counted(other, 100) // another machine goes on
	before := h.ends(byWordChangelog)
	for p := range before {
		before[p]-- // what lies there is the end of a transaction
	}
	h.cut(byWordChangelog, before)
	err := h.start(words(t, byWord), cfg).fails()
	require.ErrorContains(t, err, byWordChangelog)
	require.ErrorContains(t, err, "cut")
	require.ErrorContains(t, err, "thalweg state drop state/wordcount by-word -task 1_0,1_1,1_2,1_3`")

	log := loggedTo(&other) // which has all rows
	h.counted(other, 10)
	require.Contains(t, log.String(), "was cut")
	require.Contains(t, log.String(), "is complete")
	h.exact()
}

func TestRecreatedChangelogIsRefused(t *testing.T) {
	h := newHarness(t)
	cfg := h.config()
	h.counted(cfg, 100)
	h.remove(byWordChangelog)
	err := h.start(words(t, byWord), cfg).fails()
	require.ErrorContains(t, err, byWordChangelog)
	require.ErrorContains(t, err, "does not exist")
	require.NotContains(t, h.topics(), byWordChangelog, "nothing was changed")
	h.create(4, byWordChangelog)
	h.alter(byWordChangelog, "cleanup.policy", "compact")
	err = h.start(words(t, byWord), cfg).fails()
	require.ErrorContains(t, err, "recreated")

	h.remove("wordcount-progress") // consent to the topics as they are; the copies on disk still tell
	for range 2 {
		err = h.start(words(t, byWord), cfg).fails()
		require.ErrorContains(t, err, byWordChangelog)
		require.ErrorContains(t, err, "recreated")
	}

	h.remove("wordcount-progress")
	old := cfg
	cfg.State.FS = vfs.NewMem()
	log := loggedTo(&cfg)
	h.want = map[string]int64{}
	app := h.start(words(t, byWord), cfg).settled()
	require.Empty(t, app.rows())
	app.stop()
	require.Contains(t, log.String(), "it is taken over")

	log = loggedTo(&old) // a copy on another machine is of no use any more
	app = h.start(words(t, byWord), old).settled()
	require.Empty(t, app.rows())
	app.stop()
	require.Contains(t, log.String(), "deleted and recreated since")
}

func (h *harness) alter(topic, key, value string) {
	h.t.Helper()
	_, err := h.admin.AlterTopicConfigs(h.ctx, []kadm.AlterConfig{{Op: kadm.SetConfig, Name: key, Value: &value}}, topic)
	require.NoError(h.t, err)
}

// rows are those of by-word.
func (r *running) rows() map[string]int64 {
	r.h.t.Helper()
	require.NoError(r.h.t, r.Checkpoint(r.h.ctx))
	view, err := r.View(byWord)
	require.NoError(r.h.t, err)
	defer view.Close()
	rows := map[string]int64{}
	for e, err := range byWord.Read(view.Reader).All() {
		require.NoError(r.h.t, err)
		rows[e.Key] = e.Value
	}
	return rows
}

// After a reset everything is counted again, though the directory was left.
func TestResetStartsAgainWithTheOldDirectory(t *testing.T) {
	h := newHarness(t)
	cfg := h.config()
	h.counted(cfg, 100)
	require.NoError(t, h.clientOf(cfg).Reset(h.ctx, cfg.ApplicationID))
	log := loggedTo(&cfg)
	app := h.start(words(t, byWord), cfg).caughtUp()
	require.Equal(t, h.want, app.rows())
	app.stop()
	require.Contains(t, log.String(), "recreated")
}

// windowedWords is the word count with a window store under the name of the key-value store.
func windowedWords(t *testing.T) *topology.Topology {
	t.Helper()
	name := state.NewWindowed[string, int64](byWord.Name())
	b := topology.NewBuilder()
	b.Source("lines", lineTopic).
		Process("split", func() *splitter { return &splitter{} }).
		Repartition("words").
		Process("count", func() *windowCounter { return &windowCounter{name: name} }, name).
		Sink("counts", topology.NewTopic[string, int64]("counts"))
	topo, err := b.Build()
	require.NoError(t, err)
	return topo
}

type windowCounter struct {
	store *state.WindowStore[string, int64]
	name  state.Windowed[string, int64]
}

func (p *windowCounter) Init(c *topology.Context[string, int64]) (err error) {
	p.store, err = p.name.Open(c)
	return err
}

func (p *windowCounter) Process(r topology.Record[string, string]) error {
	return p.store.Put(r.Key, 0, 1, r.Timestamp)
}

func TestStoreOfAnotherKindIsRefused(t *testing.T) {
	h := newHarness(t)
	cfg := h.config()
	h.counted(cfg, 10)
	ends := h.ends(byWordChangelog)
	for _, lost := range []bool{false, true} {
		if lost {
			cfg.State.FS = vfs.NewMem()
		}
		err := h.start(windowedWords(t), cfg).fails()
		require.ErrorContains(t, err, "store by-word")
		require.ErrorContains(t, err, "key-value")
		require.ErrorContains(t, err, "window")
	}
	require.Equal(t, ends, h.ends(byWordChangelog), "nothing was written")
}

func (h *harness) ends(topic string) map[int32]int64 {
	h.t.Helper()
	_, err := h.admin.ListCommittedOffsets(h.ctx, topic) // this waits for markers of transactions that have ended
	require.NoError(h.t, err)
	listed, err := h.admin.ListEndOffsets(h.ctx, topic)
	require.NoError(h.t, err)
	ends := map[int32]int64{}
	listed.Each(func(o kadm.ListedOffset) { ends[o.Partition] = o.Offset })
	return ends
}

func TestExpiredOffsetsAreRefusedWhereThereIsState(t *testing.T) {
	for _, guarantee := range []runtime.Guarantee{runtime.ExactlyOnce, runtime.AtLeastOnce} {
		t.Run(guarantee.String(), func(t *testing.T) {
			h := newHarness(t)
			cfg := h.config()
			cfg.Guarantee = guarantee
			h.counted(cfg, 1) // one commit is enough
			_, err := h.admin.DeleteGroup(h.ctx, cfg.ApplicationID)
			require.NoError(t, err)
			for _, lost := range []bool{false, true} {
				if lost {
					cfg.State.FS = vfs.NewMem()
				}
				err := h.start(words(t, byWord), cfg).fails()
				require.ErrorContains(t, err, "committed offsets of group wordcount are gone")
				require.ErrorContains(t, err, "wordcount-words-repartition")
			}
		})
	}
}

func TestGlobalTableIsFilledByTheIdOfItsTopic(t *testing.T) {
	h := newHarness(t)
	h.create(1, "prices")
	for i := range 11 {
		h.produce(h.price(fmt.Sprint("old", i), 1))
	}
	cfg := h.config()
	app := h.start(priced(t), cfg).settled()
	require.Len(t, app.prices(), 11)
	app.stop()
	h.remove("prices")
	h.create(1, "prices")
	want := map[string]int64{}
	for i := range 20 { // more than there were: the offset alone does not tell
		h.produce(h.price(fmt.Sprint("new", i), 2))
		want[fmt.Sprint("new", i)] = 2
	}
	app = h.start(priced(t), cfg).settled()
	require.Equal(t, want, app.prices())
	app.stop()
}

// A topic that is cut under the application is read again from the beginning, while nothing looks rows up.
func TestGlobalTableIsFilledAgainInPlace(t *testing.T) {
	h := newHarness(t)
	h.create(1, "prices")
	h.produce(h.price("before", 1))
	var away sync.RWMutex
	cfg := h.config()
	cfg.NoLocal = true
	cfg.ClientOptions = h.over(func(c net.Conn) net.Conn { return &held{Conn: c, away: &away} })
	app := h.start(priced(t), cfg).settled()
	require.EqualValues(t, 1, h.ask(app, "first", "before"))
	away.Lock()
	for range 3 {
		h.produce(h.price("lost", 3))
	}
	offsets := kadm.Offsets{}
	offsets.AddOffset("prices", 0, 4, -1)
	_, err := h.admin.DeleteRecords(h.ctx, offsets)
	require.NoError(t, err)
	h.produce(h.price("after", 5))
	away.Unlock()
	require.Eventually(t, func() bool {
		view, err := app.View(priceRows)
		if err != nil {
			require.ErrorIs(t, err, runtime.ErrRestoring)
			return false
		}
		defer view.Close()
		price, _, _, err := priceRows.Read(view.Reader).Get("after")
		require.NoError(t, err)
		return price == 5
	}, patience, poll)
	require.Equal(t, map[string]int64{"after": 5}, app.prices())
	require.EqualValues(t, 5, h.ask(app, "second", "after"))
	require.EqualValues(t, -1, h.ask(app, "third", "before"), "it is in the topic no more")
	require.Equal(t, runtime.Running, app.State())
	app.stop()
}

// held is a connection whose answers wait while the other side is away.
type held struct {
	net.Conn
	away *sync.RWMutex
}

func (c *held) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.away.RLock()
	defer c.away.RUnlock()
	return n, err
}

// rowKey is where the rows of a store's partition begin in the engine: its position at 0, the rows of a key-value store
// at 1.
func rowKey(partition int32, store string, table byte) []byte {
	return append(append(append(state.Namespace(partition), byte(len(store))), store...), table)
}

// older makes a directory what an older build would have left: positions without origins, and a file with the times of
// the tasks.
func (h *harness) older(fs vfs.FS, store string, partitions int32) {
	h.t.Helper()
	h.rewritePositions(fs, store, partitions, func(row []byte) []byte { return row[:8] })
	h.writeFile(fs, "state/wordcount/state/STATE_FORMAT", []byte{1})
	used := map[string]time.Time{}
	for p := range partitions {
		used[runtime.TaskID{Subtopology: 1, Partition: p}.String()] = time.Now()
	}
	h.writeUsed(fs, used)
}

// The directory and the topics of an older build are taken over, once.
func TestTheStateOfAnOlderBuildIsTakenOver(t *testing.T) {
	h := newHarness(t)
	cfg := h.config()
	h.counted(cfg, 50)
	h.older(cfg.State.FS, "by-word", 4)
	h.remove("wordcount-progress")
	var restored []runtime.Restore
	cfg.Hooks.RestoreEnded = func(r runtime.Restore) { restored = append(restored, r) }
	for _, first := range []bool{true, false} {
		log := loggedTo(&cfg)
		h.counted(cfg, 10)
		require.Equal(t, first, strings.Contains(log.String(), "written by an older build"))
		require.Equal(t, first, strings.Contains(log.String(), byWordChangelog+" exists, and the application has not"))
	}
	for _, r := range restored {
		require.Positive(t, r.Start, "the rows were not restored")
	}
	h.exact()
}

// rewound is a harness whose broker has lost what came after the first n lines: its disk is of before.
func rewound(t *testing.T, guarantee runtime.Guarantee) (*harness, runtime.Config) {
	t.Helper()
	fs := vfs.NewCrashableMem()
	h := newHarness(t, brokertest.On(fs))
	c := h.config()
	c.Guarantee = guarantee
	h.counted(c, 50)
	was := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rand.New(rand.NewPCG(1, 1))})
	h.counted(c, 50)
	h.reopen(was, func() {})
	c.Broker = h.broker
	return h, c
}

// Under at-least-once, a copy that is ahead of its changelog is restored.
func TestAChangelogThatEndsBelowThePosition(t *testing.T) {
	h, cfg := rewound(t, runtime.AtLeastOnce)
	log := loggedTo(&cfg)
	app := h.start(words(t, byWord), cfg).caughtUp()
	h.want = map[string]int64{} // the rows are those that the changelog has
	for _, r := range h.read(byWordChangelog) {
		h.want[string(r.Key)] = number(t, r.Value)
	}
	require.Equal(t, h.want, app.rows())
	app.stop()
	require.Contains(t, log.String(), "does not fit its topic")
}

// Another machine may have rows of the time when the store was volatile. Only those of the changelog count.
func TestCopiesOfAStoreThatWasVolatile(t *testing.T) {
	h := newHarness(t)
	cfg := h.config()
	volatile, durable := countInto(t, "lines", "", byWord.Volatile()), countInto(t, "lines", "", byWord)
	require.Equal(t, keyCounts(1), h.count(volatile, cfg))
	require.Equal(t, keyCounts(2), h.count(volatile, cfg))
	old := cfg
	cfg.State.FS = vfs.NewMem()
	h.follow(cfg, h.start(durable, cfg).fails(), empty)
	require.Equal(t, keyCounts(1), h.count(durable, cfg))
	log := loggedTo(&old)
	require.Equal(t, keyCounts(2), h.count(durable, old))
	require.Contains(t, log.String(), "nothing that it could be restored from")
}

// An input that was deleted and recreated is named once, and what happens with its offsets.
func TestARecreatedInputIsNamed(t *testing.T) {
	h := newHarness(t)
	cfg := h.config()
	topo := countInto(t, "lines", "", byWord)
	require.Equal(t, keyCounts(1), h.count(topo, cfg))
	was := h.idOf("lines")
	h.remove("lines")
	h.create(4, "lines")
	log := loggedTo(&cfg)
	require.Equal(t, keyCounts(2), h.count(topo, cfg))
	text := log.String()
	require.Equal(t, 1, strings.Count(text, "input topic lines with the id "+was+" was deleted"), text)
	require.Contains(t, text, "recreated with the id "+h.idOf("lines"))
	require.Contains(t, text, "start as the source's reset policy says")
	log = loggedTo(&cfg)
	require.Equal(t, keyCounts(3), h.count(topo, cfg))
	require.NotContains(t, log.String(), "recreated")

	offsets := kadm.Offsets{}
	for p := range h.ends("lines") {
		offsets.AddOffset("lines", p, 1, -1)
	}
	h.remove("lines")
	h.create(4, "lines")
	require.NoError(t, h.admin.CommitAllOffsets(h.ctx, cfg.ApplicationID, offsets))
	log = loggedTo(&cfg)
	h.start(topo, cfg).settled().stop()
	require.Contains(t, log.String(), "Group wordcount has committed offsets there (partition ")
	require.Contains(t, log.String(), "records before them are not processed")
}

func TestAnInputThatIsRecreatedMeanwhileIsNamed(t *testing.T) {
	h := newHarness(t)
	cfg := h.config()
	log := &lastLog{}
	cfg.Logger = logged(log)
	app := h.start(countInto(t, "lines", "", byWord), cfg).settled()
	h.produce(&kgo.Record{Topic: "lines", Key: []byte("k"), Value: []byte("v")})
	app.caughtUp()
	was := h.idOf("lines")
	h.remove("lines")
	h.create(4, "lines")
	now := h.idOf("lines")
	require.Eventually(t, func() bool {
		log.mu.Lock()
		defer log.mu.Unlock()
		return bytes.Contains(log.buf, []byte("topic=lines was="+was+" now="+now))
	}, patience, poll)
	app.stop()
}

func (h *harness) idOf(topic string) string {
	h.t.Helper()
	details, err := h.admin.ListTopics(h.ctx, topic)
	require.NoError(h.t, err)
	id := details[topic].ID
	return hex.EncodeToString(id[:])
}
