package memory

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var (
	appKinds    = []Kind{Rows, Engine, Fetched, Restored, Produced}
	brokerKinds = []Kind{Tails, Requests, Compaction}
)

// limitOf is a limit on a machine with that much memory, whose Go has a limit of its own.
func limitOf(total int64, golimit *int64, env map[string]string) *Limit {
	return &Limit{
		detect: func() (int64, string) { return total, "the machine's memory of " + size(total) },
		golimit: goLimit{
			env: func(name string) (string, bool) { v, ok := env[name]; return v, ok },
			set: func(n int64) int64 {
				was := *golimit
				if n >= 0 {
					*golimit = n
				}
				return was
			},
		},
	}
}

func newLimit(total int64) *Limit {
	golimit := int64(math.MaxInt64)
	return limitOf(total, &golimit, nil)
}

func app(name string, bytesMax int64, fixed ...Fixed) Request {
	return Request{Name: "application " + name, BytesMax: bytesMax, Kinds: appKinds, Fixed: fixed}
}

func join(t *testing.T, l *Limit, r Request) *Member {
	t.Helper()
	m, err := l.Join(r)
	require.NoError(t, err)
	return m
}

// charged is what all shares cost.
func charged(m *Member) (sum int64) {
	for _, h := range m.Usage().Holders {
		sum += h.Kind.cost(h.BytesMax)
	}
	return sum
}

func TestTheDefaultIsHalfOfWhatThereIs(t *testing.T) {
	m := join(t, newLimit(8<<30), app("a", 0))
	require.EqualValues(t, 4<<30, m.Usage().BytesMax)
}

// What does not fit by itself is known before it joins. What others hold or have set may change until then.
func TestCheckBeforeJoining(t *testing.T) {
	l := newLimit(8 << 30)
	many := app("many", 0)
	many.Workers = 1 << 20
	require.ErrorContains(t, l.Check(many), "or Workers of ")
	few := app("few", 0)
	few.Workers = 2
	require.NoError(t, l.Check(few))
	little := app("little", 1<<20)
	little.Workers = 2
	require.ErrorContains(t, l.Check(little), "it takes a MemoryBytesMax of ")
	fixed := app("fixed", 0, Fixed{Rows, 1 << 17, "CacheBytesMax"})
	fixed.Workers = 1 << 10
	require.ErrorContains(t, l.Check(fixed), "CacheBytesMax of 128 KiB is too small for 1024 workers")

	b := join(t, l, Request{Name: "broker", BytesMax: 64 << 20, Kinds: brokerKinds})
	many.Workers = 1 << 10
	require.ErrorContains(t, l.Check(many), "the limit of 64 MiB is too small for application many")
	require.NoError(t, l.Check(app("another", 1<<30)), "the broker may have left by then")
	b.Leave()
	require.NoError(t, l.Check(few))
	require.Empty(t, l.members)
}

func TestMembersShare(t *testing.T) {
	l := newLimit(8 << 30)
	a, b := join(t, l, app("a", 1<<30)), join(t, l, app("b", 0))
	require.Same(t, a.Share(Rows), b.Share(Rows))
	require.Nil(t, a.Share(Tails))
	alone := a.Share(Rows).BytesMax()
	var told int64
	a.Share(Rows).OnResize(func(n int64) { told = n })
	c := join(t, l, Request{Name: "broker", BytesMax: 1 << 30, Kinds: brokerKinds})
	require.Less(t, a.Share(Rows).BytesMax(), alone, "the broker's part is taken from all")
	require.Equal(t, a.Share(Rows).BytesMax(), told)
	c.Leave()
	c.Leave()
	require.Equal(t, alone, a.Share(Rows).BytesMax())
	require.LessOrEqual(t, alone, a.Share(Rows).Ceiling())
}

