package stream_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"thalweg/state"
	"thalweg/stream"
	"thalweg/stream/streamtest"
	"thalweg/topology"
)

// lenient starts a program that skips what fails. It counts the failures.
func lenient(t *testing.T, b *stream.Builder, failed *int) *streamtest.Driver {
	d := open(b, streamtest.Config{Errors: topology.Errors{Handle: func(e *topology.ProcessingError) topology.Action {
		require.ErrorIs(t, e, errBad)
		*failed++
		return topology.Skip
	}}})
	t.Cleanup(d.Close)
	return d
}

// good fails for values that begin with "bad".
func good(_ *stream.Call, _, v string) (string, error) {
	if strings.HasPrefix(v, "bad") {
		return "", errBad
	}
	return v, nil
}

// A row for which a function fails is none for what comes after, so that aggregates of tables stay right.
func TestRowsThatFailAreNone(t *testing.T) {
	byValue := func(_, v string) (string, string) { return v, v }
	for name, grouped := range map[string]func(stream.Table[string, string]) stream.GroupedTable[string, string]{
		"map": func(t stream.Table[string, string]) stream.GroupedTable[string, string] {
			return t.Try().MapValues(good).GroupBy("groups", byValue)
		},
		"filter": func(t stream.Table[string, string]) stream.GroupedTable[string, string] {
			return t.Try().Filter(func(c *stream.Call, k, v string) (bool, error) {
				_, err := good(c, k, v)
				return true, err
			}).GroupBy("groups", byValue)
		},
		"transform": func(t stream.Table[string, string]) stream.GroupedTable[string, string] {
			return t.Try().TransformValues(func(c *stream.Call, k string, v *string) (string, error) {
				if v == nil {
					return "none", nil
				}
				return good(c, k, *v)
			}).GroupBy("groups", byValue)
		},
		"group": func(t stream.Table[string, string]) stream.GroupedTable[string, string] {
			return t.Try().GroupBy("groups", func(c *stream.Call, k, v string) (string, string, error) {
				v, err := good(c, k, v)
				return v, v, err
			})
		},
		"panic": func(t stream.Table[string, string]) stream.GroupedTable[string, string] {
			return t.GroupBy("groups", func(_, v string) (string, string) {
				if _, err := good(nil, "", v); err != nil {
					panic(err)
				}
				return v, v
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			failed, b, counts := 0, stream.NewBuilder(), state.NewKV[string, int64]("counts")
			grouped(b.Table(in, state.NewKV[string, string]("rows"))).Count(counts)
			d := lenient(t, b, &failed)
			count := func(want int64) {
				t.Helper()
				n, _ := d.Get(counts, "a")
				require.Equal(t, want, n)
			}
			input := d.Input(in)
			input.Send("1", "a", 1)
			input.Send("2", "a", 2)
			count(2)
			input.Send("1", "bad", 3)
			count(1)
			input.Send("1", "a", 4)
			count(2)
			input.Send("1", "bad", 5)
			input.SendNull("1", 6)
			count(1)
			require.Equal(t, 4, failed, "each bad row as the new one, and as the old one")
		})
	}
}

// Of a change, what can be done is done: a row that was never added is not taken out.
func TestAggregatesOfTablesGoOnPastRowsThatFail(t *testing.T) {
	failed, b, all := 0, stream.NewBuilder(), state.NewKV[string, string]("all")
	add := func(c *stream.Call, k, v, all string) (string, error) {
		v, err := good(c, k, v)
		return all + v, err
	}
	sub := func(c *stream.Call, k, v, all string) (string, error) {
		v, err := good(c, k, v)
		return strings.Replace(all, v, "", 1), err
	}
	b.Table(in, state.NewKV[string, string]("rows")).
		GroupBy("groups", func(_, v string) (string, string) { return "all", v }).Try().
		Aggregate(all, noText, add, sub).ToStream().To(out)
	d := lenient(t, b, &failed)
	input := d.Input(in)
	for i, v := range []string{"a", "bad", "b"} {
		input.Send("1", v, int64(i))
	}
	require.Equal(t, []string{"all=a@0", "all=@1", "all=b@2"}, d.Output(out).ReadStrings())
	require.Equal(t, 2, failed)
}

func TestJoinsOfTablesGoOnPastRowsThatFail(t *testing.T) {
	failed, b := 0, stream.NewBuilder()
	l, r := b.Table(in, state.NewKV[string, string]("left")), b.Table(others, state.NewKV[string, string]("right"))
	l.Try().MapValues(good).Try().Join(r, func(c *stream.Call, k, l, r string) (string, error) {
		if _, err := good(c, k, r); err != nil {
			return "", err
		}
		return pair(l, r), nil
	}).ToStream().To(out)
	d := lenient(t, b, &failed)
	d.Input(in).Send("k", "l", 1)
	d.Input(others).Send("k", "r", 2)
	d.Input(others).Send("k", "bad", 3) // fails in the join
	d.Input(others).Send("k", "r2", 4)
	d.Input(in).Send("k", "bad", 5)    // fails in the map
	d.Input(others).Send("k", "r3", 6) // and again, where the right side reads it
	d.Input(in).Send("k", "l2", 7)
	require.Equal(t, []string{"k=l with r@2", "k=~@3", "k=l with r2@4", "k=~@5", "k=l2 with r3@7"},
		d.Output(out).ReadStrings())
	require.Equal(t, 3, failed)
}

func TestForeignKeyJoinsGoOnPastRowsThatFail(t *testing.T) {
	for _, left := range []bool{false, true} {
		failed, b := 0, stream.NewBuilder()
		l, r := b.Table(in, state.NewKV[string, string]("left")), b.Table(others, state.NewKV[string, string]("right"))
		key := func(c *stream.Call, k, v string) (string, bool, error) {
			v, err := good(c, k, v)
			return v, true, err
		}
		join := func(c *stream.Call, k, l string, r *string) (string, error) {
			if r != nil && *r == "bad" {
				return "", errBad
			}
			return both(&l, r), nil
		}
		if left {
			l.Try().LeftJoinForeign(r, key, "fk", join).ToStream().To(out)
		} else {
			l.Try().JoinForeign(r, key, "fk", func(c *stream.Call, k, l, r string) (string, error) {
				return join(c, k, l, &r)
			}).ToStream().To(out)
		}
		d := lenient(t, b, &failed)
		d.Input(others).Send("x", "r", 1)
		d.Input(in).Send("k", "x", 2)
		d.Input(in).Send("k", "bad", 3)     // names no key
		d.Input(in).Send("k", "x", 4)       // the row before it neither
		d.Input(others).Send("x", "bad", 5) // no result
		d.Input(others).Send("x", "r2", 6)
		nothing := "k=~@3"
		if left {
			nothing = "k=bad with nothing@3"
		}
		require.Equal(t, []string{"k=x with r@2", nothing, "k=x with r@4", "k=~@5", "k=x with r2@6"},
			d.Output(out).ReadStrings())
		require.Equal(t, 3, failed)
	}
}

// Records that have waited fail for themselves: neither those beside them nor the one that let them go.
func TestRecordsThatWaitedFailForThemselves(t *testing.T) {
	failed, b := 0, stream.NewBuilder()
	b.Stream(in).Try().LeftJoin(b.Stream(others), stream.Around(5*tick, 0), "meetings",
		func(c *stream.Call, k, l string, r *string) (string, error) {
			l, err := good(c, k, l)
			return both(&l, r), err
		}).To(out)
	d := lenient(t, b, &failed)
	input := d.Input(in)
	for i, v := range []string{"a", "bad", "b"} {
		input.Send("k", v, int64(10+i))
	}
	input.Send("k", "c", 100)
	input.Send("k", "d", 200)
	require.Equal(t, []string{"k=a with nothing@10", "k=b with nothing@12", "k=c with nothing@100"},
		d.Output(out).ReadStrings())
	require.Equal(t, 1, failed)

	failed, b = 0, stream.NewBuilder()
	table := b.VersionedTable(others, state.NewVersioned[string, string]("prices", time.Hour))
	var calls []topology.Metadata
	join := func(c *stream.Call, k, l, r string) (string, error) {
		calls = append(calls, topology.Metadata{Topic: c.Topic(), Partition: c.Partition(), Offset: c.Offset()})
		l, err := good(c, k, l)
		return pair(l, r), err
	}
	b.Stream(in).Try().JoinAsOf(table, stream.AtOrBefore(10*tick), "waiting", join).To(out)
	d = lenient(t, b, &failed)
	d.Input(others).Send("k", "row", 1)
	input = d.Input(in)
	for i, v := range []string{"a", "bad", "b"} {
		input.Send("k", v, int64(10+i))
	}
	input.Send("k", "c", 100)
	require.Equal(t, []string{"k=a with row@10", "k=b with row@12"}, d.Output(out).ReadStrings())
	require.Equal(t, 1, failed)
	require.Equal(t, []topology.Metadata{{Topic: "in"}, {Topic: "in", Offset: 1}, {Topic: "in", Offset: 2}}, calls,
		"the calls are the records that waited")
}

// The dead letter of a record that has waited is not the record that let it go, which goes on.
func TestLettersOfRecordsThatWaited(t *testing.T) {
	b := stream.NewBuilder()
	b.Stream(in).Try().LeftJoin(b.Stream(others), stream.Around(5*tick, 0), "meetings",
		func(c *stream.Call, k, l string, r *string) (string, error) {
			l, err := good(c, k, l)
			return fmt.Sprint(both(&l, r), " by ", c.Offset()), err
		}).To(out)
	d := open(b, streamtest.Config{Errors: topology.Errors{Process: topology.DeadLetter, DeadLetters: "dead"}})
	defer d.Close()
	for i, v := range []string{"a", "bad", "b", "c"} {
		d.Input(in).Send("k", v, int64(100*i))
	}
	require.Equal(t, []string{"k=a with nothing by 1@0", "k=b with nothing by 3@200"}, d.Output(out).ReadStrings())
	letters := d.Written("dead")
	require.Len(t, letters, 1)
	require.Nil(t, letters[0].Value)
	require.EqualValues(t, 100, letters[0].Timestamp)
}

// A batch fails as a whole, and alone where time closes several.
func TestBatchesFailAsAWhole(t *testing.T) {
	failed, b := 0, stream.NewBuilder()
	b.Stream(in).Try().Batch(2, 0, "batches", func(c *stream.Call, k string, vs []string) (string, error) {
		return good(c, k, strings.Join(vs, ","))
	}).To(out)
	d := lenient(t, b, &failed)
	for i, v := range []string{"bad", "a", "b", "c"} {
		d.Input(in).Send("k", v, int64(i))
	}
	require.Equal(t, []string{"k=b,c@3"}, d.Output(out).ReadStrings())
	require.Equal(t, 1, failed)

	failed, b = 0, stream.NewBuilder()
	b.Stream(in).Try().Batch(2, time.Second, "batches", func(c *stream.Call, k string, vs []string) (string, error) {
		require.EqualValues(t, -1, c.Offset())
		return good(c, k, strings.Join(vs, ","))
	}).To(out)
	d = lenient(t, b, &failed)
	d.Input(in).Send("k", "bad", 1)
	d.Input(in).Send("l", "a", 2)
	d.AdvanceWallClock(2 * time.Second)
	require.Equal(t, []string{"l=a@2"}, d.Output(out).ReadStrings())
	require.Equal(t, 1, failed)
}

// Where a commit emits, there is no record: the call says so, and its failure stops the program like any other.
func TestCallsOutsideOfRecords(t *testing.T) {
	b := stream.NewBuilder()
	var calls []topology.Metadata
	var fail error
	words := b.Stream(in).GroupByKey().Emit(stream.OnCommit).Count(byWord)
	words.Try().MapValues(func(c *stream.Call, _ string, n int64) (int64, error) {
		calls = append(calls, topology.Metadata{Topic: c.Topic(), Partition: c.Partition(), Offset: c.Offset()})
		require.EqualValues(t, 7, c.Timestamp())
		require.Nil(t, c.Headers())
		return n, fail
	}).ToStream().To(sums)
	d := open(b, streamtest.Config{})
	defer d.Close()
	record := topology.Record[string, string]{
		Key: "k", Timestamp: 7, Headers: []topology.Header{{Key: "h"}},
	}
	d.Input(in).SendRecord(record)
	require.Equal(t, []topology.Metadata{{Partition: -1, Offset: -1}}, calls)
	fail = errors.New("boom")
	err := d.Input(in).TrySendRecord(record)
	require.ErrorIs(t, err, fail)
	var failure *topology.ProcessingError
	require.ErrorAs(t, err, &failure)
	require.Equal(t, topology.PhaseProcess, failure.Phase)
	require.Empty(t, failure.Metadata.Topic)
	require.EqualValues(t, 7, failure.Timestamp)
}

// Nulls reach full functions as they reach plain ones.
func TestNullsAndFullFunctions(t *testing.T) {
	pin := stream.NewTopic[string, *string]("in")
	b := stream.NewBuilder()
	var keys []string
	b.Stream(pin).Try().MapValues(func(_ *stream.Call, key string, v *string) (string, error) {
		if keys = append(keys, key); v == nil {
			return "was null", nil
		}
		return *v, nil
	}).To(out)
	b.Stream(others).Try().MapValues(good).Try().Filter(func(_ *stream.Call, _, v string) (bool, error) {
		return false, nil
	}).To(out)
	b.Stream(others).Try().SelectKey(good).To(out)
	d := play(b)
	defer d.Close()
	text := "text"
	d.Input(pin).Send("a", &text, 1)
	d.Input(pin).SendNull("b", 2)
	d.Input(pin).SendKeyless(&text, 3)
	d.Input(others).SendNull("c", 4)
	d.Input(others).Send("d", "e", 5)
	require.Equal(t, []string{"a=text@1", "b=was null@2", "~=text@3", "c=~@4", "e=e@5"}, d.Output(out).ReadStrings())
	require.Equal(t, []string{"a", "b", ""}, keys, "a null key is the zero key")
	require.EqualValues(t, 1, d.Dropped(topology.NullValue), "no key is made of a null that the function does not see")
}
