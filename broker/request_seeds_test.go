package broker_test

import (
	"encoding/binary"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"thalweg/broker"
	"thalweg/broker/brokertest"
	"thalweg/internal/batch"
	"thalweg/internal/direct"
)

// stage is a data directory with some of everything, and the words that requests name it by. It is the same in each
// process: corpora name ids.
//
//	topics        plain, compacted, stamped (LogAppendTime), of two partitions each
//	groups        stable, static (a static member), joining (its member did not sync), empty (offsets only)
//	transactions  ended, aborted, open (a record and offsets)
type stage struct {
	fs       *vfs.MemFS
	topicIDs map[string][16]byte
	records  []place
	words    map[string]vocabulary
	batch    []byte     // two records, without a checksum
	keys     []kmsg.Key // of what the broker serves
}

// vocabulary is what the fields of a request are filled with, by name.
type vocabulary map[string]any

// with returns a copy with other words.
func (v vocabulary) with(pairs ...any) vocabulary {
	out := vocabulary{}
	for name, word := range v {
		out[name] = word
	}
	for i := 0; i < len(pairs); i += 2 {
		out[pairs[i].(string)] = pairs[i+1]
	}
	return out
}

// fill sets the fields of a request that the vocabulary has words for; each list gets one element.
func (v vocabulary) fill(to reflect.Value, name string) {
	if word, ok := v[name]; ok && to.Kind() != reflect.Struct {
		w := reflect.ValueOf(word)
		switch {
		case w.Type() == to.Type():
			to.Set(w)
			return
		case to.Kind() == reflect.Pointer && w.Type() == to.Type().Elem():
			to.Set(reflect.New(w.Type()))
			to.Elem().Set(w)
			return
		case to.Kind() == reflect.Slice && w.Type() == to.Type().Elem() && w.Kind() != reflect.Uint8:
			to.Set(reflect.Append(to, w))
			return
		case to.CanInt() && w.CanInt():
			to.SetInt(w.Int())
			return
		}
	}
	switch to.Kind() {
	case reflect.Struct:
		for i := range to.NumField() {
			field := to.Type().Field(i)
			if field.Name != "Version" && field.IsExported() && field.Name != "UnknownTags" {
				v.fill(to.Field(i), field.Name)
			}
		}
	case reflect.Slice:
		if to.Type().Elem().Kind() != reflect.Uint8 {
			element := reflect.New(to.Type().Elem())
			if d, ok := element.Interface().(interface{ Default() }); ok {
				d.Default()
			}
			v.fill(element.Elem(), name)
			to.Set(reflect.Append(to, element.Elem()))
		}
	case reflect.Pointer:
		if to.Type().Elem().Kind() == reflect.Struct {
			to.Set(reflect.New(to.Type().Elem()))
			v.fill(to.Elem(), name)
		}
	}
}

// identities are the fields by which requests name things.
var identities = []string{"Topic", "TopicNames", "TopicID", "Group", "Groups", "CoordinatorKey", "CoordinatorKeys",
	"MemberID", "Generation", "TransactionID", "TransactionalID", "TransactionalIDs", "ProducerID", "ProducerEpoch"}

// rename puts the vocabulary's words into the fields of a request that name something.
func (v vocabulary) rename(to reflect.Value, name string) {
	switch to.Kind() {
	case reflect.Struct:
		for i := range to.NumField() {
			if field := to.Type().Field(i); field.IsExported() && field.Name != "UnknownTags" {
				v.rename(to.Field(i), field.Name)
			}
		}
	case reflect.Slice:
		for i := range to.Len() {
			v.rename(to.Index(i), name)
		}
	case reflect.Pointer:
		if !to.IsNil() {
			v.rename(to.Elem(), name)
		}
	default:
		w := reflect.ValueOf(v[name])
		if slices.Contains(identities, name) && w.IsValid() && w.Type() == to.Type() && !to.IsZero() {
			to.Set(w)
		}
	}
}

// frame is a request of the vocabulary, as FuzzRequests takes it.
func (v vocabulary) frame(key kmsg.Key, version int16) []byte {
	req := key.Request()
	v.fill(reflect.ValueOf(req).Elem(), "")
	return frame(req, version)
}

