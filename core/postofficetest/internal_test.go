package postofficetest

import (
	"encoding/json"
	"io"
	"net"
	"strings"
	"testing"
	"testing/iotest"
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
		"+2030-01-02T03:04:05Z":          "2030-01-02T03:04:05Z",
		"9999-12-31T23:59:59Z":           "9999-12-31T23:59:59Z",
		"9999-12-31T23:59:59+14:00":      "9999-12-31T09:59:59Z",
		"9999-12-31T23:59:59-14:00":      "", // the year 10000
		"++2030-01-02T03:04:05Z":         "",
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
		once := treeOf(value).rendered()
		require.True(t, validJSON(once), "%s", once)
		require.Equal(t, !holdsNUL(once), storable(value), "what counts is what is rendered")
		require.Equal(t, string(once), string(treeOf(once).rendered()), "rendering settles")
		require.Equal(t, holdsNUL(once) || kindOf(value) == '{', holdsNUL(text) || kindOf(value) == '{')
	})
}

// FuzzWellNested compares the check of deep texts with encoding/json's, for
// texts that both can read.
func FuzzWellNested(f *testing.F) {
	for _, seed := range []string{
		`{"a":[1,-2.5e3,"x",null,true],"b":{"c":"\\\""}}`, `[[],{}, " "]`, `[1,]`, `{"a":1,}`, `{"a"}`, `{1:2}`, `[1 2]`, `]`, `}`, `{]`, `[}`,
		`"`, `"\`, `01`, `-`, `{,}`, `[,]`, `{"a":}`, `{"a"::1}`, `,`, `:`, ` 1 `, `1 1`, `nul`, `[tru,e]`, "\"\n\"", `{"a":1 "b":2}`, `[]]`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		require.Equal(t, json.Valid(text), wellNested(text), "%q", text)
	})
}

func TestDeepJSON(t *testing.T) {
	const depth = 100_000
	objects := strings.Repeat(`{"a":`, depth) + "1" + strings.Repeat("}", depth)
	require.True(t, validJSON([]byte(objects)))
	assert.True(t, storable(json.RawMessage(objects)))
	if string(treeOf(json.RawMessage(objects)).rendered()) != objects {
		t.Error("it does not arrive as it came") // too long to be shown
	}
	for text, want := range map[string]bool{
		objects + "}": false, objects[:len(objects)-1]: false, strings.Replace(objects, "1", "01", 1): false, strings.Replace(objects, "1", "", 1): false,
	} {
		assert.Equal(t, want, validJSON([]byte(text)))
	}
	arrays := func(depth int) json.RawMessage {
		return json.RawMessage(strings.Repeat("[", depth) + strings.Repeat("]", depth))
	}
	assert.True(t, storable(arrays(19_999)))
	assert.False(t, storable(arrays(20_000)))
	assert.True(t, storable(json.RawMessage(`[`+strings.Repeat("[],", 30_000)+`[]]`)), "beside one another")
}

func TestStorable(t *testing.T) {
	digits := strings.Repeat("9", maxDigits)
	for text, want := range map[string]bool{
		`{"a":"\u0000"}`:                        false,
		`{"\u0000":1}`:                          false,
		`"\u0000"`:                              false,
		`{"a":"x","a":"\u0000"}`:                true,
		`{"a":"x","\u0061":{"b":"\u0000"}}`:     true,
		`{"a":{"a":"\u0000"},"a":1}`:            false,
		`[{"a":1,"a":"\u0000"},"\u0000"]`:       false,
		`{"a":1,"a":["\u0000"],"b":[1,{}]}`:     true,
		digits:                                  true,
		"-" + digits:                            true,
		digits + "0":                            false,
		`{"a":[1,-` + digits + `0]}`:            false,
		`{"a":1,"a":` + digits + `0}`:           true,
		digits + "0.5":                          true,
		`"` + digits + `0"`:                     true,
		`["\\u0000","` + digits + digits + `"]`: true,
	} {
		assert.Equal(t, want, storable(json.RawMessage(text)), "%.40s", text)
	}
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

// readConn is a connection that is read from a reader.
type readConn struct {
	net.Conn
	io.Reader
}

func (c readConn) Read(p []byte) (int, error) { return c.Reader.Read(p) }

// FuzzExpectConn checks that nothing but the name of a header changes, however
// the bytes come.
func FuzzExpectConn(f *testing.F) {
	for _, seed := range []string{
		"GET / HTTP/1.1\r\nExpect: x\r\n\r\nGET / HTTP/1.1\r\n\r\n", "POST / HTTP/1.1\nContent-Length: 9\n\nExpect: y\nPOST",
		"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3;x\r\nabc\r\n0\r\nT: x\r\n\r\nGET", "PRI * HTTP/2.0\r\n\r\nexpect:\r\n",
		"POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\nexpect\r\n\r\n-1\r\n", "\r\n\nExpect\n", "G\nExpect: 100-continue\n\n",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		read := func(reader io.Reader) string {
			out, err := io.ReadAll(&expectConn{Conn: readConn{Reader: reader}})
			require.NoError(t, err)
			return string(out)
		}
		whole := read(strings.NewReader(text))
		require.Equal(t, whole, read(iotest.OneByteReader(strings.NewReader(text))))
		require.Equal(t, whole, read(iotest.DataErrReader(strings.NewReader(text))))
		if !strings.Contains(text, hiddenExpect) {
			require.True(t, strings.EqualFold(text, strings.ReplaceAll(whole, hiddenExpect, "Expect")), "%q", whole)
		}
	})
}
