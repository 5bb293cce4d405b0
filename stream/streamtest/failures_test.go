package streamtest_test

import (
	"encoding/json"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"thalweg/serde"
	"thalweg/state"
	"thalweg/stream"
	"thalweg/stream/streamtest"
	"thalweg/topology"
)

// picky is a serde of strings that refuses some, and panics at others, when they are read or written.
type picky struct {
	serde.String
	read, written string // begins like this: refused; and with "panic:" before it a panic
}

func meets(value, bad string) error {
	switch {
	case bad == "" || !strings.Contains(value, bad):
		return nil
	case strings.Contains(value, "panic:"):
		var none []int
		_ = none[len(value)] // as a decoder that indexes into short input
	}
	return errors.New("a picky serde")
}

func (p picky) Append(dst []byte, value string) ([]byte, error) {
	if err := meets(value, p.written); err != nil {
		return dst, err
	}
	return p.String.Append(dst, value)
}

func (p picky) Decode(src []byte) (string, error) {
	if err := meets(string(src), p.read); err != nil {
		return "", err
	}
	return p.String.Decode(src)
}

// box is a value with pointers, so that a store encodes it when it commits; its serde refuses and panics as picky's.
type box struct{ Texts []string }

type boxes struct{ serde.Serde[box] }

func (b boxes) Append(dst []byte, v box) ([]byte, error) {
	if err := meets(strings.Join(v.Texts, ","), "unwritable"); err != nil {
		return dst, err
	}
	return b.Serde.Append(dst, v)
}

func boxSerde() serde.Serde[box] { return boxes{serde.JSON[box]()} }

func (b box) plus(v string) box {
	b.Texts = append(b.Texts, v)
	return b
}

// failureKind is a way for a record to fail.
type failureKind struct {
	name  string
	bad   string // the value that fails
	phase topology.Phase
	build func(b *stream.Builder)
}

var (
	huge    = strings.Repeat("x", 1_100_000)
	picked  = stream.NewTopic[string, string]("texts").Values(picky{read: "unreadable"})
	plain   = stream.NewTopic[string, string]("texts")
	results = stream.NewTopic[string, string]("results")
)

func first(r topology.Record[string, string], _ int64) int64 {
	if r.Value == "bad time" {
		panic("no time")
	}
	return r.Timestamp
}

func newBox() box { return box{} }

func add(_, v string, b box) box { return b.plus(v) }

func last(b box) string { // short, so that a sink takes it
	v := b.Texts[len(b.Texts)-1]
	return v[:min(len(v), 10)]
}

func failureKinds() []failureKind {
	const decode, process, encode = topology.PhaseDecode, topology.PhaseProcess, topology.PhaseEncode
	rows := state.NewKV[string, box]("rows").Values(boxSerde())
	kept := func(b *stream.Builder) {
		b.Stream(plain).GroupByKey().Aggregate(rows, newBox, add).ToStream().MapValues(last).To(results)
	}
	windows := func(b *stream.Builder) {
		st := state.NewWindowed[string, box]("windows").Values(boxSerde())
		b.Stream(plain).GroupByKey().Windowed(stream.Tumbling(time.Hour, 0)).Aggregate(st, newBox, add).
			ToStream(func(k string, _ stream.Span) string { return k }).DropNulls().MapValues(last).To(results)
	}
	sessions := func(b *stream.Builder) {
		st := state.NewSession[string, box]("sessions").Values(boxSerde())
		merge := func(_ string, a, b box) box { return box{append(slices.Clip(a.Texts), b.Texts...)} }
		b.Stream(plain).GroupByKey().Sessions(stream.SessionGap(time.Hour, 0)).Aggregate(st, newBox, add, merge).
			ToStream(func(k string, _ stream.Span) string { return k }).DropNulls().MapValues(last).To(results)
	}
	return []failureKind{
		{"source serde refuses", "unreadable", decode, func(b *stream.Builder) { b.Stream(picked).To(results) }},
		{"source serde panics", "panic:unreadable", decode, func(b *stream.Builder) { b.Stream(picked).To(results) }},
		{"extractor panics", "bad time", decode, func(b *stream.Builder) { b.Stream(plain.Timestamps(first)).To(results) }},
		{"serde panics before the extractor", "panic:unreadable", decode, func(b *stream.Builder) {
			b.Stream(picked.Timestamps(first)).To(results)
		}},
		{"function panics", "bad", process, func(b *stream.Builder) {
			b.Stream(plain).MapValues(func(v string) string {
				if v == "bad" {
					panic("bad")
				}
				return v
			}).To(results)
		}},
		{"store serde refuses", "unwritable", encode, kept},
		{"store serde panics", "panic:unwritable", encode, kept},
		{"aggregate is too large", huge, encode, kept},
		{"window serde refuses", "unwritable", encode, windows},
		{"window is too large", huge, encode, windows},
		{"session serde panics", "panic:unwritable", encode, sessions},
		{"session is too large", huge, encode, sessions},
		{"row is too large", huge, encode, func(b *stream.Builder) {
			b.Table(plain, state.NewKV[string, string]("texts-table")).ToStream().To(results)
		}},
		{"version is too large", huge, encode, func(b *stream.Builder) {
			b.VersionedTable(plain, state.NewVersioned[string, string]("versions", time.Hour)).ToStream().To(results)
		}},
		{"row serde refuses", "unwritable", encode, func(b *stream.Builder) {
			st := state.NewKV[string, string]("picky").Values(picky{written: "unwritable"})
			b.Table(plain, st).ToStream().To(results)
		}},
		{"sink serde refuses", "unwritable", encode, func(b *stream.Builder) {
			b.Stream(plain).To(results.Values(picky{written: "unwritable"}))
		}},
		{"sink serde panics", "panic:unwritable", encode, func(b *stream.Builder) {
			b.Stream(plain).To(results.Values(picky{written: "unwritable"}))
		}},
		{"result is too large", "grow", encode, func(b *stream.Builder) {
			b.Stream(plain).MapValues(func(v string) string {
				if v == "grow" {
					return huge
				}
				return v
			}).To(results)
		}},
	}
}