func frame(req kmsg.Request, version int16) []byte {
	req.SetVersion(version)
	out := binary.BigEndian.AppendUint16(nil, uint16(req.Key()))
	return req.AppendTo(binary.BigEndian.AppendUint16(out, uint16(version)))
}

const crcAt = 17

func batchSum(raw []byte) uint32 {
	return crc32.Checksum(raw[crcAt+4:], crc32.MakeTable(crc32.Castagnoli))
}

// unsummed is a batch whose checksum is left to the target.
func unsummed(t testing.TB, c batch.Compression, p batch.Producer, values ...string) []byte {
	builder := batch.NewBuilder(c)
	for _, v := range values {
		builder.Append(brokertest.NewClock().Now().UnixMilli(), []byte("k"+v), []byte(v), []batch.Header{{Key: "h"}})
	}
	raw, err := builder.Finish(p)
	require.NoError(t, err)
	binary.BigEndian.PutUint32(raw[crcAt:], 0)
	return raw
}

// newUUIDs is a source of ids that is the same in each process.
func newUUIDs(seed byte) io.Reader { return rand.NewChaCha8([32]byte{seed}) }

func (s *stage) open(t testing.TB, fs vfs.FS, clock *brokertest.Clock) *broker.Broker {
	b, err := broker.Open(broker.Config{
		FS: fs, Dir: "data", Clock: clock, Sync: broker.SyncNever, MaxTopicPartitions: 40, MaxBatchBytes: 64 << 10,
		MaxGroupMembers: 5, AutoCreateTopics: true,
	})
	require.NoError(t, err)
	return b
}

func (s *stage) nameOf(name string, id [16]byte) string {
	for known, its := range s.topicIDs {
		if name == known || id == its {
			return known
		}
	}
	return ""
}

func newStage(t testing.TB) *stage {
	uuid.SetRand(newUUIDs(1))
	defer uuid.SetRand(nil)
	s := &stage{fs: vfs.NewCrashableMem(), topicIDs: map[string][16]byte{}}
	b := s.open(t, s.fs, brokertest.NewClock())
	c := &caller{t: t, b: b}
	for _, topic := range []struct{ name, config, value string }{
		{"plain", "retention.bytes", "-1"}, {"compacted", "cleanup.policy", "compact"},
		{"stamped", "message.timestamp.type", "LogAppendTime"},
	} {
		c.call(kmsg.CreateTopics, 0, vocabulary{
			"Topic": topic.name, "NumPartitions": 2, "ReplicationFactor": 1, "Name": topic.config, "Value": topic.value,
			"ReplicaAssignment": []kmsg.CreateTopicsRequestTopicReplicaAssignment{},
		})
	}
	all := vocabulary{"Topics": []kmsg.MetadataRequestTopic(nil)}
	for _, topic := range c.call(kmsg.Metadata, 13, all).(*kmsg.MetadataResponse).Topics {
		s.topicIDs[*topic.Topic] = topic.TopicID
	}
	produce := func(topic string, partition int32, id string, p batch.Producer, values ...string) {
		results, err := direct.Of(b).Produce(t.Context(), direct.ProduceRequest{
			TransactionalID: id, Partitions: []direct.ProducePartition{
				{Topic: topic, Partition: partition, Batches: summed(unsummed(t, batch.None, p, values...))}}})
		require.NoError(t, err)
		require.NoError(t, results[0].Err)
		for i, v := range values {
			s.records = append(s.records, place{topic, partition, results[0].BaseOffset + int64(i), v})
		}
	}
	for _, topic := range []string{"plain", "compacted", "stamped"} {
		produce(topic, 0, "", batch.NoProducer(), "a", "b", "c")
	}
	producer := func(id string) batch.Producer {
		resp := c.call(kmsg.InitProducerID, 4, vocabulary{"TransactionalID": id, "TransactionTimeoutMillis": 600_000,
			"ProducerID": int64(-1), "ProducerEpoch": int16(-1)}).(*kmsg.InitProducerIDResponse)
		return batch.Producer{ID: resp.ProducerID, Epoch: resp.ProducerEpoch, Transactional: true}
	}
	s.groups(c)
	ended, aborted, open := producer("ended"), producer("aborted"), producer("open")
	produce("plain", 1, "ended", ended, "d")
	c.call(kmsg.EndTxn, 3, vocabulary{"TransactionalID": "ended", "ProducerID": ended.ID, "ProducerEpoch": ended.Epoch,
		"Commit": true})
	produce("plain", 1, "aborted", aborted, "e")
	c.call(kmsg.EndTxn, 3, vocabulary{
		"TransactionalID": "aborted", "ProducerID": aborted.ID, "ProducerEpoch": aborted.Epoch,
	})
	produce("plain", 1, "open", open, "f")
	words := s.words["stable"].with("ProducerID", open.ID, "ProducerEpoch", open.Epoch)
	c.call(kmsg.AddOffsetsToTxn, 3, words.with("Group", "empty"))
	c.call(kmsg.TxnOffsetCommit, 2, words.with("Group", "empty"))
	for name, w := range s.words {
		s.words[name] = w.with("ProducerID", open.ID, "ProducerEpoch", open.Epoch)
	}
	for _, served := range c.call(kmsg.ApiVersions, 4, nil).(*kmsg.ApiVersionsResponse).ApiKeys {
		s.keys = append(s.keys, kmsg.Key(served.ApiKey))
	}
	s.batch = unsummed(t, batch.None, batch.NoProducer(), "x", "y")
	require.NoError(t, b.Close())
	return s
}

