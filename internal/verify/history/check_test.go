package history_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"thalweg/internal/verify/history"
)

// tape makes histories by hand. Each operation takes two moments, one after the other, unless it is altered.
type tape struct {
	history.History
	now int64
}

// in parses "a@0 b@1 c@?" as records of a partition.
func in(topic, records string) []history.Record {
	var out []history.Record
	for _, field := range strings.Fields(records) {
		value, at, _ := strings.Cut(field, "@")
		r := history.Record{Partition: history.Partition{Topic: topic}, Offset: -1, Value: value}
		if at != "?" {
			fmt.Sscan(at, &r.Offset)
		}
		out = append(out, r)
	}
	return out
}

func (h *tape) add(op history.Op) *history.Op {
	op.Begin, op.End = h.now+1, h.now+2
	h.now += 2
	if op.Kind == history.Transaction && op.Deciding == 0 {
		op.Deciding = op.Begin
	}
	h.Ops = append(h.Ops, op)
	return &h.Ops[len(h.Ops)-1]
}

func (h *tape) send(client int, outcome history.Outcome, records string) *history.Op {
	return h.add(history.Op{Client: client, Outcome: outcome, Sends: in("t", records)})
}

func (h *tape) transaction(client int, outcome history.Outcome, records string) *history.Op {
	return h.add(history.Op{Client: client, Kind: history.Transaction, Outcome: outcome, Sends: in("t", records)})
}

// process is a transaction that turns the polled records of topic t into sent ones of topic out.
func (h *tape) process(client int, outcome history.Outcome, generation int32, polled, sent string) *history.Op {
	return h.add(history.Op{
		Client: client, Kind: history.Transaction, Outcome: outcome, Polls: in("t", polled), Sends: in("out", sent),
		Group: "g", Generation: generation,
	})
}

func (h *tape) commit(client int, outcome history.Outcome, generation int32, polled string) *history.Op {
	return h.add(history.Op{
		Client: client, Kind: history.Commit, Outcome: outcome, Polls: in("t", polled), Group: "g", Generation: generation,
	})
}

func (h *tape) poll(client int, records string) *history.Op {
	return h.add(history.Op{Client: client, Kind: history.Poll, Polls: in("t", records)})
}

// seek is a poll that begins at an offset of each topic.
func (h *tape) seek(client int, from int64, records string) *history.Op {
	op := h.poll(client, records)
	op.From = map[history.Partition]int64{{Topic: "t"}: from, {Topic: "out"}: from}
	return op
}

// final is the read at the end: of topic t up to an offset, and of all of topic out.
func (h *tape) final(end int64, t, out string) {
	op := h.seek(99, 0, t)
	op.Final, op.Polls = true, append(op.Polls, in("out", out)...)
	h.Final = map[history.Partition]history.Reach{
		{Topic: "t"}:   {Next: end, End: end},
		{Topic: "out"}: {Next: 100, End: 100},
	}
}

func (h *tape) committed(offset int64) {
	h.Committed = map[string]map[history.Partition]int64{"g": {{Topic: "t"}: offset}}
}

