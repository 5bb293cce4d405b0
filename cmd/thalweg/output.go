package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
)

// choice is a flag with a few values.
type choice struct {
	value  string
	values []string
}

func (c *choice) String() string { return c.value }

// Type is what pflag shows of the flag.
func (c *choice) Type() string { return strings.Join(c.values, "|") }

// Set takes one of the values.
func (c *choice) Set(s string) error {
	for _, v := range c.values {
		if s == v {
			c.value = v
			return nil
		}
	}
	return fmt.Errorf("want %s", alternatives(c.values))
}

// alternatives is "a, b or c".
func alternatives(values []string) string {
	if len(values) < 2 {
		return strings.Join(values, "")
	}
	last := len(values) - 1
	return strings.Join(values[:last], ", ") + " or " + values[last]
}

// flag adds a choice to a command, with completion. The first value is the default.
func (c *choice) flag(cmd *cobra.Command, name, short, usage string, values ...string) {
	c.value, c.values = values[0], values
	cmd.Flags().VarP(c, name, short, usage)
	_ = cmd.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
}

// output is the flag of commands that list or describe: text for people, or an object a line for programs.
type output struct{ choice }

func (o *output) flags(cmd *cobra.Command) {
	o.flag(cmd, "output", "o", "text, or json: an object a line for each thing", "text", "json")
}

func (o *output) json() bool { return o.value == "json" }

// writeJSON writes an object and a line end.
func writeJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// each runs do for every name. It goes on after an error, and returns all of them.
func each(names []string, do func(name string) error) error {
	var errs []error
	for _, name := range names {
		errs = append(errs, do(name))
	}
	return errors.Join(errs...)
}

// errNoWord is that an answer lacks one of the things that were asked for.
var errNoWord = errors.New("the broker's answer says nothing of it")

// phrase is an error without a full stop, so that more can follow.
type phrase struct{ error }

func (p phrase) Error() string { return strings.TrimSuffix(p.error.Error(), ".") }

func (p phrase) Unwrap() error { return p.error }
