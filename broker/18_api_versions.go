package broker

import (
	"context"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// ApiVersions: v0-4
//
// Version notes:
//   - v3: flexible, but for the header of the answer; features
//   - v4: features whose lowest version is 0
//
// A version that we do not know is answered in the form of v0, with UNSUPPORTED_VERSION: the client tries again.
// The epoch of the finalized features has to be 0 or more: the Java producer takes no notice of them otherwise.
func (b *broker) handleApiVersions(_ context.Context, r *request) completion {
	resp := kmsg.NewPtrApiVersionsResponse()
	if r.unsupported {
		resp.ErrorCode = kerr.UnsupportedVersion.Code
	} else {
		resp.Version = r.version
	}
	for key, h := range b.handlers {
		k := kmsg.NewApiVersionsResponseApiKey()
		k.ApiKey, k.MinVersion, k.MaxVersion = key, h.min, h.max
		resp.ApiKeys = append(resp.ApiKeys, k)
	}
	slices.SortFunc(resp.ApiKeys, func(a, b kmsg.ApiVersionsResponseApiKey) int { return int(a.ApiKey) - int(b.ApiKey) })
	for _, f := range features() {
		supported := kmsg.NewApiVersionsResponseSupportedFeature()
		supported.Name, supported.MinVersion, supported.MaxVersion = f.name, f.min, f.level
		resp.SupportedFeatures = append(resp.SupportedFeatures, supported)
		finalized := kmsg.NewApiVersionsResponseFinalizedFeature()
		finalized.Name, finalized.MinVersionLevel, finalized.MaxVersionLevel = f.name, f.level, f.level
		resp.FinalizedFeatures = append(resp.FinalizedFeatures, finalized)
	}
	resp.FinalizedFeaturesEpoch = 0
	return ready(resp)
}
