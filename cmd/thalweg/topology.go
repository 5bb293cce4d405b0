package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	aggregate "thalweg/examples/aggregate/program"
	joins "thalweg/examples/joins/program"
	windows "thalweg/examples/windows/program"
	wordcount "thalweg/examples/wordcount/program"
	"thalweg/topology"
)

// examples are the programs whose graph can be printed.
func examples() map[string]func() (*topology.Topology, error) {
	return map[string]func() (*topology.Topology, error){
		"aggregate": aggregate.Build,
		"joins":     joins.Build,
		"windows":   windows.Build,
		"wordcount": func() (*topology.Topology, error) { return wordcount.New("wordcount").Build() },
	}
}

func topologyCommand() *cobra.Command {
	var format choice
	names := slices.Sorted(maps.Keys(examples()))
	cmd := &cobra.Command{
		Use:   "topology EXAMPLE",
		Short: "Print the graph of an example: " + strings.Join(names, ", "),
		Long: `Print the graph of an example: ` + strings.Join(names, ", ") + `.
A program of your own prints its graph by topology.Flag: go run . -topology`,
		Example:           "  thalweg topology wordcount -format mermaid",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: cobra.FixedCompletions(names, cobra.ShellCompDirectiveNoFileComp),
		RunE: func(cmd *cobra.Command, args []string) error {
			build, ok := examples()[args[0]]
			if !ok {
				return fmt.Errorf("no example %q: there are %s", args[0], strings.Join(names, ", "))
			}
			topo, err := build()
			if err != nil {
				return err
			}
			return topo.Print(cmd.OutOrStdout(), format.value)
		},
	}
	format.flag(cmd, "format", "", "what to print", "text", "dot", "mermaid", "json", "fingerprint")
	return cmd
}
