package message

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"math/big"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

type payloadUser struct {
	Name  string            `json:"name"`
	Tags  []string          `json:"tags,omitempty"`
	Extra map[string]any    `json:"extra,omitempty"`
	Score float64           `json:"score,omitempty"`
	Raw   json.RawMessage   `json:"raw,omitempty"`
	Inner *payloadUser      `json:"inner,omitempty"`
	Label map[label]string  `json:"label,omitempty"`
	Hide  string            `json:"-"`
	Dash  string            `json:"-,omitempty"` //nolint:staticcheck // the key is "-"
	Text  *textValue        `json:"text,omitempty"`
	Quote string            `json:"quote,omitempty,string"`
	Known map[string]string `json:"known,omitempty"`
}

type label string

// textValue encodes as the text it is.
type textValue struct{ text string }

func (v textValue) MarshalText() ([]byte, error) { return []byte(v.text), nil }

// aliased encodes itself as many do: by its type without methods.
type aliased payloadUser

func (a aliased) MarshalJSON() ([]byte, error) { return json.Marshal(payloadUser(a)) }

// failing is a value whose encoding fails, with its content in the error.
type failing struct{ Secret string }

func (f failing) MarshalJSON() ([]byte, error) { return nil, errors.New(f.Secret) }

type failingText string

func (f failingText) MarshalText() ([]byte, error) { return nil, errors.New(string(f)) }

type failingKey struct{ text string }

func (f failingKey) MarshalText() ([]byte, error) { return nil, errors.New(f.text) }

// raw encodes as it says.
type raw string

func (r raw) MarshalJSON() ([]byte, error) { return []byte(r), nil }

type ring struct {
	Next *ring
	Name string
}

type embedded struct {
	payloadUser
	*ring
	Other string
}

type zeroing struct {
	Text sometimes `json:",omitzero"`
	Raw  json.RawMessage
}

type sometimes struct{ Text string }

func (s sometimes) IsZero() bool { return s.Text == "\xff" }

// nines returns a number of so many digits, as text.
func nines(digits int) string { return strings.Repeat("9", digits) }

// digits returns an integer of so many digits.
func digits(n int64) *big.Int { return new(big.Int).Exp(big.NewInt(10), big.NewInt(n-1), nil) }

