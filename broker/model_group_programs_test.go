package broker_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"thalweg/broker"
	"thalweg/broker/brokertest"
)

// Random members of a group, and a transactional producer that commits for them, get the same answers from the broker
// and from the naive model.
func TestModelOfGroups(t *testing.T) {
	for seed := *modelSeed; seed < *modelSeed+uint64(*modelSeeds); seed++ {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { newGroupProgram(t, seed).run(200) })
	}
}

type groupProgram struct {
	t      *testing.T
	r      *rand.Rand
	clock  *brokertest.Clock
	fs     vfs.FS
	broker *broker.Broker
	model  *modelGroup
	step   int

	waiting map[int]waitingRequest
	last    int // request
	handles []*handle
	ids     []string // given out, not joined
	pid     int64
	epoch   int16
	open    bool // the transaction
}

// waitingRequest is a request whose answer is to come.
type waitingRequest struct {
	answer <-chan kmsg.Response
	handle *handle
}

// handle is a member as it sees itself.
type handle struct {
	id         string
	generation int32
	metadata   string
	leads      bool
	members    []string // when it leads
}

// lateClock runs what is due at once when time passes next, so that the program decides what comes first.
type lateClock struct{ *brokertest.Clock }

func (c lateClock) AfterFunc(d time.Duration, f func()) func() bool {
	return c.Clock.AfterFunc(max(d, 1), f)
}

func newGroupProgram(t *testing.T, seed uint64) *groupProgram {
	p := &groupProgram{
		t: t, r: rand.New(rand.NewPCG(seed, 1)), clock: brokertest.NewClock(), fs: vfs.NewMem(),
		model: newModelGroup(), waiting: map[int]waitingRequest{},
	}
	p.start()
	createTopic(t, p.broker, 4, "t")
	p.initProducer()
	return p
}

func (p *groupProgram) start() {
	var err error
	p.broker, err = broker.Open(broker.Config{FS: p.fs, Clock: lateClock{p.clock}})
	require.NoError(p.t, err)
}

func (p *groupProgram) run(steps int) {
	defer func() { require.NoError(p.t, p.broker.Close()) }()
	actions := []weighted{
		{10, p.invite}, {14, p.joinFirst}, {20, p.rejoin}, {25, p.sync}, {10, p.heartbeat}, {5, p.leave}, {12, p.commit},
		{8, p.commitInTransaction}, {5, p.endTransaction}, {8, p.fetch}, {4, p.advance}, {1, p.restart},
		{1, p.replaceTopic}, {2, p.deleteGroup},
	}
	for p.step = range steps {
		act(p.r, actions)
		p.settle()
		p.pass(time.Millisecond) // no two timers are due at the same time
		p.settle()
	}
}

func (p *groupProgram) log(format string, args ...any) {
	p.t.Logf("%d %s: %s in generation %d", p.step, fmt.Sprintf(format, args...), p.model.state, p.model.generation)
}

// begin starts a request. Its effect is there when begin returns.
func (p *groupProgram) begin(req kmsg.Request) <-chan kmsg.Response {
	answer, err := broker.Begin(context.Background(), p.broker, req)
	require.NoError(p.t, err)
	return answer
}

// ask is for requests that do not wait for other members.
func (p *groupProgram) ask(req kmsg.Request) kmsg.Response {
	p.t.Helper()
	return p.take(p.begin(req))
}

func (p *groupProgram) take(answer <-chan kmsg.Response) kmsg.Response {
	p.t.Helper()
	select {
	case resp := <-answer:
		return resp
	case <-within(p.t).Done():
		require.FailNow(p.t, "no answer", "step %d", p.step)
		return nil
	}
}

// wait notes a request that may have to wait.
func (p *groupProgram) wait(h *handle, req kmsg.Request) (request int) {
	p.last++
	p.waiting[p.last] = waitingRequest{p.begin(req), h}
	return p.last
}

