package state

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"thalweg/state/internal/layout"
	"thalweg/state/memory"
)

type buffered struct {
	key, value string
	timestamp  int64
}

// drainedBuffer is the list as the commit in progress makes it.
type drainedBuffer struct {
	now   []buffered
	floor int64
}

// bufferRig runs a join buffer beside a list.
type bufferRig struct {
	t              *testing.T
	e              *memory.Engine
	tx             *Tx
	st             *BufferStore[string, string]
	now, committed []buffered // in the order of arrival
	floor          [2]int64
	drained        *drainedBuffer // what was drained and is not committed yet; nil: nothing
	log            [][3]string
	logTimes       []int64
	most           int64 // bytes of memory; 0: no limit
	spilled        int   // times that cold rows were seen
}

func (g *bufferRig) open() {
	g.tx = NewTx(Config{Engine: g.e, Namespace: Namespace(3), CheckpointCommits: 3, CacheBytesMax: g.most})
	var err error
	g.st, err = NewBuffer[string, string]("side").Retain(6 * time.Second).Open(g.tx)
	require.NoError(g.t, err)
	g.st.KeepUntilExpired()
}

func (g *bufferRig) fetch(key string, from, to int64) {
	want := []buffered{}
	for _, b := range g.now {
		if b.key == key && b.timestamp >= max(from, g.floor[0]) && b.timestamp <= to {
			want = append(want, b)
		}
	}
	slices.SortStableFunc(want, func(a, b buffered) int { return sign(a.timestamp - b.timestamp) })
	found, err := g.st.Fetch(key, from, to)
	require.NoError(g.t, err)
	got := []buffered{}
	for _, f := range found {
		got = append(got, buffered{key, f.Value, f.Timestamp})
	}
	require.Equal(g.t, want, got)
	has, err := g.st.Has(key, from, to)
	require.NoError(g.t, err)
	require.Equal(g.t, len(want) > 0, has)
	for _, t := range g.st.log.live {
		if t.asLog.cold != nil {
			g.spilled++
		}
	}
}

func (g *bufferRig) expire(before int64) {
	g.st.Expire(before)
	g.floor[0] = max(g.floor[0], before)
	g.now = slices.DeleteFunc(slices.Clone(g.now), func(b buffered) bool { return b.timestamp < g.floor[0] })
}

func (g *bufferRig) drain() {
	require.NoError(g.t, g.tx.Drain(func(_ Store, key, value []byte, timestamp int64) error {
		g.log = append(g.log, [3]string{string(key), string(value)})
		g.logTimes = append(g.logTimes, timestamp)
		return nil
	}))
}

// commit begins a commit. While it stays in progress, the steps up to the next one belong to the next transaction.
func (g *bufferRig) commit(underWay bool) {
	g.endCommit()
	g.drain()
	g.drained = &drainedBuffer{slices.Clone(g.now), g.floor[0]}
	if !underWay {
		g.endCommit()
	}
}

func (g *bufferRig) endCommit() {
	if g.drained == nil {
		return
	}
	require.NoError(g.t, g.tx.Commit(func(string) int64 { return int64(len(g.log)) }))
	g.committed, g.floor[1] = g.drained.now, g.drained.floor
	g.drained = nil
}

func (g *bufferRig) discard() {
	g.drained = nil
	g.log, g.logTimes = g.log[:g.committedLog()], g.logTimes[:g.committedLog()]
	require.NoError(g.t, g.tx.Discard())
	g.now, g.floor[0] = slices.Clone(g.committed), g.floor[1]
}

func (g *bufferRig) restart(fromLog bool) {
	if !fromLog {
		require.NoError(g.t, g.tx.Close())
		g.e = g.e.Restart()
	} else {
		g.e = memory.New()
	}
	g.open()
	offset, _, err := g.tx.Position("side")
	require.NoError(g.t, err)
	for i := max(0, int(offset)-3); i < len(g.log); i++ { // a repeated part does no harm
		require.NoError(g.t, g.tx.Restore("side", []byte(g.log[i][0]), []byte(g.log[i][1]), g.logTimes[i]))
	}
	require.NoError(g.t, g.tx.RestoreDone(func(string) int64 { return int64(len(g.log)) }))
	g.now = slices.Clone(g.committed)
	g.floor[0] = g.floor[1]
	g.st.Expire(g.floor[1])
	if len(g.logTimes) > 0 { // a restart takes nothing in that is older than what is retained
		g.expire(slices.Max(g.logTimes) - 6000 + 1)
	}
	g.commit(false)
}

