package postofficetest

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestRetryGap compares the formula with recorded times of attempts, in
// seconds since the first one.
func TestRetryGap(t *testing.T) {
	recorded := []float64{
		0.0, 15.2, 32.3, 49.5, 67.6, 83.7, 100.8, 118.9, 138.0, 158.1, 177.3, 196.4, 215.5, 238.6, 261.7,
		286.8, 310.9, 335.0, 366.2, 395.3, 426.4, 456.6, 484.7, 535.0, 582.2, 633.3, 681.5, 728.6, 802.8,
		878.0, 958.3, 1042.5, 1117.7, 1249.1, 1392.5, 1536.9, 1692.3, 1827.6, 2103.4, 2363.1, 2630.9,
		2877.5, 3169.3, 3697.8, 4205.3,
	}
	total := time.Duration(0)
	for n := 1; n < maxAttempts; n++ {
		gap := retryGap(n).Seconds()
		total += retryGap(n)
		if n < len(recorded) {
			was := recorded[n] - recorded[n-1]
			assert.InDelta(t, gap, was, gap*0.1+1.5, "gap %d: %g s, recorded %g s", n, gap, was)
		}
	}
	assert.InDelta(t, 85, total.Hours()/24, 1, "days until the last attempt")
}

func TestParseSchedule(t *testing.T) {
	for text, want := range map[string]string{
		"2030-01-02T03:04:05Z":           "2030-01-02T03:04:05Z",
		"2030-01-02 03:04:05Z":           "2030-01-02T03:04:05Z",
		"2030-01-02T03:04:05,5Z":         "2030-01-02T03:04:05.5Z",
		"2030-01-02T03:04:05.123456789Z": "2030-01-02T03:04:05.123456Z",
		"2030-01-02T03:04:05-0530":       "2030-01-02T08:34:05Z",
		"2030-01-02T03:04:05+02":         "2030-01-02T01:04:05Z",
		"2030-01-02T03:04:05-00:00":      "",
		"2030-01-02T03:04:05+24:00":      "",
		"2030-01-02T03:04:05+2:00":       "",
		"2030-01-02T03:04:05.Z":          "",
		"2030-01-02T03:04:05.5":          "",
		"2030-01-02T03:04:05ZZ":          "",
		"2030-01-02":                     "",
		"":                               "",
	} {
		moment, ok := parseSchedule(text)
		assert.Equal(t, want != "", ok, text)
		if ok {
			assert.Equal(t, want, moment.Format(time.RFC3339Nano), text)
		}
	}
}

func FuzzParseSchedule(f *testing.F) {
	for _, seed := range []string{"2030-01-02T03:04:05Z", "2030-01-02 03:04:05,1-0530", "x", "2030-01-02T03:04:05+é"} {
		f.Add(seed)
	}
	f.Fuzz(func(_ *testing.T, text string) { parseSchedule(text) })
}

func TestValidJSON(t *testing.T) {
	for text, want := range map[string]bool{
		`{"a":[1,-2.5e3,"x",null,true]}`: true,
		`"\ud83d\ude00"`:                 true,
		`"\\ud800"`:                      true,
		`"\ud800"`:                       false,
		`"\udc00"`:                       false,
		`"\ud800\u0041"`:                 false,
		`"\ud800 \udc00"`:                false,
		`{"\ud800":1}`:                   false,
		`1e400`:                          false,
		`-1e400`:                         false,
		`1e-400`:                         true,
		"\"\xff\"":                       false,
		"\ufeff{}":                       false,
		`{} x`:                           false,
		``:                               false,
	} {
		assert.Equal(t, want, validJSON([]byte(text)), text)
	}
}

// FuzzJSON checks that whatever counts as valid is taken apart and put
// together again to the same value.
func FuzzJSON(f *testing.F) {
	for _, seed := range []string{
		`{"a":[1,-2.5e3,"x",null,true],"b":{"c":"\u0000\\u0000"}}`, `[[],{}," "]`, `"\ud83d\ude00"`, "\t-0 ", `{"a":1,"a":2}`, `1E5`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if !validJSON(text) {
			return
		}
		value := json.RawMessage(text[skip(text, 0):])
		once := rendered(nil, value)
		require.True(t, validJSON(once), "%s", once)
		require.Equal(t, string(once), string(rendered(nil, once)), "rendering settles")
		require.Equal(t, holdsNUL(once) || kindOf(value) == '{', holdsNUL(text) || kindOf(value) == '{')
	})
}

func TestHoldsNUL(t *testing.T) {
	for text, want := range map[string]bool{
		`{"k":"a\u0000b"}`: true, `{"\u0000":1}`: true, `"\\u0000"`: false, `"\\\u0000"`: true, `"u0000"`: false, `"\u0001"`: false,
	} {
		assert.Equal(t, want, holdsNUL([]byte(text)), text)
	}
}

func TestParseAddress(t *testing.T) {
	for text, want := range map[string]address{
		"http://h:1/a b?c=%20#x": {scheme: "http", host: "h:1", request: "/a%20b?c=%20"},
		"h":                      {scheme: "http", host: "h", request: "/"},
		"HTTPS://h?q":            {scheme: "https", host: "h", request: "/?q"},
		"u@h":                    {scheme: "http", host: "h", request: "/", authorization: "Basic dTo="},
		"u:p%zz@h":               {scheme: "http", host: "h", request: "/", authorization: "Basic dTpwJXp6"},
	} {
		got, err := parseAddress(text)
		require.NoError(t, err, text)
		assert.Equal(t, want, got, text)
	}
	for _, text := range []string{"", "/path", "not a url", "ftp://h/", "http://h:99999/", "http://u:secret@:x/"} {
		_, err := parseAddress(text)
		require.Error(t, err, text)
		assert.NotContains(t, err.Error(), "secret")
	}
	assert.Equal(t, "http://h/p@q", withoutUserinfo("http://u:p@h/p@q"))
	assert.Equal(t, "h/x", withoutUserinfo("u@h/x"))
}
