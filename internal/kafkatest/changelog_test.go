package kafkatest

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"thalweg/stream"
	"thalweg/stream/streamtest"
	"thalweg/topology"
)

// changelogFile has what an application of Kafka Streams 4.3.1, javaFirst of Changelogs.java, left behind when it had
// processed the first half of the input: the records of its changelogs, and the rows of its stores. Of another, which
// processed all of the input, it has the results. "make changelogs" writes it anew.
const (
	changelogFile = "testdata/changelogs.jsonl.gz"
	javaFirst     = "java-first"
)

// change is a line of the file: a record of a changelog, or a row of a store, or a result.
type change struct {
	Changelog string            `json:"changelog,omitempty"` // the store
	Key       hexBytes          `json:"key,omitempty"`
	Value     hexBytes          `json:"value,omitzero"`
	Timestamp int64             `json:"timestamp,omitempty"`
	Headers   []topology.Header `json:"headers,omitempty"`

	Row    string `json:"row,omitempty"`
	Result string `json:"result,omitempty"`
}

// hexBytes are bytes as text; nil is null.
type hexBytes []byte

// MarshalText writes the bytes.
func (b hexBytes) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, b), nil }

// UnmarshalText reads them.
func (b *hexBytes) UnmarshalText(text []byte) (err error) {
	*b, err = hex.AppendDecode([]byte{}, text)
	return err
}

// load reads the file.
func load(t testing.TB) (written []change, rows, results []string) {
	f, err := os.Open(changelogFile)
	require.NoError(t, err)
	defer f.Close()
	z, err := gzip.NewReader(f)
	require.NoError(t, err)
	for d := json.NewDecoder(z); ; {
		var c change
		switch err := d.Decode(&c); {
		case errors.Is(err, io.EOF):
			return written, rows, results
		case err != nil:
			require.NoError(t, err)
		case c.Changelog != "":
			written = append(written, c)
		case c.Row != "":
			rows = append(rows, c.Row)
		default:
			results = append(results, c.Result)
		}
	}
}

func outputLine(key, value []byte, timestamp int64) string {
	v := "~"
	if value != nil {
		v = string(value)
	}
	return fmt.Sprintf("%s=%s@%d", key, v, timestamp)
}

// drive starts the application in memory.
func drive(t testing.TB) *streamtest.Driver {
	return streamtest.New(t, changelogTopology(t, javaFirst), streamtest.Config{ApplicationID: javaFirst})
}

func send(d *streamtest.Driver, events []event) {
	in := d.Input(stream.NewTopic[string, string](javaFirst + "-in"))
	for _, e := range events {
		in.SendRecord(e)
	}
}

// addResults adds what the application has written to its topics.
func addResults(d *streamtest.Driver, topics map[string][]string) {
	for _, o := range outputs {
		for _, w := range d.Written(javaFirst + "-out-" + o) {
			topics[o] = append(topics[o], outputLine(w.Key, w.Value, w.Timestamp))
		}
	}
}

// What Kafka Streams has left in its changelogs is what its stores held, and the second half of the input gives the
// results that it gives.
func TestStoresComeBackFromChangelogsOfKafkaStreams(t *testing.T) {
	written, rows, results := load(t)
	halves := changelogInput()
	topics := map[string][]string{}
	before := drive(t)
	send(before, halves[0])
	addResults(before, topics)

	d := drive(t)
	for _, c := range written {
		d.Input(stream.NewTopic[[]byte, []byte](javaFirst+"-"+c.Changelog+"-changelog")).Append(0,
			topology.Record[[]byte, []byte]{Key: c.Key, Value: c.Value, Timestamp: c.Timestamp, Headers: c.Headers})
	}
	d.Restart(streamtest.LoseState)
	found := storeRows(t, d, nil)
	for _, name := range []string{"counts", "tumbling", "sessions", "versions", "outer-outer-this-join-store"} {
		require.True(t, slices.ContainsFunc(rows, func(r string) bool { return strings.HasPrefix(r, name+" ") }), name)
	}
	// A changelog goes back further than the store, which learns what time it is from the next record.
	require.Subset(t, found, rows)

	// How far windows were emitted as closed is committed with the offsets, not in the changelogs: without, they are
	// emitted again.
	send(d, halves[1])
	addResults(d, topics)
	requireSame(t, slices.Compact(results), slices.Compact(sortedByTopic(topics)))
}