func TestBufferEqualsModel(t *testing.T) {
	for _, most := range []int64{0, 40_000, 1} {
		t.Run(fmt.Sprint(most), func(t *testing.T) { testBufferEqualsModel(t, most) })
	}
}

func testBufferEqualsModel(t *testing.T, most int64) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 21))
	g := &bufferRig{t: t, e: memory.New(), most: most}
	g.open()
	defer func() { require.Equal(t, most > 0, g.spilled > 0) }()
	clock := int64(0)
	for range 4_000 {
		key := fmt.Sprintf("k%d", r.IntN(20)*r.IntN(2))
		at := max(0, clock-5000+r.Int64N(5200))
		switch n := r.IntN(1000); {
		case n < 550:
			clock += r.Int64N(30)
			value := fmt.Sprint(r.IntN(100))
			require.NoError(t, g.st.Add(key, value, at))
			if at >= g.floor[0] {
				g.now = append(g.now, buffered{key, value, at})
			}
		case n < 900:
			to := at + r.Int64N(4000)
			g.st.TouchFetch([][]byte{[]byte(key), []byte("none"), []byte("k1")}, at, to)
			g.st.TouchAdd([][]byte{[]byte("k2"), []byte(key)}, at)
			g.fetch(key, at, to)
		case n < 920:
			g.expire(clock - 5000 + r.Int64N(1000))
		case n < 940:
			g.commit(false)
		case n < 955:
			g.commit(true)
		case n < 960:
			g.endCommit()
		case n < 965:
			require.NoError(t, g.tx.Checkpoint())
		case n < 970:
			require.NoError(t, g.tx.Relieve())
		case n < 975:
			g.discard()
		case n < 985:
			g.endCommit()
			g.drain() // and lost
			g.discard()
		default:
			if r.IntN(2) == 0 || g.drained != nil {
				g.discard()
			}
			g.restart(r.IntN(2) == 0)
		}
	}
}

// committedLog is the length of the changelog at the last commit.
func (g *bufferRig) committedLog() int {
	offset, _, err := g.tx.Position("side")
	require.NoError(g.t, err)
	return int(offset)
}

// BenchmarkBuffer adds to one side and fetches from the other, with about one match a record.
func BenchmarkBuffer(b *testing.B) {
	keys := make([]string, 1<<17)
	r := rand.New(rand.NewPCG(5, 6))
	for i := range keys {
		keys[i] = fmt.Sprintf("key-%06d", r.IntN(100_000))
	}
	tx := NewTx(Config{Engine: pebbleEngine(b), Namespace: Namespace(0)})
	var sides [2]*BufferStore[string, []byte]
	for i := range sides {
		var err error
		sides[i], err = NewBuffer[string, []byte](fmt.Sprint("side", i)).Retain(11 * time.Second).Open(tx)
		require.NoError(b, err)
	}
	value := make([]byte, 100)
	b.ReportAllocs()
	b.ResetTimer()
	defer cpuTime(b, 1)()
	for i := range b.N {
		now := int64(i / 20)
		key := keys[i&(1<<17-1)]
		if _, err := sides[1-i&1].Fetch(key, now-5000, now+5000); err != nil {
			b.Fatal(err)
		}
		if err := sides[i&1].Add(key, value, now); err != nil {
			b.Fatal(err)
		}
		if i%20_000 == 19_999 {
			sides[0].Expire(now - 11_000)
			sides[1].Expire(now - 11_000)
			require.NoError(b, tx.Drain(drainNothing))
			require.NoError(b, tx.Commit(nil))
		}
	}
}

// BenchmarkBufferHotKey fetches a few records of a key that has many: the newest ones, and from the middle.
func BenchmarkBufferHotKey(b *testing.B) {
	for _, rows := range []int{1_000, 100_000, 1_000_000} {
		for _, at := range []int{rows, rows / 2} {
			b.Run(fmt.Sprintf("%d/%d", rows, at), func(b *testing.B) {
				st, err := NewBuffer[string, int64]("side").Retain(24 * time.Hour).Open(NewTx(Config{}))
				require.NoError(b, err)
				for i := range rows {
					require.NoError(b, st.Add("hot", int64(i), int64(i)))
				}
				b.ReportAllocs()
				for b.Loop() {
					if found, err := st.Fetch("hot", int64(at)-2, int64(at)-1); len(found) != 2 || err != nil {
						b.Fatal(len(found), err)
					}
				}
			})
		}
	}
}

