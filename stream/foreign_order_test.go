package stream_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"thalweg/internal/batch"
	"thalweg/state"
	"thalweg/stream"
	"thalweg/topology"
)

// cluster runs a topology as tasks that know nothing of each other: each takes its records one by one from the topics
// and commits when it likes, so that what goes from task to task arrives in any order that the topics allow.
type cluster struct {
	t      *testing.T
	r      *rand.Rand
	topics map[string]*[clusterPartitions][]raw // what was committed
	tasks  []*clusterTask
	now    int64
}

const clusterPartitions = 2

type clusterTask struct {
	c         *cluster
	sub       *topology.Subtopology
	env       *topology.Env
	graph     *topology.Graph
	read      map[string]int // records taken from each input
	committed map[string]int
	sent      []sentRecord // since the last commit
}

type sentRecord struct {
	topic     string
	partition int32
	raw
}

// clusterLane takes what a task sends to a topic.
type clusterLane struct {
	task  *clusterTask
	topic string
}

func (clusterLane) Partitions() int32 { return clusterPartitions }

func (l clusterLane) Append(p int32, ts int64, key, value []byte, _ []topology.Header) error {
	l.task.sent = append(l.task.sent, sentRecord{l.topic, p, raw{clone(key), clone(value), ts}})
	return nil
}

func newCluster(t *testing.T, r *rand.Rand, topo *topology.Topology) *cluster {
	c := &cluster{t: t, r: r, topics: map[string]*[clusterPartitions][]raw{}}
	for _, sub := range topo.Subtopologies() {
		for p := range int32(clusterPartitions) {
			k := &clusterTask{c: c, sub: sub, read: map[string]int{}, committed: map[string]int{}}
			k.env = &topology.Env{
				ApplicationID: "app", Tx: state.NewTx(state.Config{}), StreamTime: topology.Unknown, Partition: p,
				Marks:  map[string]*int64{},
				Outlet: func(topic string) (topology.Outlet, error) { return clusterLane{k, topic}, nil },
			}
			k.build()
			c.tasks = append(c.tasks, k)
		}
	}
	return c
}

func (c *cluster) topic(name string) *[clusterPartitions][]raw {
	if c.topics[name] == nil {
		c.topics[name] = new([clusterPartitions][]raw)
	}
	return c.topics[name]
}

// put adds a record to a topic; an empty value is null.
func (c *cluster) put(topic, key, value string) {
	c.now++
	r := raw{[]byte(key), nil, c.now}
	if value != "" {
		r.value = []byte(value)
	}
	p := &c.topic(topic)[topology.PartitionFor(r.key, clusterPartitions)]
	*p = append(*p, r)
}

func (k *clusterTask) build() {
	k.env.Tx.Unlisten()
	var err error
	k.graph, err = topology.Build(k.env, k.sub)
	require.NoError(k.c.t, err)
}

// pending tells whether an input has a record that was not taken.
func (k *clusterTask) pending(topic string) bool {
	return k.read[topic] < len(k.c.topic(topic)[k.env.Partition])
}

// step takes the next record of an input.
func (k *clusterTask) step(topic string) {
	r := k.c.topic(topic)[k.env.Partition][k.read[topic]]
	k.read[topic]++
	src := &topology.SourceRecord{
		Topic: topic, Partition: k.env.Partition, Record: batch.Record{Key: r.key, Value: r.value, Timestamp: r.ts},
	}
	k.env.StreamTime = max(k.env.StreamTime, r.ts)
	k.env.Source = src
	for _, s := range k.graph.Sources[topic] {
		require.NoError(k.c.t, s.Receive(src))
	}
	k.env.Source = nil
}

// moved tells whether there is something to commit.
func (k *clusterTask) moved() bool { return !maps.Equal(k.read, k.committed) }

// commit makes what the task did visible.
func (k *clusterTask) commit() {
	tx := k.env.Tx
	require.NoError(k.c.t, tx.Flush())
	require.NoError(k.c.t, tx.Drain(func(state.Store, []byte, []byte, int64) error { return nil }))
	require.NoError(k.c.t, tx.Commit(func(string) int64 { return -1 }))
	for _, s := range k.sent {
		p := &k.c.topic(s.topic)[s.partition]
		*p = append(*p, s.raw)
	}
	k.sent = nil
	k.committed = maps.Clone(k.read)
}

// abort goes back to the last commit.
func (k *clusterTask) abort() {
	require.NoError(k.c.t, k.env.Tx.Discard())
	k.read, k.sent = maps.Clone(k.committed), nil
	k.build()
}

// last are the newest values of a topic's keys.
func (c *cluster) last(topic string) map[string]string {
	rows := map[string]string{}
	for _, p := range c.topic(topic) {
		for _, r := range p {
			if rows[string(r.key)] = string(r.value); r.value == nil {
				delete(rows, string(r.key))
			}
		}
	}
	return rows
}