func TestASecondOpenerWithAnotherLimit(t *testing.T) {
	l := newLimit(8 << 30)
	a := join(t, l, app("a", 1<<30))
	_, err := l.Join(app("b", 2<<30))
	require.EqualError(t, err, "memory: application b sets MemoryBytesMax to 2 GiB, but the limit of this process is "+
		"1 GiB, set by application a: there is one for all: set the same, or leave it out")
	b := join(t, l, app("b", 1<<30))
	a.Leave()
	_, err = l.Join(app("c", 2<<30))
	require.ErrorContains(t, err, "1 GiB, set by application a")
	b.Leave()
	join(t, l, app("c", 2<<30)).Leave()

	d := join(t, l, app("d", 0))
	_, err = l.Join(app("e", 1<<30))
	require.ErrorContains(t, err, "4 GiB, half of the machine's memory of 8 GiB, since application d was opened first")
	d.Leave()
}

func TestFixedShares(t *testing.T) {
	l := newLimit(8 << 30)
	cache := Fixed{Rows, 64 << 20, "CacheBytesMax"}
	a, b := join(t, l, app("a", 256<<20, cache)), join(t, l, app("b", 0))
	require.EqualValues(t, 64<<20, a.Share(Rows).BytesMax())
	require.NotSame(t, a.Share(Rows), b.Share(Rows))
	require.Same(t, a.Share(Fetched), b.Share(Fetched))
	require.LessOrEqual(t, charged(a), int64(256<<20)*9/10)

	_, err := l.Join(app("c", 0, Fixed{Rows, 100 << 20, "CacheBytesMax"}))
	require.ErrorContains(t, err, "the limit of 256 MiB is too small for application a, application b, application c "+
		"with CacheBytesMax 64 MiB of application a, CacheBytesMax 100 MiB of application c: it takes a MemoryBytesMax of")
	require.Len(t, l.members, 2)
}

// The smallest limit that the error names works, and the next smaller does not.
func TestTheLeastLimit(t *testing.T) {
	for n := int64(1); ; n++ {
		require.Less(t, n, int64(64), "64 MiB must do")
		l := newLimit(8 << 30)
		_, err := l.Join(app("a", n<<20))
		if err == nil {
			_, err = newLimit(8 << 30).Join(app("a", (n-1)<<20))
			require.ErrorContains(t, err, fmt.Sprintf("a MemoryBytesMax of %d MiB at least", n))
			return
		}
	}
}

// Many workers have what they need, or the error says what would fit: that many workers do, and one more does not.
func TestWorkersThatDoNotFit(t *testing.T) {
	of := func(workers int, bytesMax int64, fixed ...Fixed) (*Member, error) {
		r := app("a", bytesMax, fixed...)
		r.Workers = workers
		return newLimit(8 << 30).Join(r)
	}
	m, err := of(64, 256<<20)
	require.NoError(t, err)
	for _, h := range m.Usage().Holders {
		require.GreaterOrEqual(t, h.BytesMax, 64*table[h.Kind].part, h.Kind)
	}
	require.LessOrEqual(t, charged(m), int64(256<<20)*9/10)

	_, err = of(500, 256<<20)
	require.ErrorContains(t, err, "the limit of 256 MiB is too small for application a: it takes a MemoryBytesMax of ")
	var least, most int64
	_, scanned := fmt.Sscanf(err.Error()[strings.Index(err.Error(), "MemoryBytesMax of"):],
		"MemoryBytesMax of %d MiB at least, or Workers of %d at most", &least, &most)
	require.NoError(t, scanned)
	_, err = of(500, least<<20)
	require.NoError(t, err)
	_, err = of(500, (least-1)<<20)
	require.Error(t, err)
	_, err = of(int(most), 256<<20)
	require.NoError(t, err)
	_, err = of(int(most)+1, 256<<20)
	require.Error(t, err)

	_, err = of(64, 256<<20, Fixed{Produced, 4 << 20, "ProduceBytesMax"})
	require.EqualError(t, err, "memory: ProduceBytesMax of 4 MiB is too small for 64 workers of application a: "+
		"set it to 16 MiB at least, or Workers to 16 at most")
	_, err = of(16, 256<<20, Fixed{Produced, 4 << 20, "ProduceBytesMax"})
	require.NoError(t, err)
}

