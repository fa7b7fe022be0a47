// Package examples_test checks that what the README and core/docs show works.
package examples_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
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

// blocksOf returns the fenced blocks of a language on all pages. A block may be
// indented, as in a list.
func blocksOf(t *testing.T, language string) []string {
	t.Helper()
	var texts []string
	for _, page := range pages(t) {
		text, err := os.ReadFile(page)
		require.NoError(t, err)
		blocks := regexp.MustCompile("(?ms)^( *)```(\\w*)\n(.*?)^ *```$").FindAllStringSubmatch(string(text), -1)
		assert.Equal(t, 2*len(blocks), strings.Count(string(text), "```"), "%s: a block is not found", page)
		for _, block := range blocks {
			if block[2] == language {
				texts = append(texts, regexp.MustCompile("(?m)^"+block[1]).ReplaceAllString(block[3], ""))
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

// isExcerpt reports whether a block is a part of an example: whole lines of one
// of the files below this directory, which their tests compile and run. The
// lines may have lost the same indentation.
func isExcerpt(t *testing.T, text string) bool {
	t.Helper()
	lines := regexp.MustCompile(`(?m)^(.)`)
	found := false
	require.NoError(t, filepath.WalkDir(".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || filepath.Ext(path) != ".go" {
			return err
		}
		content, err := os.ReadFile(path)
		for _, indent := range []string{"", "\t"} {
			found = found || strings.Contains("\n"+string(content), "\n"+lines.ReplaceAllString(text, indent+"$1"))
		}
		return err
	}))
	return found
}

func TestGoBlocks(t *testing.T) {
	t.Parallel()
	// Each block becomes a package of this module that exists only in the
	// overlay that the go command is given.
	directory := t.TempDir()
	base, err := filepath.Abs(root)
	require.NoError(t, err)
	overlay := map[string]string{}
	var packages, tests []string
	for i, text := range blocksOf(t, "go") {
		if !strings.HasPrefix(text, "package ") {
			assert.True(t, isExcerpt(t, text), "block %d is neither a whole file nor a part of an example:\n%s", i, text)
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
	// The tests are compiled and run in two steps, because their directories do
	// not exist.
	binaries := t.TempDir()
	goCommand(t, append([]string{"test", "-c", "-vet=off", "-overlay", overlayFile, "-o", binaries}, tests...)...)
	compiled, err := filepath.Glob(filepath.Join(binaries, "*"))
	require.NoError(t, err)
	require.Len(t, compiled, len(tests))
	for _, binary := range compiled {
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
	t.Parallel()
	tool := filepath.Join(t.TempDir(), "postoffice.exe")
	goCommand(t, "build", "-o", tool, "./core/cmd/postoffice")
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
				// The program's own test runs it. With -C it is in another module.
				module, path := ".", words[2]
				if path == "-C" {
					require.GreaterOrEqual(t, len(words), 5, command)
					module, path = words[3], words[4]
				}
				assert.Equal(t, "main", strings.TrimSpace(goCommand(t, "list", "-C", module, "-f", "{{.Name}}", path)), command)
				assert.FileExists(t, filepath.Join(root, module, path, "main_test.go"))
			case "go test":
				// This test is run by it; the packages must match something.
				at := slices.IndexFunc(words, func(word string) bool { return strings.HasPrefix(word, "./") })
				require.Positive(t, at, command)
				assert.NotEmpty(t, goCommand(t, "list", words[at]))
			case "docker compose":
				// Its file has tests of its own, which need no Docker.
				require.GreaterOrEqual(t, len(words), 4, command)
				assert.Equal(t, "--file", words[2], command)
				assert.FileExists(t, filepath.Join(root, words[3]))
			case "go get":
				assert.Equal(t, words[2], strings.TrimSpace(goCommand(t, "list", "-m")))
			case "go tool":
				goCommand(t, "tool", words[2], "-V=full")
			case "go install":
				name, _, _ := strings.Cut(words[2], "@")
				assert.Equal(t, name, strings.TrimSpace(goCommand(t, "list", name)))
			default:
				if words[0] == "postoffice" {
					checkPostoffice(t, tool, command)
					continue
				}
				assert.Fail(t, "nothing checks this command of a page", command)
			}
		}
	}
}

// checkPostoffice checks that the command line tool has the commands and flags of
// a line.
func checkPostoffice(t *testing.T, tool, line string) {
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
		require.NotEmpty(t, names, line)
		help, err := exec.CommandContext(t.Context(), tool, append(names, "--help")...).CombinedOutput()
		require.NoError(t, err, "%s\n%s", line, help)
		assert.Contains(t, string(help), "postoffice "+names[0])
		for _, word := range words {
			if strings.HasPrefix(word, "--") {
				assert.Contains(t, string(help), word, line)
			}
		}
	}
}

// TestREADMEIsShort keeps the README to what a newcomer reads. Details belong in
// core/docs.
func TestREADMEIsShort(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, "README.md"))
	require.NoError(t, err)
	assert.LessOrEqual(t, strings.Count(string(text), "\n"), 350)
	for _, page := range pages(t)[1:] {
		assert.Contains(t, string(text), "](core/docs/"+filepath.Base(page)+")", "a page that nobody finds")
	}
}

