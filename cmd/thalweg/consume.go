package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// consume is what the consume command is asked to do.
type consume struct {
	connection
	separator   string
	from, group string
	limit       int
	uncommitted bool
	longs       bool
}

func consumeCommand() *cobra.Command {
	var c consume
	cmd := &cobra.Command{
		Use:   "consume TOPIC…",
		Short: "Print the values of topics, a line each",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.run(cmd.Context(), cmd.OutOrStdout(), args)
		},
	}
	c.flags(cmd)
	f := cmd.Flags()
	f.StringVarP(&c.separator, "key", "k", "", "print the key too, and this between key and value")
	f.StringVar(&c.from, "from", "earliest", "earliest, latest or an offset, where the group has no offset")
	f.IntVarP(&c.limit, "number", "n", 0, "stop after so many records (0: go on until interrupted)")
	f.StringVar(&c.group, "group", "", "consume as a member of this group, and commit")
	f.BoolVar(&c.uncommitted, "uncommitted", false, "also records of transactions that are open or were aborted")
	f.BoolVar(&c.longs, "longs", false, "values are 64-bit integers")
	return cmd
}

func (c *consume) run(ctx context.Context, w io.Writer, topics []string) error {
	start, err := parseOffset(c.from)
	if err != nil {
		return err
	}
	opts := []kgo.Opt{kgo.ConsumeTopics(topics...), kgo.ConsumeResetOffset(start), kgo.KeepRetryableFetchErrors()}
	if c.group != "" {
		opts = append(opts, kgo.ConsumerGroup(c.group), kgo.DisableAutoCommit())
	}
	if !c.uncommitted {
		opts = append(opts, kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	}
	client, err := c.client(ctx, opts...)
	if err != nil {
		return err
	}
	defer client.Close()
	there, err := kadm.NewClient(client).ListTopics(ctx, topics...)
	if err != nil {
		return err
	}
	for _, topic := range topics { // the client would wait for a topic that is missing
		switch err := there[topic].Err; {
		case errors.Is(err, kerr.UnknownTopicOrPartition):
			return fmt.Errorf("topic %s: %w; thalweg topics create makes it", topic, err)
		case err != nil && !kerr.IsRetriable(err):
			return fmt.Errorf("topic %s: %w", topic, err)
		}
	}
	out := bufio.NewWriter(w)
	for seen := 0; c.limit == 0 || seen < c.limit; {
		fetched := client.PollRecords(ctx, c.limit-seen)
		if err := fetched.Err0(); errors.Is(err, context.Canceled) {
			return out.Flush()
		}
		for _, e := range fetched.Errors() {
			if kerr.IsRetriable(e.Err) && !errors.Is(e.Err, kerr.CorruptMessage) {
				continue // the client tries again
			}
			// A damaged log stays so, though the protocol calls the error retriable.
			return errors.Join(out.Flush(), fmt.Errorf("topic %s partition %d: %w", e.Topic, e.Partition, e.Err))
		}
		var printed []*kgo.Record
		for r := range fetched.RecordsAll() {
			if err := c.print(out, r); err != nil {
				return err
			}
			printed = append(printed, r)
		}
		seen += len(printed)
		if err := out.Flush(); err != nil {
			return err
		}
		if c.group != "" { // after the records are out: none is lost when this stops here
			if err := client.CommitRecords(ctx, printed...); err != nil {
				return fmt.Errorf("commit: %w", err)
			}
		}
	}
	return nil
}

func (c *consume) print(out *bufio.Writer, r *kgo.Record) error {
	if c.separator != "" {
		out.Write(r.Key)
		out.WriteString(c.separator)
	}
	if c.longs {
		if len(r.Value) != 8 {
			return fmt.Errorf("topic %s partition %d offset %d: the value has %d bytes, a 64-bit integer has 8",
				r.Topic, r.Partition, r.Offset, len(r.Value))
		}
		var n uint64
		for _, b := range r.Value {
			n = n<<8 | uint64(b)
		}
		out.WriteString(strconv.FormatInt(int64(n), 10))
	} else {
		out.Write(r.Value)
	}
	return out.WriteByte('\n')
}

func parseOffset(s string) (kgo.Offset, error) {
	switch s {
	case "earliest":
		return kgo.NewOffset().AtStart(), nil
	case "latest":
		return kgo.NewOffset().AtEnd(), nil
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 {
		return kgo.Offset{}, fmt.Errorf("-from %q: want earliest, latest or an offset", s)
	}
	return kgo.NewOffset().At(n), nil
}
