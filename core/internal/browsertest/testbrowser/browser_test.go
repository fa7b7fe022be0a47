package testbrowser

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/chromedp/chromedp/kb"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(Runner{M: m}) }

const sample = `<!doctype html><html lang="en"><meta name="viewport" content="width=device-width">
<link rel="icon" href="data:,">
<style>
	body { background: #fff; color: #767676 }
	.low { color: #777777 } .through { color: rgb(0 0 0 / 50%) } .hidden { display: none; color: #fff }
	.large { font-size: 24px; color: #949494 }
	@media (prefers-color-scheme: dark) { :root { color-scheme: dark } body { background: #000; color: #fff } }
</style>
<title>Sample</title>
<p id="enough">enough</p><p class="low">too little</p><p class="through">half</p><p class="hidden">hidden</p><p class="large">large</p>
<form><label>Name <input id="name"></label> <button id="save">Save</button></form>
<p id="said"></p>
<noscript><p id="plain">no script</p></noscript>
<script>
	document.querySelector("form").addEventListener("submit", (event) => {
		event.preventDefault();
		document.querySelector("#said").textContent = "saved " + document.querySelector("#name").value;
	});
</script>`

func newSite(t *testing.T, html string) string {
	t.Helper()
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = fmt.Fprint(w, html)
	}))
	t.Cleanup(site.Close)
	return site.URL
}

func TestPage(t *testing.T) {
	page := Open(t, newSite(t, sample))
	assert.Equal(t, "Sample", Eval[string](page, "document.title"))
	page.Type("#name", "orders")
	page.Press("#save")
	page.See("#said", "saved orders")
	page.Type("#name", "parcels")
	page.Tab("#save", 1)
	page.Keys(kb.Enter)
	page.See("#said", "saved parcels")
	page.Gone("#plain")
	page.Reload()
	page.Until(`document.querySelector("#name").value === ""`)
	assert.Empty(t, page.Complaints())

	picture := filepath.Join(t.TempDir(), "page.png")
	page.Screenshot(picture)
	content, err := os.ReadFile(picture)
	require.NoError(t, err)
	assert.Equal(t, "\x89PNG", string(content[:4]))
}

func TestWithoutJavaScript(t *testing.T) {
	page := New(t)
	page.WithoutJavaScript()
	page.Go(newSite(t, sample))
	page.See("#plain", "no script")
	page.Press("#save")
	page.Until(`location.href.endsWith("?")`)
	assert.Empty(t, page.Text("#said"))
}

func TestTabsShareNothing(t *testing.T) {
	site := newSite(t, sample)
	one, other := Open(t, site), Open(t, site)
	Eval[struct{}](one, `document.cookie = "a=b"`)
	assert.Equal(t, "a=b", Eval[string](one, "document.cookie"))
	assert.Empty(t, Eval[string](other, "document.cookie"))
}

func TestOverflows(t *testing.T) {
	page := Open(t, newSite(t, `<!doctype html><link rel="icon" href="data:,"><div style="width: 500px">wide</div>`))
	assert.False(t, page.Overflows())
	page.Size(320, 600)
	assert.True(t, page.Overflows())
}

func TestContrasts(t *testing.T) {
	page := Open(t, newSite(t, sample))
	ratios := make(map[string]Contrast)
	for _, contrast := range page.Contrasts() {
		ratios[contrast.Text] = contrast
	}
	// The values were computed with other WCAG contrast calculators.
	assert.InDelta(t, 4.54, ratios["enough"].Ratio, 0.01)
	assert.InDelta(t, 4.48, ratios["too little"].Ratio, 0.01)
	assert.InDelta(t, 3.98, ratios["half"].Ratio, 0.05)
	assert.InDelta(t, 4.5, ratios["enough"].Needed, 0)
	assert.InDelta(t, 3, ratios["large"].Needed, 0)
	assert.NotContains(t, ratios, "hidden")
	page.Dark(true)
	for _, contrast := range page.Contrasts() {
		if contrast.Text == "enough" {
			assert.InDelta(t, 21, contrast.Ratio, 0.01)
		}
	}
}

func TestComplaints(t *testing.T) {
	page := Open(t, newSite(t, `<!doctype html><link rel="icon" href="data:,">
		<meta http-equiv="Content-Security-Policy" content="script-src 'unsafe-inline'; img-src data:">
		<script>setTimeout(() => { throw new Error("thrown") })</script>
		<img src="http://nowhere.example/picture.png">`))
	page.Until(`document.readyState === "complete"`)
	require.Eventually(t, func() bool { return len(page.Complaints()) == 2 }, patience, patience/1000)
	page.Tolerate("Error: thrown")
	complaints := page.Complaints()
	require.Len(t, complaints, 1)
	assert.Contains(t, complaints[0], "Content Security Policy")
	page.Tolerate("Content Security Policy")
	assert.Empty(t, page.Complaints())
}

// The browser only reaches this machine.
func TestNoOtherHosts(t *testing.T) {
	page := Open(t, newSite(t, `<!doctype html><link rel="icon" href="data:,"><img src="http://nowhere.example/picture.png">`))
	require.Eventually(t, func() bool { return len(page.Complaints()) == 1 }, patience, patience/1000)
	assert.Contains(t, page.Complaints()[0], "ERR_NAME_NOT_RESOLVED")
	page.Tolerate("ERR_NAME_NOT_RESOLVED")
}

func TestProgram(t *testing.T) {
	_, err := program([]string{"postoffice-no-such-browser"})
	assert.ErrorIs(t, err, errMissing)
}

// outcome records how need ends a test.
type outcome struct {
	testing.TB
	how string
}

func (o *outcome) Helper()               {}
func (o *outcome) Fatalf(string, ...any) { o.how = "failed" }
func (o *outcome) Skipf(string, ...any)  { o.how = "skipped" }

func TestNeed(t *testing.T) {
	for _, c := range []struct {
		err  error
		ci   string
		want string
	}{
		{nil, "1", ""}, {errMissing, "", "skipped"}, {errMissing, "1", "failed"}, {assert.AnError, "", "failed"},
	} {
		t.Setenv("POSTOFFICE_CI", c.ci)
		got := &outcome{TB: t}
		need(got, c.err)
		assert.Equal(t, c.want, got.how, "%v, POSTOFFICE_CI=%q", c.err, c.ci)
	}
}
