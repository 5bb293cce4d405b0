// Package history finds anomalies in what the clients of a broker have seen, in the manner of Jepsen's Kafka workload.
// It is pure: a history goes in, anomalies come out. Who runs the clients, and what disturbs them, is not its business.
//
// The clients send values that are unique in the history, read with isolation read committed, and never delete. The
// final read, which reads each partition from its beginning after everything has calmed down, is a Poll like any other.
package history

import "fmt"

// Partition is a partition of a topic.
type Partition struct {
	Topic string
	Index int32
}

func (p Partition) String() string { return fmt.Sprintf("%s-%d", p.Topic, p.Index) }

// Record is a value at its place.
type Record struct {
	Partition Partition
	Offset    int64 // -1 where a sender does not know it
	Value     string
}

func (r Record) String() string { return fmt.Sprintf("%s at %s/%d", r.Value, r.Partition, r.Offset) }

// Kind is what a client does.
type Kind int8

const (
	// Send sends records, each for itself.
	Send Kind = iota
	// Transaction sends records and, with a Group, commits the offsets of the polled ones, all or nothing.
	Transaction
	// Poll reads records.
	Poll
	// Commit commits the offsets of the polled records for a group.
	Commit
)

func (k Kind) String() string { return [...]string{"send", "transaction", "poll", "commit"}[k] }

// Outcome is what a client knows of an operation that it has finished.
type Outcome int8

const (
	// OK means that the broker has acknowledged it.
	OK Outcome = iota
	// Failed means that it has not happened and never will: an aborted transaction, a refused commit.
	Failed
	// Unknown means that it may have happened, or still may.
	Unknown
)

func (o Outcome) String() string { return [...]string{"ok", "failed", "unknown"}[o] }

// Op is one operation. A client begins an operation after its previous one has ended.
type Op struct {
	Client  int
	Kind    Kind
	Outcome Outcome
	// Begin and End are moments in one order of all clients: an operation that begins after another's end saw its
	// effects. A commit, and a transaction of a Group, begins after its records were polled.
	Begin, End int64
	// Deciding is when the end of a transaction was asked for; 0: it was not. Nobody may read its records before.
	Deciding int64
	// Repeats is set for senders without idempotence: their records may be stored several times.
	Repeats bool
	Sends   []Record // in the order of sending
	Polls   []Record // in the order of reading
	// From is where a poll begins that goes to places of its own: an offset for each partition that it reads. It is nil
	// when the poll goes on where the client's previous one ended.
	From map[Partition]int64
	// Final is set for the polls of the final read.
	Final bool
	// Group and Generation are those of the consumer that polled the records whose offsets are committed.
	Group      string
	Generation int32
}

// readBy returns when the polled records had been read.
func (op *Op) readBy() int64 {
	if op.Kind == Poll {
		return op.End
	}
	return op.Begin
}

// Reach says how far a final read came.
type Reach struct {
	Next int64 // offset after the last record, of whatever kind
	End  int64 // high watermark
}

// History is what the clients of one run have seen.
type History struct {
	Ops []Op
	// Final holds each partition that was read from its beginning in the end.
	Final map[Partition]Reach
	// Committed holds the offsets of groups in the end.
	Committed map[string]map[Partition]int64
}

// AnomalyKind is the name of what went wrong.
type AnomalyKind string

// The anomalies.
const (
	// LostWrite is an acknowledged record that is not read although what is behind it is, or one that was read before but
	// is missing in the end.
	LostWrite AnomalyKind = "lost write"
	// Duplicate is a record of an idempotent producer that is stored twice.
	Duplicate AnomalyKind = "duplicate"
	// AbortedRead is a record of a transaction that was aborted.
	AbortedRead AnomalyKind = "aborted read"
	// EarlyRead is a record that was read before the end of its transaction was asked for.
	EarlyRead AnomalyKind = "early read"
	// TornTransaction is a transaction of which some records are read and others are not.
	TornTransaction AnomalyKind = "torn transaction"
	// UnknownValue is a record that nobody has sent there.
	UnknownValue AnomalyKind = "unknown value"
	// InconsistentOffset is an offset at which clients saw different records.
	InconsistentOffset AnomalyKind = "inconsistent offset"
	// NonMonotonicPoll is a consumer whose offsets go back or stand still, or lie before where it began.
	NonMonotonicPoll AnomalyKind = "non-monotonic poll"
	// SkippedPoll is a consumer that passes over a record that others read.
	SkippedPoll AnomalyKind = "skipped poll"
	// NonMonotonicSend is a producer whose records are not stored in the order in which it sent them.
	NonMonotonicSend AnomalyKind = "non-monotonic send"
	// ProcessedTwice is a record whose offset two transactions of a group have committed.
	ProcessedTwice AnomalyKind = "processed twice"
	// Unprocessed is a record below a group's offset that no transaction of the group has polled.
	Unprocessed AnomalyKind = "unprocessed"
	// StaleCommit is a commit that was accepted after one of a later generation.
	StaleCommit AnomalyKind = "stale commit"
	// LostCommit is a group's offset that lies before one that was committed.
	LostCommit AnomalyKind = "lost commit"
	// Unreadable is a partition whose final read does not come to the end: it is offline, or a transaction hangs.
	Unreadable AnomalyKind = "unreadable"
)

// Anomaly is something that a correct broker never shows.
type Anomaly struct {
	Kind AnomalyKind
	Text string
}

func (a Anomaly) String() string { return string(a.Kind) + ": " + a.Text }
