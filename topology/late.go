package topology

// TimedBy says which time counts where the node decides what is too late: the highest timestamp that it has seen. Nodes
// call it when they are made.
func (in *Instance) TimedBy(time *int64) { in.time = time }

// Time is the node's own stream time: the one that TimedBy names. It is Unknown where there is none.
func (in *Instance) Time() int64 {
	if in.time == nil {
		return Unknown
	}
	return in.Upto(*in.time)
}

// Timed tells whether the node has a stream time of its own.
func (in *Instance) Timed() bool { return in.time != nil }

// DropLate counts a record that the node leaves out since it came too late for the node's time.
func (in *Instance) DropLate(why Reason, timestamp int64) {
	in.Drop(why)
	behind := max(in.Time()-timestamp, 0)
	in.LateMax = max(in.LateMax, behind)
	if in.Env.OnLate != nil {
		in.Env.OnLate(in, behind)
	}
}

// dayMillis is how far ahead of the wall clock a record's time may be before it is reported.
const dayMillis = 24 * 60 * 60 * 1000

// LooksAhead tells that a time lies more than a day past the wall clock, and that somebody wants to know.
func (e *Env) LooksAhead(timestamp int64) bool {
	return e.OnAhead != nil && timestamp > e.WallTime+dayMillis
}
