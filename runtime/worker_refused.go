package runtime

import (
	"errors"

	"thalweg/internal/link"
	"thalweg/topology"
)

// search finds the record whose results the broker refuses, such as one of a time that the topic does not take. The
// broker refuses a batch, after the records that led to it are processed. So the transaction is dropped, and its
// records are processed again in smaller transactions, until one with a single record is refused.
type search struct {
	most  int  // records of a transaction; 0: there is no search
	left  int  // records that are not past yet
	count int  // records since the last commit
	job   *job // of the last of them
}

// searchParts is in how many transactions the records of one that was refused are committed.
const searchParts = 8

// budget is how many records a task may process at a time; 0: none, before the commit.
func (s *search) budget() int {
	if s.most == 0 {
		return stepRecords
	}
	return max(s.most-s.count, 0)
}

func (s *search) processed(j *job, n int) {
	if n > 0 {
		s.count += n
		s.job = j
	}
}

// due tells that the transaction has as many records as it may.
func (s *search) due() bool { return s.most > 0 && s.count >= s.most }

func (s *search) committed() {
	if s.left -= s.count; s.left <= 0 {
		s.most = 0
	}
	s.count = 0
}

// narrow makes the next transactions smaller. It returns the task whose record has been found; ok is false where the
// refusal is no record's.
func (s *search) narrow() (found *job, ok bool) {
	n := s.count
	s.count = 0
	switch {
	case n == 0:
		return nil, false
	case s.most != 1:
		s.most, s.left = max(1, n/searchParts), n
		return nil, true
	}
	return s.job, true
}

// isolate handles a refusal of the broker: it tells whether going back and on leads anywhere, and what to do after it.
func (w *worker) isolate(cause error) (afterwards func() error, ok bool) {
	if _, decided := errors.AsType[*topology.ProcessingError](cause); decided || !link.IsRefusal(cause) {
		return nil, false
	}
	found, ok := w.search.narrow()
	if !ok {
		return nil, false
	}
	if found == nil {
		w.log.Warn("the broker refuses what was produced: looking for the record", "err", cause)
		return nil, true
	}
	m := found.task.Last()
	w.log.Warn("the broker refuses what follows from a record", "topic", m.Topic, "partition", m.Partition,
		"offset", m.Offset, "err", cause)
	return func() error { return found.task.Refuse(m, cause) }, true
}
