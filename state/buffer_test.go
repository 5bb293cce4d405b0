package state

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"thalweg/state/memory"
)

type buffered struct {
	key, value string
	timestamp  int64
}

// bufferRig runs a join buffer beside a list.
type bufferRig struct {
	t              *testing.T
	e              *memory.Engine
	tx             *Tx
	st             *BufferStore[string, string]
	now, committed []buffered // in the order of arrival
	floor          [2]int64
	log            [][3]string
	logTimes       []int64
}

func (g *bufferRig) open() {
	g.tx = NewTx(Config{Engine: g.e, Namespace: Namespace(3), CheckpointCommits: 3})
	var err error
	g.st, err = NewBuffer[string, string]("side").Retain(6 * time.Second).Open(g.tx)
	require.NoError(g.t, err)
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

func (g *bufferRig) commit() {
	g.drain()
	require.NoError(g.t, g.tx.Commit(func(string) int64 { return int64(len(g.log)) }))
	g.committed, g.floor[1] = slices.Clone(g.now), g.floor[0]
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
	for i := max(0, int(offset)-3); i < len(g.log); i++ { // a repeated stretch does no harm
		require.NoError(g.t, g.tx.Restore("side", []byte(g.log[i][0]), []byte(g.log[i][1]), g.logTimes[i]))
	}
	require.NoError(g.t, g.tx.RestoreDone(func(string) int64 { return int64(len(g.log)) }))
	g.now = slices.Clone(g.committed)
	g.floor[0] = g.floor[1]
	g.st.Expire(g.floor[1])
	if len(g.logTimes) > 0 { // a restart takes nothing in that is older than what is retained
		g.expire(slices.Max(g.logTimes) - 6000 + 1)
	}
	g.commit()
}

func TestBufferEqualsModel(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 21))
	g := &bufferRig{t: t, e: memory.New()}
	g.open()
	clock := int64(0)
	for range 6_000 {
		key := fmt.Sprintf("k%d", r.IntN(20))
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
		case n < 970:
			g.commit()
		case n < 975:
			require.NoError(t, g.tx.Discard())
			g.now, g.floor[0] = slices.Clone(g.committed), g.floor[1]
		case n < 985:
			g.drain() // and lost
			g.log, g.logTimes = g.log[:g.committedLog()], g.logTimes[:g.committedLog()]
			require.NoError(t, g.tx.Discard())
			g.now, g.floor[0] = slices.Clone(g.committed), g.floor[1]
		default:
			if r.IntN(2) == 0 {
				require.NoError(t, g.tx.Discard())
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

// BenchmarkBufferHotKey fetches what is near in time from a key that has many records.
func BenchmarkBufferHotKey(b *testing.B) {
	for _, rows := range []int{1_000, 100_000} {
		b.Run(fmt.Sprint(rows), func(b *testing.B) {
			st, err := NewBuffer[string, int64]("side").Retain(24 * time.Hour).Open(NewTx(Config{}))
			require.NoError(b, err)
			for i := range rows {
				require.NoError(b, st.Add("hot", int64(i), int64(i)))
			}
			b.ReportAllocs()
			for b.Loop() {
				if found, err := st.Fetch("hot", int64(rows)-2, int64(rows)); len(found) != 2 || err != nil {
					b.Fatal(len(found), err)
				}
			}
		})
	}
}

// Kafka Streams numbers records from 1, anew at each start.
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
