package broker_test

import (
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"thalweg/broker"
	"thalweg/broker/brokertest"
	"thalweg/internal/batch"
	"thalweg/internal/direct"
)

var (
	modelSeeds = flag.Int("model", 20, "how many random programs run against the naive model")
	modelSeed  = flag.Uint64("modelseed", 1, "the first program's seed")
)

// Random programs give the same answers on the broker and on the naive model.
func TestModel(t *testing.T) {
	for seed := *modelSeed; seed < *modelSeed+uint64(*modelSeeds); seed++ {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { newProgram(t, seed).run(250) })
	}
}

// program runs requests, one after the other, against a broker and a model.
type program struct {
	t     *testing.T
	r     *rand.Rand
	clock *brokertest.Clock
	off   time.Duration // by which the clock is wrong
	fs    vfs.FS
	model *model

	broker *broker.Broker
	client *kgo.Client
	step   int
	actors []*actor
}

// actor is a producer. Those of one transactional id fence each other.
type actor struct {
	modelProducerID
	name     string // transactional id; empty: idempotent; "plain": without an id
	sequence map[string]int32
	last     func() // repeats the last batch
	lastEnd  *bool  // commit of the last EndTxn
	ended    modelProducerID
}

func newProgram(t *testing.T, seed uint64) *program {
	p := &program{
		t: t, r: rand.New(rand.NewPCG(seed, 0)), clock: brokertest.NewClock(), fs: vfs.NewMem(), model: newModel(),
	}
	p.open()
	return p
}

func (p *program) open() {
	var err error
	p.broker, err = broker.Open(broker.Config{FS: p.fs, Clock: p.clock})
	require.NoError(p.t, err)
	p.client = brokertest.Client(p.t, p.broker)
}

// weighted is an action of a random program, and how often it is taken.
type weighted struct {
	weight int
	do     func()
}

// act takes one of some actions.
func act(r *rand.Rand, actions []weighted) {
	total := 0
	for _, a := range actions {
		total += a.weight
	}
	n := r.IntN(total)
	for _, a := range actions {
		if n -= a.weight; n < 0 {
			a.do()
			return
		}
	}
}

func (p *program) run(steps int) {
	defer func() { require.NoError(p.t, p.broker.Close()) }()
	actions := []weighted{
		{40, p.produce}, {15, p.fetch}, {10, p.listOffsets}, {8, p.endTransaction}, {6, p.newActor}, {5, p.repeat},
		{4, p.createTopic}, {3, p.deleteRecords}, {3, p.compact}, {2, p.restart}, {2, p.configure}, {2, p.setClock},
		{1, p.deleteTopic},
	}
	p.newActor()
	for p.step = range steps {
		act(p.r, actions)
		p.clock.Advance(p.r.N(50 * time.Millisecond).Truncate(time.Millisecond))
	}
	for _, name := range slices.Sorted(maps.Keys(p.model.topics)) {
		p.compareAll(name)
	}
}

func (p *program) now() int64 { return p.clock.Now().UnixMilli() }

// same compares an error of the broker with one of the model.
func (p *program) same(want *kerr.Error, got error, what string, args ...any) {
	p.t.Helper()
	p.t.Logf("%d %s: %v", p.step, fmt.Sprintf(what, args...), got)
	var known *kerr.Error
	if got != nil && !errors.As(got, &known) {
		known = kerr.UnknownServerError
	}
	require.Equal(p.t, want, known, "step %d: %s: %v", p.step, fmt.Sprintf(what, args...), got)
}

// topic is the name of one of a few topics, which may not exist.
func (p *program) topic() string { return fmt.Sprintf("topic-%d", p.r.IntN(4)) }

