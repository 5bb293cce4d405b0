// Package align works out how far the time of operators behind a repartition may go.
//
// Tasks write to a repartition topic side by side, each at its own pace: its reader sees the records of a fast task
// before older ones of a slow task. So the reader's operators let time go on no further than the slowest task has
// come. A cut says how far that is. It is taken in this order:
//
//	ends of the inputs upstream │ their committed offsets and times │ high watermarks of the repartition's partitions
//
// What an input's task has written up to its commit lies below the high watermark that was read after it. So once the
// reader is there, all that is still to come is of records after that commit. Those are no older than the committed
// time, unless they are out of order in their own input. An input that was committed up to its end has no records that
// were there when the cut began.
package align

// Unknown is a time that is not known.
const Unknown int64 = -1

// Partition is a partition of an input.
type Partition struct {
	Topic  string
	Number int32
}

// Committed is what a task has committed of an input.
type Committed struct {
	Next int64 // -1: nothing
	Time int64 // the highest timestamp that was processed
	// Aligned is how far the time of the task's operators was allowed to go, and Open tells that they have seen later
	// records: for them something is still to be done. Of tasks that do not align it is Unknown.
	Aligned int64
	Open    bool
}

// Log is what cuts are made of. Partitions that it has no answer for are left out of it.
type Log interface {
	// Ends are the ends of what can be read: the last stable offsets.
	Ends([]Partition) (map[Partition]int64, error)
	// Begins are the first offsets that are there.
	Begins([]Partition) (map[Partition]int64, error)
	// Committed must not wait for transactions: what they have committed does not count before they are decided.
	Committed([]Partition) (map[Partition]Committed, error)
	// HighWatermarks are the offsets after all that is written, decided or not.
	HighWatermarks([]Partition) (map[Partition]int64, error)
}

// Cut is how far the time of a sub-topology's operators may go once a task has read its repartitions up to the ends.
type Cut struct {
	Time      int64     // Unknown: no input has come anywhere
	Exhausted bool      // no input upstream has records; Time is the highest of theirs
	By        Partition // the input that holds the time back; none where all are exhausted
	Ends      map[Partition]int64
}

// stand is how far an input is.
type stand struct {
	time      int64
	exhausted bool
}

// Stand is how far an input that has records to be read was committed.
type Stand struct{ Next, Time int64 }

// Taken are the cuts of all readers, taken at once.
type Taken struct {
	Cuts map[int]*Cut // by sub-topology
	// Waiting are the inputs upstream that were not exhausted.
	Waiting map[Partition]Stand
}

// Take takes cuts. Inputs that are left out count as exhausted: their tasks make no progress.
func (p *Plan) Take(log Log, leftOut map[Partition]bool) (*Taken, error) {
	t := taking{plan: p, leftOut: leftOut, stands: map[Partition]stand{}, times: map[string]Cut{},
		waiting: map[Partition]Stand{}}
	var err error
	if t.ends, err = log.Ends(p.partitionsOf(p.levels[0])); err != nil {
		return nil, err
	}
	for level, topics := range p.levels {
		if level > 0 {
			if err := t.watermarks(log, topics); err != nil {
				return nil, err
			}
		}
		if err := t.level(log, topics); err != nil {
			return nil, err
		}
	}
	if err := t.watermarks(log, p.last); err != nil {
		return nil, err
	}
	taken := &Taken{Cuts: map[int]*Cut{}, Waiting: t.waiting}
	for i := range p.readers {
		r := &p.readers[i]
		cut := t.combine(r.upstream)
		cut.Ends = map[Partition]int64{}
		for _, topic := range r.Repartitions {
			for n := range p.partitions[topic] {
				if end, ok := t.ends[Partition{topic, n}]; ok {
					cut.Ends[Partition{topic, n}] = end
				}
			}
		}
		taken.Cuts[r.Sub] = &cut
	}
	return taken, nil
}

// taking is a cut while it is taken.
type taking struct {
	plan    *Plan
	leftOut map[Partition]bool
	ends    map[Partition]int64
	stands  map[Partition]stand
	times   map[string]Cut // of what goes into a repartition topic
	waiting map[Partition]Stand
}

// watermarks reads the ends of repartition topics, after the commits of all that is upstream of them.
func (t *taking) watermarks(log Log, topics []string) error {
	ends, err := log.HighWatermarks(t.plan.partitionsOf(topics))
	if err != nil {
		return err
	}
	for tp, end := range ends {
		t.ends[tp] = end
	}
	for _, topic := range topics {
		t.times[topic] = t.combine(t.plan.from[topic])
	}
	return nil
}

// level finds out how far the inputs are that have so many repartitions before them.
func (t *taking) level(log Log, topics []string) error {
	tps := t.plan.partitionsOf(topics)
	committed, err := log.Committed(tps)
	if err != nil {
		return err
	}
	var fresh []Partition
	for _, tp := range tps {
		if c, ok := committed[tp]; (!ok || c.Next < 0) && t.ends[tp] > 0 {
			fresh = append(fresh, tp)
		}
	}
	begins := map[Partition]int64{}
	if len(fresh) > 0 {
		if begins, err = log.Begins(fresh); err != nil {
			return err
		}
	}
	for _, tp := range tps {
		c, ok := committed[tp]
		if !ok || c.Next < 0 {
			c = Committed{Next: begins[tp], Time: Unknown, Aligned: Unknown}
		}
		s := t.standOf(tp, c)
		if !s.exhausted {
			t.waiting[tp] = Stand{c.Next, s.time}
		}
		if t.leftOut[tp] {
			s.exhausted = true
		}
		t.stands[tp] = s
	}
	return nil
}

// standOf is how far an input is.
func (t *taking) standOf(tp Partition, c Committed) stand {
	read := c.Next >= t.ends[tp]
	into, inner := t.times[tp.Topic]
	switch {
	case !inner:
		return stand{c.Time, read}
	case t.plan.aligns[tp.Topic]:
		if read && !c.Open { // nothing is left to be done, so a cut applied there would change nothing
			return stand{max(c.Aligned, into.Time), into.Exhausted}
		}
		return stand{c.Aligned, false}
	case read:
		return stand{max(before(c.Time, t.plan.delays[tp.Topic]), into.Time), into.Exhausted}
	}
	return stand{before(c.Time, t.plan.delays[tp.Topic]), false}
}

// combine is how far the time goes behind several inputs.
func (t *taking) combine(upstream []Upstream) Cut {
	cut, highest := Cut{Time: Unknown, Exhausted: true}, Unknown
	for _, u := range upstream {
		for n := range t.plan.partitions[u.Topic] {
			tp := Partition{u.Topic, n}
			s, ok := t.stands[tp]
			if !ok {
				continue
			}
			highest = max(highest, s.time)
			if s.exhausted {
				continue
			}
			if at := before(s.time, u.DelayMillis); cut.Exhausted || at < cut.Time {
				cut.Exhausted, cut.Time, cut.By = false, at, tp
			}
		}
	}
	if cut.Exhausted {
		cut.Time = highest
	}
	return cut
}

// before is so many milliseconds before a time.
func before(at, millis int64) int64 { return max(at-millis, Unknown) }
