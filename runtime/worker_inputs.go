package runtime

import (
	"errors"
	"fmt"
	"time"

	"thalweg/internal/kclient"
)

// add gives what was fetched to its tasks. Inputs that have their share of the memory are fetched no further.
func (w *worker) add(fetched []kclient.Fetched, now time.Time) error {
	for i := range fetched {
		f := &fetched[i]
		in := w.inputs[f.TopicPartition]
		if in == nil || f.Stale() {
			continue
		}
		if f.Err != nil {
			out, ok := errors.AsType[*kclient.OutOfRangeError](f.Err)
			if !ok {
				return f.Err
			}
			in.outOfRange = out
			w.strayed = true
			continue
		}
		if err := in.add(f, w.millis(f.Asked)); err != nil {
			return err
		}
		bytes, records := w.count(in)
		if in.job.suspended { // it was asked for before
			continue
		}
		w.commits.noteMoved(in.job, now)
		w.figures.note(in.job)
		if bytes > 0 || records > 0 || in.job.task.Aligning.Reaches() {
			w.turns.wake(in.job)
		}
		if (bytes > w.share() || bytes > 0 && w.loaded()) && !in.paused {
			in.paused = true
			w.client.Fetcher().Pause(f.TopicPartition)
		}
	}
	return nil
}

// count notes what an input holds.
func (w *worker) count(in *input) (bytes, records int) {
	bytes, records = in.buffered()
	w.hold(bytes - in.held)
	in.held = bytes
	return bytes, records
}

func (w *worker) hold(bytes int) {
	w.held += int64(bytes)
	w.app.home.memory.fetched.Use(int64(bytes))
}

// loaded tells that the inputs hold what they may together. There is room left for the answers on their way.
func (w *worker) loaded() bool {
	m := w.app.home.memory
	return w.held+int64(answersMost*m.fetchBytes()) > m.fetched.PartBytesMax()
}

// fetched is where inputs arrive. A worker that holds what it may takes nothing while it makes progress, or a commit
// under way keeps it from that. Without progress it takes more, for a task that waits for an input which has nothing:
// the others are paused.
func (w *worker) fetched() <-chan []kclient.Fetched {
	if (w.progress || w.commits.underWay) && w.loaded() {
		return nil
	}
	return w.client.Fetcher().Fetched()
}

// An input is fetched ahead by a few fetches, however few inputs share the memory: what lies there longer is no longer
// in the processor's cache when its turn comes.
const (
	fetchPartitionBytes = 1 << 20
	shareMost           = 4 * fetchPartitionBytes
	shareLeast          = 1 << 14
)

// share is how many bytes of one input may wait to be processed.
func (w *worker) share() int {
	even := w.app.home.memory.fetched.PartBytesMax() / int64(max(len(w.inputs), 1))
	return int(min(max(even, shareLeast), shareMost))
}

// relax fetches inputs on that have worked off half of their share, and those that have nothing. It tells whether the
// task has anything left.
func (w *worker) relax(j *job) (left bool) {
	for _, in := range j.inputs {
		bytes, records := w.count(in)
		left = left || bytes > 0 || records > 0
		if in.paused && (bytes == 0 || bytes <= w.share()/2 && !w.loaded()) {
			in.paused = false
			w.client.Fetcher().Resume(in.TopicPartition)
		}
	}
	return left
}

// relieve lets all tasks give memory back where the stores of the process hold too much, also those that are idle.
func (w *worker) relieve() error {
	if !w.app.home.memory.budget.Over() {
		return nil
	}
	for _, j := range w.jobs.running {
		if err := j.tx.Relieve(); err != nil {
			return fmt.Errorf("task %s: make room in memory: %w", j.id, err)
		}
	}
	return nil
}

// limit passes on what the worker's part of the memory is, which changes when others come and go.
func (w *worker) limit() {
	m := w.app.home.memory
	if fetch := m.fetchBytes(); fetch != w.fetchBytes {
		w.fetchBytes = fetch
		w.client.Fetcher().SetBytesMax(fetch)
	}
	if produce := m.produceBytes(); produce != w.produceBytes {
		w.produceBytes = produce
		w.client.SetProduceBytesMax(produce)
		w.outbox.SetBytesMax(m.outboxBytes())
	}
}

// countProduced notes what is written and not acknowledged.
func (w *worker) countProduced() {
	n := int64(w.outbox.Bytes() + w.client.BufferedBytes())
	w.app.home.memory.produced.Use(n - w.unacked)
	w.unacked = n
}
