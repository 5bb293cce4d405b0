package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// noticeAfter is how long a command waits for its broker without a word.
const noticeAfter = 5 * time.Second

// patience watches how long a command has been waiting for its broker. It says so on standard error after a while, and
// ends the command at the limit. A command that asks once has the limit for all of it; one that goes on calls progress.
type patience struct {
	brokers string
	limit   time.Duration // 0: none
	out     io.Writer
	// pending tells whether the command waits for the broker at all; nil: always.
	pending func() bool
	// stream makes each answer count as progress. Answers that a client gets which reaches a seed address and nothing
	// else do not count.
	stream bool

	mu      sync.Mutex
	since   time.Time
	said    bool
	joining bool  // a group: its members may take long, and that is no silence
	cause   error // of the last attempt; nil: there was none
}

// silentError is what ends a command whose broker does not answer.
type silentError struct {
	brokers string
	limit   time.Duration
	cause   error
}

func (e *silentError) Error() string {
	text := fmt.Sprintf("no answer from the broker at %s within %v", e.brokers, e.limit)
	if e.cause != nil {
		text += fmt.Sprintf(" (%v)", e.cause)
	}
	return text + ": see that it runs and can be reached at the address that it advertises; -timeout says how long to wait"
}

func (e *silentError) Unwrap() error { return e.cause }

// progress says that what the command waited for has come.
func (p *patience) progress() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.since, p.said = time.Now(), false
}

// answered says that the broker is there.
func (p *patience) answered() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cause = nil
}

// watch runs until the context ends, and ends it at the limit.
func (p *patience) watch(ctx context.Context, end context.CancelCauseFunc) {
	notice := noticeAfter
	if p.limit > 0 {
		notice = min(notice, p.limit/2)
	}
	tick := time.NewTicker(max(time.Millisecond, notice/10))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if p.pending != nil && !p.pending() {
			p.progress()
			continue
		}
		p.mu.Lock()
		quiet, joining, cause := time.Since(p.since), p.joining, p.cause
		say := quiet >= notice && !p.said && !joining
		p.said = p.said || say
		p.mu.Unlock()
		if say {
			p.say(quiet, cause)
		}
		if p.limit > 0 && quiet >= p.limit && !joining {
			end(&silentError{p.brokers, p.limit, cause})
			return
		}
	}
}

func (p *patience) say(quiet time.Duration, cause error) {
	text := fmt.Sprintf("thalweg: no answer from the broker at %s for %v", p.brokers, quiet.Round(100*time.Millisecond))
	if cause != nil {
		text += fmt.Sprintf(" (%v)", cause)
	}
	if p.limit > 0 {
		text += fmt.Sprintf("; giving up after %v (-timeout)", p.limit)
	}
	fmt.Fprintln(p.out, text)
}

// OnBrokerConnect makes patience a hook of the client.
func (p *patience) OnBrokerConnect(_ kgo.BrokerMetadata, _ time.Duration, _ net.Conn, err error) {
	if err != nil {
		p.failed(err)
	}
}

// OnBrokerWrite makes patience a hook of the client.
func (p *patience) OnBrokerWrite(_ kgo.BrokerMetadata, key int16, _ int, _, _ time.Duration, err error) {
	if key == int16(kmsg.JoinGroup) && err == nil {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.joining = true
	}
}

// OnBrokerRead makes patience a hook of the client.
func (p *patience) OnBrokerRead(_ kgo.BrokerMetadata, key int16, _ int, _, _ time.Duration, err error) {
	switch kmsg.Key(key) {
	case kmsg.JoinGroup:
		p.mu.Lock()
		p.joining = false
		p.mu.Unlock()
	case kmsg.ApiVersions, kmsg.Metadata, kmsg.FindCoordinator:
		if err == nil {
			return
		}
	}
	if err != nil {
		p.failed(err)
	} else if p.stream {
		p.answered()
		p.progress()
	}
}

func (p *patience) failed(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cause = err
}
