package stream_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"thalweg/state"
	"thalweg/stream"
)

var (
	left   = stream.NewTopic[string, string]("left")
	right  = stream.NewTopic[string, string]("right")
	lefts  = state.NewKV[string, string]("lefts")
	rights = state.NewKV[string, string]("rights")
)

func dash[V any](l, r V) string { return fmt.Sprint(l, "-", r) }

func opt(l, r *string) string {
	show := func(s *string) string {
		if s == nil {
			return "null"
		}
		return *s
	}
	return show(l) + "-" + show(r)
}

// i23 feeds Kafka's shared input of its join tests and returns, per input from 1, what came out of the topic "out".
func i23(d *driver) map[int]string {
	results := map[int]string{}
	for i, step := range strings.Fields("L:@1 R:@2 L:A@3 R:a@4 L:B@5 R:b@6 L:@7 R:@8 L:C@9 R:c@10 R:@11 L:@12 R:@13 " +
		"R:d@7 L:D@6 L:@2 R:@3 R:e@14 L:E@15 L:@10 R:@9 L:F@4 R:f@3") {
		var ts int64
		side, rest, _ := strings.Cut(step, ":")
		value, at, _ := strings.Cut(rest, "@")
		_, err := fmt.Sscan(at, &ts)
		require.NoError(d.t, err)
		topic := map[string]stream.Topic[string, string]{"L": left, "R": right}[side]
		if value == "" {
			del(d, topic, "k", ts)
		} else {
			put(d, topic, "k", value, ts)
		}
		if out := got(d, out); len(out) > 0 {
			results[i+1] = strings.ReplaceAll(strings.Join(out, " "), "k=", "")
		}
	}
	return results
}

func TestT1TableTableJoins(t *testing.T) {
	for kind, want := range map[string]map[int]string{
		"inner": {4: "A-a@4", 5: "B-a@5", 6: "B-b@6", 7: "∅@7", 10: "C-c@10", 11: "∅@11", 15: "D-d@7", 16: "∅@7",
			19: "E-e@15", 20: "∅@14", 23: "F-f@4"},
		"left": {3: "A-null@3", 4: "A-a@4", 5: "B-a@5", 6: "B-b@6", 7: "∅@7", 9: "C-null@9", 10: "C-c@10", 11: "C-null@11",
			12: "∅@12", 15: "D-d@7", 16: "∅@7", 19: "E-e@15", 20: "∅@14", 22: "F-null@4", 23: "F-f@4"},
		"outer": {3: "A-null@3", 4: "A-a@4", 5: "B-a@5", 6: "B-b@6", 7: "null-b@7", 8: "∅@8", 9: "C-null@9", 10: "C-c@10",
			11: "C-null@11", 12: "∅@12", 14: "null-d@7", 15: "D-d@7", 16: "null-d@7", 17: "∅@3", 18: "null-e@14",
			19: "E-e@15", 20: "null-e@14", 21: "∅@9", 22: "F-null@4", 23: "F-f@4"},
	} {
		t.Run(kind, func(t *testing.T) {
			b := stream.NewBuilder()
			l, r := b.Table(left, lefts).Emit(stream.OnUpdate), b.Table(right, rights).Emit(stream.OnUpdate)
			switch kind {
			case "inner":
				l.Join(r, dash).ToStream().To(out)
			case "left":
				l.LeftJoin(r, func(l string, r *string) string { return opt(&l, r) }).ToStream().To(out)
			case "outer":
				l.OuterJoin(r, opt).ToStream().To(out)
			}
			require.Equal(t, want, i23(drive(t, b)))
		})
	}
}

func TestT3TableTableJoinTakesTheHigherTime(t *testing.T) {
	b := stream.NewBuilder()
	l, r := b.Table(left, lefts).Emit(stream.OnUpdate), b.Table(right, rights).Emit(stream.OnUpdate)
	l.LeftJoin(r, func(l string, r *string) string { return opt(&l, r) }).ToStream().To(out)
	d := drive(t, b)
	put(d, left, "0", "X0", 5)
	put(d, left, "1", "X1", 6)
	put(d, right, "0", "Y0", 0)
	put(d, right, "1", "Y1", 10)
	put(d, left, "1", "XX1", 7)
	del(d, right, "1", 7)
	del(d, left, "0", 0)
	del(d, left, "0", 1)
	require.Equal(t, []string{"0=X0-null@5", "1=X1-null@6", "0=X0-Y0@5", "1=X1-Y1@10", "1=XX1-Y1@10", "1=XX1-null@7",
		"0=∅@0", "0=∅@1"}, got(d, out))
}

