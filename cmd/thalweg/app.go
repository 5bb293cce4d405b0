package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"

	"thalweg/runtime"
)

func appCommand() *cobra.Command {
	cmd := groupCommand("app", "Reset a stream-processing application")
	cmd.AddCommand(resetAppCommand())
	return cmd
}

// appReset is what app reset is asked to do.
type appReset struct {
	connection
	stateDir, to string
	inputs       []string
	dryRun       bool
}

func resetAppCommand() *cobra.Command {
	var a appReset
	cmd := &cobra.Command{
		Use:   "reset APPLICATION",
		Short: "Make an application that does not run begin again from its inputs",
		Long: `Make an application that does not run begin again: delete its committed offsets, its changelog and repartition
topics, its progress topic, and, with -state-dir, its directory on this machine. Inputs and outputs stay as they are.
The application then reads its inputs from their beginning, or as the Reset of a source says. -to chooses another place.
On other machines the directories can stay: the application notices that they are out of date. With -to, remove them.`,
		Example: `  thalweg app reset wordcount -dry-run
  thalweg app reset wordcount -state-dir /var/lib/wordcount -to 24h`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: completeOne(groupNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			p := &patience{}
			return a.talk(cmd, p, func(ctx context.Context, cl *client) error {
				return a.run(ctx, cl, cmd.OutOrStdout(), args[0])
			})
		},
	}
	a.flags(cmd)
	f := cmd.Flags()
	f.StringVar(&a.stateDir, "state-dir", "", "also remove the application's directory in here (Config.State.Dir)")
	f.StringVar(&a.to, "to", "", "begin in the inputs at: "+positionHelp)
	f.StringSliceVar(&a.inputs, "input", nil, "with -to: inputs in which nothing was committed")
	f.BoolVar(&a.dryRun, "dry-run", false, "show what would change, and change nothing")
	complete(cmd, "input", topicNames)
	_ = cmd.MarkFlagDirname("state-dir")
	return cmd
}

