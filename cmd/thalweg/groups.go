package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
)

func groupsCommand() *cobra.Command {
	cmd := groupCommand("groups", "List, describe, reset and delete consumer groups, and show their lag")
	cmd.AddCommand(listGroupsCommand(), describeGroupsCommand(), lagCommand(), resetGroupCommand(), deleteGroupsCommand())
	return cmd
}

func listGroupsCommand() *cobra.Command {
	var o output
	cmd := asking(&cobra.Command{
		Use: "list", Short: "List the groups", Args: cobra.NoArgs, ValidArgsFunction: cobra.NoFileCompletions,
		Example: "  thalweg groups list -brokers kafka:9092",
	}, func(ctx context.Context, admin *kadm.Client, out io.Writer, _ []string) error {
		groups, err := admin.ListGroups(ctx)
		if err != nil {
			return err
		}
		w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
		for _, g := range groups.Sorted() {
			if o.json() {
				err = writeJSON(w, struct {
					Group        string `json:"group"`
					State        string `json:"state"`
					ProtocolType string `json:"protocol_type"`
				}{g.Group, g.State, g.ProtocolType})
			} else {
				_, err = fmt.Fprintf(w, "%s\t%s\t%s\n", g.Group, g.State, g.ProtocolType)
			}
			if err != nil {
				return err
			}
		}
		return w.Flush()
	})
	o.flags(cmd)
	return cmd
}

// describedGroup is a group as an object.
type describedGroup struct {
	Group        string            `json:"group"`
	State        string            `json:"state"`
	ProtocolType string            `json:"protocol_type"`
	Protocol     string            `json:"protocol"`
	Coordinator  int32             `json:"coordinator"`
	Members      []describedMember `json:"members"`
}

type describedMember struct {
	Member     string             `json:"member"`
	Instance   string             `json:"instance,omitempty"`
	Client     string             `json:"client"`
	Host       string             `json:"host"`
	Partitions map[string][]int32 `json:"partitions"` // by topic

	assigned []string // the same in order
}

func (m describedMember) String() string {
	name := fmt.Sprintf("%s at %s", m.Client, strings.TrimPrefix(m.Host, "/"))
	if m.Instance != "" {
		name += fmt.Sprintf(" (instance %s)", m.Instance)
	}
	return name
}

// groupError says what is wrong with a group; nil for no error.
func groupError(group string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, kerr.GroupIDNotFound):
		return fmt.Errorf("group %s: %w; thalweg groups list shows which there are", group, phrase{kerr.GroupIDNotFound})
	case errors.Is(err, kerr.NonEmptyGroup), errors.Is(err, kerr.UnknownMemberID):
		return fmt.Errorf("group %s: %w: it has members; thalweg groups describe names them: stop them", group, phrase{err})
	}
	return fmt.Errorf("group %s: %w", group, err)
}

// describeGroup looks at one group. A broker may say of a group that it does not know that it is dead.
func describeGroup(ctx context.Context, admin *kadm.Client, name string) (d describedGroup, err error) {
	groups, err := admin.DescribeGroups(ctx, name)
	if err != nil {
		return d, err
	}
	g, ok := groups[name]
	if !ok {
		return d, groupError(name, errNoWord)
	}
	if err = g.Err; err == nil && g.State == "Dead" {
		err = kerr.GroupIDNotFound
	}
	if err != nil {
		return d, groupError(name, err)
	}
	d = describedGroup{g.Group, g.State, g.ProtocolType, g.Protocol, g.Coordinator.NodeID, []describedMember{}}
	for _, m := range g.Members {
		out := describedMember{Member: m.MemberID, Client: m.ClientID, Host: m.ClientHost, Partitions: map[string][]int32{}}
		if m.InstanceID != nil {
			out.Instance = *m.InstanceID
		}
		if c, ok := m.Assigned.AsConsumer(); ok {
			for _, t := range c.Topics {
				out.Partitions[t.Topic] = append(out.Partitions[t.Topic], t.Partitions...)
				out.assigned = append(out.assigned, fmt.Sprintf("%s %s", t.Topic, joined(t.Partitions)))
			}
		}
		d.Members = append(d.Members, out)
	}
	return d, nil
}

func joined(numbers []int32) string {
	return strings.Trim(strings.ReplaceAll(fmt.Sprint(numbers), " ", ","), "[]")
}

func describeGroupsCommand() *cobra.Command {
	var o output
	cmd := asking(&cobra.Command{
		Use: "describe GROUP…", Short: "Show the state and the members of groups", Args: cobra.MinimumNArgs(1),
		ValidArgsFunction: completeAny(groupNames),
		Example:           "  thalweg groups describe wordcount",
	}, func(ctx context.Context, admin *kadm.Client, out io.Writer, groups []string) error {
		return each(groups, func(name string) error {
			d, err := describeGroup(ctx, admin, name)
			switch {
			case err != nil:
				return err
			case o.json():
				return writeJSON(out, d)
			}
			return d.print(out)
		})
	})
	o.flags(cmd)
	return cmd
}