func TestT5StreamTableJoin(t *testing.T) {
	b := stream.NewBuilder()
	b.Stream(left).JoinTable(b.Table(right, rights), dash).To(out)
	require.Equal(t, map[int]string{5: "B-a@5", 15: "D-d@6", 19: "E-e@15"}, i23(drive(t, b)))

	b = stream.NewBuilder()
	b.Stream(left).LeftJoinTable(b.Table(right, rights), func(l string, r *string) string { return opt(&l, r) }).To(out)
	d := drive(t, b)
	require.Equal(t, map[int]string{3: "A-null@3", 5: "B-a@5", 9: "C-null@9", 15: "D-d@6", 19: "E-e@15", 22: "F-null@4"},
		i23(d))
	d.pipe("left", raw{nil, []byte("x"), 30})
	require.Equal(t, []string{"∅=x-null@30"}, got(d, out), "T-28: a left join takes null keys")
}

func TestJoinsReadTablesWithoutAStoreThroughTheirFunctions(t *testing.T) {
	b := stream.NewBuilder()
	r := b.Table(right, rights).MapValues(strings.ToUpper).Filter(func(_, v string) bool { return v != "NO" })
	b.Stream(left).JoinTable(r, dash).To(out)
	both := b.Table(stream.NewTopic[string, string]("third"), lefts).Join(r, dash)
	b.Stream(left).JoinTable(both, dash).To(stream.NewTopic[string, string]("both"))
	d := drive(t, b)
	put(d, right, "k", "yes", 1)
	put(d, left, "k", "l", 2)
	put(d, right, "k", "no", 3)
	put(d, left, "k", "l", 4)
	put(d, right, "k", "yes", 5)
	put(d, stream.NewTopic[string, string]("third"), "k", "3", 6)
	put(d, left, "k", "l", 7)
	require.Equal(t, []string{"k=l-YES@2", "k=l-YES@7"}, got(d, out))
	require.Equal(t, []string{"k=l-3-YES@7"}, got(d, stream.NewTopic[string, string]("both")))
}

// What a table makes of no row has no time of its own, whatever was between it and the store.
func TestRowsMadeOfNoneHaveNoTime(t *testing.T) {
	isYes := func(_, v string) bool { return v == "yes" }
	show := func(_ string, v *string) string { return opt(v, nil) }
	for name, shown := range map[string]func(rows stream.Table[string, string]) stream.Table[string, string]{
		"filter": func(rows stream.Table[string, string]) stream.Table[string, string] {
			return rows.Filter(isYes)
		},
		"filter and map": func(rows stream.Table[string, string]) stream.Table[string, string] {
			return rows.Filter(isYes).MapValues(strings.ToUpper)
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := stream.NewBuilder()
			b.Table(left, lefts).Join(shown(b.Table(right, rights)).TransformValues(show), dash).ToStream().To(out)
			d := drive(t, b)
			put(d, right, "k", "no", 9)
			put(d, left, "k", "l", 5)
			require.Equal(t, []string{"k=l-null-null@5"}, got(d, out))
		})
	}
}

func TestJoinedInputsAreCopartitioned(t *testing.T) {
	b := stream.NewBuilder()
	b.Stream(left).SelectKey(func(_, v string) string { return v }).Repartition("again").Partitions(3).
		JoinTable(b.Stream(right).Repartition("more").Partitions(4).ToTable(rights), dash).To(out)
	_, err := b.Build()
	require.ErrorContains(t, err, "records that meet by key need equal partition counts")

	b = stream.NewBuilder()
	b.Stream(left).SelectKey(func(_, v string) string { return v }).JoinTable(b.Table(right, rights), dash)
	_, err = b.Build()
	require.ErrorContains(t, err, "JoinTable brings equal keys together, but SelectKey (")
}

