package stream_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"thalweg/serde"
	"thalweg/stream"
	"thalweg/stream/streamtest"
)

// bounded is a value that bounds the times of those that it meets; a zero is no bound.
type bounded struct {
	Name     string
	From, To int64
}

func (b bounded) span() (from, to time.Time) {
	if b.From != 0 {
		from = time.UnixMilli(b.From)
	}
	if b.To != 0 {
		to = time.UnixMilli(b.To)
	}
	return from, to
}

func (b bounded) takes(ts int64) bool {
	return (b.From == 0 || ts >= b.From) && (b.To == 0 || ts <= b.To)
}

var (
	boundedLeft  = stream.NewTopic[string, bounded]("left").Values(serde.JSON[bounded]())
	boundedRight = stream.NewTopic[string, bounded]("right").Values(serde.JSON[bounded]())
)

func meeting(l, r *bounded) string {
	name := func(b *bounded) string {
		if b == nil {
			return "-"
		}
		return b.Name
	}
	return name(l) + "+" + name(r)
}

// met is a record in the model.
type met struct {
	bounded
	key        string
	ts         int64
	alone, met bool
}

// joinModel joins records as they come, by lists: side 0 is the left one. None may come later than the grace.
type joinModel struct {
	before, after, grace int64
	keep                 [2]bool
	sides                [2][]*met
	newest               [2]int64
	now                  int64
	out                  []string
}

func (m *joinModel) add(side int, r *met) {
	m.now = max(m.now, r.ts)
	reach := [2]int64{m.after, m.before}
	if r.ts == m.now {
		for s := range m.sides {
			for _, o := range m.sides[s] {
				if m.keep[s] && !o.met && !o.alone && o.ts+reach[s]+m.grace < m.now {
					o.alone = true
					m.tell(s, o, nil)
				}
			}
		}
	}
	for _, o := range m.sides[1-side] {
		l, right := r, o
		if side == 1 {
			l, right = o, r
		}
		if l.key == right.key && right.ts >= l.ts-m.before && right.ts <= l.ts+m.after && l.takes(right.ts) &&
			right.takes(l.ts) && o.ts > m.newest[1-side]-m.before-m.after-m.grace {
			r.met, o.met = true, true
			m.tell(0, l, right)
		}
	}
	if !r.met && m.keep[side] && r.ts+reach[side] < m.now {
		r.alone = true
		m.tell(side, r, nil)
	}
	m.sides[side] = append(m.sides[side], r)
	m.newest[side] = max(m.newest[side], r.ts)
}

func (m *joinModel) tell(side int, r, o *met) {
	switch {
	case o != nil:
		m.out = append(m.out, r.key+"="+meeting(&r.bounded, &o.bounded))
	case side == 0:
		m.out = append(m.out, r.key+"="+meeting(&r.bounded, nil))
	default:
		m.out = append(m.out, r.key+"="+meeting(nil, &r.bounded))
	}
}

func TestRowsBoundWhatTheyMeetAsInAModel(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	for _, kind := range []string{"inner", "left", "outer"} {
		for _, sides := range []string{"left", "right", "both"} {
			for range 5 {
				t.Run(kind+" "+sides, func(t *testing.T) { joinAsModel(t, rnd, kind, sides) })
			}
		}
	}
}

func joinAsModel(t *testing.T, rnd *rand.Rand, kind, sides string) {
	m := &joinModel{before: rnd.Int64N(30), after: rnd.Int64N(30), grace: rnd.Int64N(40)}
	m.keep = [2]bool{kind != "inner", kind == "outer"}
	w := stream.Around(0, ms*time.Duration(m.grace)).Before(ms * time.Duration(m.before)).
		After(ms * time.Duration(m.after))
	if sides != "right" {
		w = w.BoundedByLeft(bounded.span)
	}
	if sides != "left" {
		w = w.BoundedByRight(bounded.span)
	}
	b := stream.NewBuilder()
	l, r := b.Stream(boundedLeft), b.Stream(boundedRight)
	var joined stream.Stream[string, string]
	switch kind {
	case "inner":
		joined = l.Join(r, w, "j", func(l, r bounded) string { return meeting(&l, &r) })
	case "left":
		joined = l.LeftJoin(r, w, "j", func(l bounded, r *bounded) string { return meeting(&l, r) })
	case "outer":
		joined = l.OuterJoin(r, w, "j", meeting)
	}
	joined.To(out)
	topo, err := b.Build()
	require.NoError(t, err)
	d := streamtest.New(t, topo, streamtest.Config{CommitEvery: 4})
	base := int64(1000)
	for i := range 120 {
		side := rnd.IntN(2)
		r := &met{key: string(rune('a' + rnd.IntN(2))), ts: base + rnd.Int64N(12) - rnd.Int64N(m.grace+1)}
		r.Name = fmt.Sprint("lr"[side:side+1], i)
		if sides == "both" || (sides == "left") == (side == 0) {
			if rnd.IntN(4) > 0 {
				r.From = r.ts - rnd.Int64N(20)
			}
			if rnd.IntN(4) > 0 {
				r.To = r.ts + rnd.Int64N(30) - 10
			}
		}
		base = max(base, r.ts)
		m.add(side, r)
		d.Input([]stream.Topic[string, bounded]{boundedLeft, boundedRight}[side]).Send(r.key, r.bounded, r.ts)
		if i == 50 {
			d.Commit()
			d.Restart(streamtest.Keep(rnd.IntN(2)))
		}
	}
	last := &met{key: "end", ts: base + 1000}
	m.add(0, last)
	d.Input(boundedLeft).Send(last.key, last.bounded, last.ts)
	d.Commit()
	got := []string{}
	for _, line := range d.Output(out).ReadStrings() {
		line, _, _ = strings.Cut(line, "@")
		got = append(got, line)
	}
	slices.Sort(got)
	slices.Sort(m.out)
	require.Equal(t, m.out, got)
}

func TestBoundsThatCantBeAreRefused(t *testing.T) {
	b := stream.NewBuilder()
	l, r := b.Stream(boundedLeft), b.Stream(boundedRight)
	f := func(l, r bounded) string { return meeting(&l, &r) }
	w := stream.Around(time.Second, 0)
	l.Join(r, w.BoundedByLeft(func(string) (from, to time.Time) { return from, to }), "a", f)
	l.Join(r, w.BoundedByRight[bounded](nil), "b", f)
	_, err := b.Build()
	for _, want := range []string{
		"Join: BoundedByLeft bounds other values than those of the stream, which are stream_test.bounded",
		"Join: BoundedByRight has no function",
	} {
		require.ErrorContains(t, err, want)
	}
}
