package runtime

import (
	"errors"
	"time"

	"thalweg/internal/kclient"
)

// inputs are what a worker's tasks read. They are fetched ahead of the tasks, within the worker's part of the memory.
type inputs struct {
	memory  *portions
	fetcher *kclient.Fetcher
	of      map[kclient.TopicPartition]*input
	held    int64     // bytes of all inputs
	strayed bool      // there may be an input whose partition does not hold its next offset
	zero    time.Time // of the monotonic clock by which tasks learn when an input was read to its end
}

func newInputs(m *portions, f *kclient.Fetcher) *inputs {
	return &inputs{memory: m, fetcher: f, of: map[kclient.TopicPartition]*input{}, zero: time.Now()}
}

// open takes in the inputs of a task.
func (s *inputs) open(j *job) {
	for _, in := range j.inputs {
		s.of[in.TopicPartition] = in
	}
}

// close ends the inputs of a task.
func (s *inputs) close(j *job) {
	for _, in := range j.inputs {
		s.fetcher.Unset(in.TopicPartition)
		s.hold(-in.held)
		delete(s.of, in.TopicPartition)
	}
}

// fetchFrom fetches an input from where its task is.
func (s *inputs) fetchFrom(in *input) {
	in.next, in.paused, in.outOfRange = in.job.next(in.TopicPartition), false, nil
	s.count(in)
	s.fetcher.Set(in.TopicPartition, in.next)
}

// suspend fetches no more of the inputs of a task that has let go of what it had of them. What comes after it is stale.
func (s *inputs) suspend(j *job) {
	for _, in := range j.inputs {
		s.fetcher.Unset(in.TopicPartition)
		in.next, in.outOfRange = in.job.next(in.TopicPartition), nil
		s.count(in)
	}
}

// add gives what was fetched to its task, and fetches the input no further that has its share of the memory. It returns
// the task, if that can go on; ready tells that there is something for it to do.
func (s *inputs) add(f *kclient.Fetched) (j *job, ready bool, err error) {
	in := s.of[f.TopicPartition]
	if in == nil || f.Stale() {
		return nil, false, nil
	}
	if f.Err != nil {
		out, ok := errors.AsType[*kclient.OutOfRangeError](f.Err)
		if !ok {
			return nil, false, f.Err
		}
		in.outOfRange, s.strayed = out, true
		return nil, false, nil
	}
	if err := in.add(f, s.millis(f.Asked)); err != nil {
		return nil, false, err
	}
	bytes, records := s.count(in)
	if (bytes > s.share() || bytes > 0 && s.loaded()) && !in.paused {
		in.paused = true
		s.fetcher.Pause(f.TopicPartition)
	}
	return in.job, bytes > 0 || records > 0 || in.job.task.Aligning.Reaches(), nil
}

// count notes what an input holds.
func (s *inputs) count(in *input) (bytes, records int) {
	bytes, records = in.buffered()
	s.hold(bytes - in.held)
	in.held = bytes
	return bytes, records
}

func (s *inputs) hold(bytes int) {
	s.held += int64(bytes)
	s.memory.fetched.Use(int64(bytes))
}

// loaded tells that the inputs hold what they may together. There is room left for the answers on their way.
func (s *inputs) loaded() bool {
	return s.held+int64(answersMost*s.memory.fetchBytes()) > s.memory.fetched.PartBytesMax()
}

// fetched is where inputs arrive. A worker that holds what it may takes nothing while it is busy: it makes progress, or
// a commit under way keeps it from that. Otherwise it takes more, for a task that waits for an input which has nothing:
// the others are paused.
func (s *inputs) fetched(busy bool) <-chan []kclient.Fetched {
	if busy && s.loaded() {
		return nil
	}
	return s.fetcher.Fetched()
}

// An input is fetched ahead by a few fetches, however few inputs share the memory: what lies there longer is no longer
// in the processor's cache when its turn comes.
const (
	fetchPartitionBytes = 1 << 20
	shareMost           = 4 * fetchPartitionBytes
	shareLeast          = 1 << 14
)

// share is how many bytes of one input may wait to be processed.
func (s *inputs) share() int {
	even := s.memory.fetched.PartBytesMax() / int64(max(len(s.of), 1))
	return int(min(max(even, shareLeast), shareMost))
}

// relax fetches inputs on that have worked off half of their share, and those that have nothing. It tells whether the
// task has anything left.
func (s *inputs) relax(j *job) (left bool) {
	for _, in := range j.inputs {
		bytes, records := s.count(in)
		left = left || bytes > 0 || records > 0
		if in.paused && (bytes == 0 || bytes <= s.share()/2 && !s.loaded()) {
			in.paused = false
			s.fetcher.Resume(in.TopicPartition)
		}
	}
	return left
}

// atEnd tells tasks with a use for it that the inputs which wait at their logs, in a broker in this process, have been
// read to their ends. For the other inputs each answer of the broker tells.
func (s *inputs) atEnd(j *job) error {
	if !j.task.Queues.WatchesEnds() {
		return nil
	}
	at := s.millis(time.Now())
	for _, in := range j.inputs {
		if !s.fetcher.Waits(in.TopicPartition, in.next) {
			continue
		}
		if err := j.task.Queues.AtEnd(in.Topic, in.Partition, at, at); err != nil {
			return err
		}
	}
	return nil
}

// millis is a time of the monotonic clock.
func (s *inputs) millis(at time.Time) int64 { return at.Sub(s.zero).Milliseconds() }
