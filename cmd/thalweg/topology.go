package main

import (
	"encoding/json"
	"fmt"
	"io"
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
	var format string
	names := strings.Join(slices.Sorted(maps.Keys(examples())), ", ")
	cmd := &cobra.Command{
		Use:   "topology EXAMPLE",
		Short: "Print the graph of an example: " + names,
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			build, ok := examples()[args[0]]
			if !ok {
				return fmt.Errorf("no example %q: there are %s", args[0], names)
			}
			topo, err := build()
			if err != nil {
				return err
			}
			return printTopology(cmd.OutOrStdout(), topo, format)
		},
	}
	cmd.Flags().StringVar(&format, "format", "text", "text, dot, mermaid, json or fingerprint")
	return cmd
}

func printTopology(w io.Writer, topo *topology.Topology, format string) (err error) {
	d := topo.Describe()
	switch format {
	case "text":
		_, err = fmt.Fprint(w, d)
	case "dot":
		_, err = fmt.Fprint(w, d.DOT())
	case "mermaid":
		_, err = fmt.Fprint(w, d.Mermaid())
	case "json":
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		err = e.Encode(d)
	case "fingerprint":
		_, err = fmt.Fprintln(w, topo.Fingerprint())
	default:
		err = fmt.Errorf("-format %q: want text, dot, mermaid, json or fingerprint", format)
	}
	return err
}
