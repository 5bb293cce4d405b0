package runtime

import (
	"log/slog"
	"time"

	"thalweg/internal/kclient"
	"thalweg/internal/task"
	"thalweg/topology"
)

// warnings are what a worker's log gets of records, rows and results that are not as they should be.
type warnings struct {
	log      *slog.Logger
	clock    func() time.Time
	sparing  sparing
	untimely untimely // records that are late or ahead
}

func newWarnings(log *slog.Logger, clock func() time.Time) *warnings {
	return &warnings{log: log, clock: clock, untimely: untimely{log: log, clock: clock}}
}

// passedOver warns of what a restore has left out.
func (w *warnings) passedOver(pe *topology.ProcessingError) {
	w.log.Warn("a restore can't read something: going on behind it, as Errors says", "err", pe)
}

// dropped warns of a row or a result that a serde refuses, or that is too large for its topic. What the broker refuses
// the log has already.
func (w *warnings) dropped(pe *topology.ProcessingError) {
	if kclient.IsRefusal(pe.Err) {
		return
	}
	if n, ok := w.sparing.say("dropped at "+pe.Node, w.clock()); ok {
		w.log.Warn("a row or a result can't be written and is dropped, as Errors says", "node", pe.Node, "times", n, "err",
			pe)
	}
}

// foreign warns of an offset that something else has committed for the group.
func (w *warnings) foreign(o task.Offset, err error) {
	w.log.Warn("the committed offset was set by something else than this application: going on there; the time of the "+
		"partition is not known until its next record", "topic", o.Topic, "partition", o.Partition, "offset", o.Next,
		"err", err)
}

// blocked logs a failure after which the record is processed again.
func (w *warnings) blocked(b *task.Blocked) {
	if b.Topic == "" {
		w.log.Warn("a commit or a punctuation failed, its task waits", "task", b.Task.String(),
			"attempt", b.Attempt, "attempts", b.Attempts, "wait", b.Wait, "err", b.Err)
		return
	}
	w.log.Warn("a record failed, its partition waits", "topic", b.Topic, "partition", b.Partition, "offset", b.Offset,
		"attempt", b.Attempt, "attempts", b.Attempts, "wait", b.Wait, "err", b.Err)
}

// gaveUp logs that the last attempt of a record failed, too, and that the record is dropped.
func (w *warnings) gaveUp(e *topology.ProcessingError, d topology.Decision) {
	w.log.Error("a record failed for the last time and is dropped", "topic", e.Metadata.Topic,
		"partition", e.Metadata.Partition, "offset", e.Metadata.Offset, "attempts", e.Attempts, "then", d.String(),
		"err", e)
}
