package runtime

import "fmt"

// DamageError says that records of a topic can't be read, because the broker's log is damaged there, or because
// something wrote what is no batch of records. [Client.Read] passes them over when its loop goes on after the error.
// Another reading begins behind them with FromOffset(Next).Partitions(Partition).
type DamageError struct {
	Topic     string
	Partition int32
	Offset    int64 // of the first record that can't be read
	Next      int64 // where records can be read again; -1: nobody knows, and reading has ended
	Err       error
}

func (e *DamageError) Error() string {
	what := fmt.Sprintf("topic %s partition %d offset %d: the rest of its batch can't be read: %v", e.Topic, e.Partition,
		e.Offset, e.Err)
	if e.Next < 0 {
		return fmt.Sprintf("%s: nobody knows where the next batch begins: to go on choose a later offset, with "+
			"runtime.FromOffset(offset).Partitions(%d)", what, e.Partition)
	}
	return fmt.Sprintf("%s: to go on at offset %d let the loop go on, or begin with runtime.FromOffset(%d).Partitions(%d)",
		what, e.Next, e.Next, e.Partition)
}

// Unwrap returns the cause.
func (e *DamageError) Unwrap() error { return e.Err }
