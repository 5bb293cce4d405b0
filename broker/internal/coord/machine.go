// Package coord runs coordinators: state machines that are folds over a log.
//
// A Machine does no I/O and has no clock. It answers a request, or the passing
// of time, with a Step: records, and what to do once they are in the log. A Shard
// owns one machine and its log, and takes one step at a time:
//
//	step = handle(request, now)     the machine decides, and changes nothing that must last
//	append(step.Records)            to the log; when this fails, nothing has happened
//	machine.Replay(each record)     the only way in which hard state changes
//	step.After                      replies leave, once the log is durable up to here
//
// Recovery is Replay alone. Soft state (who waits in a rebalance, session
// deadlines) may be changed while handling; it dies with the process, and the
// protocols are made for that.
//
// # Snapshots
//
// The log must not grow forever, and recovery must stay short. Every
// Config.SnapshotBytes the shard appends the machine's whole state as records
// (Machine.Snapshot) and trims the log up to there. A record always carries the
// whole value of its key, so a replay that starts anywhere before a snapshot ends
// in the same state: a crash at any moment of this needs no care. Records of open
// transactions are not in a snapshot; the trim stops before the first of them.
package coord

import (
	"time"
)

// Record is one entry of a coordinator's log: a key and its new value, whole. A nil Value deletes the key.
type Record struct {
	Key, Value []byte
	// Timestamp is when the record was appended, in milliseconds of the machine's clock. The records of a snapshot have
	// none, 0: they repeat older ones. Older versions gave them the time of the snapshot. The shard sets it.
	Timestamp int64
}

// Producer is the transaction that records belong to: they take effect when its commit marker follows in the log.
type Producer struct {
	ID    int64
	Epoch int16
}

// Step is what a machine answers.
type Step struct {
	Records []Record
	// Producer is nil for records that take effect at once.
	Producer *Producer
	// After is called, in order, when the records are replayed, or with an error when they could not be appended.
	After []func(error)
}

// Reply adds a function to After.
func (s *Step) Reply(f func(error)) { s.After = append(s.After, f) }

// Put adds a record.
func (s *Step) Put(key, value []byte) { s.Records = append(s.Records, Record{Key: key, Value: value}) }

// Machine is a coordinator's state. Its methods are called by one goroutine at a time.
type Machine interface {
	// Replay folds a record of the log into the state. The producer is that of the record's transaction, or nil. Time
	// is that of the machine's clock, not of the record. An error means that the record is not understood: recovery
	// stops there rather than losing it.
	Replay(r Record, p *Producer, now time.Time) error
	// ReplayMarker folds the end of a producer's transaction in this log into the state.
	ReplayMarker(p Producer, commit bool)
	// Snapshot emits records that rebuild the whole state, open transactions aside.
	Snapshot(emit func(Record))
	// Deadline is the time at which Tick has something to do; zero means never.
	Deadline() time.Time
	// Tick does what is due at now.
	Tick(now time.Time) Step
}