// Global stores have parts of a share, too: fewer workers are named as a remedy only where they are one.
func TestGlobalStoresThatDoNotFit(t *testing.T) {
	of := func(workers, fillings int, bytesMax int64) error {
		r := app("a", 256<<20, Fixed{Produced, bytesMax, "ProduceBytesMax"})
		r.Workers, r.Fillings = workers, fillings
		_, err := newLimit(8 << 30).Join(r)
		return err
	}
	require.EqualError(t, of(4, 1, 1<<20), "memory: ProduceBytesMax of 1 MiB is too small for 4 workers and the global "+
		"stores of application a: set it to 1280 KiB at least, or Workers to 3 at most")
	require.NoError(t, of(3, 1, 1<<20))
	require.NoError(t, of(4, 1, 1<<20+1<<18))
	require.EqualError(t, of(2, 1, 1<<18), "memory: ProduceBytesMax of 256 KiB is too small for 2 workers and the global "+
		"stores of application a: set it to 768 KiB at least")
	require.Error(t, of(1, 1, 1<<18))
	require.NoError(t, of(2, 1, 3<<18))
	require.ErrorContains(t, of(40, 1, 10<<20), "set it to 11 MiB at least")
}

// A client that is there first does not decide: neither about the limit nor about Go's.
func TestFollowers(t *testing.T) {
	golimit := int64(math.MaxInt64)
	l := limitOf(8<<30, &golimit, nil)
	follower := Request{Name: "client", Kinds: []Kind{Clients}, Follows: true}
	first := join(t, l, follower)
	require.EqualValues(t, 4<<30, first.Usage().BytesMax)
	require.EqualValues(t, 128<<20, first.Share(Clients).BytesMax())
	require.EqualValues(t, math.MaxInt64, golimit)

	a := join(t, l, app("a", 256<<20))
	require.EqualValues(t, 256<<20, first.Usage().BytesMax)
	require.LessOrEqual(t, charged(a), int64(256<<20)*9/10)
	require.Less(t, golimit, int64(math.MaxInt64))
	_, err := l.Join(app("b", 1<<30))
	require.ErrorContains(t, err, "the limit of this process is 256 MiB, set by application a")
	follower.BytesMax = 1 << 30
	require.Same(t, first.Share(Clients), join(t, l, follower).Share(Clients))
	require.EqualValues(t, 256<<20, first.Usage().BytesMax)

	ceiling := a.Share(Engine).Ceiling()
	a.Leave()
	require.EqualValues(t, math.MaxInt64, golimit)
	c := join(t, l, app("c", 1<<30))
	require.EqualValues(t, 1<<30, first.Usage().BytesMax)
	require.Greater(t, c.Share(Engine).Ceiling(), ceiling)
}

func TestTheDivisionNeverExceedsTheLimit(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	r := rand.New(rand.NewPCG(seed, 1))
	for range 2000 {
		limit := int64(24<<20) + r.Int64N(1<<uint(26+r.IntN(16)))
		l := newLimit(1 << 50)
		request := app("a", limit)
		request.Workers, request.Fillings = r.IntN(2), r.IntN(2)
		m, err := l.Join(request)
		require.NoError(t, err, "seed %d", seed)
		if r.IntN(2) == 0 {
			_, _ = l.Join(Request{Name: "broker", Kinds: brokerKinds})
		}
		if r.IntN(2) == 0 {
			_, _ = l.Join(app("b", 0, Fixed{Kind(r.IntN(int(kinds))), r.Int64N(limit), "Some"}))
		}
		require.LessOrEqual(t, charged(m), limit*9/10, "seed %d", seed)
		for _, h := range m.Usage().Holders {
			if h.Owner == "" {
				require.GreaterOrEqual(t, h.BytesMax, table[h.Kind].least, "seed %d: %v", seed, h.Kind)
				require.LessOrEqual(t, h.BytesMax, table[h.Kind].most, "seed %d: %v", seed, h.Kind)
			}
		}
	}
}

