// Package project writes a new application: what "thalweg new" makes.
package project

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// skeleton is a program of this module, so that it compiles and its test runs with all others. The other files are
// templates; Go's file names are kept from the tool chain, and dots from those that skip hidden files.
//
//go:embed skeleton
var skeleton embed.FS

// renamed are the files whose names in the skeleton differ.
var renamed = map[string]string{"gitignore": ".gitignore", "dockerignore": ".dockerignore"}

// settings are what the templates name.
type settings struct {
	Name      string // of the application: the directory's
	Library   string // where the library's source is
	Toolchain string
}

// Write makes the directory, which must be new or empty, and fills it. It returns the names of the files.
func Write(dir string, lib Library) (files []string, err error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	name := filepath.Base(abs)
	if err := checkName(name); err != nil {
		return nil, err
	}
	switch there, err := os.ReadDir(dir); {
	case err == nil && len(there) > 0:
		return nil, fmt.Errorf("%s is not empty: name a new directory", dir)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	contents, err := render(name, lib)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	for _, f := range contents {
		if err := os.WriteFile(filepath.Join(dir, f.name), f.text, 0o644); err != nil {
			return nil, err
		}
		files = append(files, f.name)
	}
	return files, nil
}

type file struct {
	name string
	text []byte
}

func render(name string, lib Library) ([]file, error) {
	mod, sum, toolchain, err := lib.moduleFiles(name)
	if err != nil {
		return nil, err
	}
	files := []file{{"go.mod", mod}}
	if len(sum) > 0 {
		files = append(files, file{"go.sum", sum})
	}
	set := settings{Name: name, Library: lib.Dir, Toolchain: strings.TrimPrefix(toolchain, "go")}
	entries, err := skeleton.ReadDir("skeleton")
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		text, err := skeleton.ReadFile("skeleton/" + e.Name())
		if err != nil {
			return nil, err
		}
		if text, err = fill(e.Name(), text, set); err != nil {
			return nil, err
		}
		to := e.Name()
		if other, ok := renamed[to]; ok {
			to = other
		}
		files = append(files, file{to, text})
	}
	return files, nil
}

// fill puts the settings into a file of the skeleton. Go files are as they are but for the application's name. It does
// without text/template, which calls methods by name and so keeps the linker from leaving any out.
func fill(name string, text []byte, set settings) ([]byte, error) {
	if filepath.Ext(name) == ".go" {
		return bytes.ReplaceAll(text, []byte("skeleton"), []byte(set.Name)), nil
	}
	filled := strings.NewReplacer(
		"{{.Name}}", set.Name, "{{.Library}}", set.Library, "{{.Toolchain}}", set.Toolchain,
	).Replace(string(text))
	if strings.Contains(filled, "{{") {
		return nil, fmt.Errorf("file %s of the skeleton names a setting that there is not", name)
	}
	return []byte(filled), nil
}

// checkName accepts what can name a module, an application and an image: the directory's name is all three.
func checkName(name string) error {
	bad := strings.IndexFunc(name, func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_'
	})
	if name == "" || bad >= 0 || name[0] < 'a' || name[0] > 'z' || name == "thalweg" || name == "main" {
		return fmt.Errorf("%q cannot name an application: the directory's name must begin with a letter and have only "+
			"lower-case letters, digits, '-' and '_'", name)
	}
	return nil
}