// only is a policy for one phase alone: all others fail.
func only(p topology.Phase, d topology.Decision) topology.Errors {
	e := topology.Errors{}
	switch p {
	case topology.PhaseDecode:
		e.Decode = d
	case topology.PhaseProcess:
		e.Process = d
	default:
		e.Encode = d
	}
	if d == topology.DeadLetter || d == topology.DeadLetterAndFail {
		e.DeadLetters = "dead"
	}
	return e
}

// Every way for a record to fail is a failure of that record, in a phase, and the policy decides about it: with commits
// after each record and after several, where operators emit each update and where they emit with the commit.
func TestThePolicyReachesEveryFailure(t *testing.T) {
	for _, kind := range failureKinds() {
		t.Run(kind.name, func(t *testing.T) {
			for d := topology.Fail; d <= topology.DeadLetterAndFail; d++ {
				for every := range 4 {
					c := streamtest.Config{
						Errors: only(kind.phase, d), CommitEvery: 1 + every%2*3, EmitOnCommit: every/2 == 1,
					}
					checkFailure(t, kind, d, c)
				}
			}
		})
	}
}

func checkFailure(t *testing.T, kind failureKind, d topology.Decision, c streamtest.Config) {
	b := stream.NewBuilder()
	kind.build(b)
	topo, err := b.Build()
	require.NoError(t, err)
	driver := streamtest.New(t, topo, c)
	in, out := driver.Input(plain), driver.Output(results)
	for i, v := range []string{"one", kind.bad, "two", "three"} { // of one key: the good ones do not suffer
		r := topology.Record[string, string]{Key: "k", Value: v, Timestamp: int64(i + 1)}
		if kind.name == "row serde refuses" && i == 1 {
			r.Key = "l" // a row that is replaced before the commit is never encoded
		}
		in.Append(0, r)
	}
	err = driver.TryRun()
	if err == nil {
		err = driver.TryCommit()
	}
	letters := driver.Written("dead")
	if d == topology.DeadLetter || d == topology.DeadLetterAndFail {
		require.Len(t, letters, 1, "%v %+v", err, c)
		require.Equal(t, "1", header(letters[0].Headers, "__streams.errors.offset"))
	}
	if d == topology.Fail || d == topology.DeadLetterAndFail {
		var pe *topology.ProcessingError
		require.ErrorAs(t, err, &pe)
		require.Equal(t, kind.phase, pe.Phase, pe.Error())
		require.Equal(t, topology.Metadata{Topic: "texts", Offset: 1}, pe.Metadata)
		return
	}
	require.NoError(t, err, "%s %+v", d, c)
	require.EqualValues(t, 1, driver.Dropped(topology.Skipped))
	values := out.ReadValues()
	require.NotEmpty(t, values)
	require.Equal(t, "three", values[len(values)-1])
	require.NotContains(t, values, kind.bad)
	if c.CommitEvery == 1 {
		require.Equal(t, []string{"one", "two", "three"}, values)
	}
	driver.Restart(streamtest.LoseState)
	in.Send("k", "four", 9)
	require.NoError(t, driver.TryCommit())
	require.Equal(t, "four", out.ReadValues()[0])
}

