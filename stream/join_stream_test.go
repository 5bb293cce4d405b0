package stream_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"thalweg/stream"
	"thalweg/topology"
)

// steps feeds "L k:v@ts" and "R k:v@ts" steps, separated by ";", and checks after "→" what came out of each.
func steps(t *testing.T, d *driver, script string) {
	t.Helper()
	for line := range strings.SplitSeq(script, ";") {
		in, want, checks := strings.Cut(line, "→")
		topic := left
		for f := range strings.FieldsSeq(in) {
			switch f {
			case "L":
				topic = left
				continue
			case "R":
				topic = right
				continue
			case "restart":
				d.rebuild(d.builder)
				continue
			}
			var ts int64
			rest, at, _ := strings.Cut(f, "@")
			key, value, _ := strings.Cut(rest, ":")
			_, err := fmt.Sscan(at, &ts)
			require.NoError(t, err, f)
			r := raw{[]byte(key), []byte(value), ts}
			if key == "∅" {
				r.key = nil
			}
			if value == "∅" {
				r.value = nil
			}
			d.pipe(topic.Name(), r)
		}
		if checks {
			require.Equal(t, strings.Fields(want), got(d, out), in)
		}
	}
}

func joined(t *testing.T, kind string, w stream.Within) *driver {
	t.Helper()
	b := stream.NewBuilder()
	l, r := b.Stream(left), b.Stream(right)
	switch kind {
	case "inner":
		l.Join(r, w, "j", dash).To(out)
	case "left":
		l.LeftJoin(r, w, "j", func(l string, r *string) string { return opt(&l, r) }).To(out)
	case "outer":
		l.OuterJoin(r, w, "j", opt).To(out)
	}
	return drive(t, b)
}

func TestT6LeftJoinDuplicates(t *testing.T) {
	d := joined(t, "left", stream.Around(100*ms, 10*ms))
	steps(t, d, `L 0:A0@0 0:A0-0@0; R 1:a0@111; R 2:dummy@500 → 0=A0-null@0 0=A0-0-null@0;
		L 2:A2@1000 2:A2-0@1000; R 2:a2@1001 → 2=A2-a2@1001 2=A2-0-a2@1001; R 3:a3@315 →`)
}

func TestT7ClosedRecordsComeBeforeTheTriggersOwn(t *testing.T) {
	d := joined(t, "left", stream.Around(100*ms, 0))
	steps(t, d, `L 0:A0@0 1:A1@100 →; R 1:a1@110 → 0=A0-null@0 1=A1-a1@110`)
}

func TestT8GraceOfLeftJoin(t *testing.T) {
	d := joined(t, "left", stream.Around(100*ms, 10*ms))
	steps(t, d, `L 0:A0@0 1:A1@0; R 0:a@101 1:a@101 2:a@101 3:a@101 →; R 0:dummy@1201 → 0=A0-null@0 1=A1-null@0`)

	d = joined(t, "left", stream.Around(100*ms, 0))
	steps(t, d, `L 0:A0@1 1:A1@2 0:A0-0@3 →; R 1:a1@3 → 1=A1-a1@3; R 2:dummy@401 → 0=A0-null@1 0=A0-0-null@3;
		L 2:dummy@402 → 2=dummy-dummy@402`)
}

func TestT9AsymmetricLeftJoin(t *testing.T) {
	d := joined(t, "left", stream.Around(100*ms, 0).Before(0))
	steps(t, d, `L 0:A0@0 1:A1@1 →; R 0:a0@100 → 0=A0-a0@100; R 1:a1@102 → 1=A1-null@1`)

	d = joined(t, "left", stream.Around(100*ms, 0).After(0))
	steps(t, d, `L 0:A0@1000 1:A1@1001 2:A2@1002 3:A3@1003 → 0=A0-null@1000 1=A1-null@1001 2=A2-null@1002;
		R 0:a0@999 1:a1@999 2:a2@999 3:a3@999 → 0=A0-a0@1000 1=A1-a1@1001 2=A2-a2@1002 3=A3-a3@1003;
		R 0:b0@1000 1:b1@1000 2:b2@1000 3:b3@1000 → 0=A0-b0@1000 1=A1-b1@1001 2=A2-b2@1002 3=A3-b3@1003;
		R 0:c0@1001 1:c1@1001 2:c2@1001 3:c3@1001 → 1=A1-c1@1001 2=A2-c2@1002 3=A3-c3@1003`)
}

