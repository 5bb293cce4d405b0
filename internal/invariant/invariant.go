// Package invariant is the one place that may panic.
//
// Two kinds of statement live here. Check states what its author believes to hold and costs nothing unless the program
// is built with `-tags invariants`. Never marks a place that no input may reach: a run that gets there has found a bug
// in this program, and going on would make it worse.
//
// Bad input, trouble with a disk or a peer, and mistakes of a user are errors and have no business here.
package invariant

import "fmt"

// Broken is what Check and Never panic with: an error, so that who recovers can tell it from a panic of user code, and
// stops what was going on instead of blaming the record at hand.
type Broken struct{ Message string }

func (b *Broken) Error() string { return "invariant broken: " + b.Message }

// Check panics when cond is false and the program is built with the tag `invariants`; otherwise it does nothing.
// On hot paths guard it with `if invariant.Enabled`, so that its arguments are not even computed.
func Check(cond bool, format string, args ...any) {
	if Enabled && !cond {
		panic(&Broken{fmt.Sprintf(format, args...)})
	}
}

// Never panics. The message says what was believed to be impossible.
func Never(format string, args ...any) {
	panic(&Broken{fmt.Sprintf(format, args...)})
}

// Misuse panics with what the caller of a public package did wrong, where there is no error to return and no program to
// check later: a method of a zero value.
func Misuse(format string, args ...any) {
	panic(fmt.Sprintf(format, args...))
}
