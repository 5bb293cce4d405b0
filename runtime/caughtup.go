package runtime

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"thalweg/internal/kclient"
	"thalweg/topology"
)

// caughtUpEvery is the time between two looks at the offsets.
const caughtUpEvery = 20 * time.Millisecond

func (a *app) WaitCaughtUp(ctx context.Context) error {
	if err := a.WaitRunning(ctx); err != nil {
		return err
	}
	working, cancel := a.untilStop(ctx)
	defer cancel()
	tick := time.NewTicker(caughtUpEvery)
	defer tick.Stop()
	return a.ended(ctx, a.catchUp(working, tick))
}

// catchUp waits for what the inputs hold now. When that is committed, what follows from it is in the topics that the
// application reads of its own: these come next, as often as records can pass through them.
func (a *app) catchUp(ctx context.Context, tick *time.Ticker) error {
	control := a.connection()
	if control == nil {
		return errApplicationEnded
	}
	reached, missing, err := a.toCommit(ctx, control)
	if err != nil {
		return err
	}
	own, loops := ownInputs(a.topo, a.cfg.ApplicationID)
	for round := 0; len(missing) > 0; round++ {
		if err := a.awaitCommitted(ctx, control, missing, tick); err != nil {
			return err
		}
		if len(own) == 0 || round > len(a.topo.Subtopologies()) && !loops {
			break
		}
		inputs, err := a.partitionsNow(ctx, control, own)
		if err != nil {
			return err
		}
		if missing, err = control.ListOffsets(ctx, inputs, kclient.LogEnd, false); err != nil {
			return err
		}
		maps.DeleteFunc(missing, func(tp kclient.TopicPartition, end int64) bool { return end <= reached[tp] })
		maps.Copy(reached, missing)
	}
	if err := a.awaitGlobals(ctx, control, tick); err != nil {
		return err
	}
	return a.waitReadable(ctx, tick)
}

func (a *app) connection() *kclient.Client {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.control
}

// toCommit are the ends of the inputs, and those among them that are to be committed: a task commits nothing where it
// finds nothing.
func (a *app) toCommit(ctx context.Context, control *kclient.Client) (
	ends, missing map[kclient.TopicPartition]int64, err error,
) {
	inputs, err := a.partitionsNow(ctx, control, a.layout().topics())
	if err != nil {
		return nil, nil, err
	}
	if ends, err = control.ListOffsets(ctx, inputs, kclient.LogEnd, false); err != nil {
		return nil, nil, err
	}
	first, err := control.ListOffsets(ctx, inputs, kclient.Earliest, true)
	if err != nil {
		return nil, nil, err
	}
	committed, err := control.GroupOffsets(ctx, a.cfg.ApplicationID)
	if err != nil {
		return nil, nil, err
	}
	missing = maps.Clone(ends)
	maps.DeleteFunc(missing, func(tp kclient.TopicPartition, end int64) bool {
		_, begun := committed[tp]
		return !begun && first[tp] == end
	})
	return ends, missing, nil
}

// partitionsNow are all partitions of topics, those that were added among them.
func (a *app) partitionsNow(ctx context.Context, control *kclient.Client, topics []string) (
	tps []kclient.TopicPartition, err error,
) {
	counts, err := control.PartitionCounts(ctx, topics...)
	for _, topic := range topics {
		tps = append(tps, partitionsOf(topic, counts[topic])...)
	}
	return tps, err
}

// awaitCommitted waits until the group has committed up to ends.
func (a *app) awaitCommitted(
	ctx context.Context, control *kclient.Client, ends map[kclient.TopicPartition]int64, tick *time.Ticker,
) error {
	left := maps.Clone(ends)
	for {
		committed, err := control.Admin().FetchOffsets(ctx, a.cfg.ApplicationID)
		if err != nil { // a broker that is away: the workers wait for it too, and end the application if it stays away
			a.cfg.Logger.Debug("committed offsets: asking again", "application", a.cfg.ApplicationID, "err", err)
		}
		for tp, end := range left {
			c, ok := committed.Lookup(tp.Topic, tp.Partition)
			if ok && c.Err != nil {
				return fmt.Errorf("runtime: committed offset of %s: %w", tp, c.Err)
			}
			if ok && c.At >= end {
				delete(left, tp)
			}
		}
		if len(left) == 0 {
			return nil
		}
		if err := await(ctx, tick); err != nil {
			return err
		}
	}
}