func (p *program) createTopic() {
	name, partitions := p.topic(), int32(p.r.IntN(4))
	compacted, appendTime := p.r.IntN(3) == 0, p.r.IntN(4) == 0
	req := kmsg.NewPtrCreateTopicsRequest()
	topic := kmsg.NewCreateTopicsRequestTopic()
	topic.Topic, topic.NumPartitions, topic.ReplicationFactor = name, partitions, 1
	configs := map[string]string{
		"segment.ms": "1000", "min.cleanable.dirty.ratio": "0", "cleanup.policy": "delete",
		"message.timestamp.type": "CreateTime", "message.timestamp.after.max.ms": "9223372036854775807",
	}
	if compacted {
		configs["cleanup.policy"] = "compact"
	}
	if appendTime {
		configs["message.timestamp.type"] = "LogAppendTime"
	}
	for _, key := range slices.Sorted(maps.Keys(configs)) {
		config := kmsg.NewCreateTopicsRequestTopicConfig()
		config.Name, config.Value = key, kmsg.StringPtr(configs[key])
		topic.Configs = append(topic.Configs, config)
	}
	req.Topics = append(req.Topics, topic)
	resp, err := req.RequestWith(within(p.t), p.client.SeedBrokers()[0])
	require.NoError(p.t, err)
	want := p.model.create(name, int(partitions), compacted, appendTime)
	p.same(want, kerr.ErrorForCode(resp.Topics[0].ErrorCode), "create %s with %d partitions", name, partitions)
}

func (p *program) deleteTopic() {
	name := p.topic()
	req := kmsg.NewPtrDeleteTopicsRequest()
	topic := kmsg.NewDeleteTopicsRequestTopic()
	topic.Topic = kmsg.StringPtr(name)
	req.Topics, req.TopicNames = append(req.Topics, topic), []string{name}
	resp, err := req.RequestWith(within(p.t), p.client.SeedBrokers()[0])
	require.NoError(p.t, err)
	p.same(p.model.delete(name), kerr.ErrorForCode(resp.Topics[0].ErrorCode), "delete %s", name)
}

// configure changes a topic's cleanup policy or its kind of timestamps.
func (p *program) configure() {
	name := p.topic()
	t := p.model.topics[name]
	if t == nil {
		return
	}
	t.compacted, t.appendTime = p.r.IntN(3) == 0, p.r.IntN(4) == 0
	t.cleaned = t.cleaned || t.compacted
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	resource := kmsg.NewIncrementalAlterConfigsRequestResource()
	resource.ResourceType, resource.ResourceName = kmsg.ConfigResourceTypeTopic, name
	set := func(key, value string) {
		config := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
		config.Name, config.Value = key, kmsg.StringPtr(value)
		resource.Configs = append(resource.Configs, config)
	}
	set("cleanup.policy", map[bool]string{true: "compact", false: "delete"}[t.compacted])
	set("message.timestamp.type", map[bool]string{true: "LogAppendTime", false: "CreateTime"}[t.appendTime])
	req.Resources = append(req.Resources, resource)
	resp, err := req.RequestWith(within(p.t), p.client.SeedBrokers()[0])
	require.NoError(p.t, err)
	require.Zero(p.t, resp.Resources[0].ErrorCode)
}

// newActor adds a producer: one without an id, an idempotent one, or one that takes over a transactional id.
func (p *program) newActor() {
	a := &actor{sequence: map[string]int32{}, modelProducerID: modelProducerID{-1, -1}}
	if kind := p.r.IntN(6); kind > 0 {
		req := kmsg.NewPtrInitProducerIDRequest()
		req.ProducerID, req.ProducerEpoch, req.TransactionTimeoutMillis = -1, -1, 900_000
		if kind > 2 {
			a.name = fmt.Sprintf("tx-%d", kind%2)
			req.TransactionalID = &a.name
		}
		now, marked := p.now(), p.model.open(a.name)
		resp, err := req.RequestWith(within(p.t), p.client.SeedBrokers()[0])
		require.NoError(p.t, err)
		require.Zero(p.t, resp.ErrorCode)
		a.modelProducerID = modelProducerID{resp.ProducerID, resp.ProducerEpoch}
		if a.name != "" {
			require.Equal(p.t, p.model.initProducer(a.name, resp.ProducerID, now), a.modelProducerID, "step %d", p.step)
			p.awaitEnd(a.name, marked)
		}
	}
	p.t.Logf("%d actor %v", p.step, a)
	p.actors = append(p.actors, a)
}

