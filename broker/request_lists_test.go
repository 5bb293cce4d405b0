package broker

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// What is counted before a Produce request is decoded is what the decoder makes of it, and bytes that are no request
// end it.
func TestProducedElements(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for version := range kmsg.NewPtrProduceRequest().MaxVersion() + 1 {
		for range 50 {
			req := kmsg.NewPtrProduceRequest()
			req.Version = version
			if rng.IntN(2) == 0 {
				req.TransactionID = kmsg.StringPtr("tx")
			}
			for range rng.IntN(4) {
				topic := kmsg.NewProduceRequestTopic()
				topic.Topic, topic.TopicID = "topic"[:rng.IntN(6)], [16]byte{1, 2, 3}
				topic.UnknownTags.Set(100, []byte("unknown"))
				for range rng.IntN(4) {
					p := kmsg.NewProduceRequestTopicPartition()
					p.Records = [][]byte{nil, {}, make([]byte, 1+rng.IntN(300))}[rng.IntN(3)]
					topic.Partitions = append(topic.Partitions, p)
				}
				req.Topics = append(req.Topics, topic)
			}
			frame := kmsg.NewRequestFormatter(kmsg.FormatterClientID("client")).AppendRequest(nil, req, 1)[4:]
			r, err := parseRequest(frame)
			require.NoError(t, err)
			_, body, err := parseHeader(frame)
			require.NoError(t, err)
			require.Equal(t, elementsOf(r.body), producedElements(body, version, math.MaxInt), "v%d: %+v", version, req)
			for at := range body {
				producedElements(body[:at], version, math.MaxInt)
				noise := slices.Clone(body)
				noise[at] ^= byte(1 + rng.IntN(255))
				require.LessOrEqual(t, producedElements(noise, version, math.MaxInt), len(body)*len(body))
			}
		}
	}
}