func TestEncodePayload(t *testing.T) {
	huge := new(big.Int).Exp(big.NewInt(7), big.NewInt(1000), nil)
	deep := strings.Repeat(`{"a":`, 999) + "{}" + strings.Repeat("}", 999)
	for name, test := range map[string]struct {
		payload any
		want    string
	}{
		"map":                {map[string]any{"b": 1, "a": nil}, `{"a":null,"b":1}`},
		"struct":             {payloadUser{Name: "x"}, `{"name":"x"}`},
		"pointer":            {&payloadUser{Name: "x", Hide: "\xff"}, `{"name":"x"}`},
		"empty struct":       {struct{}{}, `{}`},
		"empty map":          {map[string]string{}, `{}`},
		"nothing to tell":    {struct{ Error error }{}, `{"Error":null}`},
		"all omitted":        {zeroing{Text: sometimes{"\xff"}}, `{"Raw":null}`},
		"no HTML escapes":    {map[string]string{"a": "<&>"}, `{"a":"<&>"}`},
		"raw":                {json.RawMessage(" { \"a\" : [ 1 ] }\n"), `{"a":[1]}`},
		"raw pointer":        {new(json.RawMessage(`{}`)), `{}`},
		"raw within":         {map[string]any{"r": json.RawMessage(`{"x": [1, 2]}`)}, `{"r":{"x":[1,2]}}`},
		"marshaler":          {raw(`{"x": 1}`), `{"x":1}`},
		"bytes":              {map[string][]byte{"a": {1, 2}}, `{"a":"AQI="}`},
		"time":               {map[string]any{"t": time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC)}, `{"t":"2026-01-02T03:04:05.000006Z"}`},
		"duration":           {map[string]any{"d": time.Second}, `{"d":1000000000}`},
		"big int":            {map[string]any{"n": huge}, `{"n":` + huge.String() + `}`},
		"big integer number": {map[string]any{"n": json.Number(huge.String())}, `{"n":` + huge.String() + `}`},
		"largest double":     {json.RawMessage(`{"n":[1.7976931348623157e308,-1e308,1E+2,4e-400]}`), `{"n":[1.7976931348623157e308,-1e308,1E+2,4e-400]}`},
		"long fraction":      {json.RawMessage(`{"n":0.` + strings.Repeat("3", 400) + `}`), `{"n":0.` + strings.Repeat("3", 400) + `}`},
		"most digits":        {json.RawMessage(`{"n":[-` + nines(5000) + `,` + nines(5000) + `e-4999]}`), `{"n":[-` + nines(5000) + `,` + nines(5000) + `e-4999]}`},
		"very long fraction": {json.RawMessage(`{"n":-9.` + nines(6000) + `}`), `{"n":-9.` + nines(6000) + `}`},
		"digits of a text":   {map[string]any{"n": nines(6000)}, `{"n":"` + nines(6000) + `"}`},
		"escapes":            {json.RawMessage(`{"a":"\"\\\/\b\f\n\r\t\u00e9\uD83D\ude00"}`), `{"a":"\"\\\/\b\f\n\r\t\u00e9\uD83D\ude00"}`},
		"no NUL":             {json.RawMessage(`{"a":"\\u0000 \\\\u0000"}`), `{"a":"\\u0000 \\\\u0000"}`},
		"no NUL in Go text":  {map[string]string{"a": `\u0000`}, `{"a":"\\u0000"}`},
		"no surrogate":       {json.RawMessage(`{"a":"\\ud800"}`), `{"a":"\\ud800"}`},
		"digits in text":     {map[string]string{"a": "1e400"}, `{"a":"1e400"}`},
		"braces in text":     {map[string]string{"a": strings.Repeat("{", 2000)}, `{"a":"` + strings.Repeat("{", 2000) + `"}`},
		"replacement":        {map[string]string{"a": "\ufffd"}, "{\"a\":\"\ufffd\"}"},
		"replacement in raw": {payloadUser{Name: "é", Raw: json.RawMessage(`"\ufffd\uFFFD"`)}, `{"name":"é","raw":"\ufffd\uFFFD"}`},
		"replacement, left out": {payloadUser{Hide: "\xff", Raw: json.RawMessage(`"\ufffd"`)},
			`{"name":"","raw":"\ufffd"}`},
		"replacement, zero":   {zeroing{Text: sometimes{"\xff"}, Raw: json.RawMessage(`"\ufffd"`)}, `{"Raw":"\ufffd"}`},
		"replacement in text": {map[string]string{"a": `\ufffd`}, `{"a":"\\ufffd"}`},
		"replacement, bytes":  {map[string]any{"a": []byte{0xff}, "r": json.RawMessage(`"\ufffd"`)}, `{"a":"/w==","r":"\ufffd"}`},
		"as deep as it goes":  {json.RawMessage(deep), deep},
		"side by side":        {json.RawMessage(`{"a":[` + strings.Repeat(`{},`, 2000) + `{}]}`), `{"a":[` + strings.Repeat(`{},`, 2000) + `{}]}`},
	} {
		t.Run(name, func(t *testing.T) {
			encoded, err := encodePayload("payload", test.payload)
			require.NoError(t, err)
			assert.Equal(t, test.want, string(encoded))
		})
	}
}

