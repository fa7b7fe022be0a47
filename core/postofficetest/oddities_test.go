package postofficetest_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core/internal/wire"
	"github.com/postoffice-go/postoffice/core/postofficetest"
)

// nested is a JSON value in so many others.
func nested(depth int, before, value, after string) string {
	return strings.Repeat(before, depth) + value + strings.Repeat(after, depth)
}

// TestOddBodies has bodies that the real server was seen to take, or not.
func TestOddBodies(t *testing.T) {
	const multipart = "--b\r\nContent-Disposition: form-data; name=\"topic\"\r\n\r\norders\r\n" +
		"--b\r\nContent-Disposition: form-data; name=\"payload[k]\"\r\n\r\nv\r\n" +
		"--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"f\"\r\n\r\nx\r\n" +
		"--b\r\nContent-Disposition: form-data; name=\"attributes[a]\"\r\n\r\nb\r\n--b--\r\n"
	const form = "application/x-www-form-urlencoded"
	for name, test := range map[string]struct {
		path, kind, body string
		status           int
	}{
		"objects in one another": {wire.MessagePath, "", message("orders", nested(20_000, `{"a":`, "1", "}")), 201},
		"arrays in one another":  {wire.MessagePath, "", message("orders", `{"a":`+nested(20_000, "[", "", "]")+"}"), 500},
		"fewer arrays":           {wire.MessagePath, "", message("orders", `{"a":`+nested(10_001, "[", "", "]")+"}"), 201},
		"arrays, no consumer":    {wire.MessagePath, "", message("lonely", nested(20_000, "[", "", "]")), 201},
		"bulk of arrays":         {wire.BulkPath, "", message("orders", `[{},{"a":`+nested(20_000, "[", "", "]")+"}]"), 500},
		"deep, and broken":       {wire.MessagePath, "", message("orders", nested(20_000, "[", "", "]")+"]"), 400},

		"NUL":                            {wire.MessagePath, "", message("orders", `{"k":"\u0000"}`), 500},
		"NUL in the second equal key":    {wire.MessagePath, "", message("orders", `{"k":"v","k":"\u0000"}`), 201},
		"NUL in the first equal key":     {wire.MessagePath, "", message("orders", `{"k":"\u0000","k":"v"}`), 500},
		"NUL in the second payload":      {wire.MessagePath, "", `{"topic":"orders","payload":{},"attributes":{},"payload":"\u0000"}`, 201},
		"bulk, NUL in the second key":    {wire.BulkPath, "", message("orders", `[{"k":1,"k":"\u0000"}]`), 201},
		"a lone surrogate in the second": {wire.MessagePath, "", message("orders", `{"k":1,"k":"\ud800"}`), 400},

		"integer of 131,072 digits": {wire.MessagePath, "", message("orders", `{"n":`+strings.Repeat("9", 131_072)+`}`), 201},
		"integer of 131,073 digits": {wire.MessagePath, "", message("orders", `{"n":`+strings.Repeat("9", 131_073)+`}`), 500},

		"multipart":               {wire.MessagePath, "multipart/form-data; boundary=b", multipart, 201},
		"multipart of a topic":    {wire.TopicsPath, "multipart/form-data; boundary=b", strings.ReplaceAll(multipart, `"payload[k]"`, `"origin_host"`), 400},
		"multipart, no boundary":  {wire.MessagePath, "multipart/form-data", multipart, 400},
		"multipart, broken":       {wire.MessagePath, "multipart/form-data; boundary=b", multipart[:80], 400},
		"form with a list":        {wire.MessagePath, form, "topic=orders&payload[]=a&payload[]=b&attributes[a]=b", 201},
		"form with maps in lists": {wire.MessagePath, form, "topic=orders&payload[l][][k]=a&payload[l][][k]=b&attributes[a]=b", 201},
		"bulk form":               {wire.BulkPath, form, "topic=orders&payload[][k]=a&payload[][k]=b&attributes[a]=b", 201},
		"form, bad percent":       {wire.MessagePath, form, "topic=orders&payload[k]=%zz", 400},

		"parameter without a value": {wire.MessagePath, "application/json; foo", message("orders", `{}`), 201},
		"parameter without a name":  {wire.MessagePath, "application/json; =x;;", message("orders", `{}`), 201},
		"no slash":                  {wire.MessagePath, "application", message("orders", `{}`), 500},
		"more than a subtype":       {wire.MessagePath, "application/json x", message("orders", `{}`), 500},

		"bad percent in the query":   {wire.MessagePath + "?%zz", "", message("orders", `{}`), 201},
		"bad percent in a value":     {wire.MessagePath + "?a=%zz&topic=x&%z", "", message("orders", `{}`), 201},
		"what is beside bad percent": {wire.MessagePath + "?topic=orders&%zz", "", `{"payload":{},"attributes":{}}`, 201},
		"invalid UTF-8 in the query": {wire.MessagePath + "?%ff", "", message("orders", `{}`), 400},

		"schedule_at with a plus": {wire.SchedulePath, "", strings.Replace(message("orders", `{}`), `{`, `{"schedule_at":"+2030-01-02T03:04:05Z",`, 1), 201},
		"schedule_at of 10000":    {wire.SchedulePath, "", strings.Replace(message("orders", `{}`), `{`, `{"schedule_at":"9999-12-31T23:59:59-14:00",`, 1), 500},
	} {
		t.Run(name, func(t *testing.T) {
			server := postofficetest.Start(t)
			addTopic(t, server, "lonely")
			addTopic(t, server, "orders")
			_, err := server.AddConsumer(postofficetest.Consumer{Topic: "orders", Target: "sink", Type: postofficetest.TypePubSub})
			require.NoError(t, err)
			kind := test.kind
			if kind == "" {
				kind = "application/json"
			}
			got := send(t, newClient(t), http.MethodPost, server.URL()+test.path, kind, test.body)
			assert.Equal(t, test.status, got.status, got.body)
		})
	}
}

