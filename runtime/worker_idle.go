package runtime

import "time"

// atEnd tells tasks with a use for it that the inputs which wait at their logs, in a broker in this process, have been
// read to their ends. For the other inputs each answer of the broker tells.
func (w *worker) atEnd(j *job) error {
	if !j.task.WatchesEnds() {
		return nil
	}
	at := w.millis(time.Now())
	for _, in := range j.inputs {
		if !w.client.Fetcher().Waits(in.TopicPartition, in.next) {
			continue
		}
		if err := j.task.AtEnd(in.Topic, in.Partition, at, at); err != nil {
			return err
		}
	}
	return nil
}

// millis is a time of the worker's monotonic clock.
func (w *worker) millis(t time.Time) int64 { return t.Sub(w.made).Milliseconds() }
