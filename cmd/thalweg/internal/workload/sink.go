package workload

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sort"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"thalweg/internal/batch"
)

// Sink answers a producer and a consumer as a broker does, and does as little as possible for it: what a client does
// against a sink is the client's own ceiling. It knows one topic, under any name.
type Sink struct {
	partitions []sunk
	keep       bool
	addr       *net.TCPAddr
	producers  atomic.Int64
}

// sunk is a partition.
type sunk struct {
	sync.Mutex
	end     int64
	batches [][]byte // as they were produced, with their offsets, where the sink keeps them
}

// NewSink returns a sink with so many partitions. It keeps what is produced in memory if it is to be consumed, and
// drops it otherwise.
func NewSink(partitions int, keep bool) *Sink {
	return &Sink{partitions: make([]sunk, partitions), keep: keep}
}

// Serve answers connections until the listener is closed.
func (s *Sink) Serve(l net.Listener) error {
	s.addr = l.Addr().(*net.TCPAddr)
	for {
		conn, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("sink: %w", err)
		}
		go func() {
			defer conn.Close()
			_ = s.answer(conn) // the client sees that the connection ends
		}()
	}
}

// sinkFrameBytesMax is the largest request.
const sinkFrameBytesMax = 100 << 20

// answer answers the requests of a connection, one after the other.
func (s *Sink) answer(conn net.Conn) error {
	in := bufio.NewReaderSize(conn, 64<<10)
	var frame, out []byte
	for {
		var size [4]byte
		if _, err := io.ReadFull(in, size[:]); err != nil {
			return err
		}
		n := binary.BigEndian.Uint32(size[:])
		if n < 10 || n > sinkFrameBytesMax {
			return fmt.Errorf("sink: a request of %d bytes", n)
		}
		if uint32(cap(frame)) < n || s.keep {
			frame = make([]byte, n)
		}
		frame = frame[:n]
		if _, err := io.ReadFull(in, frame); err != nil {
			return err
		}
		resp, err := s.handle(frame)
		if err != nil {
			return err
		}
		out = append(out[:0], 0, 0, 0, 0)
		out = append(out, frame[4:8]...) // the correlation id
		if resp.IsFlexible() && resp.Key() != int16(kmsg.ApiVersions) {
			out = append(out, 0)
		}
		out = resp.AppendTo(out)
		binary.BigEndian.PutUint32(out, uint32(len(out)-4))
		if _, err := conn.Write(out); err != nil {
			return err
		}
	}
}

// handle decodes a request and answers it.
func (s *Sink) handle(frame []byte) (kmsg.Response, error) {
	key, version := int16(binary.BigEndian.Uint16(frame)), int16(binary.BigEndian.Uint16(frame[2:]))
	body := frame[10+max(0, int(int16(binary.BigEndian.Uint16(frame[8:])))):] // after the client's name
	req := kmsg.RequestForKey(key)
	if req == nil {
		return nil, fmt.Errorf("sink: request %d is none that it answers", key)
	}
	req.SetVersion(version)
	if req.IsFlexible() {
		body = body[1:] // no tags
	}
	if err := req.ReadFrom(body); err != nil {
		return nil, fmt.Errorf("sink: request %d: %w", key, err)
	}
	resp := req.ResponseKind()
	resp.SetVersion(version)
	switch req := req.(type) {
	case *kmsg.ApiVersionsRequest:
		sinkVersions(resp.(*kmsg.ApiVersionsResponse))
	case *kmsg.MetadataRequest:
		s.metadata(req, resp.(*kmsg.MetadataResponse))
	case *kmsg.InitProducerIDRequest:
		resp.(*kmsg.InitProducerIDResponse).ProducerID = s.producers.Add(1)
	case *kmsg.ProduceRequest:
		return resp, s.produce(req, resp.(*kmsg.ProduceResponse))
	case *kmsg.ListOffsetsRequest:
		s.listOffsets(req, resp.(*kmsg.ListOffsetsResponse))
	case *kmsg.FetchRequest:
		s.fetch(req, resp.(*kmsg.FetchResponse))
	default:
		return nil, fmt.Errorf("sink: request %d is none that it answers", key)
	}
	return resp, nil
}

// sinkVersions says which requests are answered: versions that name topics, since a sink gives them no ids.
func sinkVersions(resp *kmsg.ApiVersionsResponse) {
	if resp.Version > 3 {
		resp.Version, resp.ErrorCode = 0, kerr.UnsupportedVersion.Code
	}
	for key, last := range map[kmsg.Key]int16{
		kmsg.Produce: 9, kmsg.Fetch: 12, kmsg.ListOffsets: 6, kmsg.Metadata: 9, kmsg.ApiVersions: 3, kmsg.InitProducerID: 4,
	} {
		k := kmsg.NewApiVersionsResponseApiKey()
		k.ApiKey, k.MaxVersion = int16(key), last
		resp.ApiKeys = append(resp.ApiKeys, k)
	}
}

