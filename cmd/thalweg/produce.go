package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// lineBytesMax is the longest line that produce takes.
const lineBytesMax = 64 << 20

func produceCommand() *cobra.Command {
	var c connection
	var separator string
	cmd := &cobra.Command{
		Use:   "produce TOPIC",
		Short: "Write each line of standard input to a topic",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := c.client(cmd.Context(), kgo.DefaultProduceTopic(args[0]))
			if err != nil {
				return err
			}
			defer client.Close()
			return produceLines(cmd.Context(), client, cmd.InOrStdin(), []byte(separator))
		},
	}
	c.flags(cmd)
	cmd.Flags().StringVarP(&separator, "key", "k", "", "what separates key and value in a line (default: no keys)")
	return cmd
}

// produceLines stops at the first line that was not written, and names it.
func produceLines(ctx context.Context, client *kgo.Client, in io.Reader, separator []byte) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, lineBytesMax)
	for n := 1; lines.Scan() && ctx.Err() == nil; n++ {
		r := &kgo.Record{Value: bytes.Clone(lines.Bytes())}
		if len(separator) > 0 {
			key, value, ok := bytes.Cut(r.Value, separator)
			if !ok {
				return fmt.Errorf("line %d: no %q between key and value", n, separator)
			}
			r.Key, r.Value = key, value
		}
		if r.Value == nil {
			r.Value = []byte{} // an empty line is an empty value, not null
		}
		client.Produce(ctx, r, func(_ *kgo.Record, err error) {
			switch {
			case errors.Is(err, kerr.UnknownTopicOrPartition):
				cancel(fmt.Errorf("line %d: %w; thalweg topics create makes the topic", n, err))
			case err != nil:
				cancel(fmt.Errorf("line %d: %w", n, err))
			}
		})
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("standard input: %w", err)
	}
	err := client.Flush(ctx)
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}
