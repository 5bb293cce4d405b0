package broker

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/uuid"

	"thalweg/broker/internal/coord"
	"thalweg/broker/internal/group"
	"thalweg/broker/internal/log"
	"thalweg/broker/internal/meta"
	"thalweg/broker/internal/txn"
)

const (
	internalSegmentBytes = 16 << 20
	snapshotBytes        = 16 << 20
	producerIDBlock      = 1000
	maintainEvery        = 30 * time.Second
	transactionalIDAge   = 7 * 24 * time.Hour
	maxOffsetMetadata    = 4096
)

// recover opens everything that the data directory holds.
func (b *Broker) recover() error {
	fs, dir := b.cfg.FS, b.cfg.Dir
	if err := makeDir(fs, dir); err != nil {
		return fmt.Errorf("broker: make data directory %s: %w", dir, err)
	}
	var err error
	if b.lock, err = lockDir(fs, dir); err != nil {
		return err
	}
	b.syncer = log.NewSyncer(log.SyncerOptions{Mode: b.cfg.Sync, AfterFunc: b.cfg.Clock.AfterFunc})
	b.memory = log.NewMemory(b.cfg.MaxTailBytes)
	if err := b.recoverMetadata(); err != nil {
		return err
	}
	if err := b.recoverTopics(); err != nil {
		return err
	}
	return b.recoverCoordinators()
}

