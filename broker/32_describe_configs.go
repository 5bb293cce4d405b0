package broker

import (
	"context"
	"slices"
	"strconv"

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
		configs, err := b.describeConfigs(rr, req)
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

func (b *broker) describeConfigs(rr *kmsg.DescribeConfigsRequestResource, req *kmsg.DescribeConfigsRequest,
) ([]kmsg.DescribeConfigsResponseResourceConfig, error) {
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
		return b.describeBroker(req), nil
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
func (b *broker) describeBroker(req *kmsg.DescribeConfigsRequest) []kmsg.DescribeConfigsResponseResourceConfig {
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
	add("auto.create.topics.enable", strconv.FormatBool(b.cfg.AutoCreateTopics), kindBool, "Config.AutoCreateTopics")
	add("broker.id", strconv.Itoa(nodeID), kindInt, "The only node's id.")
	add("default.replication.factor", "1", kindInt, "There is one node.")
	add("num.partitions", strconv.Itoa(int(b.cfg.Partitions)), kindInt, "Config.Partitions")
	add("offsets.topic.replication.factor", "1", kindInt, "There is one node.")
	add("transaction.state.log.replication.factor", "1", kindInt, "There is one node.")
	add("transaction.max.timeout.ms", strconv.FormatInt(b.cfg.MaxTransactionTimeout.Milliseconds(), 10), kindInt,
		"Config.MaxTransactionTimeout")
	add("group.initial.rebalance.delay.ms", strconv.FormatInt(b.cfg.InitialRebalanceDelay.Milliseconds(), 10), kindInt,
		"Config.InitialRebalanceDelay")
	for _, c := range b.topicConfigs() {
		if c.broker != "" {
			add(c.broker, c.standard, c.kind, c.doc)
		}
	}
	return configs
}
