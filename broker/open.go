package broker

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
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

const (
	internalSegmentBytes = 16 << 20
	snapshotBytes        = 16 << 20
	producerIDBlock      = 1000
	maintainFirst        = time.Second // soon: a broker that restarts all the time has its turns, too
	maintainEvery        = 30 * time.Second
	steadyEvery          = 30 * time.Second
	transactionalIDAge   = 7 * 24 * time.Hour
	maxOffsetMetadata    = 4096
	spareFiles           = 32
)

// recover opens everything that the data directory holds.
func (b *broker) recover() error {
	fs, dir := b.cfg.FS, b.cfg.Dir
	if err := makeDir(fs, dir); err != nil {
		return fmt.Errorf("broker: make data directory %s: %w", dir, err)
	}
	var err error
	if b.lock, err = lockDir(fs, dir); err != nil {
		return err
	}
	b.steady = clock.NewSteady(b.cfg.Clock, steadyEvery)
	b.loadTime()
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
	if err := fs.MkdirAll(dir, 0o750); err != nil {
		return err
	}
	d, err := fs.OpenDir(parent)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func (b *broker) recoverMetadata() error {
	l, err := b.openLog(metadataName, 0, internalConfig())
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

func (b *broker) openShard(m coord.Machine, l *log.Log, onTick func()) (*coord.Shard, error) {
	return coord.Open(coord.Config{
		Machine: m, Log: l, Now: b.steady.Now, AfterFunc: b.cfg.Clock.AfterFunc, Logger: b.cfg.Logger,
		SnapshotBytes: snapshotBytes, OnTick: onTick,
	})
}

func (b *broker) openLog(topic string, index int32, cfg log.Config) (*log.Log, error) {
	l, err := log.Open(log.Options{
		FS: b.cfg.FS, Dir: b.cfg.FS.PathJoin(b.cfg.Dir, partitionDir(topic, index)),
		Topic: topic, Partition: index, Now: b.cfg.Clock.Now, Age: b.steady.Now, Syncer: b.syncer,
		Memory: b.memory, Logger: b.cfg.Logger, Config: cfg,
	})
	if err != nil {
		return nil, fmt.Errorf("broker: open %s: %w", partitionDir(topic, index), err)
	}
	// Where the clock was set back while the broker was down, ages go on from here.
	b.steady.Raise(l.LastAppend())
	return l, nil
}

// recoverTopics opens the logs of all topics, after what belongs to none of them is out of the way. A directory belongs
// to the topic of its name, so a topic can be created again only once its predecessor's directories are gone.
func (b *broker) recoverTopics() error {
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
	topics := b.metaMachine.Topics()
	for _, t := range topics {
		for i := range t.Partitions {
			known[partitionDir(t.Name, i)] = true
		}
	}
	for name, r := range b.metaMachine.Removals() {
		for i := r.First; i < r.End; i++ { // nothing but the broker removes these
			known[partitionDir(name, i)] = true
		}
	}
	if err := b.clearLeftovers(known); err != nil {
		return err
	}
	b.topics.change(func(*topicSet) {})
	if err := b.openTopics(topics); err != nil {
		return err
	}
	for _, r := range b.metaMachine.Removals() {
		b.finishRemoval(r)
	}
	return nil
}

// openTopics opens the topics with few partitions first: when descriptors run out, one large topic is to lack them.
// Some are kept back for connections and for reading.
func (b *broker) openTopics(topics map[string]*meta.Topic) error {
	spare := make([]vfs.File, 0, spareFiles)
	for range spareFiles {
		if f, err := b.cfg.FS.OpenDir(b.cfg.Dir); err == nil {
			spare = append(spare, f)
		}
	}
	inOrder := slices.SortedFunc(maps.Values(topics), func(a, b *meta.Topic) int {
		return cmp.Or(cmp.Compare(a.Partitions, b.Partitions), strings.Compare(a.Name, b.Name))
	})
	var err error
	for _, t := range inOrder {
		if err = b.openTopic(t); err != nil {
			break
		}
	}
	for _, f := range spare {
		err = errors.Join(err, f.Close())
	}
	return err
}

// partitionLike matches the name of a partition's directory, and of one whose deletion has begun.
var partitionLike = regexp.MustCompile(`^[a-zA-Z0-9._-]+-[0-9]+(\.[a-z0-9.-]*deleted)?$`)

const deletedSuffix, straySuffix = "deleted", "-stray"

// clearLeftovers finishes the deletions that a crash cut short, and moves aside what looks like a partition but belongs
// to no topic: a copy of another broker's directory, say. As in Apache Kafka, only an operator removes such a stray.
// Anything else in the data directory is left alone.
func (b *broker) clearLeftovers(known map[string]bool) error {
	fs := b.cfg.FS
	names, err := fs.List(b.cfg.Dir)
	if err != nil {
		return fmt.Errorf("broker: list data directory %s: %w", b.cfg.Dir, err)
	}
	for _, name := range names {
		path := fs.PathJoin(b.cfg.Dir, name)
		deleted := strings.HasSuffix(name, deletedSuffix)
		if known[name] || !partitionLike.MatchString(name) || !holdsLog(fs, path, deleted) {
			continue
		}
		if deleted {
			b.cfg.Logger.Info("broker: finishing the deletion of a topic", "dir", path)
			err = log.Remove(fs, path)
		} else {
			err = b.moveAside(path)
		}
		if err != nil { // it is in nobody's way but a topic's of the same name
			b.cfg.Logger.Error("broker: clear what belongs to no topic", "dir", path, "err", err)
		}
	}
	return nil
}

// logFile matches the names of the files that a partition's directory holds.
var logFile = regexp.MustCompile(`^(checkpoint[a-z.]*|[0-9]{20}[-0-9a-z.]*)$`)

// holdsLog reports whether a directory holds files of a log and nothing else, or no file where that will do.
func holdsLog(fs vfs.FS, dir string, emptyWillDo bool) bool {
	files, err := fs.List(dir)
	return err == nil && (emptyWillDo || len(files) > 0) &&
		!slices.ContainsFunc(files, func(f string) bool { return !logFile.MatchString(f) })
}

// openTopic opens the logs of a topic and shows it to requests. What cannot be opened is offline, and the rest serves.
func (b *broker) openTopic(mt *meta.Topic) error {
	t := &topic{Topic: mt}
	for i := range mt.Partitions {
		l, err := b.openLog(mt.Name, i, b.logConfig(mt))
		if err != nil {
			if isInternal(mt.Name) {
				return err
			}
			b.cfg.Logger.Error("broker: partition is offline until the next start", "topic", mt.Name, "partition", i,
				"err", err)
		}
		p := &partition{topic: mt.Name, index: i, log: l}
		b.configure(p, mt)
		t.partitions = append(t.partitions, p)
	}
	b.topics.put(t)
	return nil
}

func (b *broker) recoverCoordinators() error {
	set := b.topics.load()
	b.offsets, b.txnState = set.byName[offsetsTopic].partitions[0], set.byName[txnTopic].partitions[0]
	b.groupMachine = group.New(group.Config{
		MinSessionTimeout: b.cfg.MinSessionTimeout, MaxSessionTimeout: b.cfg.MaxSessionTimeout,
		InitialRebalanceDelay: b.cfg.InitialRebalanceDelay, OffsetRetention: b.cfg.OffsetRetention,
		MaxMetadataBytes: maxOffsetMetadata, MaxMembers: b.cfg.MaxGroupMembers,
		OnExpire: func(e group.Expired) {
			b.cfg.Logger.Info("broker: an offset expired", "group", e.Group, "topic", e.Topic, "partition", e.Partition,
				"offset", e.Offset, "committed", e.Committed.UTC())
		},
	})
	b.txnMachine = txn.New(txn.Config{MaxTimeout: b.cfg.MaxTransactionTimeout, IDExpiry: transactionalIDAge})
	var err error
	if b.groups, err = b.openShard(b.groupMachine, b.offsets.log, nil); err != nil {
		return err
	}
	if b.txns, err = b.openShard(b.txnMachine, b.txnState.log, b.finishDue); err != nil {
		return err
	}
	b.adoptTransactions()
	b.txns.View(func(time.Time) {
		for _, e := range b.txnMachine.Unfinished() {
			b.finishLater(e, -1)
		}
	})
	return nil
}
