package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// commitPause is how long a commit waits before it is tried again.
const commitPause = 250 * time.Millisecond

// fetchWait is how long the broker waits for records before it answers that there are none.
const fetchWait = time.Second

// consume is what the consume command is asked to do.
type consume struct {
	connection
	output
	separator, null, from, group, layout string
	partitions                           []int32
	limit                                int
	exit, uncommitted, longs             bool

	start   position
	format  recordFormat
	polling atomic.Bool
	ends    ends // with exit
}

func consumeCommand() *cobra.Command {
	var c consume
	cmd := &cobra.Command{
		Use:   "consume TOPIC…",
		Short: "Print the values of topics, a line each",
		Long: `Print the values of topics, a line each, until interrupted.
With -output json each line is an object: topic, partition, offset, timestamp, key, value, headers. A key or value that
is no valid UTF-8 is in key_base64 or value_base64 instead. thalweg produce -input json reads such lines.
A format has ` + formatHelp + ".",
		Example: `  thalweg consume orders -key : -number 1
  thalweg consume orders -from 90m -exit -output json
  thalweg consume orders -partition 0 -from -10 -format '%p %o %k %s\n'`,
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: completeAny(topicNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := c.check(cmd); err != nil {
				return err
			}
			wait := &patience{pending: c.polling.Load, stream: true}
			c.polling.Store(true)
			return c.talk(cmd, wait, func(ctx context.Context, cl *client) error {
				return c.run(ctx, cl, cmd.OutOrStdout(), args)
			}, c.options()...)
		},
	}
	c.connection.flags(cmd)
	c.output.flags(cmd)
	f := cmd.Flags()
	f.StringVarP(&c.separator, "key", "k", "", "print the key too, and this between key and value")
	f.StringVarP(&c.layout, "format", "f", "", "print each record so, without a line end of its own: see above")
	f.StringVar(&c.null, "null", "NULL", "print this for a key or value that is null")
	f.StringVar(&c.from, "from", "earliest", "where to begin, where the group has no offset: "+positionHelp)
	f.Int32SliceVarP(&c.partitions, "partition", "p", nil, "only these partitions")
	f.IntVarP(&c.limit, "number", "n", 0, "stop after so many records (0: go on until interrupted)")
	f.BoolVarP(&c.exit, "exit", "e", false, "stop at the end that the topics have now")
	f.StringVar(&c.group, "group", "", "consume as a member of this group, and commit")
	f.BoolVar(&c.uncommitted, "uncommitted", false, "also records of transactions that are open or were aborted")
	f.BoolVar(&c.longs, "longs", false, "values are 64-bit integers")
	complete(cmd, "group", groupNames)
	return cmd
}

// check reads the flags, and refuses what does not go together.
func (c *consume) check(cmd *cobra.Command) (err error) {
	if c.start, err = parsePosition("from", c.from, time.Now()); err != nil {
		return err
	}
	switch {
	case c.limit < 0:
		return fmt.Errorf("-number %d: want 0 or more", c.limit)
	case c.group != "" && (len(c.partitions) > 0 || c.exit):
		return errors.New("-group: the group says which partitions a member reads: leave out -partition and -exit")
	case c.layout != "" && (c.separator != "" || c.json()):
		return errors.New("-format says all: leave out -key and -output")
	case c.separator != "" && c.json():
		return errors.New("-key is for lines of text: an object has the key anyway")
	case cmd.Flags().Changed("null") && c.json():
		return errors.New("-null is for text: an object has null")
	}
	if c.layout != "" {
		c.format, err = parseFormat(c.layout, c.null)
	}
	return err
}

