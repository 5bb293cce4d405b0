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
			err := b.alterConfigs(rr.ResourceType, rr.ResourceName, req.ValidateOnly, func(c *configured) error {
				clear(c.set)
				for _, set := range rr.Configs {
					if set.Value != nil {
						c.set[set.Name] = *set.Value
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
			err := b.alterConfigs(rr.ResourceType, rr.ResourceName, req.ValidateOnly, func(c *configured) error {
				for j := range rr.Configs {
					if err := c.alter(&rr.Configs[j]); err != nil {
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

// configured is a resource whose configurations are being altered.
type configured struct {
	set map[string]string
	// keys are the configurations that can be altered, in the order of their names.
	keys []configKey
	// unknown is the error for names that are not among them.
	unknown func(names []string) error
	// check tells what is wrong with what is set; put makes it durable and puts it into effect.
	check, put func(set map[string]string) error
}

func (b *broker) alterConfigs(kind kmsg.ConfigResourceType, name string, validateOnly bool,
	change func(*configured) error,
) error {
	b.admin.Lock()
	defer b.admin.Unlock()
	c, err := b.configured(kind, name)
	if err != nil {
		return err
	}
	c.set = maps.Clone(c.set)
	if c.set == nil {
		c.set = map[string]string{}
	}
	if err := change(c); err != nil {
		return err
	}
	if err := c.check(c.set); err != nil || validateOnly {
		return err
	}
	return c.put(c.set)
}

// configured finds a resource. b.admin is held.
func (b *broker) configured(kind kmsg.ConfigResourceType, name string) (*configured, error) {
	switch kind {
	case kmsg.ConfigResourceTypeTopic:
		t, err := b.topics.load().find(name, [16]byte{}, false)
		switch {
		case err != nil:
			return nil, err
		case isInternal(name):
			return nil, &textError{kerr.InvalidTopicException, "topic " + name + " is the broker's own"}
		}
		return &configured{
			set: t.Configs, keys: b.topicConfigs(), unknown: unknownTopicConfig, check: b.checkTopicConfigs,
			put: func(set map[string]string) error { return b.changeTopic(t, set) },
		}, nil
	case kmsg.ConfigResourceTypeBroker:
		return b.configuredBroker(name)
	case kmsg.ConfigResourceTypeGroupConfig:
		return b.configuredGroup(name)
	}
	return nil, &textError{kerr.InvalidRequest, "configurations of resources of type " + kind.String() +
		" can't be changed here"}
}

// alter carries out one incremental change.
func (c *configured) alter(rc *kmsg.IncrementalAlterConfigsRequestResourceConfig) error {
	key := configNamed(c.keys, rc.Name)
	if key == nil {
		return c.unknown([]string{rc.Name})
	}
	if rc.Op == kmsg.IncrementalAlterConfigOpDelete {
		delete(c.set, rc.Name)
		return nil
	}
	if rc.Value == nil {
		return &textError{kerr.InvalidRequest, "configuration " + rc.Name + ": a null value is no value to set"}
	}
	if rc.Op == kmsg.IncrementalAlterConfigOpSet {
		c.set[rc.Name] = *rc.Value
		return nil
	}
	if key.kind != kindList {
		return &textError{kerr.InvalidConfig, "configuration " + rc.Name + " is no list: it can't be appended to"}
	}
	value, ok := c.set[rc.Name]
	if !ok {
		value = key.standard
	}
	elements := key.elements(value)
	for _, e := range key.elements(*rc.Value) {
		elements = slices.DeleteFunc(elements, func(there string) bool { return there == e })
		if rc.Op == kmsg.IncrementalAlterConfigOpAppend {
			elements = append(elements, e)
		}
	}
	c.set[rc.Name] = strings.Join(elements, ",")
	return nil
}
