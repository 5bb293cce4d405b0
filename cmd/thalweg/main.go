// Thalweg is the command line: the bundled broker as a server, topics, groups, produce and consume, the reset of an
// application, the graphs of the examples, the state on a disk, and benchmarks.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	root := command()
	root.SetArgs(longFlags(root, os.Args[1:]))
	context.AfterFunc(ctx, stop) // a second interrupt ends the process at once
	if err := root.ExecuteContext(ctx); err != nil {
		printError(os.Stderr, err)
		os.Exit(1)
	}
}

// printError prints an error that may be several: one for each topic or group that a command was given.
func printError(out io.Writer, err error) {
	for line := range strings.Lines(err.Error()) {
		fmt.Fprintln(out, "thalweg:", strings.TrimSuffix(line, "\n"))
	}
}

func command() *cobra.Command {
	root := &cobra.Command{
		Use:           "thalweg",
		Short:         "Stream processing in Go, with a Kafka-protocol broker built in",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.AddCommand(newCommand(), brokerCommand(), topicsCommand(), produceCommand(), consumeCommand(), groupsCommand(),
		appCommand(), topologyCommand(),
		stateCommand(), benchCommand())
	explain(root)
	return root
}

// explain adds to errors of flags and arguments where the command says what it takes.
func explain(cmd *cobra.Command) {
	cmd.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return fmt.Errorf("%w: see %s -help", err, cmd.CommandPath())
	})
	if check := cmd.Args; check != nil {
		cmd.Args = func(cmd *cobra.Command, args []string) error {
			if err := check(cmd, args); err != nil {
				return fmt.Errorf("%w: usage: %s; see %s -help", err, cmd.UseLine(), cmd.CommandPath())
			}
			return nil
		}
	}
	for _, c := range cmd.Commands() {
		explain(c)
	}
}

// groupCommand is a command that only has commands of its own. It names a word that is none of them, whatever flags
// follow.
func groupCommand(use, short string) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: short, SuggestionsMinimumDistance: 2,
		FParseErrWhitelist: cobra.FParseErrWhitelist{UnknownFlags: true},
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return cmd.Help()
			}
			did := cmd.SuggestionsFor(args[0])
			if len(did) > 0 {
				return fmt.Errorf("unknown command %q for %q: did you mean %s?", args[0], cmd.CommandPath(),
					strings.Join(did, " or "))
			}
			for _, c := range cmd.Commands() {
				did = append(did, c.Name())
			}
			return fmt.Errorf("unknown command %q for %q: there are %s", args[0], cmd.CommandPath(), strings.Join(did, ", "))
		},
	}
}

// longFlags lets flags of several letters be written with one dash, as Go's own tools do. What follows a "--" is
// left alone, and so is the value of a flag.
func longFlags(root *cobra.Command, args []string) []string {
	out := make([]string, 0, len(args))
	for i := 0; i < len(args); i++ {
		a := args[i]
		if a == "--" {
			return append(out, args[i:]...)
		}
		name, _, whole := strings.Cut(a, "=")
		// "-n10" is a short flag and its value.
		if len(name) > 2 && name[0] == '-' && isLower(name[1]) && isLower(name[2]) {
			a, name = "-"+a, "-"+name
		}
		out = append(out, a)
		if !whole && i+1 < len(args) && takesValue(root, name) {
			i++
			out = append(out, args[i])
		}
	}
	return out
}

func isLower(c byte) bool { return c >= 'a' && c <= 'z' }

// takesValue tells that a flag, with its dashes, takes the next argument as its value. Flags of one name are alike in
// all commands.
func takesValue(cmd *cobra.Command, flag string) bool {
	name, long := strings.CutPrefix(flag, "--")
	found := cmd.Flags().Lookup(name)
	switch {
	case len(flag) < 2 || flag[0] != '-' || !long && len(flag) > 2:
		return false
	case !long:
		found = cmd.Flags().ShorthandLookup(flag[1:])
	}
	return found != nil && found.NoOptDefVal == "" ||
		slices.ContainsFunc(cmd.Commands(), func(c *cobra.Command) bool { return takesValue(c, flag) })
}
