package broker

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"thalweg/broker/internal/meta"
)

// The kinds of resources that may have a configuration.
const (
	resourceTopic         = int8(kmsg.ConfigResourceTypeTopic)
	resourceBroker        = int8(kmsg.ConfigResourceTypeBroker)
	resourceLogger        = int8(kmsg.ConfigResourceTypeBrokerLogger)
	resourceClientMetrics = int8(kmsg.ConfigResourceTypeClientMetrics)
	resourceGroup         = int8(kmsg.ConfigResourceTypeGroupConfig)
)

// ListConfigResources: v0-1
//
// The broker has no loggers to set and no subscriptions of metrics, so that there are none to list. A group is listed
// once it has a configuration.
//
// Version notes:
//   - v0: subscriptions of client metrics alone
//   - v1: other kinds; all of them where none is named
func (b *broker) handleListConfigResources(_ context.Context, r *request) completion {
	req := r.body.(*kmsg.ListConfigResourcesRequest)
	resp := req.ResponseKind().(*kmsg.ListConfigResourcesResponse)
	resp.ConfigResources = []kmsg.ListConfigResourcesResponseConfigResource{}
	supported := []int8{resourceTopic, resourceBroker, resourceLogger, resourceClientMetrics, resourceGroup}
	if req.Version == 0 {
		supported = []int8{resourceClientMetrics}
	}
	asked := req.ResourceTypes
	if len(asked) == 0 {
		asked = supported
	}
	if slices.ContainsFunc(asked, func(kind int8) bool { return !slices.Contains(supported, kind) }) {
		resp.ErrorCode = kerr.UnsupportedVersion.Code
		return ready(resp)
	}
	add := func(kind int8, name string) {
		one := kmsg.NewListConfigResourcesResponseConfigResource()
		one.Name, one.Type = name, kind
		resp.ConfigResources = append(resp.ConfigResources, one)
	}
	if slices.Contains(asked, resourceBroker) {
		add(resourceBroker, strconv.Itoa(nodeID))
	}
	if slices.Contains(asked, resourceTopic) {
		for _, name := range slices.Sorted(maps.Keys(b.topics.load().byName)) {
			add(resourceTopic, name)
		}
	}
	if slices.Contains(asked, resourceGroup) {
		var names []string
		b.meta.View(func(time.Time) { names = b.metaMachine.Resources(meta.KindGroup) })
		slices.Sort(names)
		for _, name := range names {
			add(resourceGroup, name)
		}
	}
	return ready(resp)
}