// One bucket of a join buffer with many rows: a look-up passes those that it finds and few more, wherever it looks, in
// memory and where the rows are cold, also where records come late.
func TestBufferOfOneKeyIsFoundAtOnce(t *testing.T) {
	for _, cold := range []bool{false, true} {
		t.Run(fmt.Sprint(cold), func(t *testing.T) {
			const rows = 20_000
			tx := NewTx(Config{Engine: memory.New(), Namespace: Namespace(0)})
			st, err := NewBuffer[string, int64]("side").Retain(24 * time.Hour).Open(tx)
			require.NoError(t, err)
			visits := &st.log.base.visited
			most := 0
			fetch := func(at int64) {
				before := *visits
				found, err := st.Fetch("hot", at-4, at)
				require.NoError(t, err)
				require.Len(t, found, 5)
				has, err := st.Has("hot", at-4, at)
				require.NoError(t, err)
				require.True(t, has)
				most = max(most, *visits-before)
			}
			for i := range int64(rows) {
				at := i
				if i%2 == 0 { // the stream has two halves, of which one is behind
					at = i/2 + rows
				}
				require.NoError(t, st.Add("hot", i, at))
				if cold && i == rows/2 {
					commitAll(t, tx)
					require.NoError(t, tx.Checkpoint())
					require.NoError(t, st.log.spill(1))
					require.NotNil(t, st.log.live[0].asLog.cold)
				}
			}
			for at := int64(rows + 4); at < rows+rows/2-1; at += 7 {
				fetch(at)
			}
			// The first look-ups build the order.
			require.LessOrEqual(t, most, 3*idleMax)
			require.Len(t, st.log.live[0].asLog.orders, 1)
		})
	}
}

// A value is decoded once, however many records it meets.
func TestBufferDecodesOnce(t *testing.T) {
	tx := NewTx(Config{Engine: memory.New(), Namespace: Namespace(0)})
	values := &countedSerde{}
	st, err := NewBuffer[string, counted]("side").Values(values).Open(tx)
	require.NoError(t, err)
	fetch := func(want int) {
		t.Helper()
		for range 50 {
			found, err := st.Fetch("k", 0, 1000)
			require.NoError(t, err)
			require.Len(t, found, 10)
			for i, f := range found {
				require.Equal(t, BufferEntry[counted]{counted{fmt.Sprint(i)}, int64(i)}, f)
			}
		}
		require.Equal(t, want, values.decoded)
	}
	for i := range 10 {
		require.NoError(t, st.Add("k", counted{fmt.Sprint(i)}, int64(i)))
	}
	fetch(10)
	commitAll(t, tx)
	fetch(10)
	require.NoError(t, st.Add("k", counted{"gone"}, 7))
	require.NoError(t, tx.Discard())
	fetch(20) // what was handed out may have been changed
	for i := range bufferObjectsMax {
		require.NoError(t, st.Add("other", counted{"x"}, int64(i%5000)))
	}
	_, err = st.Fetch("other", 0, 10_000)
	require.NoError(t, err)
	require.Len(t, st.objects, bufferObjectsMax)
	values.decoded = 0
	fetch(10)
	fetch(10)
}

// Decoded values count with their size, and have a part of the memory.
func TestBufferObjectsHaveAPartOfTheMemory(t *testing.T) {
	const rows, valueBytes, most = 60, 8 << 10, 1 << 20
	tx := NewTx(Config{Engine: memory.New(), Namespace: Namespace(0), CacheBytesMax: most})
	values := &countedSerde{}
	st, err := NewBuffer[string, counted]("side").Values(values).Open(tx)
	require.NoError(t, err)
	for i := range int64(rows) {
		require.NoError(t, st.Add("k", counted{strings.Repeat("x", valueBytes)}, i))
	}
	commitAll(t, tx)
	before := st.log.memoryBytes()
	for range 3 {
		found, err := st.Fetch("k", 0, rows)
		require.NoError(t, err)
		require.Len(t, found, rows)
	}
	n := len(st.objects)
	require.GreaterOrEqual(t, n, objectsLeast)
	require.LessOrEqual(t, n*valueBytes, most/objectsPart)
	require.GreaterOrEqual(t, st.log.memoryBytes()-before, int64(n*valueBytes))
	last, err := st.Fetch("k", rows-1, rows)
	require.NoError(t, err)
	require.Equal(t, 3*rows, values.decoded, "what was decoded last is kept")
	require.Equal(t, []BufferEntry[counted]{{counted{strings.Repeat("x", valueBytes)}, rows - 1}}, last)
}

type counted struct{ text string }

// countedSerde counts.
type countedSerde struct{ decoded int }

func (s *countedSerde) Append(dst []byte, v counted) ([]byte, error) {
	return append(dst, v.text...), nil
}

func (s *countedSerde) Decode(src []byte) (counted, error) {
	s.decoded++
	return counted{string(src)}, nil
}