func TestEncodePayloadFaults(t *testing.T) {
	cyclic := &ring{}
	cyclic.Next = cyclic
	cyclicMap := map[string]any{}
	cyclicMap["SECRET"] = cyclicMap
	rawJSON := func(text string) json.RawMessage { return json.RawMessage(text) }
	for name, test := range map[string]struct {
		payload        any
		field, problem string
	}{
		"nil":                  {nil, "payload", "is nil; it must encode to a JSON object"},
		"nil map":              {map[string]any(nil), "payload", "is map[string]interface {} and encodes to null"},
		"nil pointer":          {(*payloadUser)(nil), "payload", "is *message.payloadUser and encodes to null"},
		"nil raw":              {json.RawMessage(nil), "payload", "is json.RawMessage and encodes to null"},
		"bytes":                {[]byte(`{"a":"SECRET"}`), "payload", "pass json.RawMessage"},
		"text of JSON":         {` {"a":"SECRET"}`, "payload", "is a string of JSON; pass json.RawMessage"},
		"text":                 {"SECRET", "payload", "is a string; it must"},
		"label":                {label("SECRET"), "payload", "is message.label and encodes to a JSON string"},
		"text value":           {textValue{"SECRET"}, "payload", "encodes to a JSON string"},
		"list":                 {[]map[string]string{{"a": "SECRET"}}, "payload", "PublishBulk publishes many"},
		"raw list":             {rawJSON(`["SECRET"]`), "payload", "encodes to a JSON list"},
		"number":               {4111, "payload", "is int and encodes to a JSON number"},
		"negative number":      {-4111.5, "payload", "is float64 and encodes to a JSON number"},
		"boolean":              {true, "payload", "is bool and encodes to a JSON boolean"},
		"channel":              {make(chan int), "payload", "is chan int, which has no JSON form"},
		"channel within":       {map[string]any{"a": []any{1, func() {}}}, "payload.a[1]", "is func(), which has no JSON form"},
		"map keys":             {map[string]any{"a": map[bool]string{true: "SECRET"}}, "payload.a", "is map[bool]string"},
		"NaN":                  {payloadUser{Inner: &payloadUser{Score: math.NaN()}}, "payload.inner.score", "is not a finite number"},
		"infinite":             {map[string]any{"a b": []float32{0, float32(math.Inf(-1))}}, "payload[?][1]", "is not a finite number"},
		"cycle":                {cyclic, "payload", "contains a cycle through *message.ring"},
		"cycle of maps":        {cyclicMap, "payload", "contains a cycle through map[string]interface {}"},
		"reader":               {strings.NewReader("SECRET"), "payload", "is *strings.Reader and encodes to {}"},
		"error":                {errors.New("SECRET"), "payload", "is *errors.errorString and encodes to {}"},
		"marshaler fails":      {map[string]any{"a": []any{failing{"SECRET"}}}, "payload.a[0]", "is message.failing, whose marshaling method failed"},
		"pointer fails":        {struct{ F *failing }{&failing{"SECRET"}}, "payload.F", "message.failing, whose marshaling method failed"},
		"text marshaler fails": {map[string]any{"x": failingText("SECRET")}, "payload.x", "is message.failingText, whose marshaling method"},
		"text key fails":       {map[failingKey]int{{"SECRET"}: 1}, "payload", "is map[message.failingKey]int, which cannot be encoded"},
		"marshals no JSON":     {map[string]any{"x": raw("{SECRET")}, "payload.x", "is message.raw, whose marshaling method failed"},
		"UTF-8 of text keys":   {map[textValue]int{{"SECRET\xff"}: 1}, "payload", "contains text that is not valid UTF-8"},
		"raw malformed":        {rawJSON(`{"a":SECRET}`), "payload", "is json.RawMessage, but not valid JSON at byte 6"},
		"raw malformed within": {payloadUser{Raw: rawJSON(`SECRET`)}, "payload.raw", "is json.RawMessage, but not valid JSON at byte 1"},
		"raw empty":            {rawJSON(``), "payload", "not valid JSON at byte"},
		"raw trailing":         {rawJSON(`{} SECRET`), "payload", "not valid JSON at byte 4"},
		"raw control":          {rawJSON("{\"a\":\"SECRET\x00\"}"), "payload", "not valid JSON at byte"},
		"json.Number":          {map[string]any{"n": json.Number("SECRET")}, "payload.n", "is a json.Number that is not a number"},
		"number too large":     {rawJSON(`{"a":{"b":[0, -1e400]}}`), "payload.a.b[1]", "is a number too large for a double"},
		"fraction too large":   {rawJSON(`{"a":` + strings.Repeat("9", 400) + `.5}`), "payload.a", "is a number too large"},
		"json.Number large":    {map[string]any{"n": json.Number("1E309")}, "payload.n", "is a number too large"},
		"digits":               {map[string]any{"items": []any{1, "x", true, map[string]any{"n": digits(5001)}}}, "payload.items[3].n", "is a number with more than 5,000 integer digits"},
		"digits, negative":     {struct{ N *big.Int }{new(big.Int).Neg(digits(5001))}, "payload.N", "more than 5,000 integer digits"},
		"digits in raw":        {payloadUser{Raw: rawJSON(`[` + nines(5000) + `,` + nines(131_073) + `]`)}, "payload.raw[1]", "more than 5,000 integer digits"},
		"digits, json.Number":  {map[string]any{"n": json.Number(nines(5001))}, "payload.n", "more than 5,000 integer digits"},
		"digits and fraction":  {rawJSON(`{"n":` + nines(5001) + `.5}`), "payload.n", "more than 5,000 integer digits"},
		"digits and exponent":  {rawJSON(`{"n":` + nines(5001) + `E-5000}`), "payload.n", "more than 5,000 integer digits"},
		"NUL":                  {payloadUser{Inner: &payloadUser{Tags: []string{"", "SECRET\x00"}}}, "payload.inner.tags[1]", "contains a NUL"},
		"NUL in raw":           {rawJSON(`{"a":"\\\u0000"}`), "payload.a", "contains a NUL"},
		"NUL in a key":         {map[string]any{"a": map[string]int{"SECRET\x00": 1}}, "payload.a", "contains a NUL"},
		"NUL after a list":     {rawJSON(`{"x":[[1],{"y":2}],"a":["\u0000"]}`), "payload.a[0]", "contains a NUL"},
		"UTF-8 of text":        {map[string]any{"user": payloadUser{Name: "SECRET\xff"}}, "payload.user.name", "contains text that is not valid UTF-8"},
		"UTF-8 of a key":       {map[string]any{"a": map[label]int{"SECRET\xff": 1}}, "payload.a", "contains text that is not valid UTF-8"},
		"UTF-8 of a label":     {payloadUser{Label: map[label]string{"k": "\xc3\x28"}}, "payload.label.k", "not valid UTF-8"},
		"UTF-8 of odd keys":    {payloadUser{Known: map[string]string{"4111-1111": "\xff"}}, "payload.known[?]", "not valid UTF-8"},
		"UTF-8 quoted":         {payloadUser{Quote: "SECRET\xff"}, "payload.quote", "not valid UTF-8"},
		"UTF-8 called dash":    {payloadUser{Dash: "SECRET\xff"}, "payload[?]", "not valid UTF-8"},
		"UTF-8 of a marshaler": {map[string]any{"m": aliased{Tags: []string{"\xff"}}}, "payload.m.tags[0]", "not valid UTF-8"},
		"UTF-8 as text":        {payloadUser{Text: &textValue{"\xff"}}, "payload.text", "not valid UTF-8"},
		"UTF-8 embedded":       {embedded{payloadUser: payloadUser{Name: "\xff"}}, "payload.name", "not valid UTF-8"},
		"UTF-8 in raw":         {rawJSON("{\"a\":[\"é\",\"SECRET\xe9\"]}"), "payload.a[1]", "is not valid UTF-8"},
		"UTF-8 surrogate":      {rawJSON("{\"a\":\"\xed\xa0\x80\"}"), "payload.a", "is not valid UTF-8"},
		"high surrogate":       {rawJSON(`{"a":"SECRET\ud800"}`), "payload.a", "lone surrogate"},
		"high twice":           {rawJSON(`{"a":"\ud800\ud800\udc00"}`), "payload.a", "lone surrogate"},
		"high and no escape":   {rawJSON(`{"a":"\uDBFFudc00"}`), "payload.a", "lone surrogate"},
		"high and a letter":    {rawJSON(`{"a":"\uD800\u0041"}`), "payload.a", "lone surrogate"},
		"low surrogate":        {rawJSON(`{"a":"\uDfff"}`), "payload.a", "lone surrogate"},
		"low twice":            {rawJSON(`{"a":"\udc00\udc00"}`), "payload.a", "lone surrogate"},
		"too deep":             {rawJSON(strings.Repeat(`{"a":`, 1000) + "{}" + strings.Repeat("}", 1000)), "payload", "is nested too deeply"},
		"too large":            {map[string]string{"a": strings.Repeat("x", 7_000_000)}, "payload", "is too large: 7000008 bytes; the maximum is 7000000"},
	} {
		t.Run(name, func(t *testing.T) {
			encoded, err := encodePayload("payload", test.payload)
			assert.Nil(t, encoded)
			require.Error(t, err)
			var fault *Problem
			require.ErrorAs(t, err, &fault)
			assert.Equal(t, test.field, fault.Path)
			assert.Contains(t, fault.Text, test.problem)
			assert.NotContains(t, err.Error(), "SECRET")
			assert.NotContains(t, err.Error(), "4111")
		})
	}
}

