package group_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"thalweg/broker/internal/coord"
	"thalweg/broker/internal/group"
)

// entry is what lies in the log: a record, or a marker.
type entry struct {
	record   coord.Record
	producer *coord.Producer
	marker   bool
	commit   bool
}

type driver struct {
	t       *testing.T
	m       *group.Machine
	log     []entry
	now     time.Time
	full    func() bool // whether the log refuses a step's records
	refused int
	synced  error // the last answer to a SyncGroup
}

func newMachine() *group.Machine {
	return group.New(group.Config{
		MinSessionTimeout: time.Second, MaxSessionTimeout: time.Hour, OffsetRetention: 24 * time.Hour,
		MaxMetadataBytes: 10, MaxMembers: 5,
	})
}

func newDriver(t *testing.T) *driver {
	return &driver{
		t: t, m: newMachine(), now: time.UnixMilli(1_700_000_000_000), full: func() bool { return false },
	}
}

// take does what a shard does with a step.
func (d *driver) take(step coord.Step) {
	d.t.Helper()
	if len(step.Records) > 0 && d.full() {
		d.refused++
		for _, after := range step.After {
			after(errors.New("the disk is full"))
		}
		return
	}
	for _, r := range step.Records {
		r.Timestamp = d.now.UnixMilli()
		require.NoError(d.t, d.m.Replay(r, step.Producer, d.now))
		d.log = append(d.log, entry{record: r, producer: step.Producer})
	}
	for _, after := range step.After {
		after(nil)
	}
}

func (d *driver) end(p coord.Producer, commit bool) {
	d.m.ReplayMarker(p, commit)
	d.log = append(d.log, entry{producer: &p, marker: true, commit: commit})
}

// snapshot does what a shard does with a snapshot: the log keeps what begins with the first open transaction, and ends
// with the whole state.
func (d *driver) snapshot(timestamp int64) {
	open := map[int64]int{}
	for i, e := range d.log {
		switch {
		case e.producer == nil:
		case e.marker:
			delete(open, e.producer.ID)
		default:
			if _, ok := open[e.producer.ID]; !ok {
				open[e.producer.ID] = i
			}
		}
	}
	keep := len(d.log)
	for _, first := range open {
		keep = min(keep, first)
	}
	d.log = slices.Clone(d.log[keep:])
	d.m.Snapshot(func(r coord.Record) {
		r.Timestamp = timestamp
		d.log = append(d.log, entry{record: r})
	})
}

func (d *driver) replayed() *group.Machine {
	d.t.Helper()
	m := newMachine()
	for _, e := range d.log {
		if e.marker {
			m.ReplayMarker(*e.producer, e.commit)
			continue
		}
		require.NoError(d.t, m.Replay(e.record, e.producer, d.now))
	}
	return m
}

// same compares the offsets of two machines, and the groups that are not in the middle of a rebalance.
func same(t *testing.T, want, got *group.Machine) {
	t.Helper()
	for g := range 3 {
		id := fmt.Sprint("g", g)
		for p := range int32(4) {
			for _, stable := range []bool{false, true} {
				require.Equal(t, want.Offset(id, "t", p, stable), got.Offset(id, "t", p, stable))
			}
		}
		a, okA := want.Describe(id)
		b, okB := got.Describe(id)
		if a.State == "Stable" {
			require.True(t, okA && okB)
		}
		if a.State == "Stable" || a.State == "Empty" && okB {
			require.Equal(t, a, b)
		}
	}
}

