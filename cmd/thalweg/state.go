package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"thalweg/runtime"
	"thalweg/state"
)

func stateCommand() *cobra.Command {
	cmd := groupCommand("state", "List and drop what an application has on this disk, while it does not run here")
	cmd.AddCommand(listStoresCommand(), dropCommand())
	return cmd
}

func listStoresCommand() *cobra.Command {
	var o output
	cmd := &cobra.Command{
		Use:               "list DIR",
		Short:             "List the stores in DIR, which is <Config.State.Dir>/<application>; rows and bytes are estimates",
		Example:           "  thalweg state list data/state/wordcount",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: completeDirectory,
		RunE: func(cmd *cobra.Command, args []string) error {
			return withState(args[0], func(l *runtime.LocalState) error {
				stores, err := l.Stores()
				if err != nil {
					return err
				}
				return printStores(cmd.OutOrStdout(), stores, o.json())
			})
		},
	}
	o.flags(cmd)
	return cmd
}

// completeDirectory completes the first argument, which is a directory.
func completeDirectory(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return nil, cobra.ShellCompDirectiveFilterDirs
}

// localStore is a partition of a store on the disk as an object.
type localStore struct {
	Store     string `json:"store"`
	Partition int32  `json:"partition"` // -1: a global store
	Task      string `json:"task,omitempty"`
	Gone      bool   `json:"gone"`
	Kind      string `json:"kind,omitempty"`
	Rows      int64  `json:"rows"`
	Bytes     int64  `json:"bytes"`
	Position  *int64 `json:"position"` // null: not known
	Topic     string `json:"topic,omitempty"`
	LastUsed  string `json:"last_used,omitempty"`
}

func describeStore(s runtime.LocalStore) localStore {
	l := localStore{
		Store: s.Store, Partition: s.Partition, Task: s.Task, Gone: s.Gone, Rows: s.Rows, Bytes: s.Bytes,
		Topic: s.Origin.Topic,
	}
	if s.Named {
		l.Kind = s.Origin.Kind.String()
	}
	if s.Known {
		l.Position = &s.Offset
	}
	if !s.Synced.IsZero() {
		l.LastUsed = s.Synced.UTC().Format(time.RFC3339)
	}
	return l
}

func withState(dir string, do func(*runtime.LocalState) error) error {
	if _, err := os.Stat(dir); err != nil {
		return err
	}
	l, err := runtime.OpenLocalState(dir, nil)
	if err != nil {
		return err
	}
	return errors.Join(do(l), l.Close())
}

func printStores(out io.Writer, stores []runtime.LocalStore, asJSON bool) error {
	if asJSON {
		for _, s := range stores {
			if err := writeJSON(out, describeStore(s)); err != nil {
				return err
			}
		}
		return nil
	}
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "store\tpartition\ttask\tkind\trows\tbytes\tposition\ttopic\tlast used")
	for _, s := range stores {
		l := describeStore(s)
		partition, task, position := fmt.Sprint(l.Partition), dash(l.Task), "-"
		if l.Partition < 0 {
			partition, task = "global", "-"
		}
		if l.Gone {
			task = "gone"
		}
		if l.Position != nil {
			position = fmt.Sprint(*l.Position)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%d\t%s\t%s\t%s\n", l.Store, partition, task, dash(l.Kind), l.Rows, l.Bytes,
			position, dash(l.Topic), dash(l.LastUsed))
	}
	return w.Flush()
}

// dropping says which stores are dropped: those that all of it fits.
type dropping struct {
	names     []string
	tasks     []string
	gone      bool
	unusedFor time.Duration
}

func (d dropping) fits(s runtime.LocalStore, now time.Time) bool {
	return (len(d.names) == 0 || slices.Contains(d.names, s.Store)) &&
		(len(d.tasks) == 0 || slices.Contains(d.tasks, s.Task)) &&
		(!d.gone || s.Gone) &&
		(d.unusedFor == 0 || !s.Synced.IsZero() && now.Sub(s.Synced) >= d.unusedFor)
}

func dropCommand() *cobra.Command {
	var d dropping
	cmd := &cobra.Command{
		Use:   "drop DIR [STORE…]",
		Short: "Drop stores, in all partitions or in those that the flags say, and give their space back",
		Long: "Drop stores, in all partitions or in those that the flags say, and give their space back.\n" +
			"What the application still needs it restores from its topics at the next start.",
		Example:           "  thalweg state drop data/state/wordcount by-word -task 0_3",
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: completeDirectory,
		RunE: func(cmd *cobra.Command, args []string) error {
			d.names = args[1:]
			if len(d.names) == 0 && len(d.tasks) == 0 && !d.gone && d.unusedFor == 0 {
				return errors.New("drop: say what: name stores, or use -task, -gone or -unused-for")
			}
			if d.unusedFor < 0 {
				return fmt.Errorf("drop: -unused-for %v: want a positive duration", d.unusedFor)
			}
			return withState(args[0], func(l *runtime.LocalState) error { return d.run(cmd, l) })
		},
	}
	cmd.Flags().StringSliceVar(&d.tasks, "task", nil, "only of these tasks, such as 0_3 or 0_3,0_4")
	cmd.Flags().BoolVar(&d.gone, "gone", false, "only stores that the program which ran last does not have")
	cmd.Flags().DurationVar(&d.unusedFor, "unused-for", 0, "only what was not in step with its topic for so long")
	return cmd
}

func (d dropping) run(cmd *cobra.Command, l *runtime.LocalState) error {
	stores, err := l.Stores()
	if err != nil {
		return err
	}
	now := time.Now()
	var found []runtime.LocalStore
	for _, name := range d.names {
		if !slices.ContainsFunc(stores, func(s runtime.LocalStore) bool { return s.Store == name }) {
			return fmt.Errorf("drop: there is no store %q: see thalweg state list", name)
		}
	}
	for _, s := range stores {
		if !d.fits(s, now) {
			continue
		}
		if s.Origin.Filling == state.FromNothing && !slices.Contains(d.names, s.Store) {
			return fmt.Errorf("drop: store %q is volatile, no topic has its rows: name it to drop it", s.Store)
		}
		found = append(found, s)
	}
	err = l.Drop(cmd.Context(), found...) // without any store, too: it returns the space of what was dropped before
	if err != nil {
		return err
	}
	if len(found) == 0 {
		fmt.Fprintln(cmd.OutOrStdout(), "nothing to drop")
		return nil
	}
	fmt.Fprintln(cmd.OutOrStdout(), "dropped:")
	return printStores(cmd.OutOrStdout(), found, false)
}
