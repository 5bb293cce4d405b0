//go:build kill

package verify

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"thalweg/internal/verify/history"
)

const (
	historyPartitions = 3
	historyGroup      = "processors"
	auditGroup        = "auditors"
	// patience bounds a single call of a client, and what follows after the last fault.
	patience = 90 * time.Second
)

// load is clients that work on two topics, and what they have seen. Senders of all kinds write to topic in; a group
// processes it into topic out, in transactions of polls and sends; another group commits offsets only; consumers read
// both topics.
type load struct {
	t       *testing.T
	options []kgo.Opt // that lead to the broker
	ids     map[string]kadm.TopicDetail
	seed    uint64

	stopping chan struct{}
	wg       sync.WaitGroup

	values  atomic.Int64
	now     atomic.Int64
	mu      sync.Mutex
	ops     []history.Op
	names   []string // of transactional ids
	clients []*kgo.Client
}

// newLoad makes the topics.
func newLoad(t *testing.T, seed uint64, options ...kgo.Opt) *load {
	l := &load{t: t, options: options, seed: seed, stopping: make(chan struct{})}
	cl := l.client()
	defer cl.Close()
	adm := kadm.NewClient(cl)
	ctx, cancel := l.within()
	defer cancel()
	anyTime := map[string]*string{"message.timestamp.after.max.ms": kadm.StringPtr("9223372036854775807")}
	for _, topic := range []string{"in", "out"} { // the brokers' clock is not the clients'
		_, err := adm.CreateTopic(ctx, historyPartitions, 1, anyTime, topic)
		require.NoError(t, err)
	}
	var err error
	l.ids, err = adm.ListTopics(ctx, "in", "out")
	require.NoError(t, err)
	return l
}

func (l *load) within() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), patience)
}

// client connects. Its timeouts are short, so that it tries again while the broker is away or stopped.
func (l *load) client(opts ...kgo.Opt) *kgo.Client {
	standard := []kgo.Opt{
		kgo.RequestTimeoutOverhead(time.Second),
		kgo.ProduceRequestTimeout(time.Second),
		kgo.RetryBackoffFn(func(int) time.Duration { return 50 * time.Millisecond }),
		kgo.RetryTimeout(20 * time.Second),
		kgo.MetadataMinAge(100 * time.Millisecond),
		kgo.FetchMaxWait(100 * time.Millisecond),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
	}
	cl, err := kgo.NewClient(append(append(standard, l.options...), opts...)...)
	require.NoError(l.t, err)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.clients = append(l.clients, cl)
	return cl
}

// start lets the clients work until stop.
func (l *load) start() {
	for i, work := range []func(id int, r *rand.Rand){
		func(id int, r *rand.Rand) { l.send(id, r, true, kgo.DisableIdempotentWrite()) },
		func(id int, r *rand.Rand) {
			l.send(id, r, true, kgo.DisableIdempotentWrite(), kgo.RequiredAcks(kgo.LeaderAck()))
		},
		func(id int, r *rand.Rand) { l.send(id, r, false) },
		func(id int, r *rand.Rand) { l.send(id, r, false, kgo.ProducerLinger(0)) },
		l.transact, l.transact,
		l.process, l.process, l.process,
		l.audit, l.audit,
		l.poll, l.poll,
	} {
		l.wg.Go(func() { work(i, rand.New(rand.NewPCG(l.seed, uint64(i)))) })
	}
}

// stop lets each client finish what it is doing. One that is not done in time is closed, which fails what it waits for.
func (l *load) stop(within time.Duration) {
	close(l.stopping)
	done := make(chan struct{})
	go func() {
		l.wg.Wait()
		close(done)
	}()
	select {
	case <-done:
		return
	case <-time.After(within):
		l.t.Errorf("clients wait for more than %v although nothing disturbs them", within)
	}
	for {
		l.mu.Lock()
		for _, cl := range l.clients {
			go cl.CloseAllowingRebalance()
		}
		l.clients = nil
		l.mu.Unlock()
		select {
		case <-done:
			return
		case <-time.After(time.Second):
		}
	}
}

