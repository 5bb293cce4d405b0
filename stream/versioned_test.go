package stream_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"thalweg/state"
	"thalweg/stream"
	"thalweg/topology"
)

func versioned(name string) state.Versioned[string, string] {
	return state.NewVersioned[string, string](name, 5*time.Minute)
}

func TestT2JoinsOfVersionedTables(t *testing.T) {
	for kind, want := range map[string]map[int]string{
		"inner": {4: "A-a@4", 5: "B-a@5", 6: "B-b@6", 7: "∅@7", 10: "C-c@10", 11: "∅@11", 19: "E-e@15"},
		"left": {3: "A-null@3", 4: "A-a@4", 5: "B-a@5", 6: "B-b@6", 7: "∅@7", 9: "C-null@9", 10: "C-c@10",
			11: "C-null@11", 12: "∅@12", 19: "E-e@15"},
		"outer": {3: "A-null@3", 4: "A-a@4", 5: "B-a@5", 6: "B-b@6", 7: "null-b@7", 8: "∅@8", 9: "C-null@9",
			10: "C-c@10", 11: "C-null@11", 12: "∅@12", 18: "null-e@14", 19: "E-e@15"},
		"inner, left versioned": {4: "A-a@4", 5: "B-a@5", 6: "B-b@6", 7: "∅@7", 10: "C-c@10", 11: "∅@11", 19: "E-e@15",
			21: "∅@15", 23: "E-f@15"},
	} {
		t.Run(kind, func(t *testing.T) {
			b := stream.NewBuilder()
			l := b.VersionedTable(left, versioned("l"))
			r := b.Table(right, rights)
			if kind != "inner, left versioned" {
				r = b.VersionedTable(right, versioned("r"))
			}
			switch kind {
			case "left":
				l.LeftJoin(r, func(l string, r *string) string { return opt(&l, r) }).ToStream().To(out)
			case "outer":
				l.OuterJoin(r, opt).ToStream().To(out)
			default:
				l.Join(r, dash).ToStream().To(out)
			}
			require.Equal(t, want, i23(drive(t, b)))
		})
	}
}

func TestT4StreamTableJoinWithGrace(t *testing.T) {
	b := stream.NewBuilder()
	b.Stream(left).JoinAsOf(b.VersionedTable(right, versioned("r")), stream.AtOrBefore(2*ms), "late", dash).To(out)
	require.Equal(t, map[int]string{9: "B-a@5", 15: "D-b@6", 22: "F-a@4"}, i23(drive(t, b)))

	b = stream.NewBuilder()
	b.Stream(left).LeftJoinAsOf(b.VersionedTable(right, versioned("r")), stream.AtOrBefore(2*ms), "late",
		func(l string, r *string) string { return opt(&l, r) }).To(out)
	d := drive(t, b)
	require.Equal(t, map[int]string{5: "A-null@3", 9: "B-a@5", 15: "D-b@6", 19: "C-null@9", 22: "F-a@4"}, i23(d))
	d.pipe("left", raw{nil, []byte("x"), 30})
	require.Equal(t, []string{"∅=x-null@30"}, got(d, out), "S-01: a null key joins null")

	b = stream.NewBuilder()
	b.Stream(left).JoinAsOf(b.VersionedTable(right, versioned("r")), stream.AtOrBefore(2*ms), "late", dash).To(out)
	steps(t, drive(t, b), `R 0:Y0@0 1:Y1@0 2:Y2@0 3:Y3@0; L 0:X0@0 1:X1@1 2:X2@2 3:X3@3 → 0=X0-Y0@0 1=X1-Y1@1; restart;
		R 0:YY0@0 1:YY1@0 2:YY2@0 3:YY3@0; L 0:X0@0 1:X1@1 2:X2@2 3:X3@3 → 0=X0-YY0@0 1=X1-YY1@1;
		L 5:X@7 → 2=X2-YY2@2 2=X2-YY2@2 3=X3-YY3@3 3=X3-YY3@3; L 0:X0@0 → 0=X0-YY0@0`)
}

func TestT5StreamJoinsTheRowOfItsTime(t *testing.T) {
	b := stream.NewBuilder()
	b.Stream(left).JoinTable(b.VersionedTable(right, versioned("r")), dash).To(out)
	require.Equal(t, map[int]string{5: "B-a@5", 15: "D-b@6", 19: "E-e@15", 22: "F-a@4"}, i23(drive(t, b)))
}

func TestT18VersionedRowsOutOfOrderAreInNoGroup(t *testing.T) {
	b := stream.NewBuilder()
	b.VersionedTable(in, versioned("rows")).GroupBy("by-value", func(_, v string) (string, string) { return v, v }).
		Aggregate(rights, func() string { return "0" }, plus, func(_, v, a string) string { return a + "-" + v }).
		ToStream().To(out)
	d := drive(t, b)
	put(d, in, "A", "1", 10)
	del(d, in, "A", 15)
	put(d, in, "A", "1", 12)
	put(d, in, "B", "2", 20)
	put(d, in, "B", "4", 23)
	put(d, in, "B", "7", 22)
	require.Equal(t, []string{"1=0+1@10", "1=0+1-1@15", "2=0+2@20", "2=0+2-2@23", "4=0+4@23"}, got(d, out))
}

func TestT22ForeignKeyJoinsIgnoreStaleRowsOfVersionedTables(t *testing.T) {
	b := stream.NewBuilder()
	b.VersionedTable(left, versioned("l")).
		JoinForeign(b.VersionedTable(right, versioned("r")), foreignKey, "fk", dash).ToStream().To(out)
	d := drive(t, b)
	steps(t, d, `R r1:x@4 →; L l1:a|r1@3 l2:b|r1@5 → l1=a|r1-x@4 l2=b|r1-x@5; L l2:∅@6 → l2=∅@6;
		L l1:ooo|r1@2 l2:ooo|r1@2 →; L l1:∅@2 →; L l1:n|r1@8 l2:n|r1@8 → l1=n|r1-x@8 l2=n|r1-x@8; R r1:ooo@1 →;
		R r1:∅@1 →; R r1:y@6 → l1=n|r1-y@6 l2=n|r1-y@6`)
	require.Equal(t, int64(5), d.dropped(topology.Stale))
}

func TestJoinsAsOfThatCantBeAreRefused(t *testing.T) {
	b := stream.NewBuilder()
	s := b.Stream(left)
	s.JoinAsOf(b.Table(right, rights), stream.AtOrBefore(ms), "a", dash)
	r := b.VersionedTable(right, state.NewVersioned[string, string]("r", 10*ms))
	s.JoinAsOf(r, stream.AtOrBefore(-1), "b", dash)
	s.JoinAsOf(r, stream.AtOrBefore(11*ms), "c", dash)
	s.JoinAsOf(r, stream.AtOrAfter(10*ms, ms), "e", dash)
	s.JoinAsOf(r, stream.AtOrAfter(-1, ms), "f", dash)
	s.JoinAsOf(r.MapValues(func(v string) string { return v }), stream.AtOrAfter(ms, ms), "g", dash)
	r.Suppress(stream.UntilTimeLimit(ms, "d"))
	_, err := b.Build()
	for _, want := range []string{"needs a table that remembers the past", "a grace of -1ns", "remembers only 10ms",
		"a row at most 10ms later and a grace of 1ms, but the table remembers only 10ms", "a row at most -1ns later",
		"AtOrAfter looks into a versioned store, but MapValues",
		"a versioned table can't be held back"} {
		require.ErrorContains(t, err, want)
	}
}
