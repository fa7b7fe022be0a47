package examples_test

import (
	"encoding/json"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// python runs a script and returns what it prints.
func python(t *testing.T, script, input string) string {
	t.Helper()
	path, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("there is no python3 here")
	}
	command := exec.CommandContext(t.Context(), path, "-c", script)
	command.Stdin = strings.NewReader(input)
	output, err := command.CombinedOutput()
	require.NoError(t, err, "%s", output)
	return string(output)
}

// TestPythonBlocks parses each block and runs the function that takes metadata
// out of a body. The bodies are those of core/delivery's tests.
func TestPythonBlocks(t *testing.T) {
	t.Parallel()
	var function string
	for _, text := range blocksOf(t, "python") {
		python(t, "import ast, sys; ast.parse(sys.stdin.read())", text)
		if strings.Contains(text, "def received(") {
			function = text
		}
	}
	require.NotEmpty(t, function)
	for body, want := range map[string]string{
		`{"_postoffice":{"a":"metadata","b":"1"},"id":7,"attributes":{"a":"attribute"}}`: `[{"id":7},{"a":"attribute","b":"1"}]`,
		`{"\u005fpostoffice":{"a":"escaped"},"attributes":null}`:                         `[{},{"a":"escaped"}]`,
		`{"_postoffice":{},"id":7}`:                                                      `[{"id":7},{}]`,
		`{"_postoffice":{"a":1},"attributes":{"b":"2"}}`:                                 `[{"_postoffice":{"a":1}},{"b":"2"}]`,
		`{"_postoffice":null,"attributes":{}}`:                                           `[{"_postoffice":null},{}]`,
		`{"id":7,"attributes":{"b":"2"}}`:                                                `[{"id":7},{"b":"2"}]`,
	} {
		got := python(t, function+"\nimport sys\nprint(json.dumps(received(sys.stdin.read())))", body)
		require.True(t, json.Valid([]byte(got)), got)
		assert.JSONEq(t, want, got, body)
	}
}
