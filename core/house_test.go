package core_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// sources parses the files of the module below a directory, tests not counted.
func sources(t *testing.T, dir string, see func(path string, file *ast.File)) {
	t.Helper()
	files := token.NewFileSet()
	require.NoError(t, filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		file, err := parser.ParseFile(files, path, nil, parser.SkipObjectResolution)
		if err == nil {
			see(path, file)
		}
		return err
	}))
}

// Client owns the lifecycle. What it does besides is the business of its parts.
func TestClientHasFewMethods(t *testing.T) {
	var methods []string
	sources(t, ".", func(path string, file *ast.File) {
		if filepath.Dir(path) != "." {
			return
		}
		for _, declaration := range file.Decls {
			function, ok := declaration.(*ast.FuncDecl)
			if !ok || function.Recv == nil {
				continue
			}
			receiver := function.Recv.List[0].Type
			if pointer, ok := receiver.(*ast.StarExpr); ok {
				receiver = pointer.X
			}
			if name, ok := receiver.(*ast.Ident); ok && name.Name == "Client" {
				methods = append(methods, function.Name.Name)
			}
		}
	})
	assert.Contains(t, methods, "Publish")
	assert.LessOrEqual(t, len(methods), 30, "%v", methods)
}

// isClient reports whether a type is a pointer to a Client.
func isClient(expression ast.Expr) bool {
	pointer, ok := expression.(*ast.StarExpr)
	if !ok {
		return false
	}
	switch target := pointer.X.(type) {
	case *ast.Ident:
		return target.Name == "Client"
	case *ast.SelectorExpr:
		from, ok := target.X.(*ast.Ident)
		return ok && from.Name == "core" && target.Sel.Name == "Client"
	}
	return false
}

// Few types hold a client: the ones that act for its user.
func TestFewTypesHoldAClient(t *testing.T) {
	holders := map[string]bool{}
	sources(t, "..", func(path string, file *ast.File) {
		if file.Name.Name != "core" && !strings.HasPrefix(path, filepath.Join("..", "core")) {
			return // adapters and examples are apps as far as core knows
		}
		ast.Inspect(file, func(node ast.Node) bool {
			declared, ok := node.(*ast.TypeSpec)
			if !ok {
				return true
			}
			if body, ok := declared.Type.(*ast.StructType); ok {
				for _, field := range body.Fields.List {
					if isClient(field.Type) {
						holders[file.Name.Name+"."+declared.Name.Name] = true
					}
				}
			}
			return true
		})
	})
	allowed := map[string]bool{
		"core.Publisher": true, "core.Outbox": true, "outboxpage.page": true,
		"adaptertest.App": true, "adaptertest.ConsumeApp": true, // what a suite gives to the adapter that it tests
	}
	for holder := range holders {
		assert.True(t, allowed[holder], "%s holds a *core.Client", holder)
	}
	assert.True(t, holders["core.Publisher"], "the test finds holders")
}

// The parts know nothing of the client that is made of them.
func TestInternalPackagesDoNotKnowCore(t *testing.T) {
	list, err := exec.CommandContext(t.Context(), "go", "list", "-deps", "./internal/message", "./internal/office", "./internal/deliver",
		"./internal/queue", "./internal/relay", "./internal/share", "./internal/storeguard").Output()
	require.NoError(t, err)
	packages := strings.Fields(string(list))
	assert.Contains(t, packages, module+"core/internal/office")
	assert.NotContains(t, packages, module+"core")
	for name, knows := range map[string][]string{
		"message":    {"wire"},
		"office":     {"circuit", "message", "wire"},
		"deliver":    {"circuit", "message", "office", "wire"},
		"share":      {"circuit", "deliver", "message", "office", "wire"},
		"queue":      {"bound", "circuit", "deliver", "loglimit", "message", "office", "wire"},
		"relay":      {"bound", "circuit", "deliver", "loglimit", "message", "office", "wire"},
		"storeguard": {"bound", "circuit"},
	} {
		list, err := exec.CommandContext(t.Context(), "go", "list", "-deps", "./internal/"+name).Output()
		require.NoError(t, err)
		for _, dependency := range strings.Fields(string(list)) {
			if part, ok := strings.CutPrefix(dependency, module+"core/internal/"); ok && part != name {
				assert.Contains(t, knows, part, "%s knows %s", name, part)
			}
		}
	}
}
