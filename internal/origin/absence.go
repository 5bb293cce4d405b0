package origin

import (
	"fmt"
	"strings"
)

// Absence is a store that an application's topology was without for a while. What was processed meanwhile did not reach
// its rows, and neither its changelog nor its local copies show that.
type Absence struct {
	Place
	Store  string
	Topic  string // its changelog; empty: it is volatile
	Ends   []End  // of the changelog, as far as they are known
	Missed []Missed
}

// End is where a partition of a changelog ends. Nothing was written to it while the store was absent.
type End struct {
	Task   string
	Offset int64
}

// Missed is a part of an input that was processed without the store.
type Missed struct {
	Task      string // that has the input
	Topic     string
	Partition int32
	From, To  int64
}

// Text says what the store lacks, and the ways out.
func (a Absence) Text() string {
	var missed, ends []string
	for _, m := range a.Missed {
		missed = append(missed, fmt.Sprintf("task %s: topic %s partition %d from offset %d to %d", m.Task, m.Topic,
			m.Partition, m.From, m.To))
	}
	text := fmt.Sprintf("store %s is in the topology again after it was left out for a while. Its rows are from before: "+
		"records that were processed meanwhile are not in it (%s)", a.Store, someOf(missed))
	for _, e := range a.Ends {
		ends = append(ends, fmt.Sprintf("task %s: offset %d", e.Task, e.Offset))
	}
	if len(ends) > 0 {
		text += fmt.Sprintf(". It was last written at the end of topic %s (%s)", a.Topic, someOf(ends))
	}
	empty := a.steps(a.drop(a.Store))
	if a.Topic != "" {
		empty = a.without(a.Store, nil, a.Topic)
	}
	return fmt.Sprintf("%s. It continues with these rows. Or, to start it empty at the committed offsets: %s. Or, %s",
		text, empty, a.again())
}

// someMost is how many items of a list a text has.
const someMost = 8

// someOf lists the first items, and how many more there are.
func someOf(items []string) string {
	if more := len(items) - someMost; more > 0 {
		return fmt.Sprintf("%s, and %d more", strings.Join(items[:someMost], ", "), more)
	}
	return strings.Join(items, ", ")
}
