// Package examples_test checks that what the README and core/docs show works.
package examples_test

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core"
)

const root = ".."

// pages returns the README and the pages of core/docs.
func pages(t *testing.T) []string {
	t.Helper()
	docs, err := filepath.Glob(filepath.Join(root, "core", "docs", "*.md"))
	require.NoError(t, err)
	require.NotEmpty(t, docs)
	return append([]string{filepath.Join(root, "README.md")}, docs...)
}

// blocksOf returns the fenced blocks of a language on all pages.
func blocksOf(t *testing.T, language string) []string {
	t.Helper()
	var texts []string
	for _, page := range pages(t) {
		text, err := os.ReadFile(page)
		require.NoError(t, err)
		blocks := regexp.MustCompile("(?ms)^```(\\w*)\n(.*?)^```$").FindAllStringSubmatch(string(text), -1)
		assert.Equal(t, 2*len(blocks), strings.Count(string(text), "```"), "%s: a block is not found", page)
		for _, block := range blocks {
			if block[1] == language {
				texts = append(texts, block[2])
			}
		}
	}
	require.NotEmpty(t, texts, "no page has blocks of %s", language)
	return texts
}

// goCommand runs the go command in the module and returns what it prints.
func goCommand(t *testing.T, args ...string) string {
	t.Helper()
	command := exec.CommandContext(t.Context(), "go", args...)
	command.Dir = root
	output, err := command.CombinedOutput()
	require.NoError(t, err, "go %s\n%s", strings.Join(args, " "), output)
	return string(output)
}

// isExcerpt reports whether a block is a part of a module below this directory:
// whole lines of one of its files, which the tests of that module compile and
// run.
func isExcerpt(t *testing.T, text string) bool {
	t.Helper()
	modules, err := filepath.Glob(filepath.Join("*", "go.mod"))
	require.NoError(t, err)
	found := false
	for _, module := range modules {
		require.NoError(t, filepath.WalkDir(filepath.Dir(module), func(path string, _ fs.DirEntry, err error) error {
			if err != nil || filepath.Ext(path) != ".go" {
				return err
			}
			content, err := os.ReadFile(path)
			found = found || strings.Contains("\n"+string(content), "\n"+text)
			return err
		}))
	}
	return found
}

func TestGoBlocks(t *testing.T) {
	// Each block becomes a package of this module that exists only in the
	// overlay that the go command is given.
	directory := t.TempDir()
	base, err := filepath.Abs(root)
	require.NoError(t, err)
	overlay := map[string]string{}
	var packages, tests []string
	for i, text := range blocksOf(t, "go") {
		if !strings.HasPrefix(text, "package ") {
			assert.True(t, isExcerpt(t, text), "block %d is neither a whole file nor a part of one in a module below examples:\n%s", i, text)
			continue
		}
		name := "readme.go"
		path := fmt.Sprintf("./examples/readme%d", i)
		if strings.Contains(text, "*testing.T") {
			name = "readme_test.go"
			tests = append(tests, path)
		} else {
			packages = append(packages, path)
		}
		file := filepath.Join(directory, fmt.Sprintf("%d_%s", i, name))
		require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
		overlay[filepath.Join(base, path, name)] = file
	}
	replace, err := json.Marshal(map[string]any{"Replace": overlay})
	require.NoError(t, err)
	overlayFile := filepath.Join(directory, "overlay.json")
	require.NoError(t, os.WriteFile(overlayFile, replace, 0o600))

	goCommand(t, append([]string{"build", "-overlay", overlayFile, "-o", os.DevNull}, packages...)...)
	require.NotEmpty(t, tests)
	for i, path := range tests {
		// Compiled and run in two steps, for its directory does not exist.
		binary := filepath.Join(directory, fmt.Sprintf("%d.test", i))
		goCommand(t, "test", "-c", "-vet=off", "-overlay", overlayFile, "-o", binary, path)
		output, err := exec.CommandContext(t.Context(), binary, "-test.v").CombinedOutput()
		require.NoError(t, err, "%s", output)
		assert.Contains(t, string(output), "--- PASS: Test")
	}

	unformatted, err := exec.CommandContext(t.Context(), "gofmt", "-l", directory).CombinedOutput()
	require.NoError(t, err)
	assert.Empty(t, string(unformatted), "the pages' Go is formatted")
}