// settle compares what the model has answered. All that it has not answered still waits.
func (p *groupProgram) settle() {
	p.t.Helper()
	leader := ""
	for _, want := range p.model.answers {
		w, ok := p.waiting[want.request]
		require.True(p.t, ok, "step %d: request %d is answered twice", p.step, want.request)
		delete(p.waiting, want.request)
		switch resp := p.take(w.answer).(type) {
		case *kmsg.JoinGroupResponse:
			p.same(want.err, resp.ErrorCode, "join of %s", w.handle.id)
			if want.err != nil {
				continue
			}
			require.Equal(p.t, []any{want.generation, want.member}, []any{resp.Generation, resp.MemberID}, "step %d", p.step)
			p.joined(w.handle, resp)
			if p.model.generation == resp.Generation && p.model.members[resp.LeaderID] != nil {
				require.Contains(p.t, []string{"", resp.LeaderID}, leader, "step %d: two leaders", p.step)
				leader = resp.LeaderID
			}
		case *kmsg.SyncGroupResponse:
			p.same(want.err, resp.ErrorCode, "sync of %s", w.handle.id)
			require.Equal(p.t, want.assignment, string(resp.MemberAssignment), "step %d", p.step)
		}
	}
	p.model.answers = nil
	if leader != "" {
		p.model.leader = leader
	}
	for request, w := range p.waiting {
		select {
		case resp := <-w.answer:
			require.FailNow(p.t, "an answer too early", "step %d: request %d of %s: %+v", p.step, request, w.handle.id, resp)
		default:
		}
	}
}

// joined takes the answer to a join.
func (p *groupProgram) joined(h *handle, resp *kmsg.JoinGroupResponse) {
	h.generation, h.leads, h.members = resp.Generation, resp.LeaderID == resp.MemberID, nil
	for _, m := range resp.Members {
		h.members = append(h.members, m.MemberID)
		if known := p.model.members[m.MemberID]; known != nil && h.generation == p.model.generation {
			require.Equal(p.t, known.metadata, string(m.ProtocolMetadata), "step %d", p.step)
		}
	}
	if h.leads && h.generation == p.model.generation {
		require.Equal(p.t, p.model.ids(), h.members, "step %d", p.step)
	}
}

func (p *groupProgram) same(want *kerr.Error, code int16, what string, args ...any) {
	p.t.Helper()
	got, _ := kerr.ErrorForCode(code).(*kerr.Error)
	require.Equal(p.t, want, got, "step %d: %s", p.step, fmt.Sprintf(what, args...))
}

func (p *groupProgram) joinRequest(h *handle) *kmsg.JoinGroupRequest {
	req := kmsg.NewPtrJoinGroupRequest()
	req.Version, req.Group, req.ProtocolType, req.MemberID = 9, "g", "consumer", h.id
	req.SessionTimeoutMillis = int32(modelSession / time.Millisecond)
	req.RebalanceTimeoutMillis = int32(modelRebalance / time.Millisecond)
	protocol := kmsg.NewJoinGroupRequestProtocol()
	protocol.Name, protocol.Metadata = "range", []byte(h.metadata)
	req.Protocols = append(req.Protocols, protocol)
	return req
}

// invite asks for a member id.
func (p *groupProgram) invite() {
	if len(p.model.members)+len(p.ids) > 4 {
		return
	}
	resp := p.ask(p.joinRequest(&handle{metadata: "new"})).(*kmsg.JoinGroupResponse)
	require.Equal(p.t, kerr.MemberIDRequired.Code, resp.ErrorCode)
	p.model.invited[resp.MemberID] = p.model.now + modelSession
	p.ids = append(p.ids, resp.MemberID)
	p.log("invite %s", resp.MemberID)
}

func (p *groupProgram) joinFirst() {
	if len(p.ids) == 0 {
		return
	}
	h := &handle{id: p.ids[0], metadata: fmt.Sprintf("m%d", p.step)}
	p.ids = p.ids[1:]
	p.handles = append(p.handles, h)
	p.join(h)
}

func (p *groupProgram) join(h *handle) {
	p.log("join %s %s", h.id, h.metadata)
	p.model.join(p.wait(h, p.joinRequest(h)), h.id, h.metadata)
}

// handle returns one of the newest members, or a zombie.
func (p *groupProgram) handle() *handle {
	if n := len(p.handles); n > 0 {
		return p.handles[max(0, n-1-p.r.IntN(5))]
	}
	return &handle{id: "nobody"}
}