func summed(raw []byte) []byte {
	binary.BigEndian.PutUint32(raw[crcAt:], batchSum(raw))
	return raw
}

// caller sends requests and takes their answers.
type caller struct {
	t testing.TB
	b *broker.Broker
}

func (c *caller) call(key kmsg.Key, version int16, words vocabulary) kmsg.Response {
	req := key.Request()
	words.fill(reflect.ValueOf(req).Elem(), "")
	req.SetVersion(version)
	answered, err := broker.Begin(c.t.Context(), c.b, req)
	require.NoError(c.t, err)
	resp := <-answered
	if code := reflect.ValueOf(resp).Elem().FieldByName("ErrorCode"); code.IsValid() {
		require.Zero(c.t, code.Int(), "%s", kmsg.NameForKey(int16(key)))
	}
	return resp
}

// groups makes the groups, and the vocabulary of each.
func (s *stage) groups(c *caller) {
	common := vocabulary{
		// Topics and partitions.
		"Topic": "plain", "TopicNames": "plain", "TopicID": s.topicIDs["plain"], "Partition": int32(0),
		"NumPartitions": int32(-1), "ReplicationFactor": int16(-1), "Count": int32(3), "Replicas": int32(1),
		"ReplicaAssignment": []kmsg.CreateTopicsRequestTopicReplicaAssignment{},
		"Assignment":        []kmsg.CreatePartitionsRequestTopicAssignment(nil), "ElectionType": int8(0), "Dir": "data",
		// Places in logs.
		"Offset": int64(1), "FetchOffset": int64(1), "Timestamp": int64(-1), "LeaderEpoch": int32(0),
		"CurrentLeaderEpoch": int32(0), "LastFetchedEpoch": int32(0), "PartitionMaxBytes": int32(1 << 20),
		"MaxBytes": int32(1 << 20), "IsolationLevel": int8(1), "Acks": int16(-1), "ResponsePartitionLimit": int32(1),
		// Groups.
		"CoordinatorKey": "stable", "CoordinatorKeys": "stable", "SessionTimeoutMillis": int32(10_000),
		"RebalanceTimeoutMillis": int32(10_000), "MemberID": "", "Generation": int32(1), "ProtocolType": "consumer",
		"Protocol": "range", "MemberAssignment": []byte("assignment"), "Metadata": "metadata", "RequireStable": true,
		"StatesFilter": []string(nil), "TypesFilter": []string(nil),
		// Transactions.
		"TransactionalID": "open", "TransactionalIDs": "open", "TransactionTimeoutMillis": int32(600_000), "Commit": true,
		"StateFilters": []string(nil), "ProducerIDFilters": []int64(nil), "TransactionalIDPattern": ".*",
		"DurationFilterMillis": int64(-1),
		// Configurations and the rest.
		"ResourceType": int8(2), "ResourceName": "plain", "Name": "retention.ms", "Value": "100000", "Op": int8(0),
		"ConfigNames": []string(nil), "IncludeSynonyms": true, "IncludeDocumentation": true,
		"ResourcePatternType": int8(3), "Operation": int8(2), "PermissionType": int8(3), "Principal": "User:a", "Host": "*",
		"TimeoutMillis": int32(1000), "IncludeAuthorizedOperations": true, "IncludeTopicAuthorizedOperations": true,
		"IncludeClusterAuthorizedOperations": true, "Feature": "metadata.version", "MaxVersionLevel": int16(20),
		"UpgradeType": int8(1), "EndpointType": int8(1), "ClientSoftwareName": "fuzz", "ClientSoftwareVersion": "1",
	}
	s.words = map[string]vocabulary{}
	for _, group := range []string{"stable", "static", "joining"} {
		words := common.with("Group", group, "Groups", group, "Name", "range")
		if group == "static" {
			words["InstanceID"] = "instance"
		}
		version := int16(3) // from the next on, a member without an instance id has to ask twice
		if group == "static" {
			version = 5
		}
		join := c.call(kmsg.JoinGroup, version, words).(*kmsg.JoinGroupResponse)
		words["MemberID"], words["Generation"] = join.MemberID, join.Generation
		if group != "joining" {
			c.call(kmsg.SyncGroup, 3, words)
		}
		words["Name"] = "retention.ms"
		s.words[group] = words
	}
	c.call(kmsg.OffsetCommit, 7, common.with("Group", "empty", "Generation", int32(-1)))
	s.words["foreign"] = common.with("Group", "nobody", "Groups", "nobody", "Topic", "missing", "TopicNames", "missing",
		"TopicID", [16]byte{1}, "TransactionalID", "nobody", "TransactionalIDs", "nobody", "MemberID", "nobody",
		"Name", "no.such.setting", "ResourceName", "missing", "Partition", int32(7))
}

