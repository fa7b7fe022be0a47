package message

import (
	"encoding/json"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

var scanSeeds = []string{
	`{"a":[1,-2.5e3,true,null,"\u00e9"],"b":{"c":[],"d":{}},"e":false}`, `[{"_postoffice":1},{}]`, ` {"a" : "x\n\"" , "b":-0.1E+5 } `,
	`{"_po\u0073toffice":[[],{},false]}`, `0`, `"x"`, ``, `{"a":1}{}`, `[1,]`, `{,}`, `1,2`, `{"\ud83d\ude00":"é"}`,
}

// checkScan compares a scan with encoding/json.
func checkScan(t *testing.T, text []byte) {
	t.Helper()
	problem, offset, _ := scanPayload(text)
	require.LessOrEqual(t, offset, len(text))
	if json.Valid(text) {
		require.NotEqual(t, problemSyntax, problem, "%q", text)
	} else {
		require.NotEmpty(t, problem, "%q", text)
	}
	var object map[string]json.RawMessage
	if json.Unmarshal(text, &object) != nil {
		return
	}
	if _, has := object["_postoffice"]; has {
		require.NotEmpty(t, problem, "%q", text)
	} else {
		require.NotEqual(t, problemReserved, problem, "%q", text)
	}
}

func FuzzScanPayload(f *testing.F) {
	for _, seed := range scanSeeds {
		f.Add([]byte(seed))
	}
	f.Fuzz(checkScan)
}

// Texts that are nearly JSON.
func TestScanPayloadIsAsStrictAsEncodingJSON(t *testing.T) {
	alphabet := []byte("{}[]\",:\\0123456789eE+-. truefalsnlu\x01\n\xff")
	for range 50_000 {
		text := []byte(scanSeeds[rand.IntN(len(scanSeeds))])
		for range 1 + rand.IntN(3) {
			at, c := rand.IntN(len(text)+1), alphabet[rand.IntN(len(alphabet))]
			switch rand.IntN(3) {
			case 0:
				text = append(text[:at], append([]byte{c}, text[at:]...)...)
			case 1:
				text = append(text[:at], text[min(at+1, len(text)):]...)
			default:
				text = append(append(text[:at:at], c), text[min(at+1, len(text)):]...)
			}
		}
		checkScan(t, text)
	}
}
