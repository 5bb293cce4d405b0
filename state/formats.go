package state

import (
	"cmp"
	"fmt"
	"strings"

	"thalweg/serde"
)

// Formats names how the keys and values of a store are written: see [serde.Format]. "": not known.
type Formats struct{ Keys, Values string }

// formatBytesMax bounds the name of a format that is stored. A longer one is cut.
const formatBytesMax = 200

// FormatsOf returns the formats of a store's serdes.
func FormatsOf(s Store) Formats {
	m := madeOf(s)
	if m == nil {
		return Formats{}
	}
	return Formats{cutFormat(serde.Format(m.keys)), cutFormat(serde.Format(m.values))}
}

func cutFormat(name string) string {
	if len(name) <= formatBytesMax {
		return name
	}
	return strings.ToValidUTF8(name[:formatBytesMax], "")
}

// Reading is what is known of reading rows that were written in other formats.
func (f Formats) Reading(was Formats) serde.Reading {
	return max(serde.ReadingOf(was.Keys, f.Keys), serde.ReadingOf(was.Values, f.Values))
}

func (f Formats) String() string {
	const unnamed = "a format without a name"
	return fmt.Sprintf("keys written as %s and values written as %s", cmp.Or(f.Keys, unnamed), cmp.Or(f.Values, unnamed))
}