// seed yields the inputs that fuzzing begins with.
func (s *stage) seed(t testing.TB, add func(first, second []byte)) {
	for _, key := range s.keys {
		stable, other, last := s.words["stable"], s.words["static"], key.Request().MaxVersion()
		for version := int16(0); version <= last; version += 4 {
			add(stable.frame(key, version), stable.frame(key, min(version+2, last)))
		}
		add(stable.frame(key, last), nil)
		add(frame(key.Request(), last), s.words["joining"].frame(key, last))
		add(s.words["foreign"].frame(key, last), other.frame(key, last))
	}
	for _, key := range []byte{4, 17, 68, 92, 93} { // these are not served
		add([]byte{0, key, 0, 0}, nil)
	}
	add([]byte{0, 18, 0, 99}, nil)
	s.seedProduce(t, add)
	s.seedFetch(add)
	s.seedGroups(add)
	s.seedTransactions(add)
	s.seedConfigs(add)
	s.seedTopics(add)
	s.seedRecorded(t, add)
}

// seedRecorded yields what other clients were seen to send: as it was, and then with names that mean something here.
func (s *stage) seedRecorded(t testing.TB, add func(first, second []byte)) {
	words := s.words["stable"].with("TransactionID", "open")
	for _, r := range broker.RecordedRequests(t) {
		head := binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, uint16(r.Key)), uint16(r.Version))
		asItWas := append(head, r.Body...)
		req := kmsg.RequestForKey(r.Key)
		if r.Version > req.MaxVersion() {
			add(asItWas, nil)
			continue
		}
		req.SetVersion(r.Version)
		require.NoError(t, req.ReadFrom(r.Body))
		words.rename(reflect.ValueOf(req).Elem(), "")
		add(asItWas, frame(req, r.Version))
	}
}

// seedLost yields what coordinators without a log are asked.
func (s *stage) seedLost(add func(first, second []byte)) {
	for _, key := range s.keys {
		last := key.Request().MaxVersion()
		add(s.words["stable"].frame(key, last), s.words["foreign"].frame(key, last/2))
	}
}

