package runtime

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

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
			return nil
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

// progress is the end of each input, and whether the group has committed up to all of them.
func (a *app) progress(ctx context.Context) (ends map[link.TopicPartition]int64, all bool, err error) {
	a.mu.Lock()
	control, lay := a.control, a.layout
	a.mu.Unlock()
	if control == nil {
		return nil, false, errors.New("runtime: the application has ended")
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
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.err != nil {
		return a.err
	}
	return err
}
