package core_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// djangoSpans returns the code spans of the text of docs/django.md. The tests of
// package examples compile its blocks.
func djangoSpans(t *testing.T) (spans []string) {
	t.Helper()
	source, err := os.ReadFile(filepath.Join("docs", "django.md"))
	require.NoError(t, err)
	text := regexp.MustCompile("(?ms)^ *```\\w+\n.*?^ *```$").ReplaceAllString(string(source), "")
	require.NotContains(t, text, "```", "every block has a language")
	for _, span := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(text, -1) {
		spans = append(spans, strings.Join(strings.Fields(span[1]), " "))
	}
	require.NotEmpty(t, spans)
	return spans
}

// TestDjangoPageNames looks for everything exported that the page names, such
// as core.Config, Client.Publish or outbox.Record.Topic. A type without its
// package is core's.
func TestDjangoPageNames(t *testing.T) {
	names := map[string]bool{}
	for _, directory := range []string{".", "outbox", "outbox/sqlstore", "delivery"} {
		addExported(t, names, directory)
	}
	require.Contains(t, names, "core.Config.URL")
	require.Contains(t, names, "core.Client.Publish")
	require.Contains(t, names, "core.Outbox.List")
	named := regexp.MustCompile(`\b(?:(core|outbox|sqlstore|delivery)\.)?([A-Z]\w*(?:\.[A-Z]\w*)?)`)
	found := 0
	for _, span := range djangoSpans(t) {
		for _, name := range named.FindAllStringSubmatch(span, -1) {
			switch {
			case name[1] != "":
				assert.Contains(t, names, name[1]+"."+name[2], "in %q", span)
			case strings.Contains(name[2], "."):
				assert.Contains(t, names, "core."+name[2], "in %q", span)
			default:
				continue
			}
			found++
		}
	}
	assert.Greater(t, found, 50)
}

// addExported adds the exported names of the package in a directory, those of
// fields and methods behind that of their type.
func addExported(t *testing.T, names map[string]bool, directory string) {
	t.Helper()
	entries, err := os.ReadDir(directory)
	require.NoError(t, err)
	for _, entry := range entries {
		if !strings.HasSuffix(entry.Name(), ".go") || strings.HasSuffix(entry.Name(), "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(directory, entry.Name()), nil, parser.SkipObjectResolution)
		require.NoError(t, err)
		add := func(name string) { names[file.Name.Name+"."+name] = true }
		for _, declaration := range file.Decls {
			switch declaration := declaration.(type) {
			case *ast.FuncDecl:
				if receiver := receiverOf(declaration); receiver != "" {
					add(receiver + "." + declaration.Name.Name)
				} else {
					add(declaration.Name.Name)
				}
			case *ast.GenDecl:
				for _, spec := range declaration.Specs {
					addSpec(add, spec)
				}
			}
		}
	}
}

// receiverOf returns the type whose method a function is; empty for none.
func receiverOf(function *ast.FuncDecl) string {
	if function.Recv == nil {
		return ""
	}
	receiver := function.Recv.List[0].Type
	if pointer, ok := receiver.(*ast.StarExpr); ok {
		receiver = pointer.X
	}
	if generic, ok := receiver.(*ast.IndexExpr); ok {
		receiver = generic.X
	}
	name, _ := receiver.(*ast.Ident)
	if name == nil {
		return ""
	}
	return name.Name
}

// addSpec adds the names that a type, const or var makes.
func addSpec(add func(string), spec ast.Spec) {
	switch spec := spec.(type) {
	case *ast.ValueSpec:
		for _, name := range spec.Names {
			add(name.Name)
		}
	case *ast.TypeSpec:
		add(spec.Name.Name)
		structure, ok := spec.Type.(*ast.StructType)
		if !ok {
			return
		}
		for _, field := range structure.Fields.List {
			for _, name := range field.Names {
				add(spec.Name.Name + "." + name.Name)
			}
		}
	}
}

// TestDjangoPageCommands looks for the words and flags of the page's commands,
// and for its environment variables, in the sources that define them.
func TestDjangoPageCommands(t *testing.T) {
	literals := map[string]bool{}
	require.NoError(t, filepath.WalkDir(filepath.Join("cmd", "postoffice"), func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(node ast.Node) bool {
			if literal, ok := node.(*ast.BasicLit); ok && literal.Kind == token.STRING {
				text, err := strconv.Unquote(literal.Value)
				if word := strings.Fields(text); err == nil && len(word) > 0 {
					literals[word[0]] = true // of "show ID", the name
				}
			}
			return true
		})
		return nil
	}))
	settings, err := os.ReadFile("settings_env.go")
	require.NoError(t, err)

	commands, seen := 0, 0
	for _, span := range djangoSpans(t) {
		if line, ok := strings.CutPrefix(span, "postoffice "); ok {
			commands++
			for _, word := range strings.Fields(line) {
				if word[0] < '0' || word[0] > '9' { // the value of a flag
					assert.Contains(t, literals, strings.TrimPrefix(word, "--"), "in %q", span)
				}
			}
		}
		if strings.HasPrefix(span, "POSTOFFICE_") {
			seen++
			assert.Contains(t, string(settings), `"`+span+`"`)
		}
	}
	assert.Greater(t, commands, 3)
	assert.Greater(t, seen, 10)
}
