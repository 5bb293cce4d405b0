package runtime

import (
	"cmp"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"thalweg/internal/task"
	"thalweg/state/engine"
	"thalweg/topology"
)

// Stats are an application's figures in this process. Workers publish theirs with their commits, at most every
// 100 ms, and when they fall idle.
type Stats struct {
	State   State
	Workers []WorkerStats
	// Pending are the tasks that this process is to work on and does not yet, with the reason.
	Pending []PendingTask
	// Standbys are the copies that this process keeps of the state of tasks that other processes run, sorted.
	Standbys []StandbyStats
	// Globals are how far the global stores of this process are.
	Globals []GlobalStats
	// Nodes are the counters of the topology's nodes, over all tasks that run or ran here, by the node's name.
	Nodes []NodeStats
	// Engine is what the local copies of stores use.
	Engine engine.Metrics
	// Views are the open views, the oldest first. An open view keeps old versions of rows on the disk.
	Views []ViewStats
	// Memory says what holds how much of the memory limit of the process; empty while the application does not run.
	Memory MemoryStats
	// StoreCacheBytes is the memory that the rows of this application's stores use.
	StoreCacheBytes int64
}

// WorkerStats are a worker's figures.
type WorkerStats struct {
	Worker     int
	Commits    int64
	Rewinds    int64 // times that it went back to its last commit
	LastCommit time.Time
	// CommitInterval is the time between commits at present.
	CommitInterval time.Duration
	// CommitTime is the sum of the time that commits took. The worker processes meanwhile.
	CommitTime time.Duration
	Tasks      []TaskStats
}

// TaskStats are a task's figures.
type TaskStats struct {
	Task     TaskID
	State    string
	Inputs   []InputStats
	Restores []Restore // under way
	Times    []NodeTime
	// RetryAt is when a record that failed is processed again; zero: none waits.
	RetryAt time.Time
	// HeldBack is the task for which the time behind a repartition waits here; nil: it waits for none.
	HeldBack *HeldBack
}

// HeldBack is the task upstream that holds the time of a task's operators back, since it has come least far of those
// that have records.
type HeldBack struct {
	Task TaskID
	// Topic and Partition are the input that the task is behind in.
	Topic     string
	Partition int32
	Time      time.Time // how far the task lets the time go; zero: it has committed nothing yet
}

// InputStats are how far a task is in one of its inputs.
type InputStats struct {
	Topic           string
	Partition       int32
	Fetched         int64 // offset up to which the partition was fetched
	HighWatermark   int64 // of the partition, when it was last fetched
	Lag             int64 // about how many records are not processed
	BufferedRecords int
	BufferedBytes   int
}

// GlobalStats are how far a global store is in its topic.
type GlobalStats struct {
	Store  string
	Inputs []InputStats // nothing is buffered: what was fetched is in the store
}

// NodeStats are the counters of one node.
type NodeStats struct {
	Node      string
	Processed int64
	Dropped   map[string]int64 // by reason; nil when there was none
	// LateMax is how far the latest of the records that were dropped as late or expired was behind the stream time of the
	// node. A grace period of that length would have kept it.
	LateMax time.Duration
}

// NodeTime is how far a node is that has a stream time of its own: windows, joins, expiry and suppression go by it.
type NodeTime struct {
	Node string
	// StreamTime is the highest timestamp that the node has seen in the task; zero: it has seen none. Behind a repartition
	// its operators go by no later time than TaskStats.HeldBack lets them.
	StreamTime time.Time
}

// statsBox holds what a worker has published.
type statsBox struct{ p atomic.Pointer[published] }

// published are a worker's figures. Those of its tasks are with the tasks, so that a worker with many writes down only
// what has changed.
type published struct {
	WorkerStats
	jobs  []*job
	nodes []NodeStats
}

// stats returns the figures in one.
func (p *published) stats() WorkerStats {
	s := p.WorkerStats
	for _, j := range p.jobs {
		f := j.figures.Load()
		if f == nil {
			continue
		}
		t := f.TaskStats
		if f.restoring != nil {
			t.Restores = *f.restoring.reports.Load()
		}
		s.Tasks = append(s.Tasks, t)
	}
	return s
}

// figures are a task's.
type figures struct {
	TaskStats
	restoring *restoring // nil: it is not restored
	position  int64      // sum of the offsets up to which its stores are committed
}

// reached adds how far the tasks that run are.
func (b *statsBox) reached(to map[TaskID]reach) {
	p := b.p.Load()
	if p == nil {
		return
	}
	for _, j := range p.jobs {
		if f := j.figures.Load(); f != nil && f.restoring == nil {
			to[j.id] = reach{position: f.position}
		}
	}
}

