package broker

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"thalweg/broker/internal/memnet"
	"thalweg/internal/memory"
)

// FuzzFrames writes a stream of bytes to a connection, in pieces. The requests in it come whole, in their order, up to
// the end of the stream or to what is no request; there the connection ends. Nothing of the memory stays in use, and a
// length alone takes no more than the first piece of it.
func FuzzFrames(f *testing.F) {
	const requestBytesMax, streamBytesMax = 1 << 20, 256 << 10
	produce := kmsg.NewPtrProduceRequest()
	part, topic := kmsg.NewProduceRequestTopicPartition(), kmsg.NewProduceRequestTopic()
	part.Records = []byte("records")
	topic.Partitions = append(topic.Partitions, part)
	produce.Topics = append(produce.Topics, topic)
	versions, appends := frameOf(kmsg.NewPtrApiVersionsRequest(), 0), frameOf(produce, 0)
	length := func(n uint32) []byte { return binary.BigEndian.AppendUint32(nil, n) }
	future := slices.Clone(versions)
	future[7] = 99
	for _, frames := range [][][]byte{
		{versions, appends, versions, appends, appends},
		slices.Repeat([][]byte{versions}, 20), // more than the broker reads ahead
		{frameOf(produce, 40<<10), appends, frameOf(produce, 100), frameOf(produce, 70<<10), versions},
		{frameOf(kmsg.NewPtrMetadataRequest(), 33<<10), frameOf(produce, 33<<10)[:30<<10]},
		{versions, versions[:5]}, {versions, length(0)}, {versions, length(9)}, {versions, length(10)},
		{versions, length(requestBytesMax), versions}, {versions, length(requestBytesMax + 1)},
		{length(1<<31 - 1)}, {length(1 << 31)}, {length(1<<32 - 1)}, {future, versions}, {},
		{versions, {0, 0, 0, 12, 0, 99, 0, 0, 0, 0, 0, 1, 0xff, 0xff, 0, 0}, versions}, // no such API
		{versions, {0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 1, 0, 9}, versions},             // the client id is too long
		{versions, {0, 0, 0, 11, 0, 18, 0, 4, 0, 0, 0, 1, 0xff, 0xff, 0x80}, versions}, // so are the tags
	} {
		for _, piece := range []uint16{1, 3, 13, 1 << 12, 1<<16 - 1} {
			f.Add(slices.Concat(frames...), piece)
		}
	}
	streams := map[string][]byte{} // of clients that were recorded
	for _, r := range RecordedRequests(f) {
		streams[r.Client] = append(append(streams[r.Client], length(uint32(len(r.Frame)))...), r.Frame...)
	}
	for _, stream := range streams {
		f.Add(stream, uint16(1<<10))
	}
	share := memory.NewShare(memory.Requests, 2*requestBytesMax)
	b := &broker{requestMemory: requestMemoryOf(share), handlers: map[int16]*handler{}}
	b.cfg = Config{MaxRequestBytes: requestBytesMax, MaxPipelinedRequests: 4}.withDefaults()
	for key := range int16(93) {
		if kmsg.RequestForKey(key) != nil {
			b.handlers[key] = &handler{0, 99, func(_ context.Context, r *request) completion {
				content := contentOf(r)
				return func(context.Context) (answer, error) { return answer{parts: [][]byte{content}}, nil }
			}}
		}
	}
	f.Fuzz(func(t *testing.T, stream []byte, piece uint16) {
		if len(stream) > streamBytesMax {
			return
		}
		before := AllocatedBytes()
		want, ends := requestsIn(stream, &b.cfg)
		client, served := memnet.Pair("client", memoryAddr)
		require.NoError(t, client.SetDeadline(time.Now().Add(time.Minute)))
		ctx, cancel := context.WithCancel(t.Context())
		c, done := newConn(b, served, cancel), make(chan struct{})
		go func() {
			defer close(done)
			c.serve(ctx)
		}()
		go func() {
			for part := range slices.Chunk(stream, max(1, int(piece), len(stream)/64)) {
				if _, err := client.Write(part); err != nil {
					return // the connection has ended
				}
				runtime.Gosched()
			}
		}()
		for _, r := range want {
			var head [4]byte
			_, err := io.ReadFull(client, head[:])
			require.NoError(t, err)
			got := make([]byte, binary.BigEndian.Uint32(head[:]))
			_, err = io.ReadFull(client, got)
			require.NoError(t, err)
			require.Equal(t, int32(binary.BigEndian.Uint32(got)), r.correlation)
			got = got[4:]
			if r.flexible && r.key != int16(kmsg.ApiVersions) {
				got = got[1:]
			}
			require.Equal(t, contentOf(r), slices.Clone(got))
		}
		if ends {
			_, err := client.Read(make([]byte, 1))
			require.False(t, err == nil || errors.Is(err, os.ErrDeadlineExceeded), "the connection does not end")
		}
		require.NoError(t, client.Close())
		select {
		case <-done:
		case <-time.After(time.Minute):
			t.Fatal("the connection does not end after its client has closed it")
		}
		require.Zero(t, share.UsedBytes())
		require.Less(t, AllocatedBytes()-before, uint64(8<<20+1000*len(stream)), "bytes allocated")
	})
}

// contentOf is what is answered to a request: its key, its version and the body as it was read.
func contentOf(r *request) []byte {
	content := binary.BigEndian.AppendUint16(nil, uint16(r.key))
	content = binary.BigEndian.AppendUint16(content, uint16(r.version))
	if r.body == nil {
		return content
	}
	return r.body.AppendTo(content)
}

// requestsIn divides a stream into requests. ends says that there is something else behind them.
func requestsIn(stream []byte, cfg *Config) (requests []*request, ends bool) {
	for len(stream) >= 4 {
		size := int(int32(binary.BigEndian.Uint32(stream)))
		if size < minRequestBytes || size > cfg.MaxRequestBytes {
			return requests, true
		}
		if stream = stream[4:]; size > len(stream) {
			break
		}
		r, err := parseRequest(slices.Clone(stream[:size]))
		if err != nil || r.unsupported && r.key != int16(kmsg.ApiVersions) {
			return requests, true
		}
		if most := cfg.elementsMax(); size > smallFrameBytes && r.limitElements(elementsOf(r.body), most) != nil {
			return requests, true
		}
		if r.unsupported {
			r.flexible = false
		}
		requests, stream = append(requests, r), stream[size:]
	}
	return requests, false
}