// Each history shows the anomalies that its name says, and no others.
func TestAnomalies(t *testing.T) {
	const ok, failed, unknown = history.OK, history.Failed, history.Unknown
	for _, test := range []struct {
		name string
		want []history.AnomalyKind
		run  func(h *tape)
	}{
		{"nothing", nil, func(h *tape) { h.final(0, "", "") }},
		{"sends are read", nil, func(h *tape) {
			h.send(1, ok, "a@0 b@1")
			h.send(2, unknown, "c@?")
			h.send(2, unknown, "d@?")
			h.poll(3, "a@0")
			h.poll(3, "b@1 c@2")
			h.final(3, "a@0 b@1 c@2", "")
		}},
		{"what is not read yet is not lost", nil, func(h *tape) {
			h.send(1, ok, "a@0 b@1 c@?")
			h.poll(2, "a@0")
		}},
		{"the last record is lost", []history.AnomalyKind{history.LostWrite}, func(h *tape) {
			h.send(1, ok, "a@0 b@1")
			h.final(1, "a@0", "")
		}},
		{"a record of unknown offset is lost", []history.AnomalyKind{history.LostWrite}, func(h *tape) {
			h.send(1, ok, "a@?")
			h.send(1, ok, "b@0")
			h.final(1, "b@0", "")
		}},
		{"a record is lost although what is behind it is read", []history.AnomalyKind{history.LostWrite},
			func(h *tape) {
				h.send(1, ok, "a@0 b@1")
				h.poll(2, "b@1")
			}},
		{"a record that was read vanishes", []history.AnomalyKind{history.LostWrite}, func(h *tape) {
			h.send(1, unknown, "a@?")
			h.poll(2, "a@0")
			h.final(1, "", "")
		}},
		{"a sender without idempotence may repeat", nil, func(h *tape) {
			h.send(1, unknown, "a@?").Repeats = true
			h.final(2, "a@0 a@1", "")
		}},
		{"an idempotent sender repeats", []history.AnomalyKind{history.Duplicate}, func(h *tape) {
			h.send(1, unknown, "a@?")
			h.final(2, "a@0 a@1", "")
		}},
		{"a record is read elsewhere than acknowledged", []history.AnomalyKind{history.Duplicate}, func(h *tape) {
			h.send(1, ok, "a@0")
			h.final(2, "a@1", "")
		}},
		{"transactions are read whole or not at all", nil, func(h *tape) {
			h.transaction(1, ok, "a@0 b@1")
			h.transaction(2, failed, "c@3")
			h.transaction(3, unknown, "d@? e@?")
			h.transaction(4, unknown, "f@? g@?")
			h.final(9, "a@0 b@1 d@5 e@6", "")
		}},
		{"an aborted transaction is read", []history.AnomalyKind{history.AbortedRead}, func(h *tape) {
			h.transaction(1, failed, "a@0")
			h.poll(2, "a@0")
		}},
		{"a transaction is read before its end", []history.AnomalyKind{history.EarlyRead}, func(h *tape) {
			h.transaction(1, ok, "a@0")
			h.poll(2, "a@0")
			h.Ops[0].Deciding, h.Ops[0].End = h.now+1, h.now+2
			h.now += 2
			h.final(2, "a@0", "")
		}},
		{"half of a transaction is read", []history.AnomalyKind{history.TornTransaction}, func(h *tape) {
			h.transaction(1, unknown, "a@? b@?")
			h.final(3, "a@0", "")
		}},
		{"nobody sent it", []history.AnomalyKind{history.UnknownValue}, func(h *tape) { h.poll(1, "a@0") }},
		{"it was sent elsewhere", []history.AnomalyKind{history.UnknownValue}, func(h *tape) {
			h.send(1, unknown, "a@?").Sends[0].Partition.Topic = "other"
			h.poll(2, "a@0")
		}},
		{"an offset is given twice", []history.AnomalyKind{history.InconsistentOffset}, func(h *tape) {
			h.send(1, unknown, "a@?")
			h.send(2, unknown, "b@?")
			h.poll(3, "a@0")
			h.poll(4, "b@0")
		}},
		{"an acknowledged offset is given again",
			[]history.AnomalyKind{history.InconsistentOffset, history.LostWrite}, func(h *tape) {
				h.send(1, ok, "a@0")
				h.send(2, ok, "b@0")
				h.final(1, "b@0", "")
			}},
		{"a consumer goes back by a seek", nil, func(h *tape) {
			h.send(1, ok, "a@0 b@1")
			h.poll(2, "a@0 b@1")
			h.seek(2, 0, "a@0")
			h.poll(2, "b@1")
			h.seek(2, 1, "b@1")
		}},
		{"a seek passes over the first record", []history.AnomalyKind{history.SkippedPoll}, func(h *tape) {
			h.send(1, ok, "a@0 b@1")
			h.poll(2, "a@0 b@1")
			h.seek(3, 0, "b@1")
		}},
		{"a seek passes over the first record of a topic that a later poll comes to",
			[]history.AnomalyKind{history.SkippedPoll}, func(h *tape) {
				h.send(1, ok, "a@0 b@1")
				h.poll(2, "a@0 b@1")
				h.seek(2, 0, "")
				h.poll(2, "b@1")
			}},
		{"a seek passes over an aborted record", nil, func(h *tape) {
			h.transaction(1, failed, "a@0")
			h.send(2, ok, "b@2")
			h.poll(3, "b@2")
			h.seek(3, 0, "b@2")
		}},
		{"a seek reads what lies before", []history.AnomalyKind{history.NonMonotonicPoll}, func(h *tape) {
			h.send(1, ok, "a@0 b@1")
			h.seek(2, 1, "a@0")
		}},
		{"a consumer goes back", []history.AnomalyKind{history.NonMonotonicPoll}, func(h *tape) {
			h.send(1, ok, "a@0 b@1")
			h.poll(2, "a@0 b@1")
			h.poll(2, "b@1")
		}},
		{"a consumer passes over a record", []history.AnomalyKind{history.SkippedPoll}, func(h *tape) {
			h.send(1, ok, "a@0 b@1 c@2")
			h.poll(2, "a@0 c@2")
			h.poll(3, "a@0 b@1 c@2")
		}},
		{"a consumer passes over an aborted record", nil, func(h *tape) {
			h.send(1, ok, "a@0")
			h.transaction(2, failed, "b@1")
			h.send(1, ok, "c@3")
			h.final(4, "a@0 c@3", "")
		}},
		{"a producer's records are reordered", []history.AnomalyKind{history.NonMonotonicSend}, func(h *tape) {
			h.send(1, ok, "a@1")
			h.send(1, ok, "b@0")
			h.final(2, "b@0 a@1", "")
		}},
		{"a group processes each record once", nil, func(h *tape) {
			h.send(1, ok, "a@0 b@1 c@2")
			h.process(2, ok, 1, "a@0", "x@0")
			h.process(2, failed, 1, "b@1", "y@?")
			h.process(3, unknown, 2, "b@1", "z@?")
			h.process(2, ok, 3, "b@1", "w@5")
			h.committed(2)
			h.final(3, "a@0 b@1 c@2", "x@0 w@5")
		}},
		{"a group processes a record twice", []history.AnomalyKind{history.ProcessedTwice}, func(h *tape) {
			h.send(1, ok, "a@0")
			h.process(2, ok, 1, "a@0", "x@0")
			h.process(3, ok, 2, "a@0", "y@2")
			h.final(1, "a@0", "x@0 y@2")
		}},
		{"a transaction of unknown outcome was the other", []history.AnomalyKind{history.ProcessedTwice},
			func(h *tape) {
				h.send(1, ok, "a@0")
				h.process(2, unknown, 1, "a@0", "x@?")
				h.process(3, ok, 2, "a@0", "y@2")
				h.final(1, "a@0", "x@0 y@2")
			}},
		{"a group passes over a record", []history.AnomalyKind{history.Unprocessed}, func(h *tape) {
			h.send(1, ok, "a@0 b@1")
			h.process(2, failed, 1, "a@0", "x@?")
			h.process(2, ok, 1, "b@1", "y@2")
			h.committed(2)
			h.final(2, "a@0 b@1", "y@2")
		}},
		{"generations commit one after the other", nil, func(h *tape) {
			h.send(1, ok, "a@0 b@1")
			h.commit(2, ok, 1, "a@0")
			h.commit(3, ok, 2, "b@1")
			h.commit(2, failed, 1, "b@1")
			h.committed(2)
			h.final(2, "a@0 b@1", "")
		}},
		{"a commit that began before may end after", nil, func(h *tape) {
			h.send(1, ok, "a@0 b@1")
			h.commit(2, ok, 2, "b@1")
			h.commit(3, ok, 1, "a@0").Begin = 3
			h.committed(2)
			h.final(2, "a@0 b@1", "")
		}},
		{"a stale generation commits", []history.AnomalyKind{history.StaleCommit}, func(h *tape) {
			h.send(1, ok, "a@0 b@1")
			h.commit(2, ok, 2, "a@0")
			h.commit(3, ok, 1, "b@1")
			h.committed(2)
			h.final(2, "a@0 b@1", "")
		}},
		{"a commit is lost", []history.AnomalyKind{history.LostCommit}, func(h *tape) {
			h.send(1, ok, "a@0 b@1")
			h.commit(2, ok, 1, "a@0 b@1")
			h.committed(1)
			h.final(2, "a@0 b@1", "")
		}},
		{"a transaction hangs", []history.AnomalyKind{history.Unreadable}, func(h *tape) {
			h.transaction(1, failed, "a@0")
			h.final(0, "", "")
			h.Final[history.Partition{Topic: "t"}] = history.Reach{Next: 0, End: 1}
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			var h tape
			test.run(&h)
			var got []history.AnomalyKind
			for _, a := range history.Check(h.History) {
				got = append(got, a.Kind)
			}
			require.Equal(t, test.want, got, "%v", history.Check(h.History))
		})
	}
}
