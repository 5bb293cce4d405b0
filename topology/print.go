package topology

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
)

// Print writes what the topology is made of: as "text", the form that Kafka Streams' users and tools know, as "dot" or
// "mermaid" to be drawn, as "json", or as "fingerprint", by which two programs can be compared.
func (t *Topology) Print(w io.Writer, format string) (err error) {
	d := t.Describe()
	switch format {
	case "text":
		_, err = fmt.Fprint(w, d)
	case "dot":
		_, err = fmt.Fprint(w, d.DOT())
	case "mermaid":
		_, err = fmt.Fprint(w, d.Mermaid())
	case "json":
		e := json.NewEncoder(w)
		e.SetEscapeHTML(false)
		err = e.Encode(d)
	case "fingerprint":
		_, err = fmt.Fprintln(w, t.Fingerprint())
	default:
		err = fmt.Errorf("topology: no format %q: want text, dot, mermaid, json or fingerprint", format)
	}
	return err
}

// Flag gives a program the flag -topology, which prints the topology that build makes on standard output and ends the
// program, as -h does. -topology is the text, and -topology=mermaid any other format of [Topology.Print]. Call Flag
// before the flags are parsed:
//
//	topology.Flag(flag.CommandLine, Build)
//	flag.Parse()
//
// A topology or a format that is not right ends the program with status 1 and a line on standard error.
func Flag(flags *flag.FlagSet, build func() (*Topology, error)) {
	addFlag(flags, build, os.Stdout, os.Stderr, os.Exit)
}

func addFlag(
	flags *flag.FlagSet, build func() (*Topology, error), stdout, stderr io.Writer, exit func(status int),
) {
	const usage = "print the topology and end; -topology=FORMAT prints it as dot, mermaid, json or fingerprint"
	flags.BoolFunc("topology", usage, func(format string) error {
		switch format {
		case "false":
			return nil
		case "true":
			format = "text"
		}
		topo, err := build()
		if err == nil {
			err = topo.Print(stdout, format)
		}
		if err != nil {
			fmt.Fprintln(stderr, err)
			exit(1)
			return nil
		}
		exit(0)
		return nil
	})
}