func TestT10AsymmetricOuterJoin(t *testing.T) {
	d := joined(t, "outer", stream.Around(0, 0).Before(5*ms).After(20*ms))
	steps(t, d, `L 0:A0@29 1:A1@30; R 2:12@31; R 3:13@36 →; R 4:14@37 → 2=null-12@31;
		R 5:15@50 → 0=A0-null@29 3=null-13@36 4=null-14@37`)
}

func TestT11OuterJoinDuplicates(t *testing.T) {
	d := joined(t, "outer", stream.Around(100*ms, 10*ms))
	steps(t, d, `L 0:A0@0 0:A0-0@0; R 1:11@0 1:12@0; R 1:10@111 → 1=null-11@0 1=null-12@0 0=A0-null@0 0=A0-0-null@0;
		R 3:100@211 →; L 2:A2@200 2:A2-0@200; R 2:13@201 2:14@201 → 2=A2-13@201 2=A2-0-13@201 2=A2-14@201 2=A2-0-14@201;
		R 3:100@1500 → 1=null-10@111 3=null-100@211`)

	d = joined(t, "outer", stream.Around(100*ms, 10*ms))
	steps(t, d, `L 0:A0@0; R 1:11@0; L 1:A1@101; R 0:10@101 →; R 0:100@112 → 1=null-11@0 0=A0-null@0`)
}

func TestT11bStreamStreamJoins(t *testing.T) {
	feed := `L k:∅@1; R k:∅@2; L k:A@3; R k:a@4 → k=A-a@4; L k:B@5 → k=B-a@5; R k:b@6 → k=A-b@6 k=B-b@6;
		L k:∅@7; R k:∅@8;
		L k:C@9 → k=C-a@9 k=C-b@9; R k:c@10 → k=A-c@10 k=B-c@10 k=C-c@10; R k:∅@11; L k:∅@12; R k:∅@13 →;
		R k:d@14 → k=A-d@14 k=B-d@14 k=C-d@14; L k:D@15 → k=D-a@15 k=D-b@15 k=D-c@15 k=D-d@15; L ∅:E@16 →`
	w := stream.Around(10*time.Second, 24*time.Hour)
	d := joined(t, "inner", w)
	steps(t, d, feed+`; R ∅:e@17 →`)
	require.Equal(t, int64(2), d.dropped(topology.NullKey))
	require.Equal(t, int64(7), d.dropped(topology.NullValue))
	steps(t, joined(t, "left", w), feed+` ∅=E-null@16; R ∅:e@17 →`)
	steps(t, joined(t, "outer", w), feed+` ∅=E-null@16; R ∅:e@17 → ∅=null-e@17`)
}

func TestT37SelfJoin(t *testing.T) {
	b := stream.NewBuilder()
	s := b.Stream(left)
	s.Join(s, stream.Around(10*time.Second, 0), "self", dash).To(out)
	steps(t, drive(t, b), `L k:∅@1 k:A@2 → k=A-A@2; L k:B@3 → k=B-A@3 k=A-B@3 k=B-B@3; L k:∅@4 →;
		L k:C@5 → k=C-A@5 k=C-B@5 k=A-C@5 k=B-C@5 k=C-C@5; L k:∅@6 →;
		L k:D@7 → k=D-A@7 k=D-B@7 k=D-C@7 k=A-D@7 k=B-D@7 k=C-D@7 k=D-D@7`)
}

