package runtime

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"thalweg/broker"
	"thalweg/internal/kclient"
	"thalweg/serde"
	"thalweg/state"
	"thalweg/topology"
)

// pipe describes a sub-topology for layout tests: it reads some topics and writes others.
type pipe struct {
	in, out []topology.TopicName
	byKey   bool
	store   string
}

func external(name string) topology.TopicName { return topology.TopicName{Name: name} }
func internal(name string) topology.TopicName {
	return topology.TopicName{Name: name, Repartition: true}
}

// idle is a processor that does nothing.
type idle struct{}

func (idle) Init(*topology.Context[string, string]) error  { return nil }
func (idle) Process(topology.Record[string, string]) error { return nil }

func build(t *testing.T, pipes ...pipe) *topology.Topology {
	t.Helper()
	text := serde.For[string]()
	var nodes []*topology.Node
	for i, p := range pipes {
		var stores []state.Store
		if p.store != "" {
			stores = append(stores, state.NewKV[string, int64](p.store))
		}
		n := topology.NewProcessor(fmt.Sprintf("p%d", i), "here:1", stores,
			func() topology.Processor[string, string, string, string] { return idle{} })
		n.ByKey = p.byKey
		nodes = append(nodes, n)
		for _, topic := range p.in {
			s := topology.NewSource("in-"+topic.Name, "here:1", topology.SourceConfig[string, string]{
				Topics: []topology.TopicName{topic}, Keys: text, Values: text,
			})
			s.Connect(n)
			nodes = append(nodes, s)
		}
		for _, topic := range p.out {
			s := topology.NewSink(fmt.Sprintf("out-%d-%s", i, topic.Name), "here:1",
				topology.SinkConfig[string, string]{Topic: topic, Keys: text, Values: text})
			n.Connect(s)
			nodes = append(nodes, s)
		}
	}
	topo, err := topology.New(nodes)
	require.NoError(t, err)
	return topo
}

func counts(l *layout) map[string]int32 { return l.counts }

func TestLayoutCountsRepartitionTopics(t *testing.T) {
	cfg := Config{ApplicationID: "app"}
	t.Run("the largest upstream", func(t *testing.T) {
		topo := build(t,
			pipe{in: []topology.TopicName{external("a"), external("b")}, out: []topology.TopicName{internal("x")}},
			pipe{in: []topology.TopicName{internal("x")}, out: []topology.TopicName{internal("y")}},
			pipe{in: []topology.TopicName{internal("y")}, store: "rows"})
		l, err := newLayout(topo, cfg, map[string]int32{"a": 3, "b": 5})
		require.NoError(t, err)
		require.EqualValues(t, 5, counts(l)["app-x-repartition"])
		require.EqualValues(t, 5, counts(l)["app-y-repartition"])
		require.Equal(t, []int32{5, 5, 5}, l.partitions)
		var names []string
		for _, spec := range l.internal {
			names = append(names, fmt.Sprintf("%s %d %s", spec.Name, spec.Partitions, spec.Config["cleanup.policy"]))
		}
		require.Equal(t, []string{
			"app-x-repartition 5 delete", "app-y-repartition 5 delete", "app-rows-changelog 5 compact",
		}, names)
	})
	t.Run("as the topic beside it", func(t *testing.T) {
		topo := build(t,
			pipe{in: []topology.TopicName{external("a")}, out: []topology.TopicName{internal("x")}},
			pipe{in: []topology.TopicName{internal("x"), external("b")}, byKey: true})
		l, err := newLayout(topo, cfg, map[string]int32{"a": 7, "b": 2})
		require.NoError(t, err)
		require.EqualValues(t, 2, counts(l)["app-x-repartition"])
	})
	t.Run("repartition topics beside each other", func(t *testing.T) {
		topo := build(t,
			pipe{in: []topology.TopicName{external("a")}, out: []topology.TopicName{internal("x")}},
			pipe{in: []topology.TopicName{external("b")}, out: []topology.TopicName{internal("y")}},
			pipe{in: []topology.TopicName{internal("x"), internal("y")}, byKey: true})
		l, err := newLayout(topo, cfg, map[string]int32{"a": 2, "b": 6})
		require.NoError(t, err)
		require.EqualValues(t, 6, counts(l)["app-x-repartition"])
		require.EqualValues(t, 6, counts(l)["app-y-repartition"])
	})
	t.Run("as the user says", func(t *testing.T) {
		nine := topology.TopicName{Name: "x", Repartition: true, Partitions: 9}
		topo := build(t,
			pipe{in: []topology.TopicName{external("a")}, out: []topology.TopicName{nine}},
			pipe{in: []topology.TopicName{nine}, out: []topology.TopicName{internal("y")}},
			pipe{in: []topology.TopicName{internal("y")}})
		l, err := newLayout(topo, cfg, map[string]int32{"a": 2})
		require.NoError(t, err)
		require.Equal(t, []int32{2, 9, 9}, l.partitions)
	})
	t.Run("unequal counts are refused", func(t *testing.T) {
		topo := build(t, pipe{in: []topology.TopicName{external("a"), external("b")}, byKey: true})
		_, err := newLayout(topo, cfg, map[string]int32{"a": 2, "b": 6})
		require.ErrorContains(t, err, "a (2), b (6)")
	})
	t.Run("unequal counts without keys are fine", func(t *testing.T) {
		topo := build(t, pipe{in: []topology.TopicName{external("a"), external("b")}})
		l, err := newLayout(topo, cfg, map[string]int32{"a": 2, "b": 6})
		require.NoError(t, err)
		require.Equal(t, []int32{6}, l.partitions)
		require.Len(t, l.inputs(topo.Subtopologies()[0], 1), 2)
		require.Equal(t, []kclient.TopicPartition{{Topic: "b", Partition: 4}}, l.inputs(topo.Subtopologies()[0], 4))
	})
	t.Run("a loop without an outside has no count", func(t *testing.T) {
		topo := build(t, pipe{in: []topology.TopicName{internal("x")}, out: []topology.TopicName{internal("x")}})
		_, err := newLayout(topo, cfg, nil)
		require.ErrorContains(t, err, "app-x-repartition")
	})
}