func TestUsage(t *testing.T) {
	l := newLimit(8 << 30)
	m := join(t, l, app("a", 256<<20, Fixed{Rows, 64 << 20, "CacheBytesMax"}))
	m.Share(Rows).Use(5)
	m.Share(Engine).Use(2)
	stop := m.Share(Engine).Report(func() int64 { return 7 })
	held := map[Kind]Holder{}
	for _, h := range m.Usage().Holders {
		held[h.Kind] = h
	}
	require.Equal(t, Holder{Rows, "application a", 5, 64 << 20}, held[Rows])
	require.Equal(t, Holder{Engine, "", 9, m.Share(Engine).BytesMax()}, held[Engine])
	stop()
	require.EqualValues(t, 2, m.Share(Engine).UsedBytes())
}

func TestGosLimit(t *testing.T) {
	const limit, ballast = 256 << 20, 32 << 20
	request := app("a", limit)
	request.BallastBytes = ballast
	want := func(m *Member) int64 {
		if engineOffHeap {
			return limit + ballast - m.Share(Engine).BytesMax()
		}
		return limit + ballast
	}
	t.Run("nobody has set it", func(t *testing.T) {
		golimit := int64(math.MaxInt64)
		l := limitOf(8<<30, &golimit, nil)
		m := join(t, l, request)
		require.Equal(t, want(m), golimit)
		b := join(t, l, Request{Name: "broker", Kinds: brokerKinds})
		require.Equal(t, want(m), golimit, "what is outside of the heap has changed")
		b.Leave()
		m.Leave()
		require.EqualValues(t, math.MaxInt64, golimit)
	})
	t.Run("the environment has", func(t *testing.T) {
		golimit := int64(math.MaxInt64)
		m := join(t, limitOf(8<<30, &golimit, map[string]string{"GOMEMLIMIT": "off"}), request)
		require.EqualValues(t, math.MaxInt64, golimit)
		m.Leave()
		require.EqualValues(t, math.MaxInt64, golimit)
	})
	t.Run("the program has", func(t *testing.T) {
		golimit := int64(1 << 30)
		m := join(t, limitOf(8<<30, &golimit, nil), request)
		m.Leave()
		require.EqualValues(t, 1<<30, golimit)
	})
	t.Run("the program does meanwhile", func(t *testing.T) {
		golimit := int64(math.MaxInt64)
		l := limitOf(8<<30, &golimit, nil)
		m := join(t, l, request)
		golimit = 1 << 30
		join(t, l, Request{Name: "broker", Kinds: brokerKinds}).Leave()
		m.Leave()
		require.EqualValues(t, 1<<30, golimit)
	})
}

// The table of docs/performance.md is what the weights give.
func TestTheDocumentedShares(t *testing.T) {
	if !engineOffHeap {
		t.Skip("the table is that of builds with cgo")
	}
	text, err := os.ReadFile("../../docs/performance.md")
	require.NoError(t, err)
	for _, mebis := range []int64{256, 1024, 4096} {
		m := join(t, newLimit(1<<50), app("a", mebis<<20))
		row := "| " + thousands(mebis) + " |"
		for _, k := range appKinds {
			row += " " + thousands(m.Share(k).BytesMax()>>20) + " |"
		}
		require.Contains(t, string(text), row+"\n")
	}
}

func thousands(n int64) string {
	if n < 1000 {
		return strconv.FormatInt(n, 10)
	}
	return fmt.Sprintf("%d,%03d", n/1000, n%1000)
}