// An aggregate that a function changes in place is as it was before the record that made it too large, or unwritable.
func TestARowThatIsRefusedIsUnchanged(t *testing.T) {
	for _, bad := range []string{huge, "unwritable", "panic:unwritable"} {
		for _, every := range []int{1, 10} {
			rows := state.NewKV[string, *box]("rows").Values(pointers{boxSerde()})
			b := stream.NewBuilder()
			b.Stream(plain).GroupByKey().Aggregate(rows, func() *box { return &box{} }, func(_, v string, b *box) *box {
				b.Texts = append(b.Texts, v)
				return b
			})
			topo, err := b.Build()
			require.NoError(t, err)
			d := streamtest.New(t, topo, streamtest.Config{
				CommitEvery: every, Errors: topology.Errors{Encode: topology.DeadLetter, DeadLetters: "dead"},
			})
			in := d.Input(plain)
			for i, v := range []string{"a", "b", bad, "c", bad, "d"} {
				in.Append(0, topology.Record[string, string]{Key: "hot", Value: v, Timestamp: int64(i)})
				in.Append(0, topology.Record[string, string]{Key: "cold", Value: "x", Timestamp: int64(i)})
			}
			d.Run()
			d.Commit()
			hot, _ := d.Get(rows, "hot")
			cold, _ := d.Get(rows, "cold")
			require.Equal(t, []string{"a", "b", "c", "d"}, hot.Texts)
			require.Len(t, cold.Texts, 6)
			require.Len(t, d.Written("dead"), 2)
		}
	}
}

type pointers struct{ values serde.Serde[box] }

func (p pointers) Append(dst []byte, v *box) ([]byte, error) { return p.values.Append(dst, *v) }

func (p pointers) Decode(src []byte) (*box, error) {
	v, err := p.values.Decode(src)
	return &v, err
}

// A number that JSON does not have, in an aggregate that lies in its entry.
func TestAnAggregateThatIsNoNumber(t *testing.T) {
	type mean struct{ Sum, Count float64 }
	means := state.NewKV[string, mean]("means").Values(serde.JSON[mean]())
	numbers := stream.NewTopic[string, float64]("numbers")
	b := stream.NewBuilder()
	b.Stream(numbers).GroupByKey().Aggregate(means, func() mean { return mean{} }, func(_ string, v float64, m mean) mean {
		return mean{m.Sum + v, m.Count + 1}
	})
	topo, err := b.Build()
	require.NoError(t, err)
	for _, every := range []int{1, 10} {
		d := streamtest.New(t, topo, streamtest.Config{CommitEvery: every, Errors: topology.Errors{Encode: topology.Skip}})
		in := d.Input(numbers)
		for i, v := range []float64{1, math.NaN(), 2} {
			in.Append(0, topology.Record[string, float64]{Key: "k", Value: v, Timestamp: int64(i)})
		}
		d.Run()
		d.Commit()
		m, _ := d.Get(means, "k")
		require.Equal(t, mean{3, 2}, m)
		require.EqualValues(t, 1, d.Dropped(topology.Skipped))
	}
	d := streamtest.New(t, topo, streamtest.Config{})
	err = d.Input(numbers).TrySend("k", math.NaN(), 1)
	require.ErrorContains(t, err, `encode: node aggregate-means (`)
	require.ErrorContains(t, err, `topic numbers partition 0 offset 0: store "means": key "k": encode value: `)
	var unsupported *json.UnsupportedValueError
	require.ErrorAs(t, err, &unsupported)
}

// A record of a time that nobody means is dropped, whatever comes after it: nothing hangs, and nothing panics.
func TestTimesThatNobodyMeans(t *testing.T) {
	count := func(name string) state.Windowed[string, int64] { return state.NewWindowed[string, int64](name) }
	b := stream.NewBuilder()
	s := b.Stream(plain)
	s.To(results)
	groups := s.GroupByKey()
	groups.Windowed(stream.Tumbling(10*time.Second, 0)).Count(count("tumbling"))
	groups.Windowed(stream.Hopping(10*time.Second, time.Second, 0)).Count(count("hopping"))
	groups.Windowed(stream.Sliding(10*time.Second, 0)).Count(count("sliding"))
	groups.Windowed(stream.Unlimited(time.UnixMilli(0))).Count(count("unlimited"))
	groups.Sessions(stream.SessionGap(10*time.Second, time.Second)).Count(state.NewSession[string, int64]("sessions"))
	topo, err := b.Build()
	require.NoError(t, err)
	d := streamtest.New(t, topo, streamtest.Config{})
	in := d.Input(plain)
	for _, at := range []int64{1, math.MaxInt64, math.MaxInt64 - 1, topology.MaxTime + 1, 2, topology.MaxTime} {
		in.Append(0, topology.Record[string, string]{Key: "k", Value: "v", Timestamp: at})
	}
	d.Run()
	require.Len(t, d.Output(results).ReadAll(), 3)
	require.EqualValues(t, 3, d.Dropped(topology.BadTime))
}