// Of several faults in a map the one with the first key is told, each time.
func TestEncodePayloadFaultsComeInOrder(t *testing.T) {
	payload := map[string]any{}
	for _, key := range []string{"d", "b", "a", "c", "e"} {
		payload[key] = map[label]string{"y": "\xff", "x": "\xff", "z": "\xff"}
	}
	for range 20 {
		_, err := encodePayload("payload", payload)
		require.ErrorContains(t, err, "payload.a.x contains text that is not valid UTF-8")
	}
}

func TestEncodePayloadAtTheLimit(t *testing.T) {
	text := strings.Repeat("x", MaxBytes-len(`{"a":""}`))
	encoded, err := encodePayload("payload", map[string]string{"a": text})
	require.NoError(t, err)
	assert.Len(t, encoded, MaxBytes)

	_, err = encodePayload("payload[3]", map[string]string{"a": text + "x"})
	assert.ErrorContains(t, err, "payload[3] is too large: 7000001 bytes")
}

// Versions of encoding/json differ in how they write what they put in the
// place of bytes that are not UTF-8. Each form makes us look at the value.
func TestScanPayloadNoticesEachFormOfReplacement(t *testing.T) {
	for text, want := range map[string]bool{
		`{"a":"\ufffd"}`: true, `{"a":"\uFFFD"}`: true, `{"a":"\\ufffd"}`: true, "{\"a\":\"\ufffd\"}": true,
		`{"a":"ufffd"}`: false, `{"a":"é"}`: false, `{"a":"\ufffc"}`: false,
	} {
		problem, _, replaced := scanPayload([]byte(text))
		assert.Empty(t, problem)
		assert.Equal(t, want, replaced, text)
	}
}

