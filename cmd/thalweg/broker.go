package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	goruntime "runtime"
	"runtime/pprof"

	"github.com/spf13/cobra"

	"thalweg/broker"
	"thalweg/runtime"
)

func brokerCommand() *cobra.Command {
	var cfg broker.Config
	var listen, sync, profile string
	var verbose bool
	cmd := &cobra.Command{
		Use:   "broker",
		Short: "Run the bundled broker as a server",
		Example: `  thalweg broker
  thalweg broker -listen 0.0.0.0:9092 -advertise kafka.example.org:9092 -dir /var/lib/thalweg`,
		Args:              cobra.NoArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			err := noZeros(cmd)
			if err != nil {
				return err
			}
			if cfg.Sync, err = broker.ParseSync(sync); err != nil {
				return err
			}
			if cfg.Listener, err = net.Listen("tcp", listen); err != nil {
				return fmt.Errorf("broker: %w", err)
			}
			cfg.Logger = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level(verbose)}))
			b, err := broker.Open(cfg)
			if err != nil {
				return inFlags(err)
			}
			if profile != "" {
				f, err := os.Create(profile)
				if err == nil {
					err = pprof.StartCPUProfile(f)
				}
				if err != nil {
					return errors.Join(err, b.Close())
				}
				defer f.Close()
				defer pprof.StopCPUProfile()
			}
			ballast := make([]byte, runtime.DefaultHeapBallastBytes) // for the collector
			defer goruntime.KeepAlive(ballast)
			fmt.Fprintf(cmd.OutOrStdout(), "listening on %s, data in %s\n", cfg.Listener.Addr(), cfg.Dir)
			<-cmd.Context().Done()
			return b.Close()
		},
	}
	cmd.AddCommand(backupCommand(), checkCommand())
	f := cmd.Flags()
	f.StringVar(&listen, "listen", "127.0.0.1:9092", "address to accept connections on")
	f.StringVar(&cfg.Advertise, "advertise", "", "HOST:PORT that clients are told to connect to (default: -listen's)")
	f.StringVar(&cfg.Dir, "dir", "thalweg-data", "data directory")
	f.StringVar(&sync, "sync", "group", "when records are forced to disk: group, os, always or never")
	f.BoolVar(&cfg.AutoCreateTopics, "auto-create", false, "make topics that clients ask for")
	f.Int32Var(&cfg.Partitions, "partitions", 1, "partitions of a topic whose creator leaves it open")
	f.StringToStringVar(&cfg.TopicDefaults, "topic-default", nil,
		"NAME=VALUE, repeatable: the default of a topic configuration, say retention.ms or segment.bytes")
	limitFlags(cmd, &cfg)
	f.StringVar(&profile, "cpuprofile", "", "write a CPU profile to this file when the broker ends")
	f.BoolVarP(&verbose, "verbose", "v", false, "log more than warnings")
	return cmd
}

// level is what is logged.
func level(verbose bool) slog.Level {
	if verbose {
		return slog.LevelInfo
	}
	return slog.LevelWarn
}

func backupCommand() *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use:   "backup COPY",
		Short: "Copy the data of a broker that runs, as of one moment",
		Long: `Copy the data directory of a running broker into COPY, a directory that is empty or does not exist.
A broker started on the copy finds all topics, groups and transactions as they were at one moment.
The command reaches the broker through a socket in its data directory, and needs its user's rights.`,
		Example:           "  thalweg broker backup /backup/monday -dir /var/lib/thalweg",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: completeDirectory,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := broker.RequestBackup(cmd.Context(), dir, args[0]); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s is a copy of %s\n", args[0], dir)
			return nil
		},
	}
	cmd.Flags().StringVar(&dir, "dir", "thalweg-data", "data directory of the broker")
	return cmd
}

func checkCommand() *cobra.Command {
	var o output
	cmd := &cobra.Command{
		Use:   "check DIR",
		Short: "Verify the data directory of a broker that does not run, or a copy",
		Long: `Read all of a data directory at rest: batches, checksums, records, indexes, and whether topics, groups and
transactions can be recovered. Damage makes the command fail. What a crash leaves is noted, and is no damage.`,
		Example:           "  thalweg broker check /backup/monday",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: completeDirectory,
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := broker.Check(nil, args[0])
			if err != nil {
				return err
			}
			damage, err := printFindings(cmd.OutOrStdout(), r, o.json())
			if err != nil {
				return err
			}
			if damage > 0 {
				return fmt.Errorf("broker: check %s: %d findings are damage", args[0], damage)
			}
			return nil
		},
	}
	o.flags(cmd)
	return cmd
}

// printFindings prints what was found, and what was looked at, and returns how many findings are damage.
func printFindings(out io.Writer, r *broker.CheckReport, asJSON bool) (damage int, err error) {
	for _, f := range r.Findings {
		kind := "note"
		if f.Damage {
			kind = "DAMAGE"
			damage++
		}
		if asJSON {
			err = writeJSON(out, struct {
				Path   string `json:"path"`
				Damage bool   `json:"damage"`
				Text   string `json:"text"`
			}{f.Path, f.Damage, f.Text})
		} else {
			_, err = fmt.Fprintf(out, "%s: %s: %s\n", kind, f.Path, f.Text)
		}
		if err != nil {
			return damage, err
		}
	}
	if asJSON {
		return damage, nil
	}
	_, err = fmt.Fprintf(out, "%d topics, %d partitions, %d batches, %d records, %d bytes\n", r.Topics, r.Partitions,
		r.Batches, r.Records, r.Bytes)
	return damage, err
}
