package op

import (
	"fmt"

	"thalweg/serde"
	"thalweg/state"
	"thalweg/topology"
)

// emitter emits the rows of a windowed table.
type emitter[K, A any] struct {
	in       *topology.Instance
	next     topology.Port[Windowed[K], topology.Change[A]]
	null     func(*A) bool
	onUpdate bool
	old      bool
	out      topology.Record[Windowed[K], topology.Change[A]]
}

func newEmitter[K, A any](
	in *topology.Instance, next topology.Port[Windowed[K], topology.Change[A]], c Closing,
) *emitter[K, A] {
	return &emitter[K, A]{
		in: in, next: next, null: serde.NullOf[A](), onUpdate: c.onUpdate(in) && !c.OnClose,
		old: *c.Old && !c.OnClose,
	}
}

func isNullEmitter[K, A any](t *emitter[K, A], a *A) bool { return t.null != nil && t.null(a) }

// emitRow emits the change that the caller has written to out.Value.
func emitRow[K, A any](t *emitter[K, A], key K, span Span, ts int64, headers []topology.Header) error {
	t.out.Key.Key, t.out.Key.Span = key, span
	t.out.Timestamp, t.out.Headers = ts, headers
	return t.next(&t.out)
}

// emitFlushed emits the change of a row since the last commit, as a store reports it.
func emitFlushed[K, A any](t *emitter[K, A], key K, span Span, f *state.Flushed[K, A]) error {
	if !f.HasNew && !f.HasOld {
		return nil // put and deleted between two commits
	}
	t.in.Resume()
	c := &t.out.Value
	c.New, c.HasNew = f.New, f.HasNew
	c.Old, c.HasOld = f.Old, f.HasOld && t.old
	return emitRow(t, key, span, f.Timestamp, nil)
}

// emitWindowsOnFlush emits the changes of the rows of a store with each commit.
func emitWindowsOnFlush[K, A any](t *emitter[K, A], store *state.WindowStore[K, A], cut cutter) {
	store.OnFlush(t.in.Rank(), t.old, func(f *state.Flushed[K, A]) error {
		end, err := cut.end(f.Start)
		if err != nil {
			return t.in.Fail(f.Timestamp, err)
		}
		return emitFlushed(t, f.Key, Span{f.Start, end}, f)
	})
}

// closing knows up to which time windows were emitted as closed: Unknown where none was. It is committed with the
// input's offsets, so that nothing is emitted again after a restart.
type closing struct {
	closed *int64
	on     bool
}

// advance moves on to closeTime; ok is false where nothing new can be closed. from is the closeTime of before.
func (c *closing) advance(closeTime int64) (from int64, ok bool) {
	if !c.on || closeTime <= *c.closed {
		return 0, false
	}
	from = *c.closed
	*c.closed = closeTime
	return from, true
}

// ownTime is the timeMark of the input that the node itself has, by which it decides what is late.
func ownTime(in *topology.Instance, store string, input int) *int64 {
	time := timeMark(in, store, input)
	in.TimedBy(time)
	return time
}

// timeMark is the highest timestamp that an operator has seen on one of its inputs.
func timeMark(in *topology.Instance, store string, input int) *int64 {
	return in.Mark(fmt.Sprintf("%s/time%d", store, input))
}

// rowTimes are the times by which the rows of a store expire.
type rowTimes struct {
	newest *int64   // time of the latest row put into the store
	inputs []*int64 // highest timestamps of the inputs that share it
}

func newRowTimes(in *topology.Instance, store string, inputs int) rowTimes {
	t := rowTimes{newest: in.Mark(store + "/newest")}
	for i := range max(inputs, 1) {
		t.inputs = append(t.inputs, timeMark(in, store, i))
	}
	return t
}

// now is the time from which the age of rows is counted: that of the newest row, or of the input that is farthest
// behind, since its records may still belong to rows that are old for the others; and no later than the node's time. It
// is Unknown while an input has had no record.
func (t *rowTimes) now(in *topology.Instance) int64 {
	now := in.Upto(*t.newest)
	for _, seen := range t.inputs {
		now = min(now, *seen)
	}
	return now
}

// closedMark is the time up to which windows are closed, under the name by which Kafka Streams commits it.
func closedMark(in *topology.Instance, store string) *int64 { return in.Mark(store) }

// watchIdle advances stream time with the clock once no record has come for quiet milliseconds. Only those count in
// which there was none: as long as it is unknown what the inputs have, as while the broker is away, time stands still,
// and the wait begins again after that.
func watchIdle(in *topology.Instance, quiet int64, time *int64, close func([]topology.Header) error) {
	if in.Env.WatchInputs == nil {
		return
	}
	known := in.Env.WatchInputs(in, quiet/2)
	seen, from := topology.Unknown, topology.Unknown // the time, and since when it stands still
	in.Env.Punctuator.Schedule(in, topology.WallClock, 0, max(quiet/4, 1), func(int64) error {
		since, until := known()
		if *time != seen || until == topology.Unknown {
			seen, from = *time, until
			return nil
		}
		from = max(from, since)
		if *time == topology.Unknown || until-from < quiet {
			return nil
		}
		in.Resume()
		*time += until - from
		in.Idled(*time)
		seen, from = *time, until
		return close(nil)
	})
}
