package main

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"thalweg/serde"
	"thalweg/stream"
	"thalweg/topology"
)

// Mail is a job: somebody has to get it. The key of its record is the job's id.
type Mail struct {
	To      string `json:"to"`
	Subject string `json:"subject"`
}

// Receipt says that a job is done.
type Receipt struct {
	To string `json:"to"`
	ID string `json:"id"` // by which the mail server knows the mail
}

// The topics: the queue, what was done, and what could not be done. A dead letter is the job as it was, byte by byte,
// with headers that say what went wrong. So it can be sent to the queue again.
var (
	Queue    = stream.NewTopic[string, Mail]("mail-queue").Values(serde.JSON[Mail]())
	Receipts = stream.NewTopic[string, Receipt]("mail-receipts").Values(serde.JSON[Receipt]())
	Failed   = stream.NewTopic[string, []byte]("mail-failed")
)

// build is the whole program. Each job has one receipt, but it may run more than once: when another job fails, or the
// process does, the work since the last commit is rolled back and repeated. So the mail server is told the job's id, by
// which it ignores a second call.
func build(server *mailServer) (*stream.Topology, error) {
	deliver := func(_ *stream.Call, job string, m Mail) (Receipt, error) {
		id, err := server.deliver(job, m)
		return Receipt{To: m.To, ID: id}, err
	}
	b := stream.NewBuilder()
	b.Stream(Queue).
		Try().MapValues(deliver).
		To(Receipts)
	return b.Build()
}

// policy says what happens to jobs that fail. A job that may succeed later is tried five times, with pauses of 20, 40,
// 80 and 160 ms. Its partition of the queue waits for it, so that jobs keep their order; the others go on.
func policy() topology.Errors {
	return topology.Errors{
		Decode:      topology.DeadLetter, // a job that nobody can read
		Process:     topology.Retry{First: 20 * time.Millisecond, Attempts: 5, Then: topology.DeadLetter},
		DeadLetters: Failed.Name(),
		Handle: func(e *topology.ProcessingError) topology.Action {
			if errors.Is(e.Err, errNoMailbox) {
				return topology.DeadLetter // trying again would not help
			}
			return nil // as above
		},
	}
}

var (
	errNoMailbox = errors.New("no such mailbox")
	errBusy      = errors.New("the mail server is busy")
)

// mailServer stands for a service that is sometimes not there. Several tasks call it at the same time.
type mailServer struct {
	mu        sync.Mutex
	mailboxes map[string]bool
	busy      map[string]int    // job → for how many more calls the server is busy
	delivered map[string]string // job → the mail's id
}

func newMailServer(mailboxes ...string) *mailServer {
	s := &mailServer{mailboxes: map[string]bool{}, busy: map[string]int{}, delivered: map[string]string{}}
	for _, m := range mailboxes {
		s.mailboxes[m] = true
	}
	return s
}

// deliver puts the mail into a mailbox. Called again with the same job, it does nothing new.
func (s *mailServer) deliver(job string, m Mail) (id string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.delivered[job] != "":
		return s.delivered[job], nil
	case s.busy[job] > 0:
		s.busy[job]--
		return "", errBusy
	case !s.mailboxes[m.To]:
		return "", fmt.Errorf("%s: %w", m.To, errNoMailbox)
	}
	s.delivered[job] = "<" + job + "@mail>"
	return s.delivered[job], nil
}

// open makes a mailbox.
func (s *mailServer) open(mailbox string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mailboxes[mailbox] = true
}
