package oracle

import (
	"encoding/json"
	"fmt"
)

type scenario struct {
	ID       string
	Title    string
	Features []string
	Config   struct {
		Cache       string
		OnError     string
		DeadLetters string
		Headers     bool
	}
	Nodes  []node
	Input  []input
	Expect expect

	line []byte // that it was read from
}

type node struct {
	ID, Op     string
	In         []string
	Topics     []string
	Topic      string
	TopicBy    string
	Timestamps string
	Store      *storeDef
	Pred       string
	Fn         string
	Key        string
	Name       string
	Proc       string
	Reads      string
	Type       string
	Joiner     string
	Before     int64
	After      int64
	Grace      *int64
	Branches   []struct{ ID, Pred string }
	Default    string
	Windowed   bool
	FK         string `json:"fk"`
	Until      string
	Ms         int64
	MaxRecords int
	Window     *window
	Emit       string
	Init       string
	Adder      string
	Subtractor string
	Merger     string
	Adders     []string
}

type storeDef struct {
	Name        string
	VersionedMs int64
	RetentionMs int64
}

type window struct {
	Type                                   string
	Size, Advance, Grace, Diff, Gap, Start int64
}

type input struct {
	Topic         string
	Key, Value    *string
	TS            int64
	Headers       [][]string
	AdvanceWallMs int64
}

type record struct {
	Key     *string     `json:"key"`
	Value   *string     `json:"value"`
	TS      int64       `json:"ts"`
	At      int         `json:"at"`
	Headers [][]*string `json:"headers,omitempty"`
}

type row struct {
	Key   string  `json:"key"`
	Start *int64  `json:"start,omitempty"`
	End   *int64  `json:"end,omitempty"`
	Value *string `json:"value"`
	TS    *int64  `json:"ts,omitempty"`
}

type expect struct {
	Outputs   map[string][]record
	Peeks     map[string][]record
	Stores    map[string][]row
	Dropped   *int64
	Error     *failure
	Order     map[string]string
	Sensitive []string
}

type failure struct {
	Phase string
	At    int
}

// load reads scenarios, one a line, compressed or not.
func load(file string) (scenarios []*scenario, err error) {
	lines, err := readLines(file)
	for n, line := range lines {
		s := &scenario{line: line}
		if err := json.Unmarshal(line, s); err != nil {
			return nil, fmt.Errorf("%s: scenario %d: %w", file, n+1, err)
		}
		scenarios = append(scenarios, s)
	}
	return scenarios, err
}
