package broker_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"reflect"
	"runtime/debug"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"thalweg/broker"
	"thalweg/broker/brokertest"
	"thalweg/internal/batch"
	"thalweg/internal/direct"
)

const (
	fuzzedBytesMax  = 16 << 10
	fuzzedAllocsMax = 64 << 20         // bytes that a broker allocates to open twice and to answer two requests
	fuzzedHangs     = time.Minute      // the longest that an input may take
	fuzzedWait      = time.Millisecond // for an answer, before the clock moves or the client leaves
)

// FuzzRequests sends one or two requests, each on a connection of its own, to a broker with topics, groups and open
// transactions, or to one that has lost the logs of its coordinators. A request is a key, a version and a body; the
// target adds the header. The second request is sent while the first may still wait. Without a second one the client
// leaves; with it a minute passes. Each request is answered in the form of its version, or its connection ends, or it
// waits until the client leaves. Then the broker closes, opens again, and has every record that it acknowledged.
func FuzzRequests(f *testing.F) {
	s := newStage(f)
	s.seed(f, func(first, second []byte) { f.Add(false, first, second) })
	s.seedLost(func(first, second []byte) { f.Add(true, first, second) })
	f.Fuzz(func(t *testing.T, lost bool, first, second []byte) {
		if len(first)+len(second) > fuzzedBytesMax {
			return
		}
		defer watchFuzzed()()
		before := broker.AllocatedBytes()
		fs := s.fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rand.New(rand.NewPCG(1, 1))})
		offline := 0
		if lost {
			for _, dir := range []string{"data/__consumer_offsets-0", "data/__transaction_state-0"} {
				require.NoError(t, fs.RemoveAll(dir))
				offline++
			}
		}
		p := s.perform(t, fs, lost, first, second)
		b := s.open(t, fs, brokertest.NewClock())
		require.Equal(t, offline, b.Stats().OfflinePartitions, "after the restart")
		if !p.removes {
			s.requireRecords(t, b, s.records)
			s.requireRecords(t, b, p.acknowledged)
		}
		require.NoError(t, b.Close())
		require.Less(t, broker.AllocatedBytes()-before, uint64(fuzzedAllocsMax), "bytes allocated")
	})
}

// watchFuzzed ends the process, with all stacks, if the input takes too long.
func watchFuzzed() (stop func()) {
	watch := time.AfterFunc(fuzzedHangs, func() {
		debug.SetTraceback("all")
		panic("the broker hangs")
	})
	return func() { watch.Stop() }
}

// place is where a record of value lies; an empty value stands for any.
type place struct {
	topic     string
	partition int32
	offset    int64
	value     string
}

// performance is the outcome of an input's requests.
type performance struct {
	stage        *stage
	t            *testing.T
	lost         bool // the logs of the coordinators
	acknowledged []place
	session      int32 // of the last fetch
	removes      bool  // records may be gone, since a request was of a kind that removes
}

// exchange is one request and its connection.
type exchange struct {
	net.Conn
	req  kmsg.Request
	done bool
}

func (s *stage) perform(t *testing.T, fs vfs.FS, lost bool, frames ...[]byte) *performance {
	clock := brokertest.NewClock()
	b := s.open(t, fs, clock)
	uuid.SetRand(newUUIDs(2))
	defer uuid.SetRand(nil)
	p := &performance{stage: s, t: t, lost: lost}
	var exchanges []*exchange
	for _, frame := range frames {
		if len(frame) < 4 {
			continue
		}
		conn, err := b.Dial(t.Context(), "", "")
		if err != nil { // the first has set max.connections
			continue
		}
		x := &exchange{Conn: conn}
		exchanges = append(exchanges, x)
		p.send(x, frame)
		p.receive(x)
	}
	for _, x := range exchanges { // those that wait for others
		p.receive(x)
	}
	if len(exchanges) > 1 {
		clock.Advance(time.Minute)
	}
	for _, x := range exchanges { // those that waited for the time
		p.receive(x)
		require.NoError(t, x.Close())
	}
	require.NoError(t, b.Close())
	return p
}

// sessionHere stands for the id of the last fetch session.
const sessionHere = 0x5e5510 << 8

// send completes a request and writes it.
func (p *performance) send(x *exchange, frame []byte) {
	frame = bytes.ReplaceAll(frame, binary.BigEndian.AppendUint32(nil, sessionHere),
		binary.BigEndian.AppendUint32(nil, uint32(p.session)))
	key, version, body := binary.BigEndian.Uint16(frame), binary.BigEndian.Uint16(frame[2:]), frame[4:]
	switch kmsg.Key(key) {
	case kmsg.DeleteTopics, kmsg.DeleteRecords, kmsg.AlterConfigs, kmsg.IncrementalAlterConfigs:
		p.removes = true
	}
	out := append(make([]byte, 4), frame[:4]...)
	out = append(out, 0, 0, 0, 1, 0, 4, 'f', 'u', 'z', 'z')
	if req := kmsg.RequestForKey(int16(key)); req != nil && int16(version) >= 0 && int16(version) <= req.MaxVersion() {
		req.SetVersion(int16(version))
		if req.IsFlexible() {
			out = append(out, 0)
		}
		if req.ReadFrom(body) == nil {
			x.req = req
			body = withSums(req, body)
		}
	}
	out = append(out, body...)
	binary.BigEndian.PutUint32(out, uint32(len(out)-4))
	_, err := x.Write(out)
	require.NoError(p.t, err)
}

