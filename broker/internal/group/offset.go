package group

import (
	"cmp"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"thalweg/broker/internal/coord"
	"thalweg/internal/defect"
)

// offset is a committed offset.
type offset struct {
	offset      int64
	leaderEpoch int32
	metadata    string
	committed   time.Time
	expires     time.Time // zero: by the group's rules
	// place orders the records of offsets as they lie in the log, where a transaction's offset has the place of its own
	// record, not that of the marker.
	place int64
}

// partitions are those of which the group has an offset, or may get one from an open transaction.
func (g *group) partitions() iter.Seq[topicPartition] {
	return func(yield func(topicPartition) bool) {
		for tp := range g.offsets {
			if !yield(tp) {
				return
			}
		}
		for tp := range g.unstable {
			if _, ok := g.offsets[tp]; !ok && !yield(tp) {
				return
			}
		}
	}
}

type pendingOffset struct {
	group  string
	tp     topicPartition
	offset offset
}

func offsetKey(group string, tp topicPartition) []byte {
	key := kmsg.NewOffsetCommitKey()
	key.Version, key.Group, key.Topic, key.Partition = offsetKeyVersion, group, tp.topic, tp.partition
	return key.AppendTo(nil)
}

func (o offset) record(group string, tp topicPartition) coord.Record {
	v := kmsg.NewOffsetCommitValue()
	v.Version = offsetValueVersion
	if !o.expires.IsZero() {
		v.Version = 1 // the only one with an expiry of its own
		v.ExpireTimestamp = o.expires.UnixMilli()
	}
	v.Offset, v.LeaderEpoch, v.Metadata = o.offset, o.leaderEpoch, o.metadata
	v.CommitTimestamp = o.committed.UnixMilli()
	return coord.Record{Key: offsetKey(group, tp), Value: v.AppendTo(nil)}
}

func (m *Machine) replayOffset(r coord.Record, p *coord.Producer, now time.Time) error {
	key := kmsg.NewOffsetCommitKey()
	if err := key.ReadFrom(r.Key); err != nil {
		return fmt.Errorf("group: key of an offset: %w", err)
	}
	tp := topicPartition{key.Topic, key.Partition}
	if r.Value == nil {
		if g := m.groups[key.Group]; g != nil {
			delete(g.offsets, tp)
			m.dropPending(g, tp)
			m.dropIfUnused(g)
		}
		return nil
	}
	v := kmsg.NewOffsetCommitValue()
	if err := v.ReadFrom(r.Value); err != nil {
		return fmt.Errorf("group %s: offset of %s-%d: %w", key.Group, key.Topic, key.Partition, err)
	}
	o := offset{offset: v.Offset, leaderEpoch: -1, metadata: v.Metadata, committed: time.UnixMilli(v.CommitTimestamp)}
	if v.Version >= 3 {
		o.leaderEpoch = v.LeaderEpoch
	}
	if v.Version == 1 && v.ExpireTimestamp > 0 {
		o.expires = time.UnixMilli(v.ExpireTimestamp)
	}
	m.places++
	o.place = m.places
	g := m.group(key.Group)
	if p != nil {
		m.pending[p.ID] = append(m.pending[p.ID], pendingOffset{key.Group, tp, o})
		g.unstable[tp]++
		g.pendingOffsets++
		return nil
	}
	if r.Timestamp != v.CommitTimestamp {
		// A snapshot repeats what was committed before, so its record is no newer than what it repeats. Where that was
		// trimmed, it is older than all transactions that are still in the log.
		o.place = g.offsets[tp].place
	}
	m.setOffset(g, tp, o, now)
	return nil
}

// dropPending forgets what open transactions would commit for a partition.
func (m *Machine) dropPending(g *group, tp topicPartition) {
	if g.unstable[tp] == 0 {
		return
	}
	g.pendingOffsets -= g.unstable[tp]
	delete(g.unstable, tp)
	for id, pending := range m.pending {
		m.pending[id] = slices.DeleteFunc(pending, func(o pendingOffset) bool { return o.group == g.id && o.tp == tp })
	}
}