func TestLayoutLaysConfigurationsOverEachOther(t *testing.T) {
	topo := build(t,
		pipe{in: []topology.TopicName{external("a")}, out: []topology.TopicName{internal("x")}},
		pipe{in: []topology.TopicName{internal("x")}, store: "rows"})
	topics := Topics{ReplicationFactor: 3, Config: map[string]string{
		"min.insync.replicas": "2", "cleanup.policy": "compact", "retention.ms": "60000", "retention.bytes": "1",
		"message.timestamp.type": "LogAppendTime", "message.timestamp.after.max.ms": "5",
	}}
	l, err := newLayout(topo, Config{ApplicationID: "app", Topics: topics}, map[string]int32{"a": 1})
	require.NoError(t, err)
	repartition := l.internal[0]
	require.Equal(t, "2", repartition.Config["min.insync.replicas"])
	require.Equal(t, "delete", repartition.Config["cleanup.policy"])
	require.Equal(t, "-1", repartition.Config["retention.ms"])
	require.Equal(t, "-1", repartition.Config["retention.bytes"])
	for _, internal := range l.internal {
		require.Equal(t, "CreateTime", internal.Config["message.timestamp.type"], internal.Name)
		require.Equal(t, "9223372036854775807", internal.Config["message.timestamp.after.max.ms"], internal.Name)
	}
	require.EqualValues(t, 3, repartition.Replicas)
}

