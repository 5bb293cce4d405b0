package broker

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// ListGroups: v0-5
//
// Version notes:
//   - v3: flexible
//   - v4: states, and a filter by them
//   - v5: types, and a filter by them
func (b *broker) handleListGroups(_ context.Context, r *request) completion {
	req := r.body.(*kmsg.ListGroupsRequest)
	resp := req.ResponseKind().(*kmsg.ListGroupsResponse)
	_, err := b.groups.View(func(time.Time) { resp.Groups = b.groupMachine.List() })
	if err != nil {
		resp.ErrorCode = b.coordinatorError(err).Code
		return ready(resp)
	}
	passes := func(filter []string, value string) bool {
		return len(filter) == 0 || slices.ContainsFunc(filter, func(f string) bool { return strings.EqualFold(f, value) })
	}
	resp.Groups = slices.DeleteFunc(resp.Groups, func(g kmsg.ListGroupsResponseGroup) bool {
		return !passes(req.StatesFilter, g.GroupState) || !passes(req.TypesFilter, g.GroupType)
	})
	return ready(resp)
}