func TestT17AggregateTableTakesTheOldRowOut(t *testing.T) {
	b := stream.NewBuilder()
	add := func(_, v, a string) string { return a + "+" + v }
	sub := func(_, v, a string) string { return a + "-" + v }
	b.Table(in, lefts).GroupBy("same", func(k, v string) (string, string) { return k, v }).
		Aggregate(rights, func() string { return "0" }, add, sub).ToStream().To(out)
	d := drive(t, b)
	for i, step := range []struct {
		key, value string
		ts         int64
		want       string
	}{
		{"A", "1", 10, "A=0+1@10"}, {"B", "2", 15, "B=0+2@15"}, {"A", "3", 20, "A=0+1-1+3@20"},
		{"B", "4", 18, "B=0+2-2+4@18"}, {"C", "5", 5, "C=0+5@5"}, {"D", "6", 25, "D=0+6@25"},
		{"B", "7", 15, "B=0+2-2+4-4+7@18"}, {"C", "8", 10, "C=0+5-5+8@10"},
	} {
		put(d, in, step.key, step.value, step.ts)
		require.Equal(t, []string{step.want}, got(d, out), i)
	}
}

func TestT18RowsMoveBetweenGroups(t *testing.T) {
	some := func(s string) *string { return &s }
	b := stream.NewBuilder()
	pin := stream.NewTopic[string, *string]("in")
	b.Table(pin, state.NewKV[string, *string]("rows")).GroupBy("by-value", func(k string, v *string) (*string, *string) {
		switch k {
		case "null":
			return nil, v
		case "NULL":
			return nil, nil
		}
		return v, v
	}).Aggregate(state.NewKV[*string, string]("sums"), func() string { return "0" },
		func(_, v *string, a string) string { return a + "+" + *v },
		func(_, v *string, a string) string { return a + "-" + *v },
	).ToStream().Map(func(k *string, v string) (string, string) { return *k, v }).To(out)
	d := drive(t, b)
	var results []string
	for _, r := range []struct {
		key   string
		value *string
		ts    int64
	}{{"A", some("1"), 10}, {"A", nil, 15}, {"A", some("1"), 12}, {"B", some("2"), 20}, {"null", some("3"), 25},
		{"B", some("4"), 23}, {"NULL", some("5"), 24}, {"B", some("7"), 22}} {
		if r.value == nil {
			del(d, pin, r.key, r.ts)
		} else {
			put(d, pin, r.key, r.value, r.ts)
		}
		results = append(results, got(d, out)...)
	}
	require.Equal(t, []string{"1=0+1@10", "1=0+1-1@15", "1=0+1-1+1@15", "2=0+2@20", "2=0+2-2@23", "4=0+4@23",
		"4=0+4-4@23", "7=0+7@22"}, results)
}

func TestT18RemoveOldBeforeAddNewAndCount(t *testing.T) {
	b := stream.NewBuilder()
	rows := b.Table(in, lefts)
	rows.GroupBy("first", func(k, _ string) (string, string) { return k[:1], k[1:] }).
		Aggregate(rights, func() string { return "" }, func(_, v, a string) string { return a + v },
			func(_, v, a string) string { return strings.ReplaceAll(a, v, "") }).ToStream().To(out)
	d := drive(t, b)
	put(d, in, "11", "A", 10)
	put(d, in, "12", "B", 8)
	del(d, in, "11", 12)
	put(d, in, "12", "C", 6)
	require.Equal(t, []string{"1=1@10", "1=12@10", "1=2@12", "1=2@12"}, got(d, out))

	b = stream.NewBuilder()
	b.Table(in, lefts).GroupBy("colours", func(_, v string) (string, string) { return v, v }).Count(byWord).
		ToStream().To(counts)
	d = drive(t, b)
	put(d, in, "A", "green", 10)
	put(d, in, "B", "green", 9)
	put(d, in, "A", "blue", 12)
	put(d, in, "C", "yellow", 15)
	put(d, in, "D", "green", 11)
	require.Equal(t, []string{"green=1@10", "green=2@10", "green=1@12", "blue=1@12", "yellow=1@15", "green=2@12"},
		got(d, counts))
}

func TestReduceTable(t *testing.T) {
	b := stream.NewBuilder()
	b.Table(numbers, byWord).GroupBy("first", func(k string, n int64) (string, int64) { return k[:1], n }).
		Reduce(state.NewKV[string, int64]("r"), func(a, n int64) int64 { return a + n },
			func(a, n int64) int64 { return a - n }).
		ToStream().To(sums)
	d := drive(t, b)
	put(d, numbers, "a1", 5, 1)
	put(d, numbers, "a2", 7, 2)
	put(d, numbers, "a1", 1, 3)
	del(d, numbers, "a2", 4)
	require.Equal(t, []string{"a=5@1", "a=12@2", "a=8@3", "a=1@4"}, got(d, sums))
}
