package broker

import (
	"cmp"
	"context"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"thalweg/broker/internal/log"
	"thalweg/internal/direct"
)

// A fetch session (KIP-227) remembers what a client fetches. Its requests name the partitions that have changed, its
// answers those with something new. A partition without records waits at its log, by a watch, until there are some. So
// a request costs what the active partitions cost, however many the session has.
type fetchSession struct {
	id   int32
	byID bool          // its requests name topics by id
	turn chan struct{} // one request at a time, at first the one that begins the session; it guards the next four
	iso  log.Isolation
	// epoch is that of the next request.
	epoch int32
	parts map[partitionKey]*sessionPart
	ended atomic.Bool

	used time.Time // with size guarded by fetchSessions.mu
	size int       // partitions

	mu    sync.Mutex
	ready []*sessionPart // to be looked at, in this order
	wake  chan struct{}
}

// sessionPart is a partition of a session. It is in the session's list, in a fetch in progress, or waits.
type sessionPart struct {
	key    partitionKey
	wanted wanted
	watch  *log.Watch
	at     *log.Log // where watch was registered last
	// What the client knows; -1 is nothing.
	high, start int64

	listed bool // fetchSession.mu
	gone   bool
}

const (
	sessionsMax          = 1000 // Apache Kafka's default
	sessionPartitionsMax = 200_000
	sessionIdleTimeout   = 2 * time.Minute // then others may take its place
)

// fetchSessions are those of all clients. A session outlives its connection.
type fetchSessions struct {
	now        func() time.Time
	mu         sync.Mutex
	byID       map[int32]*fetchSession
	partitions int
}

// begin makes a session of a fetch of all its partitions. Without a place for it, the id is 0: there is none.
func (ss *fetchSessions) begin(f *fetch, byID bool) (id int32) {
	s := &fetchSession{
		byID: byID, turn: make(chan struct{}, 1), iso: f.iso, epoch: 1, parts: map[partitionKey]*sessionPart{},
		wake: make(chan struct{}, 1),
	}
	if len(f.parts) == 0 || !ss.put(s, len(f.parts)) {
		return 0
	}
	for i := range f.parts {
		part, r := &f.parts[i], &f.results[i]
		part.member = s.member(part.key)
		part.member.wanted = wanted{offset: part.offset, maxBytes: int32(part.maxBytes), epoch: part.epoch}
		part.member.tell(r)
	}
	s.settle(f)
	s.leave(ss)
	return s.id
}

// put finds a place and an id for a session.
func (ss *fetchSessions) put(s *fetchSession, size int) bool {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	full := func() bool { return len(ss.byID) >= sessionsMax || ss.partitions+size > sessionPartitionsMax }
	now := ss.now()
	for full() {
		var oldest *fetchSession
		for _, other := range ss.byID {
			if oldest == nil || other.used.Before(oldest.used) {
				oldest = other
			}
		}
		if oldest == nil || now.Sub(oldest.used) < sessionIdleTimeout {
			return false
		}
		ss.remove(oldest)
	}
	if ss.byID == nil {
		ss.byID = map[int32]*fetchSession{}
	}
	for s.id == 0 || ss.byID[s.id] != nil {
		s.id = 1 + rand.Int32N(math.MaxInt32-1)
	}
	s.used, s.size = now, size
	ss.byID[s.id], ss.partitions = s, ss.partitions+size
	return true
}

// remove ends a session. ss.mu is held.
func (ss *fetchSessions) remove(s *fetchSession) {
	delete(ss.byID, s.id)
	ss.partitions -= s.size
	s.ended.Store(true)
	select {
	case <-s.turn:
		s.unwatch()
		s.turn <- struct{}{}
	default: // the request in progress does it
	}
}

// end removes a session, which need not exist.
func (ss *fetchSessions) end(id int32) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	if s := ss.byID[id]; s != nil {
		ss.remove(s)
	}
}

// enter takes the turn of a request, in its order.
func (ss *fetchSessions) enter(ctx context.Context, req *kmsg.FetchRequest) (*fetchSession, *kerr.Error) {
	ss.mu.Lock()
	s := ss.byID[req.SessionID]
	ss.mu.Unlock()
	if s == nil {
		return nil, kerr.FetchSessionIDNotFound
	}
	select {
	case <-s.turn:
	case <-ctx.Done():
		return nil, kerr.FetchSessionIDNotFound
	}
	var err *kerr.Error
	switch {
	case s.ended.Load():
		err = kerr.FetchSessionIDNotFound
	case s.epoch != req.SessionEpoch:
		err = kerr.InvalidFetchSessionEpoch
	case s.byID != (req.Version >= 13):
		err = kerr.FetchSessionTopicIDError
	}
	if err != nil {
		s.leave(ss)
		return nil, err
	}
	if s.epoch++; s.epoch < 0 {
		s.epoch = 1
	}
	return s, nil
}

