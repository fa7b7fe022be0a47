package stream

import (
	"bytes"
	"errors"
	"io"
	"maps"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// all returns all lines of an input and the error at its end.
func all(input io.Reader) ([]Line, error) {
	reader := NewReader(input)
	var found []Line
	for {
		line, err := reader.Next()
		if err != nil {
			return found, err
		}
		found = append(found, line)
	}
}

func TestLines(t *testing.T) {
	const input = "\ufeff{\"a\":1}\r\n\n  \n{\"b\": \"ä \\u00e4\"}\nlast"
	for name, reader := range map[string]io.Reader{
		"at once":   strings.NewReader(input),
		"by bytes":  iotest.OneByteReader(strings.NewReader(input)),
		"data, EOF": iotest.DataErrReader(strings.NewReader(input)),
	} {
		t.Run(name, func(t *testing.T) {
			found, err := all(reader)
			require.ErrorIs(t, err, io.EOF)
			assert.Equal(t, []Line{
				{Number: 1, Text: []byte(`{"a":1}`), End: 12},
				{Number: 4, Text: []byte(`{"b": "ä \u00e4"}`), End: 35},
				{Number: 5, Text: []byte("last"), End: int64(len(input))},
			}, found)
		})
	}
}

func TestNoLines(t *testing.T) {
	for _, input := range []string{"", "\n", " \n\t\r\n"} {
		found, err := all(strings.NewReader(input))
		require.ErrorIs(t, err, io.EOF)
		assert.Empty(t, found)
	}
}

func TestLineTooLong(t *testing.T) {
	long := strings.Repeat("x", MaxLine)
	found, err := all(strings.NewReader(long + "\r\n" + long + "xxx\nshort\n"))
	require.ErrorIs(t, err, io.EOF)
	require.Len(t, found, 3)
	assert.Len(t, found[0].Text, MaxLine)
	assert.Equal(t, 2, found[1].Number)
	assert.Nil(t, found[1].Text)
	assert.ErrorIs(t, found[1].Err, ErrLineTooLong)
	assert.Equal(t, "short", string(found[2].Text))
}

// TestLongLineIsNotKept reads a line of 128 MiB.
func TestLongLineIsNotKept(t *testing.T) {
	input := io.MultiReader(io.LimitReader(endless{}, 1<<27), strings.NewReader("\n{}\n"))
	reader := NewReader(input)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	line, err := reader.Next()
	runtime.ReadMemStats(&after)
	require.NoError(t, err)
	assert.ErrorIs(t, line.Err, ErrLineTooLong)
	assert.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(1<<27/2), "of all that was read")
	line, err = reader.Next()
	require.NoError(t, err)
	assert.Equal(t, "{}", string(line.Text))
}

// endless is an input without line ends.
type endless struct{}

func (endless) Read(into []byte) (int, error) {
	for i := range into {
		into[i] = 'x'
	}
	return len(into), nil
}

func TestLinesOfInputThatFails(t *testing.T) {
	broken := errors.New("the disk is gone")
	found, err := all(io.MultiReader(strings.NewReader("one\ntw"), iotest.ErrReader(broken)))
	require.ErrorIs(t, err, broken)
	require.Len(t, found, 2)
	assert.Equal(t, "tw", string(found[1].Text))
}

// FuzzReader compares the lines with the result of bytes.Split.
func FuzzReader(f *testing.F) {
	f.Add([]byte("{}\r\n\n{\"a\":\"b\"}"))
	f.Add([]byte("\ufeff\ufeff \n\x00\t"))
	f.Fuzz(func(t *testing.T, input []byte) {
		want := map[int]string{}
		for i, text := range bytes.Split(bytes.TrimPrefix(input, []byte("\ufeff")), []byte("\n")) {
			if text = bytes.Trim(text, " \t\r\n"); len(text) > 0 {
				want[i+1] = string(text)
			}
		}
		found, err := all(iotest.HalfReader(bytes.NewReader(input)))
		if !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
		got := map[int]string{}
		for _, line := range found {
			got[line.Number] = string(line.Text)
		}
		if !maps.Equal(want, got) {
			t.Fatalf("got %v, want %v", got, want)
		}
	})
}