// awaitGlobals waits until the global stores have what their topics hold.
func (a *app) awaitGlobals(ctx context.Context, control *kclient.Client, tick *time.Ticker) error {
	a.mu.Lock()
	fills := a.fills
	a.mu.Unlock()
	for _, f := range fills {
		inputs, err := a.partitionsNow(ctx, control, []string{f.topic})
		if err != nil {
			return err
		}
		ends, err := control.ListOffsets(ctx, inputs, kclient.LogEnd, false)
		if err != nil {
			return err
		}
		for !f.has(ends) {
			if err := await(ctx, tick); err != nil {
				return err
			}
		}
	}
	return nil
}

// await waits for a tick.
func await(ctx context.Context, tick *time.Ticker) error {
	select {
	case <-tick.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// ownInputs are the topics that the application reads and may write, by durable name. loops tells that a record may
// come by where it has been.
func ownInputs(topo *topology.Topology, applicationID string) (own []string, loops bool) {
	subs := topo.Subtopologies()
	names := false // a record may name its topic
	writes := map[string]bool{}
	for _, n := range topo.Nodes() {
		names = names || n.RecordsNameTopic
	}
	for _, s := range subs {
		for _, t := range s.Outputs {
			writes[t.In(applicationID)] = true
		}
	}
	for _, s := range subs {
		for _, t := range s.Inputs {
			if name := t.In(applicationID); (writes[name] || names && !t.Repartition) && !slices.Contains(own, name) {
				own = append(own, name)
			}
		}
	}
	reads := func(s *topology.Subtopology, outputs []topology.TopicName) bool {
		return slices.ContainsFunc(outputs, func(t topology.TopicName) bool {
			return slices.ContainsFunc(s.Inputs, func(in topology.TopicName) bool {
				return in.In(applicationID) == t.In(applicationID)
			})
		})
	}
	after := map[int]map[int]bool{} // sub-topology → what records reach from there
	for range subs {
		for _, s := range subs {
			if after[s.ID] == nil {
				after[s.ID] = map[int]bool{}
			}
			for _, next := range subs {
				if reads(next, s.Outputs) {
					after[s.ID][next.ID] = true
					maps.Copy(after[s.ID], after[next.ID])
				}
			}
		}
	}
	return own, slices.ContainsFunc(subs, func(s *topology.Subtopology) bool { return after[s.ID][s.ID] })
}

// waitReadable waits until readers that read committed see the outputs. A transaction ends in each partition by itself,
// so that the offsets can be committed a moment before the records are.
func (a *app) waitReadable(ctx context.Context, tick *time.Ticker) error {
	if a.cfg.Guarantee != ExactlyOnce {
		return nil
	}
	control := a.connection()
	if control == nil {
		return errApplicationEnded
	}
	_, topics := externals(a.topo)
	outputs, err := a.partitionsNow(ctx, control, topics) // of those that were not deleted meanwhile
	if err != nil {
		return err
	}
	if len(outputs) == 0 {
		return nil
	}
	ends, err := control.ListOffsets(ctx, outputs, kclient.LogEnd, false)
	for err == nil {
		var stable map[kclient.TopicPartition]int64
		if stable, err = control.ListOffsets(ctx, outputs, kclient.Latest, true); err != nil {
			break
		}
		outputs = slices.DeleteFunc(outputs, func(tp kclient.TopicPartition) bool { return stable[tp] >= ends[tp] })
		if len(outputs) == 0 {
			return nil
		}
		err = await(ctx, tick)
	}
	return err
}

// errApplicationEnded says that an application's connection is gone.
var errApplicationEnded = errors.New("runtime: the application has ended")

// ended is what a waiter returns: the application's own error, where it has one, instead of what its end looks like.
func (a *app) ended(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	select {
	case <-a.stop:
	default:
		return err
	}
	select { // only then is it known what has ended it
	case <-a.done:
	case <-ctx.Done():
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.err != nil {
		return a.err
	}
	return fmt.Errorf("runtime: the application was closed: %w", err)
}