func (p *groupProgram) rejoin() {
	h := p.handle()
	if p.r.IntN(5) == 0 {
		h.metadata = fmt.Sprintf("m%d", p.step)
	}
	p.join(h)
}

func (p *groupProgram) sync() {
	h := p.handle()
	req := kmsg.NewPtrSyncGroupRequest()
	req.Version, req.Group, req.MemberID, req.Generation = 5, "g", h.id, p.generation(h)
	assignments := map[string]string{}
	if h.leads {
		for i, id := range h.members {
			assignments[id] = fmt.Sprintf("%d of %d", i, h.generation)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(assignments)) {
		part := kmsg.NewSyncGroupRequestGroupAssignment()
		part.MemberID, part.MemberAssignment = id, []byte(assignments[id])
		req.GroupAssignment = append(req.GroupAssignment, part)
	}
	p.log("sync %s in %d", h.id, req.Generation)
	p.model.sync(p.wait(h, req), h.id, req.Generation, assignments)
}

// generation is the member's own, most of the time.
func (p *groupProgram) generation(h *handle) int32 {
	if p.r.IntN(15) == 0 {
		return h.generation + 1 - p.r.Int32N(3)
	}
	return h.generation
}

func (p *groupProgram) heartbeat() {
	h := p.handle()
	req := kmsg.NewPtrHeartbeatRequest()
	req.Version, req.Group, req.MemberID, req.Generation = 4, "g", h.id, p.generation(h)
	resp := p.ask(req).(*kmsg.HeartbeatResponse)
	p.log("heartbeat %s in %d", h.id, req.Generation)
	p.same(p.model.heartbeat(h.id, req.Generation), resp.ErrorCode, "heartbeat of %s", h.id)
}

func (p *groupProgram) leave() {
	id := p.handle().id
	if len(p.ids) > 0 && p.r.IntN(2) == 0 {
		id = p.ids[0]
	}
	req := kmsg.NewPtrLeaveGroupRequest()
	req.Version, req.Group = 5, "g"
	member := kmsg.NewLeaveGroupRequestMember()
	member.MemberID = id
	req.Members = append(req.Members, member)
	resp := p.ask(req).(*kmsg.LeaveGroupResponse)
	p.log("leave %s", id)
	p.same(p.model.leave(id), resp.Members[0].ErrorCode, "leaving of %s", id)
}

// committer is a member, or somebody outside of the protocol.
func (p *groupProgram) committer() (id string, generation int32) {
	switch p.r.IntN(8) {
	case 0, 1:
		return "", -1
	case 2:
		return "somebody", -1
	}
	h := p.handle()
	return h.id, p.generation(h)
}

func (p *groupProgram) commit() {
	id, generation := p.committer()
	partition, offset := p.r.Int32N(4), p.r.Int64N(1000)
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Version, req.Group, req.MemberID, req.Generation = 9, "g", id, generation
	topic, part := kmsg.NewOffsetCommitRequestTopic(), kmsg.NewOffsetCommitRequestTopicPartition()
	topic.Topic, part.Partition, part.Offset = "t", partition, offset
	topic.Partitions = append(topic.Partitions, part)
	req.Topics = append(req.Topics, topic)
	resp := p.ask(req).(*kmsg.OffsetCommitResponse)
	p.log("commit of %q in %d", id, generation)
	p.same(p.model.commit(id, generation, false, partition, offset), resp.Topics[0].Partitions[0].ErrorCode,
		"commit of %q in %d", id, generation)
}

// replaceTopic deletes the topic and makes it again: the group has no offsets of the new one.
func (p *groupProgram) replaceTopic() {
	p.log("replace the topic")
	req := kmsg.NewPtrDeleteTopicsRequest()
	req.Version, req.TopicNames = 5, []string{"t"}
	require.Zero(p.t, p.ask(req).(*kmsg.DeleteTopicsResponse).Topics[0].ErrorCode)
	p.model.deleteTopic()
	createTopic(p.t, p.broker, 4, "t")
}

func (p *groupProgram) deleteGroup() {
	req := kmsg.NewPtrDeleteGroupsRequest()
	req.Version, req.Groups = 2, []string{"g"}
	resp := p.ask(req).(*kmsg.DeleteGroupsResponse)
	p.log("delete the group")
	p.same(p.model.deleteGroup(), resp.Groups[0].ErrorCode, "deletion of the group")
}

func (p *groupProgram) initProducer() {
	req := kmsg.NewPtrInitProducerIDRequest()
	req.Version, req.TransactionalID, req.TransactionTimeoutMillis = 5, kmsg.StringPtr("tx"), 900_000
	req.ProducerID, req.ProducerEpoch = -1, -1
	resp := p.ask(req).(*kmsg.InitProducerIDResponse)
	require.Zero(p.t, resp.ErrorCode)
	p.pid, p.epoch = resp.ProducerID, resp.ProducerEpoch
}

func (p *groupProgram) commitInTransaction() {
	id, generation := p.committer()
	partition, offset := p.r.Int32N(4), p.r.Int64N(1000)
	req := kmsg.NewPtrTxnOffsetCommitRequest()
	req.Version, req.Group, req.MemberID, req.Generation = 5, "g", id, generation
	req.TransactionalID, req.ProducerID, req.ProducerEpoch = "tx", p.pid, p.epoch
	topic, part := kmsg.NewTxnOffsetCommitRequestTopic(), kmsg.NewTxnOffsetCommitRequestTopicPartition()
	topic.Topic, part.Partition, part.Offset = "t", partition, offset
	topic.Partitions = append(topic.Partitions, part)
	req.Topics = append(req.Topics, topic)
	resp := p.ask(req).(*kmsg.TxnOffsetCommitResponse)
	p.log("commit of %q in %d, in a transaction", id, generation)
	p.same(p.model.commit(id, generation, true, partition, offset), resp.Topics[0].Partitions[0].ErrorCode,
		"commit of %q in %d, in a transaction", id, generation)
	p.open = true
}

func (p *groupProgram) endTransaction() {
	if !p.open {
		return
	}
	req := kmsg.NewPtrEndTxnRequest()
	req.Version, req.TransactionalID, req.ProducerID, req.ProducerEpoch = 5, "tx", p.pid, p.epoch
	req.Commit = p.r.IntN(3) > 0
	resp := p.ask(req).(*kmsg.EndTxnResponse)
	require.Zero(p.t, resp.ErrorCode)
	p.pid, p.epoch, p.open = resp.ProducerID, resp.ProducerEpoch, false
	p.log("end of the transaction, commit %v", req.Commit)
	p.model.endTransaction(req.Commit)
}

// fetch reads the offsets, and whether a transaction still holds some.
func (p *groupProgram) fetch() {
	req := kmsg.NewPtrOffsetFetchRequest()
	req.Version, req.RequireStable = 8, p.r.IntN(2) == 0
	group, topic := kmsg.NewOffsetFetchRequestGroup(), kmsg.NewOffsetFetchRequestGroupTopic()
	group.Group, topic.Topic, topic.Partitions = "g", "t", []int32{0, 1, 2, 3}
	group.Topics = append(group.Topics, topic)
	req.Groups = append(req.Groups, group)
	resp := p.ask(req).(*kmsg.OffsetFetchResponse)
	require.Zero(p.t, resp.Groups[0].ErrorCode)
	for _, part := range resp.Groups[0].Topics[0].Partitions {
		if _, unstable := p.model.pending[part.Partition]; unstable && req.RequireStable {
			p.same(kerr.UnstableOffsetCommit, part.ErrorCode, "offset of partition %d", part.Partition)
			continue
		}
		want, ok := p.model.offsets[part.Partition]
		if !ok {
			want.offset = -1
		}
		require.Equal(p.t, []int64{want.offset, 0}, []int64{part.Offset, int64(part.ErrorCode)}, "step %d: partition %d",
			p.step, part.Partition)
	}
}

func (p *groupProgram) pass(d time.Duration) {
	p.clock.Advance(d)
	p.model.advance(d)
}

// advance lets members run out of time.
func (p *groupProgram) advance() {
	d := time.Duration(1+p.r.IntN(25)) * time.Second
	p.log("%v pass", d)
	p.pass(d)
}

// restart forgets who waits.
func (p *groupProgram) restart() {
	p.log("restart")
	require.NoError(p.t, p.broker.Close())
	p.start()
	p.model.restart()
	p.waiting, p.ids = map[int]waitingRequest{}, nil
}
