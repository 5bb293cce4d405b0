package runtime

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"thalweg/internal/link"
)

// caughtUpEvery is the time between two looks at the offsets.
const caughtUpEvery = 20 * time.Millisecond

func (a *app) WaitCaughtUp(ctx context.Context) error {
	if err := a.WaitRunning(ctx); err != nil {
		return err
	}
	ctx, cancel := a.untilStop(ctx)
	defer cancel()
	tick := time.NewTicker(caughtUpEvery)
	defer tick.Stop()
	// Everything is done when all inputs are committed up to ends that have not moved since they were seen before:
	// what a commit adds to another input is there no later than the commit itself.
	var reached map[link.TopicPartition]int64
	for {
		ends, all, err := a.progress(ctx)
		switch {
		case err != nil:
			return a.ended(err)
		case reached != nil && maps.Equal(reached, ends):
			return a.ended(a.waitReadable(ctx, tick))
		case all:
			reached = ends
			continue
		}
		reached = nil
		select {
		case <-tick.C:
		case <-ctx.Done():
			return a.ended(context.Cause(ctx))
		}
	}
}

// waitReadable waits until readers that read committed see the outputs. A transaction ends in each partition by itself,
// so that the offsets can be committed a moment before the records are.
func (a *app) waitReadable(ctx context.Context, tick *time.Ticker) error {
	if a.cfg.Guarantee != ExactlyOnce {
		return nil
	}
	a.mu.Lock()
	control := a.control
	a.mu.Unlock()
	if control == nil {
		return errApplicationEnded
	}
	_, topics := externals(a.topo)
	var outputs []link.TopicPartition
	for _, topic := range topics {
		n, err := control.Partitions(ctx, topic)
		switch {
		case errors.Is(err, kerr.UnknownTopicOrPartition):
			continue // deleted meanwhile
		case err != nil:
			return err
		}
		for p := range n {
			outputs = append(outputs, link.TopicPartition{Topic: topic, Partition: p})
		}
	}
	if len(outputs) == 0 {
		return nil
	}
	ends, err := control.ListOffsets(ctx, outputs, link.LogEnd, false)
	for err == nil {
		var stable map[link.TopicPartition]int64
		if stable, err = control.ListOffsets(ctx, outputs, link.Latest, true); err != nil {
			break
		}
		outputs = slices.DeleteFunc(outputs, func(tp link.TopicPartition) bool { return stable[tp] >= ends[tp] })
		if len(outputs) == 0 {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			err = context.Cause(ctx)
		}
	}
	return err
}

// errApplicationEnded says that an application's connection is gone.
var errApplicationEnded = errors.New("runtime: the application has ended")

// progress is the end of each input, and whether the group has committed up to all of them.
func (a *app) progress(ctx context.Context) (ends map[link.TopicPartition]int64, all bool, err error) {
	a.mu.Lock()
	control, lay := a.control, a.layout
	a.mu.Unlock()
	if control == nil {
		return nil, false, errApplicationEnded
	}
	var inputs []link.TopicPartition
	for topic, n := range lay.counts {
		for p := range n {
			inputs = append(inputs, link.TopicPartition{Topic: topic, Partition: p})
		}
	}
	if ends, err = control.ListOffsets(ctx, inputs, link.LogEnd, false); err != nil {
		return nil, false, err
	}
	starts, err := control.ListOffsets(ctx, inputs, link.Earliest, true)
	if err != nil {
		return nil, false, err
	}
	committed, err := control.Admin().FetchOffsets(ctx, a.cfg.ApplicationID)
	if err != nil {
		// A broker that is away: the workers wait for it too, and end the application when it is away for too long.
		a.cfg.Logger.Debug("committed offsets: asking again", "application", a.cfg.ApplicationID, "err", err)
		return ends, false, ctx.Err()
	}
	for tp, end := range ends {
		c, ok := committed.Lookup(tp.Topic, tp.Partition)
		switch {
		case ok && c.Err != nil:
			return nil, false, fmt.Errorf("runtime: committed offset of %s: %w", tp, c.Err)
		case end == starts[tp]: // there is nothing to be processed
		case !ok || c.At < end:
			return ends, false, nil
		}
	}
	return ends, true, nil
}

// ended is the application's own error, where it has one, instead of what its end looks like to a waiter.
func (a *app) ended(err error) error {
	if err == nil {
		return nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.err != nil {
		return a.err
	}
	return err
}
