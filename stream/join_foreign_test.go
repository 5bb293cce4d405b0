package stream_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"thalweg/state"
	"thalweg/stream"
	"thalweg/topology"
)

func foreignKey(_, v string) (string, bool) {
	_, fk, ok := strings.Cut(v, "|")
	return fk, ok
}

func foreign(t *testing.T, left_ bool) *driver {
	t.Helper()
	b := stream.NewBuilder()
	l, r := b.Table(left, lefts), b.Table(right, rights)
	if left_ {
		l.LeftJoinForeign(r, foreignKey, "fk", func(l string, r *string) string { return opt(&l, r) }).ToStream().To(out)
	} else {
		l.JoinForeign(r, foreignKey, "fk", dash).ToStream().To(out)
	}
	return drive(t, b)
}

func TestT20ForeignKeysWithoutAMatch(t *testing.T) {
	steps(t, foreign(t, false), `L l1:v|r1@1 →; L l1:v|r2@2 → l1=∅@2; L l1:v|r3@3 → l1=∅@3; R r1:rv@4 →;
		L l1:v|r1@5 → l1=v|r1-rv@5; L l1:v|r2@6 → l1=∅@6`)
	steps(t, foreign(t, true), `L l1:v|r1@1 → l1=v|r1-null@1; L l1:v|r2@2 → l1=v|r2-null@2;
		L l1:v|r3@3 → l1=v|r3-null@3;
		R r1:rv@4 →; L l1:v|r1@5 → l1=v|r1-rv@5; L l1:v|r2@6 → l1=v|r2-null@6`)
}

func TestT21ForeignKeyJoins(t *testing.T) {
	for _, leftJoin := range []bool{false, true} {
		d := foreign(t, leftJoin)
		gone := func(l string) string {
			if leftJoin {
				return l + "-null"
			}
			return "∅"
		}
		steps(t, d, `R r1:x@1 r2:y@2 r3:z@3 →; L l1:a|r1@4 l2:b|r2@5 → l1=a|r1-x@4 l2=b|r2-y@5;
			L l3:c|r1@6 → l3=c|r1-x@6;
			L l1:∅@7 → l1=∅@7; R r3:zz@8 →; R r1:xx@9 → l3=c|r1-xx@9; R r1:∅@10 → l3=`+gone("c|r1")+`@10;
			L nobody:∅@11 →`)
	}
	steps(t, foreign(t, false), `L l1:a|r1@1 →; L l1:∅@2 → l1=∅@2; L l1:∅@3 →`)
	steps(t, foreign(t, false), `L l1:a|r1@1 l1:a|r2@2; R r1:x@3 r1:y@4 → l1=∅@2`)
	steps(t, foreign(t, false), `R r1:x@1 r2:y@2; L l1:a|r1@3 → l1=a|r1-x@3; L l1:a|r2@4 → l1=a|r2-y@4;
		L l1:a|r1@5 → l1=a|r1-x@5`)
	steps(t, foreign(t, true), `L l1:nothing@1 → l1=nothing-null@1; L l1:a|r1@2 → l1=a|r1-null@2;
		L l1:nothing@3 → l1=nothing-null@3; R r1:x@4 →`)
}

// A change of a row goes once to each of the many rows that name it, in the order of their keys.
func TestForeignKeyWithManySubscribers(t *testing.T) {
	for _, n := range []int{1024, 2500} {
		var rows, results []string
		for i := range n {
			rows = append(rows, fmt.Sprintf("l%05d:a|r1@1", i))
			results = append(results, fmt.Sprintf("l%05d=a|r1-x@2", i))
		}
		steps(t, foreign(t, false), fmt.Sprintf("L %s l0:a|r0@1 l9:a|r2@1 →; R r1:x@2 → %s", strings.Join(rows, " "),
			strings.Join(results, " ")))
	}
}

func TestForeignKeyJoinKeepsItsRowsOnlyWhereTheyAreNeeded(t *testing.T) {
	b := stream.NewBuilder()
	j := b.Table(left, lefts).JoinForeign(b.Table(right, rights), foreignKey, "fk", dash)
	j.GroupBy("by-value", func(k, v string) (string, string) { return v, k }).Count(byWord).ToStream().To(counts)
	d := drive(t, b)
	steps(t, d, `R r:x@1; L a:v|r@2 b:v|r@3; R r:y@4`)
	require.Equal(t, []string{"v|r-x=1@2", "v|r-x=2@3", "v|r-x=1@4", "v|r-y=1@4", "v|r-x=0@4",
		"v|r-y=2@4"}, got(d, counts))

	topo, err := b.Build()
	require.NoError(t, err)
	require.Contains(t, topo.Fingerprint().String(), "keeps fk-result (")
	b = stream.NewBuilder()
	b.Table(left, lefts).JoinForeign(b.Table(right, rights), foreignKey, "fk", dash).
		Materialize(state.NewKV[string, string]("mine")).ToStream().To(out)
	topo, err = b.Build()
	require.NoError(t, err)
	require.NotContains(t, topo.Fingerprint().String(), "fk-result")
}

// A response for a joined row that has changed since is stale: the other side is not read for it, and can't fail.
func TestForeignKeyJoinReadsNothingForAChangedRow(t *testing.T) {
	third := stream.NewTopic[string, string]("third")
	b, broken := stream.NewBuilder(), false
	other := b.Table(third, state.NewKV[string, string]("thirds")).Try().
		MapValues(func(_ *stream.Call, _, v string) (string, error) {
			if broken {
				return "", errBad
			}
			return v, nil
		})
	l := b.Table(left, lefts).OuterJoin(other, func(l, o *string) string { return opt(l, o) + "|r1" })
	l.JoinForeign(b.Table(right, rights), foreignKey, "fk", dash).ToStream().To(out)
	d := drive(t, b)
	put(d, right, "r1", "x", 1)
	put(d, third, "l1", "o", 2)
	d.manual = true
	put(d, left, "l1", "a", 3)
	d.commit()                 // sends the subscription
	broken = true              // from here on only the response could read the other side
	put(d, left, "l1", "b", 4) // changes the row before the subscription's response comes
	require.Equal(t, int64(1), d.dropped(topology.Stale))
	broken = false
	d.commit()
	put(d, left, "l2", "c", 5)
	require.Contains(t, got(d, out), "l1=b-o|r1-x@4")
}
