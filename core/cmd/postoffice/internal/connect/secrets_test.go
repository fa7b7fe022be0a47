package connect

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestTextMasksUserinfo(t *testing.T) {
	var none Secrets
	for text, want := range map[string]string{
		"nothing in it, mail a@b.example":               "nothing in it, mail a@b.example",
		`Post "http://user:pass@host:4000/api": failed`: `Post "http://xxxxx@host:4000/api": failed`,
		"postgres://u:p@ss/w@rd@db/x is bad":            "postgres://xxxxx@db/x is bad",
		"first http://a:b@c, then mysql://d:e@f":        "first http://xxxxx@c, then mysql://xxxxx@f",
	} {
		assert.Equal(t, want, none.Text(text))
	}
}

func TestTextMasksPasswords(t *testing.T) {
	var secrets Secrets
	secrets.AddURL("http://user:swordfish@host")
	secrets.AddURL("user:sword%2Ffish@host")
	secrets.AddURL("http://user:abc@host") // too short to be masked in words
	secrets.AddURL("http://host:4000/without")
	assert.Equal(t, "access of xxxxx, xxxxx and xxxxx denied, abcdef",
		secrets.Text("access of swordfish, sword/fish and sword%2Ffish denied, abcdef"))
}

func TestURL(t *testing.T) {
	for address, want := range map[string]string{
		"http://user:pa@ss@host:4000/x?key=1": "http://host:4000/x",
		"http://host:4000":                    "http://host:4000",
		"user:pass@host":                      "host",
		"host":                                "host",
	} {
		assert.Equal(t, want, PublicURL(address))
	}
}
