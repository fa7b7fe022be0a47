//go:build unix

package compose_test

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// image is what a stage of a Dockerfile has made: a directory in the place of its
// file system.
type image struct{ root, workdir string }

// path returns the place of a path of the image.
func (i image) path(name string) string {
	if !strings.HasPrefix(name, "/") {
		name = i.workdir + "/" + name
	}
	return filepath.Join(i.root, filepath.FromSlash(name))
}

// build carries out the steps of a Dockerfile and returns its last stage. It knows
// the instructions that the file has, with relative paths in RUN, and no base
// image: Go and a shell are those of the machine.
func build(t *testing.T, dockerfile, context string) image {
	t.Helper()
	text, err := os.ReadFile(dockerfile)
	require.NoError(t, err)
	stages := map[string]image{}
	var stage image
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		instruction, rest, _ := strings.Cut(line, " ")
		words := strings.Fields(rest)
		switch instruction {
		case "", "#", "CMD":
		case "FROM":
			checkBase(t, words[0], filepath.Join(context, "go.mod"))
			stage = image{root: t.TempDir()}
			if len(words) == 3 {
				stages[words[2]] = stage
			}
		case "WORKDIR":
			stage.workdir = rest
			for name, known := range stages {
				if known.root == stage.root {
					stages[name] = stage
				}
			}
			require.NoError(t, os.MkdirAll(stage.path("."), 0o755))
		case "COPY":
			copyFiles(t, stages, stage, context, words)
		case "RUN":
			require.NotRegexp(t, `(^|\s)/`, rest, "paths are relative, so that no container is needed")
			command := exec.CommandContext(t.Context(), "sh", "-ec", rest)
			command.Dir = stage.path(".")
			output, err := command.CombinedOutput()
			require.NoError(t, err, "%s\n%s", line, output)
		default:
			require.Fail(t, "this test does not know the instruction", line)
		}
	}
	return stage
}

// checkBase sees that an image with Go has the version of go.mod.
func checkBase(t *testing.T, base, module string) {
	t.Helper()
	version, isGo := strings.CutPrefix(base, "golang:")
	if !isGo {
		return
	}
	text, err := os.ReadFile(module)
	require.NoError(t, err)
	directive := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindSubmatch(text)
	require.NotNil(t, directive)
	require.Equal(t, string(directive[1]), version)
}

// copyFiles carries out COPY.
func copyFiles(t *testing.T, stages map[string]image, stage image, context string, words []string) {
	t.Helper()
	from := image{root: context}
	for strings.HasPrefix(words[0], "--") {
		if name, ok := strings.CutPrefix(words[0], "--from="); ok {
			require.Contains(t, stages, name)
			from = stages[name]
		}
		words = words[1:]
	}
	to := words[len(words)-1]
	for _, name := range words[:len(words)-1] {
		source, target := from.path(name), stage.path(to)
		info, err := os.Stat(source)
		require.NoError(t, err)
		if !info.IsDir() {
			target = filepath.Join(target, filepath.Base(source))
		}
		require.NoError(t, filepath.WalkDir(source, func(path string, entry fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if entry.Name() == ".git" { // as in Dockerfile.dockerignore
				if entry.IsDir() {
					return filepath.SkipDir
				}
				return nil
			}
			relative, err := filepath.Rel(source, path)
			if err != nil {
				return err
			}
			return copyFile(path, filepath.Join(target, relative), entry)
		}))
	}
}

func copyFile(from, to string, entry fs.DirEntry) error {
	info, err := entry.Info()
	if err != nil {
		return err
	}
	if entry.IsDir() {
		return os.MkdirAll(to, 0o755)
	}
	text, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	return os.WriteFile(to, text, info.Mode())
}
