package stream_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"thalweg/state"
	"thalweg/stream"
)

var suppressed = stream.NewTopic[string, int64]("suppressed")

func TestT25aFinalResultsOfWindows(t *testing.T) {
	for name, c := range map[string]struct {
		table func(stream.Grouped[string, string]) stream.WindowTable[string, int64]
		times []int64
		keys  string // "k" where shorter than times
		raw   []string
		want  []string
	}{
		"time windows": {
			table: func(g stream.Grouped[string, string]) stream.WindowTable[string, int64] {
				return g.Windowed(stream.Tumbling(2*ms, 1*ms)).Count(state.NewWindowed[string, int64]("w"))
			},
			times: []int64{0, 1, 2, 1, 0, 5, 0},
			raw:   []string{"k[0/2]=1@0", "k[0/2]=2@1", "k[2/4]=1@2", "k[0/2]=3@1", "k[0/2]=4@1", "k[4/6]=1@5"},
			want:  []string{"k[0/2]=4@1", "k[2/4]=1@2"},
		},
		"large jump": {
			table: func(g stream.Grouped[string, string]) stream.WindowTable[string, int64] {
				return g.Windowed(stream.Tumbling(2*ms, 2*ms)).Count(state.NewWindowed[string, int64]("w"))
			},
			times: []int64{0, 1, 2, 0, 3, 0, 4, 0, 30},
			want:  []string{"k[0/2]=4@1", "k[2/4]=2@3", "k[4/6]=1@4"},
		},
		"sessions": {
			table: func(g stream.Grouped[string, string]) stream.WindowTable[string, int64] {
				return g.Sessions(stream.SessionGap(5*ms, 0)).Count(state.NewSession[string, int64]("s"))
			},
			times: []int64{0, 5, 1, 11, 5, 30}, keys: "kkkjkk",
			want: []string{"k[0/5]=3@5", "j[11/11]=1@11"},
		},
		"sliding windows": {
			table: func(g stream.Grouped[string, string]) stream.WindowTable[string, int64] {
				return g.Windowed(stream.Sliding(5*ms, 15*ms)).Count(state.NewWindowed[string, int64]("w"))
			},
			times: []int64{10, 11, 10, 13, 10, 24, 5, 7, 90},
			want: []string{"k[5/10]=5@10", "k[6/11]=5@11", "k[8/13]=5@13", "k[11/16]=2@13", "k[12/17]=1@13",
				"k[19/24]=1@24"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := stream.NewBuilder()
			w := c.table(b.Stream(in).GroupByKey())
			w.ToStream(shown).To(counts)
			w.Suppress(stream.UntilWindowCloses("final")).ToStream(shown).To(suppressed)
			d := drive(t, b)
			for i, ts := range c.times {
				key := "k"
				if c.keys != "" {
					key = c.keys[i : i+1]
				}
				put(d, in, key, "", ts)
			}
			if c.raw != nil {
				require.Equal(t, c.raw, got(d, counts))
			}
			require.Equal(t, c.want, got(d, suppressed))
		})
	}
}

func TestT25bTimeLimitCountsFromTheFirstChange(t *testing.T) {
	feed := func(p stream.Suppression) *driver {
		b := stream.NewBuilder()
		n := b.Table(in, lefts).GroupBy("by-value", func(_, v string) (string, string) { return v, v }).Count(byWord)
		n.ToStream().To(counts)
		n.Suppress(p).ToStream().To(suppressed)
		d := drive(t, b)
		put(d, in, "k", "v1", 0)
		put(d, in, "k", "v2", 1)
		d.rebuild(b)
		put(d, in, "k2", "v1", 2)
		require.Equal(t, []string{"v1=1@0", "v1=0@1", "v2=1@1", "v1=1@2"}, got(d, counts))
		return d
	}
	d := feed(stream.UntilTimeLimit(2*ms, "held"))
	require.Equal(t, []string{"v1=1@2"}, got(d, suppressed))
	put(d, in, "tick", "tick", 3)
	require.Equal(t, []string{"v2=1@1"}, got(d, suppressed))
	put(d, in, "tick", "tock", 4)
	require.Empty(t, got(d, suppressed))

	d = feed(stream.UntilTimeLimit(time.Hour, "held").RecordsMax(1))
	require.Equal(t, []string{"v1=0@1", "v2=1@1"}, got(d, suppressed))
	put(d, in, "x", "x", 3)
	require.Equal(t, []string{"v1=1@2"}, got(d, suppressed))
}

func TestT14JoinsSeeWhatWentOnBefore(t *testing.T) {
	b := stream.NewBuilder()
	r := b.Table(right, rights).Suppress(stream.UntilTimeLimit(10*ms, "held"))
	b.Table(left, lefts).OuterJoin(r, opt).ToStream().To(out)
	steps(t, drive(t, b), `R B:1@0 A:1@0 →; R tick:tick@10 → A=null-1@0 B=null-1@0; R A:2@11 →;
		L A:a@12 → A=a-1@12;
		L B:b@12 → B=b-1@12; L A:b@13 → A=b-1@13; R tick1:tick1@21 → tick=null-tick@10 A=b-2@13`)
}

func TestSuppressionsThatCantBeAreRefused(t *testing.T) {
	b := stream.NewBuilder()
	table := b.Table(in, lefts)
	table.Suppress(stream.UntilWindowCloses("a"))
	table.Suppress(stream.UntilTimeLimit(-1, "b"))
	table.Suppress(stream.UntilTimeLimit(1, ""))
	b.Stream(in).GroupByKey().Windowed(stream.Unlimited(time.UnixMilli(0))).Count(state.NewWindowed[string, int64]("w")).
		Suppress(stream.UntilWindowCloses("c"))
	_, err := b.Build()
	for _, want := range []string{"only windows close", "a limit of -1ns", "the name is empty",
		"an unlimited window never"} {
		require.ErrorContains(t, err, want)
	}
}