func TestMissingTopicsGetTheCountOfWhatTheyAreReadWith(t *testing.T) {
	cfg := Config{ApplicationID: "app", Topics: Topics{Partitions: 4}}
	a, b, c, d := external("a"), external("b"), external("c"), external("d")
	nine := topology.TopicName{Name: "x", Repartition: true, Partitions: 9}
	for _, tc := range []struct {
		name    string
		pipes   []pipe
		there   map[string]int32
		missing []string
		want    map[string]int32
	}{
		{"alone", []pipe{{in: []topology.TopicName{a}, out: []topology.TopicName{b}}}, nil, []string{"a", "b"},
			map[string]int32{"a": 4, "b": 4}},
		{"beside one that is there", []pipe{{in: []topology.TopicName{a, b}, byKey: true}, {in: []topology.TopicName{c}}},
			map[string]int32{"a": 6}, []string{"b", "c"}, map[string]int32{"b": 6, "c": 4}},
		{"beside a repartition of the program's", []pipe{
			{in: []topology.TopicName{c}, out: []topology.TopicName{nine}},
			{in: []topology.TopicName{nine, b}, byKey: true},
		}, map[string]int32{"c": 2}, []string{"b"}, map[string]int32{"b": 9}},
		{"with each other", []pipe{
			{in: []topology.TopicName{d, internal("y")}, byKey: true}, {in: []topology.TopicName{a, b}, byKey: true},
			{in: []topology.TopicName{c}, out: []topology.TopicName{internal("y")}},
		}, map[string]int32{"d": 7}, []string{"a", "b", "c"}, map[string]int32{"a": 4, "b": 4, "c": 4}},
		{"none is there", []pipe{{in: []topology.TopicName{a, b}, byKey: true}}, nil, []string{"b", "a"},
			map[string]int32{"a": 4, "b": 4}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := map[string]int32{}
			for _, spec := range missingTopics(build(t, tc.pipes...), cfg, tc.there, tc.missing) {
				got[spec.Name] = spec.Partitions
			}
			require.Equal(t, tc.want, got)
		})
	}
}

func TestCommandsThatMakeTopics(t *testing.T) {
	specs := []kclient.TopicSpec{
		{Name: "a", Partitions: 4}, {Name: "b", Partitions: 6}, {Name: "c", Partitions: 4, Replicas: 3},
	}
	require.Equal(t, "thalweg topics create a c -p 4 && thalweg topics create b -p 6", commands(Config{}, specs))
	cfg := Config{Seeds: []string{"x:1", "y:2"}, Topics: Topics{ReplicationFactor: 3}}
	require.Equal(t, "thalweg topics create a -p 4 -replicas 3 -brokers x:1,y:2", commands(cfg, specs[:1]))
	specs[0].Config = map[string]string{"cleanup.policy": "compact"}
	require.Equal(t, "thalweg topics create a -p 4 -config cleanup.policy=compact", commands(Config{}, specs[:1]))
}

func TestStatesMoveLegally(t *testing.T) {
	for from, all := range moves {
		for to := Created; to <= Failed; to++ {
			m := newMachine(func(_, _ State) {})
			m.state = from
			legal := to == from
			for _, l := range all {
				legal = legal || l == to
			}
			m.mu.Lock()
			err := m.move(to)
			m.mu.Unlock()
			require.Equal(t, legal, err == nil, "%s to %s: %v", from, to, err)
		}
	}
	for s := Created; s <= Failed; s++ {
		require.Equal(t, len(moves[s]) == 0, s.Terminal(), s)
	}
}

func TestMachineTellsWhoWaits(t *testing.T) {
	var told []string
	m := newMachine(func(from, to State) { told = append(told, from.String()+" "+to.String()) })
	waited := make(chan error, 1)
	go func() { waited <- m.wait(t.Context(), Running) }()
	require.NoError(t, m.begin())
	require.ErrorContains(t, m.begin(), "once")
	m.rest(Running)
	require.NoError(t, <-waited)
	m.closing()
	m.rest(Running) // too late: it is on its way out
	require.Equal(t, Closing, m.get())
	require.NoError(t, m.end(Closed))
	require.ErrorContains(t, m.wait(t.Context(), Running), "closed")
	require.Equal(t, []string{"created rebalancing", "rebalancing running", "running closing", "closing closed"}, told)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, newMachine(func(_, _ State) {}).wait(ctx, Running), context.Canceled)
}

func TestPaceFollowsTheLoad(t *testing.T) {
	p := newPace(0)
	require.Equal(t, commitLeast, p.interval())
	for range 10 {
		p.committed(true)
	}
	require.Equal(t, commitMost, p.interval())
	p.committed(false)
	require.Equal(t, commitMost/2, p.interval())
	for range 10 {
		p.committed(false)
	}
	require.Equal(t, commitLeast, p.interval())
	fixed := newPace(3 * time.Second)
	fixed.committed(true)
	require.Equal(t, 3*time.Second, fixed.interval())
}

