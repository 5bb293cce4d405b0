package broker

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// request is a decoded request.
//
//	int16 key | int16 version | int32 correlation id | client id: int16 length, -1 = null, and bytes
//	tags if the version is flexible | body
type request struct {
	key, version int16
	correlation  int32
	clientID     string
	clientHost   string
	serverHost   string // the address that the connection came in by
	flexible     bool
	body         kmsg.Request // nil when the version is unknown
	unsupported  bool
}

// minRequestBytes is the size of a header with a null client id.
const minRequestBytes = 10

// answer is what a request is answered with: a body, or the parts of one that is encoded already.
type answer struct {
	body   kmsg.Response
	parts  [][]byte
	silent bool  // no answer at all
	held   int64 // bytes of the answers' memory that the parts have
}

// completion produces the answer to a request that was started; it may block. An error ends the connection.
type completion func(ctx context.Context) (answer, error)

// ready is the completion of a request that needs no waiting.
func ready(resp kmsg.Response) completion {
	return func(context.Context) (answer, error) { return answer{body: resp}, nil }
}

// String names a request in errors.
func (r *request) String() string {
	return fmt.Sprintf("request %s v%d of client %q", kmsg.NameForKey(r.key), r.version, r.clientID)
}

// parseHeader reads a request's header up to the tags, and returns what follows.
func parseHeader(frame []byte) (r *request, rest []byte, err error) {
	if len(frame) < minRequestBytes {
		return nil, nil, fmt.Errorf("request of %d bytes: shorter than its header", len(frame))
	}
	r = &request{
		key:         int16(binary.BigEndian.Uint16(frame)),
		version:     int16(binary.BigEndian.Uint16(frame[2:])),
		correlation: int32(binary.BigEndian.Uint32(frame[4:])),
	}
	rest = frame[minRequestBytes:]
	if n := int(int16(binary.BigEndian.Uint16(frame[8:]))); n > len(rest) || n < -1 {
		return r, nil, fmt.Errorf("%s: client id of %d bytes in a request of %d", r, n, len(frame))
	} else if n > 0 {
		r.clientID, rest = string(rest[:n]), rest[n:]
	}
	return r, rest, nil
}

func parseRequest(frame []byte) (*request, error) {
	r, rest, err := parseHeader(frame)
	if err != nil {
		return nil, err
	}
	body := kmsg.RequestForKey(r.key)
	if body == nil {
		return nil, fmt.Errorf("request with key %d: unknown", r.key)
	}
	if r.version < 0 || r.version > body.MaxVersion() {
		r.unsupported = true
		return r, nil
	}
	body.SetVersion(r.version)
	r.flexible = body.IsFlexible()
	if r.flexible {
		if rest, err = skipTags(rest); err != nil {
			return nil, fmt.Errorf("%s: header: %w", r, err)
		}
	}
	if err := body.ReadFrom(rest); err != nil {
		return nil, fmt.Errorf("%s: %w", r, err)
	}
	r.body = body
	return r, nil
}

var errTags = errors.New("tags exceed the request")

// skipTags skips tagged fields: a number of them, and each a tag, a length and bytes.
func skipTags(src []byte) ([]byte, error) {
	n, src, err := uvarint(src)
	for ; n > 0 && err == nil; n-- {
		var size uint64
		if _, src, err = uvarint(src); err != nil {
			break
		}
		if size, src, err = uvarint(src); err != nil {
			break
		}
		if size > uint64(len(src)) {
			return nil, errTags
		}
		src = src[size:]
	}
	return src, err
}

func uvarint(src []byte) (uint64, []byte, error) {
	v, n := binary.Uvarint(src)
	if n <= 0 {
		return 0, nil, errTags
	}
	return v, src[n:], nil
}