func (d describedGroup) print(out io.Writer) error {
	fmt.Fprintf(out, "%s\t%s, %d members, coordinator %d", d.Group, d.State, len(d.Members), d.Coordinator)
	if d.Protocol != "" {
		fmt.Fprintf(out, ", protocol %s", d.Protocol)
	}
	fmt.Fprintln(out)
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	if len(d.Members) > 0 {
		fmt.Fprintln(w, "  member\tinstance\tclient\thost\tpartitions")
	}
	for _, m := range d.Members {
		fmt.Fprintf(w, "  %s\t%s\t%s\t%s\t%s\n", m.Member, dash(m.Instance), dash(m.Client), dash(m.Host),
			dash(strings.Join(m.assigned, "; ")))
	}
	return w.Flush()
}

// dash is what a table has where there is nothing.
func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// partitionLag is how far a group is in a partition, as an object.
type partitionLag struct {
	Group     string `json:"group"`
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Committed *int64 `json:"committed"` // null: nothing was committed
	End       int64  `json:"end"`
	Lag       int64  `json:"lag"`
	Member    string `json:"member,omitempty"`
	Client    string `json:"client,omitempty"`
	Host      string `json:"host,omitempty"`
}

func lagCommand() *cobra.Command {
	var o output
	cmd := asking(&cobra.Command{
		Use: "lag GROUP…", Short: "Show how far groups are in each partition", Args: cobra.MinimumNArgs(1),
		ValidArgsFunction: completeAny(groupNames),
		Example:           "  thalweg groups lag wordcount -output json",
	}, func(ctx context.Context, admin *kadm.Client, out io.Writer, groups []string) error {
		lags, err := admin.Lag(ctx, slices.Clone(groups)...) // it writes into what it is given
		if err != nil {
			return err
		}
		w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
		if !o.json() {
			fmt.Fprintln(w, "group\ttopic\tpartition\tcommitted\tend\tlag\tmember")
		}
		err = each(groups, func(name string) error {
			g, ok := lags[name]
			if !ok {
				return groupError(name, errNoWord)
			}
			return printLag(w, g, name, o.json())
		})
		return errors.Join(w.Flush(), err)
	})
	o.flags(cmd)
	return cmd
}

func printLag(w io.Writer, g kadm.DescribedGroupLag, name string, asJSON bool) error {
	err := g.Error()
	if err == nil && g.State == "Dead" && len(g.Lag) == 0 {
		err = kerr.GroupIDNotFound
	}
	if err != nil {
		return groupError(name, err)
	}
	var errs []error
	for _, l := range g.Lag.Sorted() {
		if l.Err != nil {
			errs = append(errs, fmt.Errorf("group %s: topic %s partition %d: %w", name, l.Topic, l.Partition, l.Err))
			continue
		}
		p := partitionLag{Group: name, Topic: l.Topic, Partition: l.Partition, End: l.End.Offset, Lag: l.Lag}
		committed := "-"
		if l.Commit.At >= 0 {
			p.Committed, committed = &l.Commit.At, fmt.Sprint(l.Commit.At)
		}
		if m := l.Member; m != nil {
			p.Member, p.Client, p.Host = m.MemberID, m.ClientID, m.ClientHost
		}
		if asJSON {
			errs = append(errs, writeJSON(w, p))
			continue
		}
		fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%d\t%d\t%s\n", p.Group, p.Topic, p.Partition, committed, p.End, p.Lag,
			dash(p.Member))
	}
	return errors.Join(errs...)
}

func deleteGroupsCommand() *cobra.Command {
	return asking(&cobra.Command{
		Use: "delete GROUP…", Short: "Delete groups without members, and their committed offsets",
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: completeAny(groupNames),
		Example:           "  thalweg groups delete old-readers",
	}, func(ctx context.Context, admin *kadm.Client, out io.Writer, groups []string) error {
		gone, err := admin.DeleteGroups(ctx, groups...)
		if err != nil && len(gone) == 0 {
			return err
		}
		return printDeleted(out, groups, gone, err)
	})
}

// printDeleted says what became of each group. The error is that of the coordinators which have not answered.
func printDeleted(out io.Writer, groups []string, gone kadm.DeleteGroupResponses, failed error) error {
	return each(groups, func(name string) error {
		g, ok := gone[name]
		switch {
		case !ok && failed != nil:
			return groupError(name, failed)
		case !ok:
			return groupError(name, errNoWord)
		case g.Err != nil:
			return groupError(name, g.Err)
		}
		_, err := fmt.Fprintln(out, "deleted", name)
		return err
	})
}