func (j *job) stats() *figures {
	t := &figures{
		TaskStats: TaskStats{Task: j.id, State: j.task.State().String()}, restoring: j.restoring, position: j.reached(),
	}
	for _, in := range j.inputs {
		i := InputStats{
			Topic: in.Topic, Partition: in.Partition, Fetched: in.next, HighWatermark: in.highWatermark,
		}
		i.BufferedBytes, i.BufferedRecords = in.buffered()
		i.Lag = max(i.HighWatermark-in.next, 0) + int64(i.BufferedRecords)
		t.Inputs = append(t.Inputs, i)
	}
	t.Times = nodeTimes(j.scratch.Nodes)
	if at, waits := j.task.Retries.Next(); waits {
		t.RetryAt = time.UnixMilli(at)
	}
	if j.task.Aligning.WaitsForTime() {
		t.HeldBack = j.heldBack
	}
	return t
}

// nodeSums are the counters of nodes over tasks.
type nodeSums struct {
	of     map[string]*task.NodeStats // by the name of the node
	copied []NodeStats                // of all; nil: others than before
}

// count brings the sums up to what a task has counted now.
func (s *nodeSums) count(j *job) {
	if len(j.scratch.Nodes) == 0 { // its graph is not built
		return
	}
	for i, n := range j.scratch.Nodes {
		var before task.NodeStats
		if i < len(j.counted) {
			before = j.counted[i]
		}
		if n == before {
			continue
		}
		s.copied = nil
		sum := s.of[n.Node]
		if sum == nil {
			sum = &task.NodeStats{Node: n.Node}
			s.of[n.Node] = sum
		}
		sum.Processed += n.Processed - before.Processed
		for r := range n.Dropped {
			sum.Dropped[r] += n.Dropped[r] - before.Dropped[r]
		}
		sum.LateMax = max(sum.LateMax, n.LateMax)
	}
	j.counted = append(j.counted[:0], j.scratch.Nodes...)
}

// all is a copy.
func (s *nodeSums) all() []NodeStats {
	if s.copied == nil {
		counted := make([]task.NodeStats, 0, len(s.of))
		for _, sum := range s.of {
			counted = append(counted, *sum)
		}
		s.copied = nodeStats(counted)
	}
	return s.copied
}

// addNode adds to a node's counters in sums, whose values are shared: they are replaced, not changed.
func addNode(sums map[string]NodeStats, n NodeStats) {
	sum := sums[n.Node]
	sum.Node = n.Node
	sum.Processed += n.Processed
	sum.LateMax = max(sum.LateMax, n.LateMax)
	if len(n.Dropped) > 0 {
		sum.Dropped = maps.Clone(sum.Dropped)
		if sum.Dropped == nil {
			sum.Dropped = map[string]int64{}
		}
		for reason, count := range n.Dropped {
			sum.Dropped[reason] += count
		}
	}
	sums[n.Node] = sum
}

func nodeStats(counted []task.NodeStats) []NodeStats {
	nodes := make([]NodeStats, 0, len(counted))
	for _, n := range counted {
		out := NodeStats{Node: n.Node, Processed: n.Processed, LateMax: time.Duration(n.LateMax) * time.Millisecond}
		for r, count := range n.Dropped {
			if count > 0 {
				if out.Dropped == nil {
					out.Dropped = map[string]int64{}
				}
				out.Dropped[topology.Reason(r).String()] = count
			}
		}
		nodes = append(nodes, out)
	}
	return nodes
}

// nodeTimes are those of the nodes that have one.
func nodeTimes(nodes []task.NodeStats) (times []NodeTime) {
	for _, n := range nodes {
		switch {
		case !n.Timed:
		case n.Time == topology.Unknown:
			times = append(times, NodeTime{Node: n.Node})
		default:
			times = append(times, NodeTime{n.Node, time.UnixMilli(n.Time)})
		}
	}
	return times
}

func sortNodes(nodes map[string]NodeStats) []NodeStats {
	return slices.SortedFunc(maps.Values(nodes), func(a, b NodeStats) int { return cmp.Compare(a.Node, b.Node) })
}

func (a *app) Stats() Stats {
	a.mu.Lock()
	workers, fills, h := a.workers, a.globals.fills, a.home
	s := Stats{}
	if h != nil { // under the mutex, so that the engine is not closed meanwhile
		if h.engine != nil {
			s.Engine = h.engine.Metrics()
		}
		s.Memory, s.StoreCacheBytes = memoryStats(h.memory.member), h.memory.budget.UsedBytes()
	}
	s.Views = a.views.stats(time.Now())
	nodes := maps.Clone(a.pastNodes)
	a.mu.Unlock()
	s.State = a.State()
	s.Pending = a.dispatcher.pending()
	s.Standbys = a.standbys.stats()
	for _, w := range workers {
		p := w.figures.box.p.Load()
		if p == nil {
			s.Workers = append(s.Workers, WorkerStats{Worker: w.index})
			continue
		}
		s.Workers = append(s.Workers, p.stats())
		for _, n := range p.nodes {
			addNode(nodes, n)
		}
	}
	for _, f := range fills {
		g := GlobalStats{Store: f.name}
		if p := f.inputs.Load(); p != nil {
			g.Inputs = slices.Clone(*p)
		}
		s.Globals = append(s.Globals, g)
		if p := f.nodes.Load(); p != nil {
			for _, n := range *p {
				addNode(nodes, n)
			}
		}
	}
	s.Nodes = sortNodes(nodes)
	return s
}
