package broker

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// AlterConfigs: v0-2: all configurations of a resource at once
//
// Version notes:
//   - v2: flexible
func (b *broker) handleAlterConfigs(_ context.Context, r *request) completion {
	req := r.body.(*kmsg.AlterConfigsRequest)
	return func(context.Context) (answer, error) {
		resp := req.ResponseKind().(*kmsg.AlterConfigsResponse)
		resp.Resources = []kmsg.AlterConfigsResponseResource{}
		for i := range req.Resources {
			rr := &req.Resources[i]
			out := kmsg.NewAlterConfigsResponseResource()
			out.ResourceType, out.ResourceName = rr.ResourceType, rr.ResourceName
			err := b.alterConfigs(rr.ResourceType, rr.ResourceName, req.ValidateOnly, func(configs map[string]string) error {
				clear(configs)
				for _, c := range rr.Configs {
					if c.Value != nil {
						configs[c.Name] = *c.Value
					}
				}
				return nil
			})
			out.ErrorCode, out.ErrorMessage = code(err), message(err)
			resp.Resources = append(resp.Resources, out)
		}
		return answer{body: resp}, nil
	}
}

// IncrementalAlterConfigs: v0-1: single configurations of a resource
//
// Version notes:
//   - v1: flexible
func (b *broker) handleIncrementalAlterConfigs(_ context.Context, r *request) completion {
	req := r.body.(*kmsg.IncrementalAlterConfigsRequest)
	return func(context.Context) (answer, error) {
		resp := req.ResponseKind().(*kmsg.IncrementalAlterConfigsResponse)
		resp.Resources = []kmsg.IncrementalAlterConfigsResponseResource{}
		for i := range req.Resources {
			rr := &req.Resources[i]
			out := kmsg.NewIncrementalAlterConfigsResponseResource()
			out.ResourceType, out.ResourceName = rr.ResourceType, rr.ResourceName
			err := b.alterConfigs(rr.ResourceType, rr.ResourceName, req.ValidateOnly, func(configs map[string]string) error {
				for j := range rr.Configs {
					if err := b.alterConfig(configs, &rr.Configs[j]); err != nil {
						return err
					}
				}
				return nil
			})
			out.ErrorCode, out.ErrorMessage = code(err), message(err)
			resp.Resources = append(resp.Resources, out)
		}
		return answer{body: resp}, nil
	}
}

func (b *broker) alterConfigs(kind kmsg.ConfigResourceType, name string, validateOnly bool,
	change func(map[string]string) error,
) error {
	if kind != kmsg.ConfigResourceTypeTopic {
		return &textError{kerr.InvalidRequest, "configurations of a " + strings.ToLower(kind.String()) +
			" can't be changed at run time: only those of topics can"}
	}
	b.admin.Lock()
	defer b.admin.Unlock()
	t, kerror := b.topics.load().find(name, [16]byte{}, false)
	if kerror != nil {
		return kerror
	}
	if isInternal(name) {
		return &textError{kerr.InvalidTopicException, "topic " + name + " is the broker's own"}
	}
	configs := maps.Clone(t.Configs)
	if configs == nil {
		configs = map[string]string{}
	}
	if err := change(configs); err != nil {
		return err
	}
	if err := b.checkConfigs(configs); err != nil || validateOnly {
		return err
	}
	return b.changeTopic(t, configs)
}

func (b *broker) alterConfig(configs map[string]string, rc *kmsg.IncrementalAlterConfigsRequestResourceConfig) error {
	c := b.topicConfig(rc.Name)
	if c == nil {
		return &textError{kerr.InvalidConfig, "Unknown topic config name: " + rc.Name}
	}
	if rc.Op == kmsg.IncrementalAlterConfigOpDelete {
		delete(configs, rc.Name)
		return nil
	}
	if rc.Value == nil {
		return &textError{kerr.InvalidRequest, "configuration " + rc.Name + ": a null value is no value to set"}
	}
	if rc.Op == kmsg.IncrementalAlterConfigOpSet {
		configs[rc.Name] = *rc.Value
		return nil
	}
	if c.kind != kindList {
		return &textError{kerr.InvalidConfig, "configuration " + rc.Name + " is no list: it can't be appended to"}
	}
	value, ok := configs[rc.Name]
	if !ok {
		value = c.standard
	}
	elements := c.elements(value)
	for _, e := range c.elements(*rc.Value) {
		elements = slices.DeleteFunc(elements, func(there string) bool { return there == e })
		if rc.Op == kmsg.IncrementalAlterConfigOpAppend {
			elements = append(elements, e)
		}
	}
	configs[rc.Name] = strings.Join(elements, ",")
	return nil
}
