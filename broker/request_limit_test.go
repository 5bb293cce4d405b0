package broker_test

import (
	"bytes"
	"encoding/binary"
	"io"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"thalweg/broker"
	"thalweg/broker/brokertest"
)

// framed is a request on the wire, of client "hungry".
func framed(key kmsg.Key, version int16, body []byte) []byte {
	frame := binary.BigEndian.AppendUint16(make([]byte, 4), uint16(key))
	frame = binary.BigEndian.AppendUint16(frame, uint16(version))
	frame = append(frame, 0, 0, 0, 1, 0, 6)
	frame = append(append(frame, "hungry"...), 0)
	frame = append(frame, body...)
	binary.BigEndian.PutUint32(frame, uint32(len(frame)-4))
	return frame
}

// emptyTopics produces to so many topics that have neither a name nor partitions, in as few bytes as a version can.
func emptyTopics(version int16, n int) []byte {
	if version >= 9 {
		body := binary.AppendUvarint([]byte{0, 0, 1, 0, 0, 0, 1}, uint64(n+1))
		return framed(kmsg.Produce, version, append(body, bytes.Repeat([]byte{1, 1, 0}, n)...))
	}
	body := binary.BigEndian.AppendUint32([]byte{0xff, 0xff, 0, 1, 0, 0, 0, 1}, uint32(n))
	frame := framed(kmsg.Produce, version, append(body, make([]byte, 6*n)...))
	frame = slices.Delete(frame, 20, 21) // there are no tags
	binary.BigEndian.PutUint32(frame, uint32(len(frame)-4))
	return frame
}

// emptyNames asks for the metadata of so many topics that have no name, two bytes each.
func emptyNames(n int) []byte {
	body := binary.AppendUvarint(nil, uint64(n+1))
	for range n {
		body = append(body, 1, 0)
	}
	return framed(kmsg.Metadata, 9, append(body, 0, 0, 0, 0))
}

// An error line names the client and the API of a request that is refused for its size.
func TestRequestsThatNameTooMuchAreRefused(t *testing.T) {
	for _, test := range []struct {
		name       string
		partitions int
		frame      []byte // of which the length is believed
		refused    string // part of the log line; empty: the request is answered
	}{
		{"many names", 0, emptyNames(90_000), ""},
		{"too many names", 0, emptyNames(100_001), "100001 things"},
		{"names of more partitions", 40_000, emptyNames(100_001), ""},
		{"the most bytes", 0, framed(kmsg.Metadata, 9, make([]byte, 20_000*256-100)), ""},
		{"too many bytes", 0, framed(kmsg.Metadata, 9, make([]byte, 20_000*256)), "5120000 are allowed"},
		{"bytes of more partitions", 40_000, framed(kmsg.Metadata, 9, make([]byte, 20_000*256)), ""},
		{"more bytes than any request may have", 0, framed(kmsg.Metadata, 9, make([]byte, 1<<20+1)), "1048576 are allowed"},
		{"too many topics for records", 0, emptyTopics(9, 120_000), "120000 things"},
		{"too many topics, in an older version", 0, emptyTopics(3, 120_000), "120000 things"},
		{"records", 0, framed(kmsg.Produce, 9, append([]byte{0, 0, 1, 0, 0, 0, 1, 1, 0}, make([]byte, 6<<20)...)), ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			var seen journal
			b := brokertest.New(t, seen.logTo(), brokertest.Configure(func(cfg *broker.Config) {
				if cfg.MaxTopicPartitions = test.partitions; test.refused == "1048576 are allowed" {
					cfg.MaxRequestBytes = 1 << 20
				}
			}))
			c := dial(t, b)
			go func() { _, _ = c.Write(test.frame) }() // some of it, where it is refused
			if test.refused == "" {
				_, err := io.ReadFull(c, make([]byte, 8))
				require.NoError(t, err)
				return
			}
			c.closed()
			require.Eventually(t, func() bool {
				return len(seen.lines("level=WARN", "a request is refused", " of client", `hungry`, test.refused)) == 1
			}, 10*time.Second, time.Millisecond)
		})
	}
}

