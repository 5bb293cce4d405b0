package broker

import (
	"context"
	"slices"

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
			configs = append(configs, c.describe(t.Configs, kmsg.ConfigSourceDynamicTopicConfig, req))
		}
		return configs, nil
	case kmsg.ConfigResourceTypeBroker:
		return b.describeBroker(rr.ResourceName, req, r)
	case kmsg.ConfigResourceTypeGroupConfig:
		return b.describeGroup(rr.ResourceName, req)
	default:
		return nil, &textError{kerr.InvalidRequest,
			"resources of type " + rr.ResourceType.String() + " have no configuration"}
	}
}

// describe gives a configuration of a resource. set has what was set on it at run time, and dynamic is the source of
// that.
func (c *configKey) describe(set map[string]string, dynamic kmsg.ConfigSource, req *kmsg.DescribeConfigsRequest,
) kmsg.DescribeConfigsResponseResourceConfig {
	var values []inherited
	if value, ok := set[c.name]; ok {
		values = append(values, inherited{value, dynamic})
	}
	out := describeConfig(c.name, c.kind, c.doc, append(values, c.inherited...), req)
	if !req.IncludeSynonyms {
		return out
	}
	for i := range out.ConfigSynonyms[len(values):] { // the rest is known by the broker's name
		out.ConfigSynonyms[len(values)+i].Name = c.broker
	}
	if c.broker == "" {
		out.ConfigSynonyms = out.ConfigSynonyms[:len(values)]
	}
	return out
}

// describeConfig gives a configuration with its values, of which the first is in effect.
func describeConfig(name string, kind kmsg.ConfigType, doc string, values []inherited,
	req *kmsg.DescribeConfigsRequest,
) kmsg.DescribeConfigsResponseResourceConfig {
	out := kmsg.NewDescribeConfigsResponseResourceConfig()
	out.Name, out.ConfigType = name, kind
	out.Value, out.Source = kmsg.StringPtr(values[0].value), values[0].source
	out.IsDefault = out.Source == kmsg.ConfigSourceDefaultConfig
	out.ConfigSynonyms = []kmsg.DescribeConfigsResponseResourceConfigConfigSynonym{}
	if req.IncludeSynonyms {
		for _, v := range values {
			s := kmsg.NewDescribeConfigsResponseResourceConfigConfigSynonym()
			s.Name, s.Value, s.Source = name, kmsg.StringPtr(v.value), v.source
			out.ConfigSynonyms = append(out.ConfigSynonyms, s)
		}
	}
	if req.IncludeDocumentation {
		out.Documentation = kmsg.StringPtr(doc)
	}
	return out
}
