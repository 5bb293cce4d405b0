// Package origin decides what becomes of a stored position when an application starts. A position is a number in a
// topic: it says nothing unless the topic, the cluster, the kind of the store and what filled it are the same as now.
//
// All functions are pure. The table in docs/adr/0012-stored-positions-name-their-topic.md has a row for each case.
package origin

import (
	"encoding/hex"
	"fmt"
)

// Action is what is done.
type Action uint8

// The actions. All but Refuse lead to a running application.
const (
	Silent  Action = iota // nothing differs
	Log                   // it goes on, with a log line
	Restore               // what is missing is read from the topic
	Wipe                  // the local copy is dropped, and restored from the topic, with a log line
	Refuse                // the application does not start
)

func (a Action) String() string {
	return [...]string{"silent", "log", "restore", "wipe and restore", "error"}[a]
}

// Verdict is an action and why. The text of Refuse says what is on both sides, and all that leads to a running
// application: see Place.
type Verdict struct {
	Action  Action
	Text    string
	refusal *Refusal // of a task
}

func verdict(a Action, format string, args ...any) Verdict {
	return Verdict{Action: a, Text: fmt.Sprintf(format, args...)}
}

// Err is the error of a refusal; nil for all others.
func (v Verdict) Err() error {
	switch {
	case v.Action != Refuse:
		return nil
	case v.refusal != nil:
		return v.refusal
	}
	return &Refusal{Text: v.Text}
}

// ID is a topic's id for people.
func ID(id [16]byte) string {
	if id == [16]byte{} {
		return "unknown"
	}
	return hex.EncodeToString(id[:])
}

// Same tells whether two ids may be of one topic, or of one cluster: the zero value is not known, and matches any.
func Same[T comparable](a, b T) bool {
	var unknown T
	return a == b || a == unknown || b == unknown
}