// TestForeignKeyJoinInAnyOrder: rows come, change their key, name none and go, on both sides, while subscriptions and
// answers are on their way. When all has arrived the result is the join of the last rows.
func TestForeignKeyJoinInAnyOrder(t *testing.T) {
	kinds := []struct {
		name   string
		left   bool
		emit   stream.Emit
		filter bool
	}{
		{name: "inner"},
		{name: "left", left: true},
		{name: "inner, at once", emit: stream.OnUpdate},
		{name: "left, at once", left: true, emit: stream.OnUpdate},
		{name: "inner, filtered", filter: true},
		{name: "left, filtered", left: true, filter: true},
	}
	for _, kind := range kinds {
		t.Run(kind.name, func(t *testing.T) {
			b := stream.NewBuilder()
			l, r := b.Table(left, lefts).Emit(kind.emit), b.Table(right, rights).Emit(kind.emit)
			passes := func(_, v string) bool { return !kind.filter || v[0] != 'z' }
			if kind.filter {
				l, r = l.Filter(passes), r.Filter(passes).MapValues(func(v string) string { return v })
			}
			if kind.left {
				l.LeftJoinForeign(r, foreignKey, "fk", func(l string, r *string) string { return opt(&l, r) }).ToStream().To(out)
			} else {
				l.JoinForeign(r, foreignKey, "fk", dash).ToStream().To(out)
			}
			topo, err := b.Build()
			require.NoError(t, err)
			for range 2000 {
				seed := rand.Uint64()
				c := newCluster(t, rand.New(rand.NewPCG(seed, 0)), topo)
				c.play()
				want := map[string]string{}
				rights := c.last(right.Name())
				for k, v := range c.last(left.Name()) {
					fk, names := foreignKey(k, v)
					row, found := rights[fk]
					switch found = found && names && passes(fk, row); {
					case !passes(k, v):
					case found:
						want[k] = v + "-" + row
					case kind.left:
						want[k] = v + "-null"
					}
				}
				require.Equal(t, want, c.last(out.Name()), "seed %d", seed)
			}
		})
	}
}

// TestForeignKeyJoinOutlivesOldAnswers: an answer comes after the left row named another key, none, and the first one
// again, whose right row is gone by then. It fits the row, and is not the last word.
func TestForeignKeyJoinOutlivesOldAnswers(t *testing.T) {
	const subscriptions = "app-fk-subscription-registration-repartition"
	const responses = "app-fk-subscription-response-repartition"
	b := stream.NewBuilder()
	b.Table(left, lefts).JoinForeign(b.Table(right, rights), foreignKey, "fk", dash).ToStream().To(out)
	topo, err := b.Build()
	require.NoError(t, err)
	c := newCluster(t, rand.New(rand.NewPCG(1, 0)), topo)
	own, first, second := c.tasks[0], c.tasks[2], c.tasks[3] // of left key 0, foreign keys 0 and 1
	row := func(v string) {
		c.put(left.Name(), "0", v)
		own.step(left.Name())
		own.commit()
	}
	c.put(right.Name(), "0", "r")
	first.step(right.Name())
	first.commit()
	row("x|0")
	first.step(subscriptions) // answered, and not committed
	row("y|1")
	row("")
	second.step(subscriptions)
	second.step(subscriptions)
	second.commit()
	own.step(responses)
	own.step(responses)
	own.commit()
	first.step(subscriptions)
	c.put(right.Name(), "0", "")
	first.step(right.Name())
	first.commit() // the answer is out
	row("x|0")
	first.step(subscriptions) // there is nothing to tell
	first.commit()
	for own.pending(responses) {
		own.step(responses)
	}
	own.commit()
	require.Empty(t, c.last(out.Name()))
}

// choice is something that may happen next, if it is possible: so often compared to others.
type choice struct {
	weight   int
	possible func() bool
	do       func()
}

// play changes a few rows at random, while the tasks work and commit now and then, until nothing is left to do. Few
// rows and values find more than many, and so do tasks and topics that are much slower than others.
func (c *cluster) play() {
	keys, foreign, values := 1+c.r.IntN(2), 1+c.r.IntN(3), 1+c.r.IntN(2)
	lefts, rights, aborts := 1+c.r.IntN(9), c.r.IntN(5), c.r.IntN(3)
	var choices []choice
	add := func(possible func() bool, do func()) {
		choices = append(choices, choice{1 << c.r.IntN(7), possible, do})
	}
	up := func(left *int) func() bool { return func() bool { return *left > 0 } }
	add(up(&lefts), func() {
		lefts--
		v := ""
		switch c.r.IntN(6) {
		case 0, 1, 2:
			v = fmt.Sprintf("%c|%d", 'x'+c.r.IntN(values), c.r.IntN(foreign))
		case 3:
			v = "y"
		}
		c.put(left.Name(), fmt.Sprint(c.r.IntN(keys)), v)
	})
	add(up(&rights), func() {
		rights--
		v := ""
		if c.r.IntN(2) > 0 {
			v = fmt.Sprintf("%c", 'x'+c.r.IntN(values))
		}
		c.put(right.Name(), fmt.Sprint(c.r.IntN(foreign)), v)
	})
	add(up(&aborts), func() {
		aborts--
		c.tasks[c.r.IntN(len(c.tasks))].abort()
	})
	for _, k := range c.tasks {
		add(k.moved, k.commit)
		for _, topic := range slices.Sorted(maps.Keys(k.graph.Sources)) {
			add(func() bool { return k.pending(topic) }, func() { k.step(topic) })
		}
	}
	for {
		sum := 0
		for _, o := range choices {
			if o.possible() {
				sum += o.weight
			}
		}
		if sum == 0 {
			return
		}
		at := c.r.IntN(sum)
		for _, o := range choices {
			if !o.possible() {
				continue
			}
			if at -= o.weight; at < 0 {
				o.do()
				break
			}
		}
	}
}
