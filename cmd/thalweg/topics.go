package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
)

func topicsCommand() *cobra.Command {
	cmd := groupCommand("topics", "List, create, describe and delete topics")
	cmd.AddCommand(
		adminCommand("list", "List the topics", cobra.NoArgs, listTopics),
		createTopicCommand(),
		adminCommand("describe TOPIC…", "Show partitions, offsets and configuration", cobra.MinimumNArgs(1), describeTopics),
		adminCommand("delete TOPIC…", "Delete topics and all that is in them", cobra.MinimumNArgs(1), deleteTopics),
	)
	return cmd
}

func adminCommand(use, short string, args cobra.PositionalArgs,
	run func(context.Context, *kadm.Client, io.Writer, []string) error,
) *cobra.Command {
	var c connection
	cmd := &cobra.Command{Use: use, Short: short, Args: args, RunE: func(cmd *cobra.Command, args []string) error {
		client, err := c.client(cmd.Context())
		if err != nil {
			return err
		}
		defer client.Close()
		return run(cmd.Context(), kadm.NewClient(client), cmd.OutOrStdout(), args)
	}}
	c.flags(cmd)
	return cmd
}

func listTopics(ctx context.Context, admin *kadm.Client, out io.Writer, _ []string) error {
	topics, err := admin.ListTopics(ctx)
	if err != nil {
		return err
	}
	for _, t := range topics.Sorted() {
		fmt.Fprintf(out, "%s\t%d partitions\n", t.Topic, len(t.Partitions))
	}
	return nil
}

func createTopicCommand() *cobra.Command {
	var partitions int32
	var replicas int16
	var configs []string
	cmd := adminCommand("create TOPIC…", "Create topics", cobra.MinimumNArgs(1),
		func(ctx context.Context, admin *kadm.Client, out io.Writer, topics []string) error {
			set := map[string]*string{}
			for _, c := range configs {
				key, value, ok := strings.Cut(c, "=")
				if !ok {
					return fmt.Errorf("-config %q: want KEY=VALUE", c)
				}
				set[key] = &value
			}
			made, err := admin.CreateTopics(ctx, partitions, replicas, set, topics...)
			if err != nil {
				return err
			}
			for _, topic := range topics {
				if t := made[topic]; t.Err != nil {
					return fmt.Errorf("topic %s: %w %s", topic, t.Err, t.ErrMessage)
				}
				fmt.Fprintln(out, "created", topic)
			}
			return nil
		})
	cmd.Flags().Int32VarP(&partitions, "partitions", "p", -1, "partitions (default: the broker's)")
	cmd.Flags().Int16Var(&replicas, "replicas", -1, "replication factor (default: the broker's)")
	cmd.Flags().StringArrayVar(&configs, "config", nil, "KEY=VALUE, may be repeated")
	return cmd
}

func describeTopics(ctx context.Context, admin *kadm.Client, out io.Writer, topics []string) error {
	details, err := admin.ListTopics(ctx, topics...)
	if err != nil {
		return err
	}
	if err := details.Error(); err != nil {
		return err
	}
	starts, err := admin.ListStartOffsets(ctx, topics...)
	if err != nil {
		return err
	}
	ends, err := admin.ListEndOffsets(ctx, topics...)
	if err != nil {
		return err
	}
	configs, err := admin.DescribeTopicConfigs(ctx, topics...)
	if err != nil {
		return err
	}
	for _, t := range details.Sorted() {
		fmt.Fprintf(out, "%s\tid %s\n", t.Topic, t.ID)
		w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
		fmt.Fprintln(w, "  partition\tleader\tfirst\tnext")
		for _, p := range t.Partitions.Sorted() {
			start, _ := starts.Lookup(t.Topic, p.Partition)
			end, _ := ends.Lookup(t.Topic, p.Partition)
			fmt.Fprintf(w, "  %d\t%d\t%d\t%d\n", p.Partition, p.Leader, start.Offset, end.Offset)
		}
		if err := w.Flush(); err != nil {
			return err
		}
		rc, err := configs.On(t.Topic, nil)
		if err != nil {
			return err
		}
		for _, c := range rc.Configs {
			if c.Value != nil && c.Source.String() == "DYNAMIC_TOPIC_CONFIG" {
				fmt.Fprintf(out, "  %s=%s\n", c.Key, *c.Value)
			}
		}
	}
	return nil
}

func deleteTopics(ctx context.Context, admin *kadm.Client, out io.Writer, topics []string) error {
	gone, err := admin.DeleteTopics(ctx, topics...)
	if err != nil {
		return err
	}
	for _, topic := range topics {
		if t := gone[topic]; t.Err != nil {
			return fmt.Errorf("topic %s: %w %s", topic, t.Err, t.ErrMessage)
		}
		fmt.Fprintln(out, "deleted", topic)
	}
	return nil
}