// seedProduce yields batches of all kinds: compressed, idempotent, transactional, of others, several, damaged.
func (s *stage) seedProduce(t testing.TB, add func(first, second []byte)) {
	words := s.words["stable"].with("TransactionID", "open")
	own := batch.Producer{ID: words["ProducerID"].(int64), Epoch: words["ProducerEpoch"].(int16)}
	send := func(words vocabulary, version int16, records []byte) []byte {
		return words.with("Records", records).frame(kmsg.Produce, version)
	}
	alone := words.with("TransactionID", (*string)(nil))
	plain := unsummed(t, batch.None, batch.NoProducer(), "x", "y")
	list := send(words.with("Partition", int32(0)), 12, unsummed(t, batch.None, batch.NoProducer(), "x"))
	for c := batch.None; c <= batch.Zstd; c++ {
		records := unsummed(t, c, batch.NoProducer(), "x", "y", "z")
		for _, version := range []int16{3, 8, 13} {
			add(send(alone, version, records), s.words["stable"].with("FetchOffset", int64(3)).frame(kmsg.Fetch, 12))
		}
		add(send(alone.with("Topic", "compacted"), 9, records), send(alone.with("Topic", "stamped"), 9, records))
	}
	for _, acks := range []int16{0, 1, 2} {
		add(send(alone.with("Acks", acks), 9, plain), send(alone.with("Acks", acks, "Partition", int32(9)), 9, plain))
	}
	add(send(alone, 9, append(slices.Clone(plain), plain...)), list)
	add(send(alone, 9, plain[:len(plain)-1]), send(alone, 9, []byte("no batch")))
	for _, p := range []batch.Producer{
		{ID: own.ID, Epoch: own.Epoch, Transactional: true},
		{ID: own.ID, Epoch: own.Epoch, Sequence: 1, Transactional: true},
		{ID: own.ID, Epoch: own.Epoch + 1, Transactional: true}, {ID: 1 << 40, Transactional: true},
		{ID: own.ID, Epoch: own.Epoch, Sequence: 7}, {ID: 1 << 40, Sequence: 3},
	} {
		records := unsummed(t, batch.None, p, "x")
		use := alone
		if p.Transactional {
			use = words
		}
		for _, version := range []int16{3, 12, 13} {
			add(send(use, version, records), send(use.with("Partition", int32(1)), version, records))
		}
	}
	control := batch.AppendControl(nil, batch.Control{ProducerID: own.ID, Type: batch.Commit})
	binary.BigEndian.PutUint32(control[crcAt:], 0)
	add(send(words, 12, control), send(alone, 9, control))
	keyless := batch.NewBuilder(batch.None)
	keyless.Append(0, nil, []byte("x"), nil)
	keyless.Append(0, []byte("k"), []byte("y"), nil)
	records, err := keyless.Finish(batch.NoProducer())
	require.NoError(t, err)
	add(send(alone.with("Topic", "compacted"), 9, records), send(alone.with("Topic", "compacted"), 7, records))
	for _, at := range []int{16, 22, 30, 40, 60} { // magic, attributes, timestamps, epoch, count
		damaged := slices.Clone(plain)
		damaged[at] ^= 0xff
		add(send(alone, 9, damaged), send(alone.with("Topic", "compacted"), 9, damaged))
	}
}