// A client that speaks TLS or HTTP is no client whose request is too large. It is logged once a minute.
func TestOtherProtocolsAreRecognized(t *testing.T) {
	for first, want := range map[string]string{
		"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03":                 "look like TLS",
		"\x16\x03\x03\x00\x05\x01\x00\x00\x01\x03":                     "look like TLS",
		"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n":                    "look like HTTP",
		"POST /topics HTTP/1.1\r\nHost: localhost\r\n\r\n":             "look like HTTP",
		"HEAD / HTTP/1.0\r\n\r\n":                                      "look like HTTP",
		"PUT / HTTP/1.1\r\nHost: localhost\r\n\r\n":                    "look like HTTP",
		"OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n":                "look like HTTP",
		"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n":                             "look like HTTP",
		"\x16\x04\x01\x02\x00\x01\x00\x01\xfc\x03\x03\x00\x00\x00\x00": "send smaller batches",
	} {
		clock, seen := brokertest.NewClock(), &journal{}
		b := brokertest.New(t, brokertest.At(clock), seen.logTo())
		try := func() {
			c := dial(t, b)
			_, err := c.Write([]byte(first))
			require.NoError(t, err)
			c.closed()
		}
		for range 3 {
			try()
		}
		require.Eventually(t, func() bool { return len(seen.lines("level=WARN")) > 0 }, patience, time.Millisecond)
		clock.Advance(time.Minute)
		try()
		require.NoError(t, b.Close()) // all was logged
		if want == "send smaller batches" {
			require.Len(t, seen.lines("level=WARN", "a request is refused", want), 4)
			continue
		}
		require.Len(t, seen.lines("level=WARN"), 2, first)
		require.Len(t, seen.lines("level=WARN", "a client is refused", want, "speaks the Kafka protocol in plain text"), 2)
	}
}

// A request of the most bytes that consists of nothing but names takes a bounded amount of memory before it is refused.
func TestNamesTakeBoundedMemory(t *testing.T) {
	b := brokertest.New(t)
	frame := emptyNames(2_500_000)
	c := dial(t, b)
	before := broker.AllocatedBytes()
	go func() { _, _ = c.Write(frame) }()
	c.closed()
	require.Less(t, broker.AllocatedBytes()-before, uint64(256<<20), "bytes allocated")
}

// A request's lists take memory by the bytes that it has, wherever it claims that a list is longer than that. kmsg sees
// to it.
func TestClaimedLengthsTakeNoMemory(t *testing.T) {
	const frameBytes, perFrame = 1000, 32 << 10
	claims := [][]byte{
		binary.BigEndian.AppendUint32(nil, math.MaxInt32), binary.AppendUvarint(nil, math.MaxInt32),
	}
	for n := uint64(2); n < frameBytes; n *= 4 { // what may pass for one list, and then for those in it
		claims = append(claims, binary.BigEndian.AppendUint32(nil, uint32(n)), binary.AppendUvarint(nil, n))
	}
	decoded := 0
	for key := range int16(kmsg.MaxKey + 1) {
		body := kmsg.RequestForKey(key)
		for version := int16(0); body != nil && version <= body.MaxVersion(); version++ {
			before, frames := broker.AllocatedBytes(), uint64(0)
			for at := range 24 {
				for _, claim := range claims {
					rest := make([]byte, at, frameBytes)
					for len(rest) < frameBytes {
						rest = append(rest, claim...)
					}
					if broker.Decode(framed(kmsg.Key(key), version, rest)[4:]) == nil {
						decoded++
					}
					frames++
				}
			}
			require.Less(t, broker.AllocatedBytes()-before, frames*perFrame, "%s v%d", kmsg.NameForKey(key), version)
		}
	}
	require.Positive(t, decoded)
}

// A topic that is named many times is described once, as by Apache Kafka, however many partitions it has.
func TestATopicIsDescribedOnce(t *testing.T) {
	b := brokertest.New(t)
	createTopic(t, b, 3, "t")
	byName, byID := kmsg.NewMetadataRequestTopic(), kmsg.NewMetadataRequestTopic()
	byName.Topic = kmsg.StringPtr("t")
	req := kmsg.NewPtrMetadataRequest()
	req.Version, req.Topics = 12, []kmsg.MetadataRequestTopic{byName, byName}
	described := tell[*kmsg.MetadataResponse](t, b, req).Topics
	require.Len(t, described, 1)
	require.Len(t, described[0].Partitions, 3)
	byID.TopicID = described[0].TopicID
	req.Topics = []kmsg.MetadataRequestTopic{byID, byID}
	require.Equal(t, described, tell[*kmsg.MetadataResponse](t, b, req).Topics)
}
