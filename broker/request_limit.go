package broker

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"reflect"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// A Produce request has Config.MaxRequestBytes, most of which are records that stay as they are. Every other request is
// decoded into lists of things that it names, and is answered with as many. A name of two bytes takes a hundred times
// as much in memory until it is answered. So the others have smaller limits, which follow from the partitions that
// there may be: bytes, and things in all lists together. Of a connection no more than one large request of theirs waits
// for its answer, and of the process no more than one at a time is decoded.
//
// The limit of things holds for Produce, too. There they are counted before anything is decoded, since a hundred
// mebibytes may name very many. The decoder itself allocates a list only where the bytes for it are there.
const (
	otherBytesMin   = 4 << 20
	bytesPerName    = 256 // of a partition in a request
	elementsMin     = 100_000
	elementsPerName = 5 // a partition, its topic, both once more in another list, and one to spare
)

// otherBytesMax limits a request other than Produce.
func (c *Config) otherBytesMax() int {
	return min(c.MaxRequestBytes, max(otherBytesMin, bytesPerName*c.MaxTopicPartitions))
}

// elementsMax limits what all lists of a request hold.
func (c *Config) elementsMax() int {
	return max(elementsMin, elementsPerName*c.MaxTopicPartitions)
}

// errRequestLimit is a request that is refused for its size.
var errRequestLimit = errors.New("the limit is exceeded, and the connection is closed")

// errOtherProtocol is a client that does not speak Kafka's protocol.
var errOtherProtocol = errors.New("the connection is closed")

// otherProtocol names the protocol whose first bytes were taken for the size of a request; "" if it is none that we
// know. As a size they are larger than any that is sent.
func otherProtocol(size uint32) string {
	if size>>16 == 0x1603 { // the record of a ClientHello, of version 3.x
		return "TLS"
	}
	first := binary.BigEndian.AppendUint32(nil, size)
	switch string(first) {
	case "GET ", "POST", "HEAD", "PUT ", "DELE", "OPTI", "PRI ": // the last one of HTTP/2
		return "HTTP"
	}
	return ""
}

// checkSize refuses a request that has more bytes than it may, and otherwise returns its key.
func (c *conn) checkSize(in *bufio.Reader, size int) (key int16, err error) {
	cfg := &c.b.cfg
	if size > cfg.MaxRequestBytes {
		if name := otherProtocol(uint32(size)); name != "" {
			return 0, fmt.Errorf("the first bytes look like %s: this port speaks the Kafka protocol in plain text; have the "+
				"client use it without TLS (security.protocol=PLAINTEXT), or see that nothing else connects here: %w",
				name, errOtherProtocol)
		}
		return 0, fmt.Errorf("%s has %d bytes, at most %d are allowed (Config.MaxRequestBytes; send smaller batches): %w",
			headerOf(in), size, cfg.MaxRequestBytes, errRequestLimit)
	}
	peek, err := in.Peek(2)
	if err != nil {
		return 0, fmt.Errorf("request of %d bytes: %w", size, err)
	}
	if key = apiKeyOf(peek); key != int16(kmsg.Produce) && size > cfg.otherBytesMax() {
		return 0, fmt.Errorf("%s has %d bytes, at most %d are allowed (see Config.MaxRequestBytes; ask for less at a "+
			"time): %w", headerOf(in), size, cfg.otherBytesMax(), errRequestLimit)
	}
	return key, nil
}

// headerOf names the request whose header comes next. What has not arrived of it is not waited for.
func headerOf(in *bufio.Reader) *request {
	header, _ := in.Peek(in.Buffered()) // there is that much
	if r, _, _ := parseHeader(header); r != nil {
		return r
	}
	if len(header) >= 2 {
		return &request{key: apiKeyOf(header)}
	}
	return &request{key: -1}
}

// decode reads a request from its frame.
func (c *conn) decode(frame []byte) (*request, error) {
	most := c.b.cfg.elementsMax()
	switch {
	case len(frame) <= smallFrameBytes:
		return parseRequest(frame)
	case apiKeyOf(frame) == int16(kmsg.Produce):
		r, body, err := parseHeader(frame)
		if err == nil {
			err = r.limitElements(producedElements(body, r.version, most), most)
		}
		if err != nil {
			return nil, err
		}
		return parseRequest(frame)
	}
	c.b.decoding.Lock()
	defer c.b.decoding.Unlock()
	r, err := parseRequest(frame)
	if err == nil {
		err = r.limitElements(elementsOf(r.body), most)
	}
	if err != nil {
		return nil, err
	}
	return r, nil
}

// limitElements refuses a request whose lists hold n things, if that is too many.
func (r *request) limitElements(n, most int) error {
	if n > most {
		return fmt.Errorf("%s has %d things in its lists, at most %d are allowed (see Config.MaxRequestBytes; ask for "+
			"less at a time): %w", r, n, most, errRequestLimit)
	}
	return nil
}

func apiKeyOf(frame []byte) int16 { return int16(binary.BigEndian.Uint16(frame)) }

// elementsOf counts what all lists of a request hold, unknown tags included.
func elementsOf(body kmsg.Request) int {
	if body == nil {
		return 0
	}
	return countElements(reflect.ValueOf(body).Elem())
}

var tagsType = reflect.TypeFor[kmsg.Tags]()

func countElements(v reflect.Value) (n int) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			n = countElements(v.Elem())
		}
	case reflect.Struct:
		if v.Type() == tagsType {
			tags := v.Interface().(kmsg.Tags)
			return tags.Len()
		}
		for i := range v.NumField() {
			n += countElements(v.Field(i))
		}
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			return 0
		}
		n = v.Len()
		if k := v.Type().Elem().Kind(); k == reflect.Struct || k == reflect.Pointer || k == reflect.Slice {
			for i := range v.Len() {
				n += countElements(v.Index(i))
			}
		}
	}
	return n
}

// drain returns when all requests that were read are answered.
func (c *conn) drain(ctx context.Context) error {
	drained := make(chan struct{})
	c.idle.begin()
	select {
	case c.queue <- started{complete: func(context.Context) (answer, error) {
		close(drained)
		return answer{silent: true}, nil
	}}:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case <-drained:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