// seedFetch yields long polls and the requests that wake them, and fetch sessions from their first request on.
func (s *stage) seedFetch(add func(first, second []byte)) {
	words := s.words["stable"].with("SessionEpoch", int32(-1), "ReplicaID", int32(-1))
	waits := words.with("FetchOffset", int64(3), "MaxWaitMillis", int32(500), "MinBytes", int32(1))
	plain := words.with("TransactionID", (*string)(nil), "Records", s.batch).frame(kmsg.Produce, 9)
	for _, version := range []int16{4, 12, 18} {
		add(waits.frame(kmsg.Fetch, version), plain)
		add(waits.with("MinBytes", int32(1<<30)).frame(kmsg.Fetch, version), plain)
		add(waits.with("Partition", int32(1), "FetchOffset", int64(0)).frame(kmsg.Fetch, version),
			waits.frame(kmsg.DeleteTopics, 1))
	}
	for _, version := range []int16{7, 12, 13, 18} {
		begin := waits.with("SessionEpoch", int32(0), "FetchOffset", int64(1), "ForgottenTopics",
			[]kmsg.FetchRequestForgottenTopic(nil))
		goOn := begin.with("SessionEpoch", int32(1), "SessionID", int32(sessionHere))
		first := begin.frame(kmsg.Fetch, version)
		add(first, goOn.frame(kmsg.Fetch, version))
		add(first, goOn.with("Topics", []kmsg.FetchRequestTopic(nil)).frame(kmsg.Fetch, version))
		add(first, goOn.with("Topics", []kmsg.FetchRequestTopic(nil), "MaxWaitMillis", int32(0)).frame(kmsg.Fetch, version))
		add(first, goOn.with("FetchOffset", int64(2), "Partition", int32(1)).frame(kmsg.Fetch, version))
		forget := s.words["stable"].with("SessionEpoch", int32(1), "SessionID", int32(sessionHere), "Topics",
			[]kmsg.FetchRequestTopic(nil), "Partitions", int32(0))
		add(first, forget.frame(kmsg.Fetch, version))
		add(first, forget.with("SessionEpoch", int32(7)).frame(kmsg.Fetch, version))
		add(first, forget.with("SessionEpoch", int32(-1)).frame(kmsg.Fetch, version))
		add(first, goOn.frame(kmsg.Fetch, 20-version))
	}
	for _, at := range []int64{-6, -5, -4, -3, -2, -1, 0, 1_700_000_000_000, 1 << 60} {
		for _, level := range []int8{0, 1} {
			asked := words.with("Timestamp", at, "IsolationLevel", level, "Partition", int32(level))
			add(asked.frame(kmsg.ListOffsets, 1), asked.frame(kmsg.ListOffsets, 11))
		}
	}
	later := words.with("CurrentLeaderEpoch", int32(9))
	add(later.frame(kmsg.ListOffsets, 5), later.frame(kmsg.Fetch, 12))
	add(later.frame(kmsg.OffsetForLeaderEpoch, 4),
		words.with("Partition", int32(1), "FetchOffset", int64(0)).frame(kmsg.Fetch, 12))
	add(words.with("ReplicaID", int32(0), "IsolationLevel", int8(0)).frame(kmsg.ListOffsets, 7),
		words.with("ReplicaID", int32(-2)).frame(kmsg.ListOffsets, 7))
}

// seedGroups yields members that join, wait for each other, continue and leave.
func (s *stage) seedGroups(add func(first, second []byte)) {
	for _, group := range []string{"stable", "static", "joining"} {
		words := s.words[group].with("Name", "range")
		other := words.with("MemberID", "", "InstanceID", (*string)(nil))
		for _, pair := range [][2][]byte{
			{words.frame(kmsg.JoinGroup, 9), words.with("Generation", int32(2)).frame(kmsg.SyncGroup, 5)},
			{words.frame(kmsg.JoinGroup, 2), words.frame(kmsg.Heartbeat, 4)},
			{other.frame(kmsg.JoinGroup, 3), words.frame(kmsg.JoinGroup, 5)},
			{other.frame(kmsg.JoinGroup, 3), words.frame(kmsg.Heartbeat, 3)},
			{other.frame(kmsg.JoinGroup, 9), words.with("ProtocolType", "other").frame(kmsg.JoinGroup, 9)},
			{words.frame(kmsg.SyncGroup, 3), words.with("ProtocolType", "other").frame(kmsg.SyncGroup, 5)},
			{words.frame(kmsg.LeaveGroup, 2), words.frame(kmsg.OffsetDelete, 0)},
			{words.frame(kmsg.LeaveGroup, 5), words.frame(kmsg.DeleteGroups, 2)},
			{words.with("SessionTimeoutMillis", int32(1)).frame(kmsg.JoinGroup, 5),
				words.with("Group", "").frame(kmsg.JoinGroup, 5)},
			{words.frame(kmsg.OffsetCommit, 9),
				words.with("Topics", []kmsg.OffsetFetchRequestTopic(nil)).frame(kmsg.OffsetFetch, 5)},
		} {
			add(pair[0], pair[1])
		}
	}
	words := s.words["stable"].with("Group", "empty", "Groups", "empty")
	add(words.frame(kmsg.OffsetDelete, 0), words.frame(kmsg.DeleteGroups, 2))
	add(words.frame(kmsg.OffsetFetch, 7), words.with("RequireStable", false).frame(kmsg.OffsetFetch, 9))
	whole := words.with("Topics", []kmsg.OffsetFetchRequestGroupTopic(nil))
	add(whole.frame(kmsg.OffsetFetch, 8), whole.frame(kmsg.OffsetFetch, 10))
	add(words.with("StatesFilter", "Stable").frame(kmsg.ListGroups, 4),
		words.with("TypesFilter", "classic").frame(kmsg.ListGroups, 5))
	add(words.with("CoordinatorType", int8(1)).frame(kmsg.FindCoordinator, 3),
		words.with("CoordinatorType", int8(2)).frame(kmsg.FindCoordinator, 6))
}