// A commit that takes too long to bring out what it owes makes the next ones smaller, until they are quick.
func TestPaceMakesTransactionsSmaller(t *testing.T) {
	p := newPace(0)
	p.flushed(50_000, flushMost)
	require.Equal(t, recordsMost, p.left(0), "in time")
	p.flushed(50_000, 50*flushMost)
	require.Equal(t, 1000, p.left(0))
	require.Equal(t, 1, p.left(999))
	require.Zero(t, p.left(1000))
	p.flushed(1000, flushMost/2)
	p.flushed(10, 0)
	require.Equal(t, 1000, p.left(0), "neither slow nor quick, or not full")
	p.flushed(1000, flushMost/5)
	require.Equal(t, 2000, p.left(0))
	for n := 2000; n <= recordsMost; n *= 2 {
		p.flushed(n, 0)
	}
	require.Equal(t, recordsMost, p.left(recordsMost/2), "no limit any more")
	p.flushed(1, time.Hour)
	require.Equal(t, 1, p.left(0))
}

// A partition is elsewhere when the group has answered, and what it has taken back is of a generation that is over.
func TestMembershipKnowsWhatMoves(t *testing.T) {
	m := newMembership()
	a, b := kclient.TopicPartition{Topic: "in", Partition: 0}, kclient.TopicPartition{Topic: "in", Partition: 1}
	all := []kclient.TopicPartition{a, b}
	assign := func(generation int32, tps ...kclient.TopicPartition) {
		m.assign(kclient.Event{Kind: kclient.Assigned, Partitions: tps, Generation: generation})
		for _, tp := range tps {
			m.readers[tp] = TaskID{0, tp.Partition}
		}
	}
	remove := func(kind kclient.EventKind, generation int32, tps ...kclient.TopicPartition) []TaskID {
		return m.remove(kclient.Event{Kind: kind, Partitions: tps, Generation: generation})
	}
	check := func(settled, elsewhereA, elsewhereB bool) {
		t.Helper()
		require.Equal(t, settled, m.settled())
		require.Equal(t, []bool{elsewhereA, elsewhereB}, []bool{m.elsewhere(a), m.elsewhere(b)})
	}
	check(false, false, false)
	assign(1, all...) // the first process to join gets everything
	check(true, false, false)
	require.Equal(t, []TaskID{{0, 1}}, remove(kclient.Revoked, 2, b)) // for the second one
	check(false, false, false)
	assign(2)
	check(false, false, false)
	assign(3)
	check(true, false, true)

	require.Equal(t, []TaskID{{0, 0}}, remove(kclient.Lost, 3, a))
	check(false, false, false)
	assign(4, all...)
	check(true, false, false)
	require.Equal(t, []TaskID{{0, 0}, {0, 1}}, remove(kclient.Lost, 4, all...))
	assign(5)
	check(true, true, true)
}

func TestHooksRunInOrderAndNeverBlock(t *testing.T) {
	q := newHookQueue(slog.Default())
	var got []int
	n := 2 * progressCallsMax
	for i := range n { // nobody runs them yet: reports of progress give way
		q.add(func() { got = append(got, 2*i) })
		q.addProgress(func() { got = append(got, 2*i+1) })
	}
	var running sync.WaitGroup
	running.Go(q.run)
	q.close()
	running.Wait()
	require.Len(t, got, n+progressCallsMax/2)
	require.IsIncreasing(t, got)

	q = newHookQueue(slog.New(slog.DiscardHandler))
	ran := 0
	for range callsMax + 3 {
		q.add(func() { ran++ })
	}
	running.Go(q.run)
	q.close()
	running.Wait()
	require.Equal(t, callsMax, ran)
}

