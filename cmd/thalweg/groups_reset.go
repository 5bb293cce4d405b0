package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
)

// resetting is what groups reset is asked to do.
type resetting struct {
	output
	to     string
	shift  int64
	topics []string
	dryRun bool

	shifts   bool // the flag was given
	position position
}

func resetGroupCommand() *cobra.Command {
	var r resetting
	cmd := &cobra.Command{
		Use:   "reset GROUP",
		Short: "Move the committed offsets of a group that has no members",
		Long: `Move the committed offsets of a group that has no members, in all partitions in which it has committed, or in
those that -topic names. An offset that a partition does not have becomes its first one or its end.
The state of a stream-processing application does not follow: see thalweg app reset.`,
		Example: `  thalweg groups reset readers -to earliest -dry-run
  thalweg groups reset readers -to 90m -topic orders
  thalweg groups reset readers -shift -100 -topic orders:0,1`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: completeOne(groupNames),
		PreRunE: func(cmd *cobra.Command, _ []string) error {
			r.shifts = cmd.Flags().Changed("shift")
			return r.check(cmd.Flags().Changed("to"))
		},
	}
	asking(cmd, func(ctx context.Context, admin *kadm.Client, out io.Writer, args []string) error {
		return r.run(ctx, admin, out, args[0])
	})
	r.flags(cmd)
	f := cmd.Flags()
	f.StringVar(&r.to, "to", "", "where to: "+positionHelp)
	f.Int64Var(&r.shift, "shift", 0, "so many records forward, or back if it is negative")
	f.StringArrayVar(&r.topics, "topic", nil, "TOPIC or TOPIC:0,1, repeatable: only these (default: what is committed)")
	f.BoolVar(&r.dryRun, "dry-run", false, "show what would change, and change nothing")
	complete(cmd, "topic", topicNames)
	return cmd
}

func (r *resetting) check(to bool) (err error) {
	if to == r.shifts {
		return errors.New("reset: say where to, by -to or by -shift")
	}
	if to {
		r.position, err = parsePosition("to", r.to, time.Now())
	}
	return err
}

// move is a committed offset that changes, as an object.
type move struct {
	Group     string `json:"group"`
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	From      *int64 `json:"from"` // null: nothing was committed
	To        int64  `json:"to"`
}

func (r *resetting) run(ctx context.Context, admin *kadm.Client, out io.Writer, group string) error {
	err := withoutMembers(ctx, admin, group)
	isNew := errors.Is(err, kerr.GroupIDNotFound) && len(r.topics) > 0
	if err != nil && !isNew {
		return err
	}
	committed, err := committedOffsets(ctx, admin, group)
	if err != nil {
		return err
	}
	places, err := r.places(ctx, admin, group, committed)
	if err != nil {
		return err
	}
	moves, err := r.moves(ctx, admin, group, committed, places)
	if err != nil {
		return err
	}
	if !r.dryRun {
		if err := commit(ctx, admin, group, moves); err != nil {
			return err
		}
	}
	return r.print(out, moves)
}

// withoutMembers fails while a group has members, and names them.
func withoutMembers(ctx context.Context, admin *kadm.Client, group string) error {
	d, err := describeGroup(ctx, admin, group)
	if err != nil || len(d.Members) == 0 {
		return err
	}
	names := make([]string, len(d.Members))
	for i, m := range d.Members {
		names[i] = m.String()
	}
	return fmt.Errorf("group %s has members, and nothing was changed: stop %s; one that was killed stays until its "+
		"session timeout", group, strings.Join(names, ", "))
}

func committedOffsets(ctx context.Context, admin *kadm.Client, group string) (kadm.Offsets, error) {
	rs, err := admin.FetchOffsets(ctx, group)
	switch {
	case errors.Is(err, kerr.GroupIDNotFound):
		return kadm.Offsets{}, nil
	case err != nil:
		return nil, groupError(group, err)
	case rs.Error() != nil:
		return nil, groupError(group, rs.Error())
	}
	return rs.Offsets(), nil
}

// places are the partitions that are reset.
func (r *resetting) places(
	ctx context.Context, admin *kadm.Client, group string, committed kadm.Offsets,
) (kadm.TopicsSet, error) {
	places := kadm.TopicsSet{}
	if len(r.topics) == 0 {
		committed.Each(func(o kadm.Offset) { places.Add(o.Topic, o.Partition) })
		if len(places) == 0 {
			return nil, fmt.Errorf("group %s has no committed offsets: name topics with -topic", group)
		}
		return places, nil
	}
	for _, flag := range r.topics {
		topic, list, some := strings.Cut(flag, ":")
		details, err := admin.ListTopics(ctx, topic)
		if err != nil {
			return nil, err
		}
		if err := details[topic].Err; err != nil {
			return nil, topicError(topic, err, "")
		}
		if !some {
			places.Add(topic, details[topic].Partitions.Numbers()...)
			continue
		}
		for text := range strings.SplitSeq(list, ",") {
			p, err := strconv.ParseInt(text, 10, 32)
			if err != nil {
				return nil, fmt.Errorf("-topic %q: want TOPIC or TOPIC:0,1", flag)
			}
			if _, ok := details[topic].Partitions[int32(p)]; !ok {
				return nil, fmt.Errorf("-topic %q: topic %s has no partition %d", flag, topic, p)
			}
			places.Add(topic, int32(p))
		}
	}
	return places, nil
}

func (r *resetting) moves(
	ctx context.Context, admin *kadm.Client, group string, committed kadm.Offsets, places kadm.TopicsSet,
) (moves []move, err error) {
	found, err := find(ctx, admin, r.position, places.Topics())
	if err != nil {
		return nil, err
	}
	for _, t := range places.Sorted() {
		for _, p := range t.Partitions {
			m := move{Group: group, Topic: t.Topic, Partition: p}
			if was, ok := committed.Lookup(t.Topic, p); ok {
				m.From = &was.At
			}
			at := found
			if r.shifts {
				if m.From == nil {
					return nil, fmt.Errorf("group %s has no offset to shift in topic %s partition %d", group, t.Topic, p)
				}
				at.position = position{atOffset, *m.From + r.shift}
			}
			if m.To, err = at.at(t.Topic, p); err != nil {
				return nil, err
			}
			moves = append(moves, m)
		}
	}
	return moves, nil
}

func commit(ctx context.Context, admin *kadm.Client, group string, moves []move) error {
	offsets := kadm.Offsets{}
	for _, m := range moves {
		offsets.AddOffset(m.Topic, m.Partition, m.To, -1)
	}
	rs, err := admin.CommitOffsets(ctx, group, offsets)
	if err == nil {
		err = rs.Error()
	}
	return groupError(group, err)
}

func (r *resetting) print(out io.Writer, moves []move) error {
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	if !r.json() {
		fmt.Fprintln(w, "topic\tpartition\tfrom\tto")
	}
	for _, m := range moves {
		if r.json() {
			if err := writeJSON(w, m); err != nil {
				return err
			}
			continue
		}
		from := "-"
		if m.From != nil {
			from = fmt.Sprint(*m.From)
		}
		fmt.Fprintf(w, "%s\t%d\t%s\t%d\n", m.Topic, m.Partition, from, m.To)
	}
	if r.dryRun && !r.json() {
		fmt.Fprintln(w, "dry run: nothing was changed")
	}
	return w.Flush()
}