// A walk through a value with cycles in parts that are not encoded must end.
func TestFindInvalidTextEnds(t *testing.T) {
	parent := &ring{Name: "ok"}
	parent.Next = parent
	path, found := findInvalidText(map[string]any{"a": parent, "b": []any{parent, parent}})
	assert.Empty(t, path)
	assert.False(t, found)
}

func TestEncodePayloadResultsAreTheCallersOwn(t *testing.T) {
	first, err := encodePayload("payload", map[string]string{"a": "first"})
	require.NoError(t, err)
	second, err := encodePayload("payload", map[string]string{"a": "other"})
	require.NoError(t, err)
	_ = append(first, '!')
	clear(first)
	assert.Equal(t, `{"a":"other"}`, string(second))

	source := json.RawMessage(`{"a":1}`)
	encoded, err := encodePayload("payload", source)
	require.NoError(t, err)
	clear(source)
	assert.Equal(t, `{"a":1}`, string(encoded))
}

func TestEncodePayloadAfterFaults(t *testing.T) {
	for range 10 {
		_, err := encodePayload("payload", map[string]any{"a": "x", "b": make(chan int)})
		require.Error(t, err)
		assert.PanicsWithValue(t, "of the caller's", func() { _, _ = encodePayload("payload", panicking{}) })
		encoded, err := encodePayload("payload", map[string]int{"a": 1})
		require.NoError(t, err)
		assert.Equal(t, `{"a":1}`, string(encoded))
	}
}

type panicking struct{}

func (panicking) MarshalJSON() ([]byte, error) { panic("of the caller's") }

// holdsNUL reports a NUL in any text of a decoded value.
func holdsNUL(value any) bool {
	switch value := value.(type) {
	case string:
		return strings.ContainsRune(value, 0)
	case []any:
		for _, element := range value {
			if holdsNUL(element) {
				return true
			}
		}
	case map[string]any:
		for key, element := range value {
			if holdsNUL(key) || holdsNUL(element) {
				return true
			}
		}
	}
	return false
}