func (p *program) actor() *actor {
	// The newest are the most likely; the others are zombies, perhaps.
	n := len(p.actors)
	return p.actors[n-1-min(p.r.IntN(n), p.r.IntN(n), p.r.IntN(n))]
}

// produce sends a batch. Its sequence is the right one, most of the time.
func (p *program) produce() {
	a, topic, partition := p.actor(), p.topic(), int32(p.r.IntN(3))
	at := fmt.Sprintf("%s/%d", topic, partition)
	sequence := int32(-1)
	if a.id >= 0 {
		sequence = a.sequence[at]
		if sequence > 0 && p.r.IntN(12) == 0 {
			sequence += 1 + p.r.Int32N(3)
		}
	}
	records := make([]modelRecord, 1+p.r.IntN(4))
	for i := range records {
		records[i] = modelRecord{
			timestamp: p.now() + p.r.Int64N(100_000) - 50_000, value: fmt.Sprintf("%d.%d", p.step, i),
			producer: a.modelProducerID, transactional: a.name != "",
		}
		if p.r.IntN(8) > 0 {
			records[i].key = fmt.Sprintf("k%d", p.r.IntN(5))
		}
		if p.r.IntN(10) == 0 {
			records[i].value = ""
		}
	}
	compression := batch.Compression(p.r.IntN(5))
	send := func() *kerr.Error {
		builder := batch.NewBuilder(compression)
		for _, r := range records {
			builder.Append(r.timestamp, nullable(r.key), nullable(r.value), nil)
		}
		raw, err := builder.Finish(batch.Producer{
			ID: a.id, Epoch: records[0].producer.epoch, Sequence: sequence, Transactional: a.name != "",
		})
		require.NoError(p.t, err)
		now := p.now()
		results, err := direct.Of(p.broker).Produce(within(p.t), direct.ProduceRequest{
			TransactionalID: a.name,
			Partitions:      []direct.ProducePartition{{Topic: topic, Partition: partition, Batches: raw}},
		})
		require.NoError(p.t, err)
		base, kerror := p.model.produce(topic, partition, a.name, sequence, now, records)
		p.same(kerror, results[0].Err, "%q %v produces to %s with sequence %d", a.name, records[0].producer, at, sequence)
		require.Equal(p.t, base, results[0].BaseOffset, "step %d", p.step)
		return kerror
	}
	if send() == nil && a.id >= 0 {
		a.sequence[at] = sequence + int32(len(records))
		a.last = func() { send() }
	}
}

func nullable(s string) []byte {
	if s == "" {
		return nil
	}
	return []byte(s)
}

// repeat sends an actor's last batch, or its last EndTxn, again.
func (p *program) repeat() {
	switch a := p.actor(); {
	case a.lastEnd != nil && p.r.IntN(2) == 0:
		p.end(a, a.ended, *a.lastEnd != (p.r.IntN(6) == 0))
	case a.last != nil:
		a.last()
	}
}

func (p *program) endTransaction() {
	a := p.actor()
	if a.name == "" {
		return
	}
	commit := p.r.IntN(3) > 0
	a.ended = a.modelProducerID
	if next, err := p.end(a, a.modelProducerID, commit); err == nil {
		a.modelProducerID, a.sequence, a.lastEnd = next, map[string]int32{}, &commit
	}
}

func (p *program) end(a *actor, as modelProducerID, commit bool) (modelProducerID, *kerr.Error) {
	req := kmsg.NewPtrEndTxnRequest()
	req.TransactionalID, req.ProducerID, req.ProducerEpoch, req.Commit = a.name, as.id, as.epoch, commit
	now, marked := p.now(), p.model.open(a.name)
	resp, err := req.RequestWith(within(p.t), p.client.SeedBrokers()[0])
	require.NoError(p.t, err)
	next, kerror := p.model.end(a.name, as, commit, now)
	p.same(kerror, kerr.ErrorForCode(resp.ErrorCode), "%q %v ends with commit %v", a.name, as, commit)
	require.Equal(p.t, next, modelProducerID{resp.ProducerID, resp.ProducerEpoch}, "step %d", p.step)
	if kerror == nil {
		p.awaitEnd(a.name, marked)
	}
	return next, kerror
}

