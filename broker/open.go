package broker

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kerr"

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
	maintainFirst        = time.Second // soon: a broker that restarts all the time has its turns, too
	compactFirst         = 2 * time.Second
	maintainEvery        = 30 * time.Second
	steadyEvery          = 30 * time.Second
	transactionalIDAge   = 7 * 24 * time.Hour
	maxOffsetMetadata    = 4096
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
	b.sessions.now = b.steady.Now
	b.loadTime()
	whole, release, err := log.OpenWholeFS(fs, dir)
	if err != nil {
		return fmt.Errorf("broker: %w", err)
	}
	b.closeFS = release
	b.syncer = log.NewSyncer(log.SyncerOptions{Mode: b.cfg.Sync, AfterFunc: b.cfg.Clock.AfterFunc, WholeFS: whole})
	b.memory = log.MemoryOf(b.tails, b.checks, b.compaction)
	b.files = log.NewFiles(b.cfg.MaxOpenFiles)
	b.gathering = log.NewGathering(whole, b.cfg.MaxOpenFiles)
	if err := b.clearLinks(); err != nil {
		return fmt.Errorf("broker: remove what is left of a backup: %w", err)
	}
	b.pacer = log.NewPacer(b.compactionBytes.Load, b.cfg.Clock.Now, b.cfg.Clock.AfterFunc)
	if err := b.recoverMetadata(); err != nil {
		return err
	}
	if err := b.recoverTopics(); err != nil {
		return err
	}
	b.recoverCoordinators()
	return nil
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
	return syncDir(fs, parent)
}

// recoverMetadata opens the metadata. Without it nothing tells which directories are topics: the broker does not start,
// and leaves everything as it is.
func (b *broker) recoverMetadata() error {
	dir := b.cfg.FS.PathJoin(b.cfg.Dir, partitionDir(metadataName, 0))
	refuse := func(err error) error {
		return fmt.Errorf("broker: the metadata can't be read; nothing was changed; restore %s from a backup, with all "+
			"of its files of one time: %w", dir, err)
	}
	if err := b.checkMetadata(dir); err != nil {
		return refuse(err)
	}
	l, err := b.openLog(metadataName, 0, internalConfig(), false, nil)
	if err != nil {
		return refuse(err)
	}
	if b.meta, err = b.openShard(b.metaMachine, l, nil); err != nil {
		return refuse(errors.Join(err, l.Release()))
	}
	b.metaLog = l
	if b.metaMachine.ClusterID() == "" {
		id := uuid.New()
		err := b.changeMetadata(func() (coord.Step, error) { return b.metaMachine.SetClusterID(encodeID(id)) })
		if err != nil {
			return err
		}
	}
	b.clusterID = b.metaMachine.ClusterID()
	return b.applyBrokerConfigs()
}

// checkMetadata refuses to begin without metadata where a broker has been: in a directory that has internal topics.
func (b *broker) checkMetadata(dir string) error {
	fs := b.cfg.FS
	if files, err := fs.List(dir); err == nil && slices.ContainsFunc(files, isSegment) {
		return nil
	}
	names, err := fs.List(b.cfg.Dir)
	if err != nil {
		return fmt.Errorf("list data directory %s: %w", b.cfg.Dir, err)
	}
	for _, name := range names {
		path := fs.PathJoin(b.cfg.Dir, name)
		if path == dir || !strings.HasPrefix(name, "__") || !partitionLike.MatchString(name) {
			continue
		}
		if files, err := fs.List(path); err == nil && slices.ContainsFunc(files, isSegment) {
			return fmt.Errorf("%s has no segment (.log) from offset 0 on, but a broker has been here: there is %s", dir, path)
		}
	}
	return nil
}

func isSegment(name string) bool { return strings.HasSuffix(name, ".log") }

func (b *broker) openShard(m coord.Machine, l *log.Log, onTick func()) (*coord.Shard, error) {
	return coord.Open(coord.Config{
		Machine: m, Log: l, Now: b.steady.Now, AfterFunc: b.cfg.Clock.AfterFunc, SnapshotBytes: snapshotBytes,
		OnTick: onTick, Complain: func(what string, err error) {
			b.complain("coordinator: "+what, err, "log", l.Dir())
		},
	})
}

// openLog opens the log of a partition. One that is known must be there; otherwise it is made.
func (b *broker) openLog(
	topic string, index int32, cfg log.Config, known bool, together *log.Together,
) (*log.Log, error) {
	l, err := log.Open(log.Options{
		FS: b.cfg.FS, Dir: b.cfg.FS.PathJoin(b.cfg.Dir, partitionDir(topic, index)),
		Topic: topic, Partition: index, Now: b.cfg.Clock.Now, Age: b.steady.Now, Syncer: b.syncer,
		Memory: b.memory, Pacer: b.pacer, Files: b.files, Logger: b.cfg.Logger, Config: cfg, Known: known,
		Together: together,
	})
	if err != nil {
		return nil, fmt.Errorf("broker: open %s: %w", partitionDir(topic, index), err)
	}
	// Where the clock was set back while the broker was down, ages continue from here.
	b.steady.Raise(l.LastAppend())
	return l, nil
}