// withSums computes the checksums of batches that have zero instead.
func withSums(req kmsg.Request, body []byte) []byte {
	produce, ok := req.(*kmsg.ProduceRequest)
	if !ok {
		return body
	}
	for _, topic := range produce.Topics {
		for _, part := range topic.Partitions {
			for rest := part.Records; ; {
				parsed, next, err := batch.Parse(rest)
				if err != nil {
					break
				}
				if raw := parsed.Bytes(); binary.BigEndian.Uint32(raw[crcAt:]) == 0 {
					binary.BigEndian.PutUint32(raw[crcAt:], batchSum(raw))
				}
				rest = next
			}
		}
	}
	return produce.AppendTo(nil)
}

// receive takes the answer if there is one.
func (p *performance) receive(x *exchange) {
	if x.done {
		return
	}
	require.NoError(p.t, x.SetReadDeadline(time.Now().Add(fuzzedWait)))
	var head [8]byte
	_, err := io.ReadFull(x, head[:])
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return
	}
	x.done = true
	if errors.Is(err, io.EOF) {
		return
	}
	require.NoError(p.t, err)
	require.EqualValues(p.t, 1, binary.BigEndian.Uint32(head[4:]), "correlation id")
	require.NoError(p.t, x.SetReadDeadline(time.Time{}))
	body := make([]byte, binary.BigEndian.Uint32(head[:])-4)
	_, err = io.ReadFull(x, body)
	require.NoError(p.t, err)
	if x.req != nil {
		p.check(x.req, body)
	}
}

// check reads an answer and notes what it promises.
func (p *performance) check(req kmsg.Request, body []byte) {
	resp := req.ResponseKind()
	if resp.Key() == int16(kmsg.ApiVersions) && resp.GetVersion() > 4 {
		resp.SetVersion(0) // as it answers versions of the future
	} else if resp.IsFlexible() && resp.Key() != int16(kmsg.ApiVersions) {
		require.Zero(p.t, body[0], "tags of the header")
		body = body[1:]
	}
	name := kmsg.NameForKey(req.Key())
	require.NoError(p.t, resp.ReadFrom(body), name)
	require.Equal(p.t, body, resp.AppendTo(nil), "the answer to %s v%d has other bytes", name, req.GetVersion())
	p.requireKnown(reflect.ValueOf(resp).Elem(), name)
	switch resp := resp.(type) {
	case *kmsg.FetchResponse:
		p.session = resp.SessionID
	case *kmsg.ProduceResponse:
		for _, topic := range resp.Topics {
			for _, part := range topic.Partitions {
				if name := p.stage.nameOf(topic.Topic, topic.TopicID); part.ErrorCode == 0 && name != "" {
					p.acknowledged = append(p.acknowledged, place{name, part.Partition, part.BaseOffset, ""})
				}
			}
		}
	}
}

// requireKnown refuses the errors that say that something is wrong with the broker.
func (p *performance) requireKnown(v reflect.Value, path string) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			name := v.Type().Field(i).Name
			if name == "ErrorCode" {
				errorCode := int16(v.Field(i).Int())
				require.NotEqual(p.t, kerr.UnknownServerError.Code, errorCode, path)
				if !p.lost {
					require.NotEqual(p.t, kerr.KafkaStorageError.Code, errorCode, path)
				}
			}
			p.requireKnown(v.Field(i), path+"."+name)
		}
	case reflect.Slice:
		for i := range v.Len() {
			p.requireKnown(v.Index(i), path)
		}
	}
}

// requireRecords finds each record at its place.
func (s *stage) requireRecords(t *testing.T, b *broker.Broker, places []place) {
	for _, at := range places {
		results, err := direct.Of(b).Fetch(t.Context(), direct.FetchRequest{Partitions: []direct.FetchPartition{
			{Topic: at.topic, Partition: at.partition, Offset: at.offset, MaxBytes: 1}}})
		require.NoError(t, err)
		require.NoError(t, results[0].Err, "%v", at)
		require.NotEmpty(t, results[0].Batches, "%v is gone", at)
		parsed, _, err := batch.Parse(results[0].Batches[0])
		require.NoError(t, err)
		require.NoError(t, parsed.Verify())
		it, err := parsed.Records(nil)
		require.NoError(t, err)
		found := false
		for r := (batch.Record{}); it.Next(&r); {
			found = found || r.Offset == at.offset && (at.value == "" || string(r.Value) == at.value)
		}
		require.NoError(t, it.Err())
		require.True(t, found, "%v is gone", at)
	}
}