// seedTransactions yields transactions that end, begin, are fenced, and what others see of them.
func (s *stage) seedTransactions(add func(first, second []byte)) {
	words := s.words["stable"]
	epoch := words["ProducerEpoch"].(int16)
	for _, end := range []vocabulary{words, words.with("Commit", false), words.with("ProducerEpoch", epoch+1),
		words.with("ProducerEpoch", epoch-1), words.with("ProducerID", int64(1)), words.with("TransactionalID", "ended")} {
		for i, then := range []struct {
			key     kmsg.Key
			version int16
		}{{kmsg.EndTxn, 5}, {kmsg.AddPartitionsToTxn, 3}, {kmsg.AddOffsetsToTxn, 4}, {kmsg.TxnOffsetCommit, 5},
			{kmsg.DescribeProducers, 0}, {kmsg.InitProducerID, 5}, {kmsg.OffsetFetch, 7}} {
			add(end.frame(kmsg.EndTxn, int16(i)%6), words.frame(then.key, then.version))
		}
	}
	fresh := words.with("ProducerID", int64(-1), "ProducerEpoch", int16(-1))
	add(fresh.frame(kmsg.InitProducerID, 3), fresh.with("TransactionalID", (*string)(nil)).frame(kmsg.InitProducerID, 4))
	add(fresh.with("TransactionalID", "").frame(kmsg.InitProducerID, 3),
		fresh.with("TransactionTimeoutMillis", int32(-1)).frame(kmsg.InitProducerID, 4))
	add(words.with("Partition", int32(1), "Partitions", int32(1)).frame(kmsg.DescribeProducers, 0),
		words.with("Partitions", int32(1), "Committed", true).frame(kmsg.WriteTxnMarkers, 1))
	add(words.with("Partitions", int32(1)).frame(kmsg.WriteTxnMarkers, 1),
		words.with("Partitions", int32(1), "ProducerEpoch", epoch-1).frame(kmsg.WriteTxnMarkers, 0))
	add(words.with("VerifyOnly", true, "Partitions", int32(1)).frame(kmsg.AddPartitionsToTxn, 4),
		words.with("Partitions", int32(9)).frame(kmsg.AddPartitionsToTxn, 5))
	add(words.with("StateFilters", "Ongoing").frame(kmsg.ListTransactions, 0),
		words.with("ProducerIDFilters", words["ProducerID"], "DurationFilterMillis", int64(0),
			"TransactionalIDPattern", "(").frame(kmsg.ListTransactions, 2))
}

// seedConfigs yields changes of what each kind of resource has, and of what it does not.
func (s *stage) seedConfigs(add func(first, second []byte)) {
	words := s.words["stable"]
	for _, of := range []struct {
		kind         int8
		name         string
		config, good string
	}{
		{2, "plain", "retention.ms", "1000"}, {2, "plain", "cleanup.policy", "compact"},
		{2, "plain", "cleanup.policy", "other"}, {2, "plain", "min.insync.replicas", "2"},
		{2, "compacted", "min.cleanable.dirty.ratio", "0.1"},
		{2, "plain", "preallocate", "true"}, {2, "plain", "segment.bytes", "-1"},
		{2, "__consumer_offsets", "retention.ms", "1"},
		{2, "plain", "message.timestamp.type", "LogAppendTime"}, {2, "plain", "unclean.leader.election.enable", "x"},
		{4, "1", "log.retention.ms", "1000"}, {4, "", "max.connections", "100"}, {4, "1", "max.connections", "x"},
		{4, "2", "log.retention.ms", "1"}, {4, "1", "broker.id", "2"}, {4, "", "num.partitions", "4"},
		{32, "stable", "consumer.session.timeout.ms", "50000"}, {32, "stable", "other", "1"}, {32, "", "x", "1"},
		{8, "1", "kafka", "INFO"}, {16, "metrics", "interval.ms", "1"}, {99, "x", "y", "z"},
	} {
		resource := words.with("ResourceType", of.kind, "ResourceName", of.name, "Name", of.config, "Value", of.good)
		described := resource.frame(kmsg.DescribeConfigs, 4)
		add(resource.frame(kmsg.AlterConfigs, 1), described)
		add(resource.with("Value", (*string)(nil)).frame(kmsg.AlterConfigs, 2),
			resource.with("ValidateOnly", true).frame(kmsg.AlterConfigs, 2))
		for op := int8(0); op < 4; op += 2 {
			add(resource.with("Op", op).frame(kmsg.IncrementalAlterConfigs, 1),
				resource.with("Op", op+1).frame(kmsg.IncrementalAlterConfigs, 1))
		}
		add(resource.with("ConfigNames", of.config).frame(kmsg.DescribeConfigs, 1),
			resource.with("ResourceTypes", of.kind).frame(kmsg.ListConfigResources, 1))
	}
}

