package workload

import (
	"time"

	"thalweg/state"
	"thalweg/stream"
)

// The windows of the workloads, which the hand-written loops have too.
const (
	windowSize  = 10 * time.Second
	windowGrace = 5 * time.Second

	sessionGap   = 5 * time.Second
	sessionGrace = time.Second

	joinWithin = 5 * time.Second
	joinGrace  = time.Second
)

func countPerWindow(p program) {
	windowCount(p.stream[string, []byte](0), p.out)
}

// countPerWindowApart counts in other tasks than those that read the input.
func countPerWindowApart(p program) {
	windowCount(p.stream[string, []byte](0).
		SelectKey(func(key string, _ []byte) string { return key }).
		Repartition("again").Partitions(4), p.out)
}

func windowCount(s stream.Stream[string, []byte], out string) {
	s.GroupByKey().
		Windowed(stream.Tumbling(windowSize, windowGrace)).
		Count(state.NewWindowed[string, int64]("windows")).
		ToStream(stream.WindowKey).
		To(stream.NewTopic[stream.WindowedKey[string], int64](out))
}

func countPerSession(p program) {
	p.stream[string, []byte](0).
		GroupByKey().
		Sessions(stream.SessionGap(sessionGap, sessionGrace)).
		Count(state.NewSession[string, int64]("sessions")).
		ToStream(stream.WindowKey).
		To(stream.NewTopic[stream.WindowedKey[string], int64](p.out))
}

func tableJoin(p program) {
	table := p.Table(stream.NewTopic[string, []byte](p.in[0]), rows)
	p.stream[string, []byte](1).
		JoinTable(table, func(event, row []byte) []byte {
			return appendRowAndEvent(make([]byte, 0, len(row)+1+joinedBytes), row, event)
		}).
		To(stream.NewTopic[string, []byte](p.out))
}

func streamJoin(p program) {
	right := p.stream[string, []byte](1)
	p.stream[string, []byte](0).
		Join(right, stream.Around(joinWithin, joinGrace), "join", func(l, r []byte) []byte {
			return appendBoth(make([]byte, 0, 2*joinedBytes), l, r)
		}).
		To(stream.NewTopic[string, []byte](p.out))
}

func foreignJoin(p program) {
	right := p.Table(stream.NewTopic[string, []byte](p.in[0]), rows)
	p.Table(stream.NewTopic[string, []byte](p.in[1]), state.NewKV[string, []byte]("left")).
		JoinForeign(right, func(_ string, v []byte) (string, bool) { return string(appendForeign(nil, v)), true }, "named",
			func(l, r []byte) []byte {
				return appendRowAndEvent(make([]byte, 0, len(r)+1+joinedBytes), r, l)
			}).
		ToStream().
		To(stream.NewTopic[string, []byte](p.out))
}

// joinedBytes is how much of a value goes into the result of a join.
const joinedBytes = 10

func appendRowAndEvent(dst, row, event []byte) []byte {
	return append(append(append(dst, row...), '|'), event[:joinedBytes]...)
}

func appendBoth(dst, l, r []byte) []byte {
	return append(append(dst, l[:joinedBytes]...), r[:joinedBytes]...)
}

// appendForeign makes the key of a row of table-1 of four letters of a payload: one of 65,536.
func appendForeign(dst, payload []byte) []byte {
	n := 0
	for _, c := range payload[1:5] {
		n = n<<4 | int(c-'a')
	}
	return appendKey(dst, "key-", n, 6)
}
