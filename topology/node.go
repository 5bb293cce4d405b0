package topology

import (
	"slices"

	"thalweg/state"
)

// Kind is what a node does at its borders.
type Kind uint8

// The kinds of node.
const (
	KindSource Kind = iota
	KindProcessor
	KindSink
)

// TopicName names a topic that a node reads or writes.
type TopicName struct {
	Name string
	// Repartition topics are the application's own: their durable name is <application>-<name>-repartition.
	Repartition bool
	// Partitions is how many partitions the user wants a repartition topic to have; 0: as many as what it is joined
	// with, or as the topic that it comes from.
	Partitions int32
}

// In is the topic's durable name for an application.
func (t TopicName) In(applicationID string) string {
	if t.Repartition {
		return applicationID + "-" + t.Name + "-repartition"
	}
	return t.Name
}

// Make builds a node inside one task: next holds the ports of its children, in the order in which they were
// connected, each a Port as any. It returns the node's own port (for a source: a [Source]).
type Make func(in *Instance, next []any) (port any, err error)

// Node is the blueprint of one vertex. The fields are set while the graph is built and fixed afterwards.
type Node struct {
	Name string // unique in the topology
	Kind Kind
	Site string // file:line of the caller's line that made it
	Make Make

	Topics []TopicName // what a source reads
	Sink   TopicName   // what a sink writes; the name is empty when each record names its own topic
	// RecordsNameTopic tells that records may name the topic that a sink writes, also where Sink has a name.
	RecordsNameTopic bool
	Stores           []state.Store // what the node reads or writes
	// RowsFromTopic names the one store among Stores that is restored from the source's topic and has no
	// changelog of its own.
	RowsFromTopic string
	Reset         Reset // where a source starts when its group has no offset
	// Serves names the repartitions whose records a source reads along with its own topic's: they have no topic.
	Serves []string
	// LeftOut are the stores that a rule of the optimizer has removed: another store has their rows.
	LeftOut []state.Store
	// Facts are what else of the node is durable: a line each for the fingerprint, which begins with the sub-topology.
	Facts []string

	// What the checks and the optimizer need to know.
	ChangesKey   bool // what comes out may have another key than what went in
	ChangesValue bool // what comes out may have another value
	ByKey        bool // equal keys must be in equal partitions of all its inputs
	Pure         bool // what comes out depends on key and value of the record alone
	Keys, Values any  // the serdes of a source or a sink
	// Partitioner is the function that chooses the partitions of a source's topics; nil: they go by the hash of the key.
	Partitioner any
	// Placed tells that the records of a source lie in the partitions of those that they meet, whatever their keys are.
	Placed bool
	// LaidByKey tells that, as the program says, records behind the node lie by the hash of their keys, encoded with Keys.
	LaidByKey bool
	// RowsAreRecords tells that the first of Stores holds the records of its one parent, a source, byte by byte.
	RowsAreRecords bool
	// Twin is the node of the other side of an inner join of streams. Both have two stores, the left side's records
	// and the right side's; where both sides are the same stream, the first alone is enough.
	Twin *Node

	// Combined is how the node takes what its records add up to, made before a repartition; nil: it takes each record.
	// The sink of the repartition has it, too, where it is done.
	Combined *Combined

	// DelayMillis is by how much what goes on may be older than the node's time at most: what it holds back until then.
	DelayMillis int64

	// Global nodes run once in each process, over all partitions of their source's topics, and fill stores that every
	// task may read.
	Global bool

	// Beside are nodes, made before, whose rows this one reads by key in their stores: their inputs count as its own.
	Beside []*Node

	// DropNullKeys makes a sink leave out records without a key, counted: nothing downstream of its topic takes them.
	DropNullKeys bool

	// Decode returns a function, for one goroutine, that decodes a record of a source and tells whether that failed.
	Decode func(*Node) func(*SourceRecord) error

	rehearse func(*Instance) error // tries what the program's own processor does at first; nil: there is none
	faults   []error               // mistakes in the call that made it

	id       int  // position in topological order, from 0
	behind   bool // records come through a repartition of the sub-topology
	parents  []*Node
	children []*Node
}

// Combined is another way to run a node that folds the records of each key, and the repartition before it: the sink
// adds up what it can and writes that, which the source reads and the node folds.
type Combined struct {
	Write, Read, Fold Make
	Values            any // the serde of what is written
}

// opens tells whether the node may open a store.
func (n *Node) opens(store string) bool {
	return slices.ContainsFunc(n.Stores, func(s state.Store) bool { return s.Name() == store })
}

// Connect makes child a child of n: the last in the order in which n forwards.
func (n *Node) Connect(child *Node) {
	n.children = append(n.children, child)
	child.parents = append(child.parents, n)
}

// ID is the node's place in the topological order (parents first), from 0.
func (n *Node) ID() int { return n.id }

// Children are the nodes that n forwards to, in that order. The slice is the node's own.
func (n *Node) Children() []*Node { return n.children }

// Parents are the nodes that forward to n. The slice is the node's own.
func (n *Node) Parents() []*Node { return n.parents }

// Reset says where a source starts reading a partition for which its group has no offset.
type Reset struct {
	Policy ResetPolicy
	// BackMillis is how far before now [ResetBack] starts.
	BackMillis int64
}

// ResetPolicy is the kind of a [Reset].
type ResetPolicy uint8

// The reset policies; the last is KIP-1106.
const (
	ResetEarliest ResetPolicy = iota
	ResetLatest
	ResetNone // refuse to start
	ResetBack // the first record not older than a duration
)
