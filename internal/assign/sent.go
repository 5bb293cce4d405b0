package assign

import (
	"encoding/binary"
	"errors"
	"math"
	"slices"
	"time"
)

// Sent is what the leader sends to a member beside its partitions. A task runs where its partitions are: Active repeats
// that, but for tasks that have no inputs.
//
//	byte 0      version that wrote it = 2; 1 is a message without tasks, see kclient
//	byte 1      oldest version that can read it = 2
//	uvarint n   topology, n bytes
//	uvarint     milliseconds until the group is to be balanced again; 0: no need
//	            3 times, active, standby and warm-up tasks:
//	uvarint n   groups, n times:
//	uvarint n   group, n bytes:
//	            uvarint kind, others than 0 are passed over
//	            uvarint sub-topology
//	            until its end: uvarint partitions between the last run and this one | uvarint partitions in the run
//	…           a later version's fields
type Sent struct {
	Topology string // of the leader, as in a [Report]
	// ProbeAfter is when this member is to have the group balanced again, since a task waits for a warm-up. 0: another
	// member does it, or nobody needs to.
	ProbeAfter time.Duration
	Active     []TaskID
	Standby    []TaskID
	Warmup     []TaskID
}

// SentVersion is the first byte of a [Sent].
const SentVersion = 2

const (
	sentReadableBy = 2
	sentGroupsMax  = 1 << 16
	sentTasksMax   = 1 << 20
	// kindSubtopology is the kind of tasks that a sub-topology has, one a partition.
	kindSubtopology = 0
)

var errTooManyTasks = errors.New("too many tasks")

// Append encodes the message.
func (s Sent) Append(dst []byte) []byte {
	dst = append(dst, SentVersion, sentReadableBy)
	dst = appendText(dst, s.Topology)
	dst = binary.AppendUvarint(dst, uint64(max(s.ProbeAfter.Milliseconds(), 0)))
	for _, tasks := range [][]TaskID{s.Active, s.Standby, s.Warmup} {
		dst = appendTasks(dst, tasks)
	}
	return dst
}

// appendTasks encodes a set of tasks.
func appendTasks(dst []byte, tasks []TaskID) []byte {
	tasks = slices.SortedFunc(slices.Values(tasks), compareTaskIDs)
	tasks = slices.Compact(tasks)
	groups := slices.Collect(chunks(tasks))
	dst = binary.AppendUvarint(dst, uint64(len(groups)))
	var group []byte
	for _, tasks := range groups {
		group = binary.AppendUvarint(group[:0], kindSubtopology)
		group = binary.AppendUvarint(group, uint64(tasks[0].Subtopology))
		next := int32(0)
		for len(tasks) > 0 {
			first, n := tasks[0].Partition, 1
			for n < len(tasks) && tasks[n].Partition == first+int32(n) {
				n++
			}
			group = binary.AppendUvarint(group, uint64(first-next))
			group = binary.AppendUvarint(group, uint64(n))
			next, tasks = first+int32(n), tasks[n:]
		}
		dst = append(binary.AppendUvarint(dst, uint64(len(group))), group...)
	}
	return dst
}

// chunks divides sorted tasks by sub-topology.
func chunks(tasks []TaskID) func(yield func([]TaskID) bool) {
	return func(yield func([]TaskID) bool) {
		for len(tasks) > 0 {
			n := 1
			for n < len(tasks) && tasks[n].Subtopology == tasks[0].Subtopology {
				n++
			}
			if !yield(tasks[:n]) {
				return
			}
			tasks = tasks[n:]
		}
	}
}

// DecodeSent decodes a message. Bytes after it belong to a later version and are ignored.
func DecodeSent(src []byte) (Sent, error) {
	d, _, err := newDecoder("assignment", src, SentVersion)
	if err != nil {
		return Sent{}, err
	}
	s := Sent{Topology: string(d.bytes(reportTopologyMax))}
	s.ProbeAfter = time.Duration(d.uvarint(math.MaxInt32)) * time.Millisecond
	s.Active, s.Standby, s.Warmup = d.tasks(), d.tasks(), d.tasks()
	if d.err != nil {
		return Sent{}, d.err
	}
	return s, nil
}

// tasks reads a set of tasks.
func (d *decoder) tasks() (tasks []TaskID) {
	groups := d.uvarint(sentGroupsMax)
	for i := uint64(0); i < groups && d.err == nil; i++ {
		g := decoder{what: d.what, src: d.bytes(math.MaxInt32), err: d.err}
		if g.uvarint(math.MaxUint64) != kindSubtopology || d.err != nil {
			continue
		}
		sub, next := g.number(), uint64(0)
		for len(g.src) > 0 && g.err == nil {
			first := next + g.uvarint(math.MaxInt32)
			next = first + g.uvarint(sentTasksMax)
			if next > math.MaxInt32 || len(tasks)+int(next-first) > sentTasksMax {
				g.fail(errTooManyTasks)
				break
			}
			for p := first; p < next; p++ {
				tasks = append(tasks, TaskID{sub, int32(p)})
			}
		}
		if d.err == nil {
			d.err = g.err
		}
	}
	return tasks
}
