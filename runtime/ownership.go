package runtime

import (
	"context"
	"strings"

	"thalweg/internal/kclient"
	"thalweg/internal/origin"
	"thalweg/internal/progress"
)

// claimants are the other applications that could have internal topics, to go by the names: each with those topics.
type claimants map[string][]string

// claimantsOf leaves out the topics that the application itself has listed.
func claimantsOf(application string, topics []string, listed func(topic string) bool) claimants {
	c := claimants{}
	for _, topic := range topics {
		if listed(topic) {
			continue
		}
		for _, other := range progress.Owners(topic, application) {
			c[other] = append(c[other], topic)
		}
	}
	return c
}

// owners returns the applications that have listed the topics, by topic. A claim that is pending counts. What was
// listed of another cluster, or of a topic that was deleted since, does not. id has the ids of the topics.
func (c claimants) owners(
	ctx context.Context, l *kclient.Client, cfg Config, id kclient.Identity,
) (map[string]string, error) {
	owners := map[string]string{}
	if len(c) == 0 {
		return owners, nil
	}
	var asked []string
	for application := range c {
		asked = append(asked, progress.TopicName(application))
	}
	there, err := l.Topics().Identify(ctx, asked...)
	if err != nil {
		return nil, err
	}
	for _, application := range sortedKeys(c) {
		topic := progress.TopicName(application)
		if _, exists := there.Topics[topic]; !exists {
			continue
		}
		known, _, err := readProgress(ctx, l, topic, cfg)
		if err != nil {
			return nil, err
		}
		for _, name := range c[application] {
			value, ok := known[internalTopic(name)]
			if ok && origin.Same(value.Cluster, id.Cluster) && origin.Same(value.TopicID, id.Topics[name]) {
				owners[name] = application
			}
		}
	}
	return owners, nil
}

// withGroups returns the topics that may belong to an application whose id begins with that of the one that asks: there
// is a group of that name. An application of Kafka Streams lists nothing.
func (c claimants) withGroups(ctx context.Context, l *kclient.Client, application string) (map[string]bool, error) {
	found := map[string]bool{}
	if len(c) == 0 {
		return found, nil
	}
	groups, err := l.Admin().ListGroups(ctx)
	if err != nil {
		return nil, err
	}
	for other, topics := range c {
		if _, exists := groups[other]; exists && strings.HasPrefix(other, application+"-") {
			for _, topic := range topics {
				found[topic] = true
			}
		}
	}
	return found, nil
}