// awaitEnd returns when the markers of a transaction can be read and its end is recorded, which is a moment after it is
// answered. A restart in between writes the markers again.
func (p *program) awaitEnd(id string, partitions []modelPartition) {
	for _, at := range partitions {
		if _, l, err := p.model.log(at.topic, at.index); err == nil {
			results, err := direct.Of(p.broker).Fetch(within(p.t), direct.FetchRequest{
				MinBytes: 1, MaxWait: time.Minute,
				Partitions: []direct.FetchPartition{{Topic: at.topic, Partition: at.index, Offset: l.end - 1}},
			})
			require.NoError(p.t, err)
			require.NoError(p.t, results[0].Err, "step %d: the marker in %s-%d", p.step, at.topic, at.index)
		}
	}
	req := kmsg.NewPtrDescribeTransactionsRequest()
	req.TransactionalIDs = []string{id}
	for ending := true; ending; {
		resp, err := req.RequestWith(within(p.t), p.client.SeedBrokers()[0])
		require.NoError(p.t, err)
		ending = strings.HasPrefix(resp.TransactionStates[0].State, "Prepare")
	}
}

// fetch reads from anywhere.
func (p *program) fetch() {
	topic, partition, committed := p.topic(), int32(p.r.IntN(3)), p.r.IntN(2) == 0
	p.clean(topic)
	_, l, want := p.model.log(topic, partition)
	offset := int64(0)
	var records []modelRecord
	if want == nil {
		offset = l.start - 2 + p.r.Int64N(l.end-l.start+5)
		records, want = l.read(offset, committed)
	}
	got, err := p.read(topic, partition, offset, committed)
	p.same(want, err, "fetch %s-%d from %d", topic, partition, offset)
	p.sameRecords(records, got, "%s-%d from %d, committed %v", topic, partition, offset, committed)
}

func (p *program) sameRecords(want, got []modelRecord, what string, args ...any) {
	p.t.Helper()
	if len(want) == 0 && len(got) == 0 {
		return
	}
	require.Equal(p.t, want, got, "step %d: %s", p.step, fmt.Sprintf(what, args...))
}

// read reads to the end, a few batches at a time.
func (p *program) read(topic string, partition int32, offset int64, committed bool) (got []modelRecord, err error) {
	iso := direct.ReadUncommitted
	if committed {
		iso = direct.ReadCommitted
	}
	for from := offset; ; {
		results, err := direct.Of(p.broker).Fetch(within(p.t), direct.FetchRequest{
			Isolation: iso,
			Partitions: []direct.FetchPartition{
				{Topic: topic, Partition: partition, Offset: from, MaxBytes: 1 + p.r.IntN(1000)},
			},
		})
		require.NoError(p.t, err)
		r := results[0]
		if r.Err != nil {
			return nil, r.Err
		}
		if _, l, _ := p.model.log(topic, partition); l != nil {
			require.Equal(p.t, []int64{l.start, l.stable(), l.end},
				[]int64{r.LogStartOffset, r.LastStableOffset, r.HighWatermark}, "step %d: %s-%d", p.step, topic, partition)
		}
		records, next := decode(p.t, &r)
		for _, rec := range records {
			if rec.offset >= from {
				got = append(got, rec)
			}
		}
		if next <= from {
			return got, nil
		}
		from = next
	}
}

