package broker

import (
	"context"
	"net"
	"slices"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// DescribeConfigs: v0-4
//
// Version notes:
//   - v1: sources and synonyms
//   - v3: types and documentation
//   - v4: flexible
func (b *broker) handleDescribeConfigs(_ context.Context, r *request) completion {
	req := r.body.(*kmsg.DescribeConfigsRequest)
	resp := req.ResponseKind().(*kmsg.DescribeConfigsResponse)
	resp.Resources = []kmsg.DescribeConfigsResponseResource{}
	for i := range req.Resources {
		rr := &req.Resources[i]
		out := kmsg.NewDescribeConfigsResponseResource()
		out.ResourceType, out.ResourceName = rr.ResourceType, rr.ResourceName
		configs, err := b.describeConfigs(rr, r)
		if err != nil {
			out.ErrorCode, out.ErrorMessage = code(err), message(err)
			configs = nil
		}
		out.Configs = slices.DeleteFunc(configs, func(c kmsg.DescribeConfigsResponseResourceConfig) bool {
			return rr.ConfigNames != nil && !slices.Contains(rr.ConfigNames, c.Name)
		})
		if out.Configs == nil {
			out.Configs = []kmsg.DescribeConfigsResponseResourceConfig{}
		}
		resp.Resources = append(resp.Resources, out)
	}
	return ready(resp)
}

func (b *broker) describeConfigs(rr *kmsg.DescribeConfigsRequestResource, r *request,
) ([]kmsg.DescribeConfigsResponseResourceConfig, error) {
	req := r.body.(*kmsg.DescribeConfigsRequest)
	switch rr.ResourceType {
	case kmsg.ConfigResourceTypeTopic:
		t, err := b.topics.load().find(rr.ResourceName, [16]byte{}, false)
		if err != nil {
			return nil, err
		}
		var configs []kmsg.DescribeConfigsResponseResourceConfig
		for _, c := range b.topicConfigs() {
			configs = append(configs, c.describe(t, req))
		}
		return configs, nil
	case kmsg.ConfigResourceTypeBroker:
		if rr.ResourceName != "" && rr.ResourceName != strconv.Itoa(nodeID) {
			return nil, &textError{kerr.InvalidRequest, "there is no broker " + rr.ResourceName}
		}
		return b.describeBroker(req, r), nil
	default:
		return nil, &textError{kerr.InvalidRequest,
			"resources of type " + rr.ResourceType.String() + " have no configuration"}
	}
}

func (c *topicConfig) describe(t *topic, req *kmsg.DescribeConfigsRequest) kmsg.DescribeConfigsResponseResourceConfig {
	out := kmsg.NewDescribeConfigsResponseResourceConfig()
	value, set := t.Configs[c.name]
	out.Name, out.ConfigType, out.Source = c.name, c.kind, kmsg.ConfigSourceDynamicTopicConfig
	out.ConfigSynonyms = []kmsg.DescribeConfigsResponseResourceConfigConfigSynonym{}
	synonym := func(name, value string, source kmsg.ConfigSource) {
		if req.IncludeSynonyms {
			s := kmsg.NewDescribeConfigsResponseResourceConfigConfigSynonym()
			s.Name, s.Value, s.Source = name, kmsg.StringPtr(value), source
			out.ConfigSynonyms = append(out.ConfigSynonyms, s)
		}
	}
	if set {
		synonym(c.name, value, out.Source)
	} else {
		value, out.Source, out.IsDefault = c.standard, kmsg.ConfigSourceDefaultConfig, true
	}
	if c.broker != "" {
		synonym(c.broker, c.standard, kmsg.ConfigSourceDefaultConfig)
	}
	out.Value = kmsg.StringPtr(value)
	if req.IncludeDocumentation {
		out.Documentation = kmsg.StringPtr(c.doc)
	}
	return out
}

// describeBroker gives the defaults of topics under the names that they have with a broker, and what else clients ask
// for.
func (b *broker) describeBroker(req *kmsg.DescribeConfigsRequest, r *request,
) []kmsg.DescribeConfigsResponseResourceConfig {
	var configs []kmsg.DescribeConfigsResponseResourceConfig
	add := func(name, value string, kind kmsg.ConfigType, doc string) {
		c := kmsg.NewDescribeConfigsResponseResourceConfig()
		c.Name, c.Value, c.ConfigType = name, kmsg.StringPtr(value), kind
		c.ReadOnly, c.IsDefault, c.Source = true, true, kmsg.ConfigSourceStaticBrokerConfig
		c.ConfigSynonyms = []kmsg.DescribeConfigsResponseResourceConfigConfigSynonym{}
		if req.IncludeDocumentation {
			c.Documentation = kmsg.StringPtr(doc)
		}
		configs = append(configs, c)
	}
	millis := func(name string, d time.Duration, kind kmsg.ConfigType, doc string) {
		add(name, strconv.FormatInt(d.Milliseconds(), 10), kind, doc)
	}
	count := func(name string, n int, doc string) { add(name, strconv.Itoa(n), kindInt, doc) }
	host, port := b.server.advertised(r)
	listener := "PLAINTEXT://" + net.JoinHostPort(host, strconv.Itoa(int(port)))
	add("advertised.listeners", listener, kindList, "Config.Advertise")
	add("auto.create.topics.enable", strconv.FormatBool(b.cfg.AutoCreateTopics), kindBool, "Config.AutoCreateTopics")
	count("broker.id", nodeID, "The only node's id.")
	count("default.replication.factor", 1, "There is one node.")
	add("delete.topic.enable", "true", kindBool, "Topics can be deleted.")
	millis("group.initial.rebalance.delay.ms", b.cfg.InitialRebalanceDelay, kindInt, "Config.InitialRebalanceDelay")
	millis("group.max.session.timeout.ms", b.cfg.MaxSessionTimeout, kindInt, "Config.MaxSessionTimeout")
	count("group.max.size", b.cfg.MaxGroupMembers, "Config.MaxGroupMembers")
	millis("group.min.session.timeout.ms", b.cfg.MinSessionTimeout, kindInt, "Config.MinSessionTimeout")
	millis("log.cleaner.backoff.ms", maintainEvery, kindLong, "The time between two looks at what is to be compacted.")
	add("log.cleaner.enable", "true", kindBool, "Compacted topics are compacted.")
	add("log.dirs", b.cfg.Dir, kindString, "Config.Dir")
	millis("log.retention.check.interval.ms", maintainEvery, kindLong, "The time between two looks at the retention.")
	count("max.connections", b.cfg.MaxConnections, "Config.MaxConnections")
	count("node.id", nodeID, "The only node's id.")
	count("num.partitions", int(b.cfg.Partitions), "Config.Partitions")
	count("offset.metadata.max.bytes", maxOffsetMetadata, "The largest text that is kept with an offset.")
	count("offsets.retention.minutes", int(b.cfg.OffsetRetention.Minutes()), "Config.OffsetRetention")
	count("offsets.topic.num.partitions", 1, "The groups' offsets are in one log.")
	count("offsets.topic.replication.factor", 1, "There is one node.")
	count("socket.request.max.bytes", b.cfg.MaxRequestBytes, "Config.MaxRequestBytes")
	millis("transaction.max.timeout.ms", b.cfg.MaxTransactionTimeout, kindInt, "Config.MaxTransactionTimeout")
	count("transaction.state.log.num.partitions", 1, "The transactions are in one log.")
	count("transaction.state.log.replication.factor", 1, "There is one node.")
	millis("transactional.id.expiration.ms", transactionalIDAge, kindInt, "The time after which an idle id is forgotten.")
	for _, c := range b.topicConfigs() {
		if c.broker != "" {
			add(c.broker, c.standard, c.kind, c.doc)
		}
	}
	return configs
}
