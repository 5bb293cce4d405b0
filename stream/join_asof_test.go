package stream_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"thalweg/state"
	"thalweg/stream"
	"thalweg/stream/streamtest"
)

// asOfModel has all rows of a table and what waits, in lists.
type asOfModel struct {
	after     bool
	max, wait int64
	rows      map[int64]string // of one key: "" is a deletion
	waiting   []int64
	now       int64
	out       []string
}

func (m *asOfModel) row(ts int64) (found string) {
	best := int64(math.MinInt64)
	if m.after {
		best = math.MaxInt64
	}
	for at, row := range m.rows {
		switch {
		case m.after && row != "" && at >= ts && at <= ts+m.max && at < best, !m.after && at <= ts && at > best:
			best, found = at, row
		}
	}
	return found
}

func (m *asOfModel) add(ts int64) {
	m.now = max(m.now, ts)
	if ts < m.now-m.wait {
		m.out = append(m.out, fmt.Sprint(ts, m.row(ts)))
		return
	}
	m.waiting = append(m.waiting, ts)
	slices.Sort(m.waiting)
	for len(m.waiting) > 0 && m.waiting[0] <= m.now-m.wait {
		m.out = append(m.out, fmt.Sprint(m.waiting[0], m.row(m.waiting[0])))
		m.waiting = m.waiting[1:]
	}
}

func TestJoinsAsOfAreThoseOfAModel(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	times := stream.NewTopic[string, int64]("times")
	for i := range 20 {
		m := &asOfModel{after: i%2 > 0, rows: map[int64]string{}}
		grace := rnd.Int64N(20)
		row := stream.AtOrBefore(ms * time.Duration(grace))
		if m.wait = grace; m.after {
			m.max = rnd.Int64N(20)
			m.wait += m.max
			row = stream.AtOrAfter(ms*time.Duration(m.max), ms*time.Duration(grace))
		}
		b := stream.NewBuilder()
		table := b.VersionedTable(others, state.NewVersioned[string, string]("rows", time.Hour))
		b.Stream(times).LeftJoinAsOf(table, row, "waiting", func(ts int64, row *string) string {
			if row == nil {
				return fmt.Sprint(ts)
			}
			return fmt.Sprint(ts, *row)
		}).To(out)
		topo, err := b.Build()
		require.NoError(t, err)
		d := streamtest.New(t, topo, streamtest.Config{CommitEvery: 3})
		base := int64(100)
		for n := range 80 {
			ts := base + rnd.Int64N(20) - 12
			base = max(base, ts)
			switch rnd.IntN(6) {
			case 0:
				m.rows[ts] = ""
				d.Input(others).SendNull("k", ts)
			case 1, 2:
				m.rows[ts] = fmt.Sprintf("row %d", n)
				d.Input(others).Send("k", m.rows[ts], ts)
			default:
				m.add(ts)
				d.Input(times).Send("k", ts, ts)
			}
			if n == 40 {
				d.Commit()
				d.Restart(streamtest.Keep(rnd.IntN(2)))
			}
		}
		d.Commit()
		require.Equal(t, m.out, append([]string(nil), d.Output(out).ReadValues()...))
	}
}