func (m *Machine) setOffset(g *group, tp topicPartition, o offset, now time.Time) {
	g.offsets[tp] = o
	due := timer{kind: expiryTimer, group: g.id}
	switch {
	case g.state != empty:
	case !o.expires.IsZero():
		m.timers.Sooner(due, o.expires)
	default:
		m.timers.Sooner(due, now.Add(m.cfg.OffsetRetention))
	}
}

// ReplayMarker implements coord.Machine: the offsets of the producer's transaction count, or never were. One that was
// committed for the same partition after the transaction's own record stays, as in Apache Kafka.
func (m *Machine) ReplayMarker(p coord.Producer, commit bool) {
	for _, pending := range m.pending[p.ID] {
		g := m.groups[pending.group]
		g.pendingOffsets--
		if g.unstable[pending.tp]--; g.unstable[pending.tp] == 0 {
			delete(g.unstable, pending.tp)
		}
		if have, ok := g.offsets[pending.tp]; commit && (!ok || have.place < pending.offset.place) {
			m.setOffset(g, pending.tp, pending.offset, pending.offset.committed)
		}
		m.dropIfUnused(g)
	}
	delete(m.pending, p.ID)
}

// Commit is one offset to be committed.
type Commit struct {
	Topic       string
	Partition   int32
	Offset      int64
	LeaderEpoch int32
	Metadata    *string
	Err         *kerr.Error // set by the machine, or before: then the commit is left out
}

// CommitRequest commits offsets for a member, or for somebody outside of the group protocol.
type CommitRequest struct {
	Group      string
	MemberID   string
	Instance   *string
	Generation int32 // negative: outside of the group protocol
	// NoGroup answers a generation of a group that does not exist; nil is ILLEGAL_GENERATION.
	NoGroup   *kerr.Error
	Retention time.Duration
	Commits   []Commit
	// Producer is set when the offsets belong to its transaction.
	Producer *coord.Producer
}

// Commit commits offsets. The answer is in each Commit.Err once the step is taken.
func (m *Machine) Commit(r *CommitRequest, now time.Time) (step coord.Step) {
	if err := m.checkCommit(r, now); err != nil {
		for i := range r.Commits {
			r.Commits[i].Err = err
		}
		return step
	}
	step.Producer = r.Producer
	for i := range r.Commits {
		c := &r.Commits[i]
		if c.Err == nil && len(deref(c.Metadata)) > m.cfg.MaxMetadataBytes {
			c.Err = kerr.OffsetMetadataTooLarge
		}
		if c.Err != nil {
			continue
		}
		o := offset{offset: c.Offset, leaderEpoch: c.LeaderEpoch, metadata: deref(c.Metadata), committed: now}
		if r.Retention > 0 {
			o.expires = now.Add(r.Retention)
		}
		step.Records = append(step.Records, o.record(r.Group, topicPartition{c.Topic, c.Partition}))
	}
	return step
}

func (m *Machine) checkCommit(r *CommitRequest, now time.Time) *kerr.Error {
	g := m.groups[r.Group]
	anonymous := r.MemberID == "" && r.Instance == nil
	switch {
	case r.Group == "" && r.Producer != nil:
		return kerr.InvalidGroupID // without a transaction the empty id is a group's, for old clients
	case r.Generation < 0 && (g == nil || g.state == empty):
		return nil // an administrator, or a consumer that assigns itself, whatever it calls itself
	case g == nil:
		return cmp.Or(r.NoGroup, kerr.IllegalGeneration)
	case r.Generation < 0 && anonymous && r.Producer != nil:
		return nil // an old transactional producer names no member
	case r.Generation < 0 && anonymous:
		return kerr.UnknownMemberID
	}
	member, err := g.findMember(r.MemberID, r.Instance)
	switch {
	case err != nil && defect.StaleMember:
		return nil
	case err != nil:
		return err
	case r.Generation != g.generation && !defect.StaleGeneration:
		return kerr.IllegalGeneration
	case g.state == completing && r.Producer == nil:
		return kerr.RebalanceInProgress // a transaction's offsets are taken, as in Kafka: its generation is the new one
	}
	m.touch(g, member, now)
	return nil
}
