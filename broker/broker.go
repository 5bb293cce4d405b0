package broker

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/uuid"

	"thalweg/broker/internal/coord"
	"thalweg/broker/internal/group"
	"thalweg/broker/internal/log"
	"thalweg/broker/internal/meta"
	"thalweg/broker/internal/txn"
	"thalweg/internal/clock"
	"thalweg/internal/direct"
	"thalweg/internal/memory"
)

// nodeID is the id of the only node that there is.
const nodeID = 1

// broker is what a Broker is made of.
type broker struct {
	cfg       Config
	clusterID string
	handlers  map[int16]*handler
	server    *server
	control   *control // nil without a socket

	lock       io.Closer
	steady     *clock.Steady // what ages are counted by
	timeFile   vfs.File
	syncer     *log.Syncer
	closeFS    func() error   // releases what the syncer uses to sync the whole file system
	member     *memory.Member // of the process's memory limit; nil before
	tails      *memory.Share
	compaction *memory.Share
	*requestMemory
	memory    *log.Memory // of tails
	pacer     *log.Pacer  // of compaction
	files     *log.Files
	gathering *log.Gathering // of what concerns many logs at a time
	metaLog   *log.Log

	// The coordinators. A machine is touched within its shard's steps only.
	meta         *coord.Shard
	metaMachine  *meta.Machine
	groups       *coord.Shard
	groupMachine *group.Machine
	txns         *coord.Shard
	txnMachine   *txn.Machine

	sessions          fetchSessions
	topics            topics
	offsets, txnState *partition
	fences            txnFences
	pids              producerIDs
	configTable       atomic.Pointer[[]configKey] // of topics, by name
	connectionsMax    atomic.Int64
	compactionBytes   atomic.Int64 // that compaction may read and write in a second
	hints             sync.Map     // names of configurations whose lack of effect was logged
	sparing           sparing
	// admin is held while topics are made, changed or deleted.
	admin   sync.Mutex
	copying sync.Mutex // one backup at a time
	remover remover

	counters counters
	work     sync.Mutex // guards closing, and the clocks of the chores
	closing  bool

	maintain, compact chore
	// background counts goroutines that end by themselves. stop tells them to hurry.
	background sync.WaitGroup
	stop       chan struct{}
	closeOnce  sync.Once
	closeErr   error
}

func (b *broker) Close() error {
	b.closeOnce.Do(func() { b.closeErr = b.close() })
	return b.closeErr
}

func (b *broker) close() error {
	close(b.stop)
	errs := []error{b.server.close(), b.control.close()}
	b.endWork()
	for _, shard := range []*coord.Shard{b.groups, b.txns} {
		if shard != nil {
			shard.Close()
		}
	}
	b.background.Wait()
	if set := b.topics.load(); set != nil {
		logs := slices.Collect(set.online())
		closed := make([]error, len(logs))
		b.gathering.Each(len(logs), func(i int, together *log.Together) {
			closed[i] = logs[i].log.CloseTogether(together)
		})
		errs = append(errs, closed...)
	}
	if b.meta != nil {
		b.meta.Close()
	}
	if b.metaLog != nil {
		errs = append(errs, b.metaLog.Close())
	}
	if b.syncer != nil {
		b.syncer.Close()
		errs = append(errs, b.closeFS())
	}
	if b.steady != nil {
		errs = append(errs, b.stopTime())
	}
	if b.lock != nil {
		errs = append(errs, b.lock.Close())
	}
	b.leaveMemory()
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("broker: close: %w", err)
	}
	return nil
}

func (b *broker) ClusterID() string { return b.clusterID }

// closedOr returns the error of a call that came to an end: that the broker was closed, or the context's.
func (b *broker) closedOr(ctx context.Context) error {
	if b.stopping() {
		return ErrClosed
	}
	return ctx.Err()
}

// ErrClosed is what a broker answers after Close. It does not open again: the application is closed before its broker.
var ErrClosed = direct.ErrClosed

// waitDurable waits for a coordinator's log where no client waits.
func (b *broker) waitDurable(s *coord.Shard, lsn int64) error {
	ctx, cancel := context.WithTimeout(context.Background(), storageTimeout)
	defer cancel()
	return s.Wait(ctx, lsn)
}

// storageTimeout bounds waiting for the disk: whatever takes longer has failed.
const storageTimeout = time.Minute

func newID() [16]byte { return uuid.New() }

// encodeID writes an id as Kafka's tools do.
func encodeID(id [16]byte) string { return base64.RawURLEncoding.EncodeToString(id[:]) }

// startWork adds to what the broker waits for when it closes. It reports false when the broker closes already.
func (b *broker) startWork() bool {
	b.work.Lock()
	defer b.work.Unlock()
	if !b.closing {
		b.background.Add(1)
	}
	return !b.closing
}

// endWork lets no more work begin.
func (b *broker) endWork() {
	b.work.Lock()
	defer b.work.Unlock()
	b.closing = true
	for _, c := range []*chore{&b.maintain, &b.compact} {
		if c.stop != nil {
			c.stop()
		}
	}
}

// chore is a job that is done again and again.
type chore struct {
	job   func()
	every time.Duration // from its end to the next time
	stop  func() bool   // of the clock; nil before the first time
}

// startChore does a chore after a while for the first time.
func (b *broker) startChore(c *chore, first time.Duration, job func()) {
	b.work.Lock()
	defer b.work.Unlock()
	c.job = job
	b.arm(c, first)
}

// setEvery changes how often a chore is done. Its wait starts over.
func (b *broker) setEvery(c *chore, every time.Duration) {
	b.work.Lock()
	defer b.work.Unlock()
	changed := c.every != every
	c.every = every
	if changed && c.stop != nil && c.stop() {
		b.arm(c, every)
	}
}

// arm has a chore done after d. b.work is held.
func (b *broker) arm(c *chore, d time.Duration) {
	if b.closing {
		return
	}
	c.stop = b.cfg.Clock.AfterFunc(d, func() {
		if !b.startWork() {
			return
		}
		defer b.background.Done()
		c.job()
		b.work.Lock()
		defer b.work.Unlock()
		b.arm(c, c.every)
	})
}

// maintainLogs gives every log its turn, one after the other: retention above all.
func (b *broker) maintainLogs() {
	b.keepTime()
	b.eachLog("maintenance", (*log.Log).Maintain)
}

// compactLogs compacts every log that needs it, one after the other. That may take long; maintenance runs meanwhile.
func (b *broker) compactLogs() {
	b.eachLog("compaction", func(l *log.Log) error { return l.Compact(b.stop) })
}

func (b *broker) eachLog(what string, do func(*log.Log) error) {
	for p := range b.topics.load().online() {
		select {
		case <-b.stop:
			return
		default:
		}
		if err := do(p.log); err != nil && !errors.Is(err, log.ErrClosed) { // its topic was deleted meanwhile
			b.cfg.Logger.Error("broker: "+what, "topic", p.topic, "partition", p.index, "err", b.advised(p, err))
		}
	}
}