// Records are numbered on after a start that finds all rows cold, and those that a changelog repeats are found once.
func TestColdRowsAndTheirSequence(t *testing.T) {
	e := memory.New()
	open := func() (*Tx, *BufferStore[string, string]) {
		tx := NewTx(Config{Engine: e, Namespace: Namespace(0)})
		st, err := NewBuffer[string, string]("side").Retain(time.Hour).Open(tx)
		require.NoError(t, err)
		return tx, st
	}
	tx, st := open()
	var log [][2]string
	for _, v := range []string{"a", "b", "c"} {
		require.NoError(t, st.Add("k", v, 5))
	}
	require.NoError(t, tx.Drain(func(_ Store, key, value []byte, _ int64) error {
		log = append(log, [2]string{string(key), string(value)})
		return nil
	}))
	require.NoError(t, tx.Commit(nil))
	require.NoError(t, tx.Checkpoint())
	require.NoError(t, st.log.spill(1<<20))
	require.Zero(t, st.log.live[0].asLog.count, "all rows are cold")
	require.NoError(t, tx.Close())

	tx, st = open()
	require.Equal(t, 3, st.Records())
	require.NoError(t, tx.Restore("side", []byte(log[2][0]), []byte(log[2][1]), 5))
	require.NoError(t, tx.RestoreDone(nil))
	require.NoError(t, st.Add("k", "d", 5))
	found, err := st.Fetch("k", 0, 10)
	require.NoError(t, err)
	got := ""
	for _, f := range found {
		got += f.Value
	}
	require.Equal(t, "abcd", got)
	commitAll(t, tx)
	st.Expire(8_000_000)
	commitAll(t, tx)
	require.NoError(t, tx.Checkpoint())
	it, err := e.Iterate(append(slices.Clone(st.log.base.prefix), layout.KindExpiring),
		append(slices.Clone(st.log.base.prefix), layout.KindSegments))
	require.NoError(t, err)
	require.False(t, it.First(), "cold rows expire with their segment")
}

// Two sides of a join that would take ten times the memory stay within it, but for one segment.
func TestBuffersStayWithinTheCache(t *testing.T) {
	const rows, most = 8_000, 1 << 20
	tx := NewTx(Config{Engine: pebbleEngine(t), Namespace: Namespace(0), CacheBytesMax: most, CheckpointCommits: -1})
	var sides [2]*BufferStore[string, []byte]
	for i := range sides {
		var err error
		sides[i], err = NewBuffer[string, []byte](fmt.Sprint("side", i)).Retain(48 * time.Hour).Open(tx)
		require.NoError(t, err)
	}
	value := make([]byte, 600)
	highest := int64(0)
	for i := range int64(rows) {
		key := fmt.Sprintf("key-%07d", i)
		now := i * time.Hour.Milliseconds() / rows
		found, err := sides[1].Fetch(fmt.Sprintf("key-%07d", i/2), 0, now)
		require.NoError(t, err)
		require.Len(t, found, int(min(i, 1)))
		for _, side := range sides {
			require.NoError(t, side.Add(key, value, now))
		}
		if tx.CacheFull() {
			commitAll(t, tx)
			highest = max(highest, tx.used)
			require.False(t, tx.over(), "%d bytes are held", tx.used)
		}
		require.Less(t, tx.used, int64(most)*5/4)
	}
	require.Positive(t, highest)
	require.Equal(t, rows, sides[0].Records())
	require.NoError(t, tx.Close())
}

// Kafka Streams numbers records from 1 again at each start.
func TestBufferGoesOnWithTheHighestSequence(t *testing.T) {
	tx := NewTx(Config{})
	st, err := NewBuffer[string, string]("side").Open(tx)
	require.NoError(t, err)
	row := func(sequence byte) []byte {
		return append([]byte("k\x00\x00\x00\x00\x00\x00\x00\x05\x00\x00\x00"), sequence)
	}
	for _, sequence := range []byte{1, 2, 3, 1} {
		require.NoError(t, tx.Restore("side", append([]byte{sequence}, row(sequence)...), []byte("v"), 5))
	}
	require.NoError(t, tx.RestoreDone(nil))
	require.NoError(t, st.Add("k", "w", 5))
	require.NoError(t, tx.Drain(func(_ Store, key, _ []byte, _ int64) error {
		require.Equal(t, row(4), key)
		return nil
	}))
	tx = NewTx(Config{})
	st, err = NewBuffer[string, string]("side").Open(tx)
	require.NoError(t, err)
	require.NoError(t, st.Add("k", "w", 5))
	require.NoError(t, tx.Drain(func(_ Store, key, _ []byte, _ int64) error {
		require.Equal(t, row(1), key)
		return nil
	}))
}