// Random requests and the passing of time, on a disk that is full now and then: replaying the log gives the same state
// at any moment.
func TestReplayGivesTheSameState(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	d := newDriver(t)
	d.full = func() bool { return rnd.IntN(4) == 0 }
	members := map[string][]*kmsg.JoinGroupResponse{} // the members of a group, as far as the clients know
	stable := 0
	for i := range 4000 {
		id := fmt.Sprint("g", rnd.IntN(3))
		switch rnd.IntN(8) {
		case 0, 1:
			d.join(id, fmt.Sprint("new", i), members)
		case 2:
			if n := len(members[id]); n > 0 {
				_, step := d.m.Leave(id, []group.Leaving{{MemberID: members[id][rnd.IntN(n)].MemberID}}, d.now)
				d.take(step)
			}
		case 3:
			d.now = d.now.Add(time.Duration(rnd.IntN(5000)) * time.Millisecond)
			d.take(d.m.Tick(d.now))
		case 4:
			p := coord.Producer{ID: int64(rnd.IntN(2))}
			d.end(p, rnd.IntN(2) == 0)
		default:
			d.commit(rnd, id, members[id])
		}
		for _, m := range members[id] {
			d.sync(id, m)
		}
		if description, _ := d.m.Describe(id); description.State == "Stable" {
			stable++
		}
		if i%50 == 0 {
			same(t, d.m, d.replayed())
		}
		if rnd.IntN(80) == 0 { // of this version, or of one that gave snapshots the time
			d.snapshot(int64(rnd.IntN(2)) * (d.now.UnixMilli() + 1))
			same(t, d.m, d.replayed())
		}
	}
	require.Positive(t, stable)
	require.Positive(t, d.refused)
	d.full = func() bool { return false }
	for id := range int64(2) { // open transactions are not part of a snapshot
		d.end(coord.Producer{ID: id}, true)
	}
	d.log = nil
	d.snapshot(0)
	same(t, d.m, d.replayed())
}

// The offset of a transaction counts from where its own record lies: a newer commit of the same partition stays, and an
// older one does not, whether the log begins before it or repeats it in a snapshot behind the transaction's record.
func TestTheNewerCommitStays(t *testing.T) {
	p := coord.Producer{ID: 1}
	plain, inTransaction := (*coord.Producer)(nil), &p
	for name, commits := range map[string][]*coord.Producer{
		"the transaction's":   {plain, inTransaction},
		"the other":           {plain, inTransaction, plain},
		"the transaction's 2": {plain, inTransaction, plain, inTransaction},
		"of two transactions": {plain, {ID: 2}, inTransaction},
		"with nothing before": {inTransaction},
	} {
		t.Run(name, func(t *testing.T) {
			for snapshotAfter := range len(commits) + 1 {
				d := newDriver(t)
				for i, producer := range commits {
					if i == snapshotAfter {
						d.snapshot(0)
					}
					d.take(d.m.Commit(&group.CommitRequest{
						Group: "g0", Generation: -1, Producer: producer, Commits: []group.Commit{{Topic: "t", Offset: int64(i)}},
					}, d.now))
				}
				if snapshotAfter == len(commits) {
					d.snapshot(0)
				}
				d.end(p, true)
				d.end(coord.Producer{ID: 2}, true)
				require.EqualValues(t, len(commits)-1, d.m.Offset("g0", "t", 0, true).Offset)
				same(t, d.m, d.replayed())
			}
		})
	}
}

func (d *driver) join(id, newID string, members map[string][]*kmsg.JoinGroupResponse) {
	req := kmsg.NewPtrJoinGroupRequest()
	req.Version, req.Group, req.ProtocolType = 3, id, "consumer"
	req.SessionTimeoutMillis, req.RebalanceTimeoutMillis = 10_000, 10_000
	protocol := kmsg.NewJoinGroupRequestProtocol()
	protocol.Name, protocol.Metadata = "p", []byte("m")
	req.Protocols = append(req.Protocols, protocol)
	ask := func(memberID string) {
		again := *req
		again.MemberID = memberID
		d.take(d.m.Join(group.JoinRequest{JoinGroupRequest: &again, NewMemberID: newID, Reply: func(
			r *kmsg.JoinGroupResponse,
		) {
			if r.ErrorCode == 0 {
				members[id] = append(members[id], r)
			}
		}}, d.now))
	}
	old := members[id]
	members[id] = nil
	ask("")
	for _, m := range old {
		ask(m.MemberID)
	}
}

func (d *driver) sync(id string, m *kmsg.JoinGroupResponse) {
	req := kmsg.NewPtrSyncGroupRequest()
	req.Group, req.MemberID, req.Generation = id, m.MemberID, m.Generation
	for _, other := range m.Members {
		part := kmsg.NewSyncGroupRequestGroupAssignment()
		part.MemberID, part.MemberAssignment = other.MemberID, []byte("for "+other.MemberID)
		req.GroupAssignment = append(req.GroupAssignment, part)
	}
	d.take(d.m.Sync(req, func(resp *kmsg.SyncGroupResponse) { d.synced = kerr.ErrorForCode(resp.ErrorCode) }, d.now))
}