// tableRows returns the cells of the table rows of a page that begin with a
// pattern, without the marks of code.
func tableRows(t *testing.T, page, first string) (rows [][]string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, page))
	require.NoError(t, err)
	for _, row := range regexp.MustCompile(`(?m)^\| (`+first+`.*)\|$`).FindAllStringSubmatch(string(text), -1) {
		var cells []string
		for cell := range strings.SplitSeq(row[1], "|") {
			cells = append(cells, strings.Trim(cell, "` "))
		}
		rows = append(rows, cells)
	}
	require.NotEmpty(t, rows, page)
	return rows
}

// TestFrameworks looks for the README's lines for each framework in the framework's
// example.
func TestFrameworks(t *testing.T) {
	rows := tableRows(t, "README.md", `\[[^]]+\]\(examples/`)
	assert.Len(t, rows, 4)
	for _, row := range rows {
		_, example, _ := strings.Cut(strings.TrimSuffix(row[0], ")"), "(")
		program, err := os.ReadFile(filepath.Join(root, example, "main.go"))
		require.NoError(t, err)
		for _, line := range row[1:] {
			if strings.HasPrefix(line, "postoffice/") {
				line = `"github.com/postoffice-go/` + line + `"`
			}
			assert.Contains(t, string(program), line, example)
		}
	}
}

// TestSettingsTable checks that the table has every field of a Config, and keys
// and variables that exist.
func TestSettingsTable(t *testing.T) {
	rows := map[string][]string{}
	for _, row := range tableRows(t, "core/docs/settings.md", "`[A-Z]") {
		rows[row[0]] = row[1:]
	}
	config := reflect.TypeFor[core.Config]()
	for i := range config.NumField() {
		assert.Contains(t, rows, config.Field(i).Name)
	}
	assert.Len(t, rows, config.NumField())

	for field, row := range rows {
		key, variable := row[0], row[1]
		if key == "" && variable == "" {
			continue
		}
		_, err := core.ParseSettings(strings.NewReader(`{"` + key + `": null}`))
		if fault := new(core.FieldError); assert.ErrorAs(t, err, &fault, field) {
			assert.Equal(t, key, fault.Field, "a known key that is null is an error of its own")
		}

		t.Setenv(variable, "?")
		set, err := core.SettingsFromEnv()
		if fault := new(core.FieldError); errors.As(err, &fault) {
			assert.Equal(t, variable, fault.Field)
		} else {
			assert.False(t, reflect.ValueOf(set).FieldByName(field).IsZero(), "%s sets nothing", variable)
		}
		require.NoError(t, os.Unsetenv(variable))
	}
}

// markdown returns all pages of the repository.
func markdown(t *testing.T) (pages []string) {
	t.Helper()
	require.NoError(t, filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		if filepath.Ext(path) == ".md" {
			pages = append(pages, path)
		}
		return err
	}))
	return pages
}

func TestLinks(t *testing.T) {
	links, pictures := 0, 0
	for _, page := range markdown(t) {
		text, err := os.ReadFile(page)
		require.NoError(t, err)
		for _, link := range regexp.MustCompile(`(\]\(|src(?:set)?=")([^)"]+)[)"]`).FindAllStringSubmatch(string(text), -1) {
			if strings.Contains(link[2], "://") {
				continue
			}
			links++
			if strings.HasPrefix(link[1], "src") {
				pictures++
			}
			file, heading, _ := strings.Cut(link[2], "#")
			target := filepath.Join(filepath.Dir(page), file)
			if file == "" {
				target = page
			}
			_, err := os.Stat(target)
			if assert.NoError(t, err, page) && heading != "" {
				assert.Contains(t, headingsOf(t, target), heading, "%s in %s", link[2], page)
			}
		}
	}
	assert.Greater(t, links, 50)
	assert.GreaterOrEqual(t, pictures, 4)
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
