package history

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
)

// Check returns the anomalies of a history, by kind and then in the order in which they were found.
func Check(h History) []Anomaly {
	c := newChecker(h)
	c.checkSends()
	c.checkPolls()
	c.checkValues()
	c.checkOrder()
	c.checkGroups()
	for _, p := range sortedPartitions(h.Final) {
		if r := h.Final[p]; r.Next < r.End {
			c.found(Unreadable, "%s: read up to %d of %d", p, r.Next, r.End)
		}
	}
	slices.SortStableFunc(c.anomalies, func(a, b Anomaly) int { return cmp.Compare(a.Kind, b.Kind) })
	return c.anomalies
}

type place struct {
	partition Partition
	offset    int64
}

type checker struct {
	history   History
	senders   map[string]*Op        // by value
	targets   map[string]Partition  // by value: where it was sent to
	read      map[string][]place    // by value: where it was polled
	finally   map[string]bool       // values that the final read saw
	content   map[place]string      // what was polled or acknowledged there
	offsets   map[Partition][]int64 // that were polled by anyone, in order
	top       map[Partition]int64   // offset up to which somebody read
	reported  map[string]bool       // anomalies
	anomalies []Anomaly
}

func newChecker(h History) *checker {
	c := &checker{
		history: h, senders: map[string]*Op{}, targets: map[string]Partition{}, read: map[string][]place{},
		finally: map[string]bool{}, content: map[place]string{}, offsets: map[Partition][]int64{},
		top: map[Partition]int64{}, reported: map[string]bool{},
	}
	for i := range h.Ops {
		op := &h.Ops[i]
		for _, r := range op.Sends {
			c.senders[r.Value], c.targets[r.Value] = op, r.Partition
		}
		for _, r := range op.Polls {
			at := place{r.Partition, r.Offset}
			if !slices.Contains(c.read[r.Value], at) {
				c.read[r.Value] = append(c.read[r.Value], at)
			}
			c.finally[r.Value] = c.finally[r.Value] || op.Final
			c.offsets[r.Partition] = append(c.offsets[r.Partition], r.Offset)
			c.top[r.Partition] = max(c.top[r.Partition], r.Offset+1)
		}
	}
	for p, reach := range h.Final {
		c.top[p] = max(c.top[p], reach.End)
	}
	for p := range c.offsets {
		slices.Sort(c.offsets[p])
		c.offsets[p] = slices.Compact(c.offsets[p])
	}
	return c
}

func (c *checker) found(kind AnomalyKind, format string, args ...any) {
	a := Anomaly{kind, fmt.Sprintf(format, args...)}
	if !c.reported[a.String()] {
		c.reported[a.String()] = true
		c.anomalies = append(c.anomalies, a)
	}
}

// see notes what is at an offset.
func (c *checker) see(r Record) {
	if r.Offset < 0 {
		return
	}
	at := place{r.Partition, r.Offset}
	if before, ok := c.content[at]; ok && before != r.Value {
		c.found(InconsistentOffset, "%s/%d: %s and %s", r.Partition, r.Offset, before, r.Value)
		return
	}
	c.content[at] = r.Value
}

// checkSends looks for acknowledged records, and for parts of transactions, that nobody reads.
func (c *checker) checkSends() {
	for i := range c.history.Ops {
		op := &c.history.Ops[i]
		lost, kept := 0, 0
		for _, r := range op.Sends {
			if op.Outcome == OK {
				c.see(r)
			}
			// Without a final read of the partition an unread record may merely not have been read yet.
			reach, final := c.history.Final[r.Partition]
			final = final && reach.Next >= reach.End
			if len(c.read[r.Value]) > 0 {
				kept++
				if final && !c.finally[r.Value] {
					c.found(LostWrite, "%s at %v of client %d (%s, read before)", r.Value, c.read[r.Value], op.Client, op.Kind)
				}
				continue
			}
			if !final && (r.Offset < 0 || r.Offset >= c.top[r.Partition]) {
				continue
			}
			lost++
			if op.Outcome == OK {
				c.found(LostWrite, "%s of client %d (%s, acknowledged)", r, op.Client, op.Kind)
			}
		}
		if op.Kind == Transaction && op.Outcome == Unknown && lost > 0 && kept > 0 {
			c.found(TornTransaction, "of client %d: %d records are read, %d are not: %v", op.Client, kept, lost, op.Sends)
		}
	}
}