func TestJoinsGoOnAfterARestart(t *testing.T) {
	d := joined(t, "left", stream.Around(100*ms, 0))
	steps(t, d, `L 0:A0@0 1:A1@100 →; restart; R 1:a1@110 → 0=A0-null@0 1=A1-a1@110; restart;
		R 0:late@0 → 0=A0-late@0; R 9:x@900 →; restart; R 0:gone@0 → 0=A0-gone@0; L 0:l@0 → 0=l-null@0`)
	require.Equal(t, int64(1), d.dropped(topology.Expired))
}

// What a join holds is looked through only when the oldest of it may be over. When that was must be the same after a
// restart, also before anything was looked through for the first time.
func TestARestartDoesNotChangeWhenUnmatchedRecordsAreTold(t *testing.T) {
	for _, restart := range []string{"", "restart"} {
		d := joined(t, "outer", stream.Around(0, 7*ms).Before(5*ms).After(3*ms))
		steps(t, d, `L a:∅@3 b:1@0 R b:1@0 → b=1-1@0;`+restart+`; L c:1@8 R c:1@8 → c=1-1@8;
			L b:1@13 R b:1@13 → b=1-1@13; L a:1@19 R a:1@19 → a=1-1@19; L c:1@27 R d:1@27 L c:1@28 R d:1@28 →;
			L a:1@37 R a:1@37 → a=1-1@37; L c:1@38 → c=1-null@27`)
	}
}

// Kafka Streams leaves held records without a mark of the oldest.
func TestAJoinWithoutMarksLooksThroughWhatItHolds(t *testing.T) {
	for _, restart := range []string{"", "restart"} {
		d := joined(t, "left", stream.Around(100*ms, 0))
		steps(t, d, `L 0:A0@0 1:A1@5 →`)
		clear(d.env.Marks)
		steps(t, d, `restart; L 2:∅@300 2:B@250 →;`+restart+`; R 9:x@310 → 0=A0-null@0 1=A1-null@5;
			R 9:x@350 →; R 9:x@351 → 2=B-null@250`)
	}
}

func TestT28RelaxedJoinsKeepNullKeysThroughRepartitions(t *testing.T) {
	b := stream.NewBuilder()
	l, r := b.Stream(left).Repartition("l"), b.Stream(right).Repartition("r")
	l.LeftJoin(r, stream.Around(time.Second, 0), "j", func(l string, r *string) string { return opt(&l, r) }).To(out)
	d := drive(t, b)
	steps(t, d, `L ∅:x@1 → ∅=x-null@1; R ∅:y@2 →`)

	b = stream.NewBuilder()
	b.Stream(left).Repartition("l").OuterJoin(b.Stream(right).Repartition("r"), stream.Around(time.Second, 0), "j", opt).
		To(out)
	steps(t, drive(t, b), `L ∅:x@1 → ∅=x-null@1; R ∅:y@2 → ∅=null-y@2`)
}

func TestStreamJoinsThatCantBeAreRefused(t *testing.T) {
	b := stream.NewBuilder()
	l, r := b.Stream(left), b.Stream(right)
	l.Join(r, stream.Around(ms, 0).Before(-2*ms), "a", dash)
	l.Join(r, stream.Around(ms, -1), "b", dash)
	l.Join(r, stream.Around(ms, 0), "", dash)
	l.Join(r, stream.Around(ms, 0), "c", dash)
	l.Join(r, stream.Around(ms, 0), "c", dash)
	l.Map(func(k, v string) (string, string) { return v, k }).Join(r, stream.Around(ms, 0), "d", dash)
	_, err := b.Build()
	for _, want := range []string{"nothing is in between", "a grace of -1ns", "Join: the name is empty",
		`store "c-this-join-store" is written by another operator already`, "Join brings equal keys together, but Map ("} {
		require.ErrorContains(t, err, want)
	}
}