// seedTopics yields topics that are made, grow and go, and names and numbers that are refused.
func (s *stage) seedTopics(add func(first, second []byte)) {
	words := s.words["stable"].with("Topic", "new", "ResourceName", "new", "Value", "1000")
	replica := kmsg.CreateTopicsRequestTopicReplicaAssignment{Replicas: []int32{1}}
	assigned := words.with("ReplicaAssignment", []kmsg.CreateTopicsRequestTopicReplicaAssignment{replica})
	replica.Partition = 5
	for _, made := range []vocabulary{
		words, words.with("NumPartitions", int32(3), "ReplicationFactor", int16(1)), words.with("NumPartitions", int32(0)),
		words.with("NumPartitions", int32(1<<30)), words.with("ReplicationFactor", int16(3)), words.with("Topic", "plain"),
		words.with("Topic", "a/b"), words.with("Topic", ""), words.with("Topic", "__consumer_offsets"), assigned,
		assigned.with("NumPartitions", int32(3)), words.with("ValidateOnly", true), words.with("Name", "cleanup.policy"),
		words.with("ReplicaAssignment", []kmsg.CreateTopicsRequestTopicReplicaAssignment{replica}),
	} {
		first := made.frame(kmsg.CreateTopics, 5)
		add(first, made.frame(kmsg.CreateTopics, 7))
		add(first, made.frame(kmsg.Metadata, 8))
		add(first, made.frame(kmsg.DeleteTopics, 3))
		add(first, made.with("Count", int32(5)).frame(kmsg.CreatePartitions, 2))
		add(first, made.with("Partitions", int32(0), "Topic", "__cluster_metadata").frame(kmsg.DescribeQuorum, 2))
	}
	add(words.with("AllowAutoTopicCreation", true).frame(kmsg.Metadata, 8),
		words.with("AllowAutoTopicCreation", true, "TopicID", [16]byte{}).frame(kmsg.Metadata, 13))
	add(words.with("TopicNames", "__consumer_offsets").frame(kmsg.DeleteTopics, 3),
		words.with("Topic", "__consumer_offsets", "TopicID", [16]byte{}).frame(kmsg.DeleteTopics, 6))
	add(words.with("Topic", (*string)(nil), "TopicID", [16]byte{}).frame(kmsg.Metadata, 12),
		words.with("RetentionTimeMillis", int64(1000)).frame(kmsg.OffsetCommit, 3))
	add(words.with("Topic", "a/b", "AllowAutoTopicCreation", true).frame(kmsg.Metadata, 4),
		words.with("Topic", (*string)(nil), "TopicID", [16]byte{9}).frame(kmsg.Metadata, 12))
	for _, count := range []int32{-1, 1, 2, 3, 1 << 30} {
		add(words.with("Topic", "plain", "Count", count).frame(kmsg.CreatePartitions, 3),
			words.with("Topic", "plain", "Count", count, "Assignment", []kmsg.CreatePartitionsRequestTopicAssignment{
				{Replicas: []int32{1}}}).frame(kmsg.CreatePartitions, 1))
	}
	for _, offset := range []int64{-2, -1, 2, 1 << 40} {
		add(words.with("Topic", "plain", "Offset", offset).frame(kmsg.DeleteRecords, 2),
			words.with("Topic", "compacted", "Offset", offset).frame(kmsg.DeleteRecords, 0))
	}
	add(words.with("Topic", (*string)(nil), "TopicID", s.topicIDs["plain"]).frame(kmsg.DeleteTopics, 6),
		words.with("Topic", "plain", "TopicID", [16]byte{}).frame(kmsg.DeleteTopics, 6))
}
