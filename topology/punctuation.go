package topology

// TimeKind is the clock that a punctuation follows.
type TimeKind uint8

// The clocks of punctuation.
const (
	StreamTime TimeKind = iota // the time of [Context.StreamTime]
	WallClock
)

// Punctuator is where a task keeps its schedules. Times are milliseconds.
type Punctuator interface {
	// Schedule calls f each time that the clock has reached the next multiple of interval (stream time) or of
	// interval after start (wall clock; start 0 is now). Intervals that were missed collapse into one call, which
	// gets the clock's time.
	Schedule(in *Instance, kind TimeKind, start, interval int64, f func(now int64) error) (cancel func())
}
