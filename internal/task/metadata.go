package task

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"thalweg/topology"
)

const (
	metadataPlain = 1 // a partition time alone
	metadataMarks = 2 // with marks behind it
	metadataBytes = 9 // up to the marks

	markBytes = 4 + 8 // of a mark, beside its name
)

// Marks of the task's own. Kafka Streams hands on all marks that it finds, so theirs have to be told from those that
// are its.
const (
	commitNumber = ""      // counts commits, so that the newest marks can be told
	nextOffset   = "/next" // the offset that was committed with the marks
	// timesApart has the number of the commit where its times are in the progress topic. A build that does not know it
	// hands it on with another number.
	timesApart = "/times"
	// alignedMark is how far the time of operators behind repartitions may go, and openMark is there where they have seen
	// later records.
	alignedMark = "/aligned"
	openMark    = "/open"
)

// ours tells whether a task has committed the marks with that offset. Otherwise somebody else has gone on since: of
// the marks only the times are good up to which windows are closed, which Kafka Streams keeps too.
func ours(marks map[string]int64, next int64) bool {
	_, counted := marks[commitNumber]
	at, ok := marks[nextOffset]
	return counted && ok && at == next
}

// isClosed tells whether a mark is the time up to which a store's windows are closed: it has the store's name, and
// all other marks something behind it.
func isClosed(mark string) bool {
	return mark != commitNumber && !strings.Contains(mark, "/")
}

// encodeMetadata makes the metadata of a committed offset.
func encodeMetadata(partitionTime int64, marks map[string]int64) string {
	b := make([]byte, 1, metadataBytes)
	b[0] = metadataPlain
	b = binary.BigEndian.AppendUint64(b, uint64(partitionTime))
	if len(marks) > 0 {
		b[0] = metadataMarks
		b = binary.BigEndian.AppendUint32(b, uint32(len(marks)))
		for _, name := range slices.Sorted(maps.Keys(marks)) {
			b = binary.BigEndian.AppendUint32(b, uint32(len(name)))
			b = append(b, name...)
			b = binary.BigEndian.AppendUint64(b, uint64(marks[name]))
		}
	}
	return base64.StdEncoding.EncodeToString(b)
}

// decodeMetadata reads the partition time and the marks. Metadata that is empty has none.
func decodeMetadata(metadata string) (partitionTime int64, marks map[string]int64, err error) {
	if metadata == "" {
		return topology.Unknown, nil, nil
	}
	b, err := base64.StdEncoding.DecodeString(metadata)
	if err != nil {
		return 0, nil, fmt.Errorf("offset metadata %q: %w", metadata, err)
	}
	if len(b) < metadataBytes || (b[0] != metadataPlain && b[0] != metadataMarks) {
		return 0, nil, fmt.Errorf("offset metadata %q: not of version %d or %d",
			metadata, metadataPlain, metadataMarks)
	}
	partitionTime = inBounds(binary.BigEndian.Uint64(b[1:]))
	if marks, err = decodeMarks(b[metadataBytes:]); err != nil {
		return 0, nil, fmt.Errorf("offset metadata %q: %w", metadata, err)
	}
	return partitionTime, marks, nil
}

// StartMetadata is the metadata of an offset before which nothing was processed.
func StartMetadata() string { return encodeMetadata(topology.Unknown, nil) }

// HasWritten tells whether metadata is what a task, or Kafka Streams, has written.
func HasWritten(metadata string) bool {
	_, _, err := decodeMetadata(metadata)
	return metadata != "" && err == nil
}

// inBounds is what was committed as a time, as far as it can be one.
func inBounds(committed uint64) int64 {
	return max(min(int64(committed), topology.MaxTime), topology.Unknown)
}

var errMarks = errors.New("the marks are cut off")

func decodeMarks(b []byte) (map[string]int64, error) {
	if len(b) == 0 {
		return nil, nil
	}
	if len(b) < 4 {
		return nil, errMarks
	}
	n := binary.BigEndian.Uint32(b)
	b = b[4:]
	marks := map[string]int64{}
	for range n {
		if len(b) < 4 {
			return nil, errMarks
		}
		size := int64(binary.BigEndian.Uint32(b))
		if int64(len(b)) < 4+size+8 {
			return nil, errMarks
		}
		name := string(b[4 : 4+size])
		at := binary.BigEndian.Uint64(b[4+size:])
		if marks[name] = int64(at); isClosed(name) { // which Kafka Streams commits, too
			marks[name] = inBounds(at)
		}
		b = b[4+size+8:]
	}
	return marks, nil
}