func (a *appReset) run(ctx context.Context, cl *client, out io.Writer, id string) error {
	if strings.ContainsAny(id, `/\`) || strings.Trim(id, ".") == "" { // it is the name of a directory, too
		return fmt.Errorf("%q is no application id", id)
	}
	start := position{}
	if a.to != "" {
		var err error
		if start, err = parsePosition("to", a.to, time.Now()); err != nil {
			return err
		}
	} else if len(a.inputs) > 0 {
		return errors.New("-input: say where to begin in it, by -to")
	}
	dir, err := a.directory(id)
	if err != nil {
		return err
	}
	err = withoutMembers(ctx, cl.admin, id)
	known := !errors.Is(err, kerr.GroupIDNotFound)
	if err != nil && known {
		return err
	}
	rc, err := runtime.NewClient(runtime.Config{
		ApplicationID: id, Seeds: seeds(a.brokers),
		Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
	})
	if err != nil {
		return err
	}
	defer rc.Close()
	internal, err := rc.InternalTopics(ctx, id)
	if err != nil {
		return err
	}
	left, err := leftTopics(ctx, cl.admin, id, internal)
	if err != nil {
		return err
	}
	if !known && len(internal) == 0 && dir == "" && len(a.inputs) == 0 {
		return fmt.Errorf("application %s: there are no offsets and no topics of it: thalweg groups list shows the "+
			"applications that have offsets", id)
	}
	moves, err := a.moves(ctx, cl.admin, id, internal, start)
	if err != nil {
		return err
	}
	if !a.dryRun {
		// Members may have joined meanwhile. What they do not have of volatile stores is in the directory alone.
		if err := withoutMembers(ctx, cl.admin, id); err != nil && !errors.Is(err, kerr.GroupIDNotFound) {
			return err
		}
		cl.patience.progress()
		if err := a.apply(ctx, cl, rc, id, dir, moves); err != nil {
			return err
		}
	}
	return a.print(out, id, known, internal, left, dir, moves)
}

// leftTopics are named like the application's, and may belong to another one, whose id begins with this one's.
func leftTopics(ctx context.Context, admin *kadm.Client, id string, internal []string) (left []string, err error) {
	all, err := admin.ListTopics(ctx)
	for _, topic := range all.Names() {
		if strings.HasPrefix(topic, id+"-") && !slices.Contains(internal, topic) &&
			(strings.HasSuffix(topic, "-changelog") || strings.HasSuffix(topic, "-repartition")) {
			left = append(left, topic)
		}
	}
	return left, err
}

// directory returns the directory that is to be removed. It is empty if there is none.
func (a *appReset) directory(id string) (string, error) {
	if a.stateDir == "" {
		return "", nil
	}
	if _, err := os.Stat(a.stateDir); err != nil {
		return "", fmt.Errorf("-state-dir: %w", err)
	}
	dir := filepath.Join(a.stateDir, id)
	exists := func(path ...string) bool {
		_, err := os.Stat(filepath.Join(append([]string{a.stateDir}, path...)...))
		return !errors.Is(err, os.ErrNotExist)
	}
	switch {
	case exists(id, "state", id):
		return "", fmt.Errorf("-state-dir %s: the application's directory is in %s: name that", a.stateDir,
			filepath.Join(dir, "state"))
	case exists(id):
		return dir, nil
	case exists("state", id):
		return "", fmt.Errorf("-state-dir %s: the application's directory is in %s: name that", a.stateDir,
			filepath.Join(a.stateDir, "state"))
	case exists("state", "STATE_FORMAT"), exists("process"):
		return "", fmt.Errorf("-state-dir %s is the directory of an application: name the one above it", a.stateDir)
	}
	return "", nil
}

// moves are the offsets at which the inputs begin; none where the program decides. The inputs are what the application
// has committed in, and what the flag adds.
func (a *appReset) moves(
	ctx context.Context, admin *kadm.Client, id string, internal []string, start position,
) ([]move, error) {
	if a.to == "" {
		return nil, nil
	}
	committed, err := committedOffsets(ctx, admin, id)
	if err != nil {
		return nil, err
	}
	all, err := admin.ListTopics(ctx)
	if err != nil {
		return nil, err
	}
	topics := slices.Clone(a.inputs)
	for topic := range committed { // offsets of topics that were deleted mean nothing
		if all.Has(topic) && !slices.Contains(internal, topic) && !slices.Contains(topics, topic) {
			topics = append(topics, topic)
		}
	}
	if len(topics) == 0 {
		return nil, fmt.Errorf("application %s has committed nothing: name its inputs with -input", id)
	}
	slices.Sort(topics)
	r := resetting{topics: topics, position: start}
	places, err := r.places(ctx, admin, id, committed)
	if err != nil {
		return nil, err
	}
	return r.moves(ctx, admin, id, committed, places)
}

// apply begins with the directory: without it the application would only have to restore.
func (a *appReset) apply(ctx context.Context, cl *client, rc *runtime.Client, id, dir string, moves []move) error {
	if dir != "" {
		if err := runtime.RemoveLocalState(dir, nil); err != nil {
			return err
		}
	}
	if err := rc.Reset(ctx, id); err != nil {
		return err
	}
	cl.patience.progress()
	if len(moves) == 0 {
		return nil
	}
	return commit(ctx, cl.admin, id, moves)
}

func (a *appReset) print(
	out io.Writer, id string, known bool, internal, left []string, dir string, moves []move,
) error {
	verb := "deleted"
	if a.dryRun {
		verb = "would delete"
	}
	if known {
		fmt.Fprintf(out, "%s the committed offsets of %s\n", verb, id)
	}
	slices.Sort(internal)
	for _, topic := range internal {
		fmt.Fprintf(out, "%s topic %s\n", verb, topic)
	}
	for _, topic := range left {
		fmt.Fprintf(out, "left topic %s, which may be another application's\n", topic)
	}
	if dir != "" {
		fmt.Fprintf(out, "%s directory %s\n", verb, dir)
	} else if a.stateDir == "" {
		fmt.Fprintln(out, "left the directories of local state: -state-dir names the one of this machine")
	}
	verb = "begins"
	if a.dryRun {
		verb = "would begin"
	}
	for _, m := range moves {
		fmt.Fprintf(out, "%s at offset %d of topic %s partition %d\n", verb, m.To, m.Topic, m.Partition)
	}
	if len(moves) == 0 {
		fmt.Fprintf(out, "%s at the beginning of its inputs, or as the Reset of a source says\n", verb)
	}
	if a.dryRun {
		fmt.Fprintln(out, "dry run: nothing was changed")
	}
	return nil
}