func (c *consume) options() []kgo.Opt {
	opts := []kgo.Opt{
		kgo.ConsumeResetOffset(c.start.offset()), kgo.KeepRetryableFetchErrors(), kgo.FetchMaxWait(fetchWait),
	}
	if c.group != "" {
		opts = append(opts, kgo.ConsumerGroup(c.group), kgo.DisableAutoCommit())
	}
	if !c.uncommitted {
		opts = append(opts, kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	}
	if c.exit {
		opts = append(opts, kgo.KeepControlRecords(), kgo.WithHooks(&c.ends))
	}
	return opts
}

func (c *consume) run(ctx context.Context, cl *client, w io.Writer, topics []string) error {
	if err := c.subscribe(ctx, cl, topics); err != nil {
		return err
	}
	out := bufio.NewWriter(w)
	for seen := 0; c.limit == 0 || seen < c.limit; {
		if c.exit && c.ends.reached() {
			break
		}
		fetched := c.poll(ctx, cl, c.limit-seen)
		if errors.Is(fetched.Err0(), context.Canceled) {
			var silent *silentError
			if cause := context.Cause(ctx); errors.As(cause, &silent) {
				return errors.Join(out.Flush(), cause)
			}
			break // interrupted
		}
		if err := c.trouble(ctx, cl, fetched, topics); err != nil {
			return errors.Join(out.Flush(), err)
		}
		if c.exit && fetched.Empty() {
			c.followLeaders(ctx, cl)
		}
		var printed []*kgo.Record
		for r := range fetched.RecordsAll() {
			if c.exit && !c.ends.take(r) {
				continue
			}
			if err := c.print(out, r); err != nil {
				return errors.Join(out.Flush(), err)
			}
			printed = append(printed, r)
		}
		seen += len(printed)
		if err := out.Flush(); err != nil {
			return err
		}
		if c.group != "" && len(printed) > 0 { // after the records are out: none is lost when this stops here
			if err := c.commit(ctx, cl, printed); err != nil {
				return fmt.Errorf("commit: %w", err)
			}
		}
	}
	return out.Flush()
}

// commit tries until the broker answers. If the group has lost this member, its records come again to the next owner of
// the partition.
func (c *consume) commit(ctx context.Context, cl *client, records []*kgo.Record) error {
	c.polling.Store(true)
	defer c.polling.Store(false)
	for {
		err := cl.CommitRecords(ctx, records...)
		switch {
		case err == nil, lostMembership(err):
			return nil
		case refused(err):
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(commitPause):
		}
	}
}

// poll waits for records, but not for long, so that what else is watched gets its turn.
func (c *consume) poll(ctx context.Context, cl *client, records int) kgo.Fetches {
	brief, cancel := context.WithTimeout(ctx, fetchWait)
	defer cancel()
	c.polling.Store(true)
	defer c.polling.Store(false)
	fetched := cl.PollRecords(brief, records)
	if ctx.Err() == nil && errors.Is(fetched.Err0(), context.DeadlineExceeded) {
		return nil
	}
	return fetched
}

// followLeaders asks again who leads what is left. Without an answer that is as before.
func (c *consume) followLeaders(ctx context.Context, cl *client) {
	brief, cancel := context.WithTimeout(ctx, fetchWait)
	defer cancel()
	c.polling.Store(true)
	defer c.polling.Store(false)
	_ = c.ends.findLeaders(brief, cl)
}

// trouble returns the error of a fetch that trying again does not heal.
func (c *consume) trouble(ctx context.Context, cl *client, fetched kgo.Fetches, topics []string) error {
	for _, e := range fetched.Errors() {
		var session *kgo.ErrGroupSession
		switch {
		case errors.As(e.Err, &session):
			if refused(session.Err) && !lostMembership(session.Err) { // else the client joins again
				return groupError(c.group, session.Err)
			}
		case errors.Is(e.Err, kerr.UnknownTopicOrPartition), errors.Is(e.Err, kerr.UnknownTopicID):
			if err := existing(ctx, cl, topics); err != nil {
				return err
			}
		case kerr.IsRetriable(e.Err) && !errors.Is(e.Err, kerr.CorruptMessage): // the client tries again
		default: // a damaged log stays so, though the protocol calls the error retriable
			return fmt.Errorf("topic %s partition %d: %w", e.Topic, e.Partition, e.Err)
		}
	}
	return nil
}

// refused tells that a broker has answered with an error which stays.
func refused(err error) bool {
	var answer *kerr.Error
	return errors.As(err, &answer) && !answer.Retriable
}

func lostMembership(err error) bool {
	return errors.Is(err, kerr.RebalanceInProgress) || errors.Is(err, kerr.IllegalGeneration) ||
		errors.Is(err, kerr.UnknownMemberID)
}

// existing fails where a topic is missing: the client would wait for it.
func existing(ctx context.Context, cl *client, topics []string) error {
	req := kmsg.NewPtrMetadataRequest()
	for _, topic := range topics {
		t := kmsg.NewMetadataRequestTopic()
		t.Topic = &topic
		req.Topics = append(req.Topics, t)
	}
	resp, err := req.RequestWith(ctx, cl.Client) // not what the client remembers
	if err != nil {
		return err
	}
	for _, t := range resp.Topics {
		switch err := kerr.ErrorForCode(t.ErrorCode); {
		case errors.Is(err, kerr.UnknownTopicOrPartition):
			return fmt.Errorf("topic %s: %w; thalweg topics create makes it", *t.Topic, phrase{err})
		case err != nil && !kerr.IsRetriable(err):
			return fmt.Errorf("topic %s: %w", *t.Topic, err)
		}
	}
	return nil
}

// subscribe says which partitions are read, and from where.
func (c *consume) subscribe(ctx context.Context, cl *client, topics []string) error {
	if err := existing(ctx, cl, topics); err != nil {
		return err
	}
	if len(c.partitions) == 0 && !c.exit {
		cl.AddConsumeTopics(topics...)
		return nil
	}
	starts, err := find(ctx, cl.admin, c.start, topics)
	if err != nil {
		return err
	}
	reading := map[string]map[int32]kgo.Offset{}
	for _, topic := range topics {
		partitions := c.partitions
		if len(partitions) == 0 {
			for p := range starts.start[topic] {
				partitions = append(partitions, p)
			}
		}
		reading[topic] = map[int32]kgo.Offset{}
		for _, p := range partitions {
			if _, ok := starts.start.Lookup(topic, p); !ok {
				return fmt.Errorf("topic %s has no partition %d: it has %d, from 0 on", topic, p, len(starts.start[topic]))
			}
			at, err := starts.at(topic, p)
			if err != nil {
				return err
			}
			reading[topic][p] = kgo.NewOffset().At(at)
		}
	}
	if c.exit {
		if err := c.ends.find(ctx, cl, reading, c.uncommitted); err != nil {
			return err
		}
	}
	cl.AddConsumePartitions(reading)
	return nil
}

func (c *consume) print(out *bufio.Writer, r *kgo.Record) (err error) {
	if c.longs {
		if r.Value, err = longValue(r); err != nil {
			return err
		}
	}
	switch {
	case c.format != nil:
		b := out.AvailableBuffer()
		for _, part := range c.format {
			b = part(b, r)
		}
		_, err = out.Write(b)
		return err
	case c.json():
		j := describeRecord(r)
		if c.longs && r.Value != nil {
			j.Value = json.RawMessage(r.Value)
		}
		return writeJSON(out, j)
	}
	b := out.AvailableBuffer()
	if c.separator != "" {
		b = append(appendOr(b, r.Key, c.null), c.separator...)
	}
	_, err = out.Write(append(appendOr(b, r.Value, c.null), '\n'))
	return err
}
