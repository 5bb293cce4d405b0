package broker

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/uuid"

	"thalweg/broker/internal/coord"
	"thalweg/broker/internal/group"
	"thalweg/broker/internal/log"
	"thalweg/broker/internal/meta"
	"thalweg/broker/internal/txn"
	"thalweg/internal/clock"
)

// nodeID is the id of the only node that there is.
const nodeID = 1

// broker is what a Broker is made of.
type broker struct {
	cfg       Config
	clusterID string
	handlers  map[int16]*handler
	server    *server

	lock     io.Closer
	steady   *clock.Steady // what ages are counted by
	timeFile vfs.File
	syncer   *log.Syncer
	memory   *log.Memory
	metaLog  *log.Log

	// The coordinators. A machine is touched within its shard's steps only.
	meta         *coord.Shard
	metaMachine  *meta.Machine
	groups       *coord.Shard
	groupMachine *group.Machine
	txns         *coord.Shard
	txnMachine   *txn.Machine

	topics            topics
	offsets, txnState *partition
	gates             gates
	pids              producerIDs
	configTable       []topicConfig // of topics, by name
	hints             sync.Map      // names of configurations without effect that were spoken of
	// admin is held while topics are made, changed or deleted.
	admin sync.Mutex

	maintain maintenance
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
	errs := []error{b.server.close()}
	b.stopMaintenance()
	for _, shard := range []*coord.Shard{b.groups, b.txns} {
		if shard != nil {
			shard.Close()
		}
	}
	b.background.Wait()
	if set := b.topics.load(); set != nil {
		for p := range set.online() {
			errs = append(errs, p.log.Close())
		}
	}
	if b.meta != nil {
		b.meta.Close()
	}
	if b.metaLog != nil {
		errs = append(errs, b.metaLog.Close())
	}
	if b.syncer != nil {
		b.syncer.Close()
	}
	if b.steady != nil {
		errs = append(errs, b.stopTime())
	}
	if b.lock != nil {
		errs = append(errs, b.lock.Close())
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("broker: close: %w", err)
	}
	return nil
}

func (b *broker) ClusterID() string { return b.clusterID }

// closedOr returns the error of a call that came to an end: that the broker was closed, or the context's.
func (b *broker) closedOr(ctx context.Context) error {
	select {
	case <-b.stop:
		return ErrClosed
	default:
		return ctx.Err()
	}
}

// ErrClosed is what a broker answers after Close. It does not open again: the application is closed before its broker.
var ErrClosed = errors.New("broker: closed")

// waitDurable waits for a coordinator's log where no client waits.
func (b *broker) waitDurable(s *coord.Shard, ticket int64) error {
	ctx, cancel := context.WithTimeout(context.Background(), storageTimeout)
	defer cancel()
	return s.Wait(ctx, ticket)
}

// storageTimeout bounds waiting for the disk: whatever takes longer has failed.
const storageTimeout = time.Minute

func newID() [16]byte { return uuid.New() }

// encodeID writes an id as Kafka's tools do.
func encodeID(id [16]byte) string { return base64.RawURLEncoding.EncodeToString(id[:]) }

// maintenance is the clock of retention and compaction.
type maintenance struct {
	mu      sync.Mutex
	stop    func() bool
	stopped bool
}

func (b *broker) maintainAfter(d time.Duration) {
	m := &b.maintain
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.stopped {
		m.stop = b.cfg.Clock.AfterFunc(d, b.runMaintenance)
	}
}

func (b *broker) stopMaintenance() {
	m := &b.maintain
	m.mu.Lock()
	defer m.mu.Unlock()
	m.stopped = true
	if m.stop != nil {
		m.stop()
	}
}

// runMaintenance gives every log its turn, one after the other.
func (b *broker) runMaintenance() {
	m := &b.maintain
	m.mu.Lock()
	if m.stopped {
		m.mu.Unlock()
		return
	}
	b.background.Add(1)
	m.mu.Unlock()
	defer b.background.Done()
	b.keepTime()
	for p := range b.topics.load().online() {
		select {
		case <-b.stop:
			return
		default:
		}
		if err := p.log.Maintain(); err != nil {
			b.cfg.Logger.Error("broker: maintenance", "topic", p.topic, "partition", p.index, "err", err)
		}
	}
	b.maintainAfter(maintainEvery)
}
