package state

import (
	"fmt"
	"time"
)

// Kind says what shape a store has.
type Kind uint8

// The kinds of stores.
const (
	KindKeyValue  Kind = iota + 1
	KindWindow         // key and window start
	KindSession        // key, start and end
	KindVersioned      // key and a history of values
	KindJoin           // the two buffers of a stream-stream join
	KindSuppress       // the buffer of a suppression
	KindUnmatched      // records of a stream-stream join without a match so far
)

// String returns the kind's name.
func (k Kind) String() string {
	switch k {
	case KindKeyValue:
		return "key-value"
	case KindWindow:
		return "window"
	case KindSession:
		return "session"
	case KindVersioned:
		return "versioned"
	case KindJoin:
		return "join buffer"
	case KindSuppress:
		return "suppression buffer"
	case KindUnmatched:
		return "unmatched records"
	default:
		return "unknown kind"
	}
}

// A Spec is what a graph and a runtime must know of a store without knowing its types.
type Spec struct {
	Name     string
	Kind     Kind
	Volatile bool // no changelog: the store starts empty on another machine, and may lose all rows in a crash
	InMemory bool // nothing on disk: restored from its changelog at every start

	// Retention is how long a window, session or buffered record is kept, counted back from the newest one that was
	// written; the history of a versioned store. 0: what the operator needs at least, and forever in the store of a
	// processor.
	Retention time.Duration
	// TTL is how long a key lives after its last change; 0: forever.
	TTL time.Duration
	// WindowSize is the size of the windows of a window store where the operator has said it.
	WindowSize time.Duration
	// Topic holds configurations of the changelog topic that the user wants other than the default.
	Topic map[string]string
}

// retentionMost is the time from which on a retention counts as forever: a sum of durations that is as long as one can
// be.
const retentionMost = 100_000 * 24 * time.Hour

// checkRetention refuses a time to keep things for that would keep nothing.
func (s Spec) checkRetention() error {
	switch {
	case s.Kind != KindVersioned && s.Retention > 0 && s.Retention%time.Millisecond != 0 && s.Retention < retentionMost:
		return fmt.Errorf("store %q keeps %v: times are counted in milliseconds: use a whole number of them", s.Name,
			s.Retention)
	case s.Retention >= time.Millisecond, s.Retention == 0 && s.Kind != KindVersioned:
		return nil
	case s.Kind == KindVersioned:
		return fmt.Errorf("store %q remembers %v: it needs a millisecond at least", s.Name, s.Retention)
	default:
		return fmt.Errorf("store %q keeps %v: it needs a millisecond at least, or leave Retain out", s.Name, s.Retention)
	}
}

// ChangelogTopic names the store's changelog topic: "<application>-<store>-changelog".
func (s Spec) ChangelogTopic(application string) string {
	return application + "-" + s.Name + "-changelog"
}
