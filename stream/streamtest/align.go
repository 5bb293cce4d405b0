package streamtest

import (
	"reflect"

	"thalweg/internal/align"
	"thalweg/internal/task"
)

// alignedTask is how a task aligns; nil: it does not.
func (d *Driver) alignedTask(id task.ID) *task.Aligned {
	r := d.plan.Reader(id.Subtopology)
	if r == nil {
		return nil
	}
	return &task.Aligned{Repartitions: r.Repartitions, Held: r.Held}
}

// align takes a cut for the tasks that wait for their time to move, and tells whether one of them did not have it yet.
func (d *Driver) align() (moved bool, err error) {
	var taken *align.Taken
	for _, r := range d.runs {
		if !r.Aligning.WaitsForTime() {
			continue
		}
		if taken == nil {
			if taken, err = d.plan.Take(driverLog{d}, nil); err != nil {
				return false, err
			}
		}
		moved = moved || !reflect.DeepEqual(taken, r.taken)
		r.taken = taken
		reader := d.plan.Reader(r.ID().Subtopology)
		g := reader.Goal(taken.Cuts[reader.Sub], r.ID().Partition)
		g.At = d.now
		r.Aligning.Align(g)
	}
	return moved, nil
}

// driverLog is what cuts are made of. All that is written is decided.
type driverLog struct{ d *Driver }

func (l driverLog) Ends(tps []align.Partition) (map[align.Partition]int64, error) {
	ends := map[align.Partition]int64{}
	for _, tp := range tps {
		ends[tp] = l.d.topic(tp.Topic).partitions[tp.Number].end
	}
	return ends, nil
}

func (l driverLog) Begins([]align.Partition) (map[align.Partition]int64, error) {
	return map[align.Partition]int64{}, nil
}

func (l driverLog) HighWatermarks(tps []align.Partition) (map[align.Partition]int64, error) {
	return l.Ends(tps)
}

func (l driverLog) Committed(tps []align.Partition) (map[align.Partition]align.Committed, error) {
	all := map[align.Partition]align.Committed{}
	for _, tp := range tps {
		if o, ok := l.d.offsets[source{tp.Topic, tp.Number}]; ok {
			all[tp] = task.Committed(o)
		}
	}
	return all, nil
}
