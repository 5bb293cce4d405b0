package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// completionTimeout is how long a shell waits for names that the broker knows.
const completionTimeout = time.Second

// names asks a broker for names to complete.
type names func(ctx context.Context, admin *kadm.Client) ([]string, error)

func topicNames(ctx context.Context, admin *kadm.Client) ([]string, error) {
	topics, err := admin.ListTopics(ctx)
	return topics.Names(), err
}

func groupNames(ctx context.Context, admin *kadm.Client) ([]string, error) {
	groups, err := admin.ListGroups(ctx)
	return groups.Groups(), err
}

func brokerNames(ctx context.Context, admin *kadm.Client) (found []string, err error) {
	brokers, err := admin.ListBrokers(ctx)
	for _, b := range brokers {
		found = append(found, fmt.Sprintf("%s:%d", b.Host, b.Port))
	}
	return found, err
}

// ask returns what there is to complete; nothing where the broker does not answer soon.
func (n names) ask(cmd *cobra.Command) []string {
	brokers, err := cmd.Flags().GetString("brokers")
	if err != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), completionTimeout)
	defer cancel()
	kc, err := kgo.NewClient(kgo.SeedBrokers(seeds(brokers)...), kgo.DisableClientMetrics(),
		kgo.DialTimeout(completionTimeout), kgo.RequestRetries(0))
	if err != nil {
		return nil
	}
	defer closeSoon(kc)
	found, err := n(ctx, kadm.NewClient(kc))
	if err != nil {
		return nil
	}
	slices.Sort(found)
	return found
}

// completeAny completes each argument, with what is not there yet.
func completeAny(n names) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, start string) ([]string, cobra.ShellCompDirective) {
		found := slices.DeleteFunc(n.ask(cmd), func(name string) bool {
			return slices.Contains(args, name) || !strings.HasPrefix(name, start)
		})
		return found, cobra.ShellCompDirectiveNoFileComp
	}
}

// completeOne completes the first argument.
func completeOne(n names) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, start string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return completeAny(n)(cmd, args, start)
	}
}

// complete completes a flag.
func complete(cmd *cobra.Command, flag string, n names) {
	_ = cmd.RegisterFlagCompletionFunc(flag, completeAny(n))
}
