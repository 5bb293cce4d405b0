package runtime

import (
	"time"

	"thalweg/internal/link"
)

// add gives what was fetched to its tasks. Inputs that have their share of the memory are fetched no further.
func (w *worker) add(fetched []link.Fetched, now time.Time) error {
	for i := range fetched {
		f := &fetched[i]
		in := w.inputs[f.TopicPartition]
		if in == nil || f.Stale() {
			continue
		}
		if f.Err != nil {
			if err := w.refused(in, f.Err); err != nil {
				return err
			}
			continue
		}
		if err := in.add(f); err != nil {
			return err
		}
		bytes, records := in.buffered()
		if f.Next > f.From && records == 0 && w.skipped.IsZero() {
			w.skipped = now
		}
		if bytes > w.share() && !in.paused {
			in.paused = true
			w.link.Fetcher().Pause(f.TopicPartition)
		}
	}
	return nil
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
	even := w.app.cfg.BufferedBytesMax / int64(w.app.cfg.Workers*max(len(w.inputs), 1))
	return int(min(max(even, shareLeast), shareMost))
}

// relax fetches inputs on that have worked off half of their share.
func (w *worker) relax(j *job) {
	for _, in := range j.inputs {
		if !in.paused {
			continue
		}
		if bytes, _ := in.buffered(); bytes <= w.share()/2 {
			in.paused = false
			w.link.Fetcher().Resume(in.TopicPartition)
		}
	}
}