func (l *load) stopped() bool {
	select {
	case <-l.stopping:
		return true
	default:
		return false
	}
}

// pause waits for up to a maximum.
func (l *load) pause(r *rand.Rand, most time.Duration) {
	select {
	case <-l.stopping:
	case <-time.After(r.N(most)):
	}
}

func (l *load) moment() int64 { return l.now.Add(1) }

func (l *load) note(ops ...history.Op) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ops = append(l.ops, ops...)
}

// fresh returns some new records for partitions of a topic.
func (l *load) fresh(r *rand.Rand, topic string, n int) []*kgo.Record {
	records := make([]*kgo.Record, n)
	for i := range records {
		value := fmt.Appendf(nil, "v%d", l.values.Add(1))
		records[i] = &kgo.Record{Topic: topic, Partition: r.Int32N(historyPartitions), Value: value}
	}
	return records
}

func asRecord(r *kgo.Record) history.Record {
	return history.Record{Partition: history.Partition{Topic: r.Topic, Index: r.Partition}, Offset: r.Offset,
		Value: string(r.Value)}
}

// produce sends records; err is that of any of them.
func (l *load) produce(cl *kgo.Client, records []*kgo.Record) (
	sent []history.Record, outcomes []history.Outcome, err error,
) {
	ctx, cancel := l.within()
	defer cancel()
	failed := map[*kgo.Record]bool{}
	for _, result := range cl.ProduceSync(ctx, records...) {
		if result.Err != nil {
			failed[result.Record], err = true, result.Err
		}
	}
	for _, r := range records {
		h, outcome := asRecord(r), history.OK
		if failed[r] {
			h.Offset, outcome = -1, history.Unknown
		}
		sent, outcomes = append(sent, h), append(outcomes, outcome)
	}
	return sent, outcomes, err
}

// send produces outside of transactions.
func (l *load) send(id int, r *rand.Rand, repeats bool, opts ...kgo.Opt) {
	cl := l.client(opts...)
	defer cl.Close()
	for !l.stopped() {
		records := l.fresh(r, "in", 1+r.IntN(4))
		begin := l.moment()
		sent, outcomes, _ := l.produce(cl, records)
		end := l.moment()
		for i := range sent {
			l.note(history.Op{Client: id, Outcome: outcomes[i], Begin: begin, End: end, Repeats: repeats,
				Sends: sent[i : i+1]})
		}
		l.pause(r, 20*time.Millisecond)
	}
}

// transactional is a transactional producer, which is made again when it has failed.
type transactional struct {
	*load
	name string
	cl   *kgo.Client // nil: make one
}

func (l *load) transactional(id int) *transactional {
	p := &transactional{load: l, name: fmt.Sprintf("tx-%d", id)}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.names = append(l.names, p.name)
	return p
}

func (p *transactional) close() {
	if p.cl != nil {
		p.cl.Close()
		p.cl = nil
	}
}

// run runs a transaction. op names the client and what it polled; offsets commits those of the polled records, and may
// be nil. It notes the operation, unless it did not come to sending anything.
func (p *transactional) run(
	op history.Op, r *rand.Rand, topic string, offsets func(*kgo.Client) error,
) history.Outcome {
	if p.cl == nil {
		p.cl = p.client(kgo.TransactionalID(p.name))
	}
	if err := p.cl.BeginTransaction(); err != nil {
		p.close()
		return history.Failed
	}
	op.Kind, op.Begin = history.Transaction, p.moment()
	var err error
	op.Sends, _, err = p.produce(p.cl, p.fresh(r, topic, 1+r.IntN(5)))
	if err == nil && offsets != nil {
		err = offsets(p.cl)
	}
	end := kgo.TryCommit
	if err != nil || r.IntN(4) == 0 {
		end = kgo.TryAbort
	}
	ctx, cancel := p.within()
	defer cancel()
	op.Deciding = p.moment()
	err = p.cl.EndTransaction(ctx, end)
	op.End = p.moment()
	switch {
	case end == kgo.TryAbort: // if that failed, too, nobody will ever ask for a commit
		op.Outcome = history.Failed
	case err != nil:
		op.Outcome = history.Unknown
	}
	if err != nil {
		p.close()
	}
	p.note(op)
	return op.Outcome
}

