package history

import (
	"maps"
	"slices"
)

// checkGroups looks at what the members of groups have processed and committed.
func (c *checker) checkGroups() {
	byGroup := map[string][]*Op{}
	for i := range c.history.Ops {
		if op := &c.history.Ops[i]; op.Group != "" {
			byGroup[op.Group] = append(byGroup[op.Group], op)
		}
	}
	for _, group := range slices.Sorted(maps.Keys(byGroup)) {
		ops := byGroup[group]
		c.checkGenerations(group, ops)
		c.checkProcessed(group, ops)
		c.checkCommitted(group, ops)
	}
}

// checkGenerations looks for commits that were accepted although one of a later generation had been before they began.
func (c *checker) checkGenerations(group string, ops []*Op) {
	byEnd := accepted(ops)
	slices.SortFunc(byEnd, func(a, b *Op) int { return int(a.End - b.End) })
	latest := make([]*Op, len(byEnd)) // of the latest generation among those that ended so far
	for i, op := range byEnd {
		latest[i] = op
		if i > 0 && latest[i-1].Generation >= op.Generation {
			latest[i] = latest[i-1]
		}
	}
	for _, op := range byEnd {
		ended, _ := slices.BinarySearchFunc(byEnd, op.Begin, func(o *Op, at int64) int { return int(o.End - at) })
		if ended > 0 && latest[ended-1].Generation > op.Generation {
			c.found(StaleCommit, "group %s: %s of client %d in generation %d, after one in generation %d",
				group, op.Kind, op.Client, op.Generation, latest[ended-1].Generation)
		}
	}
}

func accepted(ops []*Op) []*Op {
	return slices.DeleteFunc(slices.Clone(ops), func(op *Op) bool { return op.Outcome != OK })
}

// checkProcessed looks for records that transactions have processed twice, or passed over.
func (c *checker) checkProcessed(group string, ops []*Op) {
	processed := map[place]*Op{} // for certain
	polled := map[place]bool{}   // or perhaps
	transactions := false
	for _, op := range ops {
		if op.Kind != Transaction {
			continue
		}
		transactions = true
		for _, r := range op.Polls {
			at := place{r.Partition, r.Offset}
			if op.Outcome == Failed {
				continue
			}
			polled[at] = true
			if op.Outcome != OK && !c.isRead(op) {
				continue
			}
			if by := processed[at]; by != nil {
				c.found(ProcessedTwice, "group %s: %s by client %d in generation %d and client %d in generation %d",
					group, r, by.Client, by.Generation, op.Client, op.Generation)
			}
			processed[at] = op
		}
	}
	for _, p := range sortedPartitions(c.history.Committed[group]) {
		for _, offset := range c.offsets[p] {
			if at := (place{p, offset}); transactions && offset < c.history.Committed[group][p] && !polled[at] {
				c.found(Unprocessed, "group %s: %s at %s, which has committed %d",
					group, c.content[at], at, c.history.Committed[group][p])
			}
		}
	}
}

// isRead tells whether a transaction of unknown outcome was committed, since its records are read.
func (c *checker) isRead(op *Op) bool {
	return slices.ContainsFunc(op.Sends, func(r Record) bool { return len(c.read[r.Value]) > 0 })
}

// checkCommitted compares the last offsets with those that were committed. Generations after the first to commit an
// offset have begun where it was.
func (c *checker) checkCommitted(group string, ops []*Op) {
	final, ok := c.history.Committed[group]
	if !ok {
		return
	}
	highest := map[Partition]int64{}
	for _, op := range accepted(ops) {
		for _, r := range op.Polls {
			highest[r.Partition] = max(highest[r.Partition], r.Offset+1)
		}
	}
	for _, p := range sortedPartitions(highest) {
		if final[p] < highest[p] {
			c.found(LostCommit, "group %s: %s is at %d, %d was committed", group, p, final[p], highest[p])
		}
	}
}
