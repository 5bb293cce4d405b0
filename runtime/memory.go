package runtime

import (
	"slices"

	"thalweg/internal/kclient"
	"thalweg/internal/memory"
	"thalweg/state"
	"thalweg/topology"
)

// MemoryStats are the memory of all applications and brokers in the process, not of one application alone.
type MemoryStats struct {
	// BytesMax is the limit of the process, see Config.Limits.MemoryBytesMax.
	BytesMax int64
	// Holders are the parts of the limit, with what each holds by its own count.
	Holders []MemoryHolder
}

// MemoryHolder is a part of the memory limit.
type MemoryHolder struct {
	// Holds is what the memory is for: rows, engine, fetched, restored or produced of applications, tails or requests
	// of a broker.
	Holds string
	// Owner is the application or broker that has set this part's size, and has it alone. Empty: it is everyone's.
	Owner string
	// Bytes are held, BytesMax may be.
	Bytes, BytesMax int64
	// OffHeap tells that the memory lies outside of Go's heap.
	OffHeap bool
}

func memoryStats(m *memory.Member) MemoryStats {
	u := m.Usage()
	s := MemoryStats{BytesMax: u.BytesMax}
	for _, h := range u.Holders {
		s.Holders = append(s.Holders, MemoryHolder{
			Holds: h.Kind.String(), Owner: h.Owner, Bytes: h.Bytes, BytesMax: h.BytesMax, OffHeap: h.Kind.OffHeap(),
		})
	}
	return s
}

// parts are the settings of an application's shares.
func (c *Config) parts() []memory.Fixed {
	return []memory.Fixed{
		{Kind: memory.Rows, BytesMax: c.Limits.CacheBytesMax, Setting: "Limits.CacheBytesMax"},
		{Kind: memory.Engine, BytesMax: c.Limits.BlockCacheBytesMax, Setting: "Limits.BlockCacheBytesMax"},
		{Kind: memory.Fetched, BytesMax: c.Limits.BufferedBytesMax, Setting: "Limits.BufferedBytesMax"},
		{Kind: memory.Restored, BytesMax: c.Limits.RestoreBytesMax, Setting: "Limits.RestoreBytesMax"},
		{Kind: memory.Produced, BytesMax: c.Limits.ProduceBytesMax, Setting: "Limits.ProduceBytesMax"},
	}
}

// partBytesLeast is the least that a share may be set to, but for that of the engine.
const partBytesLeast = 1 << 16

func (c *Config) checkMemory(check func(ok bool, format string, args ...any)) {
	check(c.Limits.MemoryBytesMax >= 0, "Limits.MemoryBytesMax is %d, must not be negative", c.Limits.MemoryBytesMax)
	for _, p := range c.parts() {
		least := int64(partBytesLeast)
		if p.Kind == memory.Engine {
			least = 1
		}
		check(p.BytesMax == 0 || p.BytesMax >= least, "%s is %d, must be at least %d", p.Setting, p.BytesMax, least)
	}
}

// memoryRequest is what an application brings when it joins the limit of the process.
func memoryRequest(topo *topology.Topology, cfg Config) memory.Request {
	r := memory.Request{
		Name: "application " + cfg.ApplicationID, BytesMax: cfg.Limits.MemoryBytesMax,
		Kinds: []memory.Kind{memory.Fetched, memory.Produced}, BallastBytes: max(cfg.Limits.HeapBallastBytes, 0),
		Workers: cfg.Workers, Fillings: len(topo.Globals()),
	}
	if keepsStores(topo) {
		r.Kinds = append(r.Kinds, memory.Rows, memory.Restored)
	}
	if keepsState(topo) {
		r.Kinds = append(r.Kinds, memory.Engine)
	}
	for _, p := range cfg.parts() {
		if p.BytesMax > 0 && slices.Contains(r.Kinds, p.Kind) {
			r.Fixed = append(r.Fixed, p)
		}
	}
	return r
}

// keepsStores tells whether a topology has stores of any kind.
func keepsStores(topo *topology.Topology) bool {
	return slices.ContainsFunc(slices.Concat(topo.Subtopologies(), topo.Globals()),
		func(s *topology.Subtopology) bool { return len(s.Stores) > 0 })
}

