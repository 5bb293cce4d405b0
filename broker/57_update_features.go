package broker

import (
	"context"
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// feature is one that ApiVersions names.
type feature struct {
	name       string
	min, level int16 // the lowest level that there is, and the one in effect, which is the highest
}

// metadataVersion is the level of Apache Kafka 4.0 (4.0-IV3). The lowest that Apache Kafka 4 has is 7 (3.3-IV3).
const metadataVersion = 25

func features() []feature {
	return []feature{
		{"metadata.version", 7, metadataVersion},
		{"transaction.version", 1, 2},
	}
}

// UpdateFeatures: v0-2
//
// Version notes:
//   - v1: the type of the change (1 upgrade, 2 and 3 downgrade) in place of a flag; validate only
//   - v2: one error for the whole
//
// The broker always works at the highest level of each feature: asking for that one succeeds, for another fails.
func (b *broker) handleUpdateFeatures(_ context.Context, r *request) completion {
	req := r.body.(*kmsg.UpdateFeaturesRequest)
	resp := req.ResponseKind().(*kmsg.UpdateFeaturesResponse)
	resp.Results = []kmsg.UpdateFeaturesResponseResult{}
	for i := range req.FeatureUpdates {
		err := checkFeature(&req.FeatureUpdates[i], req.Version)
		if err != nil && req.Version >= 2 {
			text := "No feature was updated: " + err.Error()
			resp.ErrorCode, resp.ErrorMessage = code(err), &text
			break
		}
		result := kmsg.NewUpdateFeaturesResponseResult()
		result.Feature = req.FeatureUpdates[i].Feature
		result.ErrorCode, result.ErrorMessage = code(err), message(err)
		resp.Results = append(resp.Results, result)
	}
	return ready(resp)
}

func checkFeature(u *kmsg.UpdateFeaturesRequestFeatureUpdate, version int16) error {
	refuse := func(format string, args ...any) error {
		return &textError{kerr.InvalidUpdateVersion,
			fmt.Sprintf("Invalid update version %d for feature %s. ", u.MaxVersionLevel, u.Feature) +
				fmt.Sprintf(format, args...)}
	}
	all := features()
	i := slices.IndexFunc(all, func(f feature) bool { return f.name == u.Feature })
	switch {
	case version >= 1 && (u.UpgradeType < 1 || u.UpgradeType > 3):
		return refuse("There is no upgrade type %d.", u.UpgradeType)
	case i < 0:
		return refuse("This broker does not have the feature.")
	case u.MaxVersionLevel != all[i].level:
		return refuse("This broker always works at level %d.", all[i].level)
	}
	return nil
}
