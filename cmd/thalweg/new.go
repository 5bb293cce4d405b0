package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"thalweg/cmd/thalweg/internal/project"
)

func newCommand() *cobra.Command {
	var library string
	cmd := &cobra.Command{
		Use:               "new DIR",
		Short:             "Write a new application: a program, its test, and what builds and runs it",
		Example:           "  thalweg new ../hello",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: completeDirectory,
		RunE: func(cmd *cobra.Command, args []string) error {
			lib, err := project.FindLibrary(cmd.Context(), library)
			if err != nil {
				return fmt.Errorf("new: %w", err)
			}
			files, err := project.Write(args[0], lib)
			if err != nil {
				return fmt.Errorf("new: %w", err)
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "wrote %s\nnext: cd %s && go test ./... && go run .\n",
				strings.Join(files, ", "), args[0])
			return err
		},
	}
	cmd.Flags().StringVar(&library, "library", "", "where the library's source is (default: where this tool was built "+
		"from)")
	return cmd
}