// transact produces in transactions.
func (l *load) transact(id int, r *rand.Rand) {
	p := l.transactional(id)
	defer p.close()
	for !l.stopped() {
		p.run(history.Op{Client: id}, r, "in", nil)
		l.pause(r, 40*time.Millisecond)
	}
}

// member is a consumer of a group. It joins again when it has failed, and sometimes just so.
type member struct {
	*load
	group string
	cl    *kgo.Client // nil: join
}

// polled is what a member has read, and as whom.
type polled struct {
	records    []history.Record
	next       map[int32]int64                      // of topic in, to commit
	first      map[string]map[int32]kgo.EpochOffset // to go back to
	memberID   string
	generation int32
	stalled    bool
}

func (m *member) close() {
	if m.cl != nil {
		m.cl.CloseAllowingRebalance()
		m.cl = nil
	}
}

// poll reads some records. The group does not rebalance between the poll and what is done with it, unless the member
// stalls: then it is a zombie, perhaps.
func (m *member) poll(r *rand.Rand) *polled {
	if m.cl == nil || r.IntN(20) == 0 {
		m.close()
		m.cl = m.client(kgo.ConsumerGroup(m.group), kgo.ConsumeTopics("in"), kgo.DisableAutoCommit(),
			kgo.BlockRebalanceOnPoll(), kgo.Balancers(kgo.RangeBalancer()),
			kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.SessionTimeout(6*time.Second),
			kgo.RebalanceTimeout(6*time.Second), kgo.HeartbeatInterval(100*time.Millisecond))
	}
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	p := &polled{
		next:  map[int32]int64{},
		first: map[string]map[int32]kgo.EpochOffset{"in": {}},
	}
	for _, rec := range m.cl.PollRecords(ctx, 1+r.IntN(30)).Records() {
		p.records = append(p.records, asRecord(rec))
		if _, ok := p.first["in"][rec.Partition]; !ok {
			p.first["in"][rec.Partition] = kgo.EpochOffset{Epoch: -1, Offset: rec.Offset}
		}
		p.next[rec.Partition] = rec.Offset + 1
	}
	p.memberID, p.generation = m.cl.GroupMetadata()
	if len(p.records) > 0 && r.IntN(6) == 0 {
		p.stalled = true
		m.cl.AllowRebalance()
		m.pause(r, time.Second)
	}
	return p
}

// goOn is the member's next step: after a commit it reads on, and otherwise it reads again what it has read.
func (m *member) goOn(p *polled, outcome history.Outcome) {
	switch {
	case outcome == history.OK:
	case outcome == history.Failed && !p.stalled:
		m.cl.SetOffsets(p.first)
	default: // It joins in a new generation, in which a commit that is still on its way is refused.
		m.close()
		return
	}
	m.cl.AllowRebalance()
}

// process turns records of topic in into others of topic out, exactly once.
func (l *load) process(id int, r *rand.Rand) {
	m, producer := &member{load: l, group: historyGroup}, l.transactional(id)
	defer producer.close()
	defer m.close()
	for !l.stopped() {
		p := m.poll(r)
		if len(p.records) == 0 {
			m.goOn(p, history.OK)
			continue
		}
		op := history.Op{Client: id, Polls: p.records, Group: m.group, Generation: p.generation}
		outcome := producer.run(op, r, "out", func(cl *kgo.Client) error {
			return l.commitInTransaction(cl, m, producer, p)
		})
		m.goOn(p, outcome)
		l.pause(r, 20*time.Millisecond)
	}
}

