package log

import (
	"sync"
	"time"
)

// Fsyncs counts the calls by which appended batches are synced to the disk, failed ones included: of a segment, a
// directory or a whole file system. What a roll, a checkpoint, an open or a close syncs beyond that is not counted,
// nor are the calls by which many logs are opened or closed together.
type Fsyncs struct {
	Count   int64
	Total   time.Duration
	Longest time.Duration
}

// fsyncs is the counter that the logs of a Syncer share.
type fsyncs struct {
	mu      sync.Mutex
	counted Fsyncs
}

func (f *fsyncs) add(took time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.counted.Count++
	f.counted.Total += took
	f.counted.Longest = max(f.counted.Longest, took)
}

// Fsyncs returns what the logs of the syncer have synced so far.
func (s *Syncer) Fsyncs() Fsyncs {
	s.fsyncs.mu.Lock()
	defer s.fsyncs.mu.Unlock()
	return s.fsyncs.counted
}

// timed counts one call that syncs something.
func (l *Log) timed(fsync func() error) error {
	began := l.options.Now()
	err := fsync()
	l.options.Syncer.fsyncs.add(max(0, l.options.Now().Sub(began)))
	return err
}
