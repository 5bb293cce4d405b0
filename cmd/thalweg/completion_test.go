package main

import (
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"
)

// completed are the words that a shell would offer for the last word of a line.
func completed(t *testing.T, line string) []string {
	t.Helper()
	out := works(t, "", "__completeNoDesc "+line)
	words := strings.Split(out, "\n")
	at := len(words) - 1
	for ; at >= 0 && !strings.HasPrefix(words[at], ":"); at-- { // what follows is for people
	}
	require.GreaterOrEqual(t, at, 0, out)
	return words[:at]
}

func TestCompletion(t *testing.T) {
	addr := serve(t)
	at := " -brokers " + addr
	works(t, "", "topics create orders other -p 1"+at)
	works(t, "a\n", "produce orders"+at)
	works(t, "", "consume orders -group readers -n 1"+at)
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		require.Contains(t, works(t, "", "completion "+shell), "thalweg", shell)
	}
	for line, want := range map[string][]string{
		"topics de": {"delete", "describe"},
		"topics describe --brokers " + addr + " o":         {"orders", "other"},
		"topics delete orders --brokers " + addr + " o":    {"other"},
		"consume --brokers " + addr + " or":                {"orders"},
		"produce --brokers " + addr + " or":                {"orders"},
		"produce orders --brokers " + addr + " o":          {},
		"groups lag --brokers " + addr + " r":              {"readers"},
		"app reset --brokers " + addr + " r":               {"readers"},
		"consume --brokers " + addr + " --group r":         {"readers"},
		"consume --brokers " + addr + " --output j":        {"text", "json"},
		"topics list --brokers " + addr + " --brokers 127": {addr},
		"topology wor": {"aggregate", "joins", "windows", "wordcount"},
		"topics describe --brokers " + unused(t) + " o": {},
	} {
		require.Equal(t, want, completed(t, line), line)
	}
}

// commands are all that do something, with their names as they are typed.
func commands(t *testing.T) map[string]*cobra.Command {
	found := map[string]*cobra.Command{}
	var visit func(*cobra.Command)
	visit = func(cmd *cobra.Command) {
		if cmd.Hidden {
			return
		}
		if len(cmd.Commands()) == 0 || cmd.Name() == "broker" || cmd.Name() == "bench" {
			found[cmd.CommandPath()] = cmd
		}
		for _, c := range cmd.Commands() {
			visit(c)
		}
	}
	root := command()
	visit(root)
	require.Greater(t, len(found), 20)
	return found
}

// Each command has examples, whose flags there are.
func TestExamplesInHelp(t *testing.T) {
	for path, cmd := range commands(t) {
		require.NotEmpty(t, cmd.Example, path)
		require.Contains(t, cmd.Example, "  "+path+" ", path)
		for line := range strings.Lines(cmd.Example) {
			parses(t, line)
		}
	}
}

// parses checks a command line in a text: a command that takes these flags and so many arguments.
func parses(t *testing.T, line string) {
	t.Helper()
	_, words, found := strings.Cut(strings.TrimSpace(line), "thalweg ")
	if strings.TrimSpace(line) == "thalweg broker" {
		words, found = "broker", true
	}
	require.True(t, found, line)
	words, _, _ = strings.Cut(words, " <")
	words, _, _ = strings.Cut(words, " |")
	words, _, _ = strings.Cut(words, " >")
	args := longFlags(command(), strings.Fields(strings.NewReplacer(`'%p %o %k %s\n'`, `%p`, "'", "").Replace(words)))
	cmd, rest, err := command().Find(args)
	require.NoError(t, err, line)
	require.NoError(t, cmd.ParseFlags(rest), line)
	require.NoError(t, cmd.ValidateArgs(cmd.Flags().Args()), line)
}