// TestJSONBlocks reads blocks that have an address of the server as settings.
func TestJSONBlocks(t *testing.T) {
	settings := 0
	for _, text := range blocksOf(t, "json") {
		assert.True(t, json.Valid([]byte(text)), text)
		if !strings.Contains(text, `"URL"`) {
			continue
		}
		settings++
		config, err := core.ParseSettings(strings.NewReader(text))
		require.NoError(t, err)
		client, err := core.NewClient(config)
		require.NoError(t, err)
		require.NoError(t, client.Stop(t.Context()))
	}
	assert.Positive(t, settings)
}

func TestCommands(t *testing.T) {
	for _, text := range blocksOf(t, "sh") {
		for command := range strings.Lines(text) {
			command = strings.TrimSpace(command)
			words := strings.Fields(command)
			if len(words) == 0 {
				continue
			}
			if script, ok := strings.CutPrefix(words[0], ".ci/"); ok {
				assert.FileExists(t, filepath.Join(root, ".ci", script))
				continue
			}
			require.GreaterOrEqual(t, len(words), 2, command)
			switch strings.Join(words[:2], " ") {
			case "go run":
				// The program has a test of its own that runs it.
				goCommand(t, "vet", words[2])
				assert.FileExists(t, filepath.Join(root, words[2], "main_test.go"))
			case "go test":
				// This test is run by it; the packages must match something.
				at := slices.IndexFunc(words, func(word string) bool { return strings.HasPrefix(word, "./") })
				require.Positive(t, at, command)
				assert.NotEmpty(t, goCommand(t, "list", words[at]))
			case "go get":
				assert.Equal(t, words[2], strings.TrimSpace(goCommand(t, "list", "-m")))
			case "go tool":
				goCommand(t, "tool", words[2], "-V=full")
			case "go install":
				name, _, _ := strings.Cut(words[2], "@")
				assert.Equal(t, name, strings.TrimSpace(goCommand(t, "list", name)))
			default:
				if words[0] == "postoffice" {
					checkPostoffice(t, command)
					continue
				}
				assert.Fail(t, "nothing checks this command of a page", command)
			}
		}
	}
}

// checkPostoffice sees that the command line tool has the commands and flags of
// a line.
func checkPostoffice(t *testing.T, line string) {
	t.Helper()
	line, _, _ = strings.Cut(line, " #")
	for command := range strings.SplitSeq(line, "&&") {
		var names []string
		words := strings.Fields(command)
		require.Equal(t, "postoffice", words[0], line)
		for _, word := range words[1:] {
			if !regexp.MustCompile(`^[a-z]+$`).MatchString(word) {
				break
			}
			names = append(names, word)
		}
		help := goCommand(t, append(append([]string{"run", "./core/cmd/postoffice"}, names...), "--help")...)
		assert.Contains(t, help, "postoffice "+names[0])
		for _, word := range words {
			if strings.HasPrefix(word, "--") {
				assert.Contains(t, help, word, line)
			}
		}
	}
}

func TestLinks(t *testing.T) {
	for _, page := range pages(t) {
		text, err := os.ReadFile(page)
		require.NoError(t, err)
		links := regexp.MustCompile(`\]\(([^)]+)\)`).FindAllStringSubmatch(string(text), -1)
		require.NotEmpty(t, links, page)
		for _, link := range links {
			if strings.Contains(link[1], "://") {
				continue
			}
			file, heading, _ := strings.Cut(link[1], "#")
			target := filepath.Join(filepath.Dir(page), file)
			if file == "" {
				target = page
			}
			_, err := os.Stat(target)
			if assert.NoError(t, err, page) && heading != "" {
				assert.Contains(t, headingsOf(t, target), heading, "%s in %s", link[1], page)
			}
		}
	}
}

// headingsOf returns the headings of a page as GitHub names them in links.
func headingsOf(t *testing.T, page string) (names []string) {
	t.Helper()
	text, err := os.ReadFile(page)
	require.NoError(t, err)
	for _, heading := range regexp.MustCompile(`(?m)^#+ (.+)$`).FindAllStringSubmatch(string(text), -1) {
		name := regexp.MustCompile(`[^\p{L}\p{N}\- ]`).ReplaceAllString(strings.ToLower(heading[1]), "")
		names = append(names, strings.ReplaceAll(name, " ", "-"))
	}
	return names
}
