package broker_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"thalweg/broker/brokertest"
)

// writeMarker is what kafka-transactions abort sends.
func writeMarker(t *testing.T, client *kgo.Client, m kmsg.WriteTxnMarkersRequestMarker, topic string, partition int32,
) error {
	t.Helper()
	req := kmsg.NewPtrWriteTxnMarkersRequest()
	mt := kmsg.NewWriteTxnMarkersRequestMarkerTopic()
	mt.Topic, mt.Partitions = topic, []int32{partition}
	m.Topics = append(m.Topics, mt)
	req.Markers = append(req.Markers, m)
	resp, err := req.RequestWith(within(t), client)
	if err != nil {
		return err
	}
	require.Equal(t, m.ProducerID, resp.Markers[0].ProducerID)
	return kerr.ErrorForCode(resp.Markers[0].Topics[0].Partitions[0].ErrorCode)
}

// An operator ends a transaction in one partition, for readers who wait for it.
func TestOperatorsMarkers(t *testing.T) {
	b := brokertest.New(t, brokertest.At(brokertest.NewClock())) // whose maintenance never runs, and syncs nothing
	createTopic(t, b, 2, "t")
	p := newRawProducer(t, b, "tx")
	require.NoError(t, p.produce(0, "hangs"))
	other := plain(t, b)
	require.NoError(t, other.send(0, other.batch(0, "behind")).Err)
	require.Empty(t, committedIn(t, b, 0))

	client := brokertest.Client(t, b)
	m := kmsg.NewWriteTxnMarkersRequestMarker()
	m.ProducerID, m.ProducerEpoch = p.pid, p.epoch
	require.ErrorIs(t, writeMarker(t, client, m, "nosuch", 0), kerr.UnknownTopicOrPartition)
	require.ErrorIs(t, writeMarker(t, client, m, "t", 2), kerr.UnknownTopicOrPartition)
	older := m
	older.ProducerEpoch--
	require.Error(t, writeMarker(t, client, older, "t", 0))
	require.Empty(t, committedIn(t, b, 0))
	require.NoError(t, writeMarker(t, client, m, "t", 0))
	require.Equal(t, []string{"behind"}, committedIn(t, b, 0))
	older = m
	older.CoordinatorEpoch--
	require.ErrorIs(t, writeMarker(t, client, older, "t", 0), kerr.TransactionCoordinatorFenced)

	// The coordinator's own marker, later, changes nothing.
	require.NoError(t, p.end(false, 5))
	require.Equal(t, []string{"behind"}, committedIn(t, b, 0))
	m.ProducerEpoch = p.epoch
	require.NoError(t, writeMarker(t, client, m, "__consumer_offsets", 0))
}

func TestFeaturesStayAsTheyAre(t *testing.T) {
	b := brokertest.New(t)
	client := brokertest.Client(t, b)
	versions, err := kmsg.NewPtrApiVersionsRequest().RequestWith(within(t), client)
	require.NoError(t, err)
	update := func(version int16, name string, level int16, upgrade int8) *kmsg.UpdateFeaturesResponse {
		req := kmsg.NewPtrUpdateFeaturesRequest()
		f := kmsg.NewUpdateFeaturesRequestFeatureUpdate()
		f.Feature, f.MaxVersionLevel, f.UpgradeType = name, level, upgrade
		req.FeatureUpdates = append(req.FeatureUpdates, f)
		conn := dial(t, b)
		conn.send(req, version, 1)
		_, body := conn.receive()
		resp := kmsg.NewPtrUpdateFeaturesResponse()
		resp.SetVersion(version)
		require.NoError(t, resp.ReadFrom(body[1:])) // behind the header's tags
		require.NoError(t, conn.Close())
		return resp
	}
	require.NotEmpty(t, versions.FinalizedFeatures)
	for _, f := range versions.FinalizedFeatures {
		require.Zero(t, update(2, f.Name, f.MaxVersionLevel, 1).ErrorCode)
		for _, level := range []int16{f.MaxVersionLevel - 1, f.MaxVersionLevel + 1} {
			resp := update(2, f.Name, level, 2)
			require.Equal(t, kerr.InvalidUpdateVersion.Code, resp.ErrorCode)
			require.Contains(t, *resp.ErrorMessage, f.Name)
		}
	}
	require.Equal(t, kerr.InvalidUpdateVersion.Code, update(2, "metadata.version", 25, 7).ErrorCode)
	resp := update(0, "nosuch", 1, 0)
	require.Zero(t, resp.ErrorCode)
	require.Equal(t, kerr.InvalidUpdateVersion.Code, resp.Results[0].ErrorCode)
}

// Some clients infer the broker's version from the versions of single requests, as kafka-python does from these.
func TestVersionsThatClientsGuessFrom(t *testing.T) {
	versions, err := kmsg.NewPtrApiVersionsRequest().RequestWith(within(t), brokertest.Client(t, brokertest.New(t)))
	require.NoError(t, err)
	most := map[int16]int16{}
	for _, k := range versions.ApiKeys {
		most[k.ApiKey] = k.MaxVersion
	}
	for key, version := range map[kmsg.Key]int16{kmsg.DescribeLogDirs: 5, kmsg.ListOffsets: 11, kmsg.Produce: 13} {
		require.Equal(t, version, most[int16(key)], key.Name())
	}
}
