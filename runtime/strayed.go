package runtime

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"thalweg/internal/kclient"
	"thalweg/internal/origin"
	"thalweg/topology"
)

// strays are the inputs whose partitions do not hold the next offset: it was deleted, or the partition ends before it.
type strays struct {
	app     *app
	client  *kclient.Client
	log     *slog.Logger
	jobs    *jobs
	inputs  *inputs
	commits *committer
}

// returnAll lets inputs go on whose partition does not hold the next offset: once all that was fetched of them
// before is processed and committed.
func (s *strays) returnAll(ctx context.Context, now time.Time) error {
	if !s.inputs.strayed {
		return nil
	}
	s.inputs.strayed = false
	for _, j := range s.jobs.running {
		for _, in := range j.inputs {
			if in.outOfRange == nil {
				continue
			}
			if _, records := in.buffered(); records > 0 {
				s.inputs.strayed = true
				continue
			}
			if err := s.returnInput(ctx, in, now); err != nil {
				s.inputs.strayed = true
				return err
			}
		}
	}
	return nil
}

func (s *strays) returnInput(ctx context.Context, in *input, now time.Time) error {
	if err := s.commits.commitRest(ctx, now); err != nil {
		return err
	}
	to, err := s.whereToGoOn(ctx, in, now)
	if err != nil {
		return err
	}
	if err := in.job.task.Jump(in.Topic, in.Partition, to); err != nil {
		return err
	}
	s.inputs.fetchFrom(in)
	s.commits.noteMoved(in.job, now.Add(-skippedAfter)) // it is committed before what follows is processed
	return nil
}

// whereToGoOn is the first offset that is left where records were deleted before they were processed. Where the
// partition ends before the next offset, there is nothing that the application has not processed, or everything: that
// is for the source's reset policy to say.
func (s *strays) whereToGoOn(ctx context.Context, in *input, now time.Time) (int64, error) {
	out, r := in.outOfRange, s.app.layout().resets[in.Topic]
	beyond := out.Offset >= out.LogStart
	if r.Policy == topology.ResetNone {
		what := "the records in between were deleted before they were processed"
		if beyond {
			what = "the partition ends before that offset: it was cut or recreated, or the offset was set by hand"
		}
		return 0, ofKind(ErrNoOffset, fmt.Errorf("node %s (%s): %w, and the source's reset policy is none: %s; set the "+
			"group's offset by hand", r.node, r.site, out, what))
	}
	if !beyond {
		s.log.Error("records were deleted before they were processed: going on behind them; is the topic's retention long "+
			"enough?", "topic", in.Topic, "partition", in.Partition, "offset", out.Offset, "continue", out.LogStart)
		return out.LogStart, nil
	}
	ctx, cancel := s.app.untilStop(ctx)
	defer cancel()
	id, err := s.client.Topics().Identify(ctx, in.Topic)
	if err != nil {
		return 0, err
	}
	if now := id.Topics[in.Topic]; !origin.Same(in.topicID, now) {
		return 0, kclient.Recreated(in.TopicPartition, in.topicID, now)
	}
	at, err := r.at(in.TopicPartition, now)
	if err != nil {
		return 0, err
	}
	found, err := s.client.ListOffsets(ctx, []kclient.TopicPartition{in.TopicPartition}, at, true)
	if err != nil {
		return 0, err
	}
	to := found[in.TopicPartition]
	s.log.Error("a partition ends before the next offset: going on as the source's reset policy says. It was cut, or the "+
		"group's offset was set by hand", "topic", in.Topic, "partition", in.Partition, "offset", out.Offset, "end",
		out.EndAfter, "continue", to)
	return to, nil
}