func TestConfigSaysWhatIsWrong(t *testing.T) {
	topo := build(t, pipe{in: []topology.TopicName{external("a")}})
	for _, c := range []struct {
		cfg  Config
		says string
	}{
		{Config{Seeds: []string{"x:1"}}, "ApplicationID is empty"},
		{Config{ApplicationID: "a b", Seeds: []string{"x:1"}}, "letters"},
		{Config{ApplicationID: "..", Seeds: []string{"x:1"}}, "it needs a letter or digit"},
		{Config{ApplicationID: ".", Seeds: []string{"x:1"}}, "it needs a letter or digit"},
		{Config{ApplicationID: "__consumer_offsets", Seeds: []string{"x:1"}}, "belong to the broker"},
		{Config{ApplicationID: "a"}, "neither Broker nor Seeds"},
		{Config{ApplicationID: "a", Broker: (*broker.Broker)(nil)}, "neither Broker nor Seeds"},
		{Config{ApplicationID: "a", Seeds: []string{"x:1"}, Workers: -1}, "Workers is -1"},
		{Config{ApplicationID: "a", Seeds: []string{"x:1"}, Guarantee: 77}, "unknown Guarantee 77"},
		{Config{ApplicationID: "a", Seeds: []string{"x:1"}, Compression: 77}, "unknown Compression 77"},
		{Config{ApplicationID: "a", Seeds: []string{"x:1"}, Errors: topology.Errors{Decode: topology.Decision(77)}},
			"Errors.Decode: unknown decision 77"},
		{Config{ApplicationID: "a", Seeds: []string{"x:1"}, Limits: Limits{HeapBallastBytes: 1 << 50}},
			"at most 64 GiB"},
		{Config{ApplicationID: "a", Seeds: []string{"x:1"}, CommitInterval: time.Minute},
			"TransactionTimeout"},
		{Config{ApplicationID: "a", Seeds: []string{"x:1"}, CommitInterval: -1}, "CommitInterval is -1ns"},
		{Config{ApplicationID: "a", Seeds: []string{"x:1"}, State: StateConfig{CheckpointInterval: -1}},
			"State.CheckpointInterval is -1ns"},
		{Config{ApplicationID: "a", Seeds: []string{"x:1"}, Topics: Topics{PurgeInterval: -1}},
			"Topics.PurgeInterval is -1ns"},
		{Config{ApplicationID: "a", Seeds: []string{"x:1"}, StallTimeout: -1}, "StallTimeout is -1ns"},
		{Config{ApplicationID: "a", Seeds: []string{"x:1"}, StartTimeout: -1}, "StartTimeout is -1ns"},
		{Config{ApplicationID: "a", Seeds: []string{"x:1"}, Standbys: StandbyConfig{Count: -1}},
			"Standbys.Count is -1"},
		{Config{ApplicationID: "a", Seeds: []string{"x:1"}, Standbys: StandbyConfig{AcceptableLag: -1}},
			"AcceptableLag is -1 records"},
		{Config{ApplicationID: "a", Seeds: []string{"x:1"}, Standbys: StandbyConfig{ProbeInterval: -1}},
			"ProbeInterval is -1ns"},
		{Config{ApplicationID: "a", Seeds: []string{"x:1"}, Standbys: StandbyConfig{SpreadTags: []string{"zone"}}},
			"no key of Standbys.Tags"},
		{Config{ApplicationID: "a", Seeds: []string{"x:1"}, Standbys: StandbyConfig{Tags: map[string]string{"zone": ""}}},
			"both sides"},
		{Config{ApplicationID: "a", Seeds: []string{"x:1"}, RetryTimeout: -1}, "RetryTimeout is -1ns"},
		{Config{ApplicationID: "a", Seeds: []string{"x:1"}, CloseTimeout: -1}, "CloseTimeout is -1ns"},
		{Config{ApplicationID: "a", Seeds: []string{"x:1"}, SessionTimeout: time.Millisecond},
			"SessionTimeout is 1ms"},
		{Config{ApplicationID: "a", Seeds: []string{"x:1"}, SessionTimeout: 1 << 62}, "SessionTimeout is "},
		{Config{ApplicationID: "a", Seeds: []string{"x:1"}, TransactionTimeout: 1},
			"TransactionTimeout is 1ns"},
		{Config{ApplicationID: "a", Seeds: []string{"x:1"}, TransactionTimeout: 1 << 62},
			"TransactionTimeout is "},
		{Config{ApplicationID: "a", Seeds: []string{"x:1"}, Limits: Limits{BatchBytes: 1 << 40}},
			"BatchBytes is 1099511627776"},
		{Config{ApplicationID: "a", Seeds: []string{"x:1"}, Limits: Limits{RecordBytesMax: 1 << 40}},
			"RecordBytesMax is 1099511627776"},
		{Config{ApplicationID: "a", Seeds: []string{"x:1"}, Workers: 1 << 30}, "Workers is 1073741824"},
		{Config{ApplicationID: "a", Seeds: []string{"x:1"}, Workers: 1 << 16, Limits: Limits{MemoryBytesMax: 1 << 30}},
			"or Workers of "},
		{Config{ApplicationID: "a", Seeds: []string{"x:1"}, Workers: 8, Limits: Limits{ProduceBytesMax: 1 << 16}},
			"ProduceBytesMax of 64 KiB is too small for 8 workers"},
		{Config{ApplicationID: "a", Seeds: []string{"x:y"}}, "unable to parse port"},
		{Config{ApplicationID: "a", Seeds: []string{"x:1"}, ClientOptions: Options(kgo.MetadataMaxAge(time.Hour * 2))},
			"metadata max age"},
		{Config{ApplicationID: "a", Seeds: []string{"x:1"},
			Errors: topology.Errors{Decode: topology.DeadLetter, DeadLetters: "a b"}}, "Errors.DeadLetters: name"},
		{Config{ApplicationID: "a", Seeds: []string{"x:1"}, Topics: Topics{Partitions: -1}},
			"Topics.Partitions is -1"},
		{Config{ApplicationID: "a", Errors: topology.Errors{Process: topology.DeadLetter}},
			"config: policy Errors.Process is"},
	} {
		_, err := New(topo, c.cfg)
		require.ErrorContains(t, err, c.says)
	}
	_, err := New(nil, Config{})
	require.ErrorContains(t, err, "no topology")
	for says, cfg := range map[string]Config{
		"RetryTimeout is -1ns":         {Seeds: []string{"x:1"}, RetryTimeout: -1},
		"SessionTimeout is -1ns":       {Seeds: []string{"x:1"}, SessionTimeout: -1},
		"metadata max age":             {Seeds: []string{"x:1"}, ClientOptions: Options(kgo.MetadataMaxAge(time.Hour * 2))},
		"RecordBytesMax is 2000000000": {Seeds: []string{"x:1"}, Limits: Limits{RecordBytesMax: 2000000000}},
	} {
		_, err := NewClient(cfg)
		require.ErrorContains(t, err, says)
	}
}