func FuzzEncodePayload(f *testing.F) {
	for _, seed := range []string{
		`{}`, `{"a":[1,-2.5e3,true,null,"\u00e9"]}`, `{"a":"\u0000"}`, `{"a":"\\u0000"}`, `{"a":"\ud83d\ude00\ud83d"}`,
		`{"\ufffd":"\\ufffd"}`, `{"a":1e400}`, "{\"a\":\"\xff\"}", `[{}]`, `{`, ` {"a":{"b":{}}} `, `{"a":"\`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		encoded, err := encodePayload("payload", json.RawMessage(text))
		if err != nil {
			var fault *Problem
			require.Error(t, err)
			require.ErrorAs(t, err, &fault)
			require.True(t, strings.HasPrefix(fault.Path, "payload"))
			require.NotEmpty(t, fault.Text)
			return
		}
		require.True(t, json.Valid(encoded))
		require.True(t, utf8.Valid(encoded))
		require.Equal(t, byte('{'), encoded[0])
		var decoded map[string]any
		require.NoError(t, json.Unmarshal(encoded, &decoded), "numbers fit, too")
		require.False(t, holdsNUL(decoded))
		var compact bytes.Buffer
		require.NoError(t, json.Compact(&compact, text))
		require.Equal(t, compact.String(), string(encoded))
	})
}

// FuzzEncodePayloadText puts any bytes where Go text goes.
func FuzzEncodePayloadText(f *testing.F) {
	for _, seed := range []string{"", "é", "\xff", "\ufffd", `\ufffd`, "\x00", "\u2028<", "\"\\"} {
		f.Add(seed, seed)
	}
	f.Fuzz(func(t *testing.T, key, value string) {
		encoded, err := encodePayload("payload", map[string]any{key: value})
		good := utf8.ValidString(key+"|"+value) && !strings.ContainsRune(key+value, 0)
		require.Equal(t, good, err == nil, "%v", err)
		if good {
			var decoded map[string]string
			require.NoError(t, json.Unmarshal(encoded, &decoded))
			require.Equal(t, map[string]string{key: value}, decoded)
		}
	})
}

// benchmarkPayload encodes to about 300 bytes.
func benchmarkPayload() any {
	type line struct {
		SKU      string  `json:"sku"`
		Quantity int     `json:"quantity"`
		Price    float64 `json:"price"`
	}
	type order struct {
		ID       string    `json:"id"`
		Customer string    `json:"customer"`
		Placed   time.Time `json:"placed"`
		Note     string    `json:"note"`
		Lines    []line    `json:"lines"`
	}
	return order{
		ID: "0197f0c2-7d4c-7b3a-9d2e-0f5a3d1c8b11", Customer: "customer-4711", Placed: time.Unix(1_790_000_000, 0).UTC(),
		Note:  "leave it at the door, please; the bell does not ring",
		Lines: []line{{"apples-1kg", 2, 3.25}, {"bread-rye", 1, 4.1}, {"butter-250g", 3, 2.79}},
	}
}

func BenchmarkEncodePayload(b *testing.B) {
	payload := benchmarkPayload()
	encoded, err := encodePayload("payload", payload)
	require.NoError(b, err)
	b.Run("json.Marshal", func(b *testing.B) {
		b.SetBytes(int64(len(encoded)))
		b.ReportAllocs()
		for b.Loop() {
			_, _ = json.Marshal(payload)
		}
	})
	b.Run("encodePayload", func(b *testing.B) {
		b.SetBytes(int64(len(encoded)))
		b.ReportAllocs()
		for b.Loop() {
			_, _ = encodePayload("payload", payload)
		}
	})
	b.Run("scanPayload", func(b *testing.B) {
		b.SetBytes(int64(len(encoded)))
		b.ReportAllocs()
		for b.Loop() {
			scanPayload(encoded)
		}
	})
}

func FuzzNextSpecial(f *testing.F) {
	for _, seed := range []string{"", "plain", `a"b`, `a\b`, "12345678", "1234567\"", "12345678\\", "1234567\x80x", "\x21\x23\x5b\x5d\x7f\x00\x22", "ääääääää"} {
		f.Add([]byte(seed), 0)
	}
	f.Fuzz(func(t *testing.T, text []byte, from int) {
		if from < 0 || from > len(text) {
			return
		}
		want := from
		for want < len(text) && text[want] != '"' && text[want] != '\\' && text[want] >= 0x20 && text[want] < 0x80 {
			want++
		}
		if got := nextSpecial(text, from); got != want {
			t.Errorf("%q from %d: %d, want %d", text, from, got, want)
		}
	})
}