// makeDir makes a directory and those above it, durably.
func makeDir(fs vfs.FS, dir string) error {
	if _, err := fs.Stat(dir); err == nil {
		return nil
	}
	parent := fs.PathDir(dir)
	if parent != dir {
		if err := makeDir(fs, parent); err != nil {
			return err
		}
	}
	if err := fs.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	d, err := fs.OpenDir(parent)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func (b *Broker) recoverMetadata() error {
	l, err := b.openLog(metadataName, 0, log.Config{SegmentBytes: internalSegmentBytes})
	if err != nil {
		return err
	}
	b.metaLog = l
	if b.meta, err = b.openShard(b.metaMachine, l, nil); err != nil {
		return err
	}
	if b.metaMachine.ClusterID() == "" {
		id := uuid.New()
		err := b.changeMetadata(func() (coord.Step, error) { return b.metaMachine.SetClusterID(encodeID(id)) })
		if err != nil {
			return err
		}
	}
	b.clusterID = b.metaMachine.ClusterID()
	return nil
}

func (b *Broker) openShard(m coord.Machine, l *log.Log, onTick func()) (*coord.Shard, error) {
	return coord.Open(coord.Config{
		Machine: m, Log: l, Now: b.cfg.Clock.Now, AfterFunc: b.cfg.Clock.AfterFunc, Logger: b.cfg.Logger,
		SnapshotBytes: snapshotBytes, OnTick: onTick,
	})
}

func (b *Broker) openLog(topic string, index int32, cfg log.Config) (*log.Log, error) {
	l, err := log.Open(log.Options{
		FS: b.cfg.FS, Dir: b.cfg.FS.PathJoin(b.cfg.Dir, partitionDir(topic, index)),
		Topic: topic, Partition: index, Now: b.cfg.Clock.Now, Syncer: b.syncer, Memory: b.memory,
		Logger: b.cfg.Logger, Config: cfg,
	})
	if err != nil {
		return nil, fmt.Errorf("broker: open %s: %w", partitionDir(topic, index), err)
	}
	return l, nil
}

// recoverTopics opens the logs of all topics and removes what deletions left behind. A directory belongs to the topic
// of its name: a topic is made anew only once its predecessor's directories are gone.
func (b *Broker) recoverTopics() error {
	for _, name := range []string{offsetsTopic, txnTopic} {
		if b.metaMachine.Topics()[name] != nil {
			continue
		}
		configs := map[string]string{"cleanup.policy": "compact"}
		t := &meta.Topic{Name: name, ID: newID(), Partitions: 1, Configs: configs}
		if err := b.changeMetadata(func() (coord.Step, error) { return b.metaMachine.PutTopic(t) }); err != nil {
			return err
		}
	}
	known := map[string]bool{partitionDir(metadataName, 0): true}
	for _, t := range b.metaMachine.Topics() {
		for i := range t.Partitions {
			known[partitionDir(t.Name, i)] = true
		}
	}
	if err := b.removeLeftovers(known); err != nil {
		return err
	}
	for _, t := range b.metaMachine.Topics() {
		if err := b.openTopic(t); err != nil {
			return err
		}
	}
	return nil
}

// leftover is what the name of a partition's directory looks like, before and after its deletion began.
var leftover = regexp.MustCompile(`^[a-zA-Z0-9._-]+-[0-9]+(\.[a-z0-9.-]*deleted)?$`)

// removeLeftovers removes directories that look like a partition's, hold the files of one, and belong to no topic.
func (b *Broker) removeLeftovers(known map[string]bool) error {
	fs := b.cfg.FS
	names, err := fs.List(b.cfg.Dir)
	if err != nil {
		return fmt.Errorf("broker: list data directory %s: %w", b.cfg.Dir, err)
	}
	for _, name := range names {
		path := fs.PathJoin(b.cfg.Dir, name)
		if known[name] || !leftover.MatchString(name) {
			continue
		}
		files, err := fs.List(path)
		foreign := func(file string) bool { return file != "checkpoint" && len(file) < len("00000000000000000000.") }
		if err != nil || slices.ContainsFunc(files, foreign) {
			continue
		}
		b.cfg.Logger.Info("broker: removing what is left of a deleted topic", "dir", path)
		if err := log.Remove(fs, path); err != nil {
			return fmt.Errorf("broker: remove %s: %w", path, err)
		}
	}
	return nil
}

// openTopic opens the logs of a topic that are not open yet, and shows the topic to requests.
func (b *Broker) openTopic(mt *meta.Topic) error {
	next := &topic{Topic: mt}
	if before := b.topics.load(); before != nil && before.byName[mt.Name] != nil {
		next.partitions = append(next.partitions, before.byName[mt.Name].partitions...)
	}
	opened := len(next.partitions)
	for i := int32(opened); i < mt.Partitions; i++ {
		l, err := b.openLog(mt.Name, i, b.logConfig(mt))
		if err != nil {
			for _, p := range next.partitions[opened:] {
				err = errors.Join(err, p.log.Close())
			}
			return err
		}
		next.partitions = append(next.partitions, &partition{topic: mt.Name, index: i, log: l})
	}
	b.topics.put(next)
	return nil
}

func (b *Broker) recoverCoordinators() error {
	set := b.topics.load()
	b.offsets, b.txnState = set.byName[offsetsTopic].partitions[0], set.byName[txnTopic].partitions[0]
	b.groupMachine = group.New(group.Config{
		MinSessionTimeout: b.cfg.MinSessionTimeout, MaxSessionTimeout: b.cfg.MaxSessionTimeout,
		InitialRebalanceDelay: b.cfg.InitialRebalanceDelay, OffsetRetention: b.cfg.OffsetRetention,
		MaxMetadataBytes: maxOffsetMetadata, MaxMembers: b.cfg.MaxGroupMembers,
	})
	b.txnMachine = txn.New(txn.Config{MaxTimeout: b.cfg.MaxTransactionTimeout, IDExpiry: transactionalIDAge})
	var err error
	if b.groups, err = b.openShard(b.groupMachine, b.offsets.log, nil); err != nil {
		return err
	}
	if b.txns, err = b.openShard(b.txnMachine, b.txnState.log, b.finishDue); err != nil {
		return err
	}
	if err := b.adoptTransactions(); err != nil {
		return err
	}
	b.txns.View(func(time.Time) {
		for _, e := range b.txnMachine.Unfinished() {
			b.finishLater(e, -1)
		}
	})
	return nil
}

// changeMetadata makes a change of the metadata durable.
func (b *Broker) changeMetadata(f func() (coord.Step, error)) error {
	var failed error
	ticket, err := b.meta.Do(func(time.Time) (step coord.Step) {
		step, failed = f()
		return step
	})
	if err = errors.Join(failed, err); err != nil {
		return fmt.Errorf("broker: change metadata: %w", err)
	}
	return b.waitDurable(b.meta, ticket)
}