func (d *driver) commit(rnd *rand.Rand, id string, members []*kmsg.JoinGroupResponse) {
	r := &group.CommitRequest{
		Group: id, Generation: -1,
		Commits: []group.Commit{{Topic: "t", Partition: rnd.Int32N(4), Offset: rnd.Int64N(1000)}},
	}
	if len(members) > 0 {
		r.MemberID, r.Generation = members[0].MemberID, members[0].Generation
	}
	if rnd.IntN(3) == 0 {
		r.Producer = &coord.Producer{ID: int64(rnd.IntN(2))}
	}
	d.take(d.m.Commit(r, d.now))
}

func TestMetadataOfACommitIsLimited(t *testing.T) {
	d := newDriver(t)
	r := &group.CommitRequest{Group: "g", Generation: -1, Commits: []group.Commit{
		{Topic: "t", Offset: 1, Metadata: kmsg.StringPtr("longer than ten bytes")},
		{Topic: "t", Partition: 1, Offset: 1, Metadata: kmsg.StringPtr("short")},
	}}
	d.take(d.m.Commit(r, d.now))
	require.Equal(t, kerr.OffsetMetadataTooLarge, r.Commits[0].Err)
	require.Nil(t, r.Commits[1].Err)
	require.Equal(t, int64(-1), d.m.Offset("g", "t", 0, false).Offset)
	require.Equal(t, "short", d.m.Offset("g", "t", 1, false).Metadata)
}

func TestMembersAreLimited(t *testing.T) {
	d := newDriver(t)
	members := map[string][]*kmsg.JoinGroupResponse{}
	for i := range 5 {
		d.join("g", fmt.Sprint("m", i), members)
	}
	require.Len(t, members["g"], 5)
	full := false
	req := kmsg.NewPtrJoinGroupRequest()
	req.Group, req.ProtocolType, req.SessionTimeoutMillis = "g", "consumer", 10_000
	protocol := kmsg.NewJoinGroupRequestProtocol()
	protocol.Name = "p"
	req.Protocols = append(req.Protocols, protocol)
	d.take(d.m.Join(group.JoinRequest{JoinGroupRequest: req, NewMemberID: "m6", Reply: func(r *kmsg.JoinGroupResponse) {
		full = r.ErrorCode == kerr.GroupMaxSizeReached.Code
	}}, d.now))
	require.True(t, full)
}

// While the leader has not sent the assignment, a member's own commit waits for it, but a transaction with the new
// generation goes through, as in Kafka.
func TestATransactionCommitsOffsetsBeforeTheAssignment(t *testing.T) {
	d := newDriver(t)
	members := map[string][]*kmsg.JoinGroupResponse{}
	d.join("g", "m0", members)
	d.join("g", "m1", members)
	require.Len(t, members["g"], 2)
	commit := func(generation int32, producer *coord.Producer) *kerr.Error {
		r := &group.CommitRequest{
			Group: "g", MemberID: members["g"][0].MemberID, Generation: generation, Producer: producer,
			Commits: []group.Commit{{Topic: "t", Offset: 1}},
		}
		d.take(d.m.Commit(r, d.now))
		return r.Commits[0].Err
	}
	generation := members["g"][0].Generation
	require.Equal(t, kerr.RebalanceInProgress, commit(generation, nil))
	require.Nil(t, commit(generation, &coord.Producer{ID: 1}))
	require.Equal(t, kerr.IllegalGeneration, commit(generation-1, &coord.Producer{ID: 1}))
}

