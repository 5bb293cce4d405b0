package broker

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Recorded is a request that a client of somebody else's sent (testdata/requests).
type Recorded struct {
	Client       string
	Key, Version int16
	Frame        []byte // without its length
	Body         []byte // what follows the header
}

// RecordedRequests reads all of them.
func RecordedRequests(t testing.TB) []Recorded {
	files, err := filepath.Glob("testdata/requests/*.txt")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	var all []Recorded
	for _, name := range files {
		file, err := os.Open(name)
		require.NoError(t, err)
		defer file.Close()
		lines := bufio.NewScanner(file)
		for lines.Scan() {
			r := Recorded{Client: strings.TrimSuffix(filepath.Base(name), ".txt")}
			var text string
			_, err := fmt.Sscan(lines.Text(), &r.Key, &r.Version, &text)
			require.NoError(t, err, "%s: %q", name, lines.Text())
			r.Frame, err = hex.DecodeString(text)
			require.NoError(t, err, "%s: %q", name, lines.Text())
			r.Body = bodyOf(t, r.Frame)
			all = append(all, r)
		}
		require.NoError(t, lines.Err())
	}
	return all
}

// bodyOf skips the header of a request.
func bodyOf(t testing.TB, frame []byte) []byte {
	rest := frame[10:]
	if n := int16(binary.BigEndian.Uint16(frame[8:])); n > 0 {
		rest = rest[n:]
	}
	r, err := parseRequest(frame)
	require.NoError(t, err)
	if r.flexible {
		rest, err = skipTags(rest)
		require.NoError(t, err)
	}
	return rest
}

// All that was recorded is read to its last byte.
func TestRecordedRequests(t *testing.T) {
	for _, recorded := range RecordedRequests(t) {
		r, err := parseRequest(recorded.Frame)
		require.NoError(t, err)
		what := fmt.Sprintf("%s: %s v%d", recorded.Client, kmsg.NameForKey(r.key), r.version)
		require.Equal(t, recorded.Key, r.key, what)
		require.Equal(t, recorded.Version, r.version, what)
		if r.unsupported {
			require.Equal(t, int16(kmsg.ApiVersions), r.key, "%s is of the future", what)
			continue
		}
		require.Equal(t, hex.EncodeToString(recorded.Body), hex.EncodeToString(r.body.AppendTo(nil)), what)
	}
}
