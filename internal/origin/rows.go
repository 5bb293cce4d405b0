package origin

import (
	"fmt"

	"thalweg/serde"
	"thalweg/state"
)

// contents is what the rows of a store are.
type contents struct {
	kind    state.Kind
	formats state.Formats
}

// read tells what is known of reading rows, of which there are some, as other contents.
func (was contents) read(now contents) serde.Reading {
	if was.kind != now.kind {
		return serde.Unreadable
	}
	return now.formats.Reading(was.formats)
}

// beside describes contents so that the difference from others shows.
func (c contents) beside(other contents) string {
	if c.kind != other.kind {
		return fmt.Sprintf("a %s store", c.kind)
	}
	return fmt.Sprintf("a store with %s", c.formats)
}

// keep are the ways out that keep the rows.
func (c contents) keep(other contents) string {
	if c.kind != other.kind {
		return "give the store another name, under which " + fills
	}
	return "give the store the serdes that it had (Keys, Values), or one without a Format method that reads both, or " +
		"give it another name, under which " + fills
}

// fills is what becomes of a store that gets another name.
const fills = "it starts empty at the committed offsets (to fill it, follow the last of these ways as well)"