// recoverTopics opens the logs of all topics, after what belongs to none of them is out of the way. A directory belongs
// to the topic of its name, so a topic can be created again only once its predecessor's directories are gone.
func (b *broker) recoverTopics() error {
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
	b.openTopics(topics)
	for _, name := range []string{offsetsTopic, txnTopic} {
		if topics[name] != nil {
			continue
		}
		configs := map[string]string{"cleanup.policy": "compact"}
		if err := b.grow(&meta.Topic{Name: name, ID: newID(), Partitions: 1, Configs: configs}, 0); err != nil {
			return err
		}
	}
	return nil
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
	var doomed []string
	for _, name := range names {
		path := fs.PathJoin(b.cfg.Dir, name)
		deleted := strings.HasSuffix(name, deletedSuffix)
		switch {
		case known[name] || !partitionLike.MatchString(name) || !holdsLog(fs, path, deleted):
		case deleted:
			doomed = append(doomed, path)
		default:
			if err := b.moveAside(path); err != nil { // it is in nobody's way but a topic's of the same name
				b.cfg.Logger.Error("broker: clear what belongs to no topic", "dir", path, "err", err)
			}
		}
	}
	if len(doomed) > 0 {
		b.cfg.Logger.Info("broker: removing what is left of deleted partitions", "directories", len(doomed))
		b.removeLater(doomed)
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

// openTopics opens the logs of topics and shows them to requests. What cannot be opened is offline, and the rest
// serves.
func (b *broker) openTopics(topics map[string]*meta.Topic) {
	opened := make([]*topic, 0, len(topics))
	var all []*partition
	for _, name := range slices.Sorted(maps.Keys(topics)) {
		t := &topic{Topic: topics[name]}
		for i := range t.Partitions {
			t.partitions = append(t.partitions, &partition{topic: name, index: i})
		}
		opened, all = append(opened, t), append(all, t.partitions...)
	}
	b.gathering.Each(len(all), func(i int, together *log.Together) {
		p := all[i]
		mt := topics[p.topic]
		l, err := b.openLog(p.topic, p.index, b.logConfig(mt), true, together)
		if err != nil {
			b.logOffline(p.topic, p.index, err)
		}
		p.log = l
		b.configure(p, mt)
	})
	b.topics.change(func(s *topicSet) {
		for _, t := range opened {
			s.add(t)
		}
	})
}

func (b *broker) logOffline(topic string, index int32, err error) {
	args := []any{"topic", topic, "partition", index, "err", err}
	if errors.Is(err, kerr.KafkaStorageError) || errors.Is(err, kerr.CorruptMessage) { // files are gone or damaged
		args = append(args, "remedy", b.offlineRemedy(topic, index))
	}
	b.cfg.Logger.Error("broker: partition is offline until the next start", args...)
}

// offlineRemedy says what to do about a partition whose files are gone or damaged. Nobody can delete the broker's own
// topics. Where their logs are empty, the coordinators begin without a state.
func (b *broker) offlineRemedy(topic string, index int32) string {
	cost := ""
	switch topic {
	case offsetsTopic:
		cost = "all groups and their committed offsets are lost, and consumers begin where their auto.offset.reset says"
	case txnTopic:
		cost = "all transactional ids are lost, open transactions are aborted, and one that was being committed may stay " +
			"in some of its partitions alone"
	default:
		return "restore it from a backup, or delete and recreate the topic"
	}
	return fmt.Sprintf("stop the broker and restore the directory %s from a backup; without one, make the directory, "+
		"remove all files in it, create an empty file %020d.log there, and start: %s",
		b.cfg.FS.PathJoin(b.cfg.Dir, partitionDir(topic, index)), 0, cost)
}

// advised is an error of a log with advice that can be followed: nobody can delete records of the broker's own topics.
func (b *broker) advised(p *partition, err error) error {
	if damaged, ok := errors.AsType[*log.DamageError](err); ok && isInternal(p.topic) {
		return damaged.WithRemedy(b.offlineRemedy(p.topic, p.index))
	}
	return err
}

func (b *broker) recoverCoordinators() {
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
	b.offsets, b.groups = b.openCoordinator(offsetsTopic, b.groupMachine, nil)
	// A transaction may be due at once. Until adopted, what is unfinished is not finished by two.
	adopted := make(chan struct{})
	b.txnState, b.txns = b.openCoordinator(txnTopic, b.txnMachine, func() {
		<-adopted
		b.finishDue()
	})
	b.adoptTransactions()
	close(adopted)
	b.finishRemovals(slices.Collect(maps.Values(b.metaMachine.Removals())))
}

// openCoordinator replays the log of a coordinator. When that fails, its partition is offline, and it answers
// COORDINATOR_NOT_AVAILABLE until the next start.
func (b *broker) openCoordinator(name string, m coord.Machine, onTick func()) (*partition, *coord.Shard) {
	t := b.topics.load().byName[name]
	p := t.partitions[0]
	if p.log == nil {
		return p, coord.Offline(fmt.Errorf("%s is offline", partitionDir(name, 0)))
	}
	shard, err := b.openShard(m, p.log, onTick)
	if err == nil {
		return p, shard
	}
	shown := err
	if damaged, ok := errors.AsType[*log.DamageError](err); ok {
		shown = damaged.Damage
	}
	b.logOffline(name, p.index, errors.Join(shown, p.log.Release()))
	p = &partition{topic: name, index: p.index}
	b.configure(p, t.Topic)
	b.topics.put(&topic{Topic: t.Topic, partitions: []*partition{p}})
	return p, coord.Offline(err)
}