// A restarted instance whose record the log refuses changes nothing: its predecessor is still the member.
func TestARefusedRecordKeepsTheStaticMember(t *testing.T) {
	d := newDriver(t)
	joined := map[string]*kmsg.JoinGroupResponse{}
	join := func(memberID, newID string) coord.Step {
		req := kmsg.NewPtrJoinGroupRequest()
		req.Version, req.Group, req.ProtocolType, req.MemberID = 7, "g", "consumer", memberID
		req.InstanceID = kmsg.StringPtr("i1")
		req.SessionTimeoutMillis, req.RebalanceTimeoutMillis = 10_000, 10_000
		protocol := kmsg.NewJoinGroupRequestProtocol()
		protocol.Name, protocol.Metadata = "p", []byte("m")
		req.Protocols = append(req.Protocols, protocol)
		return d.m.Join(group.JoinRequest{JoinGroupRequest: req, NewMemberID: newID, Reply: func(
			r *kmsg.JoinGroupResponse,
		) {
			joined[newID] = r
		}}, d.now)
	}
	d.take(join("", "first"))
	require.Zero(t, joined["first"].ErrorCode)
	d.sync("g", joined["first"])
	heartbeat := func(id string) *kerr.Error {
		req := kmsg.NewPtrHeartbeatRequest()
		req.Group, req.MemberID, req.InstanceID = "g", id, kmsg.StringPtr("i1")
		req.Generation = joined["first"].Generation
		return d.m.Heartbeat(req, d.now)
	}
	require.Nil(t, heartbeat("first"))

	d.full = func() bool { return true }
	d.take(join("", "second"))
	require.Equal(t, 1, d.refused)
	d.full = func() bool { return false }
	require.Equal(t, kerr.UnknownServerError.Code, joined["second"].ErrorCode)
	require.Nil(t, heartbeat("first"))
	require.Equal(t, kerr.FencedInstanceID, heartbeat("second"))

	d.take(join("", "third"))
	require.Zero(t, joined["third"].ErrorCode)
	require.Equal(t, kerr.FencedInstanceID, heartbeat("first"))
	require.Nil(t, heartbeat("third"))
}

// What the log refuses has not happened: neither to a client that asks, nor for the members that it is about.
func TestARefusedRecordChangesNothing(t *testing.T) {
	d := newDriver(t)
	full := true
	d.full = func() bool { return full }
	members := map[string][]*kmsg.JoinGroupResponse{}
	d.join("g", "m0", members)
	m := members["g"][0]
	state := func() string {
		g, _ := d.m.Describe("g")
		text := g.State
		for _, member := range g.Members {
			text += fmt.Sprintf(" %s: %q", member.MemberID, member.MemberAssignment)
		}
		return text
	}
	refuse := func(want string, change func()) {
		t.Helper()
		before := d.refused
		full = true
		change()
		full = false
		require.Equal(t, before+1, d.refused)
		require.Equal(t, want, state())
		beat := kmsg.NewPtrHeartbeatRequest()
		beat.Group, beat.MemberID, beat.Generation = "g", m.MemberID, m.Generation
		require.Nil(t, d.m.Heartbeat(beat, d.now))
	}
	leave := func() {
		errs, step := d.m.Leave("g", []group.Leaving{{MemberID: m.MemberID}}, d.now)
		require.Nil(t, errs[0])
		d.take(step)
	}
	silence := func() { d.take(d.m.Tick(d.now)) }

	refuse(`CompletingRebalance m0: ""`, func() { d.sync("g", m) })
	// A member that learns of a rebalance joins again at once: for as long as the disk is full, as fast as it can.
	require.Equal(t, kerr.CoordinatorNotAvailable, d.synced)
	refuse(`CompletingRebalance m0: ""`, leave)
	d.sync("g", m)
	const stable = `Stable m0: "for m0"`
	require.Equal(t, stable, state())
	refuse(stable, leave)
	d.now = d.now.Add(11 * time.Second)
	refuse(stable, silence)
	d.now = d.now.Add(11 * time.Second) // it is tried again
	silence()
	require.Equal(t, "Empty", state())
}

// All members of a group that leave in one request leave together, or not at all.
func TestMembersLeaveTogether(t *testing.T) {
	d := newDriver(t)
	members := map[string][]*kmsg.JoinGroupResponse{}
	for i := range 3 {
		d.join("g", fmt.Sprint("m", i), members)
	}
	for _, m := range members["g"] {
		d.sync("g", m)
	}
	before, _ := d.m.Describe("g")
	require.Len(t, before.Members, 3)
	require.Equal(t, "Stable", before.State)
	everybody := []group.Leaving{{MemberID: "m0"}, {MemberID: "m1"}, {MemberID: "m1"}, {MemberID: "m2"}}
	d.full = func() bool { return true }
	_, step := d.m.Leave("g", everybody, d.now)
	d.take(step)
	after, _ := d.m.Describe("g")
	require.Equal(t, before, after)
	d.full = func() bool { return false }
	errs, step := d.m.Leave("g", everybody, d.now)
	d.take(step)
	require.Equal(t, []*kerr.Error{nil, nil, kerr.UnknownMemberID, nil}, errs)
	after, _ = d.m.Describe("g")
	require.Equal(t, "Empty", after.State)
}