func (s *Sink) metadata(req *kmsg.MetadataRequest, resp *kmsg.MetadataResponse) {
	b := kmsg.NewMetadataResponseBroker()
	b.Host, b.Port = s.addr.IP.String(), int32(s.addr.Port)
	resp.Brokers = append(resp.Brokers, b)
	for _, topic := range req.Topics {
		t := kmsg.NewMetadataResponseTopic()
		t.Topic = topic.Topic
		for i := range s.partitions {
			p := kmsg.NewMetadataResponseTopicPartition()
			p.Partition, p.Replicas, p.ISR = int32(i), []int32{0}, []int32{0}
			t.Partitions = append(t.Partitions, p)
		}
		resp.Topics = append(resp.Topics, t)
	}
}

func (s *Sink) partition(i int32) (*sunk, error) {
	if i < 0 || int(i) >= len(s.partitions) {
		return nil, fmt.Errorf("sink: there is no partition %d", i)
	}
	return &s.partitions[i], nil
}

func (s *Sink) produce(req *kmsg.ProduceRequest, resp *kmsg.ProduceResponse) error {
	for _, topic := range req.Topics {
		t := kmsg.NewProduceResponseTopic()
		t.Topic = topic.Topic
		for _, part := range topic.Partitions {
			p := kmsg.NewProduceResponseTopicPartition()
			p.Partition = part.Partition
			sunk, err := s.partition(part.Partition)
			if err != nil {
				return err
			}
			if p.BaseOffset, err = sunk.append(part.Records, s.keep); err != nil {
				return err
			}
			t.Partitions = append(t.Partitions, p)
		}
		resp.Topics = append(resp.Topics, t)
	}
	return nil
}

func (p *sunk) append(raw []byte, keep bool) (base int64, err error) {
	b, _, err := batch.Parse(raw)
	if err != nil {
		return 0, err
	}
	p.Lock()
	defer p.Unlock()
	base = p.end
	p.end += int64(b.LastOffsetDelta()) + 1
	if keep {
		batch.SetBaseOffset(raw, base, 0)
		p.batches = append(p.batches, raw)
	}
	return base, nil
}

func (s *Sink) listOffsets(req *kmsg.ListOffsetsRequest, resp *kmsg.ListOffsetsResponse) {
	const earliest = -2
	for _, topic := range req.Topics {
		t := kmsg.NewListOffsetsResponseTopic()
		t.Topic = topic.Topic
		for _, part := range topic.Partitions {
			p := kmsg.NewListOffsetsResponseTopicPartition()
			p.Partition, p.Offset = part.Partition, 0
			if sunk, err := s.partition(part.Partition); err != nil {
				p.ErrorCode = kerr.UnknownTopicOrPartition.Code
			} else if part.Timestamp != earliest {
				sunk.Lock()
				p.Offset = sunk.end
				sunk.Unlock()
			}
			t.Partitions = append(t.Partitions, p)
		}
		resp.Topics = append(resp.Topics, t)
	}
}

// fetch answers at once with what is kept, up to the limits of the request, and an empty answer late.
func (s *Sink) fetch(req *kmsg.FetchRequest, resp *kmsg.FetchResponse) {
	left := int(req.MaxBytes)
	for _, topic := range req.Topics {
		t := kmsg.NewFetchResponseTopic()
		t.Topic = topic.Topic
		for _, part := range topic.Partitions {
			p := kmsg.NewFetchResponseTopicPartition()
			p.Partition = part.Partition
			if sunk, err := s.partition(part.Partition); err != nil {
				p.ErrorCode = kerr.UnknownTopicOrPartition.Code
			} else {
				p.RecordBatches, p.HighWatermark = sunk.read(part.FetchOffset, min(left, int(part.PartitionMaxBytes)))
				p.LastStableOffset = p.HighWatermark
			}
			left -= len(p.RecordBatches)
			t.Partitions = append(t.Partitions, p)
		}
		resp.Topics = append(resp.Topics, t)
	}
	if left == int(req.MaxBytes) {
		time.Sleep(time.Duration(req.MaxWaitMillis) * time.Millisecond)
	}
}

// read returns whole batches from an offset on, as many as a limit allows.
func (p *sunk) read(offset int64, limit int) (raw []byte, end int64) {
	p.Lock()
	defer p.Unlock()
	from := sort.Search(len(p.batches), func(i int) bool { return batch.LastOffsetOf(p.batches[i]) >= offset })
	raw = []byte{}
	for _, b := range p.batches[from:] {
		if limit -= len(b); limit < 0 {
			break
		}
		raw = append(raw, b...)
	}
	return raw, p.end
}