// leave gives the turn back. It ends a session that has no partitions left, or that has grown beyond the limit of all
// sessions: its client begins another one, or fetches without.
func (s *fetchSession) leave(ss *fetchSessions) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	if !s.ended.Load() {
		ss.partitions += len(s.parts) - s.size
		s.size, s.used = len(s.parts), ss.now()
		if s.size == 0 || ss.partitions > sessionPartitionsMax {
			ss.remove(s)
		}
	}
	if s.ended.Load() {
		s.unwatch()
	}
	s.turn <- struct{}{}
}

// fetchOfSession answers a request of a session after its first.
func (b *broker) fetchOfSession(ctx context.Context, req *kmsg.FetchRequest) (answer, error) {
	s, kerror := b.sessions.enter(ctx, req)
	if kerror != nil {
		return answer{parts: encodeFetch(req.Version, 0, kerror, nil)}, nil
	}
	f := b.newFetch(req)
	f.session = s
	s.update(f, req)
	f.join()
	err := f.run(ctx)
	id := s.id
	if len(s.parts) == 0 {
		id = 0
	}
	entries := f.entries(func(p *fetchPart, r *direct.FetchResult) bool { return p.member.tell(r) })
	slices.SortStableFunc(entries, func(a, b fetchEntry) int { // so that those of a topic stand together
		return cmp.Or(strings.Compare(a.topic, b.topic), slices.Compare(a.id[:], b.id[:]))
	})
	s.settle(f)
	s.leave(&b.sessions)
	return answer{parts: encodeFetch(req.Version, id, nil, entries), held: f.held}, err
}

// member returns a partition of the session, a new one if need be.
func (s *fetchSession) member(key partitionKey) *sessionPart {
	p := s.parts[key]
	if p == nil {
		p = &sessionPart{key: key, high: -1, start: -1}
		p.watch = log.NewWatchFunc(func() { s.list(p) })
		s.parts[key] = p
	}
	return p
}

// update takes the changes of a request, and lists what has changed.
func (s *fetchSession) update(f *fetch, req *kmsg.FetchRequest) {
	for i := range req.ForgottenTopics {
		t := &req.ForgottenTopics[i]
		for _, index := range t.Partitions {
			key := keyOf(req.Version, t.Topic, t.TopicID, index)
			if p := s.parts[key]; p != nil {
				p.unwatch()
				s.mu.Lock()
				p.gone = true
				s.mu.Unlock()
				delete(s.parts, key)
			}
		}
	}
	f.eachOf(req, func(key partitionKey, p *kmsg.FetchRequestTopicPartition) {
		m := s.member(key)
		m.unwatch()
		m.wanted = wanted{offset: p.FetchOffset, maxBytes: p.PartitionMaxBytes, epoch: p.CurrentLeaderEpoch}
		s.list(m)
	})
	if s.iso != f.iso { // partitions wait for something else now
		s.iso = f.iso
		for _, p := range s.parts {
			p.unwatch()
			s.list(p)
		}
	}
}

// list queues a partition for the fetch in progress, or for the next one.
func (s *fetchSession) list(p *sessionPart) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p.listed || p.gone {
		return
	}
	p.listed = true
	s.ready = append(s.ready, p)
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// join adds the listed partitions of the session to the fetch.
func (f *fetch) join() {
	s := f.session
	s.mu.Lock()
	ready := s.ready
	s.ready = nil
	for _, p := range ready {
		p.listed = false
	}
	s.mu.Unlock()
	for _, p := range ready {
		if !p.gone {
			f.add(p.key, p.wanted, p)
		}
	}
}

// settle lists the partitions of a fetch that have more to read, and lets the others wait: for what comes after this
// fetch, or for anything at all where a full answer passed over them. Those that were read go behind the others: when
// an answer is full, it is their turn last next time.
func (s *fetchSession) settle(f *fetch) {
	var read []*sessionPart
	for i := range f.parts {
		part, r := &f.parts[i], &f.results[i]
		p := part.member
		if len(r.Batches) > 0 {
			read = append(read, p)
			continue
		}
		if part.target != nil && r.Err == nil {
			p.at = part.target.log
			known := p.wanted.offset
			if !part.passed {
				known = max(known, f.beyond(r))
			}
			if !p.at.Watch(p.watch, r.LogStartOffset, known, s.iso) {
				continue
			}
		}
		s.list(p)
	}
	for _, p := range read {
		s.list(p)
	}
}

// unwatch ends all waiting. The turn is the caller's.
func (s *fetchSession) unwatch() {
	for _, p := range s.parts {
		p.unwatch()
	}
}

func (p *sessionPart) unwatch() {
	if p.at != nil {
		p.at.Unwatch(p.watch)
		p.at = nil
	}
}

// tell notes what the client knows once it has a result, and reports whether the result has news.
func (p *sessionPart) tell(r *direct.FetchResult) bool {
	news := len(r.Batches) > 0 || r.Err != nil || r.HighWatermark != p.high || r.LogStartOffset != p.start
	p.high, p.start = r.HighWatermark, r.LogStartOffset
	if r.Err != nil {
		p.high = -1 // so that the end of the error is news
	}
	return news
}