func (p *program) listOffsets() {
	topic, partition, committed := p.topic(), int32(p.r.IntN(3)), int8(p.r.IntN(2))
	ms := p.now() + p.r.Int64N(200_000) - 100_000
	p.clean(topic)
	_, l, want := p.model.log(topic, partition)
	offset, timestamp := int64(-1), int64(-1)
	switch kind := p.r.IntN(5); {
	case want != nil:
	case kind == 0:
		ms, offset = -2, l.start
	case kind == 1:
		if ms, offset = -1, l.end; committed == 1 {
			offset = l.stable()
		}
	case kind == 2 && len(l.records) > 0: // the time of a record
		ms = l.records[p.r.IntN(len(l.records))].timestamp
		fallthrough
	default:
		offset, timestamp = l.offsetFor(ms, committed == 1)
	}
	req := kmsg.NewPtrListOffsetsRequest()
	req.IsolationLevel = committed
	rt, rp := kmsg.NewListOffsetsRequestTopic(), kmsg.NewListOffsetsRequestTopicPartition()
	rt.Topic, rp.Partition, rp.Timestamp = topic, partition, ms
	rt.Partitions = append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)
	resp, err := req.RequestWith(within(p.t), p.client.SeedBrokers()[0])
	require.NoError(p.t, err)
	got := resp.Topics[0].Partitions[0]
	p.same(want, kerr.ErrorForCode(got.ErrorCode), "list offsets of %s-%d at %d", topic, partition, ms)
	require.Equal(p.t, []int64{offset, timestamp}, []int64{got.Offset, got.Timestamp},
		"step %d: %s-%d at %d, committed %d", p.step, topic, partition, ms, committed)
}

func (p *program) deleteRecords() {
	topic, partition := p.topic(), int32(p.r.IntN(3))
	t, l, want := p.model.log(topic, partition)
	offset, low := int64(0), int64(-1)
	if want == nil {
		if offset = l.end + 1 - p.r.Int64N(l.end-l.start+4); p.r.IntN(8) == 0 {
			offset = -1
		}
		low, want = l.deleteRecords(t, offset)
	}
	req := kmsg.NewPtrDeleteRecordsRequest()
	rt, rp := kmsg.NewDeleteRecordsRequestTopic(), kmsg.NewDeleteRecordsRequestTopicPartition()
	rt.Topic, rp.Partition, rp.Offset = topic, partition, offset
	rt.Partitions = append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)
	resp, err := req.RequestWith(within(p.t), p.client.SeedBrokers()[0])
	require.NoError(p.t, err)
	got := resp.Topics[0].Partitions[0]
	p.same(want, kerr.ErrorForCode(got.ErrorCode), "delete records of %s-%d up to %d", topic, partition, offset)
	require.Equal(p.t, low, got.LowWatermark, "step %d", p.step)
}

// compact lets the broker roll and clean. What it takes away is up to it, but a record that is missing then had a
// successor or no key, was aborted, or was a tombstone or a marker.
func (p *program) compact() {
	p.clock.Advance(40 * time.Second)
	for _, name := range slices.Sorted(maps.Keys(p.model.topics)) {
		p.compareAll(name)
	}
}

// clean lets the model forget what compaction took away, at whatever time that was.
func (p *program) clean(name string) {
	if t := p.model.topics[name]; t != nil && t.cleaned {
		p.compareAll(name)
	}
}

// compareAll reads all that there is.
func (p *program) compareAll(name string) {
	t := p.model.topics[name]
	for i, l := range t.partitions {
		got, err := p.read(name, int32(i), l.start, false)
		require.NoError(p.t, err)
		left := map[int64]bool{}
		for _, r := range got {
			left[r.offset] = true
		}
		latest := map[string]int64{}
		for _, r := range l.records {
			if r.marker == "" && !l.isAborted(r) {
				latest[r.key] = r.offset
			}
		}
		l.records = slices.DeleteFunc(l.records, func(r modelRecord) bool {
			if r.offset < l.start {
				return true
			}
			if left[r.offset] {
				return false
			}
			wanted := r.marker == "" && r.key != "" && r.value != "" && !l.isAborted(r) && latest[r.key] == r.offset
			require.False(p.t, wanted || !t.cleaned, "step %d: %s-%d lacks %+v", p.step, name, i, r)
			return true
		})
		p.sameRecords(l.records, got, "%s-%d", name, i)
	}
}

func (p *program) restart() {
	p.t.Logf("%d restart", p.step)
	p.client.Close()
	require.NoError(p.t, p.broker.Close())
	p.open()
}

// setClock sets the clock to a time that is minutes off. A broker that starts takes that for time that has passed: with
// more, transactions would time out.
func (p *program) setClock() {
	off := (p.r.N(8*time.Minute) - 4*time.Minute).Truncate(time.Millisecond)
	p.clock.Jump(off - p.off)
	p.off = off
}
