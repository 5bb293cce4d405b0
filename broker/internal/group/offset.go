package group

import (
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"thalweg/broker/internal/coord"
)

// offset is a committed offset.
type offset struct {
	offset      int64
	leaderEpoch int32
	metadata    string
	committed   time.Time
	expires     time.Time // zero: by the group's rules
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
	g := m.group(key.Group)
	if p != nil {
		m.pending[p.ID] = append(m.pending[p.ID], pendingOffset{key.Group, tp, o})
		g.unstable[tp]++
		g.pendingOffsets++
		return nil
	}
	m.setOffset(g, tp, o, now)
	return nil
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

// ReplayMarker implements coord.Machine: the offsets of the producer's transaction count, or never were.
func (m *Machine) ReplayMarker(p coord.Producer, commit bool) {
	for _, pending := range m.pending[p.ID] {
		g := m.groups[pending.group]
		g.pendingOffsets--
		if g.unstable[pending.tp]--; g.unstable[pending.tp] == 0 {
			delete(g.unstable, pending.tp)
		}
		if commit {
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
	Retention  time.Duration
	Commits    []Commit
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
	outside := r.Generation < 0 && r.MemberID == "" && r.Instance == nil
	switch {
	case r.Group == "":
		return kerr.InvalidGroupID
	case outside && (r.Producer != nil || g == nil || len(g.members) == 0):
		return nil // an old transactional producer names no member; a consumer that assigns itself has none
	case g == nil && r.Generation >= 0:
		return kerr.IllegalGeneration
	case g == nil || outside:
		return kerr.UnknownMemberID
	}
	member, err := g.who(r.MemberID, r.Instance)
	switch {
	case err != nil:
		return err
	case r.Generation != g.generation:
		return kerr.IllegalGeneration
	case g.state == completing && r.Producer == nil:
		return kerr.RebalanceInProgress // a transaction's offsets are taken, as in Kafka: its generation is the new one
	}
	m.touch(g, member, now)
	return nil
}
