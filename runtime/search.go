package runtime

import (
	"errors"
	"slices"
	"strings"
	"time"

	"thalweg/internal/kclient"
	"thalweg/topology"
)

// search finds the records whose results the broker refuses, such as one of a time that the topic does not take. The
// broker refuses a batch, after the records that led to it are processed. So the transaction is dropped, and the tasks
// that had a part in it are suspected: each processes its records again in transactions of its own, which are smaller,
// until one with a single record is refused. A suspect's transactions grow again with each one that the broker takes.
// So others do not suffer from a task of which the broker takes nothing, and that task is not refused more than once a
// record.
type search struct {
	app      *app
	warnings *warnings
	turns    *turns

	suspects []*suspect
	turn     int    // whose transaction was the last: a suspect's, or at their number that of all others together
	parts    []part // of the next commit
	records  int    // of all of them
	sealed   []part // of the commit under way
	underWay bool   // there is one
}

// suspect is a task of which the broker has refused something.
type suspect struct {
	job     *job
	most    int       // records of a transaction
	left    int       // records of the transaction that was refused last which are not past yet: it does not grow before
	refused time.Time // the last time
}

// part is what a task has processed for a commit.
type part struct {
	job     *job
	records int
	again   bool // a record that was blocked: how it ends says nothing about the next
}

const (
	// searchParts is in how many transactions the records of one that was refused are committed.
	searchParts = 8
	// suspectFor is how long a task stays suspected of which nothing more is refused, though it has few records.
	suspectFor = 10 * time.Second
)

// active tells that there are suspects: each transaction has the records of one of them, or those of the others.
func (s *search) active() bool { return len(s.suspects) > 0 }

func (s *search) of(j *job) *suspect {
	if i := slices.IndexFunc(s.suspects, func(p *suspect) bool { return p.job == j }); i >= 0 {
		return s.suspects[i]
	}
	return nil
}

// next is the suspect whose turn it is; nil: it is that of all others.
func (s *search) next() *suspect {
	if s.turn++; s.turn > len(s.suspects) {
		s.turn = 0
	}
	if s.turn == len(s.suspects) {
		return nil
	}
	return s.suspects[s.turn]
}

func (s *search) processed(j *job, records int, again bool) {
	if records == 0 {
		return
	}
	s.records += records
	for i := range s.parts {
		if p := &s.parts[i]; p.job == j && p.again == again {
			p.records += records
			return
		}
	}
	s.parts = append(s.parts, part{j, records, again})
}

// seal begins a commit with all that was processed.
func (s *search) seal() {
	s.parts, s.sealed = s.sealed[:0], s.parts
	s.records, s.underWay = 0, true
}

// endSealed forgets the commit that was under way.
func (s *search) endSealed() {
	clear(s.sealed)
	s.sealed, s.underWay = s.sealed[:0], false
}

// committed tells that the commit under way is made.
func (s *search) committed(now time.Time) {
	for _, done := range s.sealed {
		p := s.of(done.job)
		if p == nil {
			continue
		}
		if p.left -= done.records; p.left <= 0 && !done.again {
			p.most *= 2
		}
	}
	s.endSealed()
	s.suspects = slices.DeleteFunc(s.suspects, func(p *suspect) bool {
		return p.most > stepRecords || p.left <= 0 && now.Sub(p.refused) > suspectFor
	})
}

// discarded tells that all is dropped that is not committed.
func (s *search) discarded() {
	s.endSealed()
	clear(s.parts)
	s.parts, s.records = s.parts[:0], 0
}

// forget is for a task that is closed.
func (s *search) forget(j *job) {
	s.suspects = slices.DeleteFunc(s.suspects, func(p *suspect) bool { return p.job == j })
}

// narrow makes the next transactions of those smaller that had a part in one. It returns the task whose record has been
// found; ok is false where the refusal is no record's.
func (s *search) narrow(now time.Time) (found *job, ok bool) {
	parts := s.parts
	if s.underWay { // only what is sealed was sent
		parts = s.sealed
	}
	records := map[*job]int{}
	for _, done := range parts {
		records[done.job] += done.records
	}
	for _, done := range parts { // in their order
		n := records[done.job]
		delete(records, done.job)
		p := s.of(done.job)
		switch {
		case n == 0:
			continue
		case p == nil:
			p = &suspect{job: done.job}
			s.suspects = append(s.suspects, p)
		case p.most == 1 && n == 1 && len(parts) == 1:
			found = p.job
		}
		p.most, p.left, p.refused = max(1, n/searchParts), n, now
		ok = true
	}
	s.discarded()
	return found, ok
}

// isolate handles a refusal of the broker: it tells whether going back and on leads anywhere, and what to do after it.
func (s *search) isolate(cause error) (afterwards func() error, ok bool) {
	if _, decided := errors.AsType[*topology.ProcessingError](cause); decided || !kclient.IsRefusal(cause) {
		return nil, false
	}
	var at kclient.TopicPartition
	if e, ok := errors.AsType[*kclient.ProduceError](cause); ok {
		at = e.TopicPartition
	}
	if at.Topic == s.app.noted.topic {
		return nil, false // it is no record's doing
	}
	now := s.app.cfg.Clock()
	found, ok := s.narrow(now)
	if !ok {
		return nil, false
	}
	if found == nil {
		if n, ok := s.warnings.sparing.say("batch "+at.Topic, now); ok {
			s.warnings.log.Warn("the broker refuses a batch: the records that led to it are processed again in smaller "+
				"transactions, to find the one of this; if it finds none, a batch is larger than the topic takes: lower "+
				"Config.Limits.BatchBytes",
				"topic", at.Topic, "partition", at.Partition, "times", n, "err", cause)
		}
		return nil, true
	}
	m := found.task.Last()
	if n, ok := s.warnings.sparing.say("record "+at.Topic, now); ok {
		s.warnings.log.Warn("the broker refuses what follows from a record: Config.Errors.Encode decides about the record",
			"topic", at.Topic, "partition", at.Partition, "task", found.id.String(), "node", s.writer(found.id, at.Topic),
			"input", m.Topic, "inputPartition", m.Partition, "offset", m.Offset, "records", n, "err", cause)
	}
	return func() error {
		err := found.task.Retries.Refuse(m, cause)
		s.turns.called(found)
		s.turns.wake(found)
		return err
	}, true
}

// writer names what of a task writes to a topic.
func (s *search) writer(id TaskID, topic string) string {
	var named, chosen []string
	for _, n := range s.app.topo.Subtopologies()[id.Subtopology].Nodes {
		switch {
		case n.Kind != topology.KindSink:
		case n.Sink.Name != "" && n.Sink.In(s.app.cfg.ApplicationID) == topic:
			named = append(named, n.Name)
		case n.RecordsNameTopic:
			chosen = append(chosen, n.Name)
		}
	}
	switch store := s.app.layout().storeOf(topic); {
	case len(named) > 0:
		return strings.Join(named, ", ")
	case store != "":
		return "store " + store
	default:
		return strings.Join(chosen, ", ")
	}
}
