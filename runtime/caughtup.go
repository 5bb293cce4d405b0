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
	c := catchUp{a, a.connection(), tick}
	if c.control == nil {
		return a.ended(ctx, errEnded)
	}
	return a.ended(ctx, c.wait(working))
}

// catchUp is one wait for what the inputs hold.
type catchUp struct {
	app     *app
	control *kclient.Client
	tick    *time.Ticker
}

// wait waits for what the inputs hold now. When that is committed, what follows from it is in the topics that the
// application reads of its own: these come next, as often as records can pass through them.
func (c *catchUp) wait(ctx context.Context) error {
	reached, missing, err := c.toCommit(ctx)
	if err != nil {
		return err
	}
	own, loops := ownInputs(c.app.topo, c.app.cfg.ApplicationID)
	for round := 0; len(missing) > 0; round++ {
		if err := c.awaitCommitted(ctx, missing); err != nil {
			return err
		}
		if len(own) == 0 || round > len(c.app.topo.Subtopologies()) && !loops {
			break
		}
		inputs, err := c.partitionsNow(ctx, own)
		if err != nil {
			return err
		}
		if missing, err = c.control.ListOffsets(ctx, inputs, kclient.LogEnd, false); err != nil {
			return err
		}
		maps.DeleteFunc(missing, func(tp kclient.TopicPartition, end int64) bool { return end <= reached[tp] })
		maps.Copy(reached, missing)
	}
	if err := c.awaitGlobals(ctx); err != nil {
		return err
	}
	return c.waitReadable(ctx)
}

func (a *app) connection() *kclient.Client {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.control
}

// toCommit are the ends of the inputs, and those among them that are to be committed: a task commits nothing where it
// finds nothing.
func (c *catchUp) toCommit(ctx context.Context) (
	ends, missing map[kclient.TopicPartition]int64, err error,
) {
	inputs, err := c.partitionsNow(ctx, c.app.layout().topics())
	if err != nil {
		return nil, nil, err
	}
	if ends, err = c.control.ListOffsets(ctx, inputs, kclient.LogEnd, false); err != nil {
		return nil, nil, err
	}
	first, err := c.control.ListOffsets(ctx, inputs, kclient.Earliest, true)
	if err != nil {
		return nil, nil, err
	}
	committed, err := c.control.GroupOffsets(ctx, c.app.cfg.ApplicationID)
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
func (c *catchUp) partitionsNow(ctx context.Context, topics []string) (
	tps []kclient.TopicPartition, err error,
) {
	counts, err := c.control.PartitionCounts(ctx, topics...)
	for _, topic := range topics {
		tps = append(tps, partitionsOf(topic, counts[topic])...)
	}
	return tps, err
}

// awaitCommitted waits until the group has committed up to ends.
func (c *catchUp) awaitCommitted(
	ctx context.Context, ends map[kclient.TopicPartition]int64,
) error {
	left := maps.Clone(ends)
	for {
		committed, err := c.control.Admin().FetchOffsets(ctx, c.app.cfg.ApplicationID)
		if err != nil { // a broker that is away: the workers wait for it too, and end the application if it stays away
			c.app.cfg.Logger.Debug("committed offsets: asking again", "application", c.app.cfg.ApplicationID, "err", err)
		}
		for tp, end := range left {
			at, ok := committed.Lookup(tp.Topic, tp.Partition)
			if ok && at.Err != nil {
				return fmt.Errorf("runtime: committed offset of %s: %w", tp, at.Err)
			}
			if ok && at.At >= end {
				delete(left, tp)
			}
		}
		if len(left) == 0 {
			return nil
		}
		if err := await(ctx, c.tick); err != nil {
			return err
		}
	}
}

// awaitGlobals waits until the global stores have what their topics hold.
func (c *catchUp) awaitGlobals(ctx context.Context) error {
	c.app.mu.Lock()
	fills := c.app.globals.fills
	c.app.mu.Unlock()
	for _, f := range fills {
		inputs, err := c.partitionsNow(ctx, []string{f.topic})
		if err != nil {
			return err
		}
		ends, err := c.control.ListOffsets(ctx, inputs, kclient.LogEnd, false)
		if err != nil {
			return err
		}
		for !f.has(ends) {
			if err := await(ctx, c.tick); err != nil {
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
func (c *catchUp) waitReadable(ctx context.Context) error {
	if c.app.cfg.Guarantee != ExactlyOnce {
		return nil
	}
	_, topics := externals(c.app.topo)
	outputs, err := c.partitionsNow(ctx, topics) // of those that were not deleted meanwhile
	if err != nil {
		return err
	}
	if len(outputs) == 0 {
		return nil
	}
	ends, err := c.control.ListOffsets(ctx, outputs, kclient.LogEnd, false)
	for err == nil {
		var stable map[kclient.TopicPartition]int64
		if stable, err = c.control.ListOffsets(ctx, outputs, kclient.Latest, true); err != nil {
			break
		}
		outputs = slices.DeleteFunc(outputs, func(tp kclient.TopicPartition) bool { return stable[tp] >= ends[tp] })
		if len(outputs) == 0 {
			return nil
		}
		err = await(ctx, c.tick)
	}
	return err
}

// errEnded is what a call returns that needs an application which runs.
var errEnded = ofKind(ErrClosed, errors.New("the application has ended"))

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
	return ofKind(ErrClosed, fmt.Errorf("runtime: the application was closed: %w", err))
}