// The name of an internal topic is as long as those of the application and the store together.
func TestNamesThatAreTooLongTogether(t *testing.T) {
	topo := build(t, pipe{in: []topology.TopicName{external("a")}, store: strings.Repeat("s", 200)})
	cfg := Config{ApplicationID: strings.Repeat("a", 30), Seeds: []string{"x:1"}}
	_, err := New(topo, cfg)
	require.NoError(t, err)
	cfg.ApplicationID += strings.Repeat("a", 60)
	_, err = New(topo, cfg)
	require.ErrorContains(t, err, "the changelog of store")
	require.ErrorContains(t, err, "give one of them a shorter name")
}

func TestCloseBeforeRun(t *testing.T) {
	topo := build(t, pipe{in: []topology.TopicName{external("a")}})
	a, err := New(topo, Config{ApplicationID: "a", Seeds: []string{"x:1"}})
	require.NoError(t, err)
	require.NoError(t, a.Close(t.Context()))
	require.Equal(t, Closed, a.State())
	require.ErrorContains(t, a.Run(t.Context()), "closed")
	<-a.Done()
}

func TestResetPolicies(t *testing.T) {
	tp := kclient.TopicPartition{Topic: "a", Partition: 3}
	now := time.UnixMilli(10_000)
	at := func(r topology.Reset) (int64, error) { return resetting{r, "node", "site:1"}.at(tp, now) }
	earliest, err := at(topology.Reset{})
	require.NoError(t, err)
	require.Equal(t, kclient.Earliest, earliest)
	latest, err := at(topology.Reset{Policy: topology.ResetLatest})
	require.NoError(t, err)
	require.Equal(t, kclient.Latest, latest)
	back, err := at(topology.Reset{Policy: topology.ResetBack, BackMillis: 4_000})
	require.NoError(t, err)
	require.EqualValues(t, 6_000, back)
	_, err = at(topology.Reset{Policy: topology.ResetNone})
	require.ErrorContains(t, err, "a-3")
}