// portions are the application's parts of the memory limit, of which each worker, and each filling of a global store,
// has one.
type portions struct {
	member   *memory.Member
	fetched  *memory.Share
	restored *memory.Share // nil without stores
	produced *memory.Share
	engine   *memory.Share // nil when nothing is kept on disk
	budget   *state.Budget // of rows
	workers  int           // and fillings of global stores
	globals  int
}

func newPortions(topo *topology.Topology, cfg Config) (*portions, error) {
	m, err := memory.Join(memoryRequest(topo, cfg))
	if err != nil {
		return nil, err
	}
	p := &portions{
		member: m, fetched: m.Share(memory.Fetched), restored: m.Share(memory.Restored), produced: m.Share(memory.Produced),
		engine: m.Share(memory.Engine), budget: state.NewBudget(partBytesLeast), workers: len(topo.Globals()),
		globals: len(topo.Globals()),
	}
	if rows := m.Share(memory.Rows); rows != nil {
		p.budget = state.BudgetOf(rows)
	}
	p.divide(1)
	return p, nil
}

// addWorkers divides the parts among more workers, or fewer.
func (p *portions) addWorkers(n int) {
	p.workers += n
	p.divideWorkers(n)
}

// divideWorkers is divide of what workers use.
func (p *portions) divideWorkers(parts int) {
	p.fetched.Divide(parts)
	p.produced.Divide(parts)
	if p.engine != nil {
		p.engine.Divide(parts)
	}
}

// divide takes the application's parts, or gives them back (-1). Restorers take theirs while they work.
func (p *portions) divide(sign int) {
	p.divideWorkers(sign * p.workers)
	if p.restored != nil {
		p.restored.Divide(sign * p.globals)
	}
}

func (p *portions) leave() {
	p.divide(-1)
	p.member.Leave()
}

// Of what a worker may have fetched, three answers may be on their way while it works on what it has. The least sizes
// are for parts that were set by themselves: the limit gives each worker more (kinds.go in internal/memory).
const (
	answersMost     = 3
	answerParts     = 8
	answerLeast     = 1 << 14
	fetchBytesMost  = 8 << 20
	restoreMost     = 32 << 20
	restorePartMost = 8 << 20
	checkpointParts = 4
	checkpointLeast = 1 << 16
	checkpointMost  = 64 << 20
)

// fetchBytes is how large a worker's answers may be.
func (p *portions) fetchBytes() int {
	return int(min(max(p.fetched.PartBytesMax()/answerParts, answerLeast), fetchBytesMost))
}

// restoring is how changelogs are fetched: one answer is applied while the others are on their way. Half of the memory
// is for what waits to be written to the engine.
func (p *portions) restoring() kclient.FetcherConfig {
	return kclient.FetcherConfig{BytesMax: p.restoreBytes(), PartitionBytesMax: restorePartMost}
}

func (p *portions) restoreBytes() int {
	return int(min(max(p.restored.PartBytesMax()/(2*answersMost), answerLeast), restoreMost))
}

// filling is how the topics of global stores are fetched.
func (p *portions) filling() kclient.FetcherConfig {
	return kclient.FetcherConfig{BytesMax: p.fetchBytes(), PartitionBytesMax: fetchPartitionBytes}
}

// checkpointBytes is how much of a task's state waits for the engine at most: a batch of that size becomes a memtable
// of its own, or is written to tables at once, and several exist for a while.
func (p *portions) checkpointBytes() int64 {
	if p.engine == nil {
		return checkpointMost
	}
	return min(max(p.engine.PartBytesMax()/checkpointParts, checkpointLeast), checkpointMost)
}

// outboxBytes is how much a worker's tasks may have written before it is sent, and how much spare buffers may keep.
func (p *portions) outboxBytes() int { return int(max(p.produced.PartBytesMax()/4, answerLeast)) }

// produceBytes is how much of what a worker's client has taken may be under way: half of what the worker has written.
func (p *portions) produceBytes() int { return int(max(p.produced.PartBytesMax()/2, answerLeast)) }