// TestOddDeliveries has consumers receive what comes of odd bodies.
func TestOddDeliveries(t *testing.T) {
	deep := nested(10_001, `{"a":`, "1", "}")
	for body, want := range map[string]string{
		message("orders", `{"k":"v","l":{"m":1,"m":"\u0000"},"k":"\u0000"}`): `{"l":{"m":1},"k":"v","attributes":{"a":"b"}}`,
		message("orders", deep): `{"attributes":{"a":"b"},` + deep[1:],
	} {
		server := postofficetest.Start(t)
		consumer := newPeer(t, nil)
		addTopic(t, server, "orders", consumer.URL)
		status, answer := post(t, server, wire.MessagePath, body)
		require.Equal(t, http.StatusCreated, status, answer)
		require.NoError(t, server.WaitForDeliveries(limited(t), 1))
		if got := consumer.requests()[0].body; got != want {
			t.Errorf("the consumer got %.100s", got) // too long to be shown
		}
	}
}

// TestTwoHeaders has the first decide.
func TestTwoHeaders(t *testing.T) {
	server := postofficetest.Start(t)
	addTopic(t, server, "orders")
	for _, test := range []struct {
		name, first, second string
		status              int
	}{
		{"Content-Type", "application/json", "text/plain", 201},
		{"Content-Type", "text/plain", "application/json", 500},
		{"Accept", "application/json", "text/html", 201},
		{"Accept", "text/html", "application/json", 406},
		{"Accept", "application/json; foo", "text/html", 201},
	} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL()+wire.MessagePath, strings.NewReader(message("orders", `{}`)))
		require.NoError(t, err)
		request.Header.Set("Content-Type", "application/json")
		request.Header[test.name] = []string{test.first, test.second}
		response, err := newClient(t).Do(request)
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		assert.Equal(t, test.status, response.StatusCode, "%s: %s, %s", test.name, test.first, test.second)
	}
}
