package main

import (
	"fmt"
	"log/slog"
	"net"
	"os"
	goruntime "runtime"

	"github.com/spf13/cobra"

	"thalweg/broker"
	"thalweg/runtime"
)

func brokerCommand() *cobra.Command {
	var listen, advertise, dir, sync string
	var autoCreate, verbose bool
	var partitions int32
	var defaults map[string]string
	cmd := &cobra.Command{
		Use:   "broker",
		Short: "Run the bundled broker as a server",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			mode, err := broker.ParseSync(sync)
			if err != nil {
				return err
			}
			listener, err := net.Listen("tcp", listen)
			if err != nil {
				return fmt.Errorf("broker: %w", err)
			}
			level := slog.LevelWarn
			if verbose {
				level = slog.LevelInfo
			}
			b, err := broker.Open(broker.Config{
				Dir: dir, Listener: listener, Advertise: advertise, Sync: mode, AutoCreateTopics: autoCreate,
				Partitions: partitions, TopicDefaults: defaults,
				Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level})),
			})
			if err != nil {
				return err
			}
			headroom := make([]byte, runtime.DefaultHeadroomBytes) // for the collector
			defer goruntime.KeepAlive(headroom)
			fmt.Fprintf(cmd.OutOrStdout(), "listening on %s, data in %s\n", b.Addr(), dir)
			<-cmd.Context().Done()
			return b.Close()
		},
	}
	f := cmd.Flags()
	f.StringVar(&listen, "listen", "127.0.0.1:9092", "address to accept connections on")
	f.StringVar(&advertise, "advertise", "", "HOST:PORT that clients are told to connect to (default: -listen's)")
	f.StringVar(&dir, "dir", "thalweg-data", "data directory")
	f.StringVar(&sync, "sync", "group", "when records are forced to disk: group, os, always or never")
	f.BoolVar(&autoCreate, "auto-create", false, "make topics that clients ask for")
	f.Int32Var(&partitions, "partitions", 1, "partitions of a topic whose creator leaves it open")
	f.StringToStringVar(&defaults, "topic-default", nil,
		"NAME=VALUE, repeatable: the default of a topic configuration, say retention.ms or segment.bytes")
	f.BoolVarP(&verbose, "verbose", "v", false, "log more than warnings")
	return cmd
}
