package broker

import (
	"encoding/binary"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// FuzzParseRequest feeds arbitrary frames to the decoder, and whatever decodes to a broker.
func FuzzParseRequest(f *testing.F) {
	for key := range int16(93) {
		req := kmsg.RequestForKey(key)
		if req == nil {
			continue
		}
		for _, version := range []int16{0, req.MaxVersion() / 2, req.MaxVersion()} {
			req.SetVersion(version)
			frame := binary.BigEndian.AppendUint16(nil, uint16(key))
			frame = binary.BigEndian.AppendUint16(frame, uint16(version))
			frame = append(frame, 0, 0, 0, 1, 0xff, 0xff)
			if req.IsFlexible() {
				frame = append(frame, 0)
			}
			f.Add(req.AppendTo(frame))
		}
	}
	f.Add([]byte{0, 18, 0, 99, 0, 0, 0, 1, 0xff, 0xff})
	f.Add([]byte{})
	b, err := Open(Config{MaxTopicPartitions: 50})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		if len(frame) > 1<<16 {
			return
		}
		r, err := parseRequest(frame)
		if err != nil {
			return
		}
		ctx, cancel := contextThatIsOver()
		defer cancel()
		complete, err := b.in.(*broker).begin(ctx, r)
		if err != nil {
			return
		}
		a, err := complete(ctx)
		if err == nil && a.body != nil {
			a.body.AppendTo(nil)
		}
	})
}