// commitInTransaction adds the offsets to the transaction, as those of the generation that polled.
func (l *load) commitInTransaction(cl *kgo.Client, m *member, producer *transactional, p *polled) error {
	ctx, cancel := l.within()
	defer cancel()
	id, epoch, err := cl.ProducerID(ctx)
	if err != nil {
		return err
	}
	req := kmsg.NewPtrTxnOffsetCommitRequest()
	req.TransactionalID, req.ProducerID, req.ProducerEpoch = producer.name, id, epoch
	req.Group, req.MemberID, req.Generation = m.group, p.memberID, p.generation
	topic := kmsg.NewTxnOffsetCommitRequestTopic()
	topic.Topic, topic.TopicID = "in", l.ids["in"].ID
	for partition, offset := range p.next {
		part := kmsg.NewTxnOffsetCommitRequestTopicPartition()
		part.Partition, part.Offset = partition, offset
		topic.Partitions = append(topic.Partitions, part)
	}
	req.Topics = append(req.Topics, topic)
	resp, err := req.RequestWith(ctx, cl)
	if err != nil {
		return err
	}
	for _, part := range resp.Topics[0].Partitions {
		if err := kerr.ErrorForCode(part.ErrorCode); err != nil {
			return err
		}
	}
	return nil
}

// audit commits offsets without doing anything else.
func (l *load) audit(id int, r *rand.Rand) {
	m := &member{load: l, group: auditGroup}
	defer m.close()
	for !l.stopped() {
		p := m.poll(r)
		if len(p.records) == 0 {
			m.goOn(p, history.OK)
			continue
		}
		op := history.Op{Client: id, Kind: history.Commit, Polls: p.records, Group: m.group, Generation: p.generation}
		op.Begin = l.moment()
		op.Outcome = l.commit(m, p)
		op.End = l.moment()
		l.note(op)
		m.goOn(p, op.Outcome)
		l.pause(r, 20*time.Millisecond)
	}
}

func (l *load) commit(m *member, p *polled) history.Outcome {
	ctx, cancel := l.within()
	defer cancel()
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Group, req.MemberID, req.Generation = m.group, p.memberID, p.generation
	topic := kmsg.NewOffsetCommitRequestTopic()
	topic.Topic, topic.TopicID = "in", l.ids["in"].ID
	for partition, offset := range p.next {
		part := kmsg.NewOffsetCommitRequestTopicPartition()
		part.Partition, part.Offset = partition, offset
		topic.Partitions = append(topic.Partitions, part)
	}
	req.Topics = append(req.Topics, topic)
	resp, err := req.RequestWith(ctx, m.cl)
	if err != nil {
		return history.Unknown
	}
	for _, part := range resp.Topics[0].Partitions {
		if part.ErrorCode != 0 {
			return history.Unknown
		}
	}
	return history.OK
}

// poll reads both topics, again and again from the beginning.
func (l *load) poll(id int, r *rand.Rand) {
	for !l.stopped() {
		cl := l.client(everything(kgo.NewOffset().AtStart()))
		from := beginning()
		for until := time.Now().Add(r.N(3 * time.Second)); !l.stopped() && time.Now().Before(until); {
			op := history.Op{Client: id, Kind: history.Poll, Begin: l.moment(), From: from}
			ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
			for _, rec := range cl.PollRecords(ctx, 1000).Records() {
				op.Polls = append(op.Polls, asRecord(rec))
			}
			cancel()
			if op.End = l.moment(); len(op.Polls) > 0 {
				l.note(op)
				from = nil
			}
		}
		cl.Close()
	}
}

// beginning is where a client begins that reads everything from the start.
func beginning() map[history.Partition]int64 {
	from := map[history.Partition]int64{}
	for _, topic := range []string{"in", "out"} {
		for p := range int32(historyPartitions) {
			from[history.Partition{Topic: topic, Index: p}] = 0
		}
	}
	return from
}

func everything(at kgo.Offset) kgo.Opt {
	partitions := map[string]map[int32]kgo.Offset{}
	for _, topic := range []string{"in", "out"} {
		partitions[topic] = map[int32]kgo.Offset{}
		for p := range int32(historyPartitions) {
			partitions[topic][p] = at
		}
	}
	return kgo.ConsumePartitions(partitions)
}
