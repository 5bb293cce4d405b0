package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
)

func topicsCommand() *cobra.Command {
	cmd := groupCommand("topics", "List, create, describe, alter and delete topics")
	cmd.AddCommand(listTopicsCommand(), createTopicsCommand(), describeTopicsCommand(), alterTopicsCommand(),
		deleteTopicsCommand())
	return cmd
}

// asking makes a command that asks the broker once.
func asking(cmd *cobra.Command, run func(context.Context, *kadm.Client, io.Writer, []string) error) *cobra.Command {
	var c connection
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return c.talk(cmd, &patience{}, func(ctx context.Context, cl *client) error {
			return run(ctx, cl.admin, cmd.OutOrStdout(), args)
		})
	}
	c.flags(cmd)
	return cmd
}

// topicError says what is wrong with a topic; nil for no error.
func topicError(topic string, err error, message string) error {
	switch {
	case err == nil:
		return nil
	case message == "" || strings.Contains(err.Error(), message):
		return fmt.Errorf("topic %s: %w", topic, err)
	}
	return fmt.Errorf("topic %s: %w (%s)", topic, phrase{err}, message)
}

func listTopicsCommand() *cobra.Command {
	var o output
	cmd := asking(&cobra.Command{
		Use: "list", Short: "List the topics", Args: cobra.NoArgs, ValidArgsFunction: cobra.NoFileCompletions,
		Example: "  thalweg topics list -brokers kafka:9092",
	}, func(ctx context.Context, admin *kadm.Client, out io.Writer, _ []string) error {
		topics, err := admin.ListTopics(ctx)
		if err != nil {
			return err
		}
		for _, t := range topics.Sorted() {
			if o.json() {
				err = writeJSON(out, struct {
					Topic      string `json:"topic"`
					ID         string `json:"id"`
					Partitions int    `json:"partitions"`
				}{t.Topic, t.ID.String(), len(t.Partitions)})
			} else {
				_, err = fmt.Fprintf(out, "%s\t%d partitions\n", t.Topic, len(t.Partitions))
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	o.flags(cmd)
	return cmd
}

// parseConfigs reads KEY=VALUE flags.
func parseConfigs(flags []string) (map[string]*string, error) {
	set := map[string]*string{}
	for _, c := range flags {
		key, value, ok := strings.Cut(c, "=")
		if !ok || key == "" {
			return nil, fmt.Errorf("-config %q: want KEY=VALUE", c)
		}
		set[key] = &value
	}
	return set, nil
}

func createTopicsCommand() *cobra.Command {
	var partitions int32
	var replicas int16
	var configs []string
	cmd := asking(&cobra.Command{
		Use: "create TOPIC…", Short: "Create topics", Args: cobra.MinimumNArgs(1),
		ValidArgsFunction: cobra.NoFileCompletions,
		Example:           "  thalweg topics create orders -partitions 4 -config retention.ms=86400000",
	}, func(ctx context.Context, admin *kadm.Client, out io.Writer, topics []string) error {
		set, err := parseConfigs(configs)
		if err != nil {
			return err
		}
		made, err := admin.CreateTopics(ctx, partitions, replicas, set, topics...)
		if err != nil {
			return err
		}
		return each(topics, func(topic string) error {
			t, ok := made[topic]
			switch {
			case !ok:
				return topicError(topic, errNoWord, "")
			case t.Err != nil:
				return topicError(topic, t.Err, t.ErrMessage)
			}
			_, err := fmt.Fprintln(out, "created", topic)
			return err
		})
	})
	cmd.Flags().Int32VarP(&partitions, "partitions", "p", -1, "partitions (default: the broker's)")
	cmd.Flags().Int16Var(&replicas, "replicas", -1, "replication factor (default: the broker's)")
	cmd.Flags().StringArrayVar(&configs, "config", nil, "KEY=VALUE, may be repeated")
	return cmd
}

func deleteTopicsCommand() *cobra.Command {
	return asking(&cobra.Command{
		Use: "delete TOPIC…", Short: "Delete topics and all that is in them", Args: cobra.MinimumNArgs(1),
		ValidArgsFunction: completeAny(topicNames),
		Example:           "  thalweg topics delete orders payments",
	}, func(ctx context.Context, admin *kadm.Client, out io.Writer, topics []string) error {
		gone, err := admin.DeleteTopics(ctx, topics...)
		if err != nil {
			return err
		}
		return each(topics, func(topic string) error {
			t, ok := gone[topic]
			switch {
			case !ok:
				return topicError(topic, errNoWord, "")
			case t.Err != nil:
				return topicError(topic, t.Err, t.ErrMessage)
			}
			_, err := fmt.Fprintln(out, "deleted", topic)
			return err
		})
	})
}

func alterTopicsCommand() *cobra.Command {
	var partitions int
	var configs, unset []string
	cmd := asking(&cobra.Command{
		Use: "alter TOPIC…", Short: "Change the configuration of topics, or add partitions", Args: cobra.MinimumNArgs(1),
		ValidArgsFunction: completeAny(topicNames),
		Example:           "  thalweg topics alter orders -config retention.ms=86400000 -unset segment.ms",
	}, func(ctx context.Context, admin *kadm.Client, out io.Writer, topics []string) error {
		changes, err := configChanges(configs, unset)
		switch {
		case err != nil:
			return err
		case len(changes) == 0 && partitions == 0:
			return errors.New("alter: say what: -config, -unset or -partitions")
		}
		failed := map[string]error{}
		note := func(answers map[string]error) {
			for _, topic := range topics {
				err, ok := answers[topic]
				if !ok {
					err = topicError(topic, errNoWord, "")
				}
				failed[topic] = errors.Join(failed[topic], err)
			}
		}
		if len(changes) > 0 {
			rs, err := admin.AlterTopicConfigs(ctx, changes, topics...)
			if err != nil {
				return err
			}
			answers := map[string]error{}
			for _, r := range rs {
				answers[r.Name] = topicError(r.Name, r.Err, r.ErrMessage)
			}
			note(answers)
		}
		if partitions != 0 {
			rs, err := admin.UpdatePartitions(ctx, partitions, topics...)
			if err != nil {
				return err
			}
			answers := map[string]error{}
			for _, r := range rs {
				answers[r.Topic] = topicError(r.Topic, r.Err, r.ErrMessage)
			}
			note(answers)
		}
		return each(topics, func(topic string) error {
			if err := failed[topic]; err != nil {
				return err
			}
			_, err := fmt.Fprintln(out, "altered", topic)
			return err
		})
	})
	cmd.Flags().IntVarP(&partitions, "partitions", "p", 0, "how many partitions there are to be; only more than before")
	cmd.Flags().StringArrayVar(&configs, "config", nil, "KEY=VALUE, may be repeated")
	cmd.Flags().StringArrayVar(&unset, "unset", nil, "KEY, may be repeated: go back to the broker's default")
	return cmd
}

func configChanges(configs, unset []string) (changes []kadm.AlterConfig, err error) {
	set, err := parseConfigs(configs)
	if err != nil {
		return nil, err
	}
	for key, value := range set {
		changes = append(changes, kadm.AlterConfig{Op: kadm.SetConfig, Name: key, Value: value})
	}
	for _, key := range unset {
		changes = append(changes, kadm.AlterConfig{Op: kadm.DeleteConfig, Name: key})
	}
	return changes, nil
}

// describedTopic is a topic as an object.
type describedTopic struct {
	Topic      string               `json:"topic"`
	ID         string               `json:"id"`
	Partitions []describedPartition `json:"partitions"`
	Configs    map[string]string    `json:"configs"` // that are not the broker's defaults

	settings []string // the same in order
}

type describedPartition struct {
	Partition int32   `json:"partition"`
	Leader    int32   `json:"leader"`
	Replicas  []int32 `json:"replicas"`
	ISR       []int32 `json:"isr"`
	First     int64   `json:"first"` // offset
	Next      int64   `json:"next"`  // offset
}

func describeTopicsCommand() *cobra.Command {
	var o output
	cmd := asking(&cobra.Command{
		Use: "describe TOPIC…", Short: "Show partitions, offsets and configuration", Args: cobra.MinimumNArgs(1),
		ValidArgsFunction: completeAny(topicNames),
		Example:           "  thalweg topics describe orders -output json",
	}, func(ctx context.Context, admin *kadm.Client, out io.Writer, topics []string) error {
		details, err := admin.ListTopics(ctx, topics...)
		if err != nil {
			return err
		}
		var there []string
		for _, t := range details.Sorted() {
			if t.Err == nil {
				there = append(there, t.Topic)
			}
		}
		var offsets bounds
		var configs kadm.ResourceConfigs
		if len(there) > 0 { // none would mean all
			if offsets, err = boundsOf(ctx, admin, there); err != nil {
				return err
			}
			if configs, err = admin.DescribeTopicConfigs(ctx, there...); err != nil {
				return err
			}
		}
		return each(topics, func(topic string) error {
			found, ok := details[topic]
			switch err := found.Err; {
			case !ok:
				return topicError(topic, errNoWord, "")
			case errors.Is(err, kerr.UnknownTopicOrPartition):
				return fmt.Errorf("topic %s: %w; thalweg topics list shows which there are", topic, phrase{err})
			case err != nil:
				return topicError(topic, err, "")
			}
			t, err := describeTopic(found, offsets, configs)
			switch {
			case err != nil:
				return err
			case o.json():
				return writeJSON(out, t)
			}
			return t.print(out)
		})
	})
	o.flags(cmd)
	return cmd
}

func describeTopic(t kadm.TopicDetail, offsets bounds, configs kadm.ResourceConfigs) (describedTopic, error) {
	d := describedTopic{
		Topic: t.Topic, ID: t.ID.String(), Partitions: []describedPartition{}, Configs: map[string]string{},
	}
	for _, p := range t.Partitions.Sorted() {
		first, next, err := offsets.of(t.Topic, p.Partition)
		if err != nil {
			return d, err
		}
		d.Partitions = append(d.Partitions, describedPartition{p.Partition, p.Leader, p.Replicas, p.ISR, first, next})
	}
	rc, err := configs.On(t.Topic, nil)
	if err != nil {
		return d, topicError(t.Topic, err, "")
	}
	for _, c := range rc.Configs {
		if c.Value != nil && c.Source.String() == "DYNAMIC_TOPIC_CONFIG" {
			d.Configs[c.Key] = *c.Value
			d.settings = append(d.settings, c.Key+"="+*c.Value)
		}
	}
	return d, nil
}

func (d describedTopic) print(out io.Writer) error {
	fmt.Fprintf(out, "%s\tid %s\n", d.Topic, d.ID)
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "  partition\tleader\tfirst\tnext")
	for _, p := range d.Partitions {
		fmt.Fprintf(w, "  %d\t%d\t%d\t%d\n", p.Partition, p.Leader, p.First, p.Next)
	}
	err := w.Flush()
	for _, s := range d.settings {
		_, err = fmt.Fprintf(out, "  %s\n", s)
	}
	return err
}