// The same input gives the same records in the changelogs, but for what is said at comparable.
func TestChangelogsAreWrittenAsKafkaStreamsDoes(t *testing.T) {
	written, _, _ := load(t)
	halves := changelogInput()
	d := drive(t)
	send(d, halves[0])
	byStore := map[string][]change{}
	for _, c := range written {
		byStore[c.Changelog] = append(byStore[c.Changelog], c)
	}
	for _, store := range changelogged {
		t.Run(store, func(t *testing.T) {
			var ours []change
			for _, w := range d.Written(javaFirst + "-" + store + "-changelog") {
				ours = append(ours, change{Key: w.Key, Value: w.Value, Timestamp: w.Timestamp, Headers: w.Headers})
			}
			want := comparable(store, byStore[store])
			require.NotEmpty(t, want)
			require.Equal(t, want, comparable(store, ours))
		})
	}
}

// comparable is what can be compared of the records of a changelog: of each key, its records in their order.
//
//   - Kafka Streams logs the deletion of a row that was not there. Where a change replaces a row under the same key, it
//     removes the row of a session first. Here the two are one change.
//   - Records of sessions and held records have the row's own time here, its end, and that of the record that was being
//     processed there. What waits and what is suppressed has the time of the wall clock there.
//   - Suppressions write the changes of a commit there, here each of them is one: it is the rows that remain that are
//     compared. Their old value is the one before the last change there, and the one that went on before here; and of a
//     window that is new the value that went on before is none here, not the initial one. The subscriptions of a
//     foreign-key join, too, come by way of a topic, which is read by the piece.
func comparable(store string, written []change) map[string][]string {
	suppressed := slices.Contains([]string{"limited-store", "final-store", "final-sessions-store"}, store)
	remain := suppressed || store == "foreign-subscription-store"
	timeless := suppressed || store == "waiting-Buffer" || strings.Contains(store, "sessions") ||
		strings.HasSuffix(store, "-shared-join-store")
	found := map[string][]string{}
	for i, c := range written {
		key, value := hex.EncodeToString(c.Key), "null"
		_, known := found[key]
		switch {
		case c.Value != nil && suppressed:
			value = suppressedRow(c.Value, store == "limited-store")
		case c.Value != nil:
			value = fmt.Sprintf("%x", c.Value)
		case !known:
			continue
		case strings.HasSuffix(store, "sessions") && i+1 < len(written) && bytes.Equal(written[i+1].Key, c.Key):
			continue
		}
		if len(c.Headers) > 0 {
			value += fmt.Sprintf(" %q", c.Headers)
		}
		if !timeless {
			value += fmt.Sprintf(" @%d", c.Timestamp)
		}
		switch {
		case !remain:
			found[key] = append(found[key], value)
		case c.Value == nil:
			delete(found, key)
		default:
			found[key] = []string{value}
		}
	}
	return found
}

// suppressedRow is what can be compared of a row of a suppression.
func suppressedRow(row []byte, withPrior bool) string {
	at := 16 // timestamp and offset
	sized := func() []byte {
		from := at
		at += 4 + max(0, int(int32(binary.BigEndian.Uint32(row[at:]))))
		return row[from:at]
	}
	sized() // topic
	at += 4 // partition
	headers := binary.BigEndian.Uint32(row[at:])
	at += 4
	for range 2 * headers {
		sized()
	}
	origin, prior := row[:at], sized()
	if !withPrior {
		prior = nil
	}
	sized() // old
	return fmt.Sprintf("%x prior %x new %x time %x", origin, prior, sized(), row[at:])
}