// checkPolls looks for records that should not be read, or not yet.
func (c *checker) checkPolls() {
	for i := range c.history.Ops {
		op := &c.history.Ops[i]
		for _, r := range op.Polls {
			c.see(r)
			sender := c.senders[r.Value]
			switch {
			case sender == nil || c.targets[r.Value] != r.Partition:
				c.found(UnknownValue, "%s", r)
			case sender.Kind != Transaction:
			case sender.Outcome == Failed:
				c.found(AbortedRead, "%s of client %d", r, sender.Client)
			case sender.Deciding == 0 || op.readBy() < sender.Deciding:
				c.found(EarlyRead, "%s of client %d by client %d", r, sender.Client, op.Client)
			}
		}
	}
}

// checkValues looks for records that are at several places.
func (c *checker) checkValues() {
	for _, value := range slices.Sorted(maps.Keys(c.read)) {
		sender := c.senders[value]
		if sender == nil || sender.Repeats {
			continue
		}
		places := slices.Clone(c.read[value])
		for _, r := range sender.Sends {
			at := place{r.Partition, r.Offset}
			if r.Value == value && sender.Outcome == OK && r.Offset >= 0 && !slices.Contains(places, at) {
				places = append(places, at)
			}
		}
		if len(places) > 1 {
			c.found(Duplicate, "%s of client %d at %v", value, sender.Client, places)
		}
	}
}

// checkOrder looks at what each client did one after the other.
func (c *checker) checkOrder() {
	type position struct {
		client    int
		partition Partition
	}
	next, sent := map[position]int64{}, map[position]int64{}
	for i := range c.history.Ops {
		op := &c.history.Ops[i]
		if op.Kind == Poll && op.From != nil {
			maps.DeleteFunc(next, func(p position, _ int64) bool { return p.client == op.Client })
			for p, from := range op.From {
				next[position{op.Client, p}] = from
			}
		}
		for _, r := range op.Polls {
			if op.Kind != Poll {
				break
			}
			at := position{op.Client, r.Partition}
			if from, ok := next[at]; ok {
				c.checkStep(op, r, from)
			}
			next[at] = r.Offset + 1
		}
		for _, r := range op.Sends {
			if op.Outcome != OK || r.Offset < 0 {
				continue
			}
			at := position{op.Client, r.Partition}
			if last, ok := sent[at]; ok && r.Offset <= last {
				c.found(NonMonotonicSend, "%s of client %d, after offset %d", r, op.Client, last)
			}
			sent[at] = r.Offset
		}
	}
}

// checkStep looks at the record that a client read when it was at offset from.
func (c *checker) checkStep(op *Op, r Record, from int64) {
	if r.Offset < from {
		c.found(NonMonotonicPoll, "%s by client %d, which was at offset %d", r, op.Client, from)
		return
	}
	all := c.offsets[r.Partition]
	if first, _ := slices.BinarySearch(all, from); all[first] < r.Offset {
		c.found(SkippedPoll, "client %d was at %s/%d and read %d, others read %d before it",
			op.Client, r.Partition, from, r.Offset, all[first])
	}
}

// place's text is that of a record.
func (p place) String() string { return fmt.Sprintf("%s/%d", p.partition, p.offset) }

func sortedPartitions[V any](m map[Partition]V) []Partition {
	return slices.SortedFunc(maps.Keys(m), func(a, b Partition) int {
		return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Index, b.Index))
	})
}
