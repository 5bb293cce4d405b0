// Thalweg is the command line: the bundled broker as a server, topics, groups, produce and consume, the reset of an
// application, the graphs of the examples, the state on a disk, and benchmarks.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	root := command()
	root.SetArgs(longFlags(os.Args[1:]))
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
// left alone.
func longFlags(args []string) []string {
	out := make([]string, 0, len(args))
	for i, a := range args {
		if a == "--" {
			return append(out, args[i:]...)
		}
		name, _, _ := strings.Cut(a, "=")
		if len(name) > 2 && name[0] == '-' && name[1] >= 'a' && name[1] <= 'z' {
			a = "-" + a
		}
		out = append(out, a)
	}
	return out
}
